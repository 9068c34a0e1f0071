"""Under an upper limit those that are held at their caps come to equal parts, and what one can't use is the others'."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of, with_generation

from tieline.desk import groups
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, SECOND_NS

SIZE_W = 5_000.0


def given_w(
    kinds: list[Kind], free_w: np.ndarray, limit_w: float, lost_until: int = 0, *, generation: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each device gives (W) and its cap, minute by minute; shapes (minutes, devices).

    `free_w`: what each would give by itself, minute by minute. The first device is out of reach until a minute.
    """
    gives, caps = [], []

    async def play() -> None:
        stage = with_generation(kinds) if generation else Stage1(fleet_of(kinds))
        group = "feeder-1-generation" if generation else "feeder-1"
        devices, fleet = stage.devices, stage.state.fleet
        fleet.power_w[:] = stage.state.base_w[:] = free_w[0]
        if lost_until:
            devices.hears = lambda n: np.arange(n) > 0
        end_ns = stage.clock.ns + 3 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=-1e6, high=limit_w, end_ns=end_ns)
        )
        for minute, would_w in enumerate(free_w):
            lost = minute < lost_until
            if not lost:
                devices.hears = lambda n: np.ones(n, np.bool_)
            fleet.quality[0] = int(Quality.NOT_TOPICAL) if lost else 0
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            stage.clock.ns += 60 * SECOND_NS
            fleet.power_w[:] = np.minimum(would_w, devices.high_w)
            fleet.taken_at_ns[int(lost) :] = stage.clock.ns
            gives.append(fleet.power_w.copy())
            caps.append(devices.high_w.copy())

    asyncio.run(play())
    return np.array(gives), np.array(caps)


@pytest.mark.parametrize("generation", [False, True])
@pytest.mark.parametrize("others", [1, 3])
def test_who_made_room_for_one_out_of_reach_gets_it_back(others: int, generation: bool) -> None:
    kinds = [Kind.BATTERY] + [Kind.PV] * others
    free_w = np.tile([4_000.0] + [SIZE_W] * others, (60, 1))
    gives, _ = given_w(kinds, free_w, 4_000.0, 10, generation=generation)
    assert (gives[12:].sum(axis=1) <= 4_000.0).all()
    assert gives[40:].sum(axis=1).mean() > 0.93 * 4_000.0
    part_w = 4_000.0 / len(kinds)
    assert (gives[-5:] > 0.5 * part_w).all(), gives[-5:]


@pytest.mark.parametrize("generation", [False, True])
def test_what_stays_dark_leaves_the_room_to_who_can_use_it(generation: bool) -> None:
    free_w = np.tile([SIZE_W, SIZE_W, 0.0, 0.0], (120, 1))
    gives, _ = given_w([Kind.PV] * 4, free_w, 6_000.0, generation=generation)
    assert (gives[3:].sum(axis=1) <= 6_000.0).all()
    assert gives[5:].sum(axis=1).mean() > 0.93 * 6_000.0


@pytest.mark.parametrize("generation", [False, True])
def test_when_the_sun_moves_from_one_roof_to_another_the_room_does_within_minutes(generation: bool) -> None:
    free_w = np.tile([SIZE_W, SIZE_W, 0.0, 0.0], (80, 1))
    free_w[40:] = [0.0, 0.0, SIZE_W, SIZE_W]
    gives, _ = given_w([Kind.PV] * 4, free_w, 6_000.0, generation=generation)
    assert (gives[3:].sum(axis=1) <= 6_000.0).all()
    assert gives[48:].sum(axis=1).min() > 0.9 * 6_000.0, gives[40:52].sum(axis=1)
