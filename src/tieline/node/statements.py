"""Statements of a pool's day: meters against baselines, what was settled before, and the record of what is new.

The demonstration and a server settle by these alike; they differ in where their meters are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import EventTracked, IntervalTracked, LineSettled, SettlementRefused, StatementMade, from_record
from tieline.desk.paid import Metered
from tieline.desk.ports import Award
from tieline.desk.settle import Former, Settlement, amend, entries_of, line_of
from tieline.flow.record import Records
from tieline.ids import derive
from tieline.market.baseline import Baseline, Event, compute
from tieline.market.calendar import holidays_around, on_the_clock_of
from tieline.market.rule import rule_in_force
from tieline.node.metering import PROHIBITED
from tieline.node.read_market import disputes
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal
from tieline.times import MINUTE_NS, floor_ns, market_day

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
STEP_NS = 5 * MINUTE_NS
PER_HOUR = 12


def tracked_in(journal: Records, pool: str, since_ns: int = 0) -> dict[int, IntervalTracked]:
    """Return what a journal says was tracked of a pool since an instant, by interval start."""
    found: dict[int, IntervalTracked] = {}
    for record in journal.of_kind("IntervalTracked", since_ns):
        fact = from_record(record)
        if isinstance(fact, IntervalTracked) and fact.pool == pool:
            found[fact.start_ns] = fact
    return found


def moved_of_rows(journal: Records, start_ns: int, end_ns: int) -> dict[int, tuple[Rows, Floats]]:
    """Return what program events moved of which rows over an interval, by the start of each step (W, a mean).

    Below 0 they had a row take. A row stands once for each record of an event.
    """
    found: dict[int, list[tuple[Rows, Floats]]] = {}
    for record in journal.of_kind("EventTracked", start_ns):
        fact = from_record(record)
        if not isinstance(fact, EventTracked) or fact.rows is None or fact.row_w is None:
            continue
        at_ns = floor_ns(fact.start_ns, STEP_NS)
        if start_ns <= at_ns < end_ns:
            gave_w = fact.row_w.array() * ((fact.end_ns - fact.start_ns) / STEP_NS)
            found.setdefault(at_ns, []).append((fact.rows.array(), gave_w))
    return {
        at_ns: (np.concatenate([rows for rows, _ in each]), np.concatenate([watts for _, watts in each]))
        for at_ns, each in found.items()
    }


def moved_by_events(journal: Records, rows: Rows, start_ns: int, end_ns: int) -> dict[int, float]:
    """Return what program events moved of some rows over an interval, by the start of each step (W, a mean, 0 or more).

    It is the events' and paid there: the meters of a pool show it all the same. What they had devices take is no part.
    """
    of = moved_of_rows(journal, start_ns, end_ns)
    found = {at_ns: float(watts[np.isin(moved, rows)].sum()) for at_ns, (moved, watts) in of.items()}
    return {at_ns: watts for at_ns, watts in found.items() if watts > 0.0}


def event_of(day: date, zone: ZoneInfo, awards: Sequence[Award]) -> Event:
    """Return when a market day's awards called its pool: from the first to the last of them."""
    begin_ns = market_day(day, zone).start_ns
    first_ns, last_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    return Event(day, (first_ns - begin_ns) // STEP_NS, (last_ns - begin_ns) // STEP_NS, PER_HOUR)


def measured_day(
    day: date,
    zone: ZoneInfo,
    awards: Sequence[Award],
    starts: NDArray[np.int64],
    seen_w: Floats,
    rules: Mapping[int, str],
    called: frozenset[date],
    rt_price: Mapping[int, float],
    by_events: Mapping[int, float] | None = None,
) -> Metered:
    """Return what meters say of a day's called hours, each against its baseline from the days before.

    Args:
        day: The market day.
        zone: Whose day.
        awards: What was awarded on it.
        starts: Start of each metered interval, those of the day and of the days before; shape (n,).
        seen_w: Mean of each of the three meters (W; NaN: not known); shape (n, 3).
        rules: Which baseline rule holds for which meter, by its version in force on the day or `RULE@VERSION`; a meter
            that is left out has no devices.
        called: All days with awards: none of them stands for another.
        rt_price: Real-time price of each interval ($/MWh).
        by_events: What program events moved of the same devices (W, by interval); see `moved_by_events`.

    Raises:
        ConfigError: No version of a rule is in force on the day, or a pinned one is unknown.
        ValueError: Too few like days are metered for a rule.
    """
    first_ns, over, event = min(a.start_ns for a in awards), market_day(day, zone), event_of(day, zone, awards)
    # A baseline looks back: what came later must not make another statement of the same day.
    known, before = starts < over.end_ns, frozenset(each for each in called if each < day)
    starts, seen_w = starts[known], seen_w[known]
    bases: list[Baseline] = []
    for meter, rule in rules.items():
        kwh = on_the_clock_of(day, zone, starts, seen_w[:, meter] / PER_HOUR / 1e3)
        bases.append(
            compute(rule_in_force(rule, day).rule, kwh, event, event_days=before, holidays=holidays_around(day))
        )
    # A part without meter data is 0 already; where all parts lack it the interval itself is missing.
    gained_w = sum(base.performance for base in bases) * PER_HOUR * 1e3
    lost = np.logical_and.reduce([base.missing for base in bases])
    gained_w = np.where(lost, np.nan, gained_w)
    performance = {first_ns + k * STEP_NS: float(gained_w[k]) for k in range(len(gained_w))}
    ran = dict(zip(starts.tolist(), seen_w[:, PROHIBITED].tolist(), strict=True))
    ran_w = {start_ns: ran[start_ns] for start_ns in performance if np.isfinite(ran.get(start_ns, np.nan))}
    return Metered(performance, rt_price, tuple(bases), ran_w, dict(by_events or {}))


def _statements_of(journal: Records, pool: str, start_ns: int, end_ns: int) -> list[StatementMade]:
    """Return the statements that a journal has of a pool's hours, by their versions."""
    facts = map(from_record, journal.of_kind("StatementMade"))
    hours = (pool, start_ns, end_ns)
    mine = [
        fact for fact in facts if isinstance(fact, StatementMade) and (fact.pool, fact.start_ns, fact.end_ns) == hours
    ]
    return sorted(mine, key=lambda fact: fact.version)


def as_settled_before(
    journal: Records, pool: str, start_ns: int, end_ns: int, rules: Mapping[int, str]
) -> dict[int, str]:
    """Return rules by meter, each pinned to the version that the hours were settled by before, where they were.

    A version that came into force or was pinned since changes nothing that is settled; another rule does.
    """
    made = _statements_of(journal, pool, start_ns, end_ns)
    if not made:
        return dict(rules)
    kept = {str(base["rule"]): str(base["version"]) for base in made[-1].body.get("baselines", ())}
    names = {meter: rule.partition("@")[0] for meter, rule in rules.items()}
    return {meter: f"{name}@{kept[name]}" if name in kept else rules[meter] for meter, name in names.items()}


def former_of(journal: Records, pool: str, start_ns: int, end_ns: int) -> Former | None:
    """Return what the journal says was settled of a pool's hours before, or None."""
    made = _statements_of(journal, pool, start_ns, end_ns)
    if not made:
        return None
    newest, ids = made[-1], {fact.statement for fact in made}
    lines = []
    for record in journal.of_kind("LineSettled"):
        fact = from_record(record)
        if isinstance(fact, LineSettled) and fact.statement in ids:
            lines.append(line_of(fact, record.caused_by))
    return Former(newest.statement, newest.version, str(newest.body["input_hash"]), tuple(lines))


async def record_statement(node: Node, pool: str, made: Settlement, awards: Sequence[Award]) -> Settlement:
    """Record a statement: the first of its hours, or a new version where anything changed since the last."""
    start_ns, end_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    before = former_of(node.journal, pool, start_ns, end_ns)
    if before is not None:
        later = amend(before, made)
        if later is None:
            return made
        made = later
    names = {int(row): node.state.fleet.id_of(int(row)) for row in np.flatnonzero(made.row_milli_wh)}
    await node.desk.commit(entries_of(pool, made, awards, names, disputes(node.state, awards)))
    return made


async def record_refusal(node: Node, pool: str, start_ns: int, end_ns: int, refusal: Refusal) -> None:
    """Record once that hours can't be settled yet, and why."""
    name = derive("unsettled", pool, start_ns, end_ns, str(refusal))
    await node.desk.commit([Entry(name, SettlementRefused(pool, start_ns, end_ns, refusal), pool)])
