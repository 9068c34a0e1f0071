"""Behind the kill switch a limit is kept by those who may still be told what keeps it: nobody is counted on in vain."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import with_sites
from test_desk_last_hop import kill

from sampled import some
from tieline.desk.cycle import Cycle
from tieline.desk.ports import Granted
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

BATTERY_W, CAR_W, SUN_W, LOOKS, LIMITED_AT = 5_000.0, 7_200.0, 4_000.0, 24, 4
RATED_W = {Kind.BATTERY: (BATTERY_W, BATTERY_W), Kind.PV: (SUN_W, 0.0), Kind.EV_CHARGER: (0.0, CAR_W)}


def home_w(kinds: list[Kind], ends: tuple[float, float], pressed_at: int, group: str = "site-0") -> np.ndarray:
    """Return what a home does at each look (W): its limit comes at one, the switch is pressed at another."""
    stage = with_sites(kinds, [0] * len(kinds))
    state, fleet, devices, count = stage.state, stage.state.fleet, stage.devices, len(kinds)
    fleet.max_inject_w[:], fleet.max_absorb_w[:] = np.array([RATED_W[kind] for kind in kinds], np.float64).T
    is_car, is_sun, is_store = (fleet.kinds == KIND_CODE[kind] for kind in (Kind.EV_CHARGER, Kind.PV, Kind.BATTERY))
    free_w = np.select([is_car, is_sun], [-CAR_W, SUN_W], 0.0)
    fleet.energy_wh[:] = np.where(is_store, 13_500.0, 0.0)
    does = []

    def read(power_w: np.ndarray) -> None:
        fleet.power_w[:], fleet.taken_at_ns[:] = power_w, stage.clock.ns
        fleet.energy_available_wh[:] = np.where(is_store, 8_000.0, np.nan)

    async def play() -> None:
        cycle = Cycle(stage.desk, {})
        state.base_w[:] = free_w
        read(free_w)
        for look in range(LOOKS):
            if look == pressed_at:
                await kill(stage, True, "ada")
            if look == LIMITED_AT:
                end_ns = stage.clock.ns + HOUR_NS
                ask = stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=ends[0], high=ends[1], end_ns=end_ns)
                assert isinstance(await stage.desk.ask(ask), Granted)
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            alive = devices.until_ns > stage.clock.ns
            wish_w = np.where(alive & np.isfinite(devices.target_w), devices.target_w, free_w)
            does.append(np.where(alive, np.clip(wish_w, devices.low_w, devices.high_w), wish_w))
            stage.clock.ns += 5 * SECOND_NS
            read(does[-1])
            stage.clock.ns += 5 * SECOND_NS
        assert count

    asyncio.run(play())
    return np.array(does)


HOMES = [
    [Kind.BATTERY, Kind.EV_CHARGER],
    [Kind.BATTERY, Kind.EV_CHARGER, Kind.EV_CHARGER],
    [Kind.BATTERY, Kind.PV],
    [Kind.BATTERY, Kind.PV, Kind.EV_CHARGER],
    [Kind.BATTERY, Kind.BATTERY, Kind.PV, Kind.PV],
]


@pytest.mark.parametrize("group", ["site-0", "feeder-1"])
@pytest.mark.parametrize("pressed_at", [LIMITED_AT - 2, LIMITED_AT, LIMITED_AT + 8])
@pytest.mark.parametrize("kinds", HOMES, ids=lambda kinds: " ".join(kind.value for kind in kinds))
@pytest.mark.parametrize("most_w", some([3_000.0, 1_500.0, 0.0], 2))
def test_a_limit_that_comes_behind_the_kill_switch_is_kept_as_one_before_it_is(
    most_w: float, kinds: list[Kind], pressed_at: int, group: str
) -> None:
    draws = any(kind is Kind.EV_CHARGER for kind in kinds)
    does_w = home_w(kinds, (-most_w, 1e6) if draws else (-1e6, most_w), pressed_at, group)
    beyond_w = -does_w.sum(axis=1) if draws else does_w.sum(axis=1)
    assert (beyond_w[LIMITED_AT + 2 :] <= most_w + 1.0).all(), does_w.round()


@pytest.mark.parametrize("kinds", [HOMES[0], HOMES[2]], ids=["draws", "gives"])
def test_nobody_is_said_to_be_told_what_the_switch_keeps_back(kinds: list[Kind]) -> None:
    """A battery at rest may neither give nor charge then: the car, or the roof, yields alone."""
    draws = Kind.EV_CHARGER in kinds
    does_w = home_w(kinds, (-3_000.0, 1e6) if draws else (-1e6, 3_000.0), 2)
    assert (does_w[:, 0] == 0.0).all()
    assert abs(does_w[-1, 1]) == pytest.approx(3_000.0, rel=0.02)


@pytest.mark.parametrize("part", [1.0, 0.985, 0.6], ids=["at its cap", "just within it", "well within it"])
@pytest.mark.parametrize("faded", [1.0, 0.4], ids=["its base is known", "its base has faded"])
def test_behind_the_switch_a_limit_that_stands_is_renewed_and_one_that_widens_lets_no_load_draw_more(
    faded: float, part: float
) -> None:
    """A lease is 20 minutes: one that is not renewed lets two cars of 7.2 kW go under 7.5 kW."""
    stage = with_sites([Kind.EV_CHARGER] * 2, [0, 0])
    state, fleet, devices = stage.state, stage.state.fleet, stage.devices
    fleet.max_inject_w[:], fleet.max_absorb_w[:] = 0.0, CAR_W
    draws, leases_ns = [], []

    async def limit(low_w: float) -> None:
        end_ns = stage.clock.ns + 2 * HOUR_NS
        ask = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, end_ns=end_ns)
        assert isinstance(await stage.desk.ask(ask), Granted)

    async def play() -> None:
        cycle = Cycle(stage.desk, {})
        state.base_w[:] = fleet.power_w[:] = -CAR_W
        fleet.taken_at_ns[:] = stage.clock.ns
        for look in range(300):
            if look == LIMITED_AT:
                await limit(-7_500.0)
            if look == 20:
                await kill(stage, True, "ada")
                state.base_w[:] *= faded
            if look == 200:
                await limit(-12_000.0)
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            held = (devices.until_ns > stage.clock.ns) & np.isfinite(devices.low_w)
            does_w = np.where(held, np.maximum(-CAR_W, part * devices.low_w), -CAR_W)
            draws.append(-float(does_w.sum()))
            leases_ns.append(int(devices.until_ns.min()) - stage.clock.ns)
            stage.clock.ns += 5 * SECOND_NS
            fleet.power_w[:], fleet.taken_at_ns[:] = does_w, stage.clock.ns
            stage.clock.ns += 5 * SECOND_NS

    asyncio.run(play())
    assert max(draws[LIMITED_AT + 2 : 200]) <= 7_500.0, "it is renewed, or two cars draw 14.4 kW"
    assert max(draws[200:]) <= 12_000.0, "no lease ends before the wider cap is there"
    # Two minutes before its lease ends the wider cap is told, or the car would be free for a beat.
    kept = (leases_ns[199] - 2 * MINUTE_NS - 1) // (10 * SECOND_NS)
    assert kept > 0
    if part > 0.9:  # whom his cap holds down
        assert max(draws[200 : 200 + kept]) <= draws[199] + 1.0, "nobody was to be told to draw more"
