"""Whether a SunSpec device is in LOCAL: model 715 says it; one without says nothing, and nothing is said for it."""

import asyncio

from modbus_room import Room, play

from tieline.links.device.sunspec_models import model
from tieline.resource.point import code
from tieline.wire.sunspec.models import build

ABSENT = 0xFFFF


def said(room: Room) -> list[float]:
    """Return every word of LOCAL that the link has told, in order."""
    at = code("is_local")
    return [float(value) for batch in room.log.readings_ for value in batch.values[batch.points == at]]


def give_715(room: Room, word: int) -> None:
    room.device.registers[715] = build(model(715), {"DERHb": 1})
    at = model(715).field("LocRemCtl").offset
    room.device.registers[715][at] = word
    room.server.drop()  # it is looked at afresh


def test_a_device_without_model_715_has_no_word_of_local_that_would_overwrite_another_s() -> None:
    async def scene(room: Room) -> None:
        await asyncio.sleep(15.0)
        first = len(said(room))
        await asyncio.sleep(300.0)  # thirty polls
        assert len(said(room)) == first <= 1  # once, as the link starts: what it said before its end is over

    play(scene)


def test_a_device_whose_model_715_has_no_such_point_has_none_either() -> None:
    async def scene(room: Room) -> None:
        give_715(room, ABSENT)
        await asyncio.sleep(60.0)
        first = len(said(room))
        await asyncio.sleep(300.0)
        assert len(said(room)) == first and 1.0 not in said(room)

    play(scene)


def test_a_hand_that_the_link_sees_is_told_and_its_end_is_told_once() -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0)
        for _ in range(2):
            room.device.turn(500.0)
            await asyncio.sleep(30.0)
        assert said(room)[-1] == 1.0
        await room.command(1_000.0)
        await asyncio.sleep(15.0)
        assert said(room)[-1] == 0.0
        told = len(said(room))
        await asyncio.sleep(60.0)
        assert len(said(room)) == told

    play(scene)


def test_model_715_says_local_and_remote_and_who_is_in_local_offers_nothing() -> None:
    seen: list[tuple[float, float]] = []

    async def scene(room: Room) -> None:
        for word in (0, 1, 0):
            give_715(room, word)
            await asyncio.sleep(60.0)
            seen.append((room.log.last("is_local")[0], room.log.last("available_up_w")[0]))

    play(scene)
    assert [word for word, _ in seen] == [0.0, 1.0, 0.0]
    assert seen[1][1] == 0.0 and seen[0][1] > 0.0 and seen[2][1] > 0.0
