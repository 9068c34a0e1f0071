"""What many devices do by their armed tables at one frequency: `armed.Edge` in columns, for worlds and benches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.market.reserve import curve_frac
from tieline.site.armed import Table

Floats = NDArray[np.float64]


class ArmedFleet:
    """Devices that hold a table each, from the start; those that share a curve are looked up together."""

    def __init__(self, tables: Sequence[Table]) -> None:
        """Arm a device a table; its row is the table's place."""
        count = len(tables)
        curves = sorted({(t.nominal_hz, t.dead_band_mhz, t.curve) for t in tables})
        place = {curve: at for at, curve in enumerate(curves)}
        self._curves = curves
        self._curve_of = np.array(
            [place[t.nominal_hz, t.dead_band_mhz, t.curve] for t in tables], np.int64
        )  # fmt: skip
        self._start_ns = np.array([t.start_ns for t in tables], np.int64)
        self._end_ns = np.array([t.end_ns for t in tables], np.int64)
        self._up_w, self._down_w = np.array([t.up_w for t in tables]), np.array([t.down_w for t in tables])
        none = (-math.inf, 0.0, math.inf, 0.0, 0.0)
        sheds = [none if (s := t.shed) is None else (s.below_hz, s.after_s, s.restore_hz, s.restore_s, s.load_w)
                 for t in tables]  # fmt: skip
        self._below_hz, self._after_s, self._restore_hz, self._restore_s, self._load_w = (
            np.array(sheds, np.float64).reshape(count, 5).T
        )
        self.is_shed = np.zeros(count, np.bool_)
        self._low_s, self._sound_s = np.zeros(count), np.zeros(count)

    def step(self, now_ns: int, hertz: float, seconds: float) -> Floats:
        """Return each device's shift (W) at a frequency that held for so long; shape (n,). `Edge.step` says more."""
        is_armed = (self._start_ns <= now_ns) & (now_ns < self._end_ns)
        was_shed = self.is_shed.copy()
        self._sound_s = np.where(was_shed & (hertz >= self._restore_hz), self._sound_s + seconds, 0.0)
        back = was_shed & (self._sound_s >= self._restore_s) & (self._sound_s > 0)
        is_low = ~was_shed & is_armed & (hertz <= self._below_hz)
        self._low_s = np.where(is_low, self._low_s + seconds, 0.0)
        trips = is_low & (self._low_s > 0) & (self._low_s >= self._after_s)
        self.is_shed = (was_shed & ~back) | trips
        self._low_s[trips] = self._sound_s[trips | back] = 0.0
        shift_w = np.zeros(len(is_armed))
        if math.isfinite(hertz) and self._curves:
            share = np.array([curve_frac(*curve, np.array([hertz]))[0] for curve in self._curves])[self._curve_of]
            shift_w = np.where(is_armed, share * np.where(share > 0, self._up_w, self._down_w), 0.0)
        return np.where(self.is_shed, np.maximum(shift_w, self._load_w), shift_w)
