"""The baseline of an event by an hourly weather-normalised model: learnt from all days but the event's and those apart.

Days lie on the event day's clock, as they do for rules of like days. A holiday counts as a Sunday. Readings of several
intervals an hour are added up to hours, and the hour's baseline is spread over them evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tieline.market.hourly import Station, fit, predict, station
from tieline.market.hourly_terms import HOURS, WEEK
from tieline.market.picking import Chosen, Event, LeftOut, left_out_says
from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
SUNDAY = 6


@dataclass(frozen=True, slots=True)
class Model:
    """What a weather-normalised baseline rests on.

    Attributes:
        learnt_hours: How many hours it was fitted to.
        cvrmse: Root mean square of what it is off by in those hours, over their mean load.
        penalty: The ridge penalty a row that cross-validation chose.
        freedom: Effective number of its terms.
        coldest_c: Lowest temperature that it learnt from.
        warmest_c: Highest.
        error: What it is off by over the event's hours on the days that it learnt from, root mean square (the load's
            unit), for its terms corrected by `hours / (hours - terms)`.
    """

    learnt_hours: int
    cvrmse: float
    penalty: float
    freedom: float
    coldest_c: float
    warmest_c: float
    error: float


@lru_cache(maxsize=8)
def _station(slot: bytes, celsius: bytes, learns: bytes) -> Station:
    """Return a station by its bytes: meters of one file share it."""
    return station(np.frombuffer(slot, np.int64), np.frombuffer(celsius), np.frombuffer(learns, np.bool_))


def weathered(
    rule: BaselineRule, load: Mapping[date, Floats], event: Event, apart: LeftOut, celsius: Mapping[date, Floats]
) -> tuple[Floats, Chosen, Model, list[str]]:
    """Return the baseline of the whole event day, the days learnt from, the model, and what a reader must know.

    Args:
        rule: Its window and the least number of days.
        load: Energy of each interval for each day, on the event day's clock; NaN: no reading.
        event: When.
        apart: Days that may not be learnt from.
        celsius: Temperature of each hour for each day, on the event day's clock (degC); NaN: not known.

    Raises:
        ValueError: A temperature lacks in the event's hours, or too few days are left.
    """
    per_day = len(load[event.day]) // event.per_hour
    asked = np.arange(event.first // event.per_hour, -(-event.last // event.per_hour))
    own = celsius.get(event.day, np.full(per_day, np.nan))
    if not np.isfinite(own[asked]).all():
        hour = int(asked[~np.isfinite(own[asked])][0])
        raise ValueError(f"{rule.id}: no temperature of {event.day} hour {hour}: give one for each hour of the event")
    days = [event.day - timedelta(days=back) for back in range(rule.window_days, -1, -1)]
    left = [(day, why) for day in reversed(days[:-1]) if (why := _left_out(day, load, celsius, apart))]
    not_used = {day for day, _ in left} | {event.day}
    blank = np.full(per_day, np.nan)
    warm = np.concatenate([celsius.get(day, blank) for day in days])
    hourly = np.concatenate([_by_hour(load[day], event.per_hour) if day in load else blank for day in days])
    slot = np.concatenate([_slots(day, per_day, apart.holidays) for day in days])
    learns = np.repeat([day not in not_used for day in days], per_day)
    used = tuple(day for day in reversed(days) if day not in not_used)
    least = max(rule.min_n.values())
    if len(used) < least:
        short = f"{rule.id}: {len(used)} days to learn from, needs {least}"
        raise ValueError(short + left_out_says(left))
    shared = _station(slot.tobytes(), warm.tobytes(), learns.tobytes())
    fitted = fit(shared, hourly[None])
    if not np.isfinite(fitted.level[0]):
        raise ValueError(f"{rule.id}: {fitted.read[0]} hours with a reading, needs {WEEK}")
    made = predict(shared, fitted)[0]
    off = (hourly - made).reshape(len(days), per_day)[:, asked][[day not in not_used for day in days]].sum(axis=1)
    seen, freedom = int(fitted.read[0]), float(fitted.freedom[0])
    spread = float(np.sqrt(np.nanmean(off**2) * seen / max(seen - freedom, 1.0))) if np.isfinite(off).any() else np.nan
    model = Model(
        seen, float(fitted.cvrmse[0]), float(fitted.penalty[0]), freedom, shared.coldest_c, shared.warmest_c, spread
    )
    flags = [
        f"{value:g} degC in the event is {word} than any hour that was learnt from ({bound:g} degC): extrapolated"
        for value, bound, word in (
            (float(own[asked].max()), shared.warmest_c, "warmer"), (float(own[asked].min()), shared.coldest_c, "colder")
        )
        if (value > bound if word == "warmer" else value < bound)
    ]  # fmt: skip
    told = tuple((day, why) for day, why in left if day >= min(load))
    mean = np.repeat(made[-per_day:] / event.per_hour, event.per_hour)
    return mean, Chosen(used, (1.0,) * len(used), told, len(used)), model, flags


def _left_out(day: date, load: Mapping[date, Floats], celsius: Mapping[date, Floats], apart: LeftOut) -> str:
    if day in apart.event_days:
        return "an event day"
    if day in apart.outages:
        return "an outage, test or shutdown"
    if day not in load or not np.isfinite(load[day]).any():
        return "no meter data"
    return "" if day in celsius and np.isfinite(celsius[day]).any() else "no temperature"


def _by_hour(load: Floats, per_hour: int) -> Floats:
    """Return what each hour used; NaN where one of its intervals has no reading."""
    hourly: Floats = load.reshape(-1, per_hour).sum(axis=1)
    return hourly


def _slots(day: date, per_day: int, holidays: frozenset[date]) -> NDArray[np.int64]:
    # Where the event day has 25 hours the last one shares its place with the one before.
    weekday = SUNDAY if day in holidays else day.weekday()
    return weekday * HOURS + np.minimum(np.arange(per_day, dtype=np.int64), HOURS - 1)
