"""Heaters of a mixed pool: on or off with a store behind, each by `plan.switched`; bounds give way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan.mixed_terms import Heaters
from tieline.plan.pool_scaled import Units
from tieline.plan.switched import SLACK, SPANS, Switched, least_switched, switched, viable
from tieline.plan.walks import engine_mode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DOUBLINGS, HALVINGS = 60, 12


@dataclass(frozen=True, slots=True, eq=False)
class Heater:
    """One heater in scaled units: what it draws, its store, the levels from which it can go on, and what gave way."""

    power: float
    device: Switched
    spans: Floats
    counts: Ints
    gave: float

    def answer(self, price: Floats, near: float, aim: Floats, runs: Floats) -> float:
        """Fill whether it is on at each step, and return the cost at prices; `near` and `aim` as in `plan.blocks`."""
        d = self.device
        on_cost = self.power * price
        if near > 0.0:
            on_cost = on_cost + 0.5 * near * self.power * (self.power + 2.0 * aim)
        cost: float = switched(
            d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost,
            self.spans, self.counts, on_cost, runs,
        )  # fmt: skip
        return cost

    def bound(self, price: Floats, bins: int) -> float:
        """Return what no schedule of it costs less than at these prices; shape (T,)."""
        d = self.device
        least: float = least_switched(
            d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost,
            self.power * price, bins,
        )  # fmt: skip
        return least

    def starts(self, runs: Floats) -> int:
        """Return how often it starts."""
        was = self.device.mode < self.device.least_on
        return int(((runs > 0.5) & (np.concatenate([[was], runs[:-1] > 0.5]) < 0.5)).sum())


def heaters_of(heaters: Heaters | None, steps: int, units: Units) -> list[Heater]:
    """Return all heaters; where no schedule keeps the levels of one, they are as little wider as lets one."""
    return [] if heaters is None else [_heater(heaters, n, steps, units) for n in range(len(heaters.power_w))]


def _heater(h: Heaters, n: int, steps: int, units: Units) -> Heater:
    wh, power = units.energy_wh, float(h.power_w[n]) / units.watts
    times = int(min(h.least_on[n], steps)), int(min(h.least_off[n], steps))
    gain, mode = np.full(steps, power * float(h.charge_frac[n])), engine_mode(int(h.lasted[n]), *times)

    def widened(by: float) -> Heater | None:
        """Return the heater with its levels that much wider, or None where still no schedule keeps them."""
        device = Switched(
            gain, np.ascontiguousarray(h.inflow_wh[n] / wh, float), np.full(steps, h.least_wh[n] / wh - by),
            np.full(steps, h.most_wh[n] / wh + by), float(h.keep_frac[n]), float(h.start_wh[n]) / wh, *times, mode,
            float(h.start_cost[n]) / units.money,
        )  # fmt: skip
        spans, counts = np.zeros((steps + 1, sum(times), SPANS, 2)), np.zeros((steps + 1, sum(times)), np.int64)
        viable(device.gain, device.flow, device.low, device.high, device.keep, *times, spans, counts)
        here = spans[0, mode, : counts[0, mode]]
        if not ((here[:, 0] - SLACK <= device.start) & (device.start <= here[:, 1] + SLACK)).any():
            return None
        return Heater(power, device, np.ascontiguousarray(spans[:, :, : max(int(counts.max()), 1)]), counts, by)

    found, low, high = widened(0.0), 0.0, 0.01 * max(float(h.most_wh[n] - h.least_wh[n]) / wh, float(gain[0]))
    if found is not None:
        return found
    for _ in range(DOUBLINGS):
        found = widened(high)
        if found is not None:
            break
        low, high = high, 2.0 * high
    assert found is not None, "levels without an end keep every schedule"
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        again = widened(middle)
        if again is None:
            low = middle
        else:
            found, high = again, middle
    return found
