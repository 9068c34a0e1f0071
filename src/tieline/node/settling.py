"""Settles a staged day: metered history to baselines, tracked intervals to lines, delivered energy to owner shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked, LineSettled, SettlementRefused, StatementMade, from_record
from tieline.desk.ports import Award
from tieline.desk.settle import Former, Metered, Owners, Settlement, amend, entries_of, line_of, settle_day
from tieline.flow.record import Records
from tieline.ids import derive
from tieline.market.baseline import Baseline, Event, compute
from tieline.market.calendar import holidays_around, on_the_clock_of
from tieline.market.rule import baseline_rule
from tieline.node.metering import GENERATOR, LOAD, PROHIBITED
from tieline.node.stage import POOL, Stage
from tieline.resource.claim import Refusal
from tieline.simulate.iso.prices import ZONE
from tieline.times import MINUTE_NS, from_ns, iso, market_day

Floats = NDArray[np.float64]
STEP_NS = 5 * MINUTE_NS
PER_HOUR = 12
DAY_NOT_OVER = "the day is not over"
LOAD_RULE, GENERATOR_RULE = "caiso-10-in-10", "caiso-meter-generator-output"
OPERATOR_FRAC = Decimal("0.20")


def day_of(instant_ns: int) -> date:
    """Return the market day that an instant lies in."""
    return from_ns(instant_ns).astimezone(ZONE).date()


def tracked_of(stage: Stage) -> dict[int, IntervalTracked]:
    """Return what the journal says was tracked, by interval start."""
    found: dict[int, IntervalTracked] = {}
    for record in stage.node.journal.of_kind("IntervalTracked"):
        fact = from_record(record)
        if isinstance(fact, IntervalTracked):
            found[fact.start_ns] = fact
    return found


def metered_of(stage: Stage, day: date, awards: Sequence[Award]) -> Metered:
    """Return what the meters say of a day's called hours, each against its baseline from the days before.

    Raises:
        ValueError: Too few like days are metered for a rule.
    """
    keys = sorted(stage.metered)
    starts = np.concatenate([stage.history_starts, np.array(keys, np.int64)])
    seen_w = np.concatenate([stage.history, np.array([stage.metered[k] for k in keys]).reshape(-1, 3)])
    first_ns, last_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    begin_ns = market_day(day, ZONE).start_ns
    event = Event(day, (first_ns - begin_ns) // STEP_NS, (last_ns - begin_ns) // STEP_NS, PER_HOUR)
    called = frozenset(day_of(award.start_ns) for award in stage.node.state.awards.values())
    bases: list[Baseline] = []
    for meter, rule in ((LOAD, LOAD_RULE), (GENERATOR, GENERATOR_RULE)):
        kwh = on_the_clock_of(day, ZONE, starts, seen_w[:, meter] / PER_HOUR / 1e3)
        bases.append(compute(baseline_rule(rule), kwh, event, event_days=called - {day}, holidays=holidays_around(day)))
    # A part without meter data is 0 already; where all parts lack it the interval itself is missing.
    gained_w = sum(base.performance for base in bases) * PER_HOUR * 1e3
    lost = np.logical_and.reduce([base.missing for base in bases])
    gained_w = np.where(lost, np.nan, gained_w)
    performance = {first_ns + k * STEP_NS: float(gained_w[k]) for k in range(len(gained_w))}
    ran_w = {start_ns: float(stage.metered[start_ns][PROHIBITED]) for start_ns in performance if start_ns in keys}
    return Metered(performance, stage.iso.prices(day), tuple(bases), ran_w)


def owners_of(stage: Stage) -> Owners:
    """Return whose each device is: its site's owner."""
    count = len(stage.territory.feeder_of_site)
    return Owners(stage.territory.site_of, [f"site-{n:06d}" for n in range(count)], OPERATOR_FRAC)


def former_of(journal: Records, pool: str, start_ns: int, end_ns: int) -> Former | None:
    """Return what the journal says was settled of a pool's hours before, or None."""
    newest: StatementMade | None = None
    ids = set()
    for record in journal.of_kind("StatementMade"):
        fact = from_record(record)
        if isinstance(fact, StatementMade) and (fact.pool, fact.start_ns, fact.end_ns) == (pool, start_ns, end_ns):
            ids.add(fact.statement)
            newest = fact if newest is None or fact.version > newest.version else newest
    if newest is None:
        return None
    lines = []
    for record in journal.of_kind("LineSettled"):
        fact = from_record(record)
        if isinstance(fact, LineSettled) and fact.statement in ids:
            lines.append(line_of(fact, record.caused_by))
    return Former(newest.statement, newest.version, str(newest.body["input_hash"]), tuple(lines))


async def settle(stage: Stage, *, ends: bool = False) -> Settlement | Refusal | None:
    """Settle the stage's day and record the statement, or why it can't be settled; None where nothing was awarded.

    Where the story `ends` before the day does, the hours that are over are settled, as nobody will do it later. A day
    that was settled before gets a new version where anything changed since; where nothing did, nothing is recorded.
    """
    awards = [award for award in stage.node.state.awards.values() if day_of(award.start_ns) == stage.day]
    if not awards:
        return None
    now_ns = stage.node.clock.now_ns()
    over = [award for award in awards if award.end_ns <= now_ns]
    awards = over if ends and over else awards
    start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    if now_ns < end_ns:
        return await _refuse(stage, start_ns, end_ns, Refusal(DAY_NOT_OVER, "now", iso(now_ns), iso(end_ns)))
    try:
        made = settle_day(POOL, awards, tracked_of(stage), metered_of(stage, stage.day, awards), owners_of(stage))
    except ValueError as error:
        return await _refuse(stage, start_ns, end_ns, Refusal(str(error), "day", str(stage.day)))
    before = former_of(stage.node.journal, POOL, start_ns, end_ns)
    if before is not None:
        later = amend(before, made)
        if later is None:
            return made
        made = later
    await stage.node.desk.commit(entries_of(POOL, made, awards, _names(stage, made)))
    return made


def _names(stage: Stage, made: Settlement) -> Mapping[int, str]:
    return {int(row): stage.territory.fleet.id_of(int(row)) for row in np.flatnonzero(made.row_milli_wh)}


async def _refuse(stage: Stage, start_ns: int, end_ns: int, refusal: Refusal) -> Refusal:
    record = derive("unsettled", POOL, start_ns, end_ns, str(refusal))
    await stage.node.desk.commit([Entry(record, SettlementRefused(POOL, start_ns, end_ns, refusal), POOL)])
    return refusal
