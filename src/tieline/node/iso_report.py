"""Who cleared a day, how near to the cheapest, and how prices moved with what we offered and gave."""

from __future__ import annotations

from datetime import date
from typing import Any

from tieline.simulate.iso.cleared import ClearingMarket
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.iso.prices import ZONE
from tieline.simulate.iso.region import BUS, NAME, Called, ClearedDay
from tieline.times import HOUR_NS, iso, market_day


def iso_report(market: IsoMarket, day: date) -> dict[str, Any]:
    """Return what cleared a market day, as JSON-ready data; real prices have no gap, as nothing was searched for."""
    if not isinstance(market, ClearingMarket):
        return {"cleared_by": "prices", "gap": None}
    told: dict[str, Any] = {
        "cleared_by": "clearing", "case": NAME, "bus": BUS, "load_frac": round(market.region.load_frac, 4),
        "counts_as": round(market.region.counts_as, 3),
    }  # fmt: skip
    made = market.days.get(day)
    if made is None:
        return told | {"gap": None, "hours": [], "most_moved": None, "real_time": None}
    over = market_day(day, ZONE)
    steps = {at: called for at, called in market.steps.items() if over.start_ns <= at < over.end_ns and called.mw}
    hours = _hours(made, over.start_ns)
    return told | {
        "gap": made.ahead.gap, "gap_without_us": made.alone.gap, "hours": hours,
        "most_moved": max(hours, key=lambda hour: abs(hour["moved"]), default=None),
        "real_time": _real_time(steps),
        "gave_way": sorted({word for hour in made.ahead.hours for word in hour.gave_way()}),
    }  # fmt: skip


def _hours(made: ClearedDay, start_ns: int) -> list[dict[str, Any]]:
    """Return the hours that we offered in: what was awarded, and the price at our bus with us and without."""
    rows: dict[int, dict[str, Any]] = {}
    for bid, (mw, _) in zip(made.bids, made.awarded(), strict=True):
        with_us, without, same = made.prices(bid.hour)
        row = rows.setdefault(bid.hour, {
            "start": iso(start_ns + bid.hour * HOUR_NS), "offered_mw": 0.0, "awarded_mw": 0.0,
            "price_per_mwh": round(with_us, 4), "without_us": round(without, 4), "moved": round(with_us - without, 4),
            "same_plants_without_us": round(same, 4),
        })  # fmt: skip
        row["offered_mw"] = round(row["offered_mw"] + bid.offer.high_mw / made.region.counts_as, 6)
        row["awarded_mw"] = round(row["awarded_mw"] + mw, 6)
    return [rows[hour] for hour in sorted(rows)]


def _real_time(steps: dict[int, Called]) -> dict[str, Any] | None:
    """Return how the five minutes in which we were called were priced, with us and with the same plants without us."""
    if not steps:
        return None
    count = len(steps)
    most_ns = max(steps, key=lambda at: steps[at].without - steps[at].price)
    most = steps[most_ns]
    return {
        "steps": count,
        "price_per_mwh": round(sum(one.price for one in steps.values()) / count, 4),
        "without_us": round(sum(one.without for one in steps.values()) / count, 4),
        "most_moved": {
            "start": iso(most_ns), "called_mw": round(sum(most.mw.values()), 6), "price_per_mwh": round(most.price, 4),
            "without_us": round(most.without, 4),
        },
        "not_given_mwh": round(sum(max(one.missed_mw, 0.0) for one in steps.values()) / 12.0, 6),
        "gave_way": sorted({word for one in steps.values() for word in one.gave_way}),
    }  # fmt: skip
