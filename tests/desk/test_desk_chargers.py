"""Chargers under an import limit: one without a car holds no room, and one where a car comes gets its turn."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk import groups
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

SIZE_W = 7_200.0


def drawn_w(cars_from: list[float], limit_w: float, minutes: int, also: list[Kind] | None = None) -> np.ndarray:
    """Return what each device draws (W), minute by minute; shape (minutes, devices).

    A car is at each charger from that minute on (`inf`: never), and takes all that it may. Nothing tells of a car but
    what its charger draws. What stands beside them draws 4 kW by itself.
    """
    found = []

    async def play() -> None:
        beside = also or []
        stage = Stage1(fleet_of([Kind.EV_CHARGER] * len(cars_from) + beside, rating_w=SIZE_W))
        devices, fleet, count = stage.devices, stage.state.fleet, len(cars_from)
        cars = np.array(cars_from)
        low_w = np.full(len(fleet), -np.inf)
        end_ns = stage.clock.ns + 3 * HOUR_NS
        for minute in range(minutes):
            most_w = np.minimum(SIZE_W, -low_w[:count])
            draws = np.where((cars <= minute) & (most_w >= LEAST_CHARGE_W), most_w, 0.0)
            fleet.power_w[:] = np.concatenate([-draws, np.clip(-4_000.0, low_w[count:], devices.high_w[count:])])
            fleet.available_down_w[:count] = np.where(draws > 0.0, SIZE_W - draws, 0.0)
            fleet.taken_at_ns[:] = stage.clock.ns
            if minute == 0:
                stage.state.base_w[:] = fleet.power_w
                await stage.desk.ask(
                    stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-limit_w, high=1e6, end_ns=end_ns)
                )
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            low_w = devices.low_w.copy()
            found.append(-fleet.power_w.copy())
            stage.clock.ns += MINUTE_NS + SECOND_NS

    asyncio.run(play())
    return np.array(found)


@pytest.mark.parametrize(("idle", "limit_w"), [(2, 8_000.0), (7, 10_000.0), (7, 7_000.0)])
def test_chargers_without_a_car_leave_the_limit_to_the_one_that_charges(idle: int, limit_w: float) -> None:
    drawn = drawn_w([0.0] + [np.inf] * idle, limit_w, 60)
    assert (drawn.sum(axis=1)[3:] <= limit_w).all()
    assert drawn[3:, 0].min() > 0.5 * min(limit_w, SIZE_W)
    assert drawn[3:, 0].mean() > 0.9 * min(limit_w, SIZE_W)


def test_a_car_that_comes_under_a_limit_that_another_uses_wholly_gets_its_part() -> None:
    drawn = drawn_w([0.0, np.inf, np.inf, 10.0], 7_000.0, 90)
    assert (drawn.sum(axis=1)[3:] <= 7_000.0).all()
    assert drawn[45:, 3].min() >= LEAST_CHARGE_W
    assert drawn[50:, (0, 3)].sum(axis=1).mean() > 0.9 * 7_000.0
    assert drawn[50:, 0].mean() == pytest.approx(drawn[50:, 3].mean(), rel=0.3)


def test_a_store_that_keeps_the_limit_by_itself_is_not_made_to_give_for_chargers_without_a_car() -> None:
    drawn = drawn_w([np.inf] * 4, 4_000.0, 30, [Kind.HYBRID_SITE])
    assert drawn[:, 4].min() > 2_000.0


def test_where_a_limit_is_too_small_for_two_cars_no_car_is_stopped_to_look_for_another() -> None:
    drawn = drawn_w([0.0, np.inf, np.inf], 2_000.0, 30)
    assert drawn[3:, 0].min() >= LEAST_CHARGE_W
