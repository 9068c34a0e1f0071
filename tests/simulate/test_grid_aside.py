"""A world whose power flow is solved in a process of its own is the same world, to the bit."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import InvariantError
from tieline.grid.envelope import Sweep, sweep
from tieline.grid.network import GridState
from tieline.resource.identity import Kind
from tieline.rim.aside import Aside
from tieline.simulate.grid_aside import GridAside
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import MINUTE_NS, parse_iso

COUNT, NOON_NS = 120, parse_iso("2022-08-17T12:00:00-05:00")
COLLAPSES_W = -1e9
"""So much drawn by one device leaves its feeder no solution."""


def world_of(seed: int) -> World:
    return World(build(COUNT, np.random.default_rng([seed, 0])), np.random.default_rng([seed, 1]))


@contextmanager
def pair(seed: int) -> Iterator[tuple[World, World]]:
    """The same world twice: its grid solved in line, and aside."""
    here, there = world_of(seed), world_of(seed)
    aside = Aside.begun("tieline.simulate.grid_aside", "the grid's")
    assert aside is not None and there.network is not None
    there.solved.aside(GridAside(aside, there.network))
    try:
        yield here, there
    finally:
        aside.end()


def free() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(COUNT, np.nan), np.full(COUNT, -np.inf), np.full(COUNT, np.inf)


def same(one: GridState | None, two: GridState | None) -> None:
    assert one is not None and two is not None
    for name in ("site_pu", "low_pu", "high_pu", "loading"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.upper is not None and two.upper is not None
    for mine, theirs in zip((*one.flows, one.upper), (*two.flows, two.upper), strict=True):
        for name in ("voltage_pu", "line_frac", "trafo_frac", "source_w"):
            assert getattr(mine, name).tobytes() == getattr(theirs, name).tobytes()


@settings(max_examples=5, deadline=None)
@given(
    st.integers(0, 1_000),
    st.lists(st.tuples(st.floats(-8e3, 8e3), st.sampled_from(["", "looks", "apart"])), min_size=2, max_size=20),
)
def test_where_the_grid_is_solved_changes_nothing_whoever_looks_and_when(
    seed: int, minutes: list[tuple[float, str]]
) -> None:
    with pair(seed) as (here, there):
        for minute, (store_w, then) in enumerate(minutes, 1):
            for world in (here, there):
                target, low, high = free()
                target[world.rows[Kind.BATTERY]] = store_w
                world.step(NOON_NS + minute * MINUTE_NS, 60.0, target, low, high)
            assert here.power_w.tobytes() == there.power_w.tobytes()
            assert here.reactive_var.tobytes() == there.reactive_var.tobytes()
            if then == "looks":
                same(here.grid, there.grid)
            if then == "apart":
                copies = here.apart(), there.apart()
                for copied in copies:
                    copied.step(NOON_NS + (minute + 1) * MINUTE_NS, 60.0, *free())
                assert copies[0].power_w.tobytes() == copies[1].power_w.tobytes()
        same(here.grid, there.grid)


def test_a_feeder_that_would_collapse_leaves_the_last_voltages_wherever_it_is_solved() -> None:
    with pair(3) as both:
        for world in both:
            world.step(NOON_NS, 60.0, *free())
            before = world.grid
            world.power_w[0] = COLLAPSES_W
            world._solve_grid(NOON_NS)
            assert world.solved.collapsed == 1
            assert world.grid is before
            world.power_w[0] = 0.0
            world._solve_grid(NOON_NS)
            assert world.solved.collapsed == 1
            assert world.grid is not before
        same(both[0].grid, both[1].grid)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1_000), st.lists(st.sampled_from(["sweeps", "steps", "hears"]), min_size=2, max_size=12))
def test_feeders_swept_aside_are_swept_as_in_line_whatever_is_solved_before_they_are_heard(
    seed: int, does: list[str]
) -> None:
    with pair(seed) as (here, there):
        rng, waits, minute = np.random.default_rng(seed), list[tuple[list[Sweep], Callable[[], list[Sweep]]]](), 0
        assert here.network is not None
        for what in (*does, "hears"):
            if what == "steps":
                minute += 1
                for world in (here, there):
                    world.step(NOON_NS + minute * MINUTE_NS, 60.0, *free())
            elif what == "hears":
                for mine, later in waits:
                    for one, two in zip(mine, later(), strict=True):
                        for name in ("power_w", "loading", "voltage_ok"):
                            assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
                        assert one.rises == two.rises
            else:
                asked = []
                for feeder in rng.integers(0, len(here.territory.feeders), 3).tolist():
                    count = here.network.sites(feeder).stop - here.network.sites(feeder).start
                    room_w = rng.uniform(0.0, 10.0 ** rng.integers(2, 9), count) * rng.choice([-1.0, 1.0])
                    asked.append((feeder, -rng.uniform(0.0, 3e3, count), np.zeros(count), room_w, None, 1.01))
                begun = there.solved.sweeping(asked)
                assert begun is not None
                waits.append(([sweep(here.network.solver_of(at), *given) for at, *given in asked], begun))
        if minute:
            same(here.grid, there.grid)


def test_nobody_sweeps_ahead_where_the_grid_is_solved_in_line() -> None:
    with pair(6) as (here, there):
        none = np.zeros(1)
        assert here.solved.sweeping([(0, none, none, none, None, None)]) is None
        assert there.solved.sweeping([]) is None


def test_voltages_that_are_set_stand_until_the_next_power_flow() -> None:
    with pair(4) as both:
        for world in both:
            world.step(NOON_NS, 60.0, *free())
            world.site_pu = np.full(len(world.territory.feeder_of_site), 1.08)
            assert (world.site_pu == 1.08).all()
            world.step(NOON_NS + MINUTE_NS, 60.0, *free())
            assert world.seen_pu is not None and (world.seen_pu == 1.08).all()
        same(both[0].grid, both[1].grid)


def test_a_grid_whose_process_is_killed_says_so() -> None:
    with pair(5) as (_, there):
        pass
    with pytest.raises(InvariantError, match="the grid's process has ended"):
        there.step(NOON_NS, 60.0, *free())
        assert there.grid is None


@pytest.mark.skipif(sys.platform != "linux", reason="how much a pipe holds can be asked for on Linux alone")
def test_who_tells_a_process_as_much_as_a_fleet_while_it_only_begins_does_not_wait_for_it() -> None:
    aside = Aside.begun("tieline.simulate.grid_aside", "the grid's")
    assert aside is not None
    try:
        os.kill(aside._child.pid, signal.SIGSTOP)
        telling = threading.Thread(target=aside.tell, args=(bytes(500_000),), daemon=True)
        telling.start()
        telling.join(10.0)
        assert not telling.is_alive()
    finally:
        aside.end()
