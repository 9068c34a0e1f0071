"""Gensets and contracts in one form: off, or on within a range, by the modes of a walk; and what each does at a price.

On, one gives `least` to `most` (T,) and costs `idle` a step and `slope` a unit; a start costs `turn`, and is not before
step `earliest`. What it burns while on (`burn_idle` a step, `burn_slope` a unit: fuel, or a contract's steps) is at
most what its `tank` holds. That limit has a price of its own, the least at which a schedule keeps it; what is left at
that price is again a walk, and a bound from below (the tank's Lagrangian dual).

A step's cost may have a parabola `near / 2 * (power - aim)^2` in it: so devices that are asked one after the other make
up for what those before them left, and two that are alike do not move as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.mixed_terms import Contracts, Gensets
from tieline.plan.pool_scaled import Units
from tieline.plan.walks import Walk, call_mode, call_walk, cheapest_walk, engine_mode, engine_walk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
HALVINGS = 24
TANK_OFF = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Devices in scaled units; shape (n,) but for `least` and `most` (n, T). Modes of all walks are in one table:
    those of device i from `first_mode[i]` on, `modes[i]` of them, of which it is in `mode[i]`. `over` is what a tank
    lacks of what it can't but burn: so much gave way.
    """

    least: Floats
    most: Floats
    idle: Floats
    slope: Floats
    turn: Floats
    burn_idle: Floats
    burn_slope: Floats
    tank: Floats
    over: Floats
    adder: Floats
    earliest: Ints
    first_mode: Ints
    modes: Ints
    mode: Ints
    on: Ints
    off: Ints
    starts: Bools


def blocks_of(gensets: Gensets | None, contracts: Contracts | None, steps: int, units: Units) -> Blocks:
    """Return gensets, then contracts, as blocks."""
    parts = ([_engines(gensets, steps, units)] if gensets is not None else []) + (
        [_called(contracts, steps, units)] if contracts is not None else []
    )
    walks: dict[tuple[int, ...], int] = {}
    table: list[Walk] = []
    at, first, count = 0, [], []
    keys = [key for part in parts for key in part[1]]
    for key in keys:
        if key not in walks:
            walks[key] = at
            table.append(engine_walk(*key) if len(key) == 2 else call_walk(*key))
            at += len(table[-1].on)
        first.append(walks[key])
    sizes = dict(zip(walks.values(), (len(walk.on) for walk in table), strict=True))
    count = [sizes[begin] for begin in first]

    def joined(name: str) -> NDArray[np.float64]:
        shape = (0, steps) if name in ("least", "most") else (0,)
        return np.concatenate([np.zeros(shape), *(part[0][name] for part in parts)])

    names = ("least", "most", "idle", "slope", "turn", "burn_idle", "burn_slope", "tank", "over", "adder")
    columns = {name: np.ascontiguousarray(joined(name)) for name in names}
    modes = np.concatenate([np.zeros(0, np.int64), *(part[2] for part in parts)]).astype(np.int64)
    earliest = np.concatenate([np.zeros(0, np.int64), *(part[0]["earliest"] for part in parts)]).astype(np.int64)
    none = Walk(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    on, off, starts = (
        np.concatenate([getattr(walk, name) for walk in (none, *table)]) for name in ("on", "off", "starts")
    )
    return Blocks(
        **columns, earliest=earliest, first_mode=np.array(first, np.int64), modes=np.array(count, np.int64), mode=modes,
        on=on, off=off, starts=starts,
    )  # fmt: skip


_Part = tuple[dict[str, Floats], list[tuple[int, ...]], Ints]


def _engines(g: Gensets, steps: int, units: Units) -> _Part:
    shape, hours, count = (len(g.least_w), steps), units.hours, len(g.least_w)
    burn_idle, burn_slope = g.fuel_per_h * hours, g.fuel_per_wh * units.energy_wh
    must = np.where(g.lasted > 0, np.clip(g.least_on - g.lasted, 0, steps), 0)
    least = must * (burn_idle + burn_slope * g.least_w / units.watts)
    columns = {
        "least": np.broadcast_to(g.least_w[:, None] / units.watts, shape),
        "most": np.broadcast_to(g.most_w[:, None] / units.watts, shape),
        "idle": g.fuel_price * burn_idle / units.money,
        "slope": (g.fuel_price * g.fuel_per_wh + g.adder_per_wh) / units.price, "turn": g.start_cost / units.money,
        "burn_idle": burn_idle, "burn_slope": burn_slope, "tank": np.maximum(g.fuel, least),
        "over": np.maximum(least - g.fuel, 0.0), "adder": g.adder_per_wh / units.price, "earliest": np.zeros(count),
    }  # fmt: skip
    keys: list[tuple[int, ...]] = [(int(on), int(off)) for on, off in zip(g.least_on, g.least_off, strict=True)]
    modes = [engine_mode(int(lasted), key[0], key[1]) for lasted, key in zip(g.lasted, keys, strict=True)]
    return columns, keys, np.array(modes, np.int64)


def _called(c: Contracts, steps: int, units: Units) -> _Part:
    count, zero = len(c.calls), np.zeros(len(c.calls))
    power = np.broadcast_to(c.power_w[:, None] if c.power_w.ndim == 1 else c.power_w, (count, steps)) / units.watts
    must = np.where(c.lasted > 0, np.clip(c.shortest - c.lasted, 0, steps), 0).astype(float)
    left = c.steps_left.astype(float)
    columns: dict[str, Floats] = {
        "least": power, "most": power, "idle": zero, "slope": (c.cost_per_wh + c.adder_per_wh) / units.price,
        "turn": c.call_cost / units.money, "burn_idle": zero + 1.0, "burn_slope": zero,
        "tank": np.maximum(left, must), "over": np.maximum(must - left, 0.0), "adder": c.adder_per_wh / units.price,
        "earliest": c.notice.astype(float),
    }  # fmt: skip
    # Steps beyond those planned, and calls beyond those that fit, make no difference but to the size of the table.
    longest, rest = np.minimum(c.longest, steps + np.maximum(c.lasted, 0)), np.minimum(c.rest, steps + 1)
    keys: list[tuple[int, ...]] = [
        (int(min(calls, steps)), int(most), int(min(least, most)), int(still))
        for calls, most, least, still in zip(c.calls, longest, c.shortest, rest, strict=True)
    ]
    modes = [call_mode(key[0], key[1], key[3], int(lasted)) for key, lasted in zip(keys, c.lasted, strict=True)]
    return columns, keys, np.array(modes, np.int64)


@compiled
def _priced(
    least: Floats, most: Floats, idle: float, slope: float, price: Floats, near: float, aim: Floats, on_cost: Floats,
    off_cost: Floats, power: Floats,
) -> None:  # fmt: skip
    """Fill what a step on and off costs, and what power is the cheapest where it is on; shape (T,)."""
    for t in range(len(price)):
        rate = slope - price[t]
        if near > 0.0:
            best = aim[t] - rate / near
        else:
            best = most[t] if rate < 0.0 else least[t]
        best = min(max(best, least[t]), most[t])
        off = best - aim[t]
        power[t] = best
        on_cost[t] = idle + rate * best + 0.5 * near * off * off
        off_cost[t] = 0.5 * near * aim[t] * aim[t]


@compiled
def _walked(
    least: Floats, most: Floats, idle: float, slope: float, turn: float, burn_idle: float, burn_slope: float,
    dear: float, first: int, earliest: int, on: Ints, off: Ints, starts: Bools, price: Floats, near: float, aim: Floats,
    costs: Floats, value: Floats, turns: Bools, runs: Bools, power: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Fill the schedule at a price of what is burnt (`dear`), and return its cost with that, and what it burns."""
    _priced(
        least, most, idle + dear * burn_idle, slope + dear * burn_slope, price, near, aim, costs[0], costs[1], power
    )
    cost: float = cheapest_walk(on, off, starts, first, earliest, turn, costs[0], costs[1], value, turns, runs)
    burnt = 0.0
    for t in range(len(price)):
        if runs[t]:
            burnt += burn_idle + burn_slope * power[t]
        else:
            power[t] = 0.0
    return cost, burnt


@compiled
def answer(
    least: Floats, most: Floats, idle: float, slope: float, turn: float, burn_idle: float, burn_slope: float,
    tank: float, first: int, earliest: int, on: Ints, off: Ints, starts: Bools, price: Floats, near: float, aim: Floats,
    costs: Floats, value: Floats, turns: Bools, runs: Bools, power: Floats,
) -> float:  # fmt: skip
    """Fill a device's schedule at a price, and return what no schedule of it costs less than at that price."""
    cost: float
    cost, burnt = _walked(
        least, most, idle, slope, turn, burn_idle, burn_slope, 0.0, first, earliest, on, off, starts, price, near, aim,
        costs, value, turns, runs, power,
    )  # fmt: skip
    most_burnt = tank * (1.0 + TANK_OFF)
    if burnt <= most_burnt:
        return cost
    bound, low, high, dear = cost, 0.0, -1.0, 1.0 / max(burn_idle + burn_slope * most.max(), 1e-300)
    for _ in range(HALVINGS + 60):
        at, burnt = _walked(
            least, most, idle, slope, turn, burn_idle, burn_slope, dear, first, earliest, on, off, starts, price, near,
            aim, costs, value, turns, runs, power,
        )  # fmt: skip
        bound = max(bound, at - dear * tank)
        if burnt <= most_burnt:
            high = dear
        else:
            low = dear
        if high >= 0.0 and high - low <= 2.0**-HALVINGS * high:
            break
        dear = 4.0 * low if high < 0.0 else 0.5 * (low + high)
    if burnt > most_burnt:
        _walked(
            least, most, idle, slope, turn, burn_idle, burn_slope, high, first, earliest, on, off, starts, price, near,
            aim, costs, value, turns, runs, power,
        )  # fmt: skip
    return bound


@compiled
def answers(
    least: Floats, most: Floats, idle: Floats, slope: Floats, turn: Floats, burn_idle: Floats, burn_slope: Floats,
    tank: Floats, earliest: Ints, first_mode: Ints, modes: Ints, mode: Ints, on: Ints, off: Ints, starts: Bools,
    rows: Ints, band: Ints, parent: Ints, price: Floats, near: Floats, mean: Floats, dev: Floats, runs: Bools,
    power: Floats,
) -> float:  # fmt: skip
    """Fill the schedules of some devices, one after the other, and return the sum of what none costs less than.

    Args:
        rows: Which, in this order.
        band: Of each device; shape (n,).
        price: Of each band; shape (B, T).
        near: How dear it is to be off, at each band; shape (B,). 0 everywhere: at the price alone.
        mean: What each was counted on for; shape (n, T).
        dev: By how much those before are off that in sum, at each band; shape (B, T); added to.
        runs: Filled; shape (n, T), as `power`.
    """
    steps, total = price.shape[1], 0.0
    widest = 0
    for n in rows:
        widest = max(widest, modes[n])
    costs, value, turns = np.zeros((2, steps)), np.zeros((2, widest)), np.zeros((steps, widest), np.bool_)
    aim = np.zeros(steps)
    for n in rows:
        begin, end, stiff = first_mode[n], first_mode[n] + modes[n], aimed(band[n], parent, near, mean[n], dev, aim)
        total += answer(
            least[n], most[n], idle[n], slope[n], turn[n], burn_idle[n], burn_slope[n], tank[n], mode[n], earliest[n],
            on[begin:end], off[begin:end], starts[begin:end], price[band[n]], stiff, aim, costs, value, turns, runs[n],
            power[n],
        )  # fmt: skip
        if stiff > 0.0:
            noted(band[n], parent, mean[n], power[n], dev)
    return total


@compiled
def aimed(band: int, parent: Ints, near: Floats, mean: Floats, dev: Floats, aim: Floats) -> float:
    """Fill what a device is to do so that its bands are off by the least, and return how dear it is to miss that."""
    stiff, at = 0.0, band
    for t in range(len(aim)):
        aim[t] = 0.0
    while at >= 0:
        stiff += near[at]
        for t in range(len(aim)):
            aim[t] += near[at] * dev[at, t]
        at = parent[at]
    for t in range(len(aim)):
        aim[t] = mean[t] - aim[t] / stiff if stiff > 0.0 else 0.0
    return stiff


@compiled
def noted(band: int, parent: Ints, mean: Floats, power: Floats, dev: Floats) -> None:
    """Add what a device is off to its bands."""
    at = band
    while at >= 0:
        for t in range(len(mean)):
            dev[at, t] += power[t] - mean[t]
        at = parent[at]
