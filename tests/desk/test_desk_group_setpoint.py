"""A setpoint on a group is shared out by what each of its devices can do: stores in parts, switched loads whole."""

from __future__ import annotations

import asyncio
from itertools import product

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.fleet.holding import nearest_w
from tieline.fleet.split import split_beside
from tieline.resource.identity import Kind
from tieline.resource.level import Level

SIZES = st.lists(st.tuples(st.integers(1, 60).map(lambda n: n * 100.0), st.booleans()), min_size=1, max_size=9)


def reached_w(share_w: np.ndarray, size_w: np.ndarray, whole: np.ndarray) -> float:
    """Return what devices draw that are told so much: what is on or off goes to the nearer of both."""
    return -float(nearest_w(-share_w, size_w, whole).sum())


@given(SIZES, st.floats(0.0, 1.0), st.randoms(use_true_random=False))
@example([(2_000.0, True)] * 4, 0.5, None)
@settings(deadline=None, max_examples=400)
def test_a_target_is_reached_as_nearly_as_any_choice_of_whole_loads_can(drawn: list, part: float, lot) -> None:
    size_w, whole = (np.array(x) for x in zip(*drawn, strict=True))
    target_w, rest_w = part * float(size_w.sum()), float(size_w[~whole].sum())
    order = np.flatnonzero(whole)
    if lot is not None:
        lot.shuffle(order)
    share_w = split_beside(target_w, size_w, whole, order)
    assert set(share_w[whole]) <= {0.0, *size_w[whole]}
    assert (share_w >= 0.0).all() and (share_w <= size_w + 1e-6).all()
    missed_w = abs(reached_w(share_w, size_w, whole) - target_w)
    sums = [float(np.dot(on, size_w[whole])) for on in product((0.0, 1.0), repeat=len(order))]
    least_w = min(max(target_w - rest_w - on_w, on_w - target_w, 0.0) for on_w in sums)
    assert missed_w == pytest.approx(least_w, abs=1.0)
    assert missed_w <= abs(reached_w(part * size_w, size_w, whole) - target_w) + 1.0, "never worse than by its size"


@given(st.integers(65, 400), st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=20)
def test_of_many_loads_as_many_go_on_as_come_nearest(count: int, part: float) -> None:
    size_w, whole = 1_000.0 + 10.0 * (np.arange(count) % 7), np.ones(count, np.bool_)
    target_w = part * float(size_w.sum())
    share_w = split_beside(target_w, size_w, whole, np.arange(count))
    assert abs(float(share_w.sum()) - target_w) <= 500.0


async def told(kinds: list[Kind], switched: frozenset[int], power_w: list[float], ask_w: float) -> np.ndarray:
    stage = Stage1(fleet_of(kinds, rating_w=2_000.0), switched=switched)
    stage.state.fleet.power_w[:] = power_w
    await stage.desk.ask(stage.ask("dso", Level.UTILITY, "feeder-1", value=ask_w))
    await stage.desk.settle()
    return stage.devices.target_w


def test_half_of_four_plugs_run_for_half_of_their_power_and_those_that_run_go_on() -> None:
    plugs = [Kind.SHIFTABLE_LOAD] * 4
    target_w = asyncio.run(told(plugs, frozenset(range(4)), [0.0, -2_000.0, 0.0, -2_000.0], -4_000.0))
    assert target_w.tolist() == [0.0, -2_000.0, 0.0, -2_000.0], "each was told 1 kW of its 2: all stayed off"


def test_a_battery_takes_what_whole_loads_leave() -> None:
    kinds = [Kind.BATTERY, Kind.SHIFTABLE_LOAD, Kind.SHIFTABLE_LOAD]
    target_w = asyncio.run(told(kinds, frozenset({1, 2}), [0.0] * 3, -3_000.0))
    assert target_w.tolist() == [-1_000.0, -2_000.0, 0.0]


def test_what_takes_a_part_has_its_part_by_its_size_as_ever() -> None:
    target_w = asyncio.run(told([Kind.BATTERY] * 4, frozenset(), [0.0] * 4, -3_000.0))
    assert target_w.tolist() == [-750.0] * 4
    target_w = asyncio.run(told([Kind.BATTERY, Kind.SHIFTABLE_LOAD], frozenset({1}), [0.0] * 2, 1_000.0))
    assert target_w.tolist() == [1_000.0, 0.0]
