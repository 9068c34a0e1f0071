"""Two-settlement: the day-ahead quantity at its price, the deviation of each real-time interval at its own.

`Q_DA P_DA + sum_i (Q_i - Q_DA,i) P_RT,i dt_i`, never with averaged real-time prices. Money is exact decimals; each line
is rounded to the cent once, and a statement is the sum of its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.ids import derive

Floats = NDArray[np.float64]
CENT = Decimal("0.01")


class Line(Struct, frozen=True):
    """One line of a statement: energy (Wh) and money for one interval, with its cause and what it followed from."""

    id: str
    kind: str
    start_ns: int
    end_ns: int
    energy_wh: float
    price_per_mwh: float
    amount: Decimal
    cause: str = ""
    caused_by: tuple[str, ...] = ()


def money(amount: float | Decimal) -> Decimal:
    """Return an amount to the cent, half to even."""
    return Decimal(str(amount)).quantize(CENT, ROUND_HALF_EVEN)


def two_settlement(da_mw: float, da_price: float, rt_mw: Floats, rt_price: Floats, hours: float) -> tuple[float, float]:
    """Return the day-ahead and the real-time amount of one award.

    Args:
        da_mw: Awarded (MW).
        da_price: Day-ahead price ($/MWh).
        rt_mw: Delivered in each interval; shape (n,), MW.
        rt_price: Real-time price of each interval; shape (n,), $/MWh.
        hours: Length of an interval (h).

    >>> round(two_settlement(4.0, 62.15, np.array([4.0]), np.array([99.0]), 1.0)[0], 2)
    248.6
    """
    day_ahead = da_mw * da_price * hours * len(rt_mw)
    return day_ahead, float(((rt_mw - da_mw) * rt_price).sum() * hours)


def award_lines(
    statement: str,
    award_id: str,
    start_ns: int,
    end_ns: int,
    power_w: float,
    price_per_mwh: float,
    intervals: Sequence[tuple[int, int, float, float, str, tuple[str, ...]]],
) -> list[Line]:
    """Return the lines of one award: one day-ahead, one deviation for each interval.

    Args:
        statement: The statement's id.
        award_id: The award's record.
        start_ns: Start of the award.
        end_ns: Its end.
        power_w: Awarded (W).
        price_per_mwh: Day-ahead price.
        intervals: (start, end, delivered W, real-time price, cause of a shortfall, records) of each interval.
    """
    hours = (end_ns - start_ns) / 3.6e12
    energy_wh = power_w * hours
    first = Line(
        derive("line", statement, award_id, "day-ahead"), "day_ahead", start_ns, end_ns, energy_wh, price_per_mwh,
        money(energy_wh / 1e6 * price_per_mwh), "", (award_id,),
    )  # fmt: skip
    lines = [first]
    for begin_ns, stop_ns, delivered_w, price, cause, records in intervals:
        off_wh = (delivered_w - power_w) * (stop_ns - begin_ns) / 3.6e12
        lines.append(
            Line(
                derive("line", statement, award_id, begin_ns), "real_time", begin_ns, stop_ns, off_wh, price,
                money(off_wh / 1e6 * price), cause if off_wh < 0 else "", (award_id, *records),
            )
        )  # fmt: skip
    return lines


def claimable_kw(baseline_kw: float, metered_kw: float, claimed_kw: Sequence[float]) -> float:
    """Return what may still be claimed of one interval: delivered less what other markets were paid for already."""
    return max(baseline_kw - metered_kw - sum(claimed_kw), 0.0)


def net_performance_kw(performance_kw: float, prohibited_kw: float) -> float:
    """Return performance less the output of prohibited resources, 0 or more."""
    return max(0.0, performance_kw - prohibited_kw)
