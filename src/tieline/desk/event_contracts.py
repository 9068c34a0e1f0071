"""Whom rules and contracts keep from a program event: no consent or notice, or their calls and hours are spent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.contract.budget import Call
from tieline.desk.agreed import DEMAND_RESPONSE, first_of
from tieline.desk.consents import made_before
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState
from tieline.resource.claim import Refusal

RULES = DEMAND_RESPONSE[0]
"""By which program's rules of eligibility events call."""
Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]


def products_of_event(event: ProgramEvent) -> tuple[str, ...]:
    """Return under which products of a contract an event calls: its program's own name, or demand response."""
    return (event.program, *DEMAND_RESPONSE)


def barred_rows(state: DeskState, event: ProgramEvent, now_ns: int) -> tuple[Mask | None, dict[str, Refusal]]:
    """Return which devices of an event's group it may not call, and why each contract bars them; None: there are none.

    Its notice counts from when it was approved; while it is not, from now.
    """
    if state.agreed is None:
        return None, {}
    known = state.called.get(event.id)
    known_ns = now_ns if known is None else known.known_ns
    rows, call = state.fleet.leaves(event.group), Call(event.start_ns, event.end_ns)
    state.agreed.tick(now_ns)
    return state.agreed.call_refusals(event.program, call, made_before(state, event.id), known_ns, rows)


def refusal_of_all(state: DeskState, event: ProgramEvent, now_ns: int) -> Refusal | None:
    """Return why rules or contracts let an event call nobody of its group; None where they let it call somebody."""
    enrolled, rows = state.enrolments.get(RULES), state.fleet.leaves(event.group)
    if enrolled is not None and len(rows) and not enrolled.may_serve[rows].any():
        return enrolled.refusal(int(rows[0]))
    barred, refused = barred_rows(state, event, now_ns)
    if barred is None or not len(barred) or not barred.all():
        return None
    return first_of(refused) or Refusal(
        "no device of it has a contract", "group", event.group, "a device under contract", rule="contracts.without"
    )


def refusal_of_longer(state: DeskState, longer: ProgramEvent, rows: Rows, now_ns: int) -> Refusal | None:
    """Return why an event can't last longer for some device that it has called: its contract doesn't bear it."""
    barred, refused = barred_rows(state, longer, now_ns)
    if barred is None or not barred[np.isin(state.fleet.leaves(longer.group), rows)].any():
        return None
    return first_of(refused)


def dropped(state: DeskState, event: ProgramEvent, rows: Rows) -> Mask:
    """Return which devices that an event has called no contract agrees to any more; shape as `rows`.

    One that is wholly out stays the event's, as everybody who opts out: a gate bars it.
    """
    mask: Mask = ~state.opted_out[rows] & ~state.agrees(products_of_event(event), rows)
    return mask
