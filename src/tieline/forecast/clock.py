"""Readings by the wall clock, on which people live: whole local days of equal length, and back to instants.

A day of 23 hours lacks the hour that was skipped (NaN), the repeated hour of one of 25 hours is the mean of its two
passes. A forecast of such a day says its 23 or 25 hours: both passes of an hour get what is foretold of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, from_ns, iso, market_day

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
MOST_GAP_NS = 3 * HOUR_NS
"""Between weather readings that are further apart nothing is interpolated."""


@dataclass(frozen=True, slots=True)
class DayClock:
    """Local days from `first` on, `days` of them, cut into steps of one length."""

    zone: ZoneInfo
    first: date
    days: int
    step_ns: int

    @property
    def steps(self) -> int:
        """Steps of a plain day."""
        return DAY_NS // self.step_ns

    @property
    def start_ns(self) -> int:
        """The first midnight."""
        return market_day(self.first, self.zone).start_ns

    def day(self, at: int) -> date:
        """Return a day by its place."""
        return self.first + timedelta(days=at)

    def place_of(self, day: date) -> int:
        """Return the place of a day; negative or beyond the last where it lies outside."""
        return (day - self.first).days

    def instants(self, at: int) -> tuple[Places, Places]:
        """Return the starts of a day's real steps (UTC ns) and the step of the plain day that each one is."""
        over = market_day(self.day(at), self.zone)
        starts = over.start_ns + np.arange((over.end_ns - over.start_ns) // self.step_ns, dtype=np.int64) * self.step_ns
        begin, end = (from_ns(ns).astimezone(self.zone) for ns in (over.start_ns, over.end_ns - 1))
        if begin.utcoffset() == end.utcoffset():
            return starts, np.arange(len(starts), dtype=np.int64)
        walls = [from_ns(int(ns)).astimezone(self.zone) for ns in starts]
        return starts, np.array([(w.hour * 60 + w.minute) * MINUTE_NS // self.step_ns for w in walls], np.int64)

    def places(self) -> Places:
        """Return the flat place, day times steps plus step, of every real step since the first midnight."""
        found = [at * self.steps + self.instants(at)[1] for at in range(self.days)]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def weekends(self, holidays: frozenset[date] = frozenset()) -> NDArray[np.bool_]:
        """Return whether each day is none of work: Saturday, Sunday, or a holiday."""
        every = [self.day(at) for at in range(self.days)]
        return np.array([day.weekday() >= 5 or day in holidays for day in every], np.bool_)

    def laid_out(self, series: Sequence[tuple[Places, Floats]]) -> Floats:
        """Return series of (start of each reading in UTC ns, values) by day and step; shape (n, days, steps).

        Raises:
            ConfigError: A reading begins off the grid that begins at midnight.
        """
        places, origin = self.places(), self.start_ns
        found = np.full((len(series), self.days * self.steps), np.nan)
        for k, (starts_ns, values) in enumerate(series):
            keep = (starts_ns >= origin) & (starts_ns < origin + len(places) * self.step_ns) & np.isfinite(values)
            since = starts_ns[keep] - origin
            if (since % self.step_ns).any():
                off_ns = int(starts_ns[keep][np.flatnonzero(since % self.step_ns)[0]])
                minutes = self.step_ns // MINUTE_NS
                raise ConfigError(
                    f"start = {iso(off_ns)}: it is no whole number of {minutes} minute intervals after midnight in "
                    f"{self.zone}: give readings that begin at midnight there"
                )
            at = places[since // self.step_ns]
            seen = np.bincount(at, minlength=found.shape[1])
            total = np.bincount(at, weights=values[keep], minlength=found.shape[1])
            found[k] = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
        return found.reshape(len(series), self.days, self.steps)

    def interpolated(self, starts_ns: Places, values: Floats) -> Floats:
        """Return weather by day and step, straight between readings up to 3 h apart; shape (days, steps), else NaN.

        The hour that a day of 23 skips is that of the step before it.
        """
        good = np.isfinite(values)
        order = np.argsort(starts_ns[good], kind="stable")
        known, levels = starts_ns[good][order], values[good][order]
        places = self.places()
        asked = self.start_ns + np.arange(len(places), dtype=np.int64) * self.step_ns
        flat = np.full(self.days * self.steps, np.nan)
        if len(known):
            after = np.clip(np.searchsorted(known, asked), 0, len(known) - 1)
            before = np.clip(np.searchsorted(known, asked, side="right") - 1, 0, len(known) - 1)
            near = (known[after] - known[before] <= MOST_GAP_NS) & (known[before] <= asked + MOST_GAP_NS)
            near &= (asked >= known[0]) & (asked <= known[-1] + MOST_GAP_NS)
            # Since one instant for both, so that nanoseconds since 1970 don't lose their last digits in a float.
            flat[places] = np.where(near, np.interp((asked - asked[0]) / 1e9, (known - asked[0]) / 1e9, levels), np.nan)
        for lost in np.setdiff1d(np.arange(len(flat)), places):
            flat[lost] = flat[lost - 1]
        return flat.reshape(self.days, self.steps)
