"""A million meters at once come to what the rule gives a meter at a time; from memory, from disk and from Parquet alike."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.market.baseline import compute
from tieline.market.event_columns import NO_DAY, PICKS, Columns, Plan, settle_part
from tieline.market.picking import Event, LeftOut
from tieline.market.rule import baseline_rule, baseline_rules
from tieline.store.meter_days import ColdDays, HotDays, column, write_cold, write_hot

RULES = sorted(name for name, rule in baseline_rules().items() if rule.pick in PICKS)
PER_DAY = 24
METERS = 7
Blocks = dict[date, np.ndarray]


class InMemory:
    """Day blocks as they are, all meters one part."""

    def __init__(self, days: Blocks) -> None:
        self.days = days

    def size(self, part: int) -> int:
        return METERS

    def read(self, day: date, intervals, part: int, into: np.ndarray) -> bool:
        if day in self.days:
            into[:] = self.days[day][list(intervals)]
        return day in self.days


def fleet(seed: int, day: date, gaps: float, low: float) -> Blocks:
    rng = np.random.default_rng(seed)
    found: Blocks = {}
    for back in range(100):
        block = np.round(rng.uniform(1, 9, (PER_DAY, METERS)) * 64) / 64  # exact in both widths
        block[:, rng.random(METERS) < low] /= 16
        block[rng.random(block.shape) < gaps] = np.nan
        found[day - timedelta(days=back)] = block.astype(np.float32)
    return found


def alone(name: str, days: Blocks, event: Event, apart: LeftOut, meter: int):
    load = {day: block[:, meter].astype(np.float64) for day, block in days.items()}
    return compute(
        baseline_rule(name), load, event, event_days=apart.event_days, holidays=apart.holidays, outages=apart.outages
    )


def require_alike(name: str, days: Blocks, event: Event, apart: LeftOut, made: Columns) -> None:
    for meter in range(METERS):
        try:
            told = alone(name, days, event, apart, meter)
        except ValueError:
            assert not made.has_baseline[meter]
            assert not made.performance[:, meter].any()
            continue
        assert made.has_baseline[meter]
        assert made.performance[:, meter] == pytest.approx(told.performance, abs=1e-9)
        assert made.baseline[:, meter] == pytest.approx(told.baseline, abs=1e-9)
        assert (made.factor[meter], made.addend[meter]) == pytest.approx((told.factor, told.addend))
        picked = {made.candidates[k] for k in made.day_of[:, meter] if k != NO_DAY}
        assert picked == set(told.days)


@pytest.mark.parametrize("name", RULES)
@given(
    seed=st.integers(0, 10_000), gaps=st.sampled_from([0.0, 0.01, 0.2]), low=st.sampled_from([0.0, 0.2]),
    day=st.dates(date(2024, 3, 1), date(2024, 11, 30)), first=st.integers(0, 20), hours=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_columns_come_to_what_the_rule_gives_a_meter_at_a_time(name, seed, gaps, low, day, first, hours) -> None:
    days = fleet(seed, day, gaps, low)
    event = Event(day, first, first + hours)
    apart = LeftOut(
        frozenset({day - timedelta(days=3)}), frozenset({day - timedelta(days=5)}), frozenset({day - timedelta(days=8)})
    )
    plan = Plan.of(baseline_rule(name), event, apart, PER_DAY)
    require_alike(name, days, event, apart, settle_part(plan, InMemory(days), 0))


def test_a_meter_that_has_no_like_days_gains_nothing_and_others_are_none_the_worse() -> None:
    day = date(2024, 7, 31)
    days = fleet(1, day, 0.0, 0.0)
    for back in range(1, 100):
        days[day - timedelta(days=back)][:, 2] = np.nan
    event = Event(day, 16, 20)
    made = settle_part(Plan.of(baseline_rule("caiso-10-in-10"), event, LeftOut(), PER_DAY), InMemory(days), 0)
    assert made.has_baseline.tolist() == [True, True, False, True, True, True, True]
    require_alike("caiso-10-in-10", days, event, LeftOut(), made)


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_load_scaled_scales_what_a_ratio_rule_pays_and_a_constant_leaves_an_additive_one_alone(factor: float) -> None:
    """Properties of 6-business.md: scaling load by c scales P by c; adding a constant leaves additive P unchanged."""
    day = date(2024, 7, 31)
    days, event = fleet(3, day, 0.0, 0.0), Event(day, 16, 20)
    for name, change in (
        ("caiso-residential-5-in-10", lambda b: b * np.float32(factor)),
        ("iso-ne-mean-10-of-10", lambda b: b + np.float32(2.0)),
    ):
        plan = Plan.of(baseline_rule(name), event, LeftOut(), PER_DAY)
        one = settle_part(plan, InMemory(days), 0)
        other = settle_part(plan, InMemory({d: change(b) for d, b in days.items()}), 0)
        times = factor if name.startswith("caiso") else 1.0
        assert other.performance == pytest.approx(one.performance * times, abs=1e-9)


def test_an_event_days_load_never_enters_a_pool() -> None:
    day, other = date(2024, 7, 31), date(2024, 7, 24)
    days, event, apart = fleet(4, day, 0.0, 0.0), Event(day, 16, 20), LeftOut(frozenset({other}))
    plan = Plan.of(baseline_rule("caiso-10-in-10"), event, apart, PER_DAY)
    one = settle_part(plan, InMemory(days), 0)
    days[other] = days[other] * 100
    assert (settle_part(plan, InMemory(days), 0).performance == one.performance).all()


def test_hot_and_cold_files_give_the_same_bits(tmp_path: Path) -> None:
    day, event = date(2024, 7, 31), Event(date(2024, 7, 31), 16, 20)
    days = fleet(5, day, 0.02, 0.0)
    for each, block in days.items():
        write_hot(tmp_path, each, block)
        write_cold(tmp_path, each, block, [f"m{k}" for k in range(METERS)])
    plan = Plan.of(baseline_rule("caiso-residential-5-in-10"), event, LeftOut(), PER_DAY)
    made = [settle_part(plan, blocks, 0) for blocks in (InMemory(days), HotDays(tmp_path), ColdDays(tmp_path))]
    for each in made[1:]:
        assert each.performance.tobytes() == made[0].performance.tobytes()
    assert column(16, PER_DAY) == "kwh_1600"


def test_files_that_are_no_days_of_these_meters_are_refused_by_name(tmp_path: Path) -> None:
    block = np.ones((PER_DAY, 3), np.float32)
    write_cold(tmp_path, date(2024, 7, 30), block, ["a", "b", "c"])
    write_cold(tmp_path, date(2024, 7, 31), block[:, :2], ["a", "b"])
    with pytest.raises(ConfigError, match=r"2024-07-31.parquet: 2 meters: give those of 2024-07-30.parquet, 3"):
        ColdDays(tmp_path)
    np.save(tmp_path / "2024-07-30.npy", np.ones(4))
    with pytest.raises(ConfigError, match=r"2024-07-30.npy: float64 of shape \(4,\): give float32"):
        HotDays(tmp_path)


def test_a_rule_that_picks_by_temperature_is_not_settled_in_columns() -> None:
    with pytest.raises(ValueError, match="caiso-weather-match picks nearest-temperature: give a rule that picks all"):
        Plan.of(baseline_rule("caiso-weather-match"), Event(date(2024, 7, 31), 16, 20), LeftOut(), PER_DAY)
