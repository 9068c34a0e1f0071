"""What else a home's heaters may answer: to prices near the best schedule's own, and to prices that chance moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.plan.home_columns import DRAW, FEED
from tieline.plan.home_search import Choice, Costed, Search, one_answer

Floats = NDArray[np.float64]
SHAKES = (0.02, 0.05, 0.1, 0.2, 0.02, 0.05, 0.1, 0.2)


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
