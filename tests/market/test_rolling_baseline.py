"""Rolling baselines: every meter and interval, to the last bit what the rule says of an event in that interval."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.baseline import compute
from tieline.market.picking import Event, LeftOut
from tieline.market.rolling import rolling_baseline, unadjusted
from tieline.market.rule import baseline_rule, baseline_rules

LAST = date(2024, 7, 31)
RULE = baseline_rule("caiso-10-in-10")
PER_DAY, METERS = 4, 3


def made(seed: int, count: int, gaps: float) -> tuple[list[date], np.ndarray]:
    rng = np.random.default_rng(seed)
    days = [LAST - timedelta(days=count - 1 - at) for at in range(count)]
    load = rng.uniform(-1.0, 9.0, (count, METERS * PER_DAY)).astype(np.float32)
    load[rng.random(load.shape) < gaps] = np.nan
    return days, load


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), count=st.integers(2, 60), gaps=st.sampled_from([0.0, 0.1, 0.6]),
    apart=st.sets(st.integers(0, 59), max_size=12), holiday=st.integers(0, 59),
    name=st.sampled_from([name for name, rule in baseline_rules().items() if rule.pick == "all" and not rule.low_use_frac]),
)  # fmt: skip
def test_each_interval_is_what_the_rule_says_of_an_event_in_it(seed, count, gaps, apart, holiday, name) -> None:
    rule = baseline_rule(name)
    days, load = made(seed, count, gaps)
    away = LeftOut(
        frozenset(LAST - timedelta(days=n) for n in apart if n % 2), frozenset({LAST - timedelta(days=holiday)}),
        frozenset(LAST - timedelta(days=n) for n in apart if not n % 2),
    )  # fmt: skip
    wanted = days[-3:]
    found = rolling_baseline(rule, days, load, wanted, away)
    plain = unadjusted(rule)
    for at, day in enumerate(wanted):
        for meter in range(METERS):
            mine = {
                one: load[k, meter * PER_DAY : (meter + 1) * PER_DAY].astype(np.float64) for k, one in enumerate(days)
            }
            for t in range(PER_DAY):
                try:
                    alone = compute(
                        plain, mine, Event(day, t, t + 1, 1), event_days=away.event_days, holidays=away.holidays,
                        outages=away.outages,
                    ).baseline[0]  # fmt: skip
                except ValueError:
                    alone = np.nan
                assert np.array_equal(found[at, meter * PER_DAY + t], alone, equal_nan=True)


def test_an_event_day_never_enters_and_scaling_load_scales_the_baseline() -> None:
    days, load = made(1, 50, 0.0)
    event = days[-2]
    spoiled = load.copy()
    spoiled[days.index(event)] = 1e6
    away = LeftOut(frozenset({event}))
    kept = rolling_baseline(RULE, days, load, days[-1:], away)
    assert np.array_equal(kept, rolling_baseline(RULE, days, spoiled, days[-1:], away))
    assert np.array_equal(2.0 * kept, rolling_baseline(RULE, days, 2.0 * load, days[-1:], away))


def test_ten_business_days_of_known_loads_have_the_mean_that_a_hand_makes() -> None:
    """31 July 2024 is a Wednesday: 30, 29, 26, 25, 24, 23, 22, 19, 18 and 17 July stand for it; loads are the day numbers."""
    days = [date(2024, 7, n) for n in range(1, 32)]
    load = np.array([[float(day.day)] for day in days], np.float32)
    assert rolling_baseline(RULE, days, load, [LAST]).tolist() == [[23.3]]


def test_a_column_wider_than_a_tile_is_worked_through_to_its_end() -> None:
    days = [LAST - timedelta(days=30 - at) for at in range(31)]
    load = np.tile(np.arange(5_000, dtype=np.float32), (31, 1))
    assert np.array_equal(rolling_baseline(RULE, days, load, [LAST])[0], np.arange(5_000.0))


def test_what_is_not_served_is_refused_by_name() -> None:
    days, load = made(1, 5, 0.0)
    with pytest.raises(ValueError, match="caiso-residential-5-in-10 picks highest"):
        rolling_baseline(baseline_rule("caiso-residential-5-in-10"), days, load, days[-1:])
    with pytest.raises(ValueError, match="load has 5 days for 4 dates"):
        rolling_baseline(RULE, [days[0], *days[:-1]], load, days[-1:])
    with pytest.raises(ValueError, match="into has shape"):
        rolling_baseline(RULE, days, load, days[-1:], into=np.empty((2, 2)))
