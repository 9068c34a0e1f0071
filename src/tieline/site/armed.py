"""Frequency response that a device holds as data and gives by itself, without a word from anybody.

A table says what share of what is held each frequency calls for (droop, or a market's curve), and at which frequency,
after how long, the load is shed, and when it may come back. It is small, versioned and ends by itself: a device takes
only a table with a larger (epoch, seq), before its end, and gives nothing by the curve once it is over (rules R14 and
R15). A load that was shed stays so until the frequency is back, whatever became of its table.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.market.product import FrequencyCurve
from tieline.market.reserve import curve_frac

Floats = NDArray[np.float64]
MOST_BYTES, MOST_POINTS, MOST_W = 4096, 16, 1e9


class Shed(Struct, frozen=True, forbid_unknown_fields=True):
    """Under-frequency shed of one device: its load stops once it was at `below_hz` or lower for `after_s`, and may come
    back once it was at `restore_hz` or above for `restore_s`; that the whole stage does not return at once, each
    device has a `restore_s` of its own."""

    below_hz: float
    after_s: float
    restore_hz: float
    restore_s: float
    load_w: float


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one device holds. `curve`: (deviation in mHz, share), rising, level beyond its ends; below the nominal
    frequency it calls for up to `up_w` more into the grid, above it for up to `down_w` less."""

    id: str
    epoch: int
    seq: int
    start_ns: int
    end_ns: int
    nominal_hz: float
    dead_band_mhz: float
    curve: tuple[tuple[float, float], ...]
    up_w: float
    down_w: float
    shed: Shed | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ConfigError: Names the field, its value and what to give.
        """
        shed = self.shed
        for name, value, low, high in (
            ("nominal_hz", self.nominal_hz, 40.0, 70.0), ("dead_band_mhz", self.dead_band_mhz, 0.0, 5_000.0),
            ("up_w", self.up_w, 0.0, MOST_W), ("down_w", self.down_w, 0.0, MOST_W),
            *(() if shed is None else (
                ("shed.below_hz", shed.below_hz, 40.0, self.nominal_hz), ("shed.after_s", shed.after_s, 0.0, 600.0),
                ("shed.restore_hz", shed.restore_hz, shed.below_hz, 70.0),
                ("shed.restore_s", shed.restore_s, 0.0, 86_400.0), ("shed.load_w", shed.load_w, 0.0, MOST_W),
            )),
        ):  # fmt: skip
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value}: give {low:g} to {high:g}")
        if self.end_ns <= self.start_ns:
            raise ConfigError(f"end_ns = {self.end_ns}: give more than start_ns, {self.start_ns}")
        _require_curve(self.curve)


def _require_curve(curve: tuple[tuple[float, float], ...]) -> None:
    if not 2 <= len(curve) <= MOST_POINTS:
        raise ConfigError(f"curve has {len(curve)} points: give 2 to {MOST_POINTS}")
    at, share = np.array(curve).T
    if not (np.isfinite(at).all() and at[0] >= 0 and (np.diff(at) > 0).all()):
        raise ConfigError(f"curve = {curve}: give rising deviations, 0 mHz or more")
    if not ((share >= 0) & (share <= 1)).all() or (np.diff(share) < 0).any():
        raise ConfigError(f"curve = {curve}: give shares of 0 to 1 that do not fall")


def packed(table: Table) -> bytes:
    """Return a table as it goes to a device: JSON."""
    return msgspec.json.encode(table)


def unpacked(text: bytes) -> Table:
    """Return the table that bytes hold.

    Raises:
        ConfigError: They are too many, no such table, or one that can't be meant.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"table of {len(text)} bytes: give at most {MOST_BYTES}")
    try:
        return msgspec.json.decode(text, type=Table)
    except (msgspec.DecodeError, ConfigError) as error:
        raise ConfigError(f"table: {error}") from error


def droop_curve(nominal_hz: float, dead_band_mhz: float, droop_frac: float) -> tuple[tuple[float, float], ...]:
    """Return the curve of a droop: all of what is held at a deviation of `droop_frac` of the nominal beyond the dead
    band.

    >>> droop_curve(50.0, 20.0, 0.04)
    ((20.0, 0.0), (2020.0, 1.0))
    """
    return ((dead_band_mhz, 0.0), (dead_band_mhz + droop_frac * nominal_hz * 1e3, 1.0))


def curve_of(rule: FrequencyCurve) -> tuple[float, float, tuple[tuple[float, float], ...]]:
    """Return nominal frequency, dead band and curve of a market's rule, for the table of a device that serves it."""
    return rule.nominal_hz, rule.dead_band_mhz, rule.curve


class Edge:
    """What a device does by its table: the frequency that it measures goes in, how far it moves comes out."""

    def __init__(self) -> None:
        """Begin with no table."""
        self.table: Table | None = None
        self.is_shed = False
        self._low_s = self._sound_s = 0.0
        self._shed: Shed | None = None

    def arm(self, table: Table, now_ns: int) -> bool:
        """Take a table; whether it was taken: not one that is over, nor one that is no newer than what is held."""
        held = self.table
        if now_ns >= table.end_ns or (held is not None and (table.epoch, table.seq) <= (held.epoch, held.seq)):
            return False
        self.table = table
        return True

    def step(self, now_ns: int, hertz: float, seconds: float) -> float:
        """Return the shift (W, positive into the grid) at a frequency that held for so long; NaN: it can't be measured.

        Where a load is shed its whole draw is the shift, and the curve's call is part of that.
        """
        table = self.table
        is_armed = table is not None and table.start_ns <= now_ns < table.end_ns
        shed = table.shed if table is not None and is_armed else None
        self._watch(shed, hertz, seconds)
        shift_w = 0.0
        if table is not None and is_armed and math.isfinite(hertz):
            share = float(curve_frac(table.nominal_hz, table.dead_band_mhz, table.curve, np.array([hertz]))[0])
            shift_w = share * (table.up_w if share > 0 else table.down_w)
        return max(shift_w, self._shed.load_w) if self.is_shed and self._shed is not None else shift_w

    def _watch(self, shed: Shed | None, hertz: float, seconds: float) -> None:
        if self.is_shed and self._shed is not None:
            self._sound_s = self._sound_s + seconds if hertz >= self._shed.restore_hz else 0.0
            if self._sound_s >= self._shed.restore_s and self._sound_s > 0:
                self.is_shed, self._sound_s, self._low_s = False, 0.0, 0.0
            return
        self._low_s = self._low_s + seconds if shed is not None and hertz <= shed.below_hz else 0.0
        if shed is not None and self._low_s > 0 and self._low_s >= shed.after_s:
            self.is_shed, self._shed, self._low_s, self._sound_s = True, shed, 0.0, 0.0


def shed_stages(
    load_w: Floats, shares: Sequence[float], may_shed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return the stage that sheds each load (-1: none), each stage with its share of all load as nearly as loads allow.

    The largest are dealt first, each to the stage that lacks most; one that would take a stage further past its share
    than it is short of it stays on.

    Args:
        load_w: What each draws (W, 0 or more); shape (n,).
        shares: The share of all load that each stage is to shed, 0 or more and together at most 1; the first stage
            first.
        may_shed: Whom that may meet (None: everybody); loads that others' lives hang on are no part of it.

    Raises:
        ConfigError: A share or a load makes no sense.
    """
    if not (np.isfinite(load_w).all() and (load_w >= 0).all()):
        raise ConfigError("load_w: give finite numbers, 0 or more")
    if not all(math.isfinite(s) and s >= 0 for s in shares) or math.fsum(shares) > 1 + 1e-9:
        raise ConfigError(f"shares = {list(shares)}: give shares of 0 or more, together at most 1")
    whole_w = math.fsum(load_w.tolist())
    lacking = [(-share * whole_w, stage) for stage, share in enumerate(shares) if share > 0]
    heapq.heapify(lacking)
    stage_of = np.full(len(load_w), -1, np.int64)
    for row in np.argsort(-load_w, kind="stable").tolist():
        if load_w[row] == 0 or not lacking or (may_shed is not None and not may_shed[row]):
            continue
        lacks_w, stage = lacking[0]
        left_w = -lacks_w - float(load_w[row])
        if -left_w <= -lacks_w:
            stage_of[row] = stage
            heapq.heapreplace(lacking, (-left_w, stage))
    return stage_of
