"""Whom his owner moved while no server ran, or while we could not hear: found apart from what we told, and left so."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest
from mqtt_room import PLUG, ROOM, Scene
from test_owners_setpoint import OWN_C, House, live

from tieline.resource.batch import CommandBatch

LASTS_S = 1_200.0
HANDS = [(ROOM, "setpoint_c", 20.0), (ROOM, "setpoint_c", OWN_C), (PLUG, "is_on", 1.0)]


def body_of(house: House, row: int) -> object:
    return (house.unit if row == ROOM else house.plug).body


def called(house: House, row: int, batches: list[CommandBatch]) -> Callable[[Scene], Awaitable[None]]:
    """Call a device; it takes that, and its server dies."""

    async def scene(s: Scene) -> None:
        await asyncio.sleep(1.0)
        batches.append(s.batch(row, 0.0, seconds=LASTS_S))
        await s.link.send(batches[0])
        await asyncio.sleep(15.0)
        house.unit.heard.clear()
        house.plug.heard.clear()

    return scene


@pytest.mark.parametrize("after_s", [0.0, 300.0], ids=["while no server ran", "after the next began"])
@pytest.mark.parametrize(("row", "key", "value"), HANDS)
def test_who_was_moved_since_he_took_his_call_is_in_local_and_keeps_what_he_set(
    row: int, key: str, value: float, after_s: float
) -> None:
    seen: list = []

    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []
        await house.serve(called(house, row, batches))
        if not after_s:
            body_of(house, row).set(key, value)

        async def found(s: Scene) -> None:
            if after_s:
                await asyncio.sleep(after_s)
                for _ in range(2):  # the first is answered by one more write, where it is no thermostat
                    body_of(house, row).set(key, value)
                    await asyncio.sleep(70.0)
                house.unit.heard.clear()
                house.plug.heard.clear()
            await asyncio.sleep(70.0)
            seen.append((s.log.last(row, "is_local")[0], s.log.last(row, "available_up_w")[0]))
            assert s.link.counts.contended >= 1 and "set by somebody else" in s.link.counts.last_error
            await asyncio.sleep(LASTS_S + 100.0)
            seen.append(s.log.last(row, "is_local")[0])

        await house.serve(found, batches[0])
        seen.append(body_of(house, row).read()[key])

    house = live(scene)
    assert seen == [(1.0, 0.0), 0.0, value]
    assert (house.unit.heard, house.plug.heard) == ([], [])


@pytest.mark.parametrize(("row", "key", "value"), HANDS)
def test_a_hand_back_to_who_is_in_local_ends_that_and_leaves_him_as_he_is_and_a_call_moves_him_again(
    row: int, key: str, value: float
) -> None:
    seen: list = []

    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []
        await house.serve(called(house, row, batches))
        body_of(house, row).set(key, value)

        async def found(s: Scene) -> None:
            await asyncio.sleep(70.0)
            for target_w in (math.nan, 0.0):
                await s.command(row, target_w, wait_s=130.0)
                seen.append((s.log.last(row, "is_local")[0], body_of(house, row).read()[key] == value))

        await house.serve(found, batches[0])

    live(scene)
    assert seen == [(0.0, True), (0.0, False)]


@pytest.mark.parametrize("row", [ROOM, PLUG])
def test_who_never_took_his_call_was_moved_by_nobody(row: int) -> None:
    seen: list = []

    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []
        house.unit.fault.ignores = house.plug.fault.ignores = True
        await house.serve(called(house, row, batches))

        async def found(s: Scene) -> None:
            await asyncio.sleep(200.0)
            seen.append((s.log.last(row, "is_local")[0], s.link.counts.contended))

        await house.serve(found, batches[0], took=False)

    live(scene)
    assert seen == [(0.0, 0)]


@pytest.mark.parametrize("row", [ROOM, PLUG])
def test_who_holds_after_a_restart_what_he_was_told_is_handed_back_as_it_runs_out(row: int) -> None:
    seen: list = []

    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []
        key, own = {ROOM: ("setpoint_c", OWN_C), PLUG: ("is_on", 1.0)}[row]
        await house.serve(called(house, row, batches))

        async def found(s: Scene) -> None:
            await asyncio.sleep(100.0)
            seen.append((s.log.last(row, "is_local")[0], s.link.counts.contended))
            await asyncio.sleep(LASTS_S)

        await house.serve(found, batches[0])
        seen.append(body_of(house, row).read()[key] == own)

    live(scene)
    assert seen == [(0.0, 0), True]


@pytest.mark.parametrize(("row", "key", "value"), HANDS)
def test_who_was_moved_while_the_broker_was_away_is_found_so_as_it_is_back(row: int, key: str, value: float) -> None:
    seen: list = []

    async def scene(house: House) -> None:
        async def found(s: Scene) -> None:
            await called(house, row, [])(s)
            for _ in range(2):
                house.broker.stop()
                await asyncio.sleep(5.0)
                body_of(house, row).set(key, value)
                await house.broker.start(port=1883)
                await asyncio.sleep(130.0)
            seen.append((s.log.last(row, "is_local")[0], body_of(house, row).read()[key]))

        await house.serve(found)

    live(scene)
    assert seen == [(1.0, value)]
