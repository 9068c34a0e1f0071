"""An owner takes his consent back: nothing that rests on it wins from the next arbitration on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from contracts_stage import NEW, Agreed, book, evidence_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.agreed import Agreements
from tieline.desk.consents import decide_agreed
from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsPlaced
from tieline.desk.packed import Packed
from tieline.desk.ports import Granted
from tieline.desk.redispatch import SOURCE as MARKET
from tieline.desk.redispatch import left_wh, serving
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.level import Level
from tieline.times import HOUR_NS, parse_iso

ROWS = np.arange(4, dtype=np.int32)
WHO = {Level.RELIABILITY: "iso", Level.UTILITY: "dso", Level.MARKET: "market", Level.PROGRAM: "dso", Level.PRICE: "dso"}
ASKED = st.tuples(
    st.sampled_from(list(WHO)), st.sampled_from(["r0", "r1", "feeder-1", "pool-1"]), st.floats(-4_000.0, 4_000.0)
)
SAID = st.tuples(st.sampled_from(["c0", "c1", "c2"]), st.sampled_from(["", "energy", "demand_response", "peak"]))


def winners(stage: Agreed) -> list[int]:
    """The level of who wins on each row (beyond the weakest: nobody)."""
    settled = stage.state.claims.arbitrate(stage.clock.ns, ROWS)
    return [int(level) for level in stage.state.claims.level_of(settled.winner)]


@given(st.lists(st.one_of(ASKED, SAID), min_size=1, max_size=12))
def test_after_a_withdrawal_no_claim_that_rests_on_the_owners_word_wins(steps: list[tuple]) -> None:
    """Whoever asks, before or after, at whatever level: what is left is what the contract still agrees to."""

    async def play() -> None:
        stage, gone = Agreed(), dict[str, set[str]]()
        for step in steps:
            stage.clock.ns += 10**9
            if len(step) == 3:
                level, resource, value = step
                await stage.desk.ask(stage.ask(WHO[level], level, resource, value=value, source=f"s{int(level)}"))
                await stage.desk.settle()
            else:
                contract, product = step
                await stage.says(contract, *([product] if product else []))
                gone.setdefault(contract, set()).update([product] if product else ["energy", "demand_response", "peak"])
            for contract, products in gone.items():
                won = winners(stage)[int(contract[1:])]
                if products >= {"energy", "demand_response", "peak"}:
                    assert won > Level.LOCAL or won <= Level.OWNER_NEED
                if "energy" in products:
                    assert won not in (Level.RELIABILITY, Level.MARKET)
                if products >= {"demand_response"}:
                    assert won not in (Level.UTILITY, Level.PROGRAM, Level.PRICE)
        again = stage.replayed(Ledger())
        assert again.digest() == stage.replayed(Ledger()).digest()
        assert again.claims.digest() == stage.state.claims.digest()
        assert (again.opted_out == stage.state.opted_out).all()
        assert again.consents == stage.state.consents

    asyncio.run(play())


def test_protection_and_the_owners_own_word_do_not_rest_on_his_consent() -> None:
    async def play() -> None:
        stage = Agreed()
        await stage.says("c0")
        for level, who in ((Level.GRID_EMERGENCY, "dso"), (Level.ENVELOPE, "dso"), (Level.OWNER_NEED, "owner")):
            granted = await stage.desk.ask(
                stage.ask(who, level, "r0", ClaimKind.LIMIT, low=-1_000.0, high=1_000.0, source=f"x{int(level)}")
            )
            assert isinstance(granted, Granted)
        low, high = stage.state.claims.bounds_above(ROWS[:1], Level.RELIABILITY, stage.clock.ns)
        assert (low[0], high[0]) == (-1_000.0, 1_000.0)

    asyncio.run(play())


def test_what_was_called_goes_on_to_be_called_after_a_new_consent() -> None:
    async def play() -> None:
        stage = Agreed()
        await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r0", value=2_000.0))
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 2_000.0
        stage.clock.ns += 10**9
        assert await stage.says("c0") is None
        assert np.isnan(stage.devices.target_w[0])
        gate = stage.state.asks["contract", "consent", "r0", "connect"]
        assert "contract c0" in gate.ask.because and "withdrawn" in gate.ask.because
        stage.clock.ns += 10**9
        assert await stage.says("c0", evidence=NEW) is None
        assert stage.devices.target_w[0] == 2_000.0, "its lease still runs: the next valid claim holds again"
        fresh = stage.state.agreed.contract("c0").consents[-1]
        assert fresh.evidence_sha256 == NEW
        assert stage.state.consents["c0"][-1].at_ns == stage.clock.ns, "with a date of its own"

    asyncio.run(play())


def test_of_some_products_only_their_claims_are_set_aside_and_the_record_names_the_contract() -> None:
    async def play() -> None:
        stage = Agreed()
        rows = ROWS[:2]
        placed = ClaimsPlaced(
            "m1", MARKET, "desk", "pool-1", int(Level.MARKET), 0, "P", "set", "award", 1, stage.clock.ns,
            stage.clock.ns, stage.clock.ns + HOUR_NS, Packed.of(rows), Packed.of(np.full(2, -np.inf)),
            Packed.of(np.full(2, np.inf)), Packed.of(np.full(2, 900.0)),
        )  # fmt: skip
        await stage.desk.commit([Entry("m1", placed, "pool-1")])
        await stage.desk.ask(stage.ask("dso", Level.PROGRAM, "r0", value=2_000.0))
        await stage.desk.settle()
        stage.clock.ns += 10**9
        await stage.says("c0", "energy")
        assert winners(stage)[:2] == [Level.PROGRAM, Level.MARKET]
        assert not stage.state.opted_out.any()
        assert serving(stage.state, rows, np.ones(2, np.bool_), stage.clock.ns).tolist() == [False, True]
        ended = [r for r in stage.journal.records if r.kind == "ClaimsEnded"][-1]
        assert b"set aside by contract c0" in ended.body
        assert stage.state.consents["c0"][-1].record in ended.caused_by

    asyncio.run(play())


def test_a_contract_that_ends_lets_go_at_its_end_and_not_before() -> None:
    async def play() -> None:
        stage = Agreed()
        end_ns = parse_iso("2024-01-01T00:00:00Z")
        assert stage.state.agreed.next_change_ns() == end_ns - HOUR_NS, "a pool lets go before"
        stage.clock.ns = end_ns - 60 * 10**9
        await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r0", value=2_000.0))
        await stage.beat()
        assert winners(stage)[0] == Level.UTILITY
        assert stage.state.agreed.next_change_ns() == end_ns
        stage.clock.ns = end_ns
        await stage.beat()
        assert winners(stage)[0] > Level.LOCAL
        assert "no terms hold then" in stage.state.asks["contract", "consent", "r0", "connect"].ask.because
        assert decide_agreed(stage.state, end_ns + 1) == [], "said once"

    asyncio.run(play())


def test_consent_that_is_taken_back_before_the_terms_begin_can_be_given_back_before_they_do() -> None:
    async def play() -> None:
        stage = Agreed()
        begins_ns, ends_ns = parse_iso("2023-01-01T00:00:00Z"), parse_iso("2024-01-01T00:00:00Z")
        stage.clock.ns = begins_ns - 10 * 24 * HOUR_NS
        stage.state.agreed.tick(stage.clock.ns)
        await stage.beat()
        assert await stage.says("c0") is None
        stage.clock.ns += 24 * HOUR_NS
        refused = await stage.says("c0", "heat", evidence=NEW)
        assert isinstance(refused, Refusal) and refused.limit == "energy, demand_response, peak"
        assert await stage.says("c0", evidence=NEW) is None
        assert stage.state.consents["c0"][-1].products == ("energy", "demand_response", "peak")
        assert stage.state.opted_out[0], "it counts from when the terms begin"
        stage.clock.ns = begins_ns
        await stage.beat()
        assert not stage.state.opted_out[0]
        assert stage.state.agreed.contract("c0").agreed(begins_ns) == ("energy", "demand_response", "peak")
        stage.clock.ns = ends_ns
        over = await stage.says("c0", evidence="c" * 64)
        assert isinstance(over, Refusal) and over.reason == "no terms hold then or begin later"

    asyncio.run(play())


@pytest.mark.parametrize(("serves", "served"), [(False, [True, True, False, False]), (True, [True] * 4)])
def test_a_device_without_a_contract_is_called_only_where_that_is_set(serves: bool, served: list[bool]) -> None:
    stage = Agreed(4, covered=2, serves_others=serves)
    assert serving(stage.state, ROWS, np.ones(4, np.bool_), stage.clock.ns).tolist() == served


def test_a_refused_ask_names_the_contract_and_a_control_rooms_own_device_needs_none() -> None:
    async def play() -> None:
        stage = Agreed(4, covered=2)
        await stage.says("c0", "demand_response", "peak")
        stage.clock.ns += 10**9
        refused = await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r0", value=1_000.0))
        assert isinstance(refused, Refusal)
        assert (refused.rule, refused.value) == ("c0", "demand_response")
        granted = await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r3", value=1_000.0))
        assert isinstance(granted, Granted)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("contract", "products", "evidence", "reason"),
    [
        ("c9", (), None, "no such contract"),
        ("c0", ("heat",), None, "there is no such consent"),
        ("c0", ("heat",), NEW, "the contract does not have this product"),
        ("c0", (), "short", "a consent is proved"),
        ("c0", (), evidence_of(0), "a new consent has evidence of its own"),
    ],
)
def test_a_word_that_says_nothing_is_refused(
    contract: str, products: tuple[str, ...], evidence: str | None, reason: str
) -> None:
    async def play() -> None:
        stage = Agreed()
        refused = await stage.says(contract, *products, evidence=evidence)
        assert isinstance(refused, Refusal) and refused.reason == reason
        assert not stage.state.consents

    asyncio.run(play())


def test_consent_is_taken_back_once() -> None:
    async def play() -> None:
        stage = Agreed()
        assert await stage.says("c0") is None
        stage.clock.ns += 10**9
        again = await stage.says("c0")
        assert isinstance(again, Refusal) and again.reason == "there is no consent left to take back"
        assert len(stage.state.consents["c0"]) == 1

    asyncio.run(play())


def test_a_store_keeps_what_its_contract_keeps_back() -> None:
    stage = Agreed(2, terms="least_reserve_frac = 0.4")
    stage.state.fleet.column("soc_frac")[:] = 0.5  # of 10 kWh
    assert left_wh(stage.state, ROWS[:2], stage.clock.ns) == pytest.approx([1_000.0, 1_000.0])


@pytest.mark.parametrize("serves", [True, False])
def test_who_was_out_by_a_contract_that_is_gone_comes_back_only_where_none_is_needed(serves: bool) -> None:
    async def play() -> None:
        stage = Agreed()
        await stage.says("c3")
        assert stage.state.opted_out[3]
        stage.state.agreed = Agreements(book(3), stage.state.fleet, "UTC", serves_others=serves)
        stage.clock.ns += 10**9
        await stage.beat()
        assert bool(stage.state.opted_out[3]) is not serves
        assert serving(stage.state, ROWS, np.ones(4, np.bool_), stage.clock.ns).tolist() == [True] * 3 + [serves]

    asyncio.run(play())


def test_a_pool_lets_go_of_who_is_agreed_for_no_more_than_an_hour_yet() -> None:
    """At its own pace: at the end itself many contracts end, and an opt-out is neither staged nor limited."""
    stage, end_ns = Agreed(), parse_iso("2024-01-01T00:00:00Z")
    for at_ns, serves in ((end_ns - HOUR_NS - 1, True), (end_ns - HOUR_NS, False), (end_ns - 1, False)):
        stage.state.agreed.tick(at_ns)
        assert serving(stage.state, ROWS, np.ones(4, np.bool_), at_ns).all() == serves, (at_ns - end_ns) / HOUR_NS
        assert stage.state.agrees(("energy",), ROWS).all(), "its claims stand till then"
