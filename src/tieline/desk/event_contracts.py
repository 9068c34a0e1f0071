"""Whom rules, enrolments and contracts keep from a program event: not enrolled in it, of a kind that it doesn't take,
no consent or notice, or their calls and hours are spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.contract.budget import Call
from tieline.desk.agreed import DEMAND_RESPONSE, first_of
from tieline.desk.consents import made_before
from tieline.desk.engine_calls import IS_ENGINE, RULES, engine_refusal, rules_let, runs_on
from tieline.desk.enrolled_calls import serves_now
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE, KINDS, among
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind

Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]
MOST_LEFT_OUT = 1_000
"""So many devices that are left out are told with their reasons."""


def products_of_event(event: ProgramEvent) -> tuple[str, ...]:
    """Return under which products of a contract an event calls: its program's own name, or demand response."""
    return (event.program, *DEMAND_RESPONSE)


@dataclass(frozen=True, slots=True, eq=False)
class Barred:
    """Whom an event may not call of its group's rows, by what; shape (n,) each.

    `unenrolled` are those of whom no enrolment in its program runs through the call, `unfit` those of a kind that it
    doesn't take, `unagreed` the others that their contracts bar; `refused` says of each such contract why.
    """

    rows: Rows
    unenrolled: Mask
    unfit: Mask
    unagreed: Mask
    refused: Mapping[str, Refusal]

    @property
    def any(self) -> Mask:
        """Which are barred by any of them."""
        mask: Mask = self.unenrolled | self.unfit | self.unagreed
        return mask


def barred_by(state: DeskState, event: ProgramEvent, now_ns: int) -> Barred | None:
    """Return whom of an event's group it may not call, and by what; None: neither contracts nor enrolments are asked.

    Its notice counts from when it was approved; while it is not, from now.
    """
    if state.agreed is None and state.enrolled is None:
        return None
    rows = state.fleet.leaves(event.group)
    unenrolled, unfit, unagreed = (np.zeros(len(rows), np.bool_) for _ in range(3))
    refused: Mapping[str, Refusal] = {}
    if state.enrolled is not None:
        start_ns, end_ns = event.start_ns, max(event.end_ns, event.start_ns + 1)
        unenrolled = ~state.enrolled.serves(event.program, start_ns, end_ns, now_ns)[rows]
    if state.agreed is not None:
        state.agreed.tick(now_ns)
        if (program := state.agreed.program_at(event.program, event.start_ns)) is not None:
            unfit = ~among(KIND_CODE[Kind(kind)] for kind in program.kinds)[state.fleet.kinds[rows]] & ~unenrolled
        known = state.called.get(event.id)
        known_ns, call = now_ns if known is None else known.known_ns, Call(event.start_ns, event.end_ns)
        made = made_before(state, event.id)
        unagreed, refused = state.agreed.call_refusals(event.program, call, made, known_ns, rows)
        unagreed = unagreed & ~unenrolled & ~unfit
    return Barred(rows, unenrolled, unfit, unagreed, refused)


def barred_rows(state: DeskState, event: ProgramEvent, now_ns: int) -> tuple[Mask | None, Mapping[str, Refusal]]:
    """Return which devices of an event's group it may not call, and why each contract bars them; None: there are none.

    See `barred_by`.
    """
    found = barred_by(state, event, now_ns)
    return (None, {}) if found is None else (found.any, found.refused)


def left_out(state: DeskState, event: ProgramEvent, barred: Barred, now_ns: int) -> Iterator[tuple[str, Refusal]]:
    """Yield each device that enrolments or its kind keep from an event, with the reason; of the first thousand."""
    if state.enrolled is not None:
        rows = barred.rows[barred.unenrolled][:MOST_LEFT_OUT]
        whys = state.enrolled.refusals(event.program, rows, event.start_ns, event.end_ns, now_ns)
        yield from zip(map(state.fleet.id_of, rows.tolist()), whys, strict=True)
    program = None if state.agreed is None else state.agreed.program_at(event.program, event.start_ns)
    if program is not None:
        for row in barred.rows[barred.unfit][:MOST_LEFT_OUT].tolist():
            kind = KINDS[state.fleet.kinds[row]].value
            reason = f"{program.id} takes no {kind}"
            why = Refusal(reason, "kind", kind, ", ".join(program.kinds), rule=f"{program.id} {program.version}")
            yield state.fleet.id_of(row), why


def refusal_of_most(state: DeskState, event: ProgramEvent, barred: Barred, now_ns: int) -> Refusal | None:
    """Return the refusal that bars most, as one of them words it; None: nobody is barred, or for lack of a contract."""
    return first_of({**barred.refused, **dict(left_out(state, event, barred, now_ns))})


def refusal_of_all(state: DeskState, event: ProgramEvent, now_ns: int) -> Refusal | None:
    """Return why rules, enrolments or contracts let an event call nobody of its group; None: they let it call some."""
    eligible, rows = state.enrolments.get(RULES), state.fleet.leaves(event.group)
    if eligible is not None and len(rows) and not rules_let(state, event, rows, now_ns).any():
        row = int(rows[0])
        is_engine = bool(IS_ENGINE[state.fleet.kinds[row]])
        why = engine_refusal(state, event, row, now_ns) if is_engine and state.engines is not None else None
        return why or eligible.refusal(row)
    barred = barred_by(state, event, now_ns)
    if barred is None or not len(rows) or not barred.any.all():
        return None
    return refusal_of_most(state, event, barred, now_ns) or Refusal(
        "no device of it has a contract", "group", event.group, "a device under contract", rule="contracts.without"
    )


def refusal_of_longer(state: DeskState, longer: ProgramEvent, rows: Rows, now_ns: int) -> Refusal | None:
    """Return why an event can't last longer for some device that it has called: its contract doesn't bear it."""
    for row in rows[IS_ENGINE[state.fleet.kinds[rows]]].tolist():
        if (why := engine_refusal(state, longer, row, now_ns)) is not None:
            return why
    barred = barred_by(state, longer, now_ns)
    if barred is None or not (its := barred.any & np.isin(barred.rows, rows)).any():
        return None
    mine = replace(barred, unenrolled=barred.unenrolled & its, unfit=barred.unfit & its)
    return refusal_of_most(state, longer, mine, now_ns)


def dropped(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which devices that an event has called no contract or enrolment bears any more; shape as `rows`.

    One that is wholly out stays the event's, as everybody who opts out: a gate bars it.
    """
    mask: Mask = ~state.opted_out[rows] & ~may_serve_on(state, event, rows, now_ns)
    return mask


def may_serve_on(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` an event may go on to call: contracts agree, and they are enrolled; shape as `rows`."""
    mask: Mask = state.agrees(products_of_event(event), rows) & serves_now(state, event.program, rows, now_ns)
    return mask & runs_on(state, event, rows, now_ns)
