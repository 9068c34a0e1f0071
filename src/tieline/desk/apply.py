"""Facts into state. Total: every fact can be applied, and replay is nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tieline.desk import facts
from tieline.desk.asks import key_of
from tieline.desk.ports import Granted
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.redispatch import SOURCE
from tieline.desk.state import DeskState, LiveAsk
from tieline.fleet.claims import ClaimBatch
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.level import Level


def apply(state: DeskState, record_id: str, fact: facts.Fact) -> None:
    """Change the state as the fact says."""
    change = _CHANGES.get(type(fact))
    if change is not None:
        change(state, record_id, fact)
        state.revision += 1


def _offer_made(state: DeskState, record_id: str, fact: facts.OfferMade) -> None:
    state.offers[fact.offer.id] = fact.offer


def _reserved(state: DeskState, record_id: str, fact: facts.CapacityReserved) -> None:
    if fact.refusal is None:
        state.ledger.reserve(
            fact.reservation, fact.resource, fact.product, fact.start_ns, fact.end_ns, fact.up_w, fact.down_w
        )


def _award_taken(state: DeskState, record_id: str, fact: facts.AwardTaken) -> None:
    if fact.refusal is None:
        state.awards[fact.award.id] = fact.award


def _batch_taken(state: DeskState, record_id: str, fact: facts.BatchTaken) -> None:
    state.batches[fact.batch.uid] = fact.answer
    state.last_batch_uid = fact.batch.uid
    accepted = set(fact.answer.accepted)
    for instruction in fact.batch.instructions:
        if instruction.id in accepted:
            state.instructions.setdefault(instruction.pool, {})[instruction.start_ns] = instruction


def _ask_granted(state: DeskState, record_id: str, fact: facts.AskGranted) -> None:
    key = key_of(fact.ask)
    state.asks[key] = LiveAsk(fact.ask, fact.claim, record_id)
    state.versions[key] = fact.ask.version
    state.answers[record_id] = Granted(fact.claim, state.revision + 1)
    _note_opt_out(state, fact.ask.level, fact.ask.kind, fact.ask.resource, True)


def _ask_refused(state: DeskState, record_id: str, fact: facts.AskRefused) -> None:
    state.answers[record_id] = fact.refusal


def _ask_withdrawn(state: DeskState, record_id: str, fact: facts.AskWithdrawn) -> None:
    live = state.asks.pop((fact.source, fact.program, fact.resource, fact.quantity), None)
    if live is not None:
        _note_opt_out(state, live.ask.level, live.ask.kind, fact.resource, False)


def _note_opt_out(state: DeskState, level: Level, kind: ClaimKind, resource: str, out: bool) -> None:
    if level is Level.OWNER_NEED and kind is ClaimKind.GATE:
        state.opted_out[state.fleet.leaves(resource)] = out


def _claims_placed(state: DeskState, record_id: str, fact: facts.ClaimsPlaced) -> None:
    if fact.source == SOURCE:
        state.market_versions[fact.program] = fact.version
    state.claims.place(
        ClaimBatch(
            id=fact.batch,
            source=fact.source,
            principal=fact.principal,
            program=fact.program,
            level=Level(fact.level),
            primacy=fact.primacy,
            quantity=Quantity(fact.quantity),
            kind=ClaimKind(fact.kind),
            because=fact.because,
            source_version=fact.version,
            created_ns=fact.created_ns,
            start_ns=fact.start_ns,
            end_ns=fact.end_ns,
            reservation_id=fact.reservation,
            rows=fact.rows.array(),
            low=fact.low.array(),
            high=fact.high.array(),
            value=fact.value.array(),
        )
    )


def _claims_ended(state: DeskState, record_id: str, fact: facts.ClaimsEnded) -> None:
    rows = None if fact.rows is None else fact.rows.array()
    state.claims.cancel(fact.source, fact.program, Quantity(fact.quantity), rows, ClaimEnd(fact.why))


def _commands_issued(state: DeskState, record_id: str, fact: facts.CommandsIssued) -> None:
    rows, columns = fact.rows.array(), state.commands
    columns.target_w[rows] = fact.target_w.array()
    columns.low_w[rows] = fact.low_w.array()
    columns.high_w[rows] = fact.high_w.array()
    columns.valid_until_ns[rows] = fact.valid_until_ns
    columns.stage[rows] = Stage.QUEUED
    columns.at_ns[rows] = fact.issued_ns
    columns.observed_w[rows] = np.nan
    columns.batch[rows] = len(state.command_batches)
    state.command_batches.append(fact.batch)
    state.epoch, state.seq = fact.epoch, max(state.seq, fact.seq)


def _commands_reported(state: DeskState, record_id: str, fact: facts.CommandsReported) -> None:
    rows, columns = fact.rows.array(), state.commands
    ours = columns.batch[rows] >= 0
    known = np.array([state.command_batches[b] == fact.batch for b in columns.batch[rows[ours]]], np.bool_)
    keep = np.flatnonzero(ours)[known] if len(known) else np.zeros(0, np.int64)
    rows = rows[keep]
    columns.stage[rows] = fact.stage.array()[keep]
    columns.at_ns[rows] = fact.at_ns.array()[keep]
    columns.observed_w[rows] = fact.observed_w.array()[keep]


def _event_changed(state: DeskState, record_id: str, fact: facts.EventChanged) -> None:
    body: dict[str, Any] = dict(fact.body)
    body["state"] = EventState(fact.state)
    state.events[fact.event] = ProgramEvent(**body)


def _alarm_changed(state: DeskState, record_id: str, fact: facts.AlarmChanged) -> None:
    if fact.state == "cleared":
        state.alarms.pop(fact.alarm, None)
    else:
        state.alarms[fact.alarm] = {**state.alarms.get(fact.alarm, {}), **fact.body, "state": fact.state}


def _authority_changed(state: DeskState, record_id: str, fact: facts.AuthorityChanged) -> None:
    state.authority[fact.what] = fact.value


_CHANGES: dict[type[facts.Fact], Callable[[DeskState, str, Any], None]] = {
    facts.OfferMade: _offer_made,
    facts.CapacityReserved: _reserved,
    facts.AwardTaken: _award_taken,
    facts.BatchTaken: _batch_taken,
    facts.AskGranted: _ask_granted,
    facts.AskRefused: _ask_refused,
    facts.AskWithdrawn: _ask_withdrawn,
    facts.ClaimsPlaced: _claims_placed,
    facts.ClaimsEnded: _claims_ended,
    facts.CommandsIssued: _commands_issued,
    facts.CommandsReported: _commands_reported,
    facts.EventChanged: _event_changed,
    facts.AlarmChanged: _alarm_changed,
    facts.AuthorityChanged: _authority_changed,
}
