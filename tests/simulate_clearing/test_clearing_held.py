"""A day whose hours are bounded offer by offer, and one in which what is on is held."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import triangle

from tieline.errors import ConfigError
from tieline.simulate.clearing import Market, Offer, case118, commit

CHEAP, DEAR = Offer("cheap", "1", ((80.0, 20.0),)), Offer("dear", "2", ((200.0, 50.0),))
PEAKER = Offer(
    "peaker", "2", ((50.0, 30.0),), low_mw=10.0, no_load_per_h=1_600.0, start_cost=500.0, may_stop=True, on_h=-9
)
DRAWN = np.array([[0.0, 0.0, 60.0], [0.0, 0.0, 60.0]])


def test_an_offer_gives_nothing_in_an_hour_in_which_it_is_not_offered() -> None:
    most = np.array([[np.inf, np.inf], [0.0, np.inf]])
    day = commit(triangle(), [CHEAP, DEAR], DRAWN, most_mw=most)
    assert np.allclose([hour.power_mw for hour in day.hours], [[60.0, 0.0], [0.0, 60.0]])
    assert [round(float(hour.price[0]), 6) for hour in day.hours] == [20.0, 50.0]


def test_what_is_on_is_held_though_another_day_were_cheaper() -> None:
    offers = [DEAR, PEAKER]
    found = commit(triangle(), offers, DRAWN)
    assert not found.is_on[:, 1].any(), "1,600 $/h are more than it saves"
    held = commit(triangle(), offers, DRAWN, is_on=np.ones((2, 2), np.bool_))
    assert held.is_on.all() and held.gap == 0.0 and held.start_cost == 500.0
    assert np.allclose([hour.power_mw for hour in held.hours], [[0.0, 60.0]] * 2)
    assert held.cost == pytest.approx(500.0 + 2 * (1_600.0 + 50.0 * 30.0))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"most_mw": np.ones((1, 2))}, r"most_mw of shape \(1, 2\): give \(2, 2\)"),
        ({"most_mw": np.full((2, 2), -1.0)}, "none below an offer"),
        ({"most_mw": np.full((2, 2), np.nan)}, "none below an offer"),
        ({"is_on": np.ones((2, 1), np.bool_)}, r"give bool of shape \(2, 2\)"),
    ],
)
def test_bounds_and_what_is_held_of_another_shape_are_refused(bad: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        commit(triangle(), [CHEAP, DEAR], DRAWN, **bad)


def test_a_market_refuses_more_reserve_in_five_minutes_than_a_day_ahead_and_a_step_outside_its_day() -> None:
    with pytest.raises(ConfigError, match=r"step_reserve_frac = 0\.5: give 0 to reserve_frac = 0\.06"):
        Market(case118(), step_reserve_frac=0.5)
    market = Market(case118(), drawn_mw=case118().hourly_mw(2))
    ahead = market.day_ahead()
    with pytest.raises(ConfigError, match="step 24 of 54 resources: give 0 to 23"):
        market.begin(ahead, 24)
    market.begin(ahead, 23)
    market.step()
    with pytest.raises(ConfigError, match="step 24: the day has 24"):
        market.step()
