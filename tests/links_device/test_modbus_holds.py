"""A limit that model 704 doesn't know, alone: the device is held at what it does by itself, not brought to a stop."""

import asyncio
import math

import modbus_room
import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log, Room, play

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import HELD, Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

pytestmark = pytest.mark.usefixtures("writes")


async def does(room: Room, own_w: float) -> None:
    """Let the battery do so much by itself, and be polled."""
    room.body.own_w = own_w
    await asyncio.sleep(25)


@pytest.mark.parametrize(("own_w", "ends_w", "held_w"), [
    (3_000.0, (-4_900.0, math.inf), 3_000.0),
    (3_000.0, (-4_900.0, 1_500.0), 1_500.0),
    (-3_000.0, (-4_900.0, math.inf), -3_000.0),
    (-3_000.0, (-1_000.0, math.inf), -1_000.0),
    (-3_000.0, (-math.inf, -2_000.0), -3_000.0),
    (3_000.0, (-math.inf, -2_000.0), -2_000.0),
    (1_000.0, (2_000.0, math.inf), 2_000.0),
    (5_100.0, (-4_900.0, math.inf), 5_000.0),
])  # fmt: skip
def test_a_limit_holds_a_device_at_what_it_does_by_itself_as_far_as_its_ends_let(
    own_w: float, ends_w: tuple[float, float], held_w: float
) -> None:
    async def scene(room: Room) -> None:
        await does(room, own_w)
        await room.command(math.nan, low_w=ends_w[0], high_w=ends_w[1])
        await asyncio.sleep(12)
        assert room.log.last("power_w")[0] == held_w

    room = play(scene)
    assert room.body.held[-1][0] == held_w
    assert room.log.stages[-1] == (7, Stage.DONE)
    assert room.log.natives[-1] == HELD, "it says that nobody asked for that power"


def test_caps_that_move_take_a_hold_with_them_and_back_and_never_further_than_they_must() -> None:
    held_w: list[float] = []

    async def scene(room: Room) -> None:
        await does(room, -3_000.0)
        for low_w in (-4_000.0, -4_000.0, -1_000.0, -2_000.0, -4_500.0):
            await room.command(math.nan, low_w=low_w)
            await does(room, -100.0)  # what it would do by now is not seen while it is held
            held_w.append(room.log.last("power_w")[0])

    play(scene)
    assert held_w == [-3_000.0, -3_000.0, -1_000.0, -2_000.0, -3_000.0]


def test_a_store_that_runs_empty_stays_held_where_it_was_told() -> None:
    async def scene(room: Room) -> None:
        await does(room, 3_000.0)
        await room.command(math.nan, low_w=-4_000.0)
        read, room.body.read = room.body.read, lambda: {**read(), "power_w": 0.0, "soc_frac": 0.05}
        for _ in range(3):
            await asyncio.sleep(12)
            await room.command(math.nan, low_w=-4_000.0)
        assert room.log.last("power_w")[0] == 0.0

    room = play(scene)
    assert {target for target, _ in room.body.held if not math.isnan(target)} == {3_000.0}
    assert room.link.counts.contended == 0


@pytest.mark.parametrize("ends", ["let go", "run out", "another limit"])
def test_a_hold_ends_with_its_limit_and_the_next_one_finds_what_the_device_does_then(ends: str) -> None:
    async def scene(room: Room) -> None:
        await does(room, 3_000.0)
        await room.command(math.nan, low_w=-4_000.0, seconds=20 if ends == "run out" else 600)
        assert room.body.held[-1][0] == 3_000.0
        if ends == "let go":
            await room.command(math.nan)
        elif ends == "another limit":
            await room.command(math.nan, high_w=4_000.0)
        await does(room, 1_000.0)
        await asyncio.sleep(20)
        assert room.log.last("power_w")[0] == 1_000.0
        await room.command(math.nan, low_w=-4_000.0)

    assert play(scene).body.held[-1][0] == 1_000.0


def test_after_a_target_under_such_a_limit_a_device_goes_back_to_what_it_did_before() -> None:
    async def scene(room: Room) -> None:
        await does(room, 3_000.0)
        await room.command(math.nan, low_w=-4_000.0)
        await room.command(500.0, low_w=-4_000.0)
        assert room.body.held[-1][0] == 500.0
        assert room.log.natives.count(HELD) == 1, "that power was asked for"
        await does(room, 100.0)
        await room.command(math.nan, low_w=-4_000.0)

    assert play(scene).body.held[-1][0] == 3_000.0


def test_what_was_called_for_longer_than_two_polls_before_the_limit_came_stands_still_as_nothing_else_is_known() -> (
    None
):
    async def scene(room: Room) -> None:
        await does(room, 3_000.0)
        await room.command(-2_000.0)
        await asyncio.sleep(60)
        await room.command(math.nan, low_w=-4_000.0)

    assert play(scene).body.held[-1][0] == 0.0


def test_a_device_that_was_just_let_go_is_measured_before_a_limit_holds_it() -> None:
    async def scene(room: Room) -> None:
        await room.command(-2_000.0)
        await asyncio.sleep(60)
        await room.command(math.nan)
        room.body.own_w = 3_000.0
        await room.command(math.nan, low_w=-4_000.0)

    room = play(scene)
    assert room.body.held[-1][0] == 3_000.0
    assert room.log.stages[-1] == (7, Stage.DONE)


@pytest.mark.parametrize("lasts", [True, False])
def test_a_restart_of_ours_moves_no_hold_that_lasts_over_it(lasts: bool) -> None:
    """It is known from the journal; where it ran out meanwhile, what the device does now is measured."""

    async def main(loop: VirtualLoop) -> list[float]:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        body = Battery(clock, own_w=3_000.0)
        server = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)})
        await server.start(port=502)
        settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
        last, one, held_w = None, np.ones(1), []
        for seq in (1, 2):
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
                if last is not None:
                    link.remember(last, 3_000.0 * one, np.ones(1, np.bool_))
                link.start()
                await asyncio.sleep(12 if last is None else 0)
                now_ns, until_ns = clock.now_ns(), clock.now_ns() + (300 if lasts else 60) * SECOND_NS
                last = CommandBatch(
                    f"c{seq}", np.array([7], np.int32), math.nan * one, -4_000.0 * one, math.inf * one, 0 * one, now_ns,
                    now_ns, until_ns, seq, seq, (),
                )  # fmt: skip
                await link.send(last)
                await asyncio.sleep(12)
                held_w.append(body.target_w)
            body.own_w = 1_000.0
            await asyncio.sleep(90)
        return held_w

    assert run_virtual(main) == [3_000.0, 3_000.0 if lasts else 1_000.0]
