"""Two-settlement: the day-ahead quantity at its price, the deviation of each real-time interval at its own.

`Q_DA P_DA + sum_i (Q_i - Q_DA,i) P_RT,i dt_i`, never with averaged real-time prices. Money is exact decimals; each
interval is rounded to the cent once, its shortfall is split by cause without losing a cent or a milliwatt-hour, and a
statement is the sum of its lines.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.plan.apportion import apportion, whole_weights

Floats = NDArray[np.float64]
CENT = Decimal("0.01")
MILLI = 1_000
"""Energy is shared out in whole milliwatt-hours."""
NOISE_W, LEAST_TOLD_WH = 1e-3, 0.5
"""Below so much a cause of a lack is the rounding of sums, and below so much none that is told: it would read 0."""
DAY_AHEAD, REAL_TIME, SHORTFALL, ADJUSTMENT = "day_ahead", "real_time", "shortfall", "adjustment"


class Cause(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a pool may fall short, and whether that is excused."""

    excused: bool
    source: str
    says: str


@cache
def shortfall_causes() -> dict[str, Cause]:
    """Return all causes by id. Raises ConfigError naming a row that is not a cause."""
    text = (files("tieline.market") / "rules" / "causes.toml").read_text(encoding="utf-8")
    try:
        return msgspec.convert(tomllib.loads(text), dict[str, Cause])
    except msgspec.ValidationError as error:
        raise ConfigError(f"causes.toml: {error}") from error


def is_excused(cause: str) -> bool:
    """Return whether a cause is excused; one that the table does not know is not."""
    known = shortfall_causes().get(cause)
    return known is not None and known.excused


class Basis(Struct, frozen=True):
    """What every line rests on: its statement, baseline rule and version, hashes of all inputs and of the meters."""

    statement: str
    rule: str
    rule_version: str
    input_hash: str
    data_version: str


class Line(Struct, frozen=True):
    """One line of a statement: energy (Wh) and money for one interval, with its cause and what it followed from.

    `of` is what an adjustment adjusts (empty: the line is no adjustment).
    """

    id: str
    kind: str
    award: str
    start_ns: int
    end_ns: int
    energy_wh: float
    price_per_mwh: float
    amount: Decimal
    basis: Basis
    cause: str = ""
    excused: bool = False
    caused_by: tuple[str, ...] = ()
    of: str = ""

    @property
    def place(self) -> tuple[str, int, str, str]:
        """What makes a line the same line in another version of the statement."""
        return self.award, self.start_ns, self.of or self.kind, self.cause


class Measured(Struct, frozen=True):
    """What one interval of an award comes to: delivered power by the meter, and how its lack is split by cause (W)."""

    start_ns: int
    end_ns: int
    delivered_w: float
    price_per_mwh: float
    causes: dict[str, float] = {}
    records: tuple[str, ...] = ()


def money(amount: float | Decimal) -> Decimal:
    """Return an amount to the cent, half to even. Raises ValueError for one that is not a finite number."""
    exact = Decimal(str(amount))
    if not exact.is_finite():
        raise ValueError(f"amount {amount}: money must be finite")
    return exact.quantize(CENT, ROUND_HALF_EVEN)


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


def without_noise(by_cause: Mapping[str, float], least: float) -> dict[str, float]:
    """Return a lack by its causes (of one unit, 0 or more) without those below `least`; the sum is the same.

    What they were has the largest. Where all of them together are below it, nothing lacks.

    >>> without_noise({"dno_limit": 6.0, "unavailable": 0.25}, 0.5)
    {'dno_limit': 6.25}
    """
    whole = math.fsum(by_cause.values())
    found = {cause: each for cause, each in by_cause.items() if each >= least}
    if len(found) == len(by_cause):
        return found
    if not found:
        return {max(by_cause, key=lambda cause: by_cause[cause]): whole} if whole >= least else {}
    largest = max(found, key=lambda cause: found[cause])
    found[largest] = whole - math.fsum(each for cause, each in found.items() if cause != largest)
    return found


def split_lack(lacking_w: float, known_w: Mapping[str, float], otherwise: str) -> dict[str, float]:
    """Return the causes of a lack so that they add up to it: what is known, scaled down where it is more, and the rest.

    >>> split_lack(10.0, {"dno_limit": 6.0, "opt_out": 1.0}, "baseline_error")
    {'dno_limit': 6.0, 'opt_out': 1.0, 'baseline_error': 3.0}
    """
    if lacking_w <= 0:
        return {}
    # What is below a milliwatt is rounding, no cause of its own.
    known = {cause: watts for cause, watts in known_w.items() if watts > NOISE_W}
    given_w = math.fsum(known.values())
    if given_w > lacking_w:
        return {cause: watts * lacking_w / given_w for cause, watts in known.items()}
    rest_w = lacking_w - given_w
    if rest_w <= NOISE_W:
        return without_noise({**known, otherwise: known.get(otherwise, 0.0) + rest_w}, NOISE_W) or {otherwise: rest_w}
    return {**known, otherwise: known.get(otherwise, 0.0) + rest_w}


def award_lines(
    basis: Basis,
    award_id: str,
    start_ns: int,
    end_ns: int,
    power_w: float,
    price_per_mwh: float,
    intervals: Sequence[Measured],
) -> list[Line]:
    """Return the lines of one award: one day-ahead, and for each interval its surplus, or its lack a line a cause.

    Args:
        basis: What they rest on.
        award_id: The award's record.
        start_ns: Start of the award.
        end_ns: Its end.
        power_w: Awarded (W).
        price_per_mwh: Day-ahead price.
        intervals: What each interval came to.
    """
    energy_wh = power_w * (end_ns - start_ns) / 3.6e12
    name = derive("line", basis.statement, award_id, DAY_AHEAD)
    amount = money(energy_wh / 1e6 * price_per_mwh)
    lines = [
        Line(
            name, DAY_AHEAD, award_id, start_ns, end_ns, energy_wh, price_per_mwh, amount, basis, caused_by=(award_id,)
        )
    ]
    for each in intervals:
        lines += _deviation(basis, award_id, power_w, each)
    return lines


def _deviation(basis: Basis, award_id: str, power_w: float, each: Measured) -> list[Line]:
    off_wh = (each.delivered_w - power_w) * (each.end_ns - each.start_ns) / 3.6e12
    off_milli = round(off_wh * MILLI)
    amount = money(off_wh / 1e6 * each.price_per_mwh)
    causes = (award_id, *each.records)
    if off_milli >= 0:
        name = derive("line", basis.statement, award_id, REAL_TIME, each.start_ns)
        return [
            Line(
                name, REAL_TIME, award_id, each.start_ns, each.end_ns, off_milli / MILLI, each.price_per_mwh, amount,
                basis, caused_by=causes,
            )
        ]  # fmt: skip
    named = dict(sorted(each.causes.items())) or {"baseline_error": 1.0}
    weights = whole_weights(list(named.values()))
    parts = zip(named, apportion(off_milli, weights), apportion(int(amount / CENT), weights), strict=True)
    return [
        Line(
            derive("line", basis.statement, award_id, SHORTFALL, each.start_ns, cause), SHORTFALL, award_id,
            each.start_ns, each.end_ns, milli / MILLI, each.price_per_mwh, cents * CENT, basis, cause,
            is_excused(cause), causes,
        )
        for cause, milli, cents in parts if milli or cents
    ]  # fmt: skip


def adjustments(basis: Basis, before: Sequence[Line], now: Sequence[Line]) -> list[Line]:
    """Return the lines that bring what was settled before to what is right now; nothing settled is ever overwritten.

    Args:
        basis: What the new version rests on.
        before: All lines settled so far, adjustments too.
        now: All lines as they should be.
    """
    was: dict[tuple[str, int, str, str], list[Line]] = {}
    for line in before:
        was.setdefault(line.place, []).append(line)
    right = {line.place: line for line in now}
    found = []
    for place in sorted({*was, *right}):
        old, new = was.get(place, []), right.get(place)
        last = new or old[-1]
        milli = (round(new.energy_wh * MILLI) if new else 0) - sum(round(line.energy_wh * MILLI) for line in old)
        amount = (new.amount if new else Decimal("0.00")) - sum((line.amount for line in old), Decimal("0.00"))
        if milli or amount:
            causes = (*(line.id for line in old[-1:]), *last.caused_by)
            found.append(
                Line(
                    derive("line", basis.statement, *place), ADJUSTMENT, last.award, last.start_ns, last.end_ns,
                    milli / MILLI, last.price_per_mwh, amount, basis, last.cause, last.excused,
                    tuple(dict.fromkeys(causes)), place[2],
                )
            )  # fmt: skip
    return found


def claimable_kw(baseline_kw: float, metered_kw: float, claimed_kw: Sequence[float]) -> float:
    """Return what may still be claimed of one interval: delivered less what other markets were paid for already."""
    return max(baseline_kw - metered_kw - math.fsum(claimed_kw), 0.0)


class ClaimsLedger:
    """What markets were paid for of each interval and resource: never more, over all of them, than was delivered."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, int], dict[str, float]] = {}

    def claim(self, market: str, resource: str, start_ns: int, wanted_w: float, delivered_w: float) -> float:
        """Take up to `wanted_w` of what others have left of `delivered_w`, and return how much was granted.

        The same market claims anew: its former claim on the interval is replaced, not added to.
        """
        if not (math.isfinite(wanted_w) and math.isfinite(delivered_w)):
            raise ValueError(f"claim of {wanted_w} W on {delivered_w} W delivered: give finite powers")
        holders = self._taken.setdefault((resource, start_ns), {})
        others = [watts for name, watts in holders.items() if name != market]
        granted = max(min(wanted_w, claimable_kw(delivered_w, 0.0, others)), 0.0)
        holders[market] = granted
        return granted

    def others_w(self, market: str, resource: str, start_ns: int) -> float:
        """Return what other markets hold of an interval (W)."""
        holders = self._taken.get((resource, start_ns), {})
        return math.fsum(watts for name, watts in holders.items() if name != market)
