"""Facts into state. Total: every fact can be applied, and replay is nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk import called, charging, declared, event_counted, event_stack, facts, prices, published, refused
from tieline.desk.asks import first_asked, key_of
from tieline.desk.ends import end_w, last_end_w
from tieline.desk.engine_changes import CHANGES as ENGINE_CHANGES
from tieline.desk.inverters import CHANGES as INVERTER_CHANGES
from tieline.desk.ports import Ask, Granted, number
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.redispatch import SOURCE
from tieline.desk.release import LATEST_NS
from tieline.desk.state import LAPSED, AskKey, DeskState, EndedAsk, LiveAsk
from tieline.fleet.claims import ClaimBatch, Floats, Rows
from tieline.fleet.columns import among, places
from tieline.fleet.holding import nearest_w, timers
from tieline.fleet.ledger import Held
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity
from tieline.resource.command import HELD, MADE, Stage, follows
from tieline.resource.identity import Purpose
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, SECOND_NS

WATCHDOG, MOST_ENDED = "watchdog", 4_096
HEARD = among((Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE), len(Stage))
MAY_FOLLOW = np.array([[follows(after, before) for after in Stage] for before in Stage])
"""Whether a report of a stage (second index) can be true of a command that is at another (first index)."""


def apply(state: DeskState, record_id: str, fact: facts.Fact, at_ns: int) -> None:
    """Change the state as the fact says, recorded at an instant.

    What had run out by then ends first: which of two versions holds follows from the record alone, not from beats.
    """
    state.claims.expire(at_ns)
    if isinstance(fact, facts.AskWithdrawn | facts.AskLapsed):
        _note_ended(state, record_id, fact, at_ns)
    if isinstance(fact, facts.AskGranted):
        _note_live(state, record_id, fact, at_ns)
    if isinstance(fact, facts.AuthorityChanged) and fact.what == "kill":
        state.kill_moved_ns, state.kill_record = at_ns, record_id
    if isinstance(fact, facts.ClaimsEnded):
        called.note_aside(state, record_id, fact, at_ns)
    if isinstance(fact, facts.EventChanged | facts.ConsentChanged):
        called.note(state, record_id, fact, at_ns)
        if isinstance(fact, facts.EventChanged):
            event_counted.note_changed(state, fact, at_ns)
    if isinstance(fact, facts.AwardTaken | facts.BatchTaken | facts.BatchUnread | facts.BatchChanged):
        refused.note(state, record_id, fact, at_ns)
    if isinstance(fact, facts.AwardTaken | facts.BatchTaken):
        declared.note(state, record_id, fact, at_ns)
    change = _CHANGES.get(type(fact))
    if change is not None:
        change(state, record_id, fact)
        state.revision += 1


def _offer_made(state: DeskState, record_id: str, fact: facts.OfferMade) -> None:
    state.offers[fact.offer.id] = fact.offer


def _enrolled(state: DeskState, record_id: str, fact: facts.ResourceEnrolled) -> None:
    fleet, resource = state.fleet, fact.resource
    for purpose, parent in resource.parents:
        if purpose is Purpose.PROGRAM and fleet.holds(parent) and fleet.holds(resource.id):
            fleet.enrol(parent, fleet.leaves(resource.id))


def _offer_answered(state: DeskState, record_id: str, fact: facts.OfferAnswered) -> None:
    state.offer_answers[fact.offer] = fact.refusal
    if fact.refusal is not None:
        reservation = derive("reservation", fact.offer)
        state.ledger.release(reservation)
        _sync_deltas(state, reservation)


def _offer_unawarded(state: DeskState, record_id: str, fact: facts.OfferUnawarded) -> None:
    reservation = derive("reservation", fact.offer)
    state.unawarded[fact.offer] = record_id
    state.ledger.release(reservation)
    _sync_deltas(state, reservation)


def _reserved(state: DeskState, record_id: str, fact: facts.CapacityReserved) -> None:
    if fact.refusal is not None:
        return
    held = Held.HOLD if fact.holds_until_ns else Held.COMMITTED  # journals of before holds have none
    state.ledger.reserve(
        fact.reservation, fact.resource, fact.product, fact.start_ns, fact.end_ns, fact.up_w, fact.down_w,
        state=held, holds_until_ns=fact.holds_until_ns or FOREVER_NS, energy_wh=fact.energy_wh,
    )  # fmt: skip
    _sync_deltas(state, fact.reservation)
    if fact.event:
        state.event_bookings.setdefault(fact.event, []).append(fact.reservation)


def _award_taken(state: DeskState, record_id: str, fact: facts.AwardTaken) -> None:
    award, was = fact.award, state.awards.get(fact.award.id)
    if fact.refusal is not None or was == award:
        return
    state.awards[award.id], offer = award, state.offers.get(award.offer)
    if was is not None and refused.is_repriced(was, award):  # what it holds, it holds
        return
    state.unawarded.pop(award.offer, None)
    reservation = derive("reservation", award.offer)
    whole = offer is not None and (award.start_ns, award.end_ns) == (offer.start_ns, offer.end_ns)
    up_w, down_w = (max(award.power_w, 0.0), max(-award.power_w, 0.0)) if whole else (None, None)
    state.ledger.retake(reservation)
    state.ledger.commit(reservation, 0, up_w, down_w)  # the market decides: its award stands, late or not
    _sync_deltas(state, reservation)


def _sync_deltas(state: DeskState, reservation: str) -> None:
    """Keep what deltas may draw on as the ledger has it (R8)."""
    booking = state.ledger.bookings.get(reservation)
    if booking is None or booking.state is not Held.COMMITTED:
        state.claims.reserved_w.pop(reservation, None)
    else:
        state.claims.reserved_w[reservation] = (booking.up_w, booking.down_w)


def _derated(state: DeskState, record_id: str, fact: facts.CapacityDerated) -> None:
    capacity = state.ledger.capacities.get(fact.pool)
    if capacity is not None:
        up_frac = fact.up_w / capacity.up_w if capacity.up_w > 0 else 1.0
        down_frac = fact.down_w / capacity.down_w if capacity.down_w > 0 else 1.0
        state.derated[fact.pool] = ((up_frac, down_frac), fact.end_ns)
        state.ledger.derate(fact.pool, fact.up_w, fact.down_w, fact.start_ns, fact.start_ns, fact.end_ns)


def _batch_taken(state: DeskState, record_id: str, fact: facts.BatchTaken) -> None:
    state.batches[fact.batch.uid], state.batch_texts[fact.batch.uid] = fact.answer, fact.batch.native
    if not 0 <= number(fact.batch.uid) < number(state.last_batch_uid):  # one that is mended may come late
        state.last_batch_uid = fact.batch.uid
    accepted = set(fact.answer.accepted)
    for instruction in fact.batch.instructions:
        if instruction.id in accepted:
            told = state.instructions.setdefault((instruction.pool, instruction.product), {})
            told[instruction.batch, instruction.id] = instruction  # in the order in which they came


def _ask_granted(state: DeskState, record_id: str, fact: facts.AskGranted) -> None:
    key = key_of(fact.ask)
    state.ended.pop(key, None)
    state.versions[key] = fact.ask.version
    state.answers[record_id] = Granted(fact.claim, state.revision + 1)
    _note_opt_out(state, key, fact.ask)


def _note_live(state: DeskState, record_id: str, fact: facts.AskGranted, at_ns: int) -> None:
    since = first_asked(state, fact.ask, at_ns)
    state.asks[key_of(fact.ask)] = LiveAsk(fact.ask, fact.claim, record_id, *since)


def _ask_refused(state: DeskState, record_id: str, fact: facts.AskRefused) -> None:
    state.answers[record_id] = fact.refusal


def _ask_withdrawn(state: DeskState, record_id: str, fact: facts.AskWithdrawn) -> None:
    key = (fact.source, fact.program, fact.resource, fact.quantity)
    if state.asks.pop(key, None) is not None:
        _note_opt_out(state, key, None)


def _ask_lapsed(state: DeskState, record_id: str, fact: facts.AskLapsed) -> None:
    state.asks.pop((fact.source, fact.program, fact.resource, fact.quantity), None)


def _note_ended(state: DeskState, record_id: str, fact: facts.AskWithdrawn | facts.AskLapsed, at_ns: int) -> None:
    key = (fact.source, fact.program, fact.resource, fact.quantity)
    live = state.asks.get(key)
    if live is None:
        return
    match fact:
        case facts.AskLapsed():
            ended = EndedAsk(live.ask, live.start_ns, fact.end_ns, LAPSED, record_id)
        case facts.AskWithdrawn():
            ended = EndedAsk(live.ask, live.start_ns, at_ns, fact.why, record_id)
    state.ended[key] = ended  # not there yet: a grant takes it out
    if len(state.ended) > MOST_ENDED:
        state.ended.pop(next(iter(state.ended)))


def _note_opt_out(state: DeskState, key: AskKey, ask: Ask | None) -> None:
    """Note who is out now that an ask stands in a place, or none does: whoever an opt-out bars that stands.

    A device may be out by its own word, by that of a group and at its end-point: each is taken back by itself.
    """
    before = state.outs.pop(key, None)
    if before is not None:
        state.outs_of[before] -= 1
        state.opted_out[before] = state.outs_of[before] > 0
    if ask is not None and ask.level is Level.OWNER_NEED and ask.kind is ClaimKind.GATE:
        rows = state.outs[key] = state.fleet.leaves(ask.resource)
        state.outs_of[rows] += 1
        state.opted_out[rows] = True
        called.note_out(state, rows, ask.start_ns)


def _claims_placed(state: DeskState, record_id: str, fact: facts.ClaimsPlaced) -> None:
    if fact.randomise_s > 0:
        state.spread_s[fact.rows.array()] = fact.randomise_s
    if fact.source == SOURCE:
        state.market_versions[fact.program] = fact.version
    elif fact.source == charging.SOURCE:
        state.scheduled_until_ns[fact.program] = fact.end_ns
    batch = ClaimBatch(
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
        scope=fact.scope,
    )
    state.claims.place(batch)
    if fact.source == event_stack.SOURCE:
        state.event_called[fact.program] = batch
        called.note_placed(state, fact)


def _planned(state: DeskState, record_id: str, fact: facts.ScheduleMade | facts.AwardPlanned) -> None:
    table: dict[str, Any] = state.schedules if isinstance(fact, facts.ScheduleMade) else state.award_plans
    table[fact.pool] = fact


def _claims_ended(state: DeskState, record_id: str, fact: facts.ClaimsEnded) -> None:
    rows = None if fact.rows is None else fact.rows.array()
    state.claims.cancel(
        fact.source, fact.program, Quantity(fact.quantity), rows, ClaimEnd(fact.why), fact.scope, record_id
    )
    if fact.source == event_stack.SOURCE and event_stack.newest(state, fact.program) is None:
        state.event_called.pop(fact.program, None)


def _commands_issued(state: DeskState, record_id: str, fact: facts.CommandsIssued) -> None:
    rows, columns = places(fact.rows.array()), state.commands
    target_w, low_w, high_w = fact.target_w.array(), fact.low_w.array(), fact.high_w.array()
    moves_w = np.abs(end_w(state, rows, target_w, low_w, high_w) - last_end_w(state, rows, fact.issued_ns))
    state.limiter.note(rows, moves_w, fact.issued_ns)
    _start_timers(state, rows, target_w, fact.issued_ns)
    # Let go: its turn has come. A command that renews a kept limit has no target either, and ends no turn.
    let_go = np.isnan(target_w) & ((state.release_at_ns[rows] <= fact.issued_ns) | state.opted_out[rows])
    state.release_at_ns[rows[let_go]] = 0
    state.claims.ended[rows[state.release_at_ns[rows] == 0]] = -1  # told why; one that waits for its turn is told again
    # Until this command is acknowledged the device may hold the one before, or have fallen back to its default.
    default_w = state.fleet.default_w[rows]
    columns.leased_low_w[rows] = np.minimum.reduce([columns.leased_low_w[rows], low_w, default_w])
    columns.leased_high_w[rows] = np.maximum.reduce([columns.leased_high_w[rows], high_w, default_w])
    same = (target_w == columns.target_w[rows]) | (np.isnan(target_w) & np.isnan(columns.target_w[rows]))
    same &= (low_w == columns.low_w[rows]) & (high_w == columns.high_w[rows])
    columns.ease(rows, low_w, high_w, fact.issued_ns)
    columns.note_answers(rows, fact.issued_ns)
    columns.since_ns[rows[~same]] = fact.issued_ns
    columns.note_let_go(rows, target_w, fact.issued_ns)
    held_on = (columns.valid_until_ns[rows] > fact.issued_ns) & (
        (low_w > -state.fleet.max_absorb_w[rows]) | (high_w < 0)
    )
    columns.held_w[rows[~held_on]] = np.nan
    columns.target_w[rows], columns.made_w[rows] = target_w, np.nan
    columns.low_w[rows], columns.high_w[rows] = low_w, high_w
    columns.valid_until_ns[rows] = fact.valid_until_ns
    columns.stage[rows] = Stage.QUEUED
    columns.at_ns[rows] = fact.issued_ns
    columns.observed_w[rows] = np.nan
    columns.batch[rows] = len(state.command_batches)
    state.command_batches.append(fact.batch)
    state.epoch, state.seq = fact.epoch, max(state.seq, fact.seq)


def _start_timers(state: DeskState, rows: Rows, target_w: Floats, now_ns: int) -> None:
    columns, fleet, holds = state.commands, state.fleet, state.claims.holds
    former_w = np.where(columns.valid_until_ns[rows] > now_ns, columns.target_w[rows], np.nan)
    of = fleet.max_absorb_w[rows], state.is_switched[rows]
    target_w, former_w = nearest_w(target_w, *of), nearest_w(former_w, *of)
    starts, low_w, high_w = timers(fleet, rows, target_w, former_w)
    # What a running timer holds on or off has not been switched since, whatever it was told or let do meanwhile.
    starts &= ~((holds.until_ns[rows] > now_ns) & (target_w >= holds.low_w[rows]) & (target_w <= holds.high_w[rows]))
    if starts.any():
        until_ns = now_ns + (fleet.min_hold_s[rows[starts]] * SECOND_NS).astype(np.int64)
        state.claims.hold(rows[starts], low_w[starts], high_w[starts], until_ns)


def _release_staged(state: DeskState, record_id: str, fact: facts.ReleaseStaged) -> None:
    rows, at_ns = fact.rows.array(), fact.at_ns.array()
    first = state.release_at_ns[rows] == 0
    state.release_at_ns[rows] = at_ns
    state.release_of[rows] = len(state.releases)
    state.releases.append(record_id)
    state.release_by_ns[rows[first]] = at_ns[first] + LATEST_NS


def _commands_reported(state: DeskState, record_id: str, fact: facts.CommandsReported) -> None:
    rows, stage, columns = places(fact.rows.array()), fact.stage.array(), state.commands
    meant = _is_meant(state, fact, rows)
    legal = meant & MAY_FOLLOW[columns.stage[rows], stage]
    at_ns, observed_w = fact.at_ns.array(), fact.observed_w.array()
    if not legal.all():
        state.late_reports += int((meant & ~legal).sum())
        rows, stage, at_ns, observed_w = rows[legal], stage[legal], at_ns[legal], observed_w[legal]
    columns.stage[rows] = stage
    columns.acknowledge(rows[HEARD[stage]], at_ns[HEARD[stage]])
    columns.at_ns[rows], columns.observed_w[rows] = at_ns, observed_w
    if HELD in fact.native:  # a word a row then; the desk's own reports have one for all
        holds = np.array([word == HELD for word in fact.native], np.bool_)[legal]
        columns.held_w[rows[holds]] = observed_w[holds]
    if len(fact.native) == len(legal) and any(word.startswith(MADE) for word in fact.native):
        made = np.array([word.startswith(MADE) for word in fact.native], np.bool_)[legal]
        columns.made_w[rows[made]] = observed_w[made]


def _is_meant(state: DeskState, fact: facts.CommandsReported, rows: Rows) -> NDArray[np.bool_]:
    """Return which rows' last command the report speaks of: one of its batch, or whichever for the watchdog."""
    batch = state.commands.batch[rows]
    if fact.link == WATCHDOG:
        ours: NDArray[np.bool_] = batch >= 0
        return ours
    meant = np.zeros(len(rows), np.bool_)
    for code in set(batch.tolist()):  # one, as a rule: np.isin costs more than all that follows
        if code >= 0 and state.command_batches[code] == fact.batch:
            meant |= batch == code
    return meant


def _declared(state: DeskState, record_id: str, fact: facts.AvailabilityDeclared) -> None:
    said = state.declared.get(fact.pool, ())
    state.declared[fact.pool] = (*said[-59:], (fact.at_ns, (fact.up_w, fact.down_w)))


def _event_changed(state: DeskState, record_id: str, fact: facts.EventChanged) -> None:
    body: dict[str, Any] = dict(fact.body)
    body["state"] = EventState(fact.state)
    state.events[fact.event] = ProgramEvent(**body)
    for reservation in state.event_bookings.get(fact.event, ()):
        if body["state"] in (EventState.CANCELED, EventState.DENIED, EventState.LAPSED):
            state.ledger.release(reservation)
        elif body["state"] is EventState.COMPLETED:
            state.ledger.deliver(reservation)
        _sync_deltas(state, reservation)


def _alarm_changed(state: DeskState, record_id: str, fact: facts.AlarmChanged) -> None:
    if fact.state == "cleared":
        state.alarms.pop(fact.alarm, None)
    else:
        state.alarms[fact.alarm] = {**state.alarms.get(fact.alarm, {}), **fact.body, "state": fact.state}


def _authority_changed(state: DeskState, record_id: str, fact: facts.AuthorityChanged) -> None:
    state.authority[fact.what] = fact.value


_CHANGES: dict[type[facts.Fact], Callable[[DeskState, str, Any], None]] = {
    facts.ResourceEnrolled: _enrolled,
    facts.OfferMade: _offer_made,
    facts.OfferAnswered: _offer_answered,
    facts.OfferUnawarded: _offer_unawarded,
    facts.PricesTaken: prices.take,
    facts.CapacityReserved: _reserved,
    facts.CapacityDerated: _derated,
    facts.AwardTaken: _award_taken,
    facts.BatchTaken: _batch_taken,
    facts.AskGranted: _ask_granted,
    facts.AskRefused: _ask_refused,
    facts.AskWithdrawn: _ask_withdrawn,
    facts.ClaimsPlaced: _claims_placed,
    **dict.fromkeys((facts.ScheduleMade, facts.AwardPlanned), _planned),
    facts.AvailabilityDeclared: _declared,
    facts.ClaimsEnded: _claims_ended,
    facts.CommandsIssued: _commands_issued,
    facts.CommandsReported: _commands_reported,
    facts.ReleaseStaged: _release_staged,
    facts.EventChanged: _event_changed,
    facts.EventTracked: event_counted.note_tracked,
    facts.AlarmChanged: _alarm_changed,
    facts.AuthorityChanged: _authority_changed,
    facts.EnrolmentsTaken: called.take_book,
    **(published.CHANGES | INVERTER_CHANGES | ENGINE_CHANGES | {facts.AskLapsed: _ask_lapsed}),
    **dict.fromkeys((facts.BatchChanged, facts.BatchUnread, facts.ConsentChanged), lambda *_: None),  # noted in `apply`
}
