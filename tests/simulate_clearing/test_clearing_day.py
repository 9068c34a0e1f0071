"""A day lived: prices answer to what we offer, and plants move as they can."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tieline.errors import ConfigError
from tieline.simulate.clearing import Cleared, Lived, Market, Offer, case118

BUS = "60"


def pool(mw: float = 200.0, asked: float = 32.0) -> Offer:
    """Return a pool that takes up to 100 MW below 20 $/MWh and gives above what it asks."""
    return Offer("pool", BUS, ((100.0, min(20.0, asked)), (mw, asked)), low_mw=-100.0)


@cache
def lived(with_pool: bool) -> Lived:
    return Market(case118(), (pool(),) if with_pool else ()).live()


def test_prices_are_lower_in_the_dear_hours_with_our_offers() -> None:
    row = case118().network.row(BUS)
    without, ours = (np.array([step.price[row] for step in lived(with_pool).steps]) for with_pool in (False, True))
    dear = without > 32.0
    assert dear.sum() >= 10, "the evening is dear without us"
    assert ours[dear].mean() < without[dear].mean() - 1.0
    gave = np.array([step.power_mw[-1] for step in lived(True).steps])
    assert (gave[ours < 32.0 - 1e-6] <= 1e-6).all()
    assert gave[ours > 32.0 + 1e-6] == pytest.approx(200.0)


def test_every_five_minutes_balance_and_no_plant_moves_faster_than_it_can() -> None:
    case, day = case118(), lived(False)
    for k, step in enumerate(day.steps):
        assert step.power_mw.sum() + step.shed_mw == pytest.approx(step.drawn_mw.sum() + step.surplus_mw, abs=1e-5)
        assert step.shed_mw == pytest.approx(0.0, abs=1e-6)
        assert step.congestion_rent >= 0.0
        if k == 0:
            continue
        is_on, was_on = (day.ahead.is_on[max(at, 0) // 12] for at in (k, k - 1))
        stays = (k + 12) // 12 >= 24 or day.ahead.is_on[(k + 12) // 12]
        for n, offer in enumerate(case.offers):
            moved = step.power_mw[n] - day.steps[k - 1].power_mw[n]
            if is_on[n] and was_on[n] and (stays is True or stays[n]):
                assert abs(moved) <= 5.0 * offer.ramp_mw_per_min + 1e-5
            elif not is_on[n] and not was_on[n]:
                assert abs(moved) <= offer.low_mw / 6.0 + 1e-5, "it goes up or down in half an hour"


def test_an_offer_may_change_between_two_steps_and_the_next_price_knows_it() -> None:
    def asked(step: int, last: Cleared | None) -> list[Offer]:
        assert (last is None) == (step == 0)
        return [pool(asked=1.0)] if step == 120 else []

    day = Market(case118(), (pool(asked=900.0),)).live(asked)
    assert all(step.power_mw[-1] <= 1e-6 for step in day.steps[:120])
    assert all(step.power_mw[-1] == pytest.approx(200.0) for step in day.steps[121:])
    assert day.steps[121].energy_price < day.steps[119].energy_price + 1e-6


def test_the_same_day_twice_is_the_same() -> None:
    again = Market(case118()).live()
    assert np.array_equal(again.ahead.is_on, lived(False).ahead.is_on)
    assert all(
        np.array_equal(one.power_mw, two.power_mw) for one, two in zip(again.steps, lived(False).steps, strict=True)
    )


def test_a_step_before_the_day_ahead_or_after_the_day_is_refused() -> None:
    market = Market(case118())
    with pytest.raises(ConfigError, match="call day_ahead first"):
        market.step()
    with pytest.raises(ConfigError, match="reserve_frac = 2"):
        Market(case118(), reserve_frac=2.0)
    market.day_ahead()
    for _ in range(288):
        market.step()
    with pytest.raises(ConfigError, match="the day has 288"):
        market.step()
