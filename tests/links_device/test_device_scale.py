"""A thousand links in one process, within a budget of time and memory."""

import asyncio
import math
import resource
import time

import numpy as np
import pytest

from tieline.desk.ports import Session
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.device.sunspec_models import model
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import Stage
from tieline.resource.identity import Rating
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS


class Tally:
    """An intake that only counts."""

    def __init__(self) -> None:
        self.stages = dict.fromkeys(Stage, 0)
        self.rows: set = set()
        self.calls = 0

    def reports(self, reports: CommandReports) -> None:
        self.calls += 1
        for stage in reports.stage.tolist():
            self.stages[Stage(stage)] += 1

    def readings(self, readings: Readings) -> None:
        self.rows.update(readings.rows.tolist())

    def health(self, health: object) -> None:
        pass


class Still:
    """A body that does what it was told."""

    def __init__(self) -> None:
        self._power_w = 0.0

    def read(self) -> dict:
        return {"power_w": self._power_w, "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self._power_w = 0.0 if math.isnan(target_w) else target_w


def to_all(count: int, clock: object, target_w: float) -> CommandBatch:
    now, one = clock.now_ns(), np.ones(count)
    return CommandBatch(
        "all", np.arange(count, dtype=np.int32), target_w * one, -np.inf * one, np.inf * one, 0 * one, now, now,
        now + 3_600 * SECOND_NS, 1, 1, (),
    )  # fmt: skip


@pytest.mark.interop
def test_a_thousand_modbus_connections_are_found_polled_and_told_over_sockets() -> None:
    """1,000 sockets each way in one process; the budget is that of a busy two-core machine."""
    count = 1_000
    models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}

    async def main() -> tuple:
        clock, tally, addresses, servers = SystemClock(), Tally(), {}, []
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for row in range(count):
            server = SunSpecServer({1: SunSpecDevice(Still(), 5_000.0, 10_000.0, models, clock)})
            await server.start()
            servers.append(server)
            addresses[row] = f"127.0.0.1:{server.port}/1"
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings(addresses, dict.fromkeys(addresses, 5_000.0), poll_s=600.0, timeout_s=30.0)
            link = ModbusLink(settings, tally, clock, supervisor, np.random.default_rng(2))
            began_s = time.perf_counter()
            link.start()
            async with asyncio.timeout(60):
                while link.health().peers < count:  # noqa: ASYNC110  it counts
                    await asyncio.sleep(0.1)
            found_s = time.perf_counter() - began_s
            began_s = time.perf_counter()
            await link.send(to_all(count, clock, -1_000.0))
            async with asyncio.timeout(60):
                while tally.stages[Stage.DONE] < count:  # noqa: ASYNC110  it counts
                    await asyncio.sleep(0.05)
            told_s = time.perf_counter() - began_s
            assert link.health().session is Session.LIVE
            link.stop()
        for server in servers:
            server.stop()
        used_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
        return tally, found_s, told_s, used_mib

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    try:
        tally, found_s, told_s, used_mib = asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(
        f"{count} links: found and polled in {found_s:.1f} s, told and read back in {told_s:.1f} s, {used_mib:.0f} MiB"
    )
    assert len(tally.rows) == count
    assert tally.stages[Stage.UNCONFIRMED] == 0
    assert found_s < 30 and told_s < 30 and used_mib < 300


def test_five_thousand_mqtt_devices_are_told_within_the_rate_and_reports_come_in_tables() -> None:
    count = 5_000

    async def main(loop: VirtualLoop) -> tuple:
        clock, tally = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Tally()
        broker = MqttBroker()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            units = [MqttUnit(f"plug-{n}", PlugBody(2_000.0)) for n in range(count)]
            MqttDevices(units, supervisor, "127.0.0.1", 1883, every_s=36_000.0).start()
            rating = Rating(max_absorb_w=2_000.0)
            devices = {n: MqttDevice(f"plug-{n}", "plug", rating) for n in range(count)}
            settings = MqttSettings("127.0.0.1", 1883, devices, rate_per_s=500.0, stale_s=36_000.0)
            link = MqttLink(settings, tally, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(5)
            began_s = loop.time()
            await link.send(to_all(count, clock, 0.0))
            while tally.stages[Stage.DONE] < count:  # noqa: ASYNC110  it counts
                await asyncio.sleep(0.5)
            took_s = loop.time() - began_s
            link.stop()
        return tally, took_s

    tally, took_s = run_virtual(main)
    assert len(tally.rows) == count
    assert (count - 500) / 500.0 <= took_s < 25.0  # a second's worth goes at once, the rest at the rate
    assert tally.calls < 3 * count / 10
