"""The DNP3 outstation in the contract suite: a control room asks the pool for a power."""

from __future__ import annotations

import asyncio

import msgspec
from py1815.application import FunctionCode
from py1815.control import CommandStatus
from py1815.master.controls import analog, binary
from upward import POOL, Answer, RecordingDesk

from tieline.desk.ports import GroupView, LinkHealth, Measured, Session, Snapshot
from tieline.errors import LinkDown
from tieline.links.grid.dnp3.binding import Binding, Group, Peer, check_binding
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock
from tieline.simulate.scada import Scada

DOCUMENT: dict[str, object] = {
    "address": 10,
    "host": "tieline",
    "groups": [{"resource": POOL, "at": 0, "max_inject_w": 5e6, "max_absorb_w": 5e6}],
    "peers": [{"name": "dno", "address": 1, "may_read": [POOL], "may_operate": [POOL]}],
}


class Dnp3Harness:
    """An outstation and one master."""

    alone, answer_s, back_s = Session.LINK, 0.0, 5.0
    bad_settings = [
        ({"adress": 10}, "adress"),
        ({"peers": [{"name": "dno", "address": 70_000}]}, r"\$\.peers\[0\]\.address"),
        ({"peers": [{"name": "dno", "address": 1, "may_read": ["pool:west"]}]}, r"\$\.peers\[0\]"),
        ({"keep_alive_s": 0}, "keep_alive_s"),
    ]

    async def start(self, clock: VirtualClock, supervisor: Supervisor, desk: RecordingDesk) -> None:
        self._clock, self._supervisor = clock, supervisor
        self._link = Dnp3Outstation(msgspec.convert(DOCUMENT, Binding), desk, clock, supervisor, desk)
        await self._link.start()
        await self.publish(Quality.GOOD, clock.now_ns())
        await self.restore()

    async def publish(self, quality: Quality, taken_ns: int) -> None:
        values = {"power_w": Measured(1e6, quality, taken_ns)}
        await self._link.publish(Snapshot(1, self._clock.now_ns(), (GroupView(POOL, POOL, values),)))

    def shown(self) -> tuple[int, int | None]:
        """Return the flags and the time (ms) of the pool's power as the master last saw them."""
        seen = self._master.store.analog_input(0)
        assert seen is not None
        return seen.flags, seen.time_ms

    async def stop(self) -> None:
        await self._master.close()
        await self._link.stop()

    def health(self) -> LinkHealth:
        return self._link.health()

    async def wish(self, power_w: float) -> Answer:
        return _answer(await self._master.target(0, power_w))

    async def again(self) -> None:
        await self._master.replay(self._master.sent[-1])
        await asyncio.sleep(1)

    async def late(self, power_w: float) -> Answer:
        controls = [analog(0, power_w, 1), binary(0, True)]
        assert set(await self._master.command(FunctionCode.SELECT, controls)) == {CommandStatus.SUCCESS}
        await asyncio.sleep(6.0)  # a select is good for 5 s here (IEEE 1815-2012, 4.4.3)
        return _answer(await self._master.command(FunctionCode.OPERATE, controls))

    async def stranger(self, power_w: float) -> None:
        other = Scada("tieline", 20000, master=9, outstation=10, spawn=self._supervisor.spawn, timeout_s=2.0)
        try:
            await other.connect()
            await other.target(0, power_w)
        except (LinkDown, OSError):
            return
        raise AssertionError("a master on no list was heard")

    async def spoil(self) -> None:
        await self._master.replay(b"\x05\x64\x05\xc0" + bytes(range(200)) * 3)
        await asyncio.sleep(1)

    async def drop(self) -> None:
        await self._master.close()

    async def restore(self) -> None:
        self._master = Scada("tieline", 20000, master=1, outstation=10, spawn=self._supervisor.spawn)
        await self._master.connect()

    def check(self, settings: dict[str, object]) -> None:
        check_binding(msgspec.convert({**DOCUMENT, **settings}, Binding))


def _answer(statuses: list[CommandStatus]) -> Answer:
    bad = [status for status in statuses if status is not CommandStatus.SUCCESS]
    return Answer(not bad, bad[0].name if bad else "SUCCESS")


assert Group(POOL, 0, 0.0, 0.0) and Peer("dno", 1)  # the document above is of these
