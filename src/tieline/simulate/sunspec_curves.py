"""The stored curves of a simulated SunSpec device: written, adopted after a while, and followed by its inverter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from tieline.grid.inverter.scalar import Inverter, Seen
from tieline.grid.inverter.settings import Settings
from tieline.resource.mode import Mode
from tieline.times import SECOND_NS, Clock
from tieline.wire.sunspec.curves import ACTIVE, COMPLETED, FAILED, IN_PROGRESS, laid_out
from tieline.wire.sunspec.models import build, read_value

_SCALES = {
    705: {"V_SF": -2, "DeptRef_SF": -2, "RspTms_SF": -1},
    706: {"V_SF": -2, "DeptRef_SF": -2, "RspTms_SF": -1},
    711: {"Db_SF": -3, "K_SF": -3, "RspTms_SF": -1},
}
_VOLT_VAR = {"ActPt": 4, "DeptRef": 3, "Pri": 1, "VRef": 100, "VRefAutoEna": 0, "VRefAutoTms": 300, "RspTms": 5} | {
    f"Pt[{n}].{name}": value
    for n, pair in enumerate(((92, 44), (98, 0), (102, 0), (108, -44)), 1)
    for name, value in zip(("V", "Var"), pair, strict=True)
}
_VOLT_WATT = {"ActPt": 2, "DeptRef": 0, "RspTms": 10, "Pt[1].V": 106, "Pt[1].W": 100, "Pt[2].V": 110, "Pt[2].W": 0}
_DROOP = {"DbOf": 0.036, "DbUf": 0.036, "KOf": 0.05, "KUf": 0.05, "RspTms": 5, "PMin": 0}
DEFAULTS: Mapping[int, Mapping[str, float]] = {705: _VOLT_VAR, 706: _VOLT_WATT, 711: _DROOP}
"""IEEE 1547-2018, category B: Tables 8, 10 and 24."""


@dataclass
class StoredCurves:
    """The curves of one model: `curves` of them, of `points` each; the first shows what is in force.

    An adoption takes `adopt_s`; a curve whose voltages fall is not adopted. Faults: `fails` every adoption,
    never ends one (`hangs`), `is_read_only`, or lets another than asked be in force (`twists`).
    """

    number: int
    text: str
    clock: Clock
    curves: int = 3
    points: int = 4
    adopt_s: float = 2.0
    is_enabled: bool = False
    fails: bool = False
    hangs: bool = False
    twists: bool = False
    is_read_only: bool = False
    lacks: tuple[str, ...] = ()
    """Optional points of a curve that it does not implement."""
    adopted: int = 0
    registers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.bank = laid_out(self.text, self.curves, self.points if self.number != 711 else 0)
        head: dict[str, float | str | None] = dict(_SCALES[self.number])
        request, result, group = self.bank.request, self.bank.result, self.bank.group
        head |= {"Ena": float(self.is_enabled), request: 0.0, result: COMPLETED, f"N{group}": self.curves}
        head |= {"RvrtTms": 0, "RvrtRem": 0} | ({} if self.number == 711 else {"NPt": self.points})
        for curve in range(1, self.curves + 1):
            values = {name: value for name, value in DEFAULTS[self.number].items() if name not in self.lacks}
            head |= {self.bank.name(curve, name): value for name, value in values.items()}
            head[self.bank.name(curve, "ReadOnly")] = float(curve == ACTIVE or self.is_read_only)
        self.registers = build(self.bank.model, head)
        self._due_ns = 0

    def value(self, name: str) -> float:
        """Return what stands at a point; NaN: it is not implemented."""
        found = read_value(self.bank.model, name, self.registers)
        return float(found) if isinstance(found, (int, float)) else math.nan

    def write(self, at: int, values: tuple[int, ...]) -> bool:
        """Take registers counted from the model's ID; returns whether all of them are writable."""
        for curve in range(1, self.curves + 1):
            if curve == ACTIVE or self.is_read_only:
                first, end = self._span(curve)
                if at < end and at + len(values) > first:
                    return False
        self.registers[at : at + len(values)] = values
        if at <= self.bank.model.field(self.bank.request).offset < at + len(values):
            self._put(self.bank.result, IN_PROGRESS)
            self._due_ns = self.clock.now_ns() + int(self.adopt_s * SECOND_NS)
        return True

    def age(self) -> None:
        """End the adoption whose time has come."""
        if not self._due_ns or self.hangs or self.clock.now_ns() < self._due_ns:
            return
        self._due_ns = 0
        curve = int(self.value(self.bank.request))
        if self.fails or not 1 < curve <= self.curves or not self._conforms(curve):
            self._put(self.bank.result, FAILED)
            return
        self._put(self.bank.result, COMPLETED)
        self.adopted += 1
        for name, words in ({} if self.twists else self.bank.contents(curve, self.registers)).items():
            at = self.bank.model.field(self.bank.name(ACTIVE, name)).offset
            self.registers[at : at + len(words)] = words

    def in_force(self, of: Settings) -> Settings:
        """Return settings of an inverter with what is in force here in place of its own."""
        self.age()
        on = self.value("Ena") == 1
        if self.number == 711:
            values = [self.value(self.bank.name(ACTIVE, name)) for name in ("DbOf", "DbUf", "KOf", "KUf", "RspTms")]
            over_hz, under_hz, over, under, response_s = values
            return replace(
                of, is_droop_on=on, droop_over_hz=over_hz, droop_under_hz=under_hz, droop_over_frac=over,
                droop_under_frac=under, droop_response_s=response_s,
            )  # fmt: skip
        volts, shares = self._points("V"), self._points("Var" if self.number == 705 else "W")
        response_s = self.value(self.bank.name(ACTIVE, "RspTms"))
        if self.number == 705:
            v1, v2, v3, v4 = volts
            q1, q2, q3, q4 = shares
            mode = Mode.VOLT_VAR if on else Mode.CONSTANT_POWER_FACTOR
            slow_s = of.reactive_response_s if math.isnan(response_s) else response_s
            return replace(
                of, reactive_mode=mode, volt_var_pu=(v1, v2, v3, v4), volt_var_frac=(q1, q2, q3, q4),
                reactive_response_s=slow_s,
            )  # fmt: skip
        slow_s = of.volt_watt_response_s if math.isnan(response_s) else response_s
        return replace(
            of, is_volt_watt_on=on, volt_watt_pu=(volts[0], volts[1]), volt_watt_frac=(shares[0], shares[1]),
            volt_watt_response_s=slow_s,
        )  # fmt: skip

    def _points(self, name: str, curve: int = ACTIVE) -> list[float]:
        count = int(self.value(self.bank.name(curve, "ActPt")))
        return [self.value(self.bank.name(curve, f"Pt[{n}].{name}")) / 100.0 for n in range(1, count + 1)]

    def _conforms(self, curve: int) -> bool:
        if self.number == 711:
            return True
        if not 2 <= self.value(self.bank.name(curve, "ActPt")) <= self.points:
            return False
        volts = self._points("V", curve)
        return all(a <= b for a, b in pairwise(volts))

    def _span(self, curve: int) -> tuple[int, int]:
        fields = [field for name, field in self.bank.model.fields.items() if name.startswith(self.bank.name(curve, ""))]
        return fields[0].offset, fields[-1].offset + fields[-1].size

    def _put(self, name: str, value: int) -> None:
        self.registers[self.bank.model.field(name).offset] = value


class _Set(Protocol):
    def settings(self, of: Settings) -> Settings: ...


class Roof:
    """A PV inverter that follows the curves of its device, at a voltage and a frequency."""

    def __init__(self, clock: Clock, rated_w: float, sun_w: Callable[[], float], of: Settings | None = None) -> None:
        """Make one. `sun_w` is what it could give (W); `device` is set once that is made."""
        self._clock, self._rated_w, self._sun_w = clock, rated_w, sun_w
        self._of = of or Settings()
        self.inverter = Inverter(self._of)
        self.device: _Set | None = None
        self.voltage_pu, self.frequency_hz = 1.0, 60.0
        self._limit_frac = math.nan
        self._at_ns = clock.now_ns()

    def read(self) -> Mapping[str, float]:
        """Return what flows now: power (W) and reactive power (var, positive injects)."""
        now_ns = self._clock.now_ns()
        seconds = (now_ns - self._at_ns) / SECOND_NS
        if seconds > 0:
            self._at_ns = now_ns
            if self.device is not None:
                self.inverter.settings = self.device.settings(self._of)
            sun, volt = self._sun_w() / self._rated_w, self.voltage_pu
            seen = Seen(volt, volt, volt, self.frequency_hz, sun, sun, self._limit_frac)
            self.inverter.step(seen, seconds)
        power_frac = 0.0 if math.isnan(self.inverter.power_frac) else self.inverter.power_frac
        return {
            "power_w": power_frac * self._of.rated_frac * self._rated_w,
            "reactive_var": self.inverter.var_frac * self._rated_w,
        }

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        """Hold an upper limit (W); a roof has no power of its own to be told."""
        most_w = high_w if math.isnan(target_w) else min(target_w, high_w)
        self._limit_frac = most_w / self._rated_w if most_w < self._rated_w else math.nan
