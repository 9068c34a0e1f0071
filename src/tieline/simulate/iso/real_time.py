"""Five-minute prices made from day-ahead ones, as no real ones are at hand: a seeded process, not data.

price = day-ahead of the hour x (1 + x) + spike. x is first-order autoregressive over steps of five minutes
(coefficient 0.9, stationary deviation 15 %). A spike begins in 0.4 % of the steps (about one a day), is worth
lognormal(ln 150, 1) $/MWh and fades by half each step; one in five is negative and a fifth as large.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

STEP_NS = 300 * 10**9
_KEPT = 0.9
_DEVIATION = 0.15
_SPIKES = 0.004
_FADES = 0.5


def real_time(day_ahead: Mapping[int, float], rng: np.random.Generator) -> dict[int, float]:
    """Return the price ($/MWh) of each five-minute step, by its start in UTC ns, for hours of day-ahead prices."""
    noise, spike = rng.normal(0.0, _DEVIATION), 0.0
    prices: dict[int, float] = {}
    for hour_ns, price in sorted(day_ahead.items()):
        for step in range(12):
            noise = _KEPT * noise + rng.normal(0.0, _DEVIATION * (1 - _KEPT**2) ** 0.5)
            spike *= _FADES
            # Each draw is made whether it is used or not, so that a step's price depends on its place alone.
            strikes, size, sign = rng.random() < _SPIKES, rng.lognormal(np.log(150.0), 1.0), rng.random()
            if strikes:
                spike = float(size) if sign > 0.2 else -float(size) / 5
            prices[hour_ns + step * STEP_NS] = round(price * (1 + float(noise)) + spike, 2)
    return prices
