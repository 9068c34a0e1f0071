"""Readings in Wh for kWh, of the wrong sign or far above are doubted; homes, chargers and plants are not."""

from __future__ import annotations

import numpy as np
import pytest

from tieline.market.doubts import doubts
from tieline.simulate.datasets import homes
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS

FIRST_NS = 19_875 * DAY_NS + 7 * HOUR_NS
"""A midnight of Los Angeles: a day there lies on two days of UTC."""
QUARTER_NS = 15 * MINUTE_NS


def plant(days: int = 61, step_ns: int = HOUR_NS) -> tuple[np.ndarray, np.ndarray]:
    """A load of 30 to 59 kW, as that of docs/do/baseline.md."""
    at = np.arange(days * DAY_NS // step_ns)
    hours = at * step_ns // HOUR_NS
    return FIRST_NS + at * step_ns, (30.0 + hours % 24 + hours // 24 % 7) * step_ns / HOUR_NS


def told(starts, kwh, step_ns=HOUR_NS, most_kw=None) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in doubts(starts, kwh, step_ns, most_kw)]


@pytest.mark.parametrize("step_ns", [HOUR_NS, QUARTER_NS])
@pytest.mark.parametrize("day", [0, 20, 59, 60])
def test_a_day_in_wh_is_doubted_from_its_first_row_to_its_last_at_any_place(day: int, step_ns: int) -> None:
    starts, kwh = plant(step_ns=step_ns)
    a_day = DAY_NS // step_ns
    kwh[day * a_day : (day + 1) * a_day] *= 1_000
    assert told(starts, kwh, step_ns) == [(day * a_day, (day + 1) * a_day - 1)]


@pytest.mark.parametrize("days", [2, 7, 20])
def test_a_stretch_in_wh_is_doubted_however_long_up_to_a_third(days: int) -> None:
    starts, kwh = plant()
    kwh[10 * 24 : (10 + days) * 24] *= 1_000
    assert told(starts, kwh) == [(240, 240 + days * 24 - 1)]


def test_a_history_in_wh_makes_its_event_the_day_that_is_doubted() -> None:
    starts, kwh = plant()
    kwh[: 60 * 24] *= 1_000
    assert told(starts, kwh) == [(60 * 24, 61 * 24 - 1)]
    starts, kwh = plant()
    event = slice(60 * 24 + 16, 60 * 24 + 20)
    kwh *= 1_000
    kwh[event] /= 1_000
    assert told(starts, kwh) == [(event.start, event.stop - 1)]


@pytest.mark.parametrize("value", [48_000.0, -48_000.0, -900_000.0, 600.0])
def test_one_reading_far_above_all_others_is_doubted_whatever_its_sign(value: float) -> None:
    starts, kwh = plant()
    kwh[60 * 24 + 17] = value
    assert told(starts, kwh) == [(60 * 24 + 17, 60 * 24 + 17)]


def test_a_day_of_the_other_sign_is_doubted_and_a_noon_of_a_plant_is_not() -> None:
    starts, kwh = plant()
    kwh[30 * 24 : 31 * 24] *= -1
    assert told(starts, kwh) == [(720, 743)]
    starts, kwh = plant()
    noons = (np.arange(len(kwh)) % 24 > 9) & (np.arange(len(kwh)) % 24 < 17)
    assert told(starts, np.where(noons, -kwh, kwh)) == []


def test_an_hour_s_energy_in_a_quarter_before_its_gap_is_doubted_and_a_gap_alone_is_not() -> None:
    starts, kwh = plant(step_ns=QUARTER_NS)
    hour = 4 * 1_000
    keep = np.ones(len(kwh), np.bool_)
    keep[hour + 1 : hour + 4] = False
    assert told(starts[keep], kwh[keep], QUARTER_NS) == []
    kwh[hour] *= 4
    assert told(starts[keep], kwh[keep], QUARTER_NS) == [(hour, hour)]


def test_what_passes_a_known_registration_is_doubted_either_way_and_what_meets_it_is_not() -> None:
    starts, kwh = plant()
    kwh[100], kwh[101], kwh[102], kwh[103] = 60.0, 60.1, -60.1, -60.0
    assert told(starts, kwh, most_kw=60.0) == [(101, 102)]
    assert told(starts, kwh) == []


def test_no_home_that_comes_with_tieline_is_doubted_in_any_two_months_nor_with_a_roof() -> None:
    roof = np.maximum(np.sin((np.arange(24 * 61) % 24 - 13.0) / 24 * 2 * np.pi), 0.0) * 5
    for home in homes():
        kwh = home[1:].astype(np.float64) / 1e3
        assert kwh.max() < 48
        for day in range(0, len(kwh) // 24 - 61, 50):
            part = kwh[day * 24 : (day + 61) * 24]
            starts = FIRST_NS + np.arange(len(part)) * HOUR_NS
            assert told(starts, part) == told(starts, part - roof) == []


def test_a_charger_that_ran_once_in_two_months_is_not_doubted() -> None:
    starts, kwh = plant()
    kwh = np.full(len(kwh), 0.002)
    kwh[900:904] = 11.0
    assert told(starts, kwh) == []
