"""Which broken limits need a person: those that have lasted, by how much the thing that is limited can bear.

Theory of operation. A rating is a temperature, so a line or transformer that is 3 % over for four minutes is no warmer
than it may be, and nothing an operator does in that time would matter. Each is followed by its thermal image: the
square of its loading, through a lag of ten minutes, that of the quickest thing on a feeder. Once the image passes 1 the
rating is used up. So after a load of 0.8 one of 1.05 is told in 15 minutes, 1.3 in four, 1.5 at once. A voltage is
judged by its mean, as the standard on voltage does. Broken limits that need nobody yet are kept beside (`passing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.grid.powerflow import Flow, Violation
from tieline.node.read_fleet import GridReading
from tieline.times import SECOND_NS

Floats = NDArray[np.float64]
HEAT_S = 600.0
"""Thermal time constant of a bare overhead conductor, by IEEE Std 738 of the order of ten minutes; buried cables and
distribution transformers (IEC 60076-7: 180 minutes) take hours, so this errs towards telling too early."""
GRAVE_FRAC = 1.5
"""At once: the most that IEC 60076-7 lets a distribution transformer carry in normal cyclic loading."""
VOLTAGE_S = 300.0
"""Lag whose answer to a step is that of the ten-minute mean by which EN 50160, 4.2.2 judges supply voltage."""
GRAVE_LOW_PU, GRAVE_HIGH_PU = 0.85, 1.10
"""At once: EN 50160, 4.2.2.2: no mean at all may lie beyond +10 and -15 %."""
STAYS_HEAT = 0.95**2
"""What has been told stands until it has cooled to 95 % of its rating: a deadband (ISA-18.2, 10), so one that sways
about its limit all night is one alarm."""


@dataclass(slots=True)
class _Image:
    """How warm each line and transformer of a feeder is (1: as warm as it may be), and its voltages' means (pu)."""

    at_ns: int
    line: Floats
    trafo: float
    voltage_pu: Floats
    is_told: bool = False


class Exposure:
    """Follows what every feeder has borne."""

    def __init__(self) -> None:
        """Make one that has seen nothing; what it sees first is taken to have been so for long."""
        self._images: dict[str, _Image] = {}
        self.passing: dict[str, tuple[list[Violation], float]] = {}
        """Broken limits of each feeder that need nobody yet, and how warm it is (1: as warm as it may be)."""

    def see(self, grid: Mapping[str, GridReading], now_ns: int) -> dict[str, list[Violation]]:
        """Return the broken limits of each feeder that need a person; feeders without any are left out.

        Args:
            grid: The power flow of each feeder now.
            now_ns: Now.
        """
        self._images = {feeder: self._moved(feeder, reading.flow, now_ns) for feeder, reading in grid.items()}
        found: dict[str, list[Violation]] = {}
        self.passing = {}
        for feeder, reading in grid.items():
            image = self._images[feeder]
            lasting = lasting_of(reading.violations, image.line, image.trafo, image.voltage_pu, image.is_told)
            if not lasting and image.is_told and _heat(image) >= STAYS_HEAT:
                lasting = [_warmest(image, reading.flow)]
            image.is_told = bool(lasting)
            if lasting:
                found[feeder] = lasting
            elif reading.violations:
                self.passing[feeder] = (list(reading.violations), _heat(image))
        return found

    def _moved(self, feeder: str, flow: Flow, now_ns: int) -> _Image:
        line, trafo = np.nan_to_num(flow.line_frac[0]) ** 2, float(np.nan_to_num(flow.trafo_frac[0])) ** 2
        voltage_pu, image = flow.voltage_pu[0], self._images.get(feeder)
        if image is None or image.line.shape != line.shape or image.voltage_pu.shape != voltage_pu.shape:
            return _Image(now_ns, line, trafo, voltage_pu.copy())
        passed_s = max(now_ns - image.at_ns, 0) / SECOND_NS
        heats, means = -np.expm1(-passed_s / HEAT_S), -np.expm1(-passed_s / VOLTAGE_S)
        return _Image(
            now_ns, image.line + heats * (line - image.line), float(image.trafo + heats * (trafo - image.trafo)),
            image.voltage_pu + means * (voltage_pu - image.voltage_pu), image.is_told,
        )  # fmt: skip


def _heat(image: _Image) -> float:
    return max(float(image.line.max(initial=0.0)), image.trafo)


def _warmest(image: _Image, flow: Flow) -> Violation:
    """Return the warmest thing with its loading now, which is below its limit again."""
    if image.trafo >= image.line.max(initial=0.0):
        return Violation(0, "transformer", "loading", float(flow.trafo_frac[0]), 1.0)
    at = int(image.line.argmax())
    return Violation(0, f"line {at}", "loading", float(flow.line_frac[0, at]), 1.0)


def lasting_of(
    violations: Sequence[Violation], line: Floats, trafo: float, voltage_pu: Floats, is_told: bool
) -> list[Violation]:
    """Return those of a feeder's broken limits that are grave, or have lasted.

    Args:
        violations: What is broken now.
        line: How warm each line is (1: as warm as it may be).
        trafo: How warm the most loaded transformer is.
        voltage_pu: Mean voltage of each bus.
        is_told: Whether the feeder has an alarm already.
    """
    most = STAYS_HEAT if is_told else 1.0
    warm = {f"line {n}" for n in np.flatnonzero(line >= most).tolist()}
    warm |= {"transformer"} if trafo >= most else set()
    found = []
    for violation in violations:
        value, limit = violation.value, violation.limit
        match violation.what:
            case "loading":
                lasts = violation.place in warm or value >= GRAVE_FRAC * limit
            case "voltage high":
                lasts = value > GRAVE_HIGH_PU or is_told or _mean(voltage_pu, violation.place) > limit
            case _:
                lasts = value < GRAVE_LOW_PU or is_told or _mean(voltage_pu, violation.place) < limit
        if lasts:
            found.append(violation)
    return found


def _mean(voltage_pu: Floats, place: str) -> float:
    """Return the mean voltage (pu) of a bus that a violation names."""
    return float(voltage_pu[int(place.rpartition(" ")[2])])
