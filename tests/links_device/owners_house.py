"""A SunSpec device on virtual time with its owner and a journal, which outlive each server of ours."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import modbus_room
import numpy as np
from kept_room import Records
from modbus_room import MODELS, Battery
from test_modbus_late import Told

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.modbus.owner import KeptControls
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

LASTS_S, GRACE_S = 300.0, 10.0
FREE, SHUT, HEARS, CUT, DIE, REBOOT = "free", "shut", "hears", "cut", "die", "reboot"
AWAY, BACK = "the journal is away", "it is back"
CLEARS = "its owner frees it"


@dataclass(frozen=True)
class Owns:
    """What an owner sets, to last: a power (W), or an upper limit (percent of WMax)."""

    power_w: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Call:
    """What we are asked for: a power (W; NaN: none) and an upper limit (W)."""

    target_w: float
    high_w: float = math.inf


@dataclass
class House:
    """A device, its owner and the journal, which outlive each server of ours."""

    clock: VirtualClock
    device: SunSpecDevice
    loop: VirtualLoop
    journal: Records = field(default_factory=Records)
    last: CommandBatch | None = None
    stage: Stage = Stage.DONE
    seq: int = 0
    power_w: float | None = None
    limit: float | None = None
    known: tuple[float | None, float | None] = (None, None)
    lost: list[tuple[float | None, float | None]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dead_s: float = 0.0
    link: ModbusLink | None = None

    def set(self, own: Owns) -> None:
        device = self.device
        steps = [("WSet", own.power_w)] if own.power_w is not None else []
        steps += [("WMaxLimPct", own.limit)] if own.limit is not None else []
        for name, value in steps:
            if device._value(f"{name}RvrtTms"):
                device._lay(704, f"{name}RvrtTms", 0.0)
            device._lay(704, name, value)
            device._lay(704, f"{name}Ena", 1.0)
            device._ends_ns[name] = 0
        device._obey()
        self.power_w = self.power_w if own.power_w is None else own.power_w
        self.limit = self.limit if own.limit is None else own.limit

    def clear(self) -> None:
        for name in ("WSet", "WMaxLimPct"):
            self.device._lay(704, f"{name}Ena", 0.0)
            self.device._ends_ns[name] = 0
        self.device._obey()
        self.power_w = self.limit = None

    @property
    def holds(self) -> tuple[float | None, float | None]:
        """What it holds: a power (W) and a limit (percent); None: none."""
        self.device._age()
        found = [
            self.device._value(name) if self.device._value(f"{name}Ena") == 1.0 else None
            for name in ("WSet", "WMaxLimPct")
        ]
        return found[0], found[1]

    async def call(self, link: ModbusLink, what: Call) -> None:
        self.seq += 1
        now_ns, one = self.clock.now_ns(), np.ones(1)
        self.last = CommandBatch(
            f"c{self.seq}", np.array([7], np.int32), what.target_w * one, -np.inf * one, what.high_w * one, 0 * one,
            now_ns, now_ns, now_ns + int(LASTS_S) * SECOND_NS, 1, self.seq, (),
        )  # fmt: skip
        self.stage = Stage.QUEUED
        await link.send(self.last)

    @property
    def is_released(self) -> bool:
        last = self.last
        return last is not None and math.isnan(last.target_w[0]) and math.isinf(last.high_w[0])

    async def live(self, deeds: list[tuple[object, float]]) -> None:
        """Run a server over its deeds until it dies, as `tieline serve` raises its link."""
        log = Told()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            kept = KeptControls("modbus", self.journal, self.clock, supervisor.spawn)
            kept.restore(self.journal)
            how = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
            link = ModbusLink(how, log, self.clock, supervisor, np.random.default_rng(2), controls=kept)
            if self.last is not None and not (self.is_released and self.stage is Stage.DONE):
                link.doubt([7])
            if self.last is not None and self.stage is Stage.DONE and not self.is_released:
                link.remember(self.last, np.full(1, math.nan), np.ones(1, np.bool_))
            link.start()
            self.link, self.dead_s = link, 0.0
            await asyncio.sleep(1.0)
            while deeds:
                deed, wait_s = deeds.pop(0)
                if deed == DIE:
                    self.dead_s = wait_s
                    break
                match deed:
                    case Owns():
                        self.set(deed)
                    case "its owner frees it":
                        self.clear()
                    case Call():
                        await self.call(link, deed)
                    case "free":
                        await self.call(link, Call(math.nan))
                    case "cut":
                        self.loop.network.cut("127.0.0.1", 502)
                    case "reboot":
                        self.lost += [self.known] if self.known != (self.power_w, self.limit) else []
                        self.device.reboot()
                    case "shut" | "hears":
                        self.device.is_silent = deed == SHUT
                    case "the journal is away" | "it is back":
                        self.journal.is_down = deed == AWAY
                await asyncio.sleep(wait_s)
            if self.last is not None and self.last.id in log.stood:
                self.stage = log.stood[self.last.id]
            self.errors += log.errors
            link.stop()
            self.link = None


def play(
    deeds: list[tuple[object, float]],
    has_timer: bool = True,
    lies: bool = False,
    make: type[SunSpecDevice] = SunSpecDevice,
    watch: Callable[[House], None] = lambda house: None,
) -> House:
    """Play deeds; a DIE ends a server, and the wait after it is how long none runs.

    `watch` looks at the house every second, and after each write.
    """

    async def main(loop: VirtualLoop) -> House:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        device = make(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        device.lies = lies
        for name in () if has_timer else ("WSetRvrtTms", "WMaxLimPctRvrtTms"):
            at = MODELS[704].field(name).offset
            device.registers[704][at : at + 2] = [0xFFFF, 0xFFFF]
        await SunSpecServer({1: device}).start(port=502)
        house, left, read = House(clock, device, loop), list(deeds), device.read

        def seen(first: int, count: int) -> tuple[int, ...] | None:
            house.known = house.power_w, house.limit
            return read(first, count)

        def written(start: int, values: tuple[int, ...]) -> bool:
            is_taken = write(start, values)
            watch(house)
            return is_taken

        async def look() -> None:
            while True:
                watch(house)
                await asyncio.sleep(1.0)

        device.read, write = seen, device.write  # type: ignore[method-assign]
        device.write = written  # type: ignore[method-assign]
        looks = asyncio.ensure_future(look())
        while left:
            while left and (isinstance(left[0][0], Owns) or left[0][0] in (AWAY, CLEARS)):  # before a server comes
                deed, _ = left.pop(0)
                if deed == AWAY:
                    house.journal.is_down = True
                elif deed == CLEARS:
                    house.clear()
                else:
                    house.set(deed)
            await house.live(left)
            await asyncio.sleep(house.dead_s)
        looks.cancel()
        return house

    return run_virtual(main)
