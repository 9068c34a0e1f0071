"""The day-ahead offer: for each hour what the pool can give, at rising prices, within energy and a margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import Offer, Segment
from tieline.ids import derive
from tieline.plan.forecast import best_hours
from tieline.times import HOUR_NS, Interval

Floats = NDArray[np.float64]
MARGIN = 0.25
MOST_SEGMENTS = 8
MIN_SEGMENT_W = 10_000.0


def day_ahead_offers(
    pool: str, product: str, day: Interval, price: Floats, power_w: Floats, energy_wh: Floats, cost: Floats, hours: int
) -> list[Offer]:
    """Return one offer for each of the dearest hours of a market day.

    Stored energy is spread over the hours that are offered; of all there is, a margin stays back for devices that
    will fail, opt out or be limited.

    Args:
        pool: Who offers.
        product: What.
        day: The market day.
        price: Forecast price of each hour ($/MWh); shape (hours of the day,).
        power_w: What each row can give (W); shape (n,).
        energy_wh: What each row has stored for it (Wh; inf: no store); shape (n,).
        cost: What each row asks ($/MWh); shape (n,).
        hours: At most so many hours are offered.
    """
    chosen = best_hours(price, hours, float(np.min(cost)) if len(cost) else 0.0)
    if not len(chosen):
        return []
    sustained_w = np.minimum(power_w, energy_wh / len(chosen)) * (1.0 - MARGIN)
    segments = curve(sustained_w, cost)
    if not segments:
        return []
    offers = []
    for hour in chosen:
        start_ns = day.start_ns + int(hour) * HOUR_NS
        offers.append(
            Offer(derive("offer-id", pool, product, start_ns), pool, product, start_ns, start_ns + HOUR_NS, segments)
        )
    return offers


def curve(power_w: Floats, cost: Floats) -> tuple[Segment, ...]:
    """Return the supply curve: power by rising cost, in at most eight segments of at least 10 kW."""
    found: list[Segment] = []
    for level in np.unique(cost):
        watts = float(power_w[cost == level].sum())
        if watts <= 0:
            continue
        if found and (watts < MIN_SEGMENT_W or len(found) == MOST_SEGMENTS):
            last = found.pop()
            found.append(Segment(last.power_w + watts, max(last.price_per_mwh, float(level))))
        else:
            found.append(Segment(watts, float(level)))
    return tuple(
        Segment(float(np.floor(s.power_w / 1_000.0) * 1_000.0), s.price_per_mwh) for s in found if s.power_w >= 1_000
    )
