"""Which backup engines a program event may call: those that a rule names, within their permit's hours; no other.

Deny by default: without a rule that allows exactly this engine, place, program, event and order, or without a permit of
its own, an engine is not called. Rules are asked for every engine by itself, as an event is composed, approved and
begins, and at each beat while it runs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.contract.eligibility import DENIED, Case, EventKind, Verdict, judge
from tieline.contract.engine_hours import Run, Use
from tieline.contract.engine_permit import order_over
from tieline.contract.program import Emergency
from tieline.desk.engine_facts import EngineStarted, EngineStopped
from tieline.desk.engine_runs import RUNS_FRAC, Running
from tieline.desk.entry import Entry
from tieline.desk.event_stack import SOURCE
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE, among
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
IS_ENGINE = among((KIND_CODE[Kind.BACKUP_GENERATOR],))
MOST_TOLD = 1_000
RULES = "demand_response"
"""By which program's rules events call that no known program has."""


@lru_cache(maxsize=4_096)
def _verdict(case: Case) -> Verdict:
    return judge(case)


def kind_of(state: DeskState, event: ProgramEvent) -> tuple[EventKind, str]:
    """Return of which kind an event is, and as which program the rules know it.

    An event of a program of the type `emergency` is an emergency; any other is the market's.
    """
    program = None if state.agreed is None else state.agreed.program_at(event.program, event.start_ns)
    kind: EventKind = "emergency" if isinstance(program, Emergency) else "market"
    return kind, RULES if program is None else program.eligibility


def use_of(state: DeskState, event: ProgramEvent) -> Use:
    """Return for what an engine runs that an event calls."""
    return Use.EMERGENCY if kind_of(state, event)[0] == "emergency" else Use.DEMAND_RESPONSE


def engine_refusal(state: DeskState, event: ProgramEvent, row: int, now_ns: int) -> Refusal | None:
    """Return why an event may not call an engine from now on, or None: a rule names it and its hours bear the call."""
    engines = state.engines
    if engines is None:
        return DENIED.refusal(Case(Kind.BACKUP_GENERATOR, "unknown", "", event.program))
    kind, program = kind_of(state, event)
    where, location = engines.place(row)
    order = order_over(engines.orders, where, event.start_ns, event.end_ns)
    case = Case(Kind.BACKUP_GENERATOR.value, engines.fuel[row], where, program, location, kind, order)
    verdict = _verdict(case)
    if (why := verdict.refusal(case)) is not None:
        return why
    rule, name = f"{verdict.rule} {verdict.version}", engines.names[row]
    if engines.permit(row) is None:
        return Refusal(
            "no permit of this engine is given", "permits", name, f"its air permit: {verdict.says}", rule=rule
        )
    meter = engines.meter(state.engine_runs, now_ns)
    run = Run(name, max(event.start_ns, now_ns), max(event.end_ns, now_ns + 1), use_of(state, event))
    return next((why for one in engines.rules(row) if (why := meter.under(one).refusal(run)) is not None), None)


def named_engines(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` are engines that a rule lets an event call; shape as `rows`."""
    named = np.zeros(len(rows), np.bool_)
    for at in np.flatnonzero(IS_ENGINE[state.fleet.kinds[rows]]).tolist():
        named[at] = engine_refusal(state, event, int(rows[at]), now_ns) is None
    return named


def runs_on(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` an event may go on to call: engines while a rule names them and hours are left."""
    mask = np.ones(len(rows), np.bool_)
    ahead = structs.replace(event, end_ns=min(event.end_ns, now_ns + 1))
    for at in np.flatnonzero(IS_ENGINE[state.fleet.kinds[rows]]).tolist():
        mask[at] = engine_refusal(state, ahead, int(rows[at]), now_ns) is None
    return mask


def rules_let(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` the rules of eligibility let an event call; shape as `rows`."""
    is_engine = IS_ENGINE[state.fleet.kinds[rows]]
    mask: Mask = state.may_serve(RULES, rows) & ~is_engine
    return mask | named_engines(state, event, rows, now_ns) if is_engine.any() else mask


def engines_left_out(state: DeskState, event: ProgramEvent, now_ns: int) -> dict[str, str]:
    """Return why each engine of an event's group may not be called by it, by which rule."""
    if state.engines is None:
        return {}
    rows, told = state.fleet.leaves(event.group), dict[str, str]()
    for row in rows[IS_ENGINE[state.fleet.kinds[rows]]][:MOST_TOLD].tolist():
        why = engine_refusal(state, event, row, now_ns)
        if why is not None:
            told[state.engines.names[row]] = f"{why.reason} ({why.rule}: {why.limit})"
    return told


def decide_runs(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the facts of what engines began and ended to run by their readings (`engine_runs`)."""
    engines, fleet = state.engines, state.fleet
    if engines is None or not len(engines.rows):
        return []
    rows = engines.rows
    power_w, taken_ns = fleet.known_power_w(rows), fleet.taken_at_ns[rows]
    is_fit = np.isfinite(power_w) & ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & (taken_ns > 0)
    runs = power_w > np.maximum(RUNS_FRAC * fleet.max_inject_w[rows], 1.0)
    was = np.array([engines.names[int(row)] in state.engine_runs.open for row in rows], np.bool_)
    entries = []
    for at in np.flatnonzero(is_fit & (runs | was)).tolist():
        name, row, at_ns = engines.names[int(rows[at])], int(rows[at]), min(int(taken_ns[at]), now_ns)
        before = state.engine_runs.open.get(name)
        after = _called_for(state, row, before, now_ns) if runs[at] else None
        if before is not None and after is not None and (before.use, before.event) == (after.use, after.event):
            continue
        if before is not None:
            at_ns = max(at_ns, before.start_ns)
            entries.append(Entry(derive("engine-stopped", name, at_ns), EngineStopped(name, at_ns), name))
        if after is not None:
            fact = EngineStarted(name, at_ns, after.use.value, after.event)
            entries.append(Entry(derive("engine-started", name, at_ns, after.use.value, after.event), fact, name))
    return entries


def _called_for(state: DeskState, row: int, before: Running | None, now_ns: int) -> Running:
    """Return for what an engine that gives power runs now; let go it runs on for what it was called for."""
    (winner,) = state.claims.arbitrate(now_ns, np.array([row], np.int32)).winner.tolist()
    for batch, alive in state.claims.batches():
        if batch.source == SOURCE and row in batch.rows[alive] and (event := state.events.get(batch.program)):
            return Running(now_ns, use_of(state, event), event.id)
    if winner >= 0:
        (level,) = state.claims.level_of(np.array([winner])).tolist()
        if level < Level.UTILITY and level != Level.OWNER_NEED:
            return Running(now_ns, Use.EMERGENCY)
        if Level.UTILITY <= level < Level.LOCAL:
            return Running(now_ns, Use.DEMAND_RESPONSE)
    return Running(now_ns, Use.NON_EMERGENCY) if before is None else before
