"""A site that may not export never does through what the desk itself calls there: a load that stops, a store that gives."""

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
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

STORE_W, PLUG_W, HOMES, LOOKS = 5_000.0, 2_000.0, 4, 60
LIMITED_AT, PRESSED_AT = 6, 16


@dataclass
class Told:
    """What each device did and was told at each look; shape (looks, devices)."""

    does_w: np.ndarray
    target_w: np.ndarray
    free_w: np.ndarray
    site_of: np.ndarray
    is_plug: np.ndarray

    def site_w(self, site: int) -> np.ndarray:
        return self.does_w[:, self.site_of == site].sum(axis=1)


def played(seed: int, award_w: float, closed: tuple[int, ...], is_pressed: bool, goes: float = 0.0) -> Told:
    """Homes of a store and a few plugs that an award calls; some may not export, and later the others may hardly give.

    A meter is heard five seconds before each beat, every fifteen seconds. Plugs that nobody holds are on, or go on and
    off by themselves with a chance at each look.
    """
    rng = np.random.default_rng(seed)
    homes = [[Kind.BATTERY, *([Kind.INTERRUPTIBLE_LOAD] * int(rng.integers(1, 3)))] for _ in range(HOMES)]
    kinds, site_of = [kind for home in homes for kind in home], [at for at, home in enumerate(homes) for _ in home]
    stage = with_sites(kinds, site_of)
    state, fleet, devices, count = stage.state, stage.state.fleet, stage.devices, len(kinds)
    is_plug = fleet.kinds == KIND_CODE[Kind.INTERRUPTIBLE_LOAD]
    fleet.max_inject_w[:], fleet.max_absorb_w[:] = np.where(is_plug, 0.0, STORE_W), np.where(is_plug, PLUG_W, STORE_W)
    fleet.energy_wh[:] = np.where(is_plug, 0.0, 40_000.0)
    state.is_switched[:] = is_plug
    free_w = np.where(is_plug, -PLUG_W, 0.0)
    pool = PoolDesk(
        "pool-1", np.arange(count, dtype=np.int32), merit_price(fleet.kinds), np.ones(count, np.bool_), np.zeros(count)
    )
    does, targets, frees = [], [], []

    def read(power_w: np.ndarray) -> None:
        fleet.power_w[:], fleet.taken_at_ns[:] = power_w, stage.clock.ns
        fleet.energy_available_wh[:] = np.where(is_plug, np.nan, 30_000.0)

    async def limit(group: str, low_w: float, high_w: float) -> None:
        end_ns = stage.clock.ns + 4 * HOUR_NS
        ask = stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=end_ns)
        assert isinstance(await stage.desk.ask(ask), Granted)

    async def play() -> None:
        cycle, (start_ns, end_ns) = Cycle(stage.desk, {"pool-1": pool}), (stage.clock.ns, stage.clock.ns + 4 * HOUR_NS)
        state.base_w[:] = free_w
        read(free_w)
        state.offers["o"] = Offer("o", "pool-1", "ENERGY", start_ns, end_ns, (Segment(award_w, 50.0),))
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", start_ns, end_ns, award_w, 50.0)
        for look in range(LOOKS):
            if look == LIMITED_AT:
                for site in closed:
                    await limit(f"site-{site}", -5_000.0, 0.0)
            if look == PRESSED_AT and is_pressed:
                for site in set(range(HOMES)) - set(closed):
                    await limit(f"site-{site}", -9_000.0, 500.0)
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            alive = devices.until_ns > stage.clock.ns
            turned = is_plug & (rng.random(count) < goes)
            free_w[turned] = -PLUG_W - free_w[turned]
            frees.append(free_w.copy())
            wish_w = np.where(alive & np.isfinite(devices.target_w), devices.target_w, free_w)
            does_w = np.where(alive, np.clip(wish_w, devices.low_w, devices.high_w), wish_w)
            does.append(np.where(is_plug, np.where(does_w < -0.5 * PLUG_W, -PLUG_W, 0.0), does_w))
            targets.append(np.where(alive, devices.target_w, np.nan))
            stage.clock.ns += 10 * SECOND_NS
            read(does[-1])
            stage.clock.ns += 5 * SECOND_NS

    asyncio.run(play())
    return Told(np.array(does), np.array(targets), np.array(frees), np.array(site_of), is_plug)


DRAWN = [(seed, award_w, closed) for seed in range(4) for award_w in (6e3, 12e3, 16e3) for closed in ((0,), (0, 2))]
CASES = some(DRAWN, len(DRAWN) // 4)


@pytest.mark.parametrize("is_pressed", [False, True])
@pytest.mark.parametrize(("seed", "award_w", "closed"), CASES)
def test_a_site_that_may_not_export_does_not_whatever_an_award_calls_there(
    seed: int, award_w: float, closed: tuple[int, ...], is_pressed: bool
) -> None:
    told = played(seed, award_w, closed, is_pressed)
    for site in closed:
        assert (told.site_w(site)[LIMITED_AT:] <= 1.0).all(), told.site_w(site)
    gave_w = (told.does_w - told.free_w).sum(axis=1)
    settled = gave_w[PRESSED_AT + 4 :]
    can_w = sum(most_w(told, site, site in closed, is_pressed) for site in range(HOMES))
    assert abs(settled - min(award_w, can_w)).max() <= max(0.02 * award_w, PLUG_W if award_w > can_w else 0.0), settled


def most_w(told: Told, site: int, is_closed: bool, is_pressed: bool) -> float:
    """What a home can give above its base (W): its store and its plugs, up to what its limit leaves."""
    plugs_w = PLUG_W * int((told.is_plug & (told.site_of == site)).sum())
    room_w = plugs_w if is_closed else plugs_w + 500.0 if is_pressed else np.inf
    return float(min(STORE_W + plugs_w, room_w))


@pytest.mark.parametrize(("seed", "award_w", "closed"), CASES)
def test_only_a_load_that_stops_by_itself_lets_its_site_export_and_for_one_beat(
    seed: int, award_w: float, closed: tuple[int, ...]
) -> None:
    told = played(seed, award_w, closed, True, 0.05)
    stopped = np.vstack([np.zeros(len(told.is_plug), np.bool_), np.diff(told.free_w, axis=0) > 0.0])
    for site in closed:
        by_itself = stopped[:, told.site_of == site].any(axis=1)
        over = told.site_w(site) > 1.0
        assert not (over & ~by_itself)[LIMITED_AT:].any(), told.site_w(site)


@pytest.mark.parametrize(("seed", "award_w", "closed"), CASES)
def test_plugs_are_called_wholly_or_not_at_all_and_do_not_go_on_and_off(
    seed: int, award_w: float, closed: tuple[int, ...]
) -> None:
    told = played(seed, award_w, closed, True)
    targets = told.target_w[:, told.is_plug]
    assert (np.isnan(targets) | (targets == 0.0) | (targets == -PLUG_W)).all(), targets
    moves = (np.diff(told.does_w[:, told.is_plug], axis=0) != 0.0).sum(axis=0)
    assert (moves <= 4).all(), moves
