"""A fleet follows a signal over slow links: within every bound, off no reserve, and on when a third of it goes silent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampled import some
from tieline.errors import ConfigError
from tieline.plan.regulator import NOTHING, Asked, Regulated, Regulator, Reports, Terms
from tieline.simulate.regulated import TICK_S, Hardware, Plant, regulation_signal

STEP_S, SETTLE_S = 2.0, 120
F32 = np.float32


def plain(count: int, rated_w: float = 5_000.0, seconds: float = 5.0) -> Regulated:
    """Return devices without stores that ramp from rest to all within so many seconds."""
    rated, none, one = np.full(count, rated_w, F32), np.zeros(count, F32), np.ones(count, F32)
    return Regulated(rated, rated.copy(), rated / F32(seconds), none, none.copy(), none.copy(), one, one)


def hardware(fleet: Regulated, down_s: float = 2.0, up_s: float = 2.0, **odd: float) -> Hardware:
    """Return devices that do as they are told, on links with so much delay."""
    count = len(fleet.down_w)
    none = np.zeros(count)
    made = Hardware(
        fleet, np.ones(count), none, none, none, none, np.full(count, down_s), np.full(count, up_s), lost_frac=0.0
    )
    return replace(made, **odd)


class Run:
    """A regulator and its plant, step by step."""

    def __init__(self, made: Hardware, sold_w: float, terms: Terms | None = None, seed: int = 0) -> None:
        self.plant = Plant(made, np.random.default_rng(seed))
        self.regulator, self.now_s = Regulator(made.fleet, sold_w, terms), 0.0
        self.sold_w = sold_w

    def step(self, signal: float, called_w: np.ndarray | None = None) -> Asked:
        asked = self.regulator.step(self.now_s, signal, self.plant.heard())
        self.plant.send(self.now_s, asked)
        for tick in range(1, int(STEP_S / TICK_S) + 1):
            self.plant.tick(self.now_s + tick * TICK_S, called_w)
        self.now_s += STEP_S
        return asked

    def follow(self, signal: np.ndarray) -> np.ndarray:
        """Return how far the true power was off the signal at each step, as a share of what is sold."""
        off = []
        for value in signal:
            off.append(self.plant.power_w / self.sold_w - value)
            self.step(float(value))
        return np.array(off)


DEVICE = st.tuples(
    st.integers(0, 5_000), st.integers(0, 5_000), st.floats(1, 120), st.integers(0, 2_000), st.floats(0, 1),
    st.floats(0, 1), st.floats(0.7, 1),
)  # fmt: skip


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(
    st.lists(DEVICE, min_size=1, max_size=12), st.integers(0, 2**31), st.floats(0, 6), st.floats(0, 0.2),
    st.sampled_from(["up", "down", "wanders", "flips"]), st.booleans(),
)  # fmt: skip
def test_no_device_is_asked_beyond_its_limits_and_no_store_goes_below_its_reserve(
    drawn: list, seed: int, delay_s: float, lost: float, shape: str, falls_silent: bool
) -> None:
    down, up, ramp_s, most, reserve_frac, held_frac, frac = (np.array(x, F32) for x in zip(*drawn, strict=True))
    span = np.maximum(np.maximum(down, up), 1)
    reserve = reserve_frac * most
    stored = reserve + held_frac * (most - reserve)
    fleet = Regulated(down, up, span / ramp_s, stored, reserve, most, frac, frac.copy())
    gauge = 0.003 * most.astype(float)
    made = hardware(fleet, delay_s, delay_s, lost_frac=lost)
    run = Run(replace(made, gauge_wh=gauge, noise_w=0.02 * span.astype(float)), float(span.sum()), seed=seed)
    before, steps = np.zeros(len(drawn)), 400
    wandering = regulation_signal(steps, STEP_S, np.random.default_rng(seed))
    for step in range(steps):
        signal = {"up": 1.0, "down": -1.0, "flips": float(step // 40 % 2 * 2 - 1), "wanders": wandering[step]}[shape]
        if falls_silent and step == 100:
            run.plant.silence(np.arange(0, len(drawn), 3), run.now_s + 300.0)
        asked = run.step(signal)
        told = run.regulator.told_w.astype(float)
        assert (asked.power_w <= up[asked.rows] + 0.01).all()
        assert (asked.power_w >= -down[asked.rows] - 0.01).all()
        # Away from rest at the ramp and no faster; a store that runs out may be let go of at once.
        further = np.abs(told) > np.abs(before)
        assert (np.abs(told - before)[further] <= (fleet.ramp_w_s * STEP_S * 1.001 + 0.05)[further]).all()
        store = most > 0
        assert (run.plant.stored_wh[store] >= reserve[store] - 1e-3).all(), "the owner's reserve is left alone"
        assert (run.plant.stored_wh[store] <= most[store] * 1.0001 + 1e-3).all()
        before = told


@pytest.mark.parametrize("signal", some([1.0, -1.0]))
def test_a_store_that_is_all_but_its_reserve_rests_whatever_its_gauge_says(signal: float) -> None:
    """Two of 2 kWh: one has 25 Wh beside its reserve, the other 1 kWh; the gauges err by 6 Wh."""
    rated, one = np.full(2, 5_000.0, F32), np.ones(2, F32)
    most, reserve = np.full(2, 2_000.0, F32), np.array([1_975.0, 1_000.0], F32)
    fleet = Regulated(rated, rated.copy(), rated / F32(5), np.array([1_987.0, 1_500.0], F32), reserve, most, one, one)
    run = Run(hardware(fleet, gauge_wh=np.full(2, 6.0)), 5_000.0, seed=3)
    for _ in range(2_000):
        run.step(signal)
        assert run.regulator.told_w[0] == 0.0
    assert run.plant.stored_wh[0] == 1_987.0
    assert (run.plant.stored_wh[1] < 1_100.0) if signal > 0 else (run.plant.stored_wh[1] > 1_900.0)


def test_the_loop_makes_up_for_what_the_weather_and_bad_base_points_do() -> None:
    fleet, signal = plain(40), regulation_signal(700, STEP_S, np.random.default_rng(4))

    def worst(terms: Terms) -> float:
        made = hardware(fleet)
        made.gain[:] = 0.8
        run = Run(made, 100_000.0, terms)
        run.plant.stray_w[:] = 500.0  # a fifth of what is sold, and nobody told it
        run.plant._stray = lambda: None  # type: ignore[method-assign]
        return float(np.abs(run.follow(signal))[SETTLE_S:].mean())

    assert worst(Terms()) < 0.06
    assert worst(Terms(corrects=False)) > 0.15


def test_the_fleet_follows_on_when_a_third_of_it_falls_silent_and_when_it_comes_back() -> None:
    fleet, signal = plain(60), regulation_signal(1_200, STEP_S, np.random.default_rng(5))
    run = Run(hardware(fleet), 120_000.0)
    sound = np.abs(run.follow(signal[:400]))[SETTLE_S:].mean()
    gone = np.arange(0, 60, 3)
    run.plant.silence(gone, run.now_s + 800.0)
    off = np.abs(run.follow(signal[400:800]))
    assert run.step(float(signal[800])).silent == 20
    assert off[40:].mean() < 1.5 * sound + 0.01, "80 s later all is as it was"
    assert not run.plant.moved_w[gone].any(), "their lease is over: they are at their base points"
    off = np.abs(run.follow(signal[801:]))
    assert off[40:].mean() < 1.5 * sound + 0.01
    assert run.plant.moved_w[gone].any(), "they are asked again"


def test_devices_that_hear_nothing_are_at_their_base_points_when_the_lease_and_their_ramp_are_over() -> None:
    run = Run(hardware(plain(10)), 25_000.0)
    run.follow(np.ones(60))
    assert run.plant.power_w == pytest.approx(25_000.0, rel=0.02)
    run.plant.silence(np.arange(10), np.inf)
    run.follow(np.ones(int((30 + 5) / STEP_S) + 1))
    assert run.plant.power_w == 0.0


def test_a_device_that_speaks_and_hears_nothing_counts_for_nothing_until_it_hears_again() -> None:
    made = hardware(plain(10))
    made.down_s[:3] = np.inf
    run = Run(made, 25_000.0)
    off = run.follow(np.full(120, 0.8))
    assert run.step(0.8).silent == 3
    assert not run.regulator.told_w[:3].any()
    assert abs(off[-20:]).max() < 0.05, "the others make up for it"
    made.down_s[:3] = 2.0
    run.follow(np.full(30, 0.8))
    assert run.step(0.8).silent == 0
    assert (run.regulator.told_w[:3] > 0).all()


def test_the_loop_does_not_take_back_what_armed_tables_give() -> None:
    run = Run(hardware(plain(20)), 50_000.0)
    run.follow(np.full(60, 0.2))
    called = np.full(20, 1_000.0)
    for _ in range(90):
        run.step(0.2, called)
    assert run.plant.power_w == pytest.approx(0.2 * 50_000 + 20_000, rel=0.02)


def test_what_the_fleet_cannot_give_is_told() -> None:
    run = Run(hardware(plain(4)), 40_000.0)
    run.follow(np.ones(60))
    assert run.step(1.0).lacks_w == pytest.approx(20_000.0, rel=0.05)


def test_an_empty_fleet_and_one_that_never_speaks_are_answered() -> None:
    none = plain(0)
    asked = Regulator(none, 1.0).step(0.0, 0.5)
    assert (len(asked.rows), asked.lacks_w) == (0, 0.5)
    mute = Regulator(plain(3), 1_000.0)
    last = [mute.step(2.0 * step, 1.0) for step in range(60)][-1]
    assert last.silent == 3
    assert last.lacks_w == pytest.approx(1_000.0)


def test_reports_that_are_crooked_old_or_of_the_future_move_nothing() -> None:
    def told(reports: Reports) -> bytes:
        regulator = Regulator(plain(2), 5_000.0)
        for step in range(10):
            sound = Reports(np.arange(2), np.zeros(2, F32), np.full(2, np.nan, F32), np.full(2, 2.0 * step - 2),
                            np.full(2, 2, F32))  # fmt: skip
            regulator.step(2.0 * step, 0.5, sound)
        regulator.step(20.0, 0.5, reports)
        return regulator.told_w.tobytes()

    def one(power: float, measured: float) -> Reports:
        nan = np.full(1, np.nan, F32)
        return Reports(np.zeros(1, np.int64), np.full(1, power, F32), nan, np.full(1, measured), np.full(1, 2, F32))

    quiet = told(NOTHING)
    assert told(one(math.nan, 19.0)) == told(one(math.inf, 19.0)) == quiet
    assert told(one(9e9, 3.0)) == told(one(9e9, 1e6)) == quiet
    assert told(one(4_000.0, 19.0)) != quiet, "a sound one does"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("up_w", -1.0, r"up_w\[1\] = -1.0: give a finite number, 0 or more"),
        ("ramp_w_s", 0.0, r"ramp_w_s\[1\] = 0.0: give a finite number, above 0"),
        ("stored_wh", np.nan, r"stored_wh\[1\] = nan"),
        ("reserve_wh", 5.0, r"reserve_wh\[1\] = 5.0: give at most most_wh, 0.0"),
    ],
)
def test_crooked_columns_are_refused_by_their_name_and_row(name: str, value: float, says: str) -> None:
    sound = plain(3)
    columns = {key: getattr(sound, key).copy() for key in Regulated.__slots__}
    columns[name][1] = value
    with pytest.raises(ConfigError, match=says):
        Regulated(**columns)


def test_a_signal_or_a_time_that_is_none_is_refused() -> None:
    regulator = Regulator(plain(1), 1_000.0)
    regulator.step(0.0, 0.0)
    for now_s, signal in ((1.0, math.nan), (math.inf, 0.0), (0.0, 0.0)):
        with pytest.raises(ConfigError, match="give finite numbers, the time above 0"):
            regulator.step(now_s, signal)
    with pytest.raises(ConfigError, match=r"sold_w = 0\.0"):
        Regulator(plain(1), 0.0)
    with pytest.raises(ConfigError, match=r"delay_s = 99\.0"):
        Terms(delay_s=99.0)
