"""What a pool owes in the next day, and what is likely to come of it, by what it followed of late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from tieline.desk.cycle import PoolDesk
from tieline.desk.facts import IntervalTracked
from tieline.desk.foreseen import LoadFrac
from tieline.desk.likely import Follows, likely
from tieline.desk.redispatch import BY_KILL, BY_MODE, DNO_LIMIT, OWN_LIMIT
from tieline.desk.state import DeskState
from tieline.desk.tracking import OPTED_OUT, UNAVAILABLE
from tieline.desk.views import Commitment
from tieline.errors import LinkDown
from tieline.node.read_market import Tracked
from tieline.times import HOUR_NS, MINUTE_NS

USUAL_INTERVALS, LEAST_W = 6, 1_000.0
"""As so many intervals counts what is usual of how a pool follows; and of so much power must one be to count."""
FORESEEN = (DNO_LIMIT, OWN_LIMIT, BY_MODE, BY_KILL, OPTED_OUT, UNAVAILABLE)
"""Causes of a lack that is foreseen as what the pool can give: how it follows that is another matter."""
LATELY_NS = 6 * HOUR_NS


class Commitments:
    """What pools owe and what is likely to come of it, made once a beat: of a million devices it takes a while."""

    def __init__(self, tracked: Tracked) -> None:
        """Make it; `tracked` is where the intervals of late are."""
        self._tracked, self._follows = tracked, Follows()
        self._key: tuple[object, ...] = ()
        self._made: tuple[Commitment, ...] = ()

    def of(
        self, state: DeskState, pool: PoolDesk | None, now_ns: int, beat: int, load_frac: LoadFrac | None
    ) -> tuple[Commitment, ...]:
        """Return what a pool owes now; by what it followed before while the journal is away."""
        if pool is None:
            return ()
        key = pool.pool, beat, now_ns // MINUTE_NS, len(state.awards), state.is_killed
        if key != self._key:
            with suppress(LinkDown):
                seen = self._tracked.since(now_ns - LATELY_NS, now_ns)
                self._follows = follows_of([one for one in seen if one.pool == pool.pool])
            self._key, self._made = key, commitments(state, pool, now_ns, self._follows, load_frac)
        return self._made


def commitments(
    state: DeskState, pool: PoolDesk, now_ns: int, follows: Follows, load_frac: LoadFrac | None = None
) -> tuple[Commitment, ...]:
    """Return what is owed in the next 24 hours, and what is likely to come of it."""
    told = likely(state, pool, follows, now_ns, load_frac)
    awards = sorted((state.awards[name] for name in told), key=lambda a: (a.start_ns, a.id))
    return tuple(
        Commitment(
            a.start_ns, a.end_ns, a.power_w, a.price_per_mwh, told[a.id].low_w, told[a.id].high_w,
            told[a.id].likely_w, dict(told[a.id].lacks_w),
        )
        for a in awards
    )  # fmt: skip


def follows_of(intervals: Sequence[IntervalTracked]) -> Follows:
    """Return how a pool followed what it could give: delivered over asked less what was foreseen to lack.

    What is usual counts as `USUAL_INTERVALS` beside those that were tracked: a few tell little.
    """
    usual, able_w = Follows(), [
        abs(i.asked_w) - math.fsum(i.causes.get(cause, 0.0) for cause in FORESEEN) for i in intervals
    ]  # fmt: skip
    share = np.array([
        math.copysign(1.0, i.asked_w) * i.delivered_w / watts
        for i, watts in zip(intervals, able_w, strict=True) if watts > LEAST_W
    ])  # fmt: skip
    count = USUAL_INTERVALS + len(share)
    mean = (USUAL_INTERVALS * usual.mean_frac + float(share.sum())) / count
    square = USUAL_INTERVALS * usual.deviation_frac**2 + float(((share - mean) ** 2).sum())
    return Follows(mean, math.sqrt(square / count))
