"""What is on or off stays on while its feeder is within both ends of a limit that its stores can't keep without it."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from desk_stage import fleet_of
from strays_stage import OBEYS, One, Street

from sampled import some
from tieline.resource.identity import Kind

BEATS = 10
LOADS = (
    (Kind.EV_CHARGER, True, 14, 74), (Kind.EV_CHARGER, False, 14, 74), (Kind.WATER_HEATER, True, 5, 30),
    (Kind.THERMOSTAT, True, 5, 50), (Kind.INTERRUPTIBLE_LOAD, True, 1, 50), (Kind.INTERRUPTIBLE_LOAD, False, 0, 50),
)  # fmt: skip
"""Kinds of loads, which are on or off (a car is so behind a plug), and between what they draw (100 W)."""


class Plugs(Street):
    """A feeder of stores and roofs, and of loads of which some are on or off and draw a part of their rating."""

    def __init__(self, makes: list[One], loads: list[One], rated_w: list[float], switched: list[bool]) -> None:
        fleet = fleet_of([one.kind for one in makes + loads])
        fleet.max_absorb_w[len(makes) :] = rated_w
        super().__init__(makes + loads, fleet)
        self.state.is_switched[len(makes) :] = switched
        self.slack_w = 3.0 + 0.005 * float((fleet.max_inject_w + fleet.max_absorb_w).sum())

    @staticmethod
    def drawn(drawn: random.Random) -> Plugs:
        """A feeder of a seed."""
        makes = [One(Kind.BATTERY, OBEYS, 100.0 * drawn.choice([0, drawn.randint(-40, 40)])) for _ in range(6)]
        makes = makes[: drawn.randint(1, 6)]
        makes += [One(Kind.PV, OBEYS, 100.0 * drawn.randint(0, 50)) for _ in range(drawn.choice([0, 0, 1, 2]))]
        loads, rated_w, switched = [], [], []
        for kind, is_switched, least, most in drawn.choices(LOADS, k=drawn.randint(1, 5)):
            draw_w = 0.0 if is_switched and drawn.random() < 0.15 else 100.0 * drawn.randint(least, most)
            loads.append(One(kind, OBEYS, -draw_w))
            rated_w.append(max(1_400.0, draw_w * drawn.choice([1.0, 1.05, 1.5, 2.1] if is_switched else [1.0, 1.3])))
            switched.append(is_switched)
        return Plugs(makes, loads, rated_w, switched)

    async def kept(self, low_w: float, high_w: float) -> list[np.ndarray]:
        """Limit the feeder, and return what each does after each beat, of which none is beyond an end.

        Nor is it by what the stores were told: whatever of it they do beside the others as they are.
        """
        does_w, fleet = [], self.state.fleet
        await self.limit(low_w, high_w)
        low_w, high_w = low_w - self.slack_w, high_w + self.slack_w
        stores = (fleet.max_inject_w > 0.0) & (fleet.max_absorb_w > 0.0)
        for _ in range(BEATS):
            net_w = (await self.play())[0]
            assert low_w <= net_w <= high_w, (net_w, does_w)
            least_w = np.where(stores, np.maximum(self.link.low_w, -fleet.max_absorb_w), self.does_w)
            most_w = np.where(stores, np.minimum(self.link.high_w, fleet.max_inject_w), self.does_w)
            assert low_w <= least_w.sum(), (least_w, most_w)
            assert most_w.sum() <= high_w, (least_w, most_w)
            does_w.append(self.does_w)
        return does_w


@pytest.mark.parametrize("ends_w", [(-12_000.0, -6_000.0), (-11_500.0, -5_000.0), (-25_000.0, -6_000.0)])
def test_plugged_cars_charge_on_though_they_draw_a_part_of_their_rating(ends_w: tuple[float, float]) -> None:
    """Told what they drew, not their rating, both stopped: the feeder went from -10.5 to -1.5 kW, and to -5 after."""

    async def play() -> None:
        cars = [One(Kind.EV_CHARGER, OBEYS, -7_000.0), One(Kind.EV_CHARGER, OBEYS, -3_500.0)]
        street = Plugs([One(Kind.BATTERY, OBEYS, 0.0)] * 3, cars, [7_400.0] * 2, [True] * 2)
        for does_w in await street.kept(*ends_w):
            assert does_w[3:].tolist() == [-7_000.0, -3_500.0]

    asyncio.run(play())


@pytest.mark.parametrize("seed", [*(27, 54, 112, 131), *some(range(200, 300), 30)])
def test_a_feeder_within_both_ends_is_not_told_out_of_them_whatever_part_its_loads_draw(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        street = Plugs.drawn(drawn)
        stands_w, was_w = float(street.does_w.sum()), street.does_w
        below_w, above_w = (100.0 * drawn.choice([0, *[drawn.randint(3, 80) for _ in range(4)]]) for _ in range(2))
        low_w, high_w = stands_w - below_w, stands_w + max(above_w, 300.0)
        on = street.state.is_switched & (was_w < 0.0)
        cars = (~street.state.is_switched) & (was_w < 0.0) & (street.state.fleet.max_inject_w <= 0.0)
        does_w = await street.kept(low_w, high_w)
        if not cars.any() and on.any() and -was_w[on].min() > high_w - low_w:
            for each in does_w:  # no store could make up for the largest of them
                assert (each[on] == was_w[on]).all()

    asyncio.run(play())
