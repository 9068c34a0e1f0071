"""Prices of market zones: taken as columns, kept by their start, and what they let expect of the hours to come.

Two markets are told apart. Day-ahead prices (an hour each) make the forecast and so the charging of stores; real-time
prices (five minutes each, or an hour's for all twelve) are what a settlement pays deviations by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import PricesTaken
from tieline.desk.packed import Packed
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.market.calendar import on_the_clock_of
from tieline.plan.forecast import like_days
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, from_ns, hour_start_ns, iso, market_day

DAY_AHEAD, REAL_TIME = "day_ahead", "real_time"
STEPS_S = {DAY_AHEAD: (3600,), REAL_TIME: (300, 3600)}
FIVE_NS = 5 * MINUTE_NS
MOST_AHEAD_NS = 370 * DAY_NS
"""A year and some days: markets publish a day or two ahead, and a start beyond that is a unit mistaken."""
MOST_BACK_NS = 3 * 366 * DAY_NS
"""Markets correct a price for a year or two (CAISO's last recalculation comes 36 months after the day)."""
MOST_PRICE, MOST_ROWS = 20_000.0, 20_000
"""Four times the highest offer cap of a North American market ($5,000/MWh): a larger number is a unit mistaken."""
LOOK_BACK = 8
Series = dict[int, float]
Clocks = Mapping[str, Sequence[ZoneInfo]]
"""By whose clocks the hours of each price zone begin: those of the market days of its pools."""


class SendPrices(Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of a zone as columns: when each step begins (UTC ns) and its price ($/MWh)."""

    zone: str
    market: str
    start_ns: list[int]
    price_per_mwh: list[float]
    step_s: int = 3600


class TakenPrices(Struct, frozen=True):
    """How many prices were taken, and how many of them said something new."""

    taken: int
    new: int


def decide_prices(
    state: DeskState, sent: SendPrices, zones: Clocks, by: str, now_ns: int
) -> tuple[list[Entry], TakenPrices | Refusal]:
    """Return the fact of prices that say something new, and the answer; a body with one wrong row is refused whole."""
    refusal = _refusal(sent, zones, now_ns)
    if refusal is not None:
        return [], refusal
    known = state.prices.get((sent.zone, sent.market), {})
    step_ns = sent.step_s * SECOND_NS
    fresh = [
        (start_ns, price)
        for start_ns, price in zip(sent.start_ns, sent.price_per_mwh, strict=True)
        if any(known.get(at) != price for at in _kept_at(sent.market, start_ns, step_ns))
    ]
    answer = TakenPrices(len(sent.start_ns), len(fresh))
    if not fresh:
        return [], answer
    starts = np.array([start_ns for start_ns, _ in fresh], np.int64)
    prices = np.array([price for _, price in fresh], np.float64)
    # Counted, as a price may go back to what it once was: that is another fact, though it says the same.
    name = derive("prices", sent.zone, sent.market, state.price_facts, starts.tobytes(), prices.tobytes())
    fact = PricesTaken(sent.zone, sent.market, step_ns, Packed.of(starts), Packed.of(prices), by)
    return [Entry(name, fact, sent.zone)], answer


def _refusal(sent: SendPrices, zones: Clocks, now_ns: int) -> Refusal | None:
    if sent.zone not in zones:
        return Refusal("no such zone", "zone", sent.zone[:64], f"one of {', '.join(sorted(zones)) or '(none)'}")
    steps = STEPS_S.get(sent.market)
    if steps is None:
        return Refusal("no such market", "market", sent.market[:64], f"one of {', '.join(STEPS_S)}")
    if sent.step_s not in steps:
        return Refusal("not a step of that market", "step_s", str(sent.step_s), " or ".join(map(str, steps)))
    count = len(sent.start_ns)
    if count != len(sent.price_per_mwh) or not 1 <= count <= MOST_ROWS:
        given = f"{count} starts, {len(sent.price_per_mwh)} prices"
        return Refusal("columns differ in length, or are too long", "start_ns", given, f"1 to {MOST_ROWS} of each")
    if len(set(sent.start_ns)) < count:
        return Refusal("a step is there twice", "start_ns", f"{count} rows", "one price for each step")
    return _no_step(sent, zones[sent.zone], now_ns)


def _no_step(sent: SendPrices, clocks: Sequence[ZoneInfo], now_ns: int) -> Refusal | None:
    for at, (start_ns, price) in enumerate(zip(sent.start_ns, sent.price_per_mwh, strict=True)):
        limit = _off_step(start_ns, sent.step_s * SECOND_NS, clocks)
        if limit:
            return Refusal("no step begins then", f"start_ns[{at}]", str(start_ns), limit)
        if start_ns < now_ns - MOST_BACK_NS:
            limit = f"at most {MOST_BACK_NS // DAY_NS} days ago, from {iso(now_ns - MOST_BACK_NS)} on"
            return Refusal("too long ago", f"start_ns[{at}]", iso(start_ns), limit)
        if start_ns > now_ns + MOST_AHEAD_NS:
            limit = f"at most {MOST_AHEAD_NS // DAY_NS} days ahead, up to {iso(now_ns + MOST_AHEAD_NS)}"
            return Refusal("too far ahead", f"start_ns[{at}]", iso(start_ns), limit)
        if not abs(price) <= MOST_PRICE:
            limit = f"{-MOST_PRICE:g} to {MOST_PRICE:g} $/MWh"
            return Refusal("not a price", f"price_per_mwh[{at}]", f"{price:g}", limit)
    return None


def _off_step(start_ns: int, step_ns: int, clocks: Sequence[ZoneInfo]) -> str:
    """Return when steps begin, where none begins at an instant; empty: one does. Hours are those of a pool's clock."""
    whole = f"a multiple of {step_ns} ns at step_s {step_ns // SECOND_NS}"
    if not 0 <= start_ns < 2**62:
        return whole
    if step_ns != HOUR_NS:
        return whole if start_ns % step_ns else ""
    hours = {clock.key: hour_start_ns(start_ns, clock) for clock in clocks}
    if start_ns in hours.values():
        return ""
    odd = [f"an hour of {name} at step_s 3600, such as {iso(at)}" for name, at in hours.items() if at % HOUR_NS]
    return " or ".join([*odd, *([whole] if len(odd) < len(hours) else [])])


def _kept_at(market: str, start_ns: int, step_ns: int) -> range:
    """Return where a price is kept: a real-time price of an hour stands for each of its twelve intervals."""
    return range(start_ns, start_ns + step_ns, HOUR_NS if market == DAY_AHEAD else FIVE_NS)


def take(state: DeskState, record_id: str, fact: PricesTaken) -> None:
    """Put a fact's prices into the state."""
    series = state.prices.setdefault((fact.zone, fact.market), {})
    for start_ns, price in zip(fact.starts.array().tolist(), fact.prices.array().tolist(), strict=True):
        series.update(dict.fromkeys(_kept_at(fact.market, start_ns, fact.step_ns), price))
    state.price_facts += 1


def hourly(state: DeskState, zone: str, clock: ZoneInfo, since_ns: int) -> Series:
    """Return the price of each hour of a clock since an instant: day-ahead where it is known, else real time's mean."""
    ahead = state.prices.get((zone, DAY_AHEAD), {})
    known = {at: price for at, price in ahead.items() if at >= since_ns}
    return {**real_time(state, zone, clock, since_ns), **known}


def real_time(state: DeskState, zone: str, clock: ZoneInfo, since_ns: int) -> Series:
    """Return the mean of real time's prices in each hour of a clock since an instant."""
    sums: dict[int, list[float]] = {}
    for start_ns, price in state.prices.get((zone, REAL_TIME), {}).items():
        if start_ns >= since_ns:
            sums.setdefault(hour_start_ns(start_ns, clock), []).append(price)
    return {at: sum(prices) / len(prices) for at, prices in sums.items()}


def forecast(state: DeskState, zone: str, clock: ZoneInfo, now_ns: int) -> Series:
    """Return what each hour of today and tomorrow is expected to cost ($/MWh), by its start.

    A day-ahead price that is known stands for itself; other hours get the weighted mean of the same time of day on the
    days before (`plan.forecast.like_days`). Empty where no whole day is known.
    """
    today = from_ns(now_ns).astimezone(clock).date()
    known = hourly(state, zone, clock, now_ns - LOOK_BACK * DAY_NS)
    ahead = state.prices.get((zone, DAY_AHEAD), {})
    found: Series = {}
    for day in (today, today + timedelta(days=1)):
        over = market_day(day, clock)
        starts = range(over.start_ns, over.end_ns, HOUR_NS)
        expected = _like(known, day, today, clock)
        for at, start_ns in enumerate(starts):
            price = ahead.get(start_ns, np.nan if expected is None else float(expected[at]))
            if np.isfinite(price):
                found[start_ns] = price
    return found


def _like(known: Series, day: date, today: date, clock: ZoneInfo) -> NDArray[np.float64] | None:
    """Return the like-day mean for each hour of a day, from days up to yesterday; None where there is too little."""
    starts = np.array(sorted(known), np.int64)
    prices = np.array([known[at] for at in starts.tolist()])
    of_day = on_the_clock_of(day, clock, starts, prices, HOUR_NS)
    past = [values for when, values in sorted(of_day.items()) if when < today]
    if not past:
        return None
    try:
        return like_days(np.concatenate(past), len(past[-1]))
    except ValueError:  # an hour of the day that no past day knows
        return None


def lacking(state: DeskState, zone: str, starts_ns: list[int]) -> str:
    """Return which real-time prices are missing for these intervals, in words; empty: none."""
    known = state.prices.get((zone, REAL_TIME), {})
    gone = [at for at in starts_ns if at not in known]
    return f"real-time prices of {zone}: {len(gone)} intervals from {iso(gone[0])} on" if gone else ""
