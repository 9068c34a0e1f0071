"""What a Modbus link refuses to be told, each by its path."""

import math

import numpy as np
import pytest
from modbus_room import Log

from tieline.errors import ConfigError
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings, parse_address
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual

pytestmark = pytest.mark.usefixtures("writes")


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"poll_s": 0.0}, r"\$\.modbus\.poll_s = 0"),
        ({"timeout_s": math.nan}, r"\$\.modbus\.timeout_s"),
        ({"in_flight": 0}, r"\$\.modbus\.in_flight"),
        ({"grace_s": -1.0}, r"\$\.modbus\.grace_s"),
        ({"max_inject_w": {7: -5.0}}, r"\$\.modbus\.max_inject_w\.7"),
        ({"profiles": {7: "toaster"}}, "battery_inverter"),
    ],
)
def test_a_crooked_setting_is_refused_by_its_path(how: dict, path: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        given = {"addresses": {7: "h:502/1"}, "max_inject_w": {7: 5.0}, **how}
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            with pytest.raises(ConfigError, match=path):
                ModbusLink(ModbusSettings(**given), Log(), VirtualClock(loop, 0), supervisor, np.random.default_rng(2))

    run_virtual(main)


def test_an_unknown_setting_is_refused_with_its_path() -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError, match="pol_s"):
        msgspec.convert({"addresses": {}, "max_inject_w": {}, "pol_s": 3}, ModbusSettings)


@pytest.mark.parametrize("text", ["nothing", "h:502", "h:0/1", "h:99999/1", "h:502/0", "h:502/248", ":502/1", "h:x/1"])
def test_a_bad_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="modbus address"):
        parse_address(text)
