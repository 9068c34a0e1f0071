"""Cars under an import limit that is too small for all of them: each charges or doesn't, in turn, and no part is lost."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sampled import some
from tieline.desk import groups
from tieline.desk.least_draw import is_between
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

SIZE_W, BEAT_S = 7_200.0, 60


class Garage:
    """Chargers with a car each, from its minute on, beside loads that draw what they like within what they are told."""

    def __init__(self, comes: list[int], loads_w: list[float], tells: bool) -> None:
        kinds = [Kind.EV_CHARGER] * len(comes) + [Kind.INTERRUPTIBLE_LOAD] * len(loads_w)
        self.stage, self.comes, self.loads_w = Stage1(fleet_of(kinds, rating_w=SIZE_W)), np.array(comes), loads_w
        self.tells, self.cars = tells, len(comes)
        self.draws_w: list[np.ndarray] = []
        self.caps_w: list[np.ndarray] = []
        self.limits_w: list[float] = []

    def live(self, minute: int) -> None:
        low_w, fleet, cars = self.stage.devices.low_w, self.stage.state.fleet, self.cars
        most_w, here = np.minimum(SIZE_W, -low_w[:cars]), self.comes <= minute
        draws_w = np.where(here & (most_w >= LEAST_CHARGE_W), most_w, 0.0)
        fleet.power_w[:] = -np.concatenate([draws_w, np.minimum(self.loads_w, -low_w[cars:])])
        knows = here if self.tells else draws_w > 0.0
        fleet.available_down_w[:cars] = np.where(knows, SIZE_W - draws_w, 0.0)
        fleet.taken_at_ns[:] = self.stage.clock.ns
        self.draws_w.append(-fleet.power_w.copy())

    async def play(self, limits_w: list[float]) -> Garage:
        stage = self.stage
        for limit_w in limits_w:
            minute = len(self.limits_w)
            self.live(minute)
            if minute == 0:
                stage.state.base_w[:] = stage.state.fleet.power_w
            if not self.limits_w or limit_w != self.limits_w[-1]:
                ends = {"low": -limit_w, "high": 1e6, "end_ns": stage.clock.ns + 9 * HOUR_NS}
                await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, **ends))
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            self.caps_w.append(stage.devices.low_w.copy())
            self.limits_w.append(limit_w)
            stage.clock.ns += BEAT_S * SECOND_NS
        return self


def played(comes: list[int], limits_w: list[float], loads_w: list[float], tells: bool) -> Garage:
    return asyncio.run(Garage(comes, loads_w, tells).play(limits_w))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 15), min_size=1, max_size=9),
    st.lists(st.sampled_from([0.0, 900.0, 2_000.0, 4_500.0]), max_size=4),
    st.lists(st.integers(2, 30), min_size=1, max_size=4),
    st.booleans(),
)
def test_no_charger_is_told_a_part_of_what_a_car_needs_and_the_limit_holds_at_each_beat(
    comes: list[int], loads_w: list[float], limits_kw: list[int], tells: bool
) -> None:
    limits_w = [1_000.0 * limit for limit in limits_kw for _ in range(12)]
    garage = played(comes, limits_w, loads_w, tells)
    caps_w = np.array(garage.caps_w)
    assert not is_between(caps_w[:, : garage.cars], np.full(garage.cars, LEAST_CHARGE_W)).any(), caps_w
    # A minute after a limit came all have followed it; caps that grow wait until those that sank were heard to.
    told_w = -np.maximum(caps_w, -SIZE_W).sum(axis=1)
    assert (told_w <= np.array(limits_w) + 1.0).all(), told_w
    settled = [at for at in range(2, len(limits_w)) if limits_w[at] == limits_w[at - 2]]
    drawn_w = np.array(garage.draws_w).sum(axis=1)
    assert (drawn_w[settled] <= np.array(limits_w)[settled] + 1.0).all(), drawn_w


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0.0, SIZE_W), min_size=1, max_size=10),
    st.lists(st.floats(0.0, SIZE_W), max_size=4),
    st.floats(1_500.0, 40_000.0),
    st.integers(0, 60),
)
def test_what_who_waits_does_not_use_the_others_have(
    wants_w: list[float], loads_w: list[float], limit_w: float, minute: int
) -> None:
    """As many charge as have their least, and beside them nobody who could take more lacks what nobody has."""
    kinds = [Kind.EV_CHARGER] * len(wants_w) + [Kind.INTERRUPTIBLE_LOAD] * len(loads_w)
    stage = Stage1(fleet_of(kinds, rating_w=SIZE_W))
    fleet, rows, now_ns = stage.state.fleet, np.arange(len(wants_w) + len(loads_w), dtype=np.int32), stage.clock.ns
    now_ns += minute * 60 * SECOND_NS
    fleet.power_w[len(wants_w) :] = -np.array(loads_w)
    fleet.available_down_w[: len(wants_w)] = wants_w
    fleet.taken_at_ns[:] = now_ns
    stage.state.commands.valid_until_ns[:] = now_ns + HOUR_NS
    stage.state.commands.low_w[: len(wants_w)] = 0.0
    low_w, _ = groups.caps(stage.state, rows, -limit_w, 9e9, now_ns)
    low_w = np.maximum(low_w, -SIZE_W)
    cars_w, rest_w = -low_w[: len(wants_w)], limit_w * 0.98 + low_w.sum()
    assert -low_w.sum() <= limit_w + 1e-6
    assert not is_between(-cars_w, np.full(len(cars_w), LEAST_CHARGE_W)).any()
    may_take = (cars_w > 0.0) & (cars_w < SIZE_W - 1.0)
    if rest_w > 1.0:
        assert not may_take.any(), (cars_w, rest_w)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(
    ("cars", "limit_w"), some([(11, 8_000.0), (4, 4_000.0), (3, 2_000.0), (5, 7_000.0), (7, 12_000.0)], 3)
)
def test_every_car_gets_its_turn_and_the_limit_is_used(cars: int, limit_w: float, tells: bool) -> None:
    """Before, of eleven cars within 8 kW five charged, every other minute, and 43 % of the limit was used."""
    garage = played([0] * cars, [limit_w] * 180, [], tells)
    drawn_w = np.array(garage.draws_w)[3:]
    assert drawn_w.sum(axis=1).mean() >= 0.88 * limit_w
    assert drawn_w.mean(axis=0).min() >= 0.7 * drawn_w.mean(), drawn_w.mean(axis=0)


def test_a_charger_whose_car_left_while_it_was_held_off_costs_a_few_minutes_and_no_more() -> None:
    garage = Garage([0, 0, 0], [], tells=False)

    async def play() -> None:
        await garage.play([2_000.0] * 30)
        garage.comes[1:] = 10_000
        await garage.play([2_000.0] * 90)

    asyncio.run(play())
    assert np.array(garage.draws_w)[-80:, 0].mean() >= 0.8 * 2_000.0
