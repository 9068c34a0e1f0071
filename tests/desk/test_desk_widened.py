"""What two limits and an award hold goes on to the bound as the feeder's limit is widened, whoever else holds it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from desk_stage import with_sites

from sampled import some
from tieline.desk.cycle import Cycle
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Granted, Offer, Segment
from tieline.fleet.columns import KIND_CODE
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

RATED_W = {
    Kind.BATTERY: (5_000, 5_000),
    Kind.PV: (6_000, 0),
    Kind.EV_CHARGER: (0, 7_200),
    Kind.WATER_HEATER: (0, 3_000),
}
HOMES, NARROW_W, WIDE_W = 4, 8_000.0, 16_000.0
AWARDED_AT, WIDENED_AT, LOOKS = 4, 30, 80


@dataclass
class Street:
    """What each device of a feeder did at each look; shape (looks, devices)."""

    does_w: np.ndarray
    free_w: np.ndarray
    is_store: np.ndarray
    is_heater: np.ndarray

    @property
    def drawn_w(self) -> np.ndarray:
        return -self.does_w.sum(axis=1)

    def used(self, since: int) -> np.ndarray:
        """Of the wide limit, less the 1 % that is kept, or of all that they would draw: what stores give makes no room."""
        most_w = min(0.99 * WIDE_W, -float(self.free_w.sum()))
        return (self.drawn_w + np.maximum(self.does_w[:, self.is_store], 0.0).sum(axis=1))[since:] / most_w


def street(seed: int, award_w: float) -> Street:
    """Homes with limits of their own on a feeder whose limit comes, and is widened; an award runs from soon after on.

    Each has a car at least, whose charger tells what it could draw less and not what more the car would take; some have
    a second one, a heater, a store, a roof. A meter is heard five seconds before each beat, every half minute.
    """
    rng, drawn = np.random.default_rng(seed), [Kind.EV_CHARGER, Kind.WATER_HEATER, Kind.BATTERY, Kind.PV]
    homes = [[Kind.EV_CHARGER, *(kind for kind in drawn if rng.random() < 0.6)] for _ in range(HOMES)]
    kinds = [kind for home in homes for kind in home]
    stage = with_sites(kinds, [at for at, home in enumerate(homes) for _ in home])
    state, fleet, devices, count = stage.state, stage.state.fleet, stage.devices, len(kinds)
    fleet.max_inject_w[:], fleet.max_absorb_w[:] = np.array([RATED_W[kind] for kind in kinds], np.float64).T
    is_car, is_heater, is_store, is_sun = (
        fleet.kinds == KIND_CODE[kind] for kind in (Kind.EV_CHARGER, Kind.WATER_HEATER, Kind.BATTERY, Kind.PV)
    )
    sun_w = rng.uniform(500, 4_000, count)
    free_w = np.select([is_car, is_heater, is_sun], [-7_200.0, -3_000.0, sun_w], 0.0)
    fleet.energy_wh[:] = np.where(is_store, 13_500.0, 0.0)
    serves = np.ones(count, np.bool_), np.zeros(count)
    pool = PoolDesk("pool-1", np.arange(count, dtype=np.int32), merit_price(fleet.kinds), *serves)
    found = []

    def read(power_w: np.ndarray) -> None:
        fleet.power_w[:], fleet.taken_at_ns[:] = power_w, stage.clock.ns
        fleet.column("available_up_w")[is_car] = -power_w[is_car]
        fleet.energy_available_wh[:] = np.where(is_store, 10_800.0, np.nan)

    async def limit(group: str, low_w: float, high_w: float) -> None:
        end_ns = stage.clock.ns + 4 * HOUR_NS
        ask = stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=end_ns)
        assert isinstance(await stage.desk.ask(ask), Granted)

    async def play() -> None:
        cycle, (start_ns, end_ns) = Cycle(stage.desk, {"pool-1": pool}), (stage.clock.ns, stage.clock.ns + 4 * HOUR_NS)
        state.base_w[:] = free_w
        read(free_w)
        for home in range(HOMES):
            await limit(f"site-{home}", -9_000.0, 6_000.0)
        for look in range(LOOKS):
            if look in (2, WIDENED_AT):
                await limit("feeder-1", -(NARROW_W if look == 2 else WIDE_W), 30_000.0)
            if look == AWARDED_AT:
                state.offers["o"] = Offer("o", "pool-1", "ENERGY", start_ns, end_ns, (Segment(award_w, 50.0),))
                state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", start_ns, end_ns, award_w, 50.0)
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            alive = devices.until_ns > stage.clock.ns
            wish_w = np.where(alive & np.isfinite(devices.target_w), devices.target_w, free_w)
            wish_w = np.select([is_car, is_sun], [np.maximum(wish_w, free_w), np.minimum(wish_w, free_w)], wish_w)
            does_w = np.where(alive, np.clip(wish_w, devices.low_w, devices.high_w), wish_w)
            does_w = np.where(is_car & (does_w > -LEAST_CHARGE_W), 0.0, does_w)
            found.append(np.where(is_heater, np.where(does_w < -1_500.0, -3_000.0, 0.0), does_w))
            stage.clock.ns += 25 * SECOND_NS
            read(found[-1])
            stage.clock.ns += 5 * SECOND_NS

    asyncio.run(play())
    return Street(np.array(found), free_w, is_store, is_heater)


@pytest.mark.parametrize("seed", some(range(1, 5), 2))
@pytest.mark.parametrize("award_w", [4_000.0, 10_000.0])
def test_what_a_widened_limit_leaves_is_drawn_within_a_quarter_of_an_hour_beside_an_award_and_never_more(
    seed: int, award_w: float
) -> None:
    found = street(seed, award_w)
    assert (found.drawn_w[3:WIDENED_AT] <= NARROW_W + 1.0).all(), found.drawn_w
    assert (found.drawn_w[WIDENED_AT + 1 :] <= WIDE_W + 1.0).all(), found.drawn_w
    used = found.used(WIDENED_AT + 30)
    # For half a minute a load in turn stands still, as the one that makes room for it stops first.
    assert used.mean() >= 0.97 and np.median(used) >= 0.97, used


def test_heaters_that_wait_beside_free_room_begin_though_two_limits_hold_them() -> None:
    found = street(4, 10_000.0)
    runs = found.does_w[WIDENED_AT + 6 :, found.is_heater] < 0.0
    assert runs.shape[1] == 3 and runs.mean() >= 0.9, runs
