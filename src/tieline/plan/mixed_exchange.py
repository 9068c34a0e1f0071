"""Small mixed pools made cheaper: one device after the other is planned anew, and stores after each.

In a small pool one device matters: what a price tells of a little more power says little of a whole engine more. So a
device is also planned at what its bands really cost, with all others as they are: each step's cost is then a function
of the device's own power, convex between kinks, and the walk through its modes is exact again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan.blocks import HALVINGS, TANK_OFF
from tieline.plan.interior import Spread
from tieline.plan.mixed_devices import Chosen, Devices, Schedule
from tieline.plan.pool_scaled import beyond, energy
from tieline.plan.walks import cheapest_walk

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TRIES = 200
"""How often at most stores are planned again: a quarter of that with 24 stores, never with 1,600 or more."""
GAINS = 1e-6
WAYS = ((0.0, 0.0), (0.5, 1.0), (0.0, 10.0), (1.0, 1.0), (1.0, 0.0))
"""At which prices (share of the dual's) and how dear it is to leave what is planned, after the bands' true cost."""


@dataclass(slots=True, eq=False)
class _Search:
    devices: Devices
    best: Schedule
    price: Floats
    tolerance: float
    spread: Spread
    tries: int
    rounds: int = 0

    def is_better(self, chosen: Chosen) -> bool:
        """Plan stores for what is chosen, if it is another; keep it where all together is cheaper."""
        if self.tries <= 0 or (
            np.array_equal(chosen.runs, self.best.runs) and np.allclose(chosen.power, self.best.power, 0.0, 1e-9)
        ):
            return False
        again = self.devices.stored(chosen, self.tolerance, self.spread)
        self.tries, self.rounds = self.tries - 1, self.rounds + again.rounds
        if again.cost >= self.best.cost - GAINS * abs(self.best.cost):
            return False
        self.best = again
        return True


def exchanged(
    devices: Devices, best: Schedule, price: Floats, tolerance: float, spread: Spread
) -> tuple[Schedule, int]:
    """Return what becomes of a schedule, and the interior point's rounds; a large pool's stays as it is.

    Args:
        best: The schedule.
        price: That proves the bound; shape (B, T).
    """
    count = len(devices.band)
    if not devices.is_small:
        return best, 0
    search = _Search(devices, best, price, tolerance, spread, TRIES // (1 + len(best.stores) // 8))
    is_moving = True
    while is_moving and search.tries > 0:
        is_moving = False
        for device in range(count):
            while search.is_better(_at_true_cost(devices, search.best, device)):
                is_moving = True
        for share, stiff in () if is_moving else WAYS:
            for device in range(count):
                seen = share * price + (1.0 - share) * search.best.price
                chosen = devices.chosen(seen, stiff, search.best.power, search.best, device)
                is_moving |= search.is_better(chosen)
    return search.best, search.rounds


def _at_true_cost(devices: Devices, best: Schedule, device: int) -> Chosen:
    """Return what a device does at what its bands cost when all others stay as they are."""
    chosen = Chosen(best.power.copy(), best.runs.copy())
    others = best.through.copy()
    chain = _chain(devices, device)
    for band in chain:
        others[band] -= best.power[device]

    def costs(power: Floats) -> Floats:
        total = np.zeros(power.shape)
        for band in chain:
            own = devices.bands.each[band]
            net = own.base + others[band] + power
            over, under = beyond(net, own)
            total = total + own.slack * (over + under) + (energy(net, own) if band == 0 else 0.0)
        return total

    count, zero = len(devices.blocks.idle), np.zeros(best.power.shape[1])
    if device >= count:
        heater, on = devices.heaters[device - count], np.zeros(len(zero))
        price = (costs(zero - heater.power) - costs(zero)) / heater.power
        heater.answer(price, 0.0, zero, on)
        chosen.runs[device], chosen.power[device] = on > 0.5, -heater.power * on
        return chosen
    b = devices.blocks
    kinks = [b.least[device], b.most[device]]
    for band in chain:
        own = devices.bands.each[band]
        edges = (own.low, own.high, zero) if band == 0 else (own.low, own.high)
        kinks += [edge - own.base - others[band] for edge in edges]
    powers = np.clip(np.stack(kinks), b.least[device], b.most[device])
    power, runs = _walked(devices, device, powers, costs(powers), costs(zero))
    chosen.power[device], chosen.runs[device] = power, runs
    return chosen


def _chain(devices: Devices, device: int) -> list[int]:
    """Return the bands that a device is in, the pool last."""
    found, band = [], int(devices.band[device])
    while band >= 0:
        found.append(band)
        band = int(devices.bands.tree.parent[band])
    return found


def _walked(devices: Devices, device: int, powers: Floats, costs: Floats, off_cost: Floats) -> tuple[Floats, Bools]:
    """Return power and whether a block is on when a step costs so much at each of some powers; its tank is kept."""
    b, n, steps = devices.blocks, device, powers.shape[1]
    modes = slice(int(b.first_mode[n]), int(b.first_mode[n] + b.modes[n]))
    runs, value = np.zeros(steps, np.bool_), np.zeros((2, int(b.modes[n])))
    turns, at = np.zeros((steps, int(b.modes[n])), np.bool_), np.arange(steps)

    def tried(dear: float) -> tuple[Floats, float]:
        whole = costs + (b.slope[n] + dear * b.burn_slope[n]) * powers
        pick = whole.argmin(axis=0)
        on_cost = b.idle[n] + dear * b.burn_idle[n] + whole[pick, at]
        cheapest_walk(
            b.on[modes], b.off[modes], b.starts[modes], b.mode[n], b.earliest[n], b.turn[n], on_cost, off_cost, value,
            turns, runs,
        )  # fmt: skip
        power = np.where(runs, powers[pick, at], 0.0)
        return power, float(b.burn_idle[n] * runs.sum() + b.burn_slope[n] * power.sum())

    most, low, high = float(b.tank[n]) * (1.0 + TANK_OFF), 0.0, 1.0
    power, burnt = tried(0.0)
    if burnt <= most:
        return power, runs
    while tried(high)[1] > most:
        low, high = high, 4.0 * high
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tried(middle)[1] > most else (low, middle)
    return tried(high)[0], runs
