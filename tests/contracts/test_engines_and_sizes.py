"""Hour meters of engines and sizes of aggregations, case by case against the rule's own text."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from agreed import contracts, ns
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.engine_hours import HourMeter, Run, Use, hour_rules
from tieline.contract.minimum import Member, size_refusals, size_rules
from tieline.errors import ConfigError
from tieline.times import HOUR_NS

RICE = hour_rules()["us-rice-emergency"]
LA = ZoneInfo("America/Los_Angeles")
JAN = ns("2026-01-01T00:00:00-08:00")
SITE = contracts().locations["site-1"]


def run(start_h: float, hours: float, use: Use, engine: str = "e") -> Run:
    return Run(engine, JAN + int(start_h * HOUR_NS), JAN + int((start_h + hours) * HOUR_NS), use)


# hours run before (use, hours), use and hours asked, may: 40 CFR 63.6640(f)(1) to (4).
CASES = [
    ([], Use.EMERGENCY, 500, True),
    ([(Use.MAINTENANCE, 100)], Use.EMERGENCY, 24, True),
    ([(Use.EMERGENCY, 900)], Use.MAINTENANCE, 100, True),
    ([], Use.MAINTENANCE, 100, True),
    ([], Use.MAINTENANCE, 100.25, False),
    ([(Use.READINESS, 60)], Use.MAINTENANCE, 40, True),
    ([(Use.READINESS, 60)], Use.MAINTENANCE, 41, False),
    ([], Use.NON_EMERGENCY, 50, True),
    ([], Use.NON_EMERGENCY, 51, False),
    ([(Use.MAINTENANCE, 60)], Use.NON_EMERGENCY, 40, True),
    ([(Use.MAINTENANCE, 60)], Use.NON_EMERGENCY, 41, False),
    ([(Use.NON_EMERGENCY, 50)], Use.MAINTENANCE, 50, True),
    ([(Use.NON_EMERGENCY, 50)], Use.MAINTENANCE, 51, False),
    ([], Use.PEAK_SHAVING, 0.25, False),
    ([], Use.DEMAND_RESPONSE, 0.25, False),
    ([], Use.INCOME, 0.25, False),
]


@pytest.mark.parametrize(("before", "use", "hours", "may"), CASES)
def test_an_emergency_engine_runs_as_its_rule_says(
    before: list[tuple[Use, float]], use: Use, hours: float, may: bool
) -> None:
    meter, at = HourMeter(RICE, LA), 0.0
    for used, length in before:
        assert meter.record(run(at, length, used)) is None
        at += length
    why = meter.refusal(run(at, hours, use))
    assert (why is None) == may, why
    assert may or why.rule == "us-rice-emergency 2016.1"


RUNS = st.lists(st.tuples(st.integers(0, 24 * 800), st.integers(1, 60), st.sampled_from(Use)), min_size=1, max_size=40)


@given(RUNS)
def test_no_engine_that_asks_first_ever_exceeds_its_hours(asked: list[tuple[int, int, Use]]) -> None:
    """Counted anew hour by hour: each whole hour of a run falls in the calendar year of its place."""
    meter, used, counted = HourMeter(RICE, LA), dict[tuple[int, Use], int](), set[Run]()
    year_ends = [ns(f"{year}-01-01T00:00:00-08:00") for year in (2027, 2028, 2029)]
    for start, length, use in asked:
        one = run(start, length, use)
        if meter.refusal(one) is not None or meter.record(one) is not None:
            continue
        assert meter.record(one) is None, "the same run twice is one"
        if one in counted:
            continue
        counted.add(one)
        for hour in range(length):
            year = 2026 + sum(one.start_ns + hour * HOUR_NS >= end for end in year_ends)
            used[year, use] = used.get((year, use), 0) + 1
    for year in (2026, 2027, 2028):
        held = [(use, hours) for (of, use), hours in used.items() if of == year]
        kept = sum(hours for use, hours in held if use in (Use.MAINTENANCE, Use.READINESS, Use.NON_EMERGENCY))
        assert kept <= 100
        assert sum(hours for use, hours in held if use is Use.NON_EMERGENCY) <= 50
        assert all(use not in (Use.PEAK_SHAVING, Use.DEMAND_RESPONSE, Use.INCOME) for use, _ in held)


def test_a_run_over_new_year_is_cut_at_midnight_of_its_place() -> None:
    meter = HourMeter(RICE, LA, [run(24 * 365 - 6, 10, Use.MAINTENANCE)])
    assert meter.hours("e", 2026) == 6 and meter.hours("e", 2027) == 4
    assert meter.hours("other", 2026) == 0


def test_an_hour_is_not_counted_twice() -> None:
    meter = HourMeter(RICE, LA, [run(0, 2, Use.MAINTENANCE)])
    assert meter.record(run(1, 2, Use.READINESS)).holder == "maintenance"
    assert meter.record(run(1, 2, Use.READINESS, "other")) is None
    assert meter.record(run(2, 0, Use.READINESS)).field == "end"
    with pytest.raises(ConfigError, match="ran then already"):
        HourMeter(RICE, LA, [run(0, 2, Use.MAINTENANCE), run(1, 2, Use.READINESS)])


def test_a_use_that_no_limit_names_is_refused() -> None:
    bare = structs.replace(RICE, limits=())
    assert HourMeter(bare, LA).refusal(run(0, 1, Use.MAINTENANCE)).field == "use"


OTHER = structs.replace(SITE, id="site-2", meter="M-2")
# rule, members (W, location), fields that are refused. Sources stand in rules/minimums.toml.
SIZES = [
    ("ercot-ader", [(100_000, SITE)], []),
    ("ercot-ader", [(99_999, SITE)], ["total_w"]),
    ("ercot-ader", [(60_000, SITE), (40_000, OTHER)], []),
    ("ercot-ader", [(1_000_001, SITE)], ["power_w"]),
    ("ercot-ader", [(600_000, SITE), (400_001, SITE)], ["power_w"]),
    ("ercot-ader", [(600_000, SITE), (600_000, OTHER)], []),
    ("ercot-ader", [(60_000, SITE), (60_000, structs.replace(OTHER, retailer="r2"))], ["retailer"]),
    ("ercot-ader", [(60_000, SITE), (60_000, structs.replace(OTHER, load_zone="south"))], ["load_zone"]),
    ("ercot-ader", [(60_000, SITE), (60_000, structs.replace(OTHER, utility="u2"))], ["utility"]),
    ("ercot-ader", [(200_000, structs.replace(SITE, load_zone=""))], ["load_zone"]),
    ("nyiso-der", [(10_000, SITE)] * 10, []),
    ("nyiso-der", [(9_999, SITE)] * 11, ["power_w"] * 11),
    ("nyiso-der", [(10_000, SITE)] * 9, ["total_w"]),
    ("caiso-pdr", [(50_000, SITE), (50_000, OTHER)], []),
    ("caiso-pdr", [], ["total_w"]),
    ("caiso-rdrr", [(499_000, SITE)], ["total_w"]),
    ("pjm-economic", [(100_000, SITE)], []),
    ("gb-bm", [(999_000, SITE)], ["total_w"]),
    ("eu-fcr", [(1_000_000, SITE)], []),
]


@pytest.mark.parametrize(("rule", "members", "fields"), SIZES)
def test_an_aggregation_is_as_big_as_its_rule_says(rule: str, members: list, fields: list[str]) -> None:
    held = [Member(f"r{at}", power_w, place) for at, (power_w, place) in enumerate(members)]
    assert [one.field for one in size_refusals(size_rules()[rule], held)] == fields


@given(st.lists(st.integers(1, 40).map(lambda kw: kw * 1e4), min_size=1, max_size=10))
def test_more_of_it_never_makes_an_aggregation_too_small(powers: list[float]) -> None:
    rule = size_rules()["caiso-rdrr"]
    members = [Member(f"r{at}", power_w, SITE) for at, power_w in enumerate(powers)]
    for count in range(1, len(members)):
        assert len(size_refusals(rule, members[: count + 1])) <= len(size_refusals(rule, members[:count]))


def test_a_run_over_new_year_is_asked_of_both_years() -> None:
    meter = HourMeter(RICE, LA, [run(24 * 400, 100, Use.MAINTENANCE)])
    assert meter.refusal(run(24 * 365 - 6, 6, Use.MAINTENANCE)) is None
    assert "in 2027" in meter.refusal(run(24 * 365 - 6, 7, Use.MAINTENANCE)).field
