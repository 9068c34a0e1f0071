"""Several units behind one host and port that takes fewer requests at once than there are: every command arrives."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery, Log

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS
from tieline.wire.modbus.frames import Frame
from tieline.wire.sunspec.models import MARKER

UNITS = (1, 2, 3, 4)


def batch(seq: int, now_ns: int, watts: float, rows: tuple[int, ...] = UNITS) -> CommandBatch:
    """A command of 10 minutes for every row; NaN: a release."""
    ones = np.ones(len(rows))
    return CommandBatch(
        f"c{seq}", np.array(rows, np.int32), watts * ones, -math.inf * ones, math.inf * ones, 0 * ones, now_ns, now_ns,
        now_ns + 600 * SECOND_NS, 1, seq, (),
    )  # fmt: skip


async def ended(log: Log, count: int, within_s: float) -> None:
    """Wait until so many commands have ended."""
    async with asyncio.timeout(within_s):
        while sum(stage not in (Stage.SENT, Stage.ACCEPTED) for _, stage in log.stages) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.interop
@pytest.mark.parametrize("wait_s", [0.05, 6.0])
def test_a_call_and_a_release_reach_four_units_behind_one_pymodbus_server(wait_s: float) -> None:
    """It answers the first request of a segment alone; asked as soon as it is up, or once all are found."""
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    async def main() -> tuple[Log, list[list[int]]]:
        clock, log, held = SystemClock(), Log(), []
        size = len(MARKER) + sum(MODELS[n].size for n in MODELS) + 2
        image = [*SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock).read(0, size)]
        contexts = {
            n: ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, [0] * 40_000 + image + [0] * 200)) for n in UNITS
        }
        server = ModbusTcpServer(ModbusServerContext(devices=contexts, single=False), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        at = 40_002 + sum(MODELS[n].size for n in (1, 701, 702, 703)) + MODELS[704].field("WSetEna").offset

        async def enabled() -> list[int]:
            async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
                return [(await client.read_holding_registers(at, count=1, device_id=n)).registers[0] for n in UNITS]

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            how = ModbusSettings({n: f"127.0.0.1:{port}/{n}" for n in UNITS}, dict.fromkeys(UNITS, 5000.0), poll_s=1.0)
            link = ModbusLink(how, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(wait_s)
            for seq, watts in enumerate((2_000.0, math.nan, 3_000.0, math.nan), 1):
                await link.send(batch(seq, clock.now_ns(), watts))
                await ended(log, 4 * seq, 20.0)
                held.append(await enabled())
        await server.shutdown()
        return log, held

    log, held = asyncio.run(main())
    assert Counter(stage for _, stage in log.stages) == {Stage.SENT: 16, Stage.ACCEPTED: 16, Stage.DONE: 16}
    assert held == [[1] * 4, [0] * 4, [1] * 4, [0] * 4]


class Gateway(SunSpecServer):
    """One that has `takes` requests under way at most and loses what comes beside them; each takes `each_s`.

    Of those that have company it may lose more, one in `loses` (0: none).
    """

    takes = 1
    each_s = 0.01
    loses = 0
    under_way = 0
    asked = 0
    alone_lost = 0

    def answer(self, frame: Frame) -> bytes | None:
        self.asked += 1
        has_company = self.under_way > 0
        if self.under_way >= self.takes or (has_company and self.loses and self.asked % self.loses == 0):
            return None
        self.under_way += 1
        asyncio.get_running_loop().call_later(self.each_s, self._end)
        return super().answer(frame)

    def _end(self) -> None:
        self.under_way -= 1


@dataclass
class Site:
    """A link to several units behind one gateway, on virtual time."""

    clock: VirtualClock
    gateway: Gateway
    devices: dict[int, SunSpecDevice]
    link: ModbusLink
    log: Log
    seq: int = 0
    written_s: dict[int, float] = field(default_factory=dict)

    async def tell(self, watts: float) -> None:
        """Tell every unit a power for 10 minutes (NaN: release it)."""
        self.seq += 1
        await self.link.send(batch(self.seq, self.clock.now_ns(), watts, tuple(self.devices)))

    def done(self) -> Counter[int]:
        """Return how many commands of each row were done."""
        return Counter(row for row, stage in self.log.stages if stage is Stage.DONE)


def play(scene: Callable[[Site], Awaitable[None]], units: int, **manner: float) -> Site:
    """Play a scene with so many units; `takes`, `each_s` and `loses` are the gateway's, what is left the link's."""

    async def main(loop: VirtualLoop) -> Site:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        gateway = Gateway({})
        for name in ("takes", "each_s", "loses"):
            setattr(gateway, name, manner.pop(name, getattr(gateway, name)))
        devices = {
            n: SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock, late_s=gateway.each_s)
            for n in range(1, units + 1)
        }
        gateway.units.update(devices)
        await gateway.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            addresses = {n: f"127.0.0.1:502/{n}" for n in devices}
            how = ModbusSettings(addresses, dict.fromkeys(devices, 5000.0), **{"poll_s": 30.0, **manner})
            link = ModbusLink(how, log, clock, supervisor, np.random.default_rng(2))
            site = Site(clock, gateway, devices, link, log)
            gateway.on_write = lambda unit: site.written_s.__setitem__(unit, loop.time())
            link.start()
            await scene(site)
            link.stop()
            return site

    return run_virtual(main)


@given(
    takes=st.integers(1, 16),
    units=st.integers(1, 24),
    dead=st.sets(st.integers(1, 24), max_size=2),
    each_s=st.sampled_from([0.001, 0.02, 0.1]),
    loses=st.sampled_from([0, 0, 7, 40]),
    watts=st.lists(st.sampled_from([2_000.0, -1_500.0, math.nan]), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_however_few_a_gateway_takes_and_whatever_it_loses_in_company_every_living_unit_is_told_every_command(
    takes: int, units: int, dead: set[int], each_s: float, loses: int, watts: list[float]
) -> None:
    async def scene(site: Site) -> None:
        for n in dead & set(site.devices):
            site.devices[n].is_silent = True
        await asyncio.sleep(400)
        for watt in watts:
            await site.tell(watt)
            await asyncio.sleep(60)

    site = play(scene, units, takes=takes, each_s=each_s, loses=loses)
    alive = set(site.devices) - dead
    assert {row: count for row, count in site.done().items() if row in alive} == dict.fromkeys(alive, len(watts))


@given(takes=st.integers(1, 16), fewer=st.integers(1, 16), units=st.integers(2, 24))
@settings(max_examples=30, deadline=None)
def test_a_gateway_that_takes_fewer_than_it_did_loses_no_command_either(takes: int, fewer: int, units: int) -> None:
    async def scene(site: Site) -> None:
        await asyncio.sleep(60)
        site.gateway.takes = min(takes, fewer)
        for _ in range(4):
            await site.tell(2_000.0)
            await asyncio.sleep(60)

    site = play(scene, units, takes=takes, poll_s=600.0)
    assert site.done() == dict.fromkeys(site.devices, 4)


def test_a_limit_reaches_sixteen_units_of_a_slow_gateway_in_the_time_that_takes_while_it_is_polled_without_end() -> (
    None
):
    """16 units, a request at a time, 200 ms each: a round of polls takes 13 s of every 10 s."""

    async def scene(site: Site) -> None:
        await asyncio.sleep(300)
        for turn in range(20):
            began_s = asyncio.get_running_loop().time()
            await site.tell(1_000.0 + 100.0 * turn)
            await asyncio.sleep(17.3)
            took_s.append(max(site.written_s[n] for n in site.devices) - began_s)

    took_s: list[float] = []
    site = play(scene, 16, each_s=0.2, poll_s=10.0)
    assert site.done() == dict.fromkeys(site.devices, 20)
    # 16 writes, one request that is under way, and each ninth a poll.
    assert max(took_s) <= 16 * 0.2 + 0.2 + 2 * 0.2 + 0.01


def test_polls_of_a_slow_gateway_have_their_turn_while_commands_come_without_end() -> None:
    async def scene(site: Site) -> None:
        await asyncio.sleep(300)
        began_ns = site.clock.now_ns()
        for turn in range(200):
            await site.tell(1_000.0 + 10.0 * turn)
            await asyncio.sleep(3.0)
        for n in site.devices:
            taken = [int(b.taken_at_ns[0]) for b in site.log.readings_ for at in np.flatnonzero(b.rows == n)[:1]]
            since.append(
                max(np.diff([began_ns, *(t for t in sorted(taken) if t > began_ns), site.clock.now_ns()])) / 1e9
            )

    since: list[float] = []
    play(scene, 8, each_s=0.2, poll_s=10.0)
    assert max(since) <= 120.0


@pytest.mark.parametrize("units", [1, 2, 3, 8, 16])
def test_a_host_that_answers_all_at_once_is_told_all_at_once(units: int) -> None:
    """From a command to its read-back takes two requests of 0.1 s and their ways, whoever else is told beside it."""

    async def scene(site: Site) -> None:
        await asyncio.sleep(100)
        for _ in range(3):
            began_s = asyncio.get_running_loop().time()
            await site.tell(2_000.0)
            await ended(site.log, site.seq * units, 10.0)
            took_s.append(asyncio.get_running_loop().time() - began_s)

    took_s: list[float] = []
    play(scene, units, takes=16, each_s=0.1, poll_s=3_600.0)
    assert max(took_s) <= 0.26


def test_a_unit_that_falls_silent_holds_up_its_neighbours_for_no_longer_than_an_answer_takes() -> None:
    """Its host was found to answer all: that one is lost is put once more alone, and not waited for again."""

    async def scene(site: Site) -> None:
        await asyncio.sleep(100)
        site.devices[3].is_silent = True
        for wait_s in (3.05, 0.0, 3.05):
            await site.tell(2_000.0)
            await asyncio.sleep(wait_s)
        began_s = asyncio.get_running_loop().time()
        await site.tell(1_000.0)
        await asyncio.sleep(3.0)
        took_s.append(max(at_s for n, at_s in site.written_s.items() if n != 3) - began_s)

    took_s: list[float] = []
    play(scene, 8, takes=16, each_s=0.05, poll_s=3_600.0)
    assert took_s[0] <= 0.5


def test_a_host_that_lost_requests_for_a_while_is_asked_as_many_again_by_what_its_commands_read_back() -> None:
    """Its polls have drifted apart by then: hardly two of them wait at once."""

    async def scene(site: Site) -> None:
        await asyncio.sleep(100)
        for takes, hours in ((1, 3), (16, 30)):
            site.gateway.takes = takes
            for turn in range(4 * hours):
                await site.tell(1_000.0 + 10.0 * (turn % 2))
                await asyncio.sleep(900)
        for turn in range(8):
            began_s = asyncio.get_running_loop().time()
            await site.tell(2_000.0 + 10.0 * turn)
            await asyncio.sleep(37)
            took_s.append(max(site.written_s.values()) - began_s)

    took_s: list[float] = []
    site = play(scene, 16, takes=16, each_s=0.1, poll_s=300.0)
    assert site.done() == dict.fromkeys(site.devices, site.seq)
    assert min(took_s) <= 0.11, "where no poll is under way"


def test_two_dead_units_behind_a_gateway_that_takes_one_request_have_their_stream_cut_once_at_most() -> None:
    async def scene(site: Site) -> None:
        await asyncio.sleep(100)
        for n in (2, 3):
            site.devices[n].is_silent = True
        await asyncio.sleep(100)
        streams = set(map(id, site.gateway._connections))
        for _ in range(60):
            await asyncio.sleep(60)
            streams |= set(map(id, site.gateway._connections))
        found.append(len(streams))
        assert site.link.devices[1].is_live and site.link.devices[4].is_live

    found: list[int] = []
    play(scene, 4, poll_s=30.0)
    assert found[0] == 1
