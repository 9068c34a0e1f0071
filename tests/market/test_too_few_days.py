"""A baseline for which too few days are left says which were left out and why: who waits for it knows what for."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.market.baseline import compute
from tieline.market.controls import controlled
from tieline.market.picking import Event, LeftOut
from tieline.market.rule import baseline_rule

DAY = date(2024, 7, 31)
EVENT = Event(DAY, 16, 20)
RULE = baseline_rule("caiso-10-in-10")
FATES = ("no meter data", "an event day", "an outage, test or shutdown", "like")


def load_of(days: list[date]) -> dict[date, np.ndarray]:
    return {day: np.full(24, 100.0) for day in (DAY, *days)}


def refusal(fates: dict[date, str]) -> str:
    has = [day for day, fate in fates.items() if fate != "no meter data"]
    of = {fate: frozenset(day for day, one in fates.items() if one == fate) for fate in FATES}
    with pytest.raises(ValueError, match="like days for 2024-07-31") as refused:
        compute(RULE, load_of(has), EVENT, event_days=of["an event day"], outages=of["an outage, test or shutdown"])
    return str(refused.value)


def named(text: str) -> Counter[str]:
    """Return how many days a refusal names for each cause."""
    found: Counter[str] = Counter()
    for days, why in re.findall(r"([^()]+?) \(([^()]+)\)", text.partition("left out: ")[2]):
        counted = re.search(r"(\d+) days from", days)
        found[why] += int(counted[1]) if counted else len(re.findall(r"\d{4}-\d\d-\d\d", days))
    return found


@given(st.lists(st.sampled_from(FATES[:3]), min_size=40, max_size=40), st.sets(st.integers(0, 39), max_size=4))
def test_each_day_of_the_window_that_was_left_out_is_counted_with_its_cause(fates: list[str], like: set[int]) -> None:
    business = [day for back in range(1, RULE.window_days + 1) if (day := DAY - timedelta(days=back)).weekday() < 5]
    chosen = {day: "like" if at in like else fates[at % 40] for at, day in enumerate(business)}
    counts = Counter(fate for fate in chosen.values() if fate != "like")
    assert named(refusal(chosen)) == counts


def test_few_days_are_named_each_and_many_by_their_first_and_last() -> None:
    business = [day for back in range(1, RULE.window_days + 1) if (day := DAY - timedelta(days=back)).weekday() < 5]
    fates = dict.fromkeys(business, "no meter data") | dict.fromkeys(business[:2], "an event day")
    told = f"2024-07-30, 2024-07-29 (an event day), {len(business) - 2} days from {business[-1]} to 2024-07-26 (no meter data)"
    assert refusal(fates) == f"caiso-10-in-10: 0 like days for 2024-07-31, needs 5; left out: {told}"


def test_a_model_and_controls_name_them_too() -> None:
    days = [DAY - timedelta(days=back) for back in range(1, 4)]
    celsius = {day: np.full(24, 20.0) for day in (DAY, *days)}
    rule = baseline_rule("hourly-weather-normalised")
    with pytest.raises(ValueError, match=r"2 days to learn from, .*left out: .*2024-07-29 \(an event day\)"):
        compute(rule, load_of(days), EVENT, celsius=celsius, event_days=frozenset(days[1:2]))
    sides = {"a": load_of(days)}, {"b": load_of(days)}
    with pytest.raises(ValueError, match=r"1 like days to compare on, .*left out: .*2024-07-29 \(an event day\)"):
        controlled(baseline_rule("matched-controls"), *sides, EVENT, LeftOut(frozenset(days[1:2])))
