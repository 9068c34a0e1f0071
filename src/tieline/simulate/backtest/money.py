"""What a day of a backtest comes to: lines of two-settlement, penalties, fuel, owners' pay, and what the manager keeps.

    margin = day-ahead + real time - penalties - fuel - owners' pay,

each a sum of whole cents. Owners are paid by the statement of the period to date, so that a day on which energy was
bought for the next lowers what they had, as it should; what a day pays them is by how much that statement grew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.contract.pay import owner_cents
from tieline.ids import derive
from tieline.market.settlement import DAY_AHEAD, Basis, Line, Measured, award_lines, money, split_lack

Floats = NDArray[np.float64]
NOTHING = Decimal("0.00")
OTHERWISE = "underperformed"


class Profit(Struct, frozen=True):
    """Money of a day or of all days; `margin` is what is left to the DER manager."""

    day_ahead: Decimal = NOTHING
    real_time: Decimal = NOTHING
    penalties: Decimal = NOTHING
    fuel: Decimal = NOTHING
    owner_pay: Decimal = NOTHING

    @property
    def before_owners(self) -> Decimal:
        """What there is to share."""
        return self.day_ahead + self.real_time - self.penalties - self.fuel

    @property
    def margin(self) -> Decimal:
        """What the DER manager keeps."""
        return self.before_owners - self.owner_pay

    def __add__(self, other: Profit) -> Profit:
        return Profit(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What happened on a day: shape (hours,) each, powers in W beyond what devices do by themselves.

    Attributes:
        starts_ns: Start of each hour.
        step_ns: Its length.
        awarded_w: Sold less bought.
        delivered_w: Given less taken.
        offline_w: What lacked of devices out of reach.
        opted_out_w: What lacked of loads that owners had taken out.
        price: Day-ahead price (per MWh).
        given_wh: What each device gave in hours in which it gave; shape (n,).
        worth: What each device gave and took at the day-ahead price, taken for real time as well; shape (n,).
        chp_wh: What engines gave.
        missed: What cars lacked as they left: (Wh, the dearest price of the stay).
        refill: What stores lack at the end of all: (Wh, the dearest price of the last day).
    """

    starts_ns: NDArray[np.int64]
    step_ns: int
    awarded_w: Floats
    delivered_w: Floats
    offline_w: Floats
    opted_out_w: Floats
    price: Floats
    given_wh: Floats
    worth: Floats
    chp_wh: float
    missed: tuple[tuple[float, float], ...]
    refill: tuple[tuple[float, float], ...]


def lines_of(played: Played, basis: Basis, real_time: dict[int, float]) -> list[Line]:
    """Return the lines of a day's awards: each hour day-ahead, each interval's deviation with its causes.

    Args:
        played: The day.
        basis: What they rest on.
        real_time: Price of each real-time interval by its start; an hour without any is priced as day-ahead.
    """
    found = []
    for k, start_ns in enumerate(played.starts_ns.tolist()):
        awarded, delivered = float(played.awarded_w[k]), float(played.delivered_w[k])
        known = {"offline": float(played.offline_w[k]), "opt_out": float(played.opted_out_w[k])}
        causes = split_lack(awarded - delivered, known, OTHERWISE)
        end_ns, price = start_ns + played.step_ns, float(played.price[k])
        pieces = intervals(start_ns, end_ns, real_time) or [(start_ns, end_ns, price)]
        told = [Measured(begin, end, delivered, dear, causes) for begin, end, dear in pieces]
        found += award_lines(basis, derive("award", basis.statement, start_ns), start_ns, end_ns, awarded, price, told)
    return found


def intervals(start_ns: int, end_ns: int, prices: dict[int, float]) -> list[tuple[int, int, float]]:
    """Return the real-time intervals of an hour (start, end, price) in order; none without a price at its start."""
    inside = sorted(ns for ns in prices if start_ns <= ns < end_ns) if start_ns in prices else []
    return [(begin, end, prices[begin]) for begin, end in pairwise([*inside, end_ns])]


def profit_of(played: Played, lines: Sequence[Line], penalty_per_mwh: float, fuel_per_mwh: float) -> Profit:
    """Return a day's money but for the owners' pay.

    Penalties are those on lacking energy, an hour rounded to the cent once, and what drivers are paid back whose cars
    left without what they needed: it is bought at the dearest price of the stay.
    """
    day_ahead = sum((line.amount for line in lines if line.kind == DAY_AHEAD), NOTHING)
    rest = sum((line.amount for line in lines if line.kind != DAY_AHEAD), NOTHING)
    refill = sum((money(wh / 1e6 * price) for wh, price in played.refill), NOTHING)
    lacks_mwh = np.maximum(played.awarded_w - played.delivered_w, 0.0) * played.step_ns / 3.6e18
    penalties = sum((money(float(mwh) * penalty_per_mwh) for mwh in lacks_mwh), NOTHING)
    missed = sum((money(wh / 1e6 * price) for wh, price in played.missed), NOTHING)
    fuel = money(played.chp_wh / 1e6 * fuel_per_mwh)
    return Profit(day_ahead, rest - refill, penalties + missed, fuel)


def with_owners(days: Sequence[Profit], given_wh: Sequence[Floats], operator_frac: Decimal) -> list[Profit]:
    """Return the days with what their owners get: of each day, by how much the statement to date grew.

    Args:
        days: Money before owners.
        given_wh: What each device gave on each day; shape (n,) each.
        operator_frac: The manager's part.
    """
    found, revenue, penalties, paid = [], NOTHING, NOTHING, NOTHING
    total = np.zeros(len(given_wh[0]) if given_wh else 0)
    for day, given in zip(days, given_wh, strict=True):
        revenue, penalties = revenue + day.before_owners + day.penalties, penalties + day.penalties
        total += given
        whole = np.rint(total * 1_000).astype(np.int64)
        operator, _, _ = owner_cents(revenue, penalties, operator_frac, whole)
        owners = revenue - penalties - operator
        found.append(Profit(day.day_ahead, day.real_time, day.penalties, day.fuel, owners - paid))
        paid = owners
    return found
