"""Readings that are hardly what they say: in Wh for kWh, of the wrong sign, an hour's energy in a quarter of one.

A meter is held against itself, as nobody knows its make: each reading against what it shows at that time of day, and
against the highest of other days. What a load may do by itself (a charger that runs once a week, a plant that gives at
noon, a house that stands empty) stays within these. The bounds are ours, and were held against 1,451 series of loads,
roofs, plants and chargers, real and of a stock, in 13,962 stretches of two months and more: none was doubted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.times import DAY_NS, HOUR_NS

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
Mask = NDArray[np.bool_]
THOUSAND = (250.0, 4_000.0)
"""A reading so many times its like is taken for one in Wh, or by its inverse for one in kWh among Wh."""
FAR_ABOVE = 8.0
"""So many times the highest of other days no load is; the two highest of them may be wrong themselves."""
LEAST_KW = 48.0
"""A house's connection (200 A at 240 V): what lies below may be switched on where nothing ran for months."""
APART = 20.0
"""A stretch in Wh is so far above all others: its middle above their highest."""
LOW, BELOW = 0.05, 10.0
"""A stretch in kWh is so far below this quantile of the others; one as long as a day has only to be below it."""
SHARP = 50.0
LEAST_ROWS, LEAST_DAYS = 3, 5
SIGN_NS = 20 * HOUR_NS
"""So long no house gives without a pause, and the night belongs to it."""
LONGEST_NS = HOUR_NS


@dataclass(frozen=True, slots=True)
class Doubt:
    """Readings `first` to `last` (both included) of a series, and what is odd about them."""

    first: int
    last: int
    says: str


def doubts(starts_ns: Instants, kwh: Floats, step_ns: int, most_kw: float | None = None) -> list[Doubt]:
    """Return which readings of a meter are doubtful, in their order; none twice.

    Args:
        starts_ns: Start of each interval (UTC ns), rising; shape (n,).
        kwh: Energy; NaN: no reading; shape (n,).
        step_ns: Length of an interval (ns).
        most_kw: What the meter is registered for, either way (kW); None: not known.
    """
    found: list[Doubt] = []
    taken = np.zeros(len(kwh), np.bool_)
    if most_kw is not None:
        above = np.abs(kwh) > most_kw * step_ns / HOUR_NS * (1 + 1e-9)
        _note(found, taken, above, f"over the {most_kw:g} kW that it is registered for")
    days = starts_ns // DAY_NS
    if len(np.unique(days)) < LEAST_DAYS:
        return sorted(found, key=lambda one: one.first)
    size = np.abs(np.nan_to_num(kwh))
    least = LEAST_KW * step_ns / HOUR_NS
    ratio = _to_its_like(starts_ns, size, step_ns)
    for run in _runs(_within(ratio, *THOUSAND), size > 0):
        held = size[run][size[run] > 0]
        if held.max() > least and np.median(held) > APART * _third_highest(size, days, run):
            _note(found, taken, _mask(run, size), "about 1000 times its like hours: in Wh?")
    far = (size > least) & (size > FAR_ABOVE * _highest_of_others(size, days))
    _note(found, taken, far, "far above the highest of other days")
    _note(found, taken, _far_below(starts_ns, size, ratio, step_ns), "about a 1000th of its like: are others in Wh?")
    for run in _runs(kwh < 0, np.isfinite(kwh)):
        rest = np.delete(kwh, np.arange(run.start, run.stop))
        if (run.stop - run.start) * step_ns >= SIGN_NS and np.nanmean(rest < 0) < 0.01:
            _note(found, taken, _mask(run, size), "negative day and night, as on no other day: of the other sign?")
    _note(found, taken, _holds_the_gap(starts_ns, kwh, step_ns), "holds as much as the intervals that lack after it")
    return sorted(found, key=lambda one: one.first)


def _far_below(starts_ns: Instants, size: Floats, ratio: Floats, step_ns: int) -> Mask:
    """Return stretches that are a 1000th of their like hours, or for a day of all days, and below what else is read."""
    odd = np.zeros(len(size), np.bool_)
    highest = _day_highest(size, starts_ns // DAY_NS)[0]
    usual = float(np.median(highest[highest > 0])) if (highest > 0).any() else 0.0
    if usual <= LEAST_KW * step_ns / HOUR_NS:
        return odd
    a_day = [
        run for run in _runs(size <= usual / THOUSAND[0], size >= 0) if (run.stop - run.start) * step_ns >= SIGN_NS
    ]
    hours = _runs(_within(ratio, 1 / THOUSAND[1], 1 / THOUSAND[0]), size > 0)
    for run, below in [*((run, 1.0) for run in a_day), *((run, BELOW) for run in hours)]:
        rest = np.concatenate([size[: run.start], size[run.stop :]])
        is_read_as_often = len(rest) > 0 and np.mean(size[run] > 0) >= 0.8 * np.mean(rest > 0) > 0
        if not is_read_as_often or not _is_sharp(size, run):
            continue
        top = float(size[run].max())
        if top * THOUSAND[1] >= usual and top * below < np.quantile(rest[rest > 0], LOW):
            odd[run] = True
    return odd


def _is_sharp(size: Floats, run: slice) -> bool:
    """Return whether a stretch begins or ends at once, and fades nowhere: another unit does, and dusk doesn't."""
    ends = [(size[run.start - 1], size[run.start])] if run.start else []
    ends += [(size[run.stop], size[run.stop - 1])] if run.stop < len(size) else []
    steps = [beside >= SHARP * own for beside, own in ends if beside > 0]
    return bool(steps) and all(steps)


def _note(found: list[Doubt], taken: Mask, odd: Mask, says: str) -> None:
    """Add what is odd and was not told yet, one doubt a stretch."""
    new = odd & ~taken
    taken |= new
    edges = np.flatnonzero(np.diff(np.concatenate([[False], new, [False]]).astype(np.int8)))
    found += [Doubt(int(a), int(b) - 1, says) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _to_its_like(starts_ns: Instants, size: Floats, step_ns: int) -> Floats:
    """Return each reading by the median of those at its time of day that are not 0; 0 where there is none."""
    slots = (starts_ns % DAY_NS) // step_ns
    order = np.lexsort((size, slots))
    held = order[size[order] > 0]
    counts = np.bincount(slots[held], minlength=int(DAY_NS // step_ns))
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    middle = (
        np.where(counts > 0, size[held][np.minimum(firsts + counts // 2, max(len(held) - 1, 0))], np.inf)
        if len(held)
        else np.full(len(counts), np.inf)
    )
    ratio: Floats = size / middle[slots]
    return ratio


def _within(ratio: Floats, low: float, high: float) -> Mask:
    found: Mask = (ratio >= low) & (ratio <= high)
    return found


def _runs(odd: Mask, counts: Mask) -> list[slice]:
    """Return the stretches of readings that are odd, those that don't count aside; shorter ones than three are none."""
    at = np.flatnonzero(counts)
    held = odd[at]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [slice(int(at[a]), int(at[b - 1]) + 1) for a, b in pairs if b - a >= LEAST_ROWS]


def _mask(run: slice, size: Floats) -> Mask:
    found = np.zeros(len(size), np.bool_)
    found[run] = True
    return found


def _day_highest(size: Floats, days: Instants) -> tuple[Floats, Instants]:
    """Return the highest of each day, and each reading's day among them."""
    known, of = np.unique(days, return_inverse=True)
    highest = np.zeros(len(known))
    np.maximum.at(highest, of, size)
    return highest, of


def _third_highest(size: Floats, days: Instants, run: slice) -> float:
    """Return the third highest of the days, of what is outside of a stretch; no bound where too few are."""
    outside = np.ones(len(size), np.bool_)
    outside[run] = False
    if not outside.any():
        return np.inf
    highest, _ = _day_highest(size[outside], days[outside])
    return float(np.sort(highest)[-3]) if len(highest) >= LEAST_DAYS - 1 else np.inf


def _highest_of_others(size: Floats, days: Instants) -> Floats:
    """Return for each reading the third highest of the days beside its own; no bound where all others are 0."""
    highest, of = _day_highest(size, days)
    top = np.argsort(highest, kind="stable")[::-1]
    third, fourth = highest[top[2]], highest[top[3]]
    others = np.where(np.isin(np.arange(len(highest)), top[:3]), fourth, third)
    bound: Floats = np.where(others > 0, others, np.inf)[of]
    return bound


def _holds_the_gap(starts_ns: Instants, kwh: Floats, step_ns: int) -> Mask:
    """Return which readings stand before a gap up to a usual length, and are as large as all of it."""
    odd = np.zeros(len(kwh), np.bool_)
    if step_ns >= LONGEST_NS or len(kwh) < 3:
        return odd
    many = np.diff(starts_ns)[1:] // step_ns
    at = 1 + np.flatnonzero((many > 1) & (many * step_ns <= LONGEST_NS) & (starts_ns[1:-1] % (many * step_ns) == 0))
    beside = (np.abs(kwh[at - 1]) + np.abs(kwh[at + 1])) / 2
    odd[at] = (beside > 0) & (np.abs(kwh[at]) > 0.75 * many[at - 1] * beside)
    return odd
