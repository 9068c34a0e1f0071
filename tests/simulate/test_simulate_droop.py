"""Frequency droop moves what an inverter did before the disturbance, once, and never what it was told before (6.5.2.7)."""

from __future__ import annotations

import numpy as np
import pytest

from tieline.simulate.physics.inverter import droop_frac
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import MINUTE_NS, parse_iso

NOON_NS = parse_iso("2022-08-17T12:00:00-05:00")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose frequency the test sets."""
    made = World(build(60, np.random.default_rng([5, 0])), np.random.default_rng([5, 1]), with_grid=False)
    monkeypatch.setattr(made, "_drift", lambda seconds: None)
    return made


def stepped(world: World, minute: int, hz: float, target_w: np.ndarray) -> np.ndarray:
    world.frequency_hz = hz
    open_w = np.full(len(target_w), np.inf)
    world.step(NOON_NS + minute * MINUTE_NS, 60.0, target_w, -open_w, open_w)
    return world.power_w.copy()


def test_a_store_whose_command_ends_in_a_disturbance_does_not_go_on_with_it(world: World) -> None:
    free = np.full(len(world.power_w), np.nan)
    row = int(world.stores[0])
    idle_w = stepped(world, 0, 60.0, free)[row]
    told = free.copy()
    told[row] = 0.5 * world.territory.rated_w[row]
    assert stepped(world, 1, 60.0, told)[row] == pytest.approx(told[row], abs=50.0)
    assert stepped(world, 2, 60.05, free)[row] == pytest.approx(idle_w, abs=50.0)


def test_the_shift_of_a_disturbance_that_lasts_does_not_add_up(world: World) -> None:
    free = np.full(len(world.power_w), np.nan)
    row = int(world.stores[0])
    before_w = stepped(world, 0, 60.0, free)[row]
    shift_w = droop_frac(59.9) * world.territory.rated_w[row]
    assert shift_w > 50.0
    seen = [stepped(world, minute, 59.9, free)[row] for minute in range(1, 6)]
    assert seen == pytest.approx([before_w + shift_w] * 5, abs=20.0)
