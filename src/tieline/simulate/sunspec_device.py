"""SunSpec devices that answer over Modbus TCP: the control models obeyed, with timers, refusals and faults."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from tieline.grid.inverter.settings import Settings
from tieline.simulate.sunspec_curves import StoredCurves
from tieline.times import SECOND_NS, Clock
from tieline.wire.modbus.frames import Frame, FrameError, FrameReader, frame_octets
from tieline.wire.modbus.pdu import (
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    NO_TARGET,
    PduError,
    Read,
    Write,
    answer_read,
    answer_refused,
    answer_write,
    read_request,
)
from tieline.wire.sunspec.models import END, MARKER, Model, build, read_value, write_value

BASE = 40000
_CONTROLS = (
    "WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms", "WSetRvrtRem", "WMaxLimPctEna",
    "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms", "WMaxLimPctRvrtRem",
)  # fmt: skip


class Body(Protocol):
    """The physics behind a device."""

    def read(self) -> Mapping[str, float]:
        """Return what it measures now, by point (SI): power_w, and soc_frac, energy_available_wh where it stores."""
        ...

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        """Hold a power (W; NaN: none) below an upper limit until an instant."""
        ...


@dataclass
class SunSpecDevice:
    """One unit: its models as registers, its body, and how it misbehaves.

    `curves` are the stored curves of the models 705, 706 and 711 that it implements.

    Faults: `ignores` writes, `refuses` them, `is_silent`, answers `late_s` after the question, `lies` about its timers
    (they run out, and nothing lets go).
    """

    body: Body
    rated_w: float
    energy_wh: float
    models: Mapping[int, Model]
    clock: Clock
    ignores: bool = False
    refuses: bool = False
    is_silent: bool = False
    lies: bool = False
    late_s: float = 0.0
    curves: Mapping[int, StoredCurves] = field(default_factory=dict)
    registers: dict[int, list[int]] = field(default_factory=dict)
    writes: int = 0

    def __post_init__(self) -> None:
        rating = {"WMaxRtg": self.rated_w, "WMax": self.rated_w, "W_SF": 1 if self.rated_w > 60_000 else 0}
        self.registers[1] = build(self.models[1], {"Mn": "Tieline", "Md": "simulated", "SN": "1"})
        self.registers[702] = build(self.models[702], rating)
        self._take_full()
        self.registers[703] = build(self.models[703], {"ES": 1})
        self.registers |= {number: stored.registers for number, stored in self.curves.items()}
        self._seen: dict[int, dict[str, float]] = {}
        self._measure()
        self._clear()

    def set_full(self, full_w: float) -> None:
        """Have an installer set another WMax (W)."""
        self._lay(702, "WMax", full_w)
        self._take_full()
        self._obey()

    def _take_full(self) -> None:
        """Take WMax as its registers hold it: what it limits is a share of what it tells."""
        told_w = read_value(self.models[702], "WMax", self.registers[702])
        self.full_w = float(told_w) if isinstance(told_w, (int, float)) else self.rated_w

    def reboot(self) -> None:
        """Start afresh: nothing that was told is remembered."""
        self._clear()
        self._obey()

    def _clear(self) -> None:
        free = dict.fromkeys(_CONTROLS, 0)
        scales = {"WSet_SF": 0, "WMaxLimPct_SF": -1}
        self.registers[704] = build(self.models[704], {**scales, **free, "WMaxLimPct": 100})
        self._ends_ns = {"WSet": 0, "WMaxLimPct": 0}

    def turn(self, target_w: float) -> None:
        """Be told a power by somebody else, without a timer."""
        for name, value in (("WSet", target_w), ("WSetRvrtTms", 0.0), ("WSetEna", 1.0)):
            self._lay(704, name, value)
        self._start_timers()
        self._obey()

    def _measure(self) -> None:
        small = {"W_SF": 1 if self.rated_w > 30_000 else 0, "V_SF": -1, "Hz_SF": -2, "VA_SF": 1, "Var_SF": 1}
        values = {**small, "W": 0, "VA": 0, "Var": 0.0, "LLV": 240.0, "Hz": 60.0, "St": 1, "ConnSt": 1}
        self.registers[701] = build(self.models[701], values)
        if self.energy_wh > 0:
            scale = 1 if self.energy_wh > 60_000 else 0
            stored = {"WHRtg": self.energy_wh, "WHAvail": 0, "SoC": 0, "SoH": 100, "Sta": 0}
            self.registers[713] = build(self.models[713], {"WH_SF": scale, "Pct_SF": -1, **stored})

    def _refresh(self, number: int) -> None:
        """Lay what the body measures now into the registers of a model: 701 or 713."""
        self._age()
        seen = self.body.read()
        if seen == self._seen.get(number):
            return
        self._seen[number] = dict(seen)
        if number == 701:
            power_w = seen.get("power_w", 0.0)
            self._lay(701, "W", power_w)
            var = seen.get("reactive_var", 0.0)
            self._lay(701, "VA", math.hypot(power_w, var))
            self._lay(701, "Var", var)
        else:
            self._lay(713, "WHAvail", seen.get("energy_available_wh", 0.0))
            self._lay(713, "SoC", 100 * seen.get("soc_frac", 0.0))

    def _lay(self, number: int, name: str, value: float) -> None:
        registers, field_ = self.registers[number], self.models[number].field(name)
        registers[field_.offset : field_.offset + field_.size] = write_value(
            self.models[number], name, value, registers
        )

    def read(self, first: int, count: int) -> tuple[int, ...] | None:
        """Return registers counted from the marker; None: beyond the end model. Only what is asked is measured."""
        at, end = len(MARKER), first + count
        found: list[int] = []
        if first < at:
            found += MARKER[first:end]
        for number in sorted(self.registers):
            size = len(self.registers[number])
            if at < end and at + size > first:
                if number == 704:
                    self._age()
                elif number in (701, 713):
                    self._refresh(number)
                elif number in self.curves:
                    self.curves[number].age()
                found += self.registers[number][max(first - at, 0) : end - at]
            at += size
        if first < at + 2 and end > at:
            found += (END, 0)[max(first - at, 0) : end - at]
        return tuple(found) if first >= 0 and len(found) == count else None

    def write(self, start: int, values: tuple[int, ...]) -> bool:
        """Take registers; returns whether they are writable here."""
        at = BASE + 2
        for number in sorted(self.registers):
            size = len(self.registers[number])
            if number == 704 and at <= start and start + len(values) <= at + size:
                self.writes += 1
                if not self.ignores:
                    self.registers[704][start - at : start - at + len(values)] = values
                    self._start_timers()
                    self._obey()
                return True
            if number in self.curves and at <= start and start + len(values) <= at + size:
                self.writes += 1
                return self.ignores or self.curves[number].write(start - at, values)
            at += size
        return False

    def settings(self, of: Settings) -> Settings:
        """Return settings of an inverter with the curves in force in place of its own."""
        for stored in self.curves.values():
            of = stored.in_force(of)
        return of

    def _value(self, name: str) -> float:
        value = read_value(self.models[704], name, self.registers[704])
        return float(value) if isinstance(value, (int, float)) else 0.0

    def _start_timers(self) -> None:
        """A write starts its function's reversion timer (model 704: seconds, 0: none)."""
        now_ns = self.clock.now_ns()
        for name in self._ends_ns:
            seconds = self._value(f"{name}RvrtTms")
            self._ends_ns[name] = now_ns + int(seconds * SECOND_NS) if seconds and self._value(f"{name}Ena") else 0

    def _age(self) -> None:
        """Count the timers down; what has run out is let go, or reverts to what was told for that (unless they lie)."""
        now_ns = self.clock.now_ns()
        for name, end_ns in self._ends_ns.items():
            left_s = max(end_ns - now_ns, 0) / SECOND_NS
            self._lay(704, f"{name}RvrtRem", math.ceil(left_s))
            if end_ns and not left_s and not self.lies:
                self._ends_ns[name] = 0
                if self._value(f"{name}EnaRvrt") == 1:
                    self._lay(704, name, self._value(f"{name}Rvrt"))
                self._lay(704, f"{name}Ena", self._value(f"{name}EnaRvrt"))
                self._obey()

    def _obey(self) -> None:
        target_w = self._value("WSet") if self._value("WSetEna") == 1 else math.nan
        limited = self._value("WMaxLimPctEna") == 1
        high_w = self.full_w * self._value("WMaxLimPct") / 100 if limited else math.inf
        ends_ns = [end_ns for end_ns in self._ends_ns.values() if end_ns]
        # What reverts to something goes on holding it, from the next look at the device on.
        reverts = any(end_ns and self._value(f"{name}EnaRvrt") == 1 for name, end_ns in self._ends_ns.items())
        self.body.hold(target_w, high_w, min(ends_ns) if ends_ns and not self.lies and not reverts else 2**62)


class SunSpecServer:
    """Answers for many units on one port."""

    def __init__(self, units: Mapping[int, SunSpecDevice]) -> None:
        self.units = dict(units)
        self.requests = 0
        self.port = 0
        self.on_write: Callable[[int], None] = lambda unit: None
        self.is_deaf = False
        self._server: asyncio.Server | None = None
        self._connections: list[_Connection] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 picks a free one."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    def drop(self) -> None:
        """Cut every connection, as a reboot of the gateway would."""
        for connection in list(self._connections):
            connection.abort()

    def answer(self, frame: Frame) -> bytes | None:
        """Return the PDU that answers a request; None: silence."""
        self.requests += 1
        function = frame.pdu[0] if frame.pdu else 0
        device = self.units.get(frame.unit)
        if device is None:
            return answer_refused(function, NO_TARGET)
        if device.is_silent or self.is_deaf:
            return None
        try:
            request = read_request(frame.pdu)
        except PduError as error:
            return answer_refused(function, error.code)
        return _read(device, request) if isinstance(request, Read) else self._write(device, frame, request)

    def _write(self, device: SunSpecDevice, frame: Frame, request: Write) -> bytes:
        if device.refuses:
            return answer_refused(frame.pdu[0], DEVICE_FAILURE)
        if not device.write(request.start, request.registers):
            return answer_refused(frame.pdu[0], ILLEGAL_ADDRESS)
        self.on_write(frame.unit)
        return answer_write(frame.pdu, request)


def _read(device: SunSpecDevice, request: Read) -> bytes:
    found = device.read(request.start - BASE, request.count)
    return answer_refused(request.function, ILLEGAL_ADDRESS) if found is None else answer_read(request, found)


class _Connection(asyncio.Protocol):
    """One client of a server."""

    def __init__(self, server: SunSpecServer) -> None:
        self._server, self._reader = server, FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's
        self._server._connections.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the stream."""
        self._server._connections.remove(self)

    def abort(self) -> None:
        """Cut the stream."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete; a slow unit's answer comes later, and may be overtaken."""
        try:
            frames = self._reader.feed(data)
        except FrameError:
            self.abort()
            return
        at_once = b""
        for frame in frames:
            pdu = self._server.answer(frame)
            if pdu is None:
                continue
            octets = frame_octets(frame.transaction, frame.unit, pdu)
            device = self._server.units.get(frame.unit)
            if device is not None and device.late_s > 0:
                asyncio.get_running_loop().call_later(device.late_s, self._say, octets)
            else:
                at_once += octets
        self._say(at_once)

    def _say(self, octets: bytes) -> None:
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)
