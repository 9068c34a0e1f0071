"""What a baseline rule pays where nothing happened: on such a day every kilowatt-hour of performance is an error.

A day without an event is settled as if it had one. Over many days the mean error is the rule's bias (above 0 it pays
for nothing), the relative root mean square error what a single event's settlement is wrong by. Both depend on the level
(each meter by itself, or their sum as one) and on how many meters a portfolio has, so both are varied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.market.baseline import Event, compute
from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
Days = Mapping[date, Floats]
LOOKS_BACK_DAYS = 100
"""More than any rule's window with its lag: older days change no answer, and need not be looked at."""
BIASED_FRAC = 0.02
"""A rule whose bias is above a fiftieth of the load is not chosen."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one rule did at one level, over `events` days (fractions of the load in the event's hours).

    `floored` is what would be paid if a meter's or portfolio's loss on a day counted as nothing.
    """

    rule: str
    level: str
    days: str
    meters: int
    events: int
    refused: int
    bias: float
    rrmse: float
    floored: float


@dataclass(frozen=True, slots=True)
class Study:
    """Placebo events: which days, which hours (intervals from midnight, end not included), what is left out."""

    days: Sequence[date]
    first: int
    last: int
    per_hour: int = 1
    holidays: frozenset[date] = frozenset()
    warmest: Mapping[date, float] = field(default_factory=dict)
    celsius: Days = field(default_factory=dict)
    """Temperature of each hour of each day (degC), for rules with a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Baseline less load, and load, over the event's hours of each day (kWh; NaN: no baseline); shape (days,).

    `each_off` and `each_load` hold the same interval by interval; shape (days, intervals).
    """

    off: Floats
    load: Floats
    each_off: Floats
    each_load: Floats


def errors(rule: BaselineRule, load: Days, study: Study) -> Errors:
    """Return what a rule is off by on each day, for one meter or one sum."""
    off, used = (np.full((len(study.days), study.last - study.first), np.nan) for _ in range(2))
    # Nothing is settled: of a rule its method is asked, on days from before it was in force too.
    rule = replace(rule, effective_from="")
    for at, day in enumerate(study.days):
        if day not in load or not np.isfinite(load[day][study.first : study.last]).all():
            continue
        near = {
            each: load[each]
            for each in (day - timedelta(days=back) for back in range(max(LOOKS_BACK_DAYS, rule.window_days) + 1))
            if each in load
        }
        event = Event(day, study.first, study.last, study.per_hour)
        try:
            made = compute(
                rule, near, event, holidays=study.holidays, warmest=study.warmest, celsius=study.celsius
            )  # fmt: skip
        except ValueError:
            continue  # too few like days are left: such an event would not be settled
        off[at], used[at] = made.performance, made.actual
    return Errors(off.sum(axis=1), used.sum(axis=1), off, used)


def errors_of(rule: BaselineRule, loads: Sequence[Days], study: Study) -> list[Errors]:
    """Return the errors of several loads. Models are asked a day at a time, as loads of one day share their terms."""
    if rule.pick != "hourly-model":
        return [errors(rule, load, study) for load in loads]
    parts = [[errors(rule, load, replace_days(study, day)) for load in loads] for day in study.days]
    return [Errors(*(np.concatenate([getattr(row[k], name) for row in parts]) for name in Errors.__slots__))
            for k in range(len(loads))]  # fmt: skip


def replace_days(study: Study, day: date) -> Study:
    """Return a study of one day alone."""
    return Study([day], study.first, study.last, study.per_hour, study.holidays, study.warmest, study.celsius)


def trial(rule: str, level: str, which: str, meters: int, parts: Sequence[Errors], days: NDArray[np.bool_]) -> Trial:
    """Return the trial of parts that are settled each by itself and added up, over some of the days.

    Args:
        rule: Its name.
        level: At which level the parts are.
        which: What those days are called.
        meters: How many meters there are.
        parts: One a meter, or one in all.
        days: Which days count; shape (days,).
    """
    off, load = (np.array([getattr(part, name) for part in parts]) for name in ("off", "load"))
    has = np.isfinite(off).all(axis=0) & days
    refused = int((days & ~has).sum())
    if not has.any():
        return Trial(rule, level, which, meters, 0, refused, math.nan, math.nan, math.nan)
    total, used = off[:, has].sum(axis=0), load[:, has].sum(axis=0)
    floored = np.maximum(off[:, has], 0.0).sum()
    return Trial(
        rule, level, which, meters, int(has.sum()), refused, float(total.sum() / used.sum()),
        float(np.sqrt(np.mean(total**2)) / np.mean(used)), float(floored / used.sum()),
    )  # fmt: skip


def together(homes: Sequence[Days]) -> dict[date, Floats]:
    """Return the sum of meters on the days that all of them have."""
    days = set(homes[0]).intersection(*homes[1:])
    return {day: np.sum([home[day] for home in homes], axis=0) for day in sorted(days)}


def hot_days(study: Study, frac: float = 0.25) -> NDArray[np.bool_]:
    """Return which days are among the hottest part by daily maximum; none where temperatures lack."""
    known = np.array([study.warmest.get(day, math.nan) for day in study.days])
    if not np.isfinite(known).any():
        return np.zeros(len(study.days), np.bool_)
    found: NDArray[np.bool_] = known >= np.nanquantile(known, 1.0 - frac)
    return found


def study_rules(rules: Sequence[BaselineRule], homes: Mapping[str, Days], study: Study) -> list[Trial]:
    """Return each rule's trials: each meter by itself and all as one, over all days and the hottest quarter."""
    every = np.ones(len(study.days), np.bool_)
    hot = hot_days(study)
    whole = together(list(homes.values()))
    found = []
    for rule in rules:
        *each, as_one = errors_of(rule, [*homes.values(), whole], study)
        levels = {"meter": each, "registration": [as_one]}
        for level, parts in levels.items():
            found.append(trial(rule.id, level, "all", len(homes), parts, every))
            if hot.any():
                found.append(trial(rule.id, level, "hot", len(homes), parts, hot))
    return found


def by_size(
    rule: BaselineRule,
    homes: Mapping[str, Days],
    study: Study,
    sizes: Sequence[int],
    draws: int,
    rng: np.random.Generator,
) -> list[Trial]:
    """Return what a portfolio of each size, settled as one, is to expect, over portfolios drawn by chance."""
    found = []
    for size in sizes:
        pooled = pooled_errors(rule, homes, study, size, draws, rng)
        found.append(trial(rule.id, "registration", "all", size, [pooled], np.ones(len(pooled.off), np.bool_)))
    return found


def pooled_errors(
    rule: BaselineRule, homes: Mapping[str, Days], study: Study, size: int, draws: int, rng: np.random.Generator
) -> Errors:
    """Return the errors of portfolios of one size that are drawn by chance and settled as one, one after another."""
    names = sorted(homes)
    sums = []
    for _ in range(1 if size == len(names) else draws):
        picked = sorted(rng.choice(len(names), size, replace=False).tolist())
        sums.append(together([homes[names[at]] for at in picked]))
    held = errors_of(rule, sums, study)
    # One event after another, whoever's: errors of small loads weigh no more than what they cost.
    return Errors(*(np.concatenate([getattr(one, name) for one in held]) for name in Errors.__slots__))


def chosen(trials: Sequence[Trial], level: str) -> Trial | None:
    """Return the trial of the rule to take at a level: of those nearly unbiased the one with the least error.

    Where none is within the bound, the one of the least bias; where two are alike, the first by name.
    """
    mine = [one for one in trials if (one.level, one.days) == (level, "all") and one.events]
    fair = [one for one in mine if abs(one.bias) <= BIASED_FRAC]
    if fair:
        return min(fair, key=lambda one: (one.rrmse, one.rule))
    return min(mine, key=lambda one: (abs(one.bias), one.rule)) if mine else None
