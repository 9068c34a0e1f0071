"""Devices that are regulated over slow and lossy links: what the controller hears is late, noisy and partly missing.

A device takes the newest command that it has heard, by when it was sent, until that command's lease is over; then it
goes back to its base point. It moves at its ramp, within its nameplate and with what it stores; its owner's reserve is
not its own business, so that a controller that forgets it is found out. What it does by itself (a tap that opens, the
weather that moves all alike) comes on top, and so does what an armed table calls for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan.regulator import Asked, Regulated, Reports
from tieline.simulate.mail import Mail

Floats = NDArray[np.float64]
TICK_S = 0.5


@dataclass(slots=True, eq=False)
class Hardware:
    """What the devices are, truly; shape (n,) each. `gain` is the part of a command that a device gives, `stir_w` how
    far it strays by itself (standard deviation), `bias_w` and `noise_w` what its meter errs by, `gauge_wh` its charge
    gauge. Links: mean delays of commands and reports (s), how much they vary (a share), which part is lost."""

    fleet: Regulated
    gain: Floats
    stir_w: Floats
    bias_w: Floats
    noise_w: Floats
    gauge_wh: Floats
    down_s: Floats
    up_s: Floats
    vary_frac: float = 0.25
    lost_frac: float = 0.01
    report_s: float = 2.0
    together_w: float = 0.0
    """How far the whole fleet strays together, by the weather (standard deviation)."""


class Plant:
    """A fleet of true devices and their links; one step a tick."""

    def __init__(self, hardware: Hardware, rng: np.random.Generator) -> None:
        """Put all devices at rest at their base points."""
        self.hardware, self._rng = hardware, rng
        fleet = hardware.fleet
        count = len(fleet.down_w)
        self.stored_wh = fleet.stored_wh.astype(np.float64)
        self.moved_w = np.zeros(count)
        """What of the command is done; `shift_w`: what an armed table does beside it; `stray_w`: what nobody asked."""
        self.shift_w, self.stray_w = np.zeros(count), np.zeros(count)
        self.silent_until_s = np.full(count, -np.inf)
        self._down, self._up = Mail(TICK_S), Mail(TICK_S)
        self._goal_w, self._until_s, self._delay_s = np.zeros(count), np.full(count, -np.inf), np.full(count, np.nan)
        self._sent_s, self._phase = np.full(count, -np.inf), rng.integers(0, int(hardware.report_s / TICK_S), count)
        self._own_w, self._all_w, self._ticks = np.zeros(count), 0.0, 0
        stirred_w = float(hardware.stir_w.sum())
        self._share = hardware.stir_w / stirred_w if stirred_w > 0 else np.zeros(count)
        self._arrived: list[tuple[NDArray[np.int64], Floats]] = []

    @property
    def power_w(self) -> float:
        """What all devices truly give beyond their base points."""
        return float((self.moved_w + self.shift_w + self.stray_w).sum())

    def silence(self, rows: NDArray[np.int64], until_s: float) -> None:
        """Let rows neither hear nor be heard until then."""
        self.silent_until_s[rows] = until_s

    def send(self, now_s: float, asked: Asked) -> None:
        """Put commands on their way."""
        columns = np.stack([asked.power_w.astype(np.float64), np.full(len(asked.rows), now_s),
                            np.full(len(asked.rows), asked.until_s)])  # fmt: skip
        self._down.send(now_s, asked.rows, columns, self._delays(asked.rows, self.hardware.down_s))

    def tick(self, now_s: float, called_w: Floats | None = None) -> None:
        """Move on by one tick to `now_s`; `called_w`: what the devices' armed tables call for, shape (n,)."""
        for rows, columns in self._down.arrived(now_s):
            self._take(now_s, rows, columns)
        self._move(now_s, called_w)
        self._stray()
        due = np.flatnonzero((self._ticks - self._phase) % int(self.hardware.report_s / TICK_S) == 0)
        self._report(now_s, due[self.silent_until_s[due] <= now_s])
        self._arrived += self._up.arrived(now_s)
        self._ticks += 1

    def _delays(self, rows: NDArray[np.int64], mean_s: Floats) -> Floats:
        hw = self.hardware
        delay_s = mean_s[rows] * np.clip(1.0 + hw.vary_frac * self._rng.standard_normal(len(rows)), 0.2, 3.0)
        delay_s[self._rng.random(len(rows)) < hw.lost_frac] = np.inf
        return delay_s

    def _take(self, now_s: float, rows: NDArray[np.int64], columns: Floats) -> None:
        goal_w, sent_s, until_s = columns
        newer = (sent_s > self._sent_s[rows]) & (until_s > now_s) & (self.silent_until_s[rows] <= now_s)
        rows = rows[newer]
        self._goal_w[rows], self._sent_s[rows], self._until_s[rows] = goal_w[newer], sent_s[newer], until_s[newer]
        self._delay_s[rows] = now_s - sent_s[newer]

    def _move(self, now_s: float, called_w: Floats | None) -> None:
        fleet, hw = self.hardware.fleet, self.hardware
        over = now_s >= self._until_s
        self._delay_s[over] = np.nan
        low_w, high_w = -fleet.down_w.astype(np.float64), fleet.up_w.astype(np.float64)
        is_store, hours = fleet.most_wh > 0, TICK_S / 3600.0
        # Physics, not the owner's reserve: an empty store gives nothing and a full one takes nothing.
        high_w = np.where(is_store, np.minimum(high_w, self.stored_wh * fleet.discharge_frac / hours), high_w)
        room_wh = fleet.most_wh - self.stored_wh
        low_w = np.where(is_store, np.maximum(low_w, -room_wh / fleet.charge_frac / hours), low_w)
        goal_w = np.where(over, 0.0, self._goal_w * hw.gain)
        reach_w = fleet.ramp_w_s.astype(np.float64) * TICK_S
        called = np.zeros(len(over)) if called_w is None else called_w
        # One ramp for both, the armed table's first.
        shift_w = self.shift_w + np.clip(called - self.shift_w, -reach_w, reach_w)
        up_w, back_w = reach_w - (shift_w - self.shift_w), -reach_w - (shift_w - self.shift_w)
        step_w = np.clip(goal_w - self.moved_w, np.maximum(back_w, -reach_w), np.minimum(up_w, reach_w))
        self.moved_w = np.clip(self.moved_w + step_w, low_w, high_w)
        total_w = np.clip(self.moved_w + shift_w, low_w, high_w)
        self.shift_w = total_w - self.moved_w
        flow_w = np.where(total_w > 0, total_w / fleet.discharge_frac, total_w * fleet.charge_frac)
        self.stored_wh = np.where(is_store, self.stored_wh - flow_w * hours, self.stored_wh)

    def _stray(self) -> None:
        hw, noise = self.hardware, self._rng.standard_normal
        keep, keep_all = math.exp(-TICK_S / 120.0), math.exp(-TICK_S / 600.0)
        self._own_w = keep * self._own_w + math.sqrt(1.0 - keep * keep) * hw.stir_w * noise(len(self._own_w))
        self._all_w = keep_all * self._all_w + math.sqrt(1.0 - keep_all * keep_all) * hw.together_w * float(noise())
        self.stray_w = self._own_w + self._share * self._all_w

    def _report(self, now_s: float, rows: NDArray[np.int64]) -> None:
        hw, noise = self.hardware, self._rng.standard_normal
        power_w = self.moved_w[rows] + self.stray_w[rows] + hw.bias_w[rows] + hw.noise_w[rows] * noise(len(rows))
        stored_wh = self.stored_wh[rows] + hw.gauge_wh[rows] * noise(len(rows))
        columns = np.stack([power_w, stored_wh, np.full(len(rows), now_s), self._delay_s[rows]])
        self._up.send(now_s, rows, columns, self._delays(rows, hw.up_s))

    def heard(self) -> Reports:
        """Return what arrived since the last call, of each row the newest measured."""
        parts, self._arrived = self._arrived, []
        rows = np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, np.int64)
        columns = np.concatenate([c for _, c in parts], axis=1) if parts else np.zeros((4, 0))
        order = np.lexsort((columns[2], rows))
        is_last = np.ones(len(order), np.bool_)
        is_last[:-1] = rows[order][1:] != rows[order][:-1]
        pick = order[is_last]
        power, stored, measured, delay = columns[:, pick]
        return Reports(
            rows[pick], power.astype(np.float32), stored.astype(np.float32), measured, delay.astype(np.float32)
        )


def regulation_signal(steps: int, step_s: float, rng: np.random.Generator) -> Floats:
    """Return a test signal, -1 to 1: smooth noise that wanders within minutes, asks for no energy over a quarter hour,
    and stands at an end about a tenth of the time; shape (steps,)."""
    wander, smooth, neutral = (math.exp(-step_s / seconds) for seconds in (150.0, 12.0, 900.0))
    x = y = z = 0.0
    signal = np.empty(steps)
    for step in range(-600, steps):
        x = wander * x + math.sqrt(1.0 - wander * wander) * float(rng.standard_normal())
        y = smooth * y + (1.0 - smooth) * x
        z = neutral * z + (1.0 - neutral) * y
        if step >= 0:
            signal[step] = y - z
    return np.clip(0.65 * signal, -1.0, 1.0)
