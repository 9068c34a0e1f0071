"""A DNO's relief follows the room that other load leaves, also where that is more than could be looked at."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py1815.control import CommandStatus

from tieline.node.relief import SETTLES_NS, UNLIMITED, Dno, Relief
from tieline.node.relief_room import EASES_TO, REACHES, Rooms
from tieline.rim.aside import Aside
from tieline.simulate.grid_aside import GridAside
from tieline.simulate.territory import GENERATION, build
from tieline.simulate.world import World
from tieline.times import MINUTE_NS, parse_iso

COUNT, EVENING_NS = 150, parse_iso("2022-08-17T21:00:00-05:00")


class Dispatcher:
    """The DNO's line to the outstation: what he asked is noted and taken."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    async def reach(self) -> None:
        """The line stands."""

    async def limit(self, at: int, low_w: float, high_w: float, *, select: bool = False) -> list[CommandStatus]:
        self.asked.append((low_w, high_w))
        return [CommandStatus.SUCCESS] * 3


async def _no_sleep(seconds: float) -> None:
    return None


def stage_of(base_w: float, device_w: float) -> SimpleNamespace:
    """A stage whose first feeder's sites draw `base_w` each, and whose devices there have `device_w` together."""
    territory = build(COUNT, np.random.default_rng([5, 0]))
    world = World(territory, np.random.default_rng([5, 1]))
    free = np.full(COUNT, np.nan), np.full(COUNT, -np.inf), np.full(COUNT, np.inf)
    world.step(EVENING_NS, 60.0, *free)
    rows = territory.fleet.leaves(territory.feeders[0])
    world.power_w[:] = 0.0
    world.base_load_w[:] = base_w
    world.power_w[rows] = device_w / len(rows)
    world._solve_grid(EVENING_NS)
    clock = SimpleNamespace(ns=EVENING_NS, now_ns=lambda: clock.ns)
    node = SimpleNamespace(clock=clock, state=SimpleNamespace(fleet=territory.fleet))
    return SimpleNamespace(
        world=world, territory=territory, node=node, scada=Dispatcher(), twin=None, group_at=lambda name: 20,
        sleep=_no_sleep, speed=1.0,
    )  # fmt: skip


def set_devices(stage: SimpleNamespace, device_w: float) -> float:
    """Let the first feeder's devices have so much together, and return its loading."""
    rows = stage.territory.fleet.leaves(stage.territory.feeders[0])
    stage.world.power_w[rows] = device_w / len(rows)
    stage.world._solve_grid(stage.node.clock.ns)
    return float(stage.world.grid.loading[0])


@settings(max_examples=25)
@given(st.floats(50.0, 2_500.0), st.floats(0.0, 1.2), st.floats(20e3, 160e3))
def test_room_is_looked_for_beyond_the_limit_and_what_is_found_bears_the_devices(
    base_w: float, share: float, bound_w: float
) -> None:
    """By an oracle: the feeder solved with its devices where the room is said to end, each by the same factor."""
    stage = stage_of(base_w, -share * bound_w)
    room_w = Rooms(stage).room(0, True, -bound_w, EASES_TO)
    assert np.isfinite(room_w)
    found, looked_w = Rooms(stage).envelope(0, True, EASES_TO, -REACHES * bound_w)
    assert looked_w <= -REACHES * bound_w + 1.0
    if np.isinf(found.low_w):
        assert room_w <= -REACHES * bound_w + 1.0, "nothing breaks however far it was looked: there is much room"
    if -share * bound_w >= room_w:
        assert set_devices(stage, room_w) <= EASES_TO + 0.02


@settings(max_examples=5, deadline=None)
@given(st.floats(50.0, 2_500.0), st.floats(0.0, 1.2), st.floats(20e3, 160e3), st.booleans())
def test_room_that_was_begun_aside_is_the_room_that_is_found_in_line(
    base_w: float, share: float, bound_w: float, moves: bool
) -> None:
    """And where a device has moved since, what was begun is not taken."""
    aside = Aside.begun("tieline.simulate.grid_aside", "the grid's")
    assert aside is not None
    try:
        here, there = stage_of(base_w, -share * bound_w), stage_of(base_w, -share * bound_w)
        there.world.solved.aside(GridAside(aside, there.world.network))
        there.world._solve_grid(EVENING_NS)
        rooms = Rooms(there)
        rooms.begin([(1, False, 1e3), (0, True, -bound_w)])
        if moves:
            for stage in (here, there):
                stage.world.power_w[stage.territory.fleet.leaves(stage.territory.feeders[0])[0]] -= 1.0
        for keeps in (0.95, EASES_TO):
            mine = Rooms(here).room(0, True, -bound_w, keeps), Rooms(here).room(1, False, 1e3, keeps)
            assert (rooms.room(0, True, -bound_w, keeps), rooms.room(1, False, 1e3, keeps)) == mine
        found, looked_w = rooms.envelope(0, True, EASES_TO, -REACHES * bound_w)
        assert (found, looked_w) == Rooms(here).envelope(0, True, EASES_TO, -REACHES * bound_w)
    finally:
        aside.end()


def test_more_room_than_could_be_looked_at_widens_a_limit_step_by_step_until_it_binds_nobody() -> None:
    """Devices want 120 kW and are held to 30; nothing of the feeder would break at three times that."""
    want_w, first_w = -120e3, -30e3

    async def play() -> tuple[SimpleNamespace, Relief]:
        stage = stage_of(100.0, first_w)
        assert np.isinf(Rooms(stage).envelope(0, True, EASES_TO)[0].low_w)
        dno = Dno(stage, (0, 0))
        made = Relief(stage.territory.feeders[0], EVENING_NS, first_w, True, "loading", 1.1, first_w, ["SUCCESS"])
        for _ in range(60):
            stage.node.clock.ns += 5 * MINUTE_NS
            set_devices(stage, max(want_w, made.bound_w))
            await dno._follow(made, stage.node.clock.ns)
        return stage, made

    stage, made = asyncio.run(play())
    assert made.bound_w < want_w and not made.moved
    bounds_w = [first_w, *(bound_w for _, bound_w in made.eased)]
    for before_w, after_w in pairwise(bounds_w):
        assert before_w * (1 + (REACHES - 1) / 2) - 100.0 <= after_w < before_w, "half the way to what was looked at"
    times = [EVENING_NS, *(when for when, _ in made.eased)]
    assert min(np.diff(times)) >= SETTLES_NS, "devices settle before it is widened again"
    assert [low_w for low_w, _ in stage.scada.asked] == bounds_w[1:]


def test_a_limit_on_what_is_given_is_not_widened_while_little_is_given() -> None:
    """With the sun that is behind a cloud, what listens to nobody comes back, too."""

    async def play() -> Relief:
        stage = stage_of(100.0, 3e3)
        dno = Dno(stage, (0, 0))
        made = Relief(stage.territory.feeders[0], EVENING_NS, 30e3, False, "loading", 1.1, 30e3, ["SUCCESS"])
        for _ in range(20):
            stage.node.clock.ns += 5 * MINUTE_NS
            await dno._follow(made, stage.node.clock.ns)
        return made

    assert asyncio.run(play()).eased == []


@pytest.mark.parametrize(("wanted_w", "is_borne"), [(-36e3, True), (-46e3, False), (None, False)])
def test_a_feeder_with_much_room_bears_what_its_devices_want_as_far_as_was_looked(
    wanted_w: float | None, is_borne: bool
) -> None:
    stage = stage_of(100.0, -30e3)
    made = Relief(stage.territory.feeders[0], EVENING_NS, -30e3, True, "loading", 1.1, -30e3, ["SUCCESS"])
    gives = SimpleNamespace(analog=lambda at: 0.0 if at == 31 + UNLIMITED else wanted_w)
    stage.scada, stage.group_at = gives, lambda name: 20 if name == stage.territory.feeders[0] else 31
    assert Dno(stage, (0, 0))._is_borne(made) is is_borne


class Told(Dispatcher):
    """A line that also tells analog inputs by index; what it does not tell was never heard."""

    def __init__(self, told: dict[int, float]) -> None:
        super().__init__()
        self._told = told

    def analog(self, index: int) -> float | None:
        return self._told.get(index)


GROUP, GENERATES = 20, 40


@pytest.mark.parametrize(
    ("imports", "bound_w", "told", "is_borne"),
    [
        (False, 50e3, {GROUP + UNLIMITED: 40e3}, True),
        (False, 50e3, {GROUP + UNLIMITED: 900e6}, False),
        (True, -50e3, {GROUP + UNLIMITED: -40e3, GENERATES: 0.0}, True),
        (True, -50e3, {GROUP + UNLIMITED: -900e6, GENERATES: 0.0}, False),
        # What its generation gives now may be gone at the next look: without it the draw is not borne.
        (True, -50e3, {GROUP + UNLIMITED: -40e3, GENERATES: 900e6}, False),
        # A group that draws makes no room by that.
        (True, -50e3, {GROUP + UNLIMITED: -40e3, GENERATES: -900e6}, True),
        (True, -50e3, {GROUP + UNLIMITED: -40e3}, False),
        (True, -50e3, {}, False),
        (False, 50e3, {}, False),
    ],
)
def test_a_limit_is_borne_by_what_devices_would_do_without_it_and_never_by_sun_that_may_go(
    imports: bool, bound_w: float, told: dict[int, float], is_borne: bool
) -> None:
    stage = stage_of(100.0, 0.0)
    stage.scada = Told(told)
    stage.group_at = lambda name: GENERATES if name.endswith(GENERATION) else GROUP
    made = Relief(stage.territory.feeders[0], EVENING_NS, bound_w, imports, "loading", 1.1, bound_w, ["SUCCESS"])
    assert Dno(stage, (0, 0))._is_borne(made) is is_borne
