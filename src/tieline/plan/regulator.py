"""Regulation: a fleet that follows a signal every few seconds, with a loop closed on what its devices report.

All powers are deviations from the base point (W, positive into the grid). A step knows what the devices have reported,
which is seconds old, and nothing else:

1. **Expect.** What each reported is held against what it was told as long before as its command had been on its way:
   the lag is known, so that it is not taken for an error (the idea of the Smith predictor).
2. **Correct.** `reported = gain x expected + bias`: the fleet's gain from sums that forget within minutes, the bias
   from a low pass slower than the loop's own lag. The bias is what nobody told: weather, base points that were wrong.
3. **Lead.** The signal as it will be when the commands arrive (`foresight`), where that has proven better of late.
4. **Share.** `(signal - bias - silent) / gain` over those that answer, by `realtime.Follower`: ramps as moving bounds,
   stores down to their owner's reserve and no further, few devices told anew.

A command is a lease: a device that hears nothing until it ends goes back to its base point by itself. A device that
says nothing for `stale_s` is sent its base point alone; until its last lease ends it counts for what it was told, after
that for nothing, and the others make up for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.errors import ConfigError
from tieline.plan.foresight import Foresight
from tieline.plan.realtime import F32, Devices, Follower, Rows

Mask = NDArray[np.bool_]
PAST = 64
"""How many steps of what was told are remembered; reports older than that are held against the oldest."""
GAIN_S, BIAS_S = 240.0, 24.0
GAIN_LOW, GAIN_HIGH = 0.6, 1.3
CHARGE_PULL = 0.1
DOUBT_FRAC = 0.01
"""How much of a store is kept free above its reserve and below its top for what gauges err: one that has no more free
rests, as each reading above the truth would let it give a little that is not there."""
HOLD_S = 300.0


@dataclass(slots=True, eq=False)
class Regulated:
    """What follows a signal, in columns of float32; shape (n,) each.

    `down_w` and `up_w`: how far a device may go below and above its base point (W, 0 or more). `ramp_w_s`: how fast
    (W/s, above 0). A store has `most_wh` above 0, `stored_wh`, and `reserve_wh` that is its owner's; for a load that is
    what it may fall behind or run ahead. Its base point keeps what it holds.
    """

    down_w: F32
    up_w: F32
    ramp_w_s: F32
    stored_wh: F32
    reserve_wh: F32
    most_wh: F32
    charge_frac: F32
    discharge_frac: F32

    def __post_init__(self) -> None:
        count = len(self.down_w)
        for name in ("down_w", "up_w", "ramp_w_s", "stored_wh", "reserve_wh", "most_wh"):
            column = getattr(self, name)
            if column.shape != (count,) or column.dtype != np.float32:
                raise ConfigError(f"{name} = {column.dtype} {column.shape}: give float32 of shape ({count},)")
            wrong = ~np.isfinite(column) | (column < 0) | ((name == "ramp_w_s") & (column == 0))
            if wrong.any():
                at = int(np.argmax(wrong))
                least = "above 0" if name == "ramp_w_s" else "0 or more"
                raise ConfigError(f"{name}[{at}] = {column[at]}: give a finite number, {least}")
        above = self.reserve_wh > self.most_wh
        if above.any():
            at = int(np.argmax(above))
            raise ConfigError(f"reserve_wh[{at}] = {self.reserve_wh[at]}: give at most most_wh, {self.most_wh[at]}")


@dataclass(frozen=True, slots=True, eq=False)
class Reports:
    """What has arrived since the last step: of which rows, the deviation from the base point (W) without what armed
    tables did by themselves, the charge (Wh; NaN: none), when it was measured (s), and how long the newest command that
    the device has heard had been on its way (s; NaN: none heard, or its lease is over). A row at most once."""

    rows: Rows
    power_w: F32
    stored_wh: F32
    measured_s: NDArray[np.float64]
    delay_s: F32


NOTHING = Reports(
    np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.float64),
    np.zeros(0, np.float32),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is sent now: to which rows, which deviation (W), and until when it holds (s). `lacks_w`: what the fleet
    can't give of what is wanted of it; `silent`: how many devices say nothing; the loop's own gain and bias (W)."""

    rows: Rows
    power_w: F32
    until_s: float
    lacks_w: float
    silent: int
    gain: float
    bias_w: float


@dataclass(slots=True)
class Terms:
    """How often a step comes, how long a command holds and after what silence a device is given up (s each), the
    delay of commands before any device has told its own, and whether the signal is foretold."""

    step_s: float = 2.0
    lease_s: float = 30.0
    stale_s: float = 16.0
    delay_s: float = 2.0
    foresees: bool = True
    corrects: bool = True

    def __post_init__(self) -> None:
        for name in ("step_s", "lease_s", "stale_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} = {value}: give a finite number above 0")
        if not (math.isfinite(self.delay_s) and 0 <= self.delay_s <= self.lease_s):
            raise ConfigError(f"delay_s = {self.delay_s}: give 0 to lease_s, {self.lease_s:g}")


@dataclass(slots=True, eq=False)
class _Loop:
    """Sums of expected and reported that forget, and the bias."""

    both: float = 0.0
    own: float = 0.0
    bias_w: float = 0.0
    gain: float = 1.0

    def learn(self, expected_w: float, reported_w: float, seconds: float, scale_w: float) -> None:
        keep = math.exp(-seconds / GAIN_S)
        self.both = keep * self.both + (reported_w - self.bias_w) * expected_w
        self.own = keep * self.own + expected_w * expected_w
        prior = 4.0 * scale_w * scale_w
        self.gain = min(max((self.both + prior) / (self.own + prior), GAIN_LOW), GAIN_HIGH)
        left_w = reported_w - self.gain * expected_w
        self.bias_w += (1.0 - math.exp(-seconds / BIAS_S)) * (left_w - self.bias_w)


@dataclass(slots=True, eq=False)
class _Heard:
    """What is known of each device: when it measured last and what, its commands' delay, what it was sent and until
    when that holds."""

    measured_s: NDArray[np.float64]
    power_w: F32
    delay_s: F32
    is_deaf: Mask
    sent_s: NDArray[np.float64]
    until_s: NDArray[np.float64]
    unheard_s: NDArray[np.float64]
    """When the first command was sent since it last said that it hears; inf: none since."""
    past_w: F32
    """What was told at each of the last steps; shape (PAST, n), step k in row k % PAST."""
    steps: int = 0


class Regulator:
    """Follows a signal with a fleet; one object a fleet, one thread at a time."""

    def __init__(self, fleet: Regulated, sold_w: float, terms: Terms | None = None) -> None:
        """Make a regulator of what is sold (W, up and down alike), at rest at its base point.

        Raises:
            ConfigError: What is sold is no number above 0.
        """
        if not (math.isfinite(sold_w) and sold_w > 0):
            raise ConfigError(f"sold_w = {sold_w}: give a finite number above 0")
        self.fleet, self.sold_w, self.terms = fleet, sold_w, terms or Terms()
        count = len(fleet.down_w)
        is_store = fleet.most_wh > 0
        open_wh = fleet.most_wh - fleet.reserve_wh
        doubt_wh = np.minimum(np.float32(DOUBT_FRAC) * fleet.most_wh, np.float32(0.5) * open_wh)
        rests = is_store & (open_wh <= np.float32(2 * DOUBT_FRAC) * fleet.most_wh)
        self._down_w, self._up_w = (np.where(rests, np.float32(0), w) for w in (fleet.down_w, fleet.up_w))
        self._floor_wh = np.where(is_store, fleet.reserve_wh + doubt_wh, np.float32(0)).astype(np.float32)
        # A store that is all reserve keeps a size, hardly any: without one it would be no store to the follower.
        room_wh = np.where(is_store, np.maximum(fleet.most_wh - doubt_wh - self._floor_wh, np.float32(1e-6)), 0)
        held_wh = np.clip(fleet.stored_wh - self._floor_wh, 0, room_wh).astype(np.float32)
        # Of a store beneath its floor is kept how far: cut off at 0, each reading that errs upward would be a gift.
        self._below_wh = np.where(is_store, np.maximum(self._floor_wh - fleet.stored_wh, 0), 0).astype(np.float32)
        span_w = np.maximum(self._down_w, self._up_w)
        none = np.zeros(count, np.float32)
        self._devices = Devices(
            -self._down_w, self._up_w.copy(), np.maximum(span_w, np.float32(1e-3)), np.float32(0.02) * span_w, held_wh,
            room_wh.astype(np.float32), fleet.charge_frac, fleet.discharge_frac, np.zeros(count, np.bool_), none,
            hold_s=self._hold_s(is_store, span_w),
        )  # fmt: skip
        self._follower = Follower(self._devices)
        never = np.full(count, -np.inf)
        self._heard = _Heard(
            never.copy(), none.copy(), np.full(count, self.terms.delay_s, np.float32), np.zeros(count, np.bool_),
            never.copy(), never.copy(), -never, np.zeros((PAST, count), np.float32),
        )  # fmt: skip
        self._loop = _Loop()
        self._ahead: dict[int, Foresight] = {}
        self._now_s = math.nan

    def _hold_s(self, is_store: Mask, span_w: F32) -> float:
        """Return for how long stores must last: the slowest must come to rest after a lease that nobody ended (s)."""
        slowest_s = float((span_w / self.fleet.ramp_w_s)[is_store].max(initial=0.0))
        return max(HOLD_S, 2.0 * (self.terms.lease_s + slowest_s))

    @property
    def told_w(self) -> F32:
        """What each device is counted on for; shape (n,)."""
        return self._devices.told_w

    def step(self, now_s: float, signal: float, reports: Reports = NOTHING) -> Asked:
        """Move on to `now_s` with the newest signal and what has arrived, and return what is sent.

        Args:
            now_s: The time; the first step's, then later ones (s).
            signal: What is wanted, as a share of what is sold, -1 to 1; beyond that it is taken as the end.
            reports: What devices said since.

        Raises:
            ConfigError: A number is not finite, or the time doesn't rise.
        """
        if not (math.isfinite(now_s) and math.isfinite(signal)) or now_s <= self._now_s:
            raise ConfigError(f"now_s = {now_s}, signal = {signal}: give finite numbers, the time above {self._now_s}")
        seconds = 0.0 if math.isnan(self._now_s) else now_s - self._now_s
        began_s = now_s if math.isnan(self._now_s) else self._now_s
        self._now_s = now_s
        heard = self._heard
        if seconds == 0.0:
            heard.measured_s[:] = now_s  # nobody is silent before it could speak
        self._take(reports)
        is_silent = (now_s - heard.measured_s > self.terms.stale_s) | heard.is_deaf
        self._correct(seconds, is_silent)
        silent_w = self._bound(now_s, seconds, is_silent)
        wanted_w = self._lead(min(max(signal, -1.0), 1.0)) * self.sold_w
        loop = self._loop
        goal_w = (wanted_w - loop.bias_w - silent_w) / loop.gain + silent_w
        told = self._follower.step(goal_w, now_s - began_s)
        return self._send(now_s, is_silent, told.lacks_w)

    def _take(self, reports: Reports) -> None:
        heard, rows = self._heard, reports.rows
        sound = np.isfinite(reports.power_w) & (reports.measured_s >= heard.measured_s[rows])
        sound &= reports.measured_s <= self._now_s
        rows = rows[sound]
        heard.measured_s[rows], heard.power_w[rows] = reports.measured_s[sound], reports.power_w[sound]
        delay_s = np.clip(reports.delay_s[sound], 0, self.terms.lease_s)
        hears = np.isfinite(delay_s)
        # Deaf: it speaks, but has heard nothing of what was sent to it for a whole lease.
        heard.is_deaf[rows] = ~hears & (reports.measured_s[sound] > heard.unheard_s[rows] + self.terms.lease_s)
        to = rows[hears]
        heard.unheard_s[to] = np.inf
        heard.delay_s[to] += np.float32(0.2) * (delay_s[hears] - heard.delay_s[to])
        d = self._devices
        stored = reports.stored_wh[sound]
        gauged = rows[np.isfinite(stored) & (d.most_wh[rows] > 0)]
        if len(gauged):
            stored = stored[np.isfinite(stored) & (d.most_wh[rows] > 0)]
            told = d.told_w[gauged]
            flow_w = np.where(told > 0, told / d.discharge_frac[gauged], told * d.charge_frac[gauged])
            since_h = (self._now_s - heard.measured_s[gauged]) / 3600.0
            now_wh = stored - self._floor_wh[gauged] - flow_w * since_h
            thought_wh = d.stored_wh[gauged] - self._below_wh[gauged]
            thought_wh += (CHARGE_PULL * (np.minimum(now_wh, d.most_wh[gauged]) - thought_wh)).astype(np.float32)
            d.stored_wh[gauged] = np.clip(thought_wh, 0, d.most_wh[gauged])
            self._below_wh[gauged] = np.maximum(-thought_wh, 0)

    def _correct(self, seconds: float, is_silent: Mask) -> None:
        heard = self._heard
        if not self.terms.corrects or seconds == 0.0:
            return
        # Steps that were missed told what the last one had told.
        missed = min(max(round(seconds / self.terms.step_s) - 1, 0), PAST)
        for _ in range(missed):
            heard.past_w[heard.steps % PAST] = heard.past_w[(heard.steps - 1) % PAST]
            heard.steps += 1
        newest_s = self._now_s - self.terms.step_s
        expected_w, reported_w, count = _against(
            heard.measured_s, heard.delay_s, heard.power_w, is_silent, heard.past_w, heard.steps, newest_s,
            self.terms.step_s,
        )  # fmt: skip
        if count:
            self._loop.learn(expected_w, reported_w, seconds, 0.3 * self.sold_w)

    def _bound(self, now_s: float, seconds: float, is_silent: Mask) -> float:
        """Set what each may be told, by its ramp; the silent go home when their lease ends. Returns their sum (W)."""
        d, fleet = self._devices, self.fleet
        reach_w = fleet.ramp_w_s * np.float32(seconds)
        np.maximum(-self._down_w, d.told_w - reach_w, out=d.low_w)
        np.minimum(self._up_w, d.told_w + reach_w, out=d.high_w)
        rows = np.flatnonzero(is_silent)
        told_w = d.told_w[rows]
        home_w = np.sign(told_w) * np.maximum(np.abs(told_w) - reach_w[rows], 0)
        held_w = np.where(now_s >= self._heard.until_s[rows], home_w, told_w)
        d.low_w[rows] = d.high_w[rows] = held_w
        return float(np.sum(held_w, dtype=np.float64))

    def _lead(self, signal: float) -> float:
        """Return the signal as it will be when commands arrive, between the two whole steps around their delay."""
        if not self.terms.foresees:
            return signal
        weight = self._devices.weight
        total = float(weight.sum(dtype=np.float64))
        delay_s = float((weight * self._heard.delay_s).sum(dtype=np.float64)) / total if total > 0 else 0.0
        steps = delay_s / self.terms.step_s
        low = int(steps)
        for lead in (low, low + 1):
            self._ahead.setdefault(lead, Foresight(lead))
        told = {lead: ahead.step(signal) for lead, ahead in self._ahead.items()}
        return told[low] + (steps - low) * (told[low + 1] - told[low])

    def _send(self, now_s: float, is_silent: Mask, lacks_w: float) -> Asked:
        heard, d, terms = self._heard, self._devices, self.terms
        before_w = heard.past_w[(heard.steps - 1) % PAST]
        heard.past_w[heard.steps % PAST] = d.told_w
        heard.steps += 1
        is_due = ((d.told_w != before_w) & ~is_silent) | (now_s - heard.sent_s >= terms.lease_s / 3.0)
        rows = np.flatnonzero(is_due)
        # Whoever says nothing is sent its base point: it does no harm, and shows who hears again.
        power_w = np.where(is_silent[rows], np.float32(0), d.told_w[rows])
        heard.sent_s[rows] = now_s
        heard.unheard_s[rows] = np.minimum(heard.unheard_s[rows], now_s)
        spoken = rows[~is_silent[rows]]
        heard.until_s[spoken] = now_s + terms.lease_s
        return Asked(
            rows, power_w, now_s + terms.lease_s, lacks_w, int(is_silent.sum()), self._loop.gain, self._loop.bias_w
        )


@compiled
def _against(measured_s, delay_s, power_w, is_silent, past_w, steps, newest_s, step_s):  # type: ignore[no-untyped-def]
    """Return what those that speak were to give when they measured, what they reported, and how many they are."""
    expected_w, reported_w, count = 0.0, 0.0, 0
    deepest = min(steps, len(past_w))
    for i in range(len(power_w)):
        if is_silent[i]:
            continue
        back = int(math.ceil((newest_s - measured_s[i] + delay_s[i]) / step_s - 1e-6))
        if back >= deepest:
            continue
        back = max(back, 0)
        expected_w += past_w[(steps - 1 - back) % len(past_w), i]
        reported_w += power_w[i]
        count += 1
    return expected_w, reported_w, count
