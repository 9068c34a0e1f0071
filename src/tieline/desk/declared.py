"""Which declaration an instruction followed: what it asks below the award is ours only as far as we said so.

A declaration speaks for the awards that run as it is made, or begin next, and for no later ones: what a pool could give
in another evening's hour is no word about this one. Until it is declared for, an award stands as it is.
"""

from __future__ import annotations

import math

from tieline.desk.facts import AwardTaken, BatchTaken
from tieline.desk.obligation import DISPATCH_STEP_NS, Obligation, awards_at
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.times import floor_ns

DECLARES_W, DECLARES_FRAC = 1_000.0, 0.1
"""The market is told anew once what it was told is untrue by so much, and this share of what is sold."""
Told = tuple[float, float]


def note(state: DeskState, record_id: str, fact: AwardTaken | BatchTaken, at_ns: int) -> None:
    """Note when an award was taken, or when the market sent a batch, by the record."""
    if isinstance(fact, BatchTaken):
        state.market_ns.setdefault(record_id, min(fact.batch.sent_ns, at_ns))
    elif fact.refusal is None:
        state.market_ns.setdefault(derive("award", fact.award.id), at_ns)


def speaks_from_ns(state: DeskState, pool: str, at_ns: int) -> int:
    """Return from when on a declaration speaks for the awards of an instant (ns): since they were taken, and since the
    awards before them, with a gap between, were over; 0 where there are none."""
    awards, start_ns = awards_at(state, pool, at_ns), at_ns
    if not awards:
        return 0
    while before := awards_at(state, pool, start_ns - 1):
        start_ns = min(award.start_ns for award in before)
    ends_ns = [each.end_ns for each in state.awards.values() if each.pool == pool and each.end_ns < start_ns]
    taken_ns = min(state.market_ns.get(derive("award", award.id), 0) for award in awards)
    return max(taken_ns, *ends_ns, 0)


def is_spoken_for(state: DeskState, pool: str, now_ns: int) -> bool:
    """Whether the newest declaration speaks for the awards that run, or begin next; also where there are none."""
    mine = [award for award in state.awards.values() if award.pool == pool and award.end_ns > now_ns]
    said = state.declared.get(pool, ())
    if not mine or not said:
        return not mine
    return said[-1][0] >= speaks_from_ns(state, pool, max(min(award.start_ns for award in mine), now_ns))


def is_untrue(state: DeskState, pool: str, can_w: Told, sold_w: Told, now_ns: int) -> bool:
    """Whether what the market counts on differs from what a pool can give by so much that it is to be told.

    It counts on the last it was told; where that was of other awards, also on the whole of those that come next.

    Args:
        state: Holds what was declared.
        pool: Whose.
        can_w: What it can give up and down now (W).
        sold_w: The most that it owes up and down within a day (W).
        now_ns: Now.
    """
    said = state.declared.get(pool, ())
    counts_on = [said[-1][1]] if said else [sold_w]
    if not is_spoken_for(state, pool, now_ns):
        counts_on.append(sold_w)
    return any(
        abs(min(now, sold) - min(was, sold)) > max(DECLARES_W, DECLARES_FRAC * sold)
        for each in counts_on
        for now, was, sold in zip(can_w, each, sold_w, strict=True)
    )


def said_w(state: DeskState, pool: str, side: int, called_ns: int, at_ns: int) -> float:
    """Return the newest that the market was told of a side (0: up, 1: down) for the awards of an instant as it called
    (W); inf: nothing, so that the award itself stands."""
    from_ns = speaks_from_ns(state, pool, at_ns)
    told = [told[side] for when, told in state.declared.get(pool, ()) if from_ns <= when <= called_ns]
    return told[-1] if told else math.inf


def ours_w(state: DeskState, debt: Obligation | None, awarded_w: float, at_ns: int) -> float:
    """Return what of an instruction below the award follows from what we declared (W, 0 or more).

    No more than we declared less; what the market called below that is its own instruction.

    Args:
        state: Holds what was declared, and when each batch was sent.
        debt: What is owed at the instant; None: nothing, and nobody said so.
        awarded_w: All that is awarded then (W).
        at_ns: The instant.
    """
    if debt is None or not debt.is_instructed:
        return 0.0
    side = math.copysign(1.0, awarded_w)
    below_w = side * (awarded_w - debt.power_w)
    if below_w <= 0.0:
        return 0.0
    called_ns = state.market_ns.get(debt.because, max(debt.start_ns, floor_ns(at_ns, DISPATCH_STEP_NS)))
    told_w = said_w(state, debt.pool, 0 if side >= 0.0 else 1, called_ns, at_ns)
    return min(below_w, max(abs(awarded_w) - told_w, 0.0))
