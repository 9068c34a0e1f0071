"""One power over many devices: fair, exact, within every bound, and few of them told anew."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.plan.realtime import Devices, Follower, fair_level

WATTS = st.integers(0, 5_000)
ONE = st.tuples(WATTS, WATTS, st.integers(1, 500), st.sampled_from(["plain", "store", "whole"]), st.integers(0, 100))
TARGETS = st.lists(st.integers(-60_000, 60_000), min_size=1, max_size=8)


def made(drawn: list[tuple[int, int, int, str, int]], band_frac: float = 0.1, kinds: bool = True) -> Devices:
    down, up, weight, _, soc = (
        np.array(x, np.float32) for x in [*zip(*((*d[:3], 0, d[4]) for d in drawn), strict=True)]
    )
    kind = np.array([d[3] if kinds else "plain" for d in drawn])
    most = np.where(kind == "store", (up + down) / 4, 0).astype(np.float32)
    ones = np.ones(len(drawn), np.float32)
    return Devices(
        -down, up, weight, np.float32(band_frac) * (up + down), most * soc / np.float32(100), most,
        np.float32(0.9) * ones, np.float32(0.95) * ones, kind == "whole", np.float32(60) * (kind == "whole"),
    )  # fmt: skip


@given(st.lists(ONE, min_size=1, max_size=30), st.integers(-80_000, 80_000))
def test_shares_are_those_of_the_level_that_breakpoints_in_order_give(drawn: list, target: int) -> None:
    devices = made(drawn, band_frac=0.0, kinds=False)
    told = Follower(devices).step(float(target), 4.0)
    low, high, weight = (column.astype(float).tolist() for column in (devices.low_w, devices.high_w, devices.weight))
    level = fair_level(float(target), low, high, weight)
    fair = np.clip(level * np.array(weight), low, high)
    assert devices.told_w == pytest.approx(fair, abs=0.05)
    assert told.sum_w == pytest.approx(min(max(target, sum(low)), sum(high)), abs=0.1)


@given(st.lists(ONE, min_size=1, max_size=30), TARGETS)
def test_the_sum_is_the_target_as_far_as_bounds_allow_and_no_bound_is_crossed(drawn: list, targets: list) -> None:
    devices = made(drawn)
    follower, before = Follower(devices), devices.told_w.copy()
    for target in targets:
        told = follower.step(float(target), 4.0)
        now = devices.told_w
        assert (now >= devices.low_w - 0.01).all()
        assert (now <= devices.high_w + 0.01).all()
        assert told.sum_w == pytest.approx(math.fsum(now.tolist()), abs=0.1)
        assert told.lacks_w == pytest.approx(target - told.sum_w)
        changed = np.flatnonzero(now != before)
        assert set(changed) <= set(told.rows.tolist()), "who is told something else is named"
        free = ~devices.whole & (devices.most_wh == 0)
        if abs(told.lacks_w) > 1.0:
            # What lacks is beyond all that may move: each of those stands at the end on that side.
            end = devices.high_w if told.lacks_w > 0 else devices.low_w
            assert now[free] == pytest.approx(end[free], abs=0.1)
        fair = np.clip(told.level * devices.weight, devices.low_w, devices.high_w)
        assert (np.abs(now - fair)[free] <= devices.band_w[free] + 0.1).all(), (
            "none is further from its share than its band"
        )
        before = now.copy()


@given(st.lists(ONE, min_size=1, max_size=30), TARGETS)
def test_a_store_never_gives_what_it_does_not_hold_nor_takes_what_it_has_no_room_for(
    drawn: list, targets: list
) -> None:
    devices = made(drawn)
    follower, store = Follower(devices), devices.most_wh > 0
    for target in targets:
        follower.step(float(target), 60.0)
        hours = devices.hold_s / 3600.0
        out = np.where(
            devices.told_w > 0, devices.told_w / devices.discharge_frac, devices.told_w * devices.charge_frac
        )
        left = devices.stored_wh - out * hours
        assert (left[store] >= -0.01 - 1e-3 * devices.most_wh[store]).all()
        assert (left[store] <= devices.most_wh[store] * 1.001 + 0.01).all()


@given(st.lists(ONE, min_size=1, max_size=30), TARGETS)
def test_what_is_on_or_off_is_never_told_a_part_and_never_switched_before_its_time(drawn: list, targets: list) -> None:
    devices = made(drawn)
    follower, whole = Follower(devices), devices.whole
    since, before = np.full(len(drawn), np.inf), devices.told_w.copy()
    for turn, target in enumerate(targets):
        follower.step(float(target), 7.0)
        since += 7.0
        switched = whole & (devices.told_w != before)
        assert (since[switched] >= devices.least_s[switched]).all()
        since[switched], before = 0.0, devices.told_w.copy()
        if turn:
            assert np.isin(devices.told_w, [devices.low_w, devices.high_w])[whole].all() or not whole.any()


def test_the_bits_are_the_same_on_one_thread_and_on_two() -> None:
    rng = np.random.default_rng(2)
    drawn = [(*rng.integers(0, 5_000, 2).tolist(), int(rng.integers(1, 99)), kind, 50)
             for kind in ("plain", "store", "whole") for _ in range(400)]  # fmt: skip
    one, two = made(drawn), made(drawn)
    with ThreadPoolExecutor(2) as threads:
        alone, shared = Follower(one), Follower(two, threads)
        for target in rng.integers(-900_000, 900_000, 20).tolist():
            first, second = alone.step(target, 4.0), shared.step(target, 4.0)
            assert first.level == second.level
            assert first.sum_w == second.sum_w
            assert one.told_w.tobytes() == two.told_w.tobytes()


def test_a_small_step_moves_few_and_each_in_its_turn() -> None:
    count = 1_000
    rated = np.full(count, 5_000, np.float32)
    nothing, ones = np.zeros(count, np.float32), np.ones(count, np.float32)
    devices = Devices(-rated, rated, ones, 0.02 * rated, nothing.copy(), nothing, ones, ones, nothing > 1, nothing)
    follower = Follower(devices)
    follower.step(1e6, 4.0)
    moved = [len(follower.step(1e6 + 1e4 * (turn % 2), 4.0).rows) for turn in range(20)]
    assert max(moved) < 200, "a step of 10 W a device, each may be 100 W off its share"
    assert float(devices.told_w.sum()) == pytest.approx(1e6 + 1e4, abs=0.5)


def test_no_device_and_none_that_may_move_are_answered() -> None:
    none = np.zeros(0, np.float32)
    told = Follower(Devices(none, none, none, none, none, none, none, none, none > 1, none)).step(5.0, 4.0)
    assert (told.sum_w, told.lacks_w, len(told.rows)) == (0.0, 5.0, 0)
    devices = made([(0, 0, 1, "plain", 0)] * 3)
    assert Follower(devices).step(-7.0, 4.0).lacks_w == -7.0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("low_w", np.nan, r"low_w\[1\] = nan: give a finite number"),
        ("high_w", np.inf, r"high_w\[1\] = inf"),
        ("weight", -1.0, r"weight\[1\] = -1.0: give a finite number, 0 or more"),
        ("charge_frac", 0.0, r"charge_frac\[1\] = 0.0: give above 0 to 1"),
        ("low_w", 9e4, r"low_w\[1\] = 90000.0: give at most high_w"),
    ],
)
def test_crooked_columns_are_refused_by_their_name_and_row(name: str, value: float, says: str) -> None:
    sound = made([(10, 10, 1, "plain", 0)] * 3)
    columns = {key: getattr(sound, key).copy() for key in Devices.__slots__ if key not in ("told_w", "age_s", "hold_s")}
    columns[name][1] = value
    with pytest.raises(ConfigError, match=says):
        Devices(**columns)


def test_a_target_or_a_time_that_is_none_is_refused() -> None:
    follower = Follower(made([(10, 10, 1, "plain", 0)]))
    for target, seconds in ((math.nan, 4.0), (1.0, math.inf), (1.0, -1.0)):
        with pytest.raises(ConfigError, match="give finite numbers"):
            follower.step(target, seconds)
