"""What each pool delivers, interval by interval: counted at each beat, closed with the causes of what lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk import redispatch, tracking
from tieline.desk.declared import ours_w
from tieline.desk.desk import Desk
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked
from tieline.desk.lost import fill, made_up, most_w, with_timers
from tieline.desk.obligation import DISPATCH_STEP_NS, awarded_w, owed
from tieline.desk.packed import Packed
from tieline.desk.response import judge, unheard
from tieline.desk.state import DeskState
from tieline.desk.trim import learnt
from tieline.ids import derive
from tieline.times import MINUTE_NS, SECOND_NS, floor_ns

if TYPE_CHECKING:
    from tieline.desk.pool_desk import PoolDesk

Floats = NDArray[np.float64]
MISS_FOR_NS, LOST_FOR_NS, LOST_MOST_NS = 15 * MINUTE_NS, MINUTE_NS, 8 * MINUTE_NS
LONGEST_S = 900.0
"""A stretch between two beats counts for so long at most: a desk that stood still for longer knows nothing of it."""
TRIM_GAIN, TRIM_MOST = 0.5, 0.3
"""What a pool gave too little or too much in one interval is made good by so much in the next, and by so much of what
is owed at most, beside what is known to be paid back."""
MADE_UP_FRAC = 0.1
"""Shares that stand at a start give all that is owed where no more of it lacks: bases drift, and trims fade."""
LOST_H = 1 / 12
"""Headroom that a store lost is what it could have given for so long: a dispatch interval."""


async def count(desk: Desk, pool: PoolDesk, now_ns: int, seconds: float) -> None:
    """Count the stretch since the last beat, each part into its own interval, closing what is over.

    A beat on a clock that runs comes a moment after the mark that it was due at: were all of its minute put to the
    new interval, the first minute after an award would be asked what the last of the award was.
    """
    state = desk.state
    since_ns = now_ns - round(min(seconds, LONGEST_S) * SECOND_NS)
    paced = state.held_ns[pool.rows] >= since_ns  # whom the fleet limiter held back at the last beat
    for begins_ns, ends_ns in tracking.parts(since_ns, now_ns):
        start_ns = floor_ns(ends_ns - 1, DISPATCH_STEP_NS)
        if pool.tally is None or pool.tally.start_ns != start_ns:
            if pool.tally is not None and pool.tally.seconds > 0:
                await _close(desk, pool, pool.tally, now_ns)
            pool.tally = tracking.Tally.begin(pool.rows, start_ns, start_ns + DISPATCH_STEP_NS)
        if ends_ns == begins_ns:
            continue
        pool.tally.note(begins_ns, ends_ns)
        debt = pool.obligation
        if debt is None or debt.end_ns <= begins_ns:  # the last beat knew nothing of this part
            debt = owed(state, pool.pool, begins_ns)
        asked_w = 0.0 if debt is None else debt.power_w
        sold_w = awarded_w(state, pool.pool, start_ns)
        sold_w = asked_w if sold_w is None else sold_w
        if debt is not None:
            pool.tally.is_owed, pool.tally.because = True, debt.because
        side = float(np.sign(asked_w or sold_w))
        beside_w = pool.gives_w if asked_w and not state.is_killed else 0.0
        row_w = tracking.counted_w(state, pool.rows, pool.share_w, side, now_ns, pool.by_program, beside_w)
        pool.tally.add(asked_w, sold_w, pool.share_w, row_w, (ends_ns - begins_ns) / SECOND_NS)
        pool.tally.ours_ws += ours_w(state, debt, sold_w, begins_ns) * (ends_ns - begins_ns) / SECOND_NS
        if begins_ns >= pool.settles_ns and not paced.any() and not state.is_killed:
            mends_no_w = pool.short_w - side * pool.over_w  # who waits for his turn gives it whatever others are asked
            pool.tally.teach(asked_w - float(row_w.sum()), mends_no_w, (ends_ns - begins_ns) / SECOND_NS)
        if pool.holds is not None:
            pool.tally.lost_w = most_w(({**pool.lost_now, tracking.REBOUND: abs(pool.back_w)}, pool.tally.lost_w))
            # The last beat noted what holds rows before it told them anything: whom the limiter held back came after.
            holds = replace(pool.holds, paced=paced)
            tracking.count_lack(
                state, pool.tally, asked_w, pool.share_w, row_w, holds, pool.out_now,
                (ends_ns - begins_ns) / SECOND_NS, pool.made_up, max(side * pool.short_w, 0.0),
            )  # fmt: skip

    if pool.tally is not None and pool.tally.seconds > 0 and pool.tally.end_ns <= now_ns:
        await _close(desk, pool, pool.tally, now_ns)
        pool.tally = tracking.Tally.begin(pool.rows, pool.tally.end_ns, pool.tally.end_ns + DISPATCH_STEP_NS)


def note_holds(state: DeskState, pool: PoolDesk, now_ns: int) -> None:
    """Note what holds a pool's rows from now on, where it owes anything, and which of them a program event moves."""
    pool.holds, pool.lost_now, pool.out_now = None, {}, {}
    pool.by_program = tracking.moved_by_program(state, pool.rows, now_ns)
    if pool.obligation is not None:
        side = float(np.sign(pool.obligation.power_w))
        pool.holds = tracking.Holds.of(state, pool.rows, pool.share_w, now_ns)
        pool.lost_now = _lost_w(state, pool, side, now_ns)
        mine = pool.rows, pool.eligible
        pool.out_now = with_timers(state, *mine, side, LOST_H, pool.lost_now, now_ns)
        pool.made_up = made_up(pool.made_up, pool.out_now, state.is_killed or abs(pool.short_w) > 1.0)
    else:
        pool.made_up = {}


def note_made_up(state: DeskState, pool: PoolDesk, now_ns: int) -> None:
    """Note at a start what others had made up for before: what those take that nobody calls, if all that is owed is
    shared out among those that are."""
    debt = owed(state, pool.pool, now_ns)
    if debt is None or abs(float(pool.share_w.sum())) < (1.0 - MADE_UP_FRAC) * abs(debt.power_w):
        return
    uncalled = pool.eligible & (np.abs(pool.share_w) <= 1.0)
    side = float(np.sign(debt.power_w))
    pool.made_up = redispatch.lost_headroom(state, pool.rows, uncalled, side, LOST_H, now_ns)


def _lost_w(state: DeskState, pool: PoolDesk, side: float, now_ns: int) -> redispatch.LostW:
    """Return what took headroom away from a pool (W, by cause), beside what the kill switch keeps of its shares."""
    lost_w = redispatch.lost_headroom(state, pool.rows, pool.eligible, side, LOST_H, now_ns)
    if redispatch.BY_KILL in lost_w:
        shared_w = float(np.abs(pool.share_w).sum())
        lost_w[redispatch.BY_KILL] = max(lost_w[redispatch.BY_KILL] - shared_w, 0.0)
    return lost_w


async def _close(desk: Desk, pool: PoolDesk, tally: tracking.Tally, now_ns: int) -> None:
    if not tally.is_owed:
        return
    tally.note(tally.end_ns, tally.end_ns)
    asked_w, _, share_w, row_w = tally.means()
    uncalled_w = float(row_w[np.abs(share_w) <= 1.0].sum())
    delivered_w = float(row_w.sum())
    why, withheld = _why(desk.state, pool, tally, delivered_w, now_ns)
    if pool.obligation is not None:
        error_w = tally.taught_ws / max(tally.seconds, 1e-9)
        most_w = TRIM_MOST * abs(pool.obligation.power_w)
        pool.trim_w = float(np.clip(pool.trim_w + TRIM_GAIN * error_w, -most_w, most_w))
        pool.learnt = learnt(pool.trim_w, share_w, row_w, pool.obligation.power_w)
    gave = row_w != 0.0  # however little: what rows gave adds up to what the pool delivered
    fact = IntervalTracked(
        pool.pool, tally.start_ns, tally.end_ns, asked_w, delivered_w, why, Packed.of(pool.rows[gave]),
        Packed.of(row_w[gave]), tally.samples, withheld, uncalled_w, tuple(tally.gaps),
    )  # fmt: skip
    causes = tuple(
        dict.fromkeys(c for c in (tally.because, *pool.causes[-40:], *_command_causes(desk.state, now_ns)) if c)
    )
    await desk.commit([Entry(derive("interval", pool.pool, tally.start_ns), fact, pool.pool, causes)])


def _why(
    state: DeskState, pool: PoolDesk, tally: tracking.Tally, delivered_w: float, now_ns: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the causes of what lacks of the asked, and of what was asked below the award (W each)."""
    asked_w, awarded_w, share_w, row_w = tally.means()
    side = float(np.sign(asked_w or awarded_w))
    lacking_w, below_w = side * (asked_w - delivered_w), side * (awarded_w - asked_w)
    # As the interval's last beat noted it: of one that its authority renews as it ends nothing is to be found then.
    then_ns = min(now_ns, tally.end_ns - 1)
    lost_w = pool.lost_now or _lost_w(state, pool, side, then_ns)
    # What is paid back was taken off what was declared; of a lack it is counted by rows.
    whole_w = {**lost_w, tracking.REBOUND: abs(pool.back_w)}
    # Of an award's first interval the intervals before tell nothing: none was counted, or long ago.
    adjoins = pool.lost_until_ns == tally.start_ns
    before = (pool.lost, pool.passed) if adjoins else ((whole_w,), (tally.lost_w,))
    pool.lost = (*(pool.lost[-1:] if adjoins else ()), whole_w)
    pool.passed = (*(pool.passed[-1:] if adjoins else ()), tally.lost_w)
    pool.lost_until_ns = tally.end_ns
    if max(lacking_w, below_w) <= 1.0:
        return {}, {}
    # What the ISO took back because we re-declared is put to the losses of then (it instructs up to ten minutes
    # after we told it), not to what came once it had instructed; the lack takes what is left of those of now.
    told_w, passed_w = (most_w(reversed(losses)) for losses in before)
    # What the ISO left to us of an award because we declared no more is ours, not an instruction of its own.
    by_us_w = min(below_w, tally.ours_ws / max(tally.seconds, 1e-9))
    withheld = _withheld(by_us_w, told_w, passed_w) if by_us_w > 1.0 else {}
    if below_w - by_us_w > 1.0:  # no more is ours than was declared less, whoever was out meanwhile
        withheld[tracking.BY_ISO] = below_w - by_us_w
    left_w = {cause: max(watts - withheld.get(cause, 0.0), 0.0) for cause, watts in lost_w.items()}
    why = {}
    if lacking_w > 1.0:
        holds = pool.holds or tracking.Holds.of(state, pool.rows, share_w, then_ns)
        why = tally.lack_by_cause(lacking_w) or tracking.causes(
            state, pool.rows, share_w, row_w, lacking_w, left_w, side, holds
        )
    return why, withheld


def _withheld(ours_w: float, told_w: redispatch.LostW, passed_w: redispatch.LostW) -> dict[str, float]:
    """Return what was taken back for what we declared (W, by cause): put to what was lost at the intervals' ends, and
    only what that leaves to what came and went within them, as the ISO was told of it, too.
    """
    found = fill(ours_w, told_w, tracking.UNAVAILABLE)
    left_w = found.pop(tracking.UNAVAILABLE, 0.0)
    more_w = {cause: watts - found.get(cause, 0.0) for cause, watts in passed_w.items()}
    for cause, watts in fill(left_w, more_w, tracking.UNAVAILABLE).items():
        found[cause] = found.get(cause, 0.0) + watts
    return found


def _command_causes(state: DeskState, now_ns: int) -> list[str]:
    """Return the batches of commands that are in force on any row, newest last."""
    columns = state.commands
    live = np.unique(columns.batch[columns.valid_until_ns > now_ns])
    return [state.command_batches[int(b)] for b in live[-40:] if b >= 0]


def note_misses(state: DeskState, pool: PoolDesk, now_ns: int) -> None:
    """Leave out for a while the rows that were asked, had time, and did not move; the next split re-allocates.

    Whose command was lost, though it reports, could not obey it: it may be called again a minute later. Where the next
    is lost as well it is left out for twice as long, up to `LOST_MOST_NS`, or a pool would count on it for ever.
    """
    rows = pool.rows[judge(state, pool.rows, pool.share_w, now_ns)]
    since_ns, until_ns = state.responses.missed_ns[rows], state.missed_until_ns[rows]
    begins, is_again = until_ns <= now_ns, (since_ns > 0) & (until_ns > now_ns - MISS_FOR_NS)
    lost_ns = np.where(is_again, np.clip(2 * (until_ns - since_ns), LOST_FOR_NS, LOST_MOST_NS), LOST_FOR_NS)
    state.responses.missed_ns[rows[begins]] = now_ns
    state.missed_until_ns[rows] = now_ns + np.where(unheard(state, rows), lost_ns, MISS_FOR_NS)
