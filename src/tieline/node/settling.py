"""Settles a staged day: metered history to baselines, tracked intervals to lines, delivered energy to owner shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import IntervalTracked
from tieline.desk.paid import Metered
from tieline.desk.ports import Award
from tieline.desk.settle import Owners, Settlement, settle_day
from tieline.node.metering import GENERATOR, LOAD
from tieline.node.stage import POOL, Stage
from tieline.node.statements import (
    as_settled_before,
    measured_day,
    moved_by_events,
    record_refusal,
    record_statement,
    tracked_in,
)
from tieline.resource.claim import Refusal
from tieline.simulate.iso.prices import ZONE
from tieline.times import from_ns, iso

Floats = NDArray[np.float64]
DAY_NOT_OVER = "the day is not over"
LOAD_RULE, GENERATOR_RULE = "caiso-10-in-10", "caiso-meter-generator-output"
OPERATOR_FRAC = Decimal("0.20")


def day_of(instant_ns: int) -> date:
    """Return the market day that an instant lies in."""
    return from_ns(instant_ns).astimezone(ZONE).date()


def tracked_of(stage: Stage) -> dict[int, IntervalTracked]:
    """Return what the journal says was tracked, by interval start."""
    return tracked_in(stage.node.journal, POOL)


async def metered_of(stage: Stage, day: date, awards: Sequence[Award]) -> Metered:
    """Return what the stage's meters say of a day's called hours (see `measured_day`)."""
    before, before_w = await stage.past_w()
    keys = sorted(stage.metered)
    starts = np.concatenate([before, np.array(keys, np.int64)])
    seen_w = np.concatenate([before_w, np.array([stage.metered[k] for k in keys]).reshape(-1, 3)])
    called = frozenset(day_of(award.start_ns) for award in stage.node.state.awards.values())
    rules = {LOAD: LOAD_RULE, GENERATOR: GENERATOR_RULE}
    first_ns, last_ns = min(award.start_ns for award in awards), max(award.end_ns for award in awards)
    by_events = moved_by_events(stage.node.journal, stage.node.cycle.pools[POOL].rows, first_ns, last_ns)
    rules = as_settled_before(stage.node.journal, POOL, first_ns, last_ns, rules)
    seen = measured_day(day, ZONE, awards, starts, seen_w, rules, called, stage.iso.prices(day), by_events)
    ran_w = {start_ns: watts for start_ns, watts in seen.prohibited_w.items() if start_ns in stage.metered}
    return replace(seen, prohibited_w=ran_w)


def owners_of(stage: Stage) -> Owners:
    """Return whose each device is: its site's owner."""
    count = len(stage.territory.feeder_of_site)
    return Owners(stage.territory.site_of, [f"site-{n:06d}" for n in range(count)], OPERATOR_FRAC)


async def settle(stage: Stage, day: date, *, ends: bool = False) -> Settlement | Refusal | None:
    """Settle a market day and record the statement, or why it can't be settled; None where nothing was awarded.

    Where the story `ends` before the day does, the hours that are over are settled, as nobody will do it later. A day
    that was settled before gets a new version where anything changed since; where nothing did, nothing is recorded.
    """
    awards = [award for award in stage.node.state.awards.values() if day_of(award.start_ns) == day]
    if not awards:
        return None
    now_ns = stage.node.clock.now_ns()
    over = [award for award in awards if award.end_ns <= now_ns]
    awards = over if ends and over else awards
    start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    if now_ns < end_ns:
        return await _refuse(stage, start_ns, end_ns, Refusal(DAY_NOT_OVER, "now", iso(now_ns), iso(end_ns)))
    # An interval is recorded once it is over: nothing of the day was before its first award began.
    tracked = tracked_in(stage.node.journal, POOL, start_ns)
    metered = await metered_of(stage, day, awards)
    try:
        made = settle_day(POOL, awards, tracked, metered, owners_of(stage))
    except ValueError as error:
        return await _refuse(stage, start_ns, end_ns, Refusal(str(error), "day", str(day)))
    return await record_statement(stage.node, POOL, made, awards)


async def _refuse(stage: Stage, start_ns: int, end_ns: int, refusal: Refusal) -> Refusal:
    await record_refusal(stage.node, POOL, start_ns, end_ns, refusal)
    return refusal
