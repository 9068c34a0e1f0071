"""Day-ahead prices of a backtest, and what was forecast of them at each gate from the days before, never from the day.

At 10:00 the day before, the prices of that day are known (they were published the day before it), and no later ones.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.forecast.choosing import choose
from tieline.forecast.clock import DayClock
from tieline.forecast.replay import MODELS, Past, foretell, replay
from tieline.forecast.ridge import LEAST_DAYS
from tieline.simulate.backtest.asked import Backtest
from tieline.simulate.backtest.timeline import Timeline
from tieline.simulate.iso import prices as ercot
from tieline.times import HOUR_NS, from_ns, iso, parse_iso

Floats = NDArray[np.float64]
Mind = Literal["known", "yesterday", "foresight"]
"""By what offers are made: forecasts from the days before, yesterday's prices, or the prices that came."""
SPOKEN = MODELS[:4]


@dataclass(frozen=True, slots=True, eq=False)
class DayAhead:
    """Prices by day and hour of the wall clock, from their first day on; NaN where a day has no such hour.

    Attributes:
        clock: Their days.
        by_day: shape (days, 24).
        made: Each model's forecast of each day, one and two days ahead; shape (2, models, days, 24); NaN: too early.
        chosen: Which model speaks for each day; shape (days,).
        of_hour: The price of each hour by its start (UTC ns).
    """

    clock: DayClock
    by_day: Floats
    made: Floats
    chosen: NDArray[np.int64]
    of_hour: Mapping[int, float]

    def of(self, line: Timeline, at: int) -> Floats:
        """Return the prices of a day's hours. Raises ConfigError naming the first that is not known."""
        found = [self.of_hour.get(int(ns), np.nan) for ns in line.starts_ns[line.span(at)]]
        bad = next((k for k, price in enumerate(found) if not np.isfinite(price)), None)
        if bad is not None:
            start = iso(int(line.starts_ns[line.span(at)][bad]))
            raise ConfigError(f"no day-ahead price of {start}: give days whose prices are all known")
        return np.array(found)

    def foretold(self, line: Timeline, at: int, mind: Mind) -> Floats:
        """Return what offers for a day go by: prices of its hours and of the day after's; raises as `of` does."""
        if mind == "foresight":
            after = self.after(line, at)
            return np.concatenate([self.of(line, at), self.of(line, at) if after is None else after])
        day = self.clock.place_of(line.clock.day(at))
        model = MODELS.index("day") if mind == "yesterday" else int(self.chosen[day])
        both = [self.made[lead, model, day][line.place[line.span(at + lead)]] for lead in (0, 1)]
        return np.concatenate(both)

    def expected_after(self, line: Timeline, at: int) -> Floats:
        """Return what was expected of the next day's hours at a day's own gate."""
        return self.foretold(line, at, "known")[len(self.of(line, at)) :]

    def after(self, line: Timeline, at: int) -> Floats | None:
        """Return the next day's prices; None where they aren't in the data."""
        is_there = all(int(ns) in self.of_hour for ns in line.starts_ns[line.span(at + 1)])
        return self.of(line, at + 1) if is_there else None

    def model_of(self, line: Timeline, at: int) -> str:
        """Return which model speaks for a day."""
        return SPOKEN[int(self.chosen[self.clock.place_of(line.clock.day(at))])]


def day_ahead_of(asked: Backtest) -> DayAhead:
    """Return prices and forecasts of a backtest. Raises ConfigError where days before the first are too few."""
    of_hour = read_prices(Path(asked.prices)) if asked.prices else dict(ercot.day_ahead(asked.point))
    return foretold_from(of_hour, ZoneInfo(asked.zone) if asked.prices else ercot.ZONE, asked)


def foretold_from(of_hour: Mapping[int, float], zone: ZoneInfo, asked: Backtest) -> DayAhead:
    """Return the prices of some hours with their forecasts for the days that are asked."""
    first = from_ns(min(of_hour)).astimezone(zone).date()
    clock = DayClock(zone, first, (asked.last - first).days + 1, HOUR_NS)
    begins = clock.place_of(asked.first)
    if begins < LEAST_DAYS + 1:
        raise ConfigError(f"first = {asked.first}: give a day with {LEAST_DAYS + 1} days of prices before it")
    starts = np.array(sorted(of_hour), np.int64)
    by_day = clock.laid_out([(starts, np.array([of_hour[int(ns)] for ns in starts]))])
    past = Past(by_day, clock.weekends())
    days = range(LEAST_DAYS + 1, clock.days)
    made = np.full((2, len(SPOKEN), clock.days, 24), np.nan)
    made[0][:, days.start :] = replay(past, days, 1, SPOKEN)[:, :, 0]
    made[1][:, days.start :] = _two_ahead(past, clock, days)
    errors = np.abs(made[0] - by_day)
    lost = np.where(np.isfinite(errors), errors, 0.0).sum(axis=-1)[:, :, None]
    lost[:, : days.start] = np.nan
    return DayAhead(clock, by_day[0], made, choose(lost)[:, 0], of_hour)


def _two_ahead(past: Past, clock: DayClock, days: range) -> Floats:
    """Return what is foretold at each day's gate of the day after it; shape (models, days, 24)."""
    off = np.append(past.is_off, clock.day(clock.days).weekday() >= 5)
    longer = Past(np.concatenate([past.load, np.full((1, 1, past.load.shape[2]), np.nan)], axis=1), off)
    return np.stack([foretell(longer, day + 1, 2, SPOKEN)[:, 0] for day in days], axis=1)


def read_prices(path: Path) -> dict[int, float]:
    """Return the price by start of a CSV with `start,price`.

    Raises:
        ConfigError: It can't be read, a row is no instant with an offset and no finite number, or one comes twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: {error}") from error
    found: dict[int, float] = {}
    for at, row in enumerate(rows, 2):
        try:
            start_ns, price = parse_iso(row["start"] or ""), float(row["price"] or "")
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}: row {at}: {error}: give start (ISO 8601 with an offset) and price") from None
        if not np.isfinite(price) or start_ns in found:
            raise ConfigError(f"{path}: row {at}: {row['start']}, {row['price']}: give each start once, a finite price")
        found[start_ns] = price
    if not found:
        raise ConfigError(f"{path}: no prices: give start,price")
    return found
