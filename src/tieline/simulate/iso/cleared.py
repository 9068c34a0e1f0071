"""An ISO behind the same web service that clears our bids with others' offers instead of against known prices.

A day is committed beside the loop (`aside`), as it takes seconds: until it is, its awards are not there yet, as if the
market took so long to publish them. Five minutes are dispatched in line, in thousandths of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from functools import partial

import numpy as np

from tieline.simulate.iso.faults import Faults
from tieline.simulate.iso.market import IsoMarket, SameDay, Sold, award_row
from tieline.simulate.iso.real_time import STEP_NS
from tieline.simulate.iso.region import Called, ClearedDay, Region, alone
from tieline.times import Clock, from_ns, market_day
from tieline.wire.ads.hours import hours_of

LEAST_MW = 1e-6
"""What is awarded less than a watt is not awarded."""
Aside = Callable[[Callable[[], ClearedDay], Callable[[ClearedDay], None]], None]
"""Runs work that takes seconds beside the loop, and hands what it made to the second, in the loop."""


def at_once(work: Callable[[], ClearedDay], then: Callable[[ClearedDay], None]) -> None:
    """Run the work in line."""
    then(work())


class ClearingMarket(IsoMarket):
    """One ISO's market whose prices react to what is offered and given."""

    def __init__(
        self,
        clock: Clock,
        rng: np.random.Generator,
        faults: Faults,
        region: Region,
        *,
        aside: Aside = at_once,
        gate: time = time(10),
        clears_at: time = time(13, 30),
        same_day: SameDay | None = None,
        seed_prices: int = 0,
    ) -> None:
        super().__init__(
            clock, rng, faults, gate=gate, clears_at=clears_at, same_day=same_day, seed_prices=seed_prices
        )  # fmt: skip
        self.region, self._aside = region, aside
        self.days: dict[date, ClearedDay] = {}
        self.steps: dict[int, Called] = {}
        """What was dispatched, by the start of each step (ns)."""
        self._begun: set[date] = set()
        self._strays: dict[date, list[float]] = {}

    def prices(self, day: date) -> Mapping[int, float]:
        """Return the real-time prices at our bus of a market day, as far as it is dispatched, by step."""
        over = market_day(day, self._zone)
        return {at: made.price for at, made in self.steps.items() if over.start_ns <= at < over.end_ns}

    def foreseen(self, day: date) -> Mapping[int, float]:
        """Return the prices of the newest day that was cleared before, on the clock of this day.

        Before the first there is the case without us: as it was while we did not offer yet.
        """
        cleared = [each for each in self.days if each < day]
        made = self.days[max(cleared)] if cleared else None
        hours = made.hours if made else _middles(list(range(1, 25)))
        commitment = made.ahead if made else alone(self.region.load_frac, hours)
        by_clock = {hour: float(one.price[self.region.row]) for hour, one in zip(hours, commitment.hours, strict=True)}
        over = hours_of(day, self._zone)
        # An hour that the other day had none of is as dear as the one before it.
        return {
            start_ns: by_clock.get(ending - 0.5, by_clock.get(ending - 1.5, 0.0)) for ending, _, start_ns, _ in over
        }

    def _clear(self, day: date) -> None:
        if day in self._begun:
            return
        self._begun.add(day)
        over = hours_of(day, self._zone)
        hour_at = {start_ns: n for n, (_, _, start_ns, _) in enumerate(over)}
        bids = [(bid, hour_at[start_ns]) for bid, start_ns in self._bids_of(day)]
        hours = _middles([ending for ending, *_ in over])

        def publish(made: ClearedDay) -> None:
            won = zip(bids, made.awarded(), strict=True)
            self.days[day] = made
            self.awards[day] = tuple(award_row(bid, mw, price) for (bid, _), (mw, price) in won if mw >= LEAST_MW)
            # Nobody is instructed for what has passed meanwhile, but it has its prices all the same.
            for at in range(max(first_ns, over[0][2]), min(self._next_step_ns, over[-1][3]), STEP_NS):
                self._dispatched(at, self._sold_at(at))

        first_ns = self._next_step_ns
        self._aside(partial(ClearedDay, self.region, hours, bids), publish)

    def _dispatched(self, start_ns: int, sold: Sold) -> tuple[float, dict[tuple[str, str], float]]:
        day = from_ns(start_ns).astimezone(self._zone).date()
        made = self.days.get(day)
        if made is None:
            return 0.0, {}
        over = market_day(day, self._zone)
        if day not in self._strays:
            rng = np.random.default_rng([self._seed_prices, day.toordinal()])
            self._strays[day] = self.region.strays((over.end_ns - over.start_ns) // STEP_NS, rng).tolist()
        at = (start_ns - over.start_ns) // STEP_NS
        awarded_mw = {award.bid_uid: award.mw for awards in sold.values() for award in awards}
        most_mw = {resource: self._available_mw(resource, start_ns) for resource, _ in sold}
        called = made.step(at, awarded_mw, most_mw, self._missed_mw(), self._strays[day][at])
        self.steps[start_ns] = called
        return round(called.price, 4), {key: round(called.mw.get(key, 0.0), 6) for key in sold}

    def _missed_mw(self) -> float:
        """Return what was called and is not given, by telemetry of the last five minutes (MW)."""
        now_ns, missed_mw = self._clock.now_ns(), 0.0
        for resource, told in self.seen.telemetry.items():
            at_ns, gave_mw = told[-1]
            called = self.steps.get(at_ns - at_ns % STEP_NS)
            if called is not None and now_ns - at_ns <= STEP_NS:
                wanted_mw = [mw for (name, _), mw in called.mw.items() if name == resource]
                missed_mw += sum(wanted_mw) - gave_mw if wanted_mw else 0.0
        return missed_mw


def _middles(endings: list[int]) -> tuple[float, ...]:
    """Return the middles of hours by the hour that each ends at, on the local clock."""
    return tuple(ending - 0.5 for ending in endings)
