"""Whom rules and contracts keep from a target that somebody sets by himself.

Engines that the rules bar: a backup generator runs for a calling grid operator only where its jurisdiction says so.

What a market or a program calls is left out by enrolment before it is shared out; here are the targets that a control
room or a person sets by themselves. An emergency of the grid, and the owner's own need, is no business of this rule
(40 CFR 60.4211(f) and 63.6640(f) leave emergencies to the operator, and nothing but them).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.contract.admission import NEEDS_CONSENT
from tieline.desk.agreed import products_of_ask
from tieline.desk.ports import Ask
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level

PROGRAM = "demand_response"
_CALLS = (ClaimKind.SET, ClaimKind.DELTA)


def barred_engines(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which of `rows` are engines that the rules don't let this ask run; shape as `rows`."""
    asks_power = ask.kind in _CALLS and ask.quantity is Quantity.P and ask.value > 0
    if not asks_power or ask.level < Level.UTILITY or ask.level >= Level.LOCAL:
        return np.zeros(len(rows), np.bool_)
    engine = state.fleet.kinds[rows] == KIND_CODE[Kind.BACKUP_GENERATOR]
    mask: NDArray[np.bool_] = engine & ~state.may_serve(PROGRAM, rows)
    return mask


def refusal_by_rule(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> Refusal | None:
    """Return why an ask can't move any of its devices: all are engines that a rule bars; None where it can."""
    enrolled = state.enrolments.get(PROGRAM)
    if enrolled is None or not len(rows) or not barred_engines(state, ask, rows).all():
        return None
    return enrolled.refusal(int(rows[0]))


def unagreed(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which of `rows` this ask may not move as their contracts don't agree to it; shape as `rows`.

    Devices without a contract are not judged: a control room's own need none with it.
    """
    if state.agreed is None or ask.kind not in _CALLS or ask.level not in NEEDS_CONSENT:
        return np.zeros(len(rows), np.bool_)
    agrees = state.agreed.agrees(products_of_ask(ask.level, ask.program))[rows]
    mask: NDArray[np.bool_] = state.agreed.covered[rows] & ~agrees
    return mask


def refusal_by_contract(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> Refusal | None:
    """Return why an ask can't move any of its devices by their contracts; None where it can move some."""
    if state.agreed is None or not len(rows) or not unagreed(state, ask, rows).all():
        return None
    product = products_of_ask(ask.level, ask.program)[-1]
    (contract, *_) = state.agreed.of_row(int(rows[0]))
    return contract.refusal(product, state.agreed.at_ns)
