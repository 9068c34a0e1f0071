"""Who may serve what: deny by default, and the California and federal rules as 6-business.md section 2 gives them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.contract.eligibility import (
    DENIED,
    FOSSIL,
    Case,
    eligibility_rules,
    eligible,
    eligible_rows,
    enrol,
    judge,
    net_performance,
    parse_rules,
)
from tieline.desk.awards import decide_offers
from tieline.desk.ports import Offer, Segment
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.identity import Fuel, Kind, Purpose
from tieline.times import HOUR_NS

PLACES = sorted({"US-CA", "US-TX", "US-NY", "US-PJM", "US", "EU", "GB", "", "us-ca", "Texas", "XX"})
PROGRAMS = ["energy", "capacity", "demand_response", "ancillary", "", "Energy", "bonus_scheme"]
ENGINES = ["backup_generator", "chp", "biomass"]


@given(
    st.sampled_from(PLACES), st.sampled_from(PROGRAMS), st.sampled_from([*sorted(FOSSIL), "coal", "hfo", "", "peat"])
)
def test_no_fossil_backup_gets_through_anywhere_whatever_is_mistyped(place: str, program: str, fuel: str) -> None:
    assert not eligible("backup_generator", fuel, place, program).is_eligible


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(list(Kind)), st.sampled_from(list(Fuel)))
def test_a_jurisdiction_or_program_that_no_rule_names_lets_nobody_serve(place: str, program: str, kind, fuel) -> None:
    named = {w for rule in eligibility_rules() if rule.allow for w in (*rule.jurisdiction, *rule.program)}
    if place not in named or program not in named:
        assert not eligible(kind.value, fuel.value, place, program).is_eligible


@pytest.mark.parametrize("program", ["energy", "capacity", "demand_response", "ancillary"])
@pytest.mark.parametrize("fuel", sorted(FOSSIL))
def test_fossil_chp_serves_no_program_in_california(program: str, fuel: str) -> None:
    verdict = eligible("chp", fuel, "US-CA", program)
    assert (verdict.is_eligible, verdict.rule) == (False, "us-ca-chp-fossil")


def test_an_unlisted_fuel_is_refused_by_default_not_let_through() -> None:
    assert eligible("chp", "coal", "US-TX", "energy") == DENIED
    assert eligible("battery", "diesel", "US-TX", "energy") == DENIED
    assert eligible("battery", "none", "US-CA", "no-such-program") == DENIED
    assert eligible("teapot", "none", "US-CA", "energy") == DENIED


def test_a_rule_that_allows_by_a_star_is_refused_by_name() -> None:
    row = '[[rule]]\nid="x"\nversion="1"\nsource="s"\ncertainty="K"\nsays="y"\nallow=true\n'
    row += 'jurisdiction="*"\nprogram="energy"\nkind="battery"\nfuel="none"\n'
    with pytest.raises(ConfigError, match="x: jurisdiction"):
        parse_rules(row)
    with pytest.raises(ConfigError, match=r"eligibility\.toml"):
        parse_rules("[[rule]]\nid=1\n")


def test_fossil_backup_is_refused_in_california_by_rule_and_source() -> None:
    verdict = eligible("backup_generator", "diesel", "US-CA", "energy")
    assert (verdict.is_eligible, verdict.rule) == (False, "us-ca-elrp-prohibited")
    assert "E-4906" in verdict.source
    assert eligible("backup_generator", "natural_gas", "US-TX", "energy").rule == "us-rice-emergency"
    assert eligible("battery", "none", "US-CA", "energy").is_eligible
    assert eligible("biomass", "biomass", "US-CA", "energy").is_eligible
    assert eligible("chp", "natural_gas", "US-TX", "energy").is_eligible


def test_vector_s8_an_order_lets_diesel_run_outside_disadvantaged_communities_alone() -> None:
    """Origin: 6-business.md section 2, ELRP rules marked V."""

    def case(location: str = "", event: str = "emergency", order: str = "permits"):
        return judge(Case("backup_generator", "diesel", "US-CA", "emergency_load_reduction", location, event, order))

    assert case().rule == "us-ca-prohibited-by-order"
    assert not case(order="").is_eligible
    assert case(event="test").rule == "us-ca-prohibited-test"
    assert case("disadvantaged_community").rule == "us-ca-prohibited-disadvantaged"
    assert case("disadvantaged_community", order="permits_disadvantaged").is_eligible
    assert not case("disadvantaged_community", order="").is_eligible


def test_vector_s8_prohibited_output_is_taken_off_performance() -> None:
    """180 kW of reduction with 120 kW of diesel pays 60; performance below 0 stays what it is."""
    got = net_performance(np.array([180.0, 100.0, -5.0, 30.0]), np.array([120.0, 120.0, 50.0, 0.0]))
    assert got.tolist() == [60.0, 0.0, -5.0, 30.0]


def test_rows_get_the_verdict_of_their_kind_and_fuel() -> None:
    kinds, fuels = np.array(["battery", "backup_generator", "pv"]), np.array(["none", "diesel", "none"])
    allowed, refused = eligible_rows(kinds, fuels, "US-CA", "energy")
    assert (list(allowed), refused) == ([True, False, True], {"us-ca-elrp-prohibited": 1})
    told = enrol(kinds, fuels, "US-CA", "energy").refusal(1)
    assert told is not None
    assert told.rule == "us-ca-elrp-prohibited 2024.2"
    assert "diesel" in told.value


def two_engines_and_a_battery() -> DeskState:
    kinds = np.array([KIND_CODE[k] for k in (Kind.BATTERY, Kind.BACKUP_GENERATOR, Kind.BACKUP_GENERATOR)], np.uint8)
    nothing = np.zeros(3)
    fleet = Fleet(
        ["b", "g1", "g2"], kinds, np.array([5e3, 50e3, 50e3]), np.array([5e3, 0.0, 0.0]), np.array([1e4, 0, 0]),
        nothing, nothing.copy(), [Group("pool-1", Kind.POOL, Purpose.POOL, -1)],
        {Purpose.POOL: np.zeros(3, np.int32)},
    )  # fmt: skip
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
    state = DeskState.empty(fleet, ClaimBook(fleet), ledger)
    words = np.array(["battery", "backup_generator", "backup_generator"])
    fuels = np.array(["none", "diesel", "diesel"])
    state.enrolments = {"energy": enrol(words, fuels, "US-TX", "energy")}
    return state


def test_a_reservation_that_counts_on_prohibited_engines_is_refused_by_rule() -> None:
    state = two_engines_and_a_battery()
    for power_w, product, rule in ((60e3, "ENERGY", "us-rice-emergency 2016.1"), (1e3, "SPIN", "default-deny 1")):
        offer = Offer(f"o{power_w}", "pool-1", product, 0, HOUR_NS, (Segment(power_w, 30.0),))
        _, (refusal,) = decide_offers(state, [offer])
        assert refusal is not None
        assert refusal.rule == rule
    _, (held,) = decide_offers(state, [Offer("o", "pool-1", "ENERGY", 0, HOUR_NS, (Segment(9e3, 30.0),))])
    assert held is None


def test_dispatch_and_program_events_pass_prohibited_rows_by() -> None:
    from tieline.desk.event_split import shares
    from tieline.desk.redispatch import allocate, headroom

    state = two_engines_and_a_battery()
    rows = np.arange(3, dtype=np.int32)
    state.fleet.column("available_up_w")[:] = [5e3, 50e3, 50e3]
    state.fleet.quality[:] = 0
    may = state.may_serve("energy", rows)
    room = headroom(state, rows, may, np.array([90.0, 1.0, 2.0]), 1.0, 0)
    assert allocate(room, 40e3).share_w.tolist()[1:] == [0.0, 0.0]
    assert not state.may_serve("demand_response", rows).any()
    assert len(shares(state, "pool-1", 10e3, 0).rows) == 0
