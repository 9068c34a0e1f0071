"""What a link says of what a device holds: powers and limits in words, and none that can't be read as a number."""

import asyncio
import math
from itertools import product

import pytest
from modbus_room import Room, play

from tieline.links.device.modbus.held import Held
from tieline.links.device.sunspec_models import model
from tieline.wire.sunspec.models import read_value

UNREAD = -(2**31)  # SunSpec's mark of a signed 32-bit register that holds no number


def said(hand: str) -> str:
    """Return the last error after somebody's hand moved a device that we had told 2 kW."""
    found: list[str] = []

    async def scene(room: Room) -> None:
        await room.command(2_000.0, seconds=900.0)
        await asyncio.sleep(15.0)
        assert room.link.counts.last_error == ""
        device = room.device
        match hand:
            case "limit alone":
                device.reboot()
                device._lay(704, "WMaxLimPct", 50.0)
                device._lay(704, "WMaxLimPctEna", 1.0)
            case "reboot":
                device.reboot()
            case "power unread":
                at = model(704).field("WSet")
                device.registers[704][at.offset : at.offset + at.size] = [UNREAD >> 16 & 0xFFFF, 0]
                assert read_value(model(704), "WSet", device.registers[704]) is None
            case "limit unread":
                device._lay(704, "WMaxLimPctEna", 1.0)
                at = model(704).field("WMaxLimPct")
                device.registers[704][at.offset] = 0xFFFF
                device._lay(704, "WSet", -1_000.0)
        await asyncio.sleep(12.0)
        found.append(room.link.counts.last_error)

    play(scene)
    return found[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("hand", "says"),
    [
        ("limit alone", "holds no power, limit 50%, which we did not write"),
        ("reboot", "no longer holds what it was told, and we did not end it"),
        ("power unread", "holds a power that can't be read as a number, limit 100%, which we did not write"),
        ("limit unread", "holds -1000 W, a limit that can't be read as a number, which we did not write"),
    ],
)
def test_what_somebody_else_did_is_said_without_numbers_that_are_none(hand: str, says: str) -> None:
    assert said(hand) == says


@pytest.mark.parametrize(
    ("target_w", "limit_frac", "unread"),
    list(product([math.nan, -1_500.0, 0.0], [0.0, 0.5, 1.0], ["", "power", "limit"])),
)
def test_no_held_value_is_said_as_nan(target_w: float, limit_frac: float, unread: str) -> None:
    says = Held(target_w, limit_frac, unread=frozenset({unread} - {""})).says
    assert "nan" not in says
    assert ("can't be read as a number" in says) is bool(unread)
