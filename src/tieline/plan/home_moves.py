"""What is tried around the best schedule of a home: shifted runs and starts, and answers to prices near its own.

A change is costed only where it may pay: the cost of the rest of the home is convex in what its devices draw, so that
each schedule that was costed bounds by its prices what any other costs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.home_columns import DRAW, FEED, WATTS
from tieline.plan.home_search import Choice, Costed, Search, car_kw, charging_steps, load_of, one_answer, start_cost
from tieline.plan.switched import SLACK, Switched, next_mode

Floats = NDArray[np.float64]
SHAKES = (0.02, 0.05, 0.1, 0.2, 0.02, 0.05, 0.1, 0.2)


@compiled
def _keeps(
    gain: Floats, flow: Floats, low: Floats, high: Floats, keep: float, start: float, least_on: int, least_off: int,
    mode: int, on: Floats,
) -> bool:  # fmt: skip
    level = start
    for t in range(len(on)):
        mode = next_mode(mode, on[t] > 0.5, least_on, least_off)
        if mode < 0:
            return False
        level = keep * level + flow[t] + (gain[t] if on[t] > 0.5 else 0.0)
        if level < low[t] - SLACK or level > high[t] + SLACK:
            return False
    return True


def keeps(d: Switched, on: Floats) -> bool:
    """Return whether a schedule keeps a heater's levels and least times."""
    found: bool = _keeps(d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, on)
    return found


def near(s: Search, best: Costed) -> list[tuple[float, Choice]]:
    """Return changes of one heater run or one appliance start that may pay, each with the least that it costs.

    A run is moved by up to four steps, or lengthened or shortened at either end.
    """
    found: list[tuple[float, Choice]] = []
    for k, d in enumerate(s.heaters):
        for on in _runs_moved(best.choice.on[k]):
            if keeps(d, on):
                every = best.choice.on.copy()
                every[k] = on
                found.append((0.0, Choice(every, best.choice.starts)))
    for k, appliance in enumerate(s.home.appliances):
        for start in range(appliance.earliest, appliance.latest - len(appliance.power_w) + 1):
            if start != best.choice.starts[k]:
                starts = (*best.choice.starts[:k], start, *best.choice.starts[k + 1 :])
                found.append((0.0, replace(best.choice, starts=starts)))
    return hopeful(s, best, [choice for _, choice in found])


def hopeful(s: Search, best: Costed, choices: list[Choice]) -> list[tuple[float, Choice]]:
    """Return the choices that may cost less than the best, those with most hope first.

    The cost of the rest of the home is convex in what devices draw: each choice that was costed bounds all others.
    """
    if not choices:
        return []
    loads, begun = np.array([load_of(s, each) for each in choices]), np.array([start_cost(s, each) for each in choices])
    own = best.cost - start_cost(s, best.choice) - float(best.price[:, 0] @ load_of(s, best.choice))
    prices = np.array([best.price[:, 0], *(price for price, _ in s.cuts)])
    least = (loads @ prices.T + np.array([own, *(rest for _, rest in s.cuts)])).max(axis=1) + begun
    order = np.argsort(least, kind="stable")
    return [(float(least[k]), choices[k]) for k in order if least[k] < best.cost - 1e-7]


def _runs_moved(on: Floats) -> list[Floats]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], on, [0.0]])))
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        moves = [(begin + by, end + by) for by in (-4, -3, -2, -1, 1, 2, 3, 4)]
        moves += [(begin - 1, end), (begin + 1, end), (begin, end - 1), (begin, end + 1)]
        for first, last in moves:
            if 0 <= first <= last <= len(on):
                other = on.copy()
                other[begin:end] = 0.0
                other[first:last] = 1.0
                found.append(other)
    return found


def tables(s: Search, best: Costed) -> list[Floats]:
    """Return, for each heater, what being on costs at each step if battery and cars stay as they are; shape (T,)."""
    net = best.x[:, DRAW] - best.x[:, FEED]
    found = []
    for k, kw in enumerate(s.kw):
        idle = net - kw * best.choice.on[k]
        found.append(_energy(s, idle + kw) - _energy(s, idle))
    return found


def _energy(s: Search, net: Floats) -> Floats:
    cost: Floats = np.where(net > 0, s.base.cost[:, DRAW] * net, -s.base.cost[:, FEED] * net)
    over = np.maximum(net - s.base.width[:, DRAW], 0.0)
    return cost + over * s.base.cost[:, DRAW + 1]


def answers_near(s: Search, best: Costed, mean: Floats) -> list[Choice]:
    """Return heaters' answers to blends of today's prices, their mean, and what being on costs with the rest fixed."""
    found = []
    fixed = tables(s, best)
    for share in (0.0, 0.5, 1.0):
        for weight in (0.0, 0.5, 1.0):
            on = best.choice.on.copy()
            for k, kw in enumerate(s.kw):
                free = kw * (weight * mean[:, 0] + (1 - weight) * best.price[:, 0])
                one_answer(s, k, share * fixed[k] + (1 - share) * free, on[k])
            found.append(Choice(on, best.choice.starts))
            if share == 1.0:
                break
    return found


def shaken(s: Search, best: Costed, rng: np.random.Generator) -> list[Choice]:
    """Return heaters' answers to prices that chance moves by 2 to 20 %: what no single move leads to."""
    found, fixed = [], tables(s, best)
    for at, share in enumerate(SHAKES):
        on = best.choice.on.copy()
        for k, kw in enumerate(s.kw):
            own = kw * best.price[:, 0] if at % 2 else fixed[k]
            one_answer(s, k, own * (1 + share * rng.standard_normal(len(own))), on[k])
        found.append(Choice(on, best.choice.starts))
    return found


def recharged(s: Search, best: Costed) -> list[NDArray[np.bool_]]:
    """Return patterns of cars near the best's (cars, T): a step moved, left out or added; most hope first."""
    assert best.charges is not None, "a pattern was costed"
    found: list[tuple[float, NDArray[np.bool_]]] = []
    price, kw = best.price[:, 0], car_kw(s, best.x)
    for k, car in enumerate(s.home.cars):
        least = car.least_w / WATTS
        if least == 0.0:
            continue
        charges, (fewest, most) = best.charges[k], charging_steps(car, s.home.hours)
        mine = np.flatnonzero(charges)
        others = np.array([t for t in range(car.arrives, car.leaves) if not charges[t]], int)
        worth = float(np.median(price[mine])) if len(mine) else 0.0
        count = int(charges.sum())
        for out in (*mine, -1):
            for into in (*others, -1):
                size = count - (out >= 0) + (into >= 0)
                if (out < 0 and into < 0) or not fewest <= size <= most:
                    continue
                saves = (least + kw[k, out]) * (price[out] - worth) if out >= 0 else 0.0
                costs = least * (price[into] - worth) if into >= 0 else 0.0
                found.append((costs - saves, _changed(best.charges, k, int(out), int(into))))
    return [pattern for _, pattern in sorted(found, key=lambda each: each[0])]


def _changed(charges: NDArray[np.bool_], k: int, out: int, into: int) -> NDArray[np.bool_]:
    other = charges.copy()
    if out >= 0:
        other[k, out] = False
    if into >= 0:
        other[k, into] = True
    return other
