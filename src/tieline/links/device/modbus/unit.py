"""One SunSpec device behind a Modbus connection: found, read, told, and read back."""

from __future__ import annotations

import math

from tieline.errors import PeerError
from tieline.links.device.modbus.client import Client
from tieline.links.device.sunspec_models import model
from tieline.wire.modbus.pdu import MOST_READ, Read, Refused, Write
from tieline.wire.sunspec.models import END, MARKER, ModelError, read_value, write_value

BASES = (40000, 50000, 0)
NEEDED = (701, 704)
POINTS = {"power_w": (701, "W"), "reactive_var": (701, "Var"), "voltage_v": (701, "LLV"), "frequency_hz": (701, "Hz")}
STORE_POINTS = {"soc_frac": (713, "SoC"), "energy_available_wh": (713, "WHAvail")}


class Rejected(PeerError):
    """The device refused a request; `code` is the Modbus exception."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: exception {code}")
        self.code = code


class Unit:
    """A device's model map and what was last read of its controls."""

    def __init__(self, client: Client, number: int) -> None:
        self._client, self._number = client, number
        self.models: dict[int, tuple[int, int]] = {}
        self.maker = ""

    async def find(self) -> None:
        """Walk the chain of models from the SunSpec marker.

        Raises:
            PeerError: No SunSpec device, or one without measurement and control.
            LinkDown: No answer.
        """
        base = await self._base()
        at = base + 2
        self.models = {}
        for _ in range(64):
            number, length = await self._read(at, 2)
            if number == END:
                break
            self.models[number] = (at, length + 2)
            at += length + 2
        missing = [number for number in NEEDED if number not in self.models]
        if missing:
            raise PeerError(f"unit {self._number}: no SunSpec model {missing[0]}")
        if 1 in self.models:
            start, size = self.models[1]
            self.maker = str(read_value(model(1), "Mn", await self._read(start, size)) or "")

    async def _base(self) -> int:
        for base in BASES:
            answer = await self._client.request(self._number, Read(base, 2))
            if answer == MARKER:
                return base
        raise PeerError(f"unit {self._number}: no SunSpec marker at {', '.join(map(str, BASES))}")

    async def _read(self, start: int, count: int) -> tuple[int, ...]:
        found: tuple[int, ...] = ()
        while len(found) < count:
            part = min(count - len(found), MOST_READ)
            answer = await self._client.request(self._number, Read(start + len(found), part))
            if isinstance(answer, Refused):
                raise Rejected(answer.code, f"unit {self._number}: read {part} at {start + len(found)}")
            found += answer
        return found

    async def measure(self) -> dict[str, float]:
        """Return what the device measures now, by point (SI); what it does not implement is left out."""
        found: dict[str, float] = {}
        for number, points in ((701, POINTS), (713, STORE_POINTS)):
            if number not in self.models:
                continue
            registers = await self._read(*self.models[number])
            for key, (_, name) in points.items():
                value = read_value(model(number), name, registers)
                if isinstance(value, float) and math.isfinite(value):
                    found[key] = value / 100.0 if key == "soc_frac" else value
        return found

    async def tell(self, target_w: float, limit_frac: float, revert_s: float) -> None:
        """Set the power (W; NaN: let it run) and the upper limit (share of its rating), enabling last.

        Scale factors are read before anything is written. The device reverts by itself after `revert_s`.

        Raises:
            Rejected: The device refused.
            PeerError: A value that its registers can't hold.
            LinkDown: No answer; whether it was taken is unknown.
        """
        start, size = self.models[704]
        controls = model(704)
        registers = await self._read(start, size)
        seconds = max(int(revert_s), 0)
        steps: list[tuple[str, float]] = []
        if math.isnan(target_w):
            steps.append(("WSetEna", 0))
        else:
            steps += [("WSetMod", 1), ("WSet", target_w), ("WSetRvrt", 0), ("WSetEnaRvrt", 0), ("WSetRvrtTms", seconds)]
            steps.append(("WSetEna", 1))
        if limit_frac < 1.0:
            steps += [("WMaxLimPct", 100.0 * max(limit_frac, 0.0)), ("WMaxLimPctEnaRvrt", 0)]
            steps += [("WMaxLimPctRvrtTms", seconds), ("WMaxLimPctEna", 1)]
        else:
            steps.append(("WMaxLimPctEna", 0))
        for name, value in steps:
            try:
                raw = write_value(controls, name, value, registers)
            except ModelError as error:
                raise PeerError(f"unit {self._number}: {error}") from error
            answer = await self._client.request(self._number, Write(start + controls.field(name).offset, raw))
            if isinstance(answer, Refused):
                raise Rejected(answer.code, f"unit {self._number}: write {name} = {value:g}")

    async def read_back(self) -> tuple[float, float]:
        """Return the target (W; NaN: none) and the upper limit (share) that the device holds."""
        registers = await self._read(*self.models[704])
        controls = model(704)
        enabled = read_value(controls, "WSetEna", registers) == 1
        target = read_value(controls, "WSet", registers)
        limited = read_value(controls, "WMaxLimPctEna", registers) == 1
        limit = read_value(controls, "WMaxLimPct", registers)
        held_w = float(target) if enabled and isinstance(target, float) else math.nan
        return held_w, float(limit) / 100.0 if limited and isinstance(limit, float) else 1.0
