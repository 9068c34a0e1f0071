"""A home's plan made one that every device follows exactly: the battery by the exact kernel, then sun and meter.

What heaters, appliances and cars draw is given. The meter with the sun behind it costs a convex function of what the
home draws, so the battery has at each step a cost of at most six segments (`plan.kernel`). Where prices below 0 would
make it burn energy that cost is not convex: there it keeps to one direction, chosen step by step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.home_columns import BEYOND, WATTS
from tieline.plan.home_terms import Battery, Home, flat
from tieline.plan.kernel import plan_store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PIECES = 6
BOTH, TAKES, GIVES = 0, 1, -1
PASSES = 3
"""How often the directions of all steps are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """Prices of a kW for a step, caps and sun (kW), each of shape (T,)."""

    buy: Floats
    sell: Floats
    import_kw: Floats
    export_kw: Floats
    sun_kw: Floats
    beyond: float


def meter_of(home: Home) -> Meter:
    """Return a home's meter in kW and prices of a kW for a step."""
    per = WATTS * home.hours
    buy, sell = np.asarray(home.buy_per_wh, float) * per, np.asarray(home.sell_per_wh, float) * per
    beyond = BEYOND * max(float(np.abs(buy).max()), float(np.abs(sell).max()), 1e-9)
    caps = [flat(home, cap) / WATTS for cap in (home.import_w, home.export_w)]
    return Meter(buy, sell, caps[0], caps[1], flat(home, home.sun_w) / WATTS, beyond)


def settled(meter: Meter, draw_kw: Floats) -> tuple[Floats, Floats, Floats]:
    """Return net draw at the meter, sun used (kW), and how far the draw lies off the caps, for what the home draws.

    Within what the sun leaves open the net draw is the one that costs least: as low or as high as it may be, or 0.
    """
    low = np.maximum(draw_kw - meter.sun_kw, -meter.export_kw)
    high = np.maximum(np.minimum(draw_kw, meter.import_kw), low)
    choices = np.stack([low, high, np.clip(0.0, low, high)])
    costs = np.where(choices > 0, meter.buy, meter.sell) * choices
    net = np.take_along_axis(choices, costs.argmin(axis=0)[None], axis=0)[0]
    over = np.maximum(np.maximum(net - meter.import_kw, 0.0), net - draw_kw)
    return net, draw_kw - net, over


@compiled
def _pieces(
    buy: Floats, sell: Floats, import_kw: Floats, export_kw: Floats, sun_kw: Floats, beyond: float, draw_kw: Floats,
    take_kw: float, give_kw: float, gain: float, loss: float, wear: float, way: Ints,
    least: Floats, length: Floats, slope: Floats,
) -> None:  # fmt: skip
    """Fill each step's cost of what a battery puts in, as `plan_store` takes it, and mark steps that are not convex.

    Args:
        draw_kw: What the home draws without its battery; shape (T,).
        gain: What a kW taken for a step stores, as `loss` what one given costs the store (kWh).
        wear: Cost of a kW given for a step.
        way: BOTH, TAKES or GIVES; a step that is not convex is marked TAKES where it stood at BOTH.
    """
    size, rate, ends = np.zeros(4), np.zeros(4), np.zeros(5)
    for t in range(len(draw_kw)):
        size[:] = (export_kw[t], sun_kw[t], import_kw[t], 1e6)
        rate[:] = (sell[t], 0.0, buy[t], beyond)
        for i in range(1, 3):
            for k in range(i, 0, -1):
                if rate[k] < rate[k - 1]:
                    rate[k], rate[k - 1] = rate[k - 1], rate[k]
                    size[k], size[k - 1] = size[k - 1], size[k]
        ends[0] = -export_kw[t]
        for k in range(4):
            ends[k + 1] = ends[k] + size[k]
        for again in range(2):
            first = draw_kw[t] - (give_kw if way[t] != TAKES else 0.0)
            last = draw_kw[t] + (take_kw if way[t] != GIVES else 0.0)
            # Below its least draw the meter takes nothing: a battery that would give more is held there.
            at = min(max(first, ends[0]), last)
            least[t] = (at - draw_kw[t]) * (loss if at < draw_kw[t] else gain)
            count, k, is_convex = 0, 0, True
            while count < PIECES and at < last:
                while k < 3 and ends[k + 1] <= at:
                    k += 1
                end = min(last, ends[k + 1])
                if at < draw_kw[t]:
                    end = min(end, draw_kw[t])
                    length[t, count], slope[t, count] = (end - at) * loss, (rate[k] - wear) / loss
                else:
                    length[t, count], slope[t, count] = (end - at) * gain, rate[k] / gain
                if count > 0 and slope[t, count] < slope[t, count - 1]:
                    # By rounding alone it is made level; else energy could be burnt at a profit.
                    is_convex = is_convex and slope[t, count] > slope[t, count - 1] - 1e-12
                    slope[t, count] = slope[t, count - 1]
                count, at = count + 1, end
            for rest in range(count, PIECES):
                length[t, rest], slope[t, rest] = 0.0, slope[t, count - 1] if count > 0 else 0.0
            if is_convex or again == 1:
                break
            way[t] = TAKES


def battery_kw(
    home: Home, battery: Battery, meter: Meter, draw_kw: Floats, wanted_kw: Floats | None = None
) -> tuple[Floats, float, bool]:
    """Return what a battery gives (kW, below 0: takes), its cost with the meter's, and whether that is the optimum.

    Args:
        home: For the length of a step.
        battery: Which.
        meter: The meter.
        draw_kw: What the home draws without it; shape (T,).
        wanted_kw: What another plan has it give: says the direction where only one can be had.
    """
    way = np.zeros(len(draw_kw), np.int64)
    _, _, free = _kernel(home, battery, meter, draw_kw, way)
    odd = np.flatnonzero(free)
    if wanted_kw is not None:
        way[odd[wanted_kw[odd] > 1e-9]] = GIVES
        way[odd[wanted_kw[odd] <= 1e-9]] = TAKES
    best, cost, _ = _kernel(home, battery, meter, draw_kw, way)
    for _ in range(PASSES if len(odd) else 0):
        before = cost
        for t in odd:
            way[t] = -way[t]
            tried, other, _ = _kernel(home, battery, meter, draw_kw, way)
            if other < cost - 1e-12 or np.isnan(cost):
                best, cost = tried, other
            else:
                way[t] = -way[t]
        if cost >= before - 1e-12:
            break
    return best, cost, not len(odd)


def _kernel(
    home: Home, b: Battery, meter: Meter, draw_kw: Floats, way: Ints
) -> tuple[Floats, float, NDArray[np.bool_]]:
    steps, hours = len(draw_kw), home.hours
    gain, loss = b.charge_frac * hours, hours / b.discharge_frac
    least, length, slope = np.zeros(steps), np.zeros((steps, PIECES)), np.zeros((steps, PIECES))
    asked = way.copy()
    most = np.abs(draw_kw).max() + meter.sun_kw.max() + (b.charge_w + b.discharge_w) / WATTS
    _pieces(
        meter.buy, meter.sell, np.minimum(meter.import_kw, most), np.minimum(meter.export_kw, most), meter.sun_kw,
        meter.beyond, draw_kw, b.charge_w / WATTS, b.discharge_w / WATTS, gain, loss, b.wear_per_wh * WATTS * hours,
        asked, least, length, slope,
    )  # fmt: skip
    low, high = np.full(steps, b.least_wh / WATTS), np.full(steps, b.most_wh / WATTS)
    low[-1] = max(low[-1], b.end_wh / WATTS)
    work, levels, moves = np.zeros((2, steps * PIECES + 2)), np.zeros((steps, PIECES)), np.zeros(steps)
    cost, _ = plan_store(
        b.start_wh / WATTS, 1.0, np.zeros(steps), low, high, least, length, slope, 0.0, work, levels, moves
    )
    gives: Floats = np.where(moves < 0, -moves / loss, -moves / gain)
    if np.isnan(cost):
        return gives, float("nan"), asked != way
    net, _, over = settled(meter, draw_kw - gives)
    money = energy_cost(meter, net) + b.wear_per_wh * WATTS * hours * float(np.maximum(gives, 0.0).sum())
    return gives, money + meter.beyond * float(over.sum()), asked != way


def energy_cost(meter: Meter, net_kw: Floats) -> float:
    """Return what a net draw costs."""
    return float((np.where(net_kw > 0, meter.buy, meter.sell) * net_kw).sum())
