"""The validator over columns: the faults of many offers of one model at once, a bit a rule (`offer.BIT`).

What is the same for all of them (direction, form, who stands behind them) is tested once. `offer_rules.check_with` is
the specification; a property test holds the two together. Faulty rows, few by then, are told in words by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.market.gates import closes_ns, opens_ns
from tieline.market.offer import (
    BIT,
    MOST_POWER_W,
    MOST_PRICE,
    NOBODY,
    SLACK_PRICE,
    SLACK_W,
    Behind,
    MarketOffer,
    Step,
    sign_of,
)
from tieline.market.offer_rules import gate_for
from tieline.market.participation import Direction, Market, Model
from tieline.times import DAY_NS

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
Counts = NDArray[np.int32]
Bits = NDArray[np.int32]
Mask = NDArray[np.bool_]
NONE = np.nan


@dataclass(frozen=True, slots=True, eq=False)
class OfferColumns:
    """Offers of one model, a row each: [start, end) in UTC ns, and steps (n, most), of which `count` are there."""

    start_ns: Instants
    end_ns: Instants
    power_w: Floats
    price: Floats
    count: Counts
    energy_wh: Floats | None = None
    """What is stored for each; shape (n,). None: not said."""
    direction: Direction = "up"
    curve: str = "steps"
    gate: str = ""
    behind: Behind = NOBODY
    """Its own `energy_wh` is not looked at: it is a column here."""

    def row(self, at: int, model: str) -> MarketOffer:
        """Return one row as an offer."""
        steps = tuple(Step(float(self.power_w[at, k]), float(self.price[at, k])) for k in range(int(self.count[at])))
        held = None if self.energy_wh is None else float(self.energy_wh[at])
        behind = Behind(self.behind.least_w, self.behind.most_w, self.behind.telemetry_s, held, self.behind.shared)
        return MarketOffer(
            str(at), model, int(self.start_ns[at]), int(self.end_ns[at]), steps, self.direction, self.curve, self.gate,
            behind,
        )  # fmt: skip


def check_columns(market: Market, model: Model, offers: OfferColumns, now_ns: int | None) -> Bits:
    """Return the faults of each offer as bits; shape (n,). 0: it may leave.

    Raises:
        ConfigError: The model has no such gate.
    """
    faults = np.zeros(len(offers.start_ns), np.int32)
    gate = gate_for(market, model, offers.gate)
    if model.interval_min is not None:
        faults[~_on_intervals(market, model, offers)] |= BIT["interval"]
    if gate is not None and now_ns is not None:
        closes = _for_each(offers.start_ns, lambda start: closes_ns(market, model, gate, start))
        faults[now_ns >= closes] |= BIT["gate"]
        if gate.opens is not None:
            opens = _for_each(offers.start_ns, lambda start: opens_ns(market, model, gate, start))
            faults[now_ns < opens] |= BIT["opens"]
    if offers.direction not in model.directions.value:
        faults |= BIT["direction"]
    if offers.curve not in model.curve.value:
        faults[offers.count != 1] |= BIT["form"]
    _curves(
        offers.power_w, offers.price, offers.count, NO_ENERGY if offers.energy_wh is None else offers.energy_wh,
        limits_of(model, offers.direction), faults,
    )  # fmt: skip
    _behind(model, offers, faults)
    return faults


NO_ENERGY = np.zeros(0)


def _for_each(start_ns: Instants, when: Callable[[int], int | None]) -> Instants:
    """Return an instant for each start; each start that occurs is looked up once."""
    unique, back = np.unique(start_ns, return_inverse=True)
    found: Instants = np.array([when(int(start)) for start in unique], np.int64)[back]
    return found


def _on_intervals(market: Market, model: Model, offers: OfferColumns) -> Mask:
    """Return which offers are of one interval of the market's days."""
    if not len(offers.start_ns):
        return np.zeros(0, np.bool_)
    days = {market.day_of(model, int(at)) for at in np.unique(offers.start_ns // DAY_NS) * DAY_NS}
    days |= {market.day_of(model, int(at)) for at in (offers.start_ns.min(), offers.start_ns.max())}
    # A market day reaches into two days of UTC: the one before and after each are looked at too.
    near = sorted({day.toordinal() + off for day in days for off in (-1, 0, 1)})
    slots = [one for ordinal in near for one in market.intervals(model, date.fromordinal(ordinal))]
    starts = np.array([one.start_ns for one in slots], np.int64)
    ends = np.array([one.end_ns for one in slots], np.int64)
    at = np.clip(np.searchsorted(starts, offers.start_ns, side="right") - 1, 0, len(starts) - 1)
    fits: Mask = (starts[at] == offers.start_ns) & (ends[at] == offers.end_ns)
    return fits


def limits_of(model: Model, direction: str) -> Floats:
    """Return a model's figures for the kernel, NaN where it has none; prices by the way they must go."""
    rule = 0.0 if model.prices is None else (2.0 if "strictly-rising" in model.prices.value else 1.0)
    given = (
        model.number("points_most"), model.watts("step_mw"), model.watts("min_mw"), model.watts("max_mw"),
        model.number("price_tick"), model.number("price_floor"), model.number("price_cap"),
        model.number("sustain_min"), rule, sign_of(model, direction),
    )  # fmt: skip
    return np.array([NONE if one is None else one for one in given])


POINTS, POWER, INCREMENT, MINIMUM, MAXIMUM = (BIT[x] for x in ("points", "power", "increment", "minimum", "maximum"))
PRICE, TICK, FLOOR, CAP, RISING, SUSTAIN = (BIT[x] for x in ("price", "tick", "floor", "cap", "rising", "sustain"))


@compiled
def _curves(power_w: Floats, price: Floats, count: Counts, energy_wh: Floats, limits: Floats, faults: Bits) -> None:
    """Add the faults of each curve to `faults`; see `offer` for each rule, `limits_of` for the order of limits."""
    points, unit_w, least_w, most_w, tick, floor, cap, minutes, rising, sign = limits
    for m in range(len(count)):
        n, found, total = count[m], 0, 0.0
        has_power, has_price = True, True
        for k in range(n):
            has_power = has_power and 0.0 < power_w[m, k] <= MOST_POWER_W
            has_price = has_price and abs(price[m, k]) <= MOST_PRICE
            total += power_w[m, k]
        if not np.isnan(points) and (n < 1 or n > points):
            found |= POINTS
        if n > 0 and not has_power:
            found |= POWER
        if n > 0 and not has_price:
            found |= PRICE
        if n > 0 and has_power:
            for k in range(n):
                if abs(power_w[m, k] - np.rint(power_w[m, k] / unit_w) * unit_w) > SLACK_W:
                    found |= INCREMENT
            if total < least_w - SLACK_W:
                found |= MINIMUM
            if total > most_w + SLACK_W:
                found |= MAXIMUM
            if len(energy_wh) and not np.isnan(minutes) and not energy_wh[m] >= total * minutes / 60.0 - SLACK_W:
                found |= SUSTAIN
        if n > 0 and has_price:
            for k in range(n):
                if abs(price[m, k] - np.rint(price[m, k] / tick) * tick) > SLACK_PRICE:
                    found |= TICK
                if price[m, k] < floor:
                    found |= FLOOR
                if price[m, k] > cap:
                    found |= CAP
                if k > 0 and rising > 0.0:
                    gained = sign * (price[m, k] - price[m, k - 1])
                    if gained < 0.0 or (rising > 1.0 and gained == 0.0):
                        found |= RISING
        faults[m] |= found


def _behind(model: Model, offers: OfferColumns, faults: Bits) -> None:
    """Add what is wrong with who stands behind the offers, the same for all."""
    behind = offers.behind
    # Each test is of what is good, so that what is no number is not.
    most_s, given_s = model.number("telemetry_s"), behind.telemetry_s
    if most_s is not None and given_s is not None and not given_s <= most_s:
        from_w = model.watts("telemetry_from_mw")
        power_w = np.where(np.arange(offers.power_w.shape[1]) < offers.count[:, None], offers.power_w, 0.0).sum(axis=1)
        faults[~(power_w < (-np.inf if from_w is None else from_w - SLACK_W))] |= BIT["telemetry"]
    least_w, most_w = model.watts("member_least_kw"), model.watts("member_most_kw")
    if least_w is not None and behind.least_w is not None and not behind.least_w >= least_w:
        faults |= BIT["member-least"]
    if most_w is not None and behind.most_w is not None and not behind.most_w <= most_w:
        faults |= BIT["member-most"]
    if model.shared is not None and behind.shared is not None and not set(model.shared.value) <= set(behind.shared):
        faults |= BIT["shared"]


def rules_in(bits: int) -> tuple[str, ...]:
    """Return the rules whose bits are set."""
    return tuple(rule for rule, bit in BIT.items() if bits & bit)
