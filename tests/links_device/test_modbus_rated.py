"""An upper limit is told to a SunSpec device as a share of its own WMax, whatever the registry holds of it."""

from __future__ import annotations

import asyncio
import math

import pytest
from modbus_room import MODELS, Room, play

from tieline.wire.sunspec.models import build

pytestmark = pytest.mark.usefixtures("writes")
TOLD = {
    "a setting below the nameplate": ({"WMax": 8_000.0, "WMaxRtg": 10_000.0, "W_SF": 0}, 8_000.0),
    "a nameplate alone": ({"WMaxRtg": 12_500.0, "W_SF": 2}, 12_500.0),
    "a setting of nothing": ({"WMax": 0.0, "WMaxRtg": 10_000.0, "W_SF": 0}, 10_000.0),
    "nothing": ({}, 5_000.0),
    "no scale factor": ({"WMaxRtg": None}, 5_000.0),
}


def tells(room: Room, values: dict) -> None:
    """Have the device tell other ratings, and be found anew: as on its next connection."""
    room.device.registers[702] = build(MODELS[702], values)
    room.link.devices[7].is_found = False
    room.link.devices[7].probe()


@pytest.mark.parametrize(("values", "full_w"), TOLD.values(), ids=TOLD)
def test_the_share_is_of_the_setting_or_else_the_nameplate_or_else_the_registrys(values: dict, full_w: float) -> None:
    async def scene(room: Room) -> None:
        tells(room, values)
        await asyncio.sleep(11)
        await room.command(math.nan, high_w=2_000.0)
        assert room.device._value("WMaxLimPct") == pytest.approx(100 * 2_000.0 / full_w, abs=0.1)

    room = play(scene)
    said = f"its WMax is {full_w:.0f} W, the registry says 5000 W"
    assert any(said in error for error in room.log.errors) is (full_w != 5_000.0)


def test_a_wmax_that_is_set_anew_while_a_limit_stands_is_heeded_within_ten_minutes() -> None:
    async def scene(room: Room) -> None:
        await room.command(math.nan, high_w=2_500.0, seconds=7_200.0)
        assert room.body.held[-1][1] == pytest.approx(2_500.0)
        room.device.set_full(10_000.0)
        assert room.body.held[-1][1] == pytest.approx(5_000.0), "by its own doing it gives twice the limit now"
        await asyncio.sleep(640)
        assert room.body.held[-1][1] == pytest.approx(2_500.0)

    play(scene)


def test_registers_of_ratings_that_cant_be_read_are_told_and_the_registrys_stands() -> None:
    async def scene(room: Room) -> None:
        tells(room, {"WMax": 8_000.0, "W_SF": 0})
        room.device.registers[702][MODELS[702].field("W_SF").offset] = 99
        await asyncio.sleep(11)
        await room.command(math.nan, high_w=2_500.0)
        assert room.device._value("WMaxLimPct") == pytest.approx(50.0)

    assert any("WMax can't be read" in error for error in play(scene).log.errors)
