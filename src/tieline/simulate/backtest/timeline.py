"""The steps of a backtest: local days one after the other, each of 23, 24 or 25 hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.forecast.clock import DayClock
from tieline.times import HOUR_NS, market_day

Steps = NDArray[np.int64]
BEFORE_DAYS, AFTER_DAYS = 9, 2
"""What devices did in the week before the first day is known as it begins; plans look a day beyond the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """All steps from `BEFORE_DAYS` before the first day to `AFTER_DAYS` after the last.

    Attributes:
        clock: Its days; place 0 is the earliest.
        days: How many of them are played, from place `BEFORE_DAYS` on.
        starts_ns: Start of each step; shape (T,).
        place: Which step of a plain day each is; shape (T,).
        first_of: The first step of each day, and the end of the last; shape (days of the clock + 1,).
    """

    clock: DayClock
    days: int
    starts_ns: Steps
    place: Steps
    first_of: Steps

    @classmethod
    def of(cls, zone: ZoneInfo, first: date, days: int, step_ns: int) -> Timeline:
        """Return the timeline of so many days."""
        clock = DayClock(zone, first - timedelta(days=BEFORE_DAYS), BEFORE_DAYS + days + AFTER_DAYS, step_ns)
        pairs = [clock.instants(at) for at in range(clock.days)]
        ends = np.cumsum([0, *(len(starts) for starts, _ in pairs)])
        return cls(clock, days, np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs]), ends)

    @property
    def hours(self) -> float:
        """Length of a step."""
        return self.clock.step_ns / HOUR_NS

    @property
    def played(self) -> range:
        """The places of the days that are played."""
        return range(BEFORE_DAYS, BEFORE_DAYS + self.days)

    def span(self, at: int, count: int = 1) -> slice:
        """Return the steps of a day, or of several from it on."""
        return slice(int(self.first_of[at]), int(self.first_of[min(at + count, self.clock.days)]))

    def gate_ns(self, at: int) -> int:
        """Return 10:00 of the day before, when the day-ahead market closes."""
        before = market_day(self.clock.day(at - 1), self.clock.zone)
        return before.end_ns - 14 * HOUR_NS
