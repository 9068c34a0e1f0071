"""A charger over SunSpec under a limit that model 704 doesn't know: it is set to what a car may draw, not to what it did."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import modbus_room
import numpy as np
import pytest
from modbus_room import MODELS, Log

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import HELD, Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

pytestmark = pytest.mark.usefixtures("writes")


@dataclass
class Charger:
    """Gives its car what it needs, up to what it is set."""

    clock: VirtualClock
    need_w: float = 0.0
    target_w: float = math.nan
    until_ns: int = 0
    held: list = field(default_factory=list)

    def read(self) -> dict:
        is_set = self.clock.now_ns() < self.until_ns and not math.isnan(self.target_w)
        return {"power_w": -min(self.need_w, -self.target_w if is_set else 7_200.0)}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self.target_w, self.until_ns = target_w, until_ns
        self.held.append(target_w)


def test_a_car_that_comes_under_a_limit_charges_within_it_and_what_is_free_is_told_as_far_as_it_is_known() -> None:
    async def main(loop: VirtualLoop) -> tuple[Charger, Log, int]:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        body, one = Charger(clock), np.ones(1)
        server = SunSpecServer({1: SunSpecDevice(body, 7_200.0, 0.0, MODELS, clock)})
        await server.start(port=502)
        settings = ModbusSettings(
            {7: "127.0.0.1:502/1"}, {7: 0.0}, 10.0, max_absorb_w={7: 7_200.0}, profiles={7: "ev_charger"},
            writes=modbus_room.WRITES,
        )  # fmt: skip
        last = None
        for seq in (1, 2):
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
                if last is not None:
                    link.remember(last, math.nan * one, np.ones(1, np.bool_))
                link.start()
                await asyncio.sleep(25)
                assert log.last("power_w")[0] == (0.0 if seq == 1 else -2_640.0)
                if seq == 1:
                    assert log.last("available_down_w")[0] == 0.0, "nobody knows of a car"
                    now_ns = clock.now_ns()
                    last = CommandBatch(
                        "c1", np.array([7], np.int32), math.nan * one, -2_640.0 * one, math.inf * one, 0 * one, now_ns,
                        now_ns, now_ns + 600 * SECOND_NS, seq, seq, (),
                    )  # fmt: skip
                    await link.send(last)
                    await asyncio.sleep(12)
                    assert log.stages[-1] == (7, Stage.DONE)
                    assert log.last("power_w")[0] == 0.0
                    body.need_w = 7_200.0
                    await asyncio.sleep(25)
                    assert log.last("power_w")[0] == -2_640.0
                    assert log.last("available_down_w")[0] == pytest.approx(4_560.0)
                contended = link.counts.contended
        return body, log, contended

    body, log, contended = run_virtual(main)
    assert {target_w for target_w in body.held if not math.isnan(target_w)} == {-2_640.0}
    assert HELD not in log.natives
    assert contended == 0
