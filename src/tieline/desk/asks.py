"""Asks from northbound interfaces: admitted as claims, refused with a reason, withdrawn.

A limit on a group becomes caps on its leaves (design rule R16): the headroom that the limit leaves is shared out over
the leaves, those that can't be reached counting at the most that they may do by themselves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import AskGranted, AskRefused, AskWithdrawn, ClaimsEnded, ClaimsPlaced, Packed
from tieline.desk.groups import caps
from tieline.desk.ports import Ask, Granted
from tieline.desk.state import AskKey, DeskState
from tieline.ids import derive
from tieline.resource.admission import Principal, admit
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Refusal
from tieline.resource.identity import GROUP_KINDS

Floats = NDArray[np.float64]


def key_of(ask: Ask) -> AskKey:
    """Return what an ask replaces: the former one of the same source, program, resource and quantity."""
    return (ask.source, ask.program, ask.resource, ask.quantity.value)


def decide_ask(
    state: DeskState, ask: Ask, principal: Principal | None, now_ns: int
) -> tuple[list[Entry], Granted | Refusal]:
    """Return the facts and the answer to one ask; the same ask twice gets the first answer and makes no facts."""
    record_id = derive("ask", *key_of(ask), ask.version, ask.frame)
    if record_id in state.answers:
        return [], state.answers[record_id]
    refusal = _refusal(state, ask, principal, now_ns)
    if refusal is not None:
        return [Entry(record_id, AskRefused(ask, refusal), ask.resource)], refusal
    batch = derive("claims", *key_of(ask), ask.version)
    placed = placed_by(state, ask, batch, now_ns)
    entries = [
        Entry(record_id, AskGranted(ask, batch), ask.resource),
        Entry(batch, placed, ask.resource, (record_id,)),
    ]
    return entries, Granted(batch, state.revision + 1)


def _refusal(state: DeskState, ask: Ask, principal: Principal | None, now_ns: int) -> Refusal | None:
    if not state.fleet.holds(ask.resource):
        return Refusal("no such resource", "resource", ask.resource, "a resource of the registry")
    claim = Claim(
        id="",
        source=ask.source,
        principal=ask.principal,
        program=ask.program,
        level=ask.level,
        resource=ask.resource,
        quantity=ask.quantity,
        kind=ask.kind,
        start_ns=ask.start_ns,
        created_ns=now_ns,
        because=ask.because,
        end_ns=ask.end_ns,
        low=ask.low,
        high=ask.high,
        value=ask.value,
        primacy=ask.primacy,
        source_version=ask.version,
    )
    last = state.versions.get(key_of(ask), 0)
    return admit(claim, principal, now_ns=now_ns, last_version=last, tagged_ns=ask.tagged_ns)


def placed_by(state: DeskState, ask: Ask, batch: str, now_ns: int) -> ClaimsPlaced:
    """Return the claims that an admitted ask becomes, one a leaf."""
    rows = leaves(state, ask.resource)
    low, high, value = _shares(state, ask, rows)
    return ClaimsPlaced(
        batch,
        ask.source,
        ask.principal,
        ask.program,
        int(ask.level),
        ask.primacy,
        ask.quantity.value,
        ask.kind.value,
        ask.because,
        ask.version,
        now_ns,
        ask.start_ns,
        ask.end_ns,
        Packed.of(rows),
        Packed.of(low),
        Packed.of(high),
        Packed.of(value),
    )


def leaves(state: DeskState, resource: str) -> NDArray[np.int32]:
    """Return the rows of all devices beneath a resource, or its own row where it is one."""
    return state.fleet.leaves(resource)


def _shares(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
    count = len(rows)
    if state.fleet.kind_of(ask.resource) not in GROUP_KINDS:
        return np.full(count, ask.low), np.full(count, ask.high), np.full(count, ask.value)
    if ask.kind is ClaimKind.LIMIT:
        low, high = _kept(state, ask, rows) or caps(state, rows, ask.low, ask.high)
        return low, high, np.zeros(count)
    inject_w, absorb_w = state.fleet.max_inject_w[rows], state.fleet.max_absorb_w[rows]
    size = inject_w if ask.value >= 0 else absorb_w
    total = float(size.sum())
    value = ask.value * size / total if total > 0 else np.zeros(count)
    return np.full(count, -math.inf), np.full(count, math.inf), value


def _kept(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> tuple[Floats, Floats] | None:
    """Return the shares that the same limit has already: a renewal moves nobody, so that no cap grows early (R16)."""
    live = state.asks.get(key_of(ask))
    if live is None or (live.ask.low, live.ask.high) != (ask.low, ask.high):
        return None
    low, high = state.claims.limits_of(rows, ask.source, ask.program, ask.quantity)
    return None if np.isnan(low).any() else (low, high)


def decide_withdraw(state: DeskState, key: AskKey, frame: str, why: str) -> list[Entry]:
    """Return the facts that end a source's live claim; none where there is no such claim."""
    live = state.asks.get(key)
    if live is None:
        return []
    source, program, resource, quantity = key
    record_id = derive("withdraw", *key, live.claims)
    return [
        Entry(record_id, AskWithdrawn(source, program, resource, quantity, frame, why), resource, (live.record,)),
        Entry(
            derive("ended", live.claims),
            ClaimsEnded(source, program, quantity, ClaimEnd.CANCELLED.value, live.claims, live_rows(state, resource)),
            resource,
            (record_id, live.claims),
        ),
    ]


def live_rows(state: DeskState, resource: str) -> Packed:
    """Return the rows beneath a resource, packed."""
    return Packed.of(leaves(state, resource))
