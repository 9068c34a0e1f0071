"""What a SunSpec device's owner had limited it to is no room for anybody: it is left out of what the device can give."""

import asyncio
import math

import modbus_room
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery, Log, Room

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

pytestmark = pytest.mark.usefixtures("writes")


def set_limit(device: SunSpecDevice, percent: float, is_on: bool = True) -> None:
    """Set what an owner sets at the device, to last."""
    device._lay(704, "WMaxLimPctRvrtTms", 0.0)
    device._lay(704, "WMaxLimPct", percent)
    device._lay(704, "WMaxLimPctEna", float(is_on))
    device._ends_ns["WMaxLimPct"] = 0
    device._obey()


@given(percent=st.integers(0, 99), own_w=st.integers(-3_000, 1_000), told_w=st.none() | st.integers(-3_000, 3_000))
@settings(max_examples=30, deadline=None)
def test_a_device_offers_no_more_than_its_owner_had_limited_it_to_and_all_of_it_once_that_is_gone(
    percent: int, own_w: int, told_w: int | None
) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        body = Battery(clock, own_w=float(own_w))
        device = SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)
        set_limit(device, float(percent))
        server = SunSpecServer({1: device})
        await server.start(port=502)

        async def offered(limit_w: float) -> None:
            await asyncio.sleep(25)
            power_w, up_w = log.last("power_w")[0], log.last("available_up_w")[0]
            assert up_w == pytest.approx(max(min(5_000.0, limit_w) - power_w, 0.0), abs=1.0)

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            how = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
            link = ModbusLink(how, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            room = Room(clock, server, device, body, link, log, loop)
            await offered(50.0 * percent)
            if told_w is not None:
                await room.command(float(told_w))
                assert log.observed_w[-1] == pytest.approx(min(told_w, 50.0 * percent), abs=1.0), "what flows of it"
                await offered(50.0 * percent)
                await room.command(math.nan)
                await offered(50.0 * percent)
            set_limit(device, 100.0, is_on=False)
            await offered(math.inf)

    run_virtual(main)
