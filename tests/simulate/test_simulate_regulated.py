"""Regulated devices hear late, in any order or never, and do no more than they can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.plan.regulator import Asked, Regulated
from tieline.simulate.mail import Mail
from tieline.simulate.regulated import TICK_S, Hardware, Plant, regulation_signal

F32 = np.float32


def plant(down_s: float = 4.0, up_s: float = 4.0, most_wh: float = 0.0, seconds: float = 1.0) -> Plant:
    """Return one device of 5 kW on a link that always takes as long."""
    one, none = np.ones(1), np.zeros(1)
    rated = np.full(1, 5_000, F32)
    fleet = Regulated(
        rated, rated.copy(), rated / F32(seconds), np.full(1, most_wh / 2, F32), np.zeros(1, F32),
        np.full(1, most_wh, F32), np.full(1, 0.9, F32), np.full(1, 0.9, F32),
    )  # fmt: skip
    return Plant(
        Hardware(fleet, one, none, none, none, none, np.full(1, down_s), np.full(1, up_s), 0.0, 0.0),
        np.random.default_rng(1),
    )


def asked(power_w: float, until_s: float) -> Asked:
    return Asked(np.zeros(1, np.int64), np.full(1, power_w, F32), until_s, 0.0, 0, 1.0, 0.0)


def run(made: Plant, from_s: float, to_s: float) -> dict[float, float]:
    """Return the power at each tick."""
    powers = {}
    for tick in range(int(from_s / TICK_S) + 1, int(to_s / TICK_S) + 1):
        made.tick(tick * TICK_S)
        powers[tick * TICK_S] = float(made.moved_w[0])
    return powers


def test_nothing_moves_before_the_command_had_its_time_and_nothing_is_heard_before_its_own() -> None:
    made = plant(seconds=0.5)
    made.send(0.0, asked(1_000.0, 60.0))
    powers = run(made, 0.0, 3.5)
    assert not any(powers.values())
    assert len(made.heard().rows) == 0
    assert run(made, 3.5, 4.0)[4.0] == 1_000.0
    run(made, 4.0, 7.5)
    assert (made.heard().power_w == 0.0).all(), "what it measured until 3.5 s"
    run(made, 7.5, 10.0)
    late = made.heard()
    assert late.power_w.tolist() == [1_000.0]
    assert late.delay_s.tolist() == [4.0]
    assert 10.0 - late.measured_s[0] >= 4.0


def test_a_command_that_comes_after_a_newer_one_or_after_its_lease_is_not_followed() -> None:
    made = plant(down_s=6.0)
    made.send(0.0, asked(1_000.0, 60.0))
    run(made, 0.0, 2.0)
    made.hardware.down_s[:] = 1.0
    made.send(2.0, asked(2_000.0, 60.0))
    assert run(made, 2.0, 8.0)[8.0] == 2_000.0
    made.hardware.down_s[:] = 9.0
    made.send(8.0, asked(3_000.0, 16.0))
    assert run(made, 8.0, 20.0)[20.0] == 2_000.0


def test_a_device_goes_home_at_its_ramp_when_its_lease_is_over() -> None:
    made = plant(down_s=0.5, seconds=10.0)
    made.send(0.0, asked(5_000.0, 20.0))
    powers = run(made, 0.0, 40.0)
    assert powers[19.5] == 5_000.0
    steps = np.abs(np.diff([0.0, *powers.values()]))
    assert steps.max() == pytest.approx(250.0)
    assert powers[30.0] == 0.0


def test_a_store_gives_what_it_holds_and_not_a_watt_hour_more() -> None:
    made = plant(down_s=0.5, most_wh=10.0)
    made.send(0.0, asked(5_000.0, 600.0))
    powers = run(made, 0.0, 60.0)
    assert sum(powers.values()) * TICK_S / 3600.0 == pytest.approx(5.0 * 0.9, rel=1e-6)
    assert made.stored_wh[0] == pytest.approx(0.0, abs=1e-9)


def test_what_a_table_calls_for_comes_first_on_the_one_ramp() -> None:
    made = plant(down_s=0.5, seconds=10.0)
    made.send(0.0, asked(5_000.0, 600.0))
    made.tick(0.5, np.array([-1_000.0]))
    assert (made.shift_w[0], made.moved_w[0]) == (-250.0, 250.0)
    total = [made.power_w]
    for tick in range(2, 60):
        made.tick(tick * TICK_S, np.array([-1_000.0]))
        total.append(made.power_w)
    assert np.abs(np.diff(total)).max() <= 250.0 + 1e-9
    assert total[-1] == 4_000.0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 20) | st.just(np.inf)), max_size=40))
def test_every_message_arrives_once_at_its_time_and_a_lost_one_never(sent: list) -> None:
    mail = Mail(TICK_S)
    rows, delays = np.array([row for row, _ in sent], np.int64), np.array([delay for _, delay in sent])
    marks = np.arange(len(sent), dtype=float)[None, :]
    mail.send(3.0, rows, marks, delays)
    found: dict[int, float] = {}
    for tick in range(7, 60):
        for to, columns in mail.arrived(tick * TICK_S):
            for row, mark in zip(to.tolist(), columns[0].tolist(), strict=True):
                assert int(mark) not in found
                assert row == sent[int(mark)][0]
                found[int(mark)] = tick * TICK_S
    assert set(found) == {at for at, (_, delay) in enumerate(sent) if np.isfinite(delay)}
    for mark, at_s in found.items():
        assert sent[mark][1] - 1e-6 <= at_s - 3.0 <= max(sent[mark][1], TICK_S) + TICK_S


def test_the_test_signal_is_the_seeds_own_within_its_ends_and_asks_for_no_energy() -> None:
    signals = [regulation_signal(9_000, 2.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (signals[0] == signals[1]).all()
    assert (signals[0] != signals[2]).any()
    for signal in signals[1:]:
        assert np.abs(signal).max() == 1.0
        assert 0.02 < (np.abs(signal) == 1.0).mean() < 0.2
        quarters = signal.reshape(-1, 450).mean(axis=1)
        assert abs(quarters.mean()) < 0.05
