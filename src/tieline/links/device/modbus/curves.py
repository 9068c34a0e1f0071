"""The curves that a SunSpec device is to follow by itself: how they stand in models 705, 706 and 711, in words of both.

What is wished is in shares and pu; the registers count in percent and in each device's own scale factors. Reactive
power is told as a share of the apparent power rating (`DeptRef` VA_MAX_PCT), active power as one of the active power
rating (W_MAX_PCT), as IEEE 1547-2018 counts them.
"""

from __future__ import annotations

from collections.abc import Callable

from tieline.desk.entry import Recorder
from tieline.desk.facts import Fact
from tieline.desk.inverter_facts import CurvesKept, Kept, Words
from tieline.flow.record import Records
from tieline.grid.inverter_settings import Droop, InverterSettings, VoltVar, VoltWatt
from tieline.links.device import kept as link_kept
from tieline.times import Clock
from tieline.wire.sunspec.curves import ACTIVE, Bank
from tieline.wire.sunspec.models import integer

VA_MAX_PCT, W_MAX_PCT = 3, 0
_REACTIVE = 1
Curve = VoltVar | VoltWatt | Droop
FUNCTIONS: dict[int, str] = {705: "volt_var", 706: "volt_watt", 711: "droop"}
"""What each model is called in a document of settings."""


class KeptCurves:
    """What is kept of a link's devices by row: in memory alone, where no server would be started again."""

    def __init__(self) -> None:
        self._curves: dict[int, dict[int, Kept]] = {}

    def at(self, row: int) -> dict[int, Kept]:
        """Return what is kept of a device, by model."""
        return self._curves.get(row, {})

    def is_kept(self, row: int, kept: dict[int, Kept]) -> bool:
        """Return whether this would be known after a start from now on."""
        return self.at(row) == kept

    def keep_curves(self, row: int, kept: dict[int, Kept], then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once that outlives us; the newest of a row holds."""
        self._curves[row] = kept
        if then is not None:
            then()


class JournaledCurves(link_kept.Kept[dict[int, Kept]], KeptCurves):
    """Kept in the journal."""

    def __init__(self, link: str, recorder: Recorder, clock: Clock, spawn: link_kept.Spawn) -> None:
        super().__init__(link, recorder, clock, spawn, "curves")

    def restore(self, journal: Records) -> None:
        """Take in what a journal holds of all links."""
        self.restore_from(journal, CurvesKept.__name__)

    def fact(self, kept: dict[int, dict[int, Kept]]) -> Fact:
        """Return the record of what is kept of some rows."""
        return CurvesKept(self.link, kept)

    def rows_of(self, fact: Fact | None) -> dict[int, dict[int, Kept]]:
        """Return what a record keeps by row."""
        return fact.curves if isinstance(fact, CurvesKept) else {}

    def at(self, row: int) -> dict[int, Kept]:
        """Return what is kept of a device, or on its way to be."""
        return self._asked.get(row, {})

    def is_kept(self, row: int, kept: dict[int, Kept]) -> bool:
        """Return whether this would be known after a start from now on."""
        return self.kept(row) == kept

    def keep_curves(self, row: int, kept: dict[int, Kept], then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once that outlives us; the newest of a row holds."""
        self.ask(row, kept, then)


def wished(settings: InverterSettings | None) -> dict[int, Curve]:
    """Return the curves that a device is to follow, by model."""
    if settings is None:
        return {}
    curves = ((number, getattr(settings, name)) for number, name in FUNCTIONS.items())
    return {number: curve for number, curve in curves if curve is not None}


def points_of(curve: Curve) -> int:
    """Return how many points a curve has; a droop has none."""
    return 0 if isinstance(curve, Droop) else len(curve.volt_pu)


def encoded(bank: Bank, curve: Curve, registers: Words) -> dict[str, Words]:
    """Return the registers of a curve's points; what the device does not implement of its options is left out.

    Raises:
        ModelError: A value that its registers can't hold.
    """
    values = _values(curve)
    lacking = [name for name in _OPTIONAL if name in values and not bank.has(ACTIVE, name, registers)]
    return bank.encode({name: value for name, value in values.items() if name not in lacking}, registers)


_OPTIONAL = ("Pri", "VRef", "VRefAutoEna", "RspTms")


def _values(curve: Curve) -> dict[str, float]:
    match curve:
        case VoltVar():
            head = {"ActPt": 4.0, "DeptRef": VA_MAX_PCT, "Pri": _REACTIVE, "VRef": 100.0, "VRefAutoEna": 0.0}
            return head | _points("Var", curve.volt_pu, curve.var_frac, curve.response_s)
        case VoltWatt():
            head = {"ActPt": 2.0, "DeptRef": float(W_MAX_PCT)}
            return head | _points("W", curve.volt_pu, curve.watt_frac, curve.response_s)
        case Droop():
            return {
                "DbOf": curve.over_dead_band_hz, "DbUf": curve.under_dead_band_hz, "KOf": curve.over_frac,
                "KUf": curve.under_frac, "RspTms": curve.response_s,
            }  # fmt: skip


def _points(name: str, volts: tuple[float, ...], shares: tuple[float, ...], response_s: float) -> dict[str, float]:
    found = {"RspTms": response_s}
    for nth, (volt, share) in enumerate(zip(volts, shares, strict=True), 1):
        found |= {f"Pt[{nth}].V": 100.0 * volt, f"Pt[{nth}].{name}": 100.0 * share}
    return found


def runs_timer(bank: Bank, registers: Words) -> bool:
    """Return whether a reversion timer runs, after which the device would go over to another curve by itself."""
    left_s = integer(bank.model.field("RvrtRem"), registers)
    return bool(integer(bank.model.field("RvrtTms"), registers) if left_s is None else left_s)
