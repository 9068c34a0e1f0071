"""Limits on groups of loads that are on or off, and on what a feeder's devices give (R16; IEEE 1547-2018, 4.6.2)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of, with_generation
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.fleet.grouplimit import moved_caps
from tieline.fleet.split import split_whole
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.grouplimit import moved_caps as moved_caps_scalar
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.resource.split import split_whole as split_whole_scalar
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS

SIZE = st.integers(1, 500).map(lambda n: n * 10.0)
CAP = st.integers(-500, 500).map(lambda n: n * 10.0)
RATED_W = 5_000.0


@given(st.lists(SIZE, min_size=1, max_size=20), st.integers(0, 6_000).map(float), st.randoms(use_true_random=False))
def test_as_many_are_let_on_as_fit_and_what_is_left_is_less_than_any_other(sizes: list, target: float, lot) -> None:
    order = list(range(len(sizes)))
    lot.shuffle(order)
    share = split_whole(target, np.array(sizes), np.array(order))
    assert share.tolist() == split_whole_scalar(target, sizes, order)
    assert set(share) <= {0.0, *sizes}
    assert share.sum() <= target
    assert all(target - share.sum() < size for size, got in zip(sizes, share, strict=True) if got == 0.0)


@given(st.lists(st.tuples(CAP, CAP, CAP, st.booleans()), min_size=1, max_size=12), CAP)
def test_a_cap_of_all_or_nothing_grows_wholly_or_not_at_all(drawn: list, limit: float) -> None:
    wish, held, told, whole = (np.array(x) for x in zip(*drawn, strict=True))
    caps = moved_caps(limit, wish, held, told, whole)
    scalar = moved_caps_scalar(limit, list(wish), list(held), list(told), [bool(x) for x in whole])
    assert caps == pytest.approx(np.array(scalar))
    assert np.maximum(caps, held).sum() <= max(limit, held.sum()) + 1e-6
    least = np.minimum(held, told)
    assert all(cap in (want, start) for cap, want, start in zip(caps[whole], wish[whole], least[whole], strict=True))


def test_an_import_limit_turns_off_only_as_many_loads_as_it_must() -> None:
    stage = Stage1(fleet_of([Kind.THERMOSTAT] * 20))
    stage.state.fleet.power_w[:] = -RATED_W
    low, high = groups.caps(stage.state, np.arange(20, dtype=np.int32), -62_000.0, 9e9, stage.clock.ns)
    assert sorted(set(low)) == [-RATED_W, 0.0]
    assert (low < 0).sum() == 12, "62 kW less the margin of 1 kW is twelve of 5 kW"
    assert np.isinf(high).all(), "the other end binds nobody"


def test_what_a_load_that_is_off_does_not_take_goes_to_one_that_was_turned_off() -> None:
    stage = Stage1(fleet_of([Kind.THERMOSTAT] * 10 + [Kind.EV_CHARGER] * 10))
    stage.state.fleet.power_w[:10] = -RATED_W
    low, _ = groups.caps(stage.state, np.arange(20, dtype=np.int32), -41_000.0, 9e9, stage.clock.ns)
    assert low[:10].sum() == -8 * RATED_W, "chargers without a car leave the room to rooms that are warm"
    assert low.sum() >= -41_000.0


async def _limited(minutes: int, limit_w: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return power by minute and hours on by device, of air conditioners that would all run, under an import limit."""
    stage = Stage1(fleet_of([Kind.THERMOSTAT] * count))
    fleet, state, devices = stage.state.fleet, stage.state, stage.devices
    fleet.power_w[:], state.base_w[:] = -RATED_W, -RATED_W
    end_ns = stage.clock.ns + 3 * HOUR_NS
    limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=limit_w, high=9e9, end_ns=end_ns)
    await stage.desk.ask(limit)
    power, on_h = np.zeros(minutes), np.zeros(count)
    for minute in range(minutes):
        await stage.desk.commit(groups.decide_regulation(state, stage.clock.ns))
        await stage.desk.settle()
        await stage.desk.flush()
        stage.clock.ns += MINUTE_NS
        fleet.power_w[:] = np.where(devices.low_w > -0.5 * RATED_W, 0.0, -RATED_W)
        fleet.taken_at_ns[:] = stage.clock.ns
        power[minute], on_h = fleet.power_w.sum(), on_h + (fleet.power_w < 0) / 60.0
    return power, on_h


def test_under_a_long_limit_loads_take_turns_and_the_total_stays_within_one_device_of_the_bound() -> None:
    power, on_h = asyncio.run(_limited(120, -63_000.0, 20))
    assert power.min() >= -63_000.0
    swaps = int((power > -63_000.0 + RATED_W + 1_000.0).sum())
    assert swaps <= 24, "below the bound by more than a device and the margin only in minutes when turns change"
    assert on_h.min() > 0.5, "nobody stands still for two hours"
    assert on_h.max() < 1.9, "and nobody is spared"


def test_the_same_limit_lets_the_same_loads_on_in_a_replay() -> None:
    one, two = (asyncio.run(_limited(45, -40_000.0, 20))[1] for _ in range(2))
    assert (one == two).all()


# --- generation -------------------------------------------------------------------------------------------------------


def test_while_crews_work_nothing_gives_and_what_draws_is_left_alone() -> None:
    async def play() -> None:
        stage = with_generation([Kind.PV, Kind.BATTERY, Kind.BATTERY, Kind.THERMOSTAT, Kind.BIOMASS])
        fleet = stage.state.fleet
        fleet.power_w[:] = [4_000.0, 3_000.0, -5_000.0, -5_000.0, 2_000.0]
        works = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1-generation", ClaimKind.LIMIT, low=-1e6, high=0.0,
            end_ns=stage.clock.ns + HOUR_NS,
        )  # fmt: skip
        await stage.desk.ask(works)
        await stage.desk.settle()
        low, high = stage.state.claims.bounds_above(np.arange(5, dtype=np.int32), Level.MARKET, stage.clock.ns)
        assert high.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0]
        assert low.tolist() == [0.0, -RATED_W, -RATED_W, -RATED_W, 0.0], "charging and loads stay free"

    asyncio.run(play())


@given(st.lists(st.integers(-5, 5).map(lambda n: n * 1e3), min_size=1, max_size=10), st.integers(0, 60).map(float))
def test_what_one_takes_never_makes_good_what_another_gives(powers: list, kilowatts: float) -> None:
    stage = with_generation([Kind.BATTERY] * len(powers))
    stage.state.fleet.power_w[:] = powers
    rows, limit_w = np.arange(len(powers), dtype=np.int32), kilowatts * 1e3
    low, high = groups.caps_of(stage.state, "feeder-1-generation", rows, (-9e9, limit_w), stage.clock.ns)
    assert np.isinf(low).all()
    if limit_w < RATED_W * len(powers):
        assert (high >= 0.0).all(), "nobody is made to take"
        assert high.sum() <= limit_w + 1e-6
    else:
        assert np.isinf(high).all()


# --- what can't give way, and moves at one instant --------------------------------------------------------------------


def test_an_empty_battery_is_not_counted_on_to_relieve_a_feeder() -> None:
    stage = Stage1(fleet_of([Kind.THERMOSTAT] * 10 + [Kind.BATTERY] * 10))
    fleet = stage.state.fleet
    fleet.power_w[:10] = -RATED_W
    fleet.available_up_w[10:] = 0.0
    low, _ = groups.caps(stage.state, np.arange(20, dtype=np.int32), -30_000.0 / 0.99, 9e9, stage.clock.ns)
    assert low[10:] == pytest.approx(np.zeros(10)), "they can't give, so the rooms alone must give way"
    assert low[:10].sum() == -6 * RATED_W, "30.3 kW less the margin of a hundredth of it"
    fleet.available_up_w[10:] = RATED_W
    full, _ = groups.caps(stage.state, np.arange(20, dtype=np.int32), -31_000.0, 9e9, stage.clock.ns)
    assert full[10:].sum() > 1_000.0, "full ones help"


def test_caps_that_move_twice_at_one_instant_are_still_there() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4))
        fleet, rows = stage.state.fleet, np.arange(4, dtype=np.int32)
        end_ns = stage.clock.ns + HOUR_NS
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-9e9, high=8_000.0, end_ns=end_ns)
        await stage.desk.ask(limit)
        for powers in ([5_000.0, 0.0, 0.0, 0.0], [0.0, 0.0, 5_000.0, 2_000.0]):
            fleet.power_w[:] = powers
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            _, high = stage.state.claims.bounds_above(rows, Level.MARKET, stage.clock.ns)
            assert high.sum() <= 8_000.0 + 1e-6

    asyncio.run(play())


# --- who gets the room ------------------------------------------------------------------------------------------------


async def _beat(stage: Stage1, power_w: np.ndarray) -> None:
    """Take readings, share the limit out afresh, and let a minute pass."""
    rows, now_ns = np.arange(len(power_w), dtype=np.int32), np.full(len(power_w), stage.clock.ns)
    codes, good = np.full(len(power_w), code("power_w"), np.uint16), np.zeros(len(power_w), np.uint32)
    stage.desk.readings(Readings(rows, codes, power_w, good, now_ns, now_ns, "t"))
    await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
    await stage.desk.settle()
    await stage.desk.flush()
    stage.clock.ns += MINUTE_NS


def test_room_that_idle_loads_have_goes_to_loads_that_wait_though_nobody_saw_them_run() -> None:
    """Thirty rooms ran as the limit came and are cool soon after; thirty tanks were off then, and are cold."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.THERMOSTAT] * 30 + [Kind.WATER_HEATER] * 30))
        state, devices, rooms = stage.state, stage.devices, np.arange(60) < 30
        state.fleet.power_w[:] = state.base_w[:] = np.where(rooms, -RATED_W, 0.0)
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-100_000.0, high=9e9,
                      end_ns=stage.clock.ns + 3 * HOUR_NS)
        )  # fmt: skip
        drawn_w, ran_h = [], np.zeros(60)
        for minute in range(60):
            let_on = devices.low_w <= -0.5 * RATED_W
            power_w = np.where(let_on & (~rooms | (minute < 5)), -RATED_W, 0.0)
            drawn_w.append(power_w.sum())
            assert power_w.sum() >= -100_000.0 or minute == 0
            ran_h += (power_w < 0) / 60.0
            await _beat(stage, power_w)
        assert np.mean(drawn_w[20:]) < -65_000.0, "a limit of 100 kW is used once idle rooms have made room"
        assert ran_h[30:].min() >= 0.05, "and no tank waits for the whole hour"

    asyncio.run(play())


def test_a_cap_that_grows_is_told_at_once_and_only_the_end_of_the_limit_is_staged() -> None:
    """A limit is widened from 120 to 260 kW: those who are let on are not made to wait as at a release."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 80))
        state, devices = stage.state, stage.devices
        state.fleet.power_w[:] = state.base_w[:] = -RATED_W
        end_ns = stage.clock.ns + 3 * HOUR_NS
        for low_w in (-120_000.0, -260_000.0):
            await stage.desk.ask(
                stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=9e9, end_ns=end_ns,
                          version=1 if low_w == -120_000.0 else 2)
            )  # fmt: skip
            for _ in range(4):
                await _beat(stage, np.where(devices.low_w <= -0.5 * RATED_W, -RATED_W, 0.0))
            told_w = -devices.low_w[devices.low_w <= -0.5 * RATED_W].sum()
            assert told_w >= -low_w - RATED_W - 4_000.0
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        for _ in range(3):
            await _beat(stage, np.where(devices.low_w <= -0.5 * RATED_W, -RATED_W, 0.0))
        waits = state.release_at_ns > stage.clock.ns
        assert waits.sum() > 5, "who was off at the end comes back in turn"
        for _ in range(14):  # long enough for every kept limit to be renewed
            await _beat(stage, np.where(devices.low_w <= -0.5 * RATED_W, -RATED_W, 0.0))
        gone_s = 17 * 60.0
        left = int((state.release_at_ns > stage.clock.ns).sum())
        assert left == pytest.approx(waits.sum() * (1 - gone_s / 2_700.0), abs=3), "a renewed limit ends no turn"

    asyncio.run(play())


def test_an_owner_who_opts_out_is_let_go_though_his_turn_is_later() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 40))
        state = stage.state
        state.fleet.power_w[:] = state.base_w[:] = -RATED_W
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=9e9,
                      end_ns=stage.clock.ns + HOUR_NS)
        )  # fmt: skip
        await _beat(stage, np.zeros(40))
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await _beat(stage, np.zeros(40))
        row = int(np.argmax(state.release_at_ns))
        assert state.release_at_ns[row] > stage.clock.ns + 10 * MINUTE_NS
        await stage.desk.ask(
            stage.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, quantity=Quantity.CONNECT,
                      end_ns=FOREVER_NS, source=f"owner:r{row}")
        )  # fmt: skip
        await _beat(stage, np.zeros(40))
        assert stage.devices.low_w[row] <= -RATED_W
        assert state.release_at_ns[row] == 0

    asyncio.run(play())


def test_chargers_are_told_enough_to_charge_or_nothing_and_a_car_that_comes_under_a_limit_counts() -> None:
    """Six amperes are the least a car takes (IEC 61851-1): eleven chargers within 8 kW are five that charge."""
    stage = Stage1(fleet_of([Kind.EV_CHARGER] * 11))
    fleet, rows = stage.state.fleet, np.arange(11, dtype=np.int32)
    fleet.power_w[:], fleet.available_down_w[:] = 0.0, RATED_W
    stage.state.commands.valid_until_ns[:] = stage.clock.ns + HOUR_NS
    stage.state.commands.low_w[:] = 0.0
    low, _ = groups.caps(stage.state, rows, -8_000.0, 9e9, stage.clock.ns)
    assert (low < 0).sum() == 5
    assert (-low[low < 0]).min() >= LEAST_CHARGE_W
    assert 0.99 * 8_000.0 - 1.0 <= -low.sum() <= 8_000.0, "and what the other six don't get is theirs"
    fleet.available_down_w[:10] = 0.0
    low, _ = groups.caps(stage.state, rows, -4_000.0, 9e9, stage.clock.ns)
    assert low[10] <= -3_000.0, "the one that has a car gets the room"


def test_a_limit_on_what_is_drawn_tells_no_solar_plant_to_give() -> None:
    """At night its base of the evening would be a least power: it can't, and would learn no other base."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.PV] * 4 + [Kind.THERMOSTAT] * 20))
        state, power_w = stage.state, np.array([2_000.0] * 4 + [-RATED_W] * 20)
        state.fleet.power_w[:] = state.base_w[:] = power_w
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-60_000.0, high=9e9,
                      end_ns=stage.clock.ns + HOUR_NS)
        )  # fmt: skip
        for _ in range(20):
            power_w = np.where(stage.devices.low_w <= -0.5 * RATED_W, -RATED_W, 0.0)
            power_w[:4] = 0.0
            await _beat(stage, power_w)
        assert (stage.devices.low_w[:4] <= 0.0).all()
        assert state.base_w[:4] == pytest.approx(np.zeros(4), abs=50.0), "it runs freely, and its base follows"
        assert power_w.sum() >= -60_000.0

    asyncio.run(play())


def test_what_serves_an_award_takes_no_room_under_a_limit_and_no_store_is_pressed_to_go_on_giving() -> None:
    """Ten tanks and ten batteries are called, ten tanks run: an import limit of 60 kW leaves them all as they are."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 20 + [Kind.BATTERY] * 10))
        state = stage.state
        power_w = np.array([0.0] * 10 + [-RATED_W] * 10 + [4_000.0] * 10)
        state.fleet.power_w[:] = state.base_w[:] = power_w
        state.base_w[:10], state.base_w[20:] = -RATED_W, 0.0
        state.limiter.system_w = state.limiter.feeder_w[:] = np.inf
        for row in (*range(10), *range(20, 30)):
            await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=0.0 if row < 10 else 4_000.0))
        await _beat(stage, power_w)
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-60_000.0, high=9e9,
                      end_ns=stage.clock.ns + HOUR_NS)
        )  # fmt: skip
        for _ in range(7):
            await _beat(stage, power_w)
            low, _ = state.claims.bounds_above(np.arange(30, dtype=np.int32), Level.MARKET, stage.clock.ns)
            assert (low[10:20] == -RATED_W).all(), "those that run and are not called go on"
            assert (low[20:] <= 0.0).all(), "what batteries give is the award's: no limit presses them to"
        assert np.nan_to_num(stage.devices.target_w).tolist() == [0.0] * 20 + [4_000.0] * 10

    asyncio.run(play())
