"""What a pool owes in the next day, and what is likely to come of it, by what it followed of late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import IntervalTracked
from tieline.desk.foreseen import NEAR_NS, LoadFrac
from tieline.desk.likely import AHEAD_NS, Follows, Likely, by_award, likely
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.redispatch import BY_KILL, BY_MODE, DNO_LIMIT, OWN_LIMIT
from tieline.desk.state import DeskState
from tieline.desk.tracking import OPTED_OUT, UNAVAILABLE
from tieline.desk.views import Commitment
from tieline.errors import LinkDown
from tieline.node.read_market import Tracked
from tieline.times import HOUR_NS, MINUTE_NS

USUAL_INTERVALS, LEAST_W = 6, 1_000.0
"""As so many intervals counts what is usual of how a pool follows; and of so much power must one be to count."""
LEAST_INTERVALS, FAR = 3, 3.0
"""From so many intervals on what is in their middle is known; and so many deviations off that one is an outlier."""
STEPPED_FRAC, STEPPED_COUNTS = 0.05, 0.25
FORESEEN = (DNO_LIMIT, OWN_LIMIT, BY_MODE, BY_KILL, OPTED_OUT, UNAVAILABLE)
"""Causes of a lack that is foreseen as what the pool can give: how it follows that is another matter."""
LATELY_NS = 6 * HOUR_NS


MANY, IN_A_ROW, EACH_NS = 5_000, 50_000, 10_000
"""Of a pool of more devices it is made by pieces: of up to `IN_A_ROW` one after the other behind a beat, whatever else
waits coming in between; of more, of which one piece may take half a second of a million devices, one each time that so
many ns have gone by for each device."""
Told = Mapping[str, Likely]


class Commitments:
    """What pools owe and what is likely to come of it, made once a beat while somebody looks, or one of
    them is near.

    Of a large pool it is made by pieces, so that no command waits for it, and may be some minutes old.
    """

    def __init__(self, tracked: Tracked, many: int = MANY) -> None:
        """Make it; `tracked` is where the intervals of late are, and pools of more than `many` devices are large."""
        self._tracked, self._many, self._follows = tracked, many, Follows()
        self._key: tuple[object, ...] = ()
        self._pool, self._told = "", dict[str, Likely]()
        self._pieces: Iterator[tuple[str, Likely] | None] = iter(())
        self._last_ns: int | None = None

    def of(
        self, state: DeskState, pool: PoolDesk | None, now_ns: int, beat: int, load_frac: LoadFrac | None
    ) -> tuple[Commitment, ...]:
        """Return what a pool owes now; by what it followed before while the journal is away."""
        if pool is None:
            return ()
        self._follow(pool)
        if len(pool.rows) > self._many:
            if self._key[1:] != _minute(state, now_ns):
                self._go_on(state, pool, now_ns, load_frac)
        elif (key := (beat, *_minute(state, now_ns))) != self._key:
            self._key = key
            self._told = likely(state, pool, self._followed(pool, now_ns), now_ns, load_frac)
        return commitments(state, pool.pool, self._told, now_ns)

    def near(
        self, state: DeskState, pool: PoolDesk | None, now_ns: int, beat: int, load_frac: LoadFrac | None
    ) -> tuple[Commitment, ...]:
        """Return the same, a minute old at most, where any of it runs or begins within the hour; else nothing: nobody
        needs it then.
        """
        if pool is None or not _is_near(state, pool, now_ns):
            return ()
        if pool.pool == self._pool and self._key[1:] == _minute(state, now_ns):
            return commitments(state, pool.pool, self._told, now_ns)
        return self.of(state, pool, now_ns, beat, load_frac)

    async def make(
        self, state: DeskState, pool: PoolDesk | None, now_ns: int, beat: int, load_frac: LoadFrac | None
    ) -> None:
        """Work out what `near` tells of a pool of many devices, once a minute, and let others go on after each piece:
        of 50,000 devices none takes a tenth of a second."""
        if pool is None or not self._many < len(pool.rows) <= IN_A_ROW or not _is_near(state, pool, now_ns):
            return
        self._follow(pool)
        minute = _minute(state, now_ns)
        if self._key[1:] == minute:
            return
        told = dict[str, Likely]()
        for found in by_award(state, pool, self._followed(pool, now_ns), now_ns, load_frac):
            if found is not None:
                told[found[0]] = found[1]
            await asyncio.sleep(0)
        if pool.pool == self._pool:  # else another took its place meanwhile
            self._told, self._key, self._pieces = told, (beat, *minute), iter(())

    def _follow(self, pool: PoolDesk) -> None:
        """Begin anew where the pool is another."""
        if pool.pool != self._pool:
            self._pool, self._key, self._told, self._pieces, self._last_ns = pool.pool, (), {}, iter(()), None

    def _go_on(self, state: DeskState, pool: PoolDesk, now_ns: int, load_frac: LoadFrac | None) -> None:
        """Do the next piece, if it is time."""
        if self._last_ns is not None and 0 <= now_ns - self._last_ns < len(pool.rows) * EACH_NS:
            return
        self._last_ns = now_ns
        try:
            found = next(self._pieces)
        except StopIteration:
            self._told = {name: one for name, one in self._told.items() if name in state.awards}
            self._pieces = by_award(state, pool, self._followed(pool, now_ns), now_ns, load_frac)
            found = next(self._pieces, None)
        if found is not None:
            self._told[found[0]] = found[1]

    def _followed(self, pool: PoolDesk, now_ns: int) -> Follows:
        with suppress(LinkDown):
            seen = self._tracked.since(now_ns - LATELY_NS, now_ns)
            self._follows = follows_of([one for one in seen if one.pool == pool.pool])
        return self._follows


def _is_near(state: DeskState, pool: PoolDesk, now_ns: int) -> bool:
    """Return whether anything that a pool has sold runs, or begins within the hour."""
    mine = (award for award in state.awards.values() if award.pool == pool.pool)
    return any(award.start_ns <= now_ns + NEAR_NS and now_ns < award.end_ns for award in mine)


def _minute(state: DeskState, now_ns: int) -> tuple[object, ...]:
    """Return what makes another minute of a desk: then what is likely is worked out anew."""
    return now_ns // MINUTE_NS, len(state.awards), state.is_killed


def commitments(state: DeskState, pool: str, told: Told, now_ns: int) -> tuple[Commitment, ...]:
    """Return what is owed in the next day, and what is likely to come of it as far as that is worked out."""
    mine = (a for a in state.awards.values() if a.pool == pool and now_ns < a.end_ns <= now_ns + AHEAD_NS)
    return tuple(_commitment(award, told.get(award.id)) for award in sorted(mine, key=lambda a: (a.start_ns, a.id)))


def _commitment(award: Award, told: Likely | None) -> Commitment:
    start_ns, end_ns, power_w, price = award.start_ns, award.end_ns, award.power_w, award.price_per_mwh
    if told is None:
        return Commitment(start_ns, end_ns, power_w, price, None, None, None)
    return Commitment(start_ns, end_ns, power_w, price, told.low_w, told.high_w, told.likely_w, dict(told.lacks_w))


def follows_of(intervals: Sequence[IntervalTracked]) -> Follows:
    """Return how a pool followed what it could give: delivered over asked less what was foreseen to lack.

    What is usual counts as `USUAL_INTERVALS` beside those that were tracked: a few tell little. What was an hour ago
    counts half, and an interval in which what is asked stepped a quarter: devices were on their way. One that is far
    from the others (`FAR` of their deviations) counts as if it were that far and no further, whichever way: what one
    gave too much or too little, once, says nothing of the rest.

    Args:
        intervals: Those tracked of late, oldest first.
    """
    usual = Follows()
    able_w = np.array([
        abs(i.asked_w) - math.fsum(i.causes.get(cause, 0.0) for cause in FORESEEN) for i in intervals
    ])  # fmt: skip
    counts = able_w > LEAST_W
    if not counts.any():
        return usual
    asked_w, gave_w = (np.array([getattr(i, name) for i in intervals]) for name in ("asked_w", "delivered_w"))
    ends_ns = np.array([i.end_ns for i in intervals], np.int64)
    before_w, follows_on = (
        np.r_[asked_w[0], asked_w[:-1]],
        np.r_[True, ends_ns[:-1] == ends_ns[1:] - _lengths(intervals)],
    )
    stepped = follows_on & (np.abs(asked_w - before_w) > STEPPED_FRAC * np.abs(asked_w))
    weight = 0.5 ** ((ends_ns[-1] - ends_ns) / HOUR_NS) * np.where(stepped, STEPPED_COUNTS, 1.0)
    share, weight = (np.sign(asked_w) * gave_w)[counts] / able_w[counts], weight[counts]
    middle, spread = usual.mean_frac, usual.deviation_frac
    if len(share) >= LEAST_INTERVALS:
        middle = float(np.median(share))
        spread = max(1.4826 * float(np.median(np.abs(share - middle))), spread)
    share = np.clip(share, middle - FAR * spread, middle + FAR * spread)
    count = USUAL_INTERVALS + float(weight.sum())
    mean = (USUAL_INTERVALS * usual.mean_frac + float((weight * share).sum())) / count
    square = USUAL_INTERVALS * usual.deviation_frac**2 + float((weight * (share - mean) ** 2).sum())
    return Follows(mean, math.sqrt(square / count))


def _lengths(intervals: Sequence[IntervalTracked]) -> NDArray[np.int64]:
    return np.array([i.end_ns - i.start_ns for i in intervals[1:]], np.int64)
