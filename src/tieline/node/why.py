"""`tieline why`: who controls a device or a group of them at an instant, and why, from its data folder alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from tieline.desk.apply import WATCHDOG, apply
from tieline.desk.called import SET_ASIDE
from tieline.desk.counted_loads import told_rule
from tieline.desk.facts import (
    AuthorityChanged,
    ClaimsPlaced,
    CommandsIssued,
    CommandsReported,
    from_record,
)
from tieline.desk.modes import feeder_of, mode_of
from tieline.desk.obligation import awards_at, calls_at, owed
from tieline.desk.scopes import live_ask
from tieline.desk.state import DeskState
from tieline.desk.unmet import unmet_says
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Fleet
from tieline.fleet.ledger import Ledger
from tieline.fleet.settling import ClaimBatch
from tieline.flow.record import Record, Records
from tieline.node.frame import controllers
from tieline.node.heard import heard_by
from tieline.node.heard_local import take_local
from tieline.node.journals import journal_to_read
from tieline.node.on_or_off import take_on_or_off
from tieline.node.read_contracts import contracts_of, enrolments_of, not_covered, not_enrolled
from tieline.node.read_engines import engine_told
from tieline.node.read_held import Heard, batch_of, held_off, out_of_reach, share_of
from tieline.node.read_runs import Runs, off_by_timer, runs_of
from tieline.node.read_wait import left_out, no_response, stands_until_ns, stray, take_responses, unreleased, waits
from tieline.node.rebuilt import bound_by
from tieline.node.why_claims import asked_by_now, asked_w, claim_told, gate_told, limits_told, source_of
from tieline.node.why_ended import told_ended
from tieline.node.why_gave import delivered_of, pool_delivered
from tieline.resource.claim import Claim, ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.mode import Mode
from tieline.store.trace import trace
from tieline.times import DAY_NS, iso

SINCE_NS = DAY_NS
"""Of the last record it is told who is in LOCAL by what was said so long after it: a hand at a device is no record."""


@dataclass
class Known:
    """What is known at an instant: the state, the claims that were placed, and what was told of one row.

    `heard`: when its device was heard last, where the state's columns don't have it. `recorded_until`: when the last of
    all records was made, where what is asked lies after it: nobody knows what was decided since. `recorded_from`: when
    the first of all was, where what is asked lies before it. `local_known`: whether it is known who was in LOCAL then.
    """

    state: DeskState
    at_ns: int
    placed: dict[str, ClaimsPlaced] = field(default_factory=dict)
    command: dict[str, Any] | None = None
    delivered: dict[str, Any] | None = None
    kill: dict[str, Any] | None = None
    heard: Heard | None = None
    recorded_until: str | None = None
    recorded_from: str | None = None
    local_known: bool = True


def why(
    folder: Path, fleet: Fleet, resource: str, at_ns: int | None, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Return winner, losers with reasons, limits, the chain to each cause, and what was delivered.

    Args:
        folder: The data folder.
        fleet: Its fleet.
        resource: A device or group of it.
        at_ns: When; None: at the last record, and who is in LOCAL by what devices said in the day after it, too.
        tell: Hears of what the folder's files lack.

    Raises:
        ConfigError: No journal is there, or no such resource.
    """
    if not fleet.holds(resource):
        known = ", ".join([*fleet.ids[:2], *(group.id for group in fleet.groups[:2])])
        limit = f"give a device or group such as {known}" if known else "the registry is empty: `tieline import` first"
        raise ConfigError(f"resource {resource!r} is unknown: {limit}")
    is_group = fleet.kind_of(resource) in GROUP_KINDS
    journal = journal_to_read(folder)
    try:
        state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
        take_on_or_off(folder, state, tell)
        past = _past(journal, state, resource, None if is_group else fleet.row(resource), at_ns)
        bound_by(folder, past.state, past.at_ns)
        until_ns = past.at_ns + (SINCE_NS if at_ns is None else 0)
        past.local_known = take_local(folder, past.state, fleet.leaves(resource), past.at_ns, tell, until_ns=until_ns)
        if is_group:
            return of_group(journal, past, resource)
        take_responses(folder, past.state)
        past.heard = heard_by(folder, fleet.row(resource), past.at_ns, tell)
        return of_device(journal, past, resource)
    finally:
        journal.close()


def pressed(record: Record, fact: AuthorityChanged) -> dict[str, Any] | None:
    """Return since when the kill switch is pressed and by whom, as a record of its moves says; None: it is not."""
    return {"since": iso(record.recorded_at_ns), "by": fact.by} if fact.value == "on" else None


def _past(journal: Records, state: DeskState, resource: str, row: int | None, at_ns: int | None) -> Known:
    past = Known(state, at_ns or 0)
    last = None if at_ns is None else journal.seq_at(at_ns)
    made_ns = past.at_ns
    for record in journal.replay():
        if last is not None and record.seq > last:
            past.recorded_from = None if last else iso(record.recorded_at_ns)
            return past
        made_ns = record.recorded_at_ns
        fact = from_record(record)
        if fact is None:
            continue
        past.at_ns = record.recorded_at_ns if at_ns is None else at_ns
        apply(past.state, record.id, fact, record.recorded_at_ns)
        if isinstance(fact, ClaimsPlaced):
            past.placed[fact.batch] = fact
        if isinstance(fact, AuthorityChanged) and fact.what == "kill":
            past.kill = pressed(record, fact)
        if row is None:
            past.delivered = pool_delivered(fact, resource) or past.delivered
        else:
            past.command = command_of(fact, row, past.command)
            past.delivered = delivered_of(fact, row) or past.delivered
    if at_ns is not None:
        past.recorded_until = iso(made_ns)
    return past


def of_device(journal: Records, past: Known, resource: str) -> dict[str, Any]:
    """Return who controls a device."""
    state, placed = past.state, past.placed
    row = state.fleet.row(resource)
    told, column = state.claims.explain(row, past.at_ns), state.claims.arbitrate(past.at_ns, np.array([row], np.int32))
    winner = told.setpoint.by.partition("/")[0] if told.setpoint.by else None
    limits, gates = limits_told(state, row, told, placed, past.at_ns), _gates(state, row)
    named = [*in_force(state, row, past.at_ns), *(batch_of(limit["claim"]) for limit in limits)]
    named = [name for name in dict.fromkeys(named) if name != winner]
    feeder, contracts = feeder_of(state, row), contracts_of(state, row, past.at_ns)
    ended, by_now = told_ended(state, resource, past.at_ns), asked_by_now(state, placed.get(winner or ""), past.at_ns)
    # What it isn't called for any more leads to the owner's word as what it is called for does to its cause.
    said = [one["said"]["record"] for one in contracts if one["said"]]
    said += [one["record"] for one in ended if one["why"].startswith(SET_ASIDE)]
    return {
        "resource": resource,
        "kind": state.fleet.kind_of(resource).value,
        "at": iso(past.at_ns),
        "recorded_until": past.recorded_until,
        "recorded_from": past.recorded_from,
        "revision": state.revision,
        "target_w": told.setpoint.target_w if winner else None,
        "low_w": told.setpoint.bounds.low_w,
        "high_w": told.setpoint.bounds.high_w,
        "winner": claim_told(state, placed.get(winner or "")),
        "asked_w": asked_w(state, row, told),
        "is_held": winner is not None and told.setpoint.limited_by is not None,
        "asked_by_now": by_now,
        "held_w": _number(state.commands.held_now_w(past.at_ns)[row]) if winner is None else None,
        "limited_by": claim_told(state, placed.get(batch_of(told.setpoint.limited_by or ""))),
        "losers": [
            {"claim": lost.claim, "level": lost.level.name, "why": lost.why, "by": source_of(placed, lost.claim)}
            for lost in told.losers
        ],
        "limits": limits,
        "share": None if winner else share_of(state, row, float(column.told_low_w[0]), past.at_ns),
        "held_by_timer": iso(int(state.claims.holds.until_ns[row])) if off_by_timer(state, column)[0] else None,
        "out_of_reach": out_of_reach(state, row, past.heard or Heard.of(state, row), past.at_ns),
        "conflicts": [list(pair) for pair in told.conflicts],
        "in_local": bool(state.claims.is_local[row]) if past.local_known else None,
        "opted_out": bool(state.opted_out[row]),
        "contracts": contracts,
        "not_covered": not_covered(state, row) or None,
        "enrolments": enrolments_of(state, row, past.at_ns),
        "not_enrolled": not_enrolled(state, row, past.at_ns) or None,
        "engine": engine_told(state, row, past.at_ns),
        "waits": waits(state, row, told.setpoint.target_w if winner else None, past.at_ns),
        "stands_until": None if not (until_ns := stands_until_ns(state, row, past.at_ns)) else iso(until_ns),
        "unreleased": winner is None and bool(unreleased(state, column.rows, past.at_ns)[0]),
        "unresponsive": _silent(state, row, past.at_ns),
        "left_out": left_out(state, row, past.at_ns),
        "stray": stray(state, row, past.at_ns),
        "ended": ended,
        "feeder": feeder or None,
        "feeder_mode": mode_of(state, feeder).value if feeder else None,
        "gates": [gate_told(state, placed.get(batch_of(gate.id)), resource) for gate in gates],
        "command": past.command,
        "kill_switch": past.kill,
        "delivered": past.delivered,
        "chain": _chain(journal, winner),
        "chains": {
            name: _chain(journal, name)
            for name in [*([by_now] if by_now else []), *(one for one in named if one in placed), *said]
        },
    }  # fmt: skip


def _silent(state: DeskState, row: int, now_ns: int) -> dict[str, Any] | None:
    silent = no_response(state.responses, row, now_ns)
    if silent is None:
        return None
    return {"strikes": silent.strikes, "last": iso(silent.last_ns), "until": iso(silent.until_ns)}


def in_force(state: DeskState, row: int, now_ns: int) -> list[str]:
    """Return the batches of claims that decide about a device, each once: the winner, then limits, then gates.

    What asks for a device and what bounds it are both in force: two limits without a target are an answer too.
    """
    told = state.claims.explain(row, now_ns)
    names = [told.setpoint.by or "", *(claim for _, _, claim in told.limits), *(g.id for g in _gates(state, row))]
    known = {batch.id for batch, _ in state.claims.batches()}
    return [name for name in dict.fromkeys(name.partition("/")[0] for name in names) if name in known]


def of_whole(state: DeskState, group: str, now_ns: int) -> list[tuple[ClaimBatch, NDArray[np.bool_]]]:
    """Return the batches that stand on a group as a whole, with which of their claims live."""
    return [
        (batch, alive) for batch, alive in state.claims.batches()
        if batch.scope == group and alive.any() and state.claims.holds_at(batch, now_ns)
    ]  # fmt: skip


def of_others(state: DeskState, group: str, now_ns: int) -> list[tuple[ClaimBatch, NDArray[np.bool_]]]:
    """Return the limits on other groups as wholes that hold devices of this one, with which of their claims do.

    A feeder's generation is a group of its own, and so are its sites: who asks for the feeder must hear of theirs.
    """
    inside = np.zeros(len(state.fleet), np.bool_)
    inside[state.fleet.leaves(group)] = True
    found = [
        (batch, alive & inside[batch.rows]) for batch, alive in state.claims.batches()
        if batch.scope not in ("", group) and batch.kind is ClaimKind.LIMIT and state.claims.holds_at(batch, now_ns)
    ]  # fmt: skip
    return [(batch, holds) for batch, holds in found if holds.any()]


def _gates(state: DeskState, row: int) -> list[Claim]:
    return [claim for claim in state.claims.claims_on(row) if claim.kind is ClaimKind.GATE]


def of_group(journal: Records, past: Known, resource: str) -> dict[str, Any]:
    """Return who controls the devices of a group, and what stands on the group as a whole."""
    state, fleet = past.state, past.state.fleet
    rows = fleet.leaves(resource)
    settled = state.claims.arbitrate(past.at_ns, rows)
    named, runs = settled.winner >= 0, runs_of(state, settled, past.at_ns)
    # Who is out of reach is in no journal: of a group the files don't tell, so that nobody does here.
    may = ~named & (runs != Runs.ON_LAST) & (runs != Runs.BY_HAND)
    by_timer = off_by_timer(state, settled)
    off = held_off(state, rows, settled.told_low_w) & may
    by = Counter(word for word in controllers(state, settled.winner) if word is not None)
    own = of_whole(state, resource, past.at_ns)
    others = of_others(state, resource, past.at_ns)
    debt, calls = owed(state, resource, past.at_ns), calls_at(state, resource, past.at_ns)
    because = [debt.because] if debt is not None else []
    return {
        "resource": resource,
        "kind": fleet.kind_of(resource).value,
        "at": iso(past.at_ns),
        "recorded_until": past.recorded_until,
        "recorded_from": past.recorded_from,
        "revision": state.revision,
        "resources": len(rows),
        "controlled_by": dict(by.most_common()),
        "free": int((~named).sum()),
        "held_off": int(off.sum()),
        "held_by_timer": int((by_timer & may).sum()),
        "at_limit": int(((runs == Runs.AT_LIMIT) & ~off & ~by_timer).sum()),
        "on_last_command": int((runs == Runs.ON_LAST).sum()),
        "unreleased": int((runs == Runs.UNRELEASED).sum()),
        "by_hand": int((runs == Runs.BY_HAND).sum()) if past.local_known else None,
        "opted_out": int(state.opted_out[rows].sum()),
        "kill_switch": past.kill,
        "ended": told_ended(state, resource, past.at_ns),
        "target_w": float(settled.target_w[named].sum()),
        "low_w": float(settled.low_w.sum()),
        "high_w": float(settled.high_w.sum()),
        "limits": [_whole(past, *one) for one in [*own, *others] if one[0].kind is ClaimKind.LIMIT],
        "targets": [_whole(past, *one) for one in own if one[0].kind in (ClaimKind.SET, ClaimKind.DELTA)],
        "gates": [_whole(past, *one) for one in own if one[0].kind is ClaimKind.GATE],
        "modes": [_whole(past, *one) for one in own if one[0].kind is ClaimKind.MODE],
        "owed_w": None if debt is None else debt.power_w,
        "awards": [
            {
                "id": award.id, "offer": award.offer, "product": award.product, "power_w": award.power_w,
                "price_per_mwh": award.price_per_mwh, "from": iso(award.start_ns), "to": iso(award.end_ns),
            }
            for award in awards_at(state, resource, past.at_ns)
        ],
        "instructions": [
            {
                "id": call.id, "product": call.product, "power_w": call.power_w,
                "from": iso(call.start_ns), "to": iso(call.end_ns),
            }
            for call in calls
        ],
        "delivered": past.delivered,
        "feeder_mode": mode_of(state, resource).value if fleet.kind_of(resource) is Kind.FEEDER else None,
        "chains": {name: _chain(journal, name) for name in [*because, *(batch.id for batch, _ in [*own, *others])]},
    }  # fmt: skip


def _whole(past: Known, batch: ClaimBatch, alive: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what was asked of a group as a whole; the caps of its devices move so that their meters keep a limit."""
    live, told = live_ask(past.state, batch), {"on": batch.scope, "quantity": batch.quantity.value}
    by = {"resources": int(alive.sum()), "by": claim_told(past.state, past.placed.get(batch.id))}
    match batch.kind:
        case ClaimKind.LIMIT:
            ends = _sum(batch.low), _sum(batch.high)
            low_w, high_w = ends if live is None else (_number(live.ask.low), _number(live.ask.high))
            caps = {"caps_low_w": _sum(batch.low[alive]), "caps_high_w": _sum(batch.high[alive])}
            is_net = live is not None and batch.quantity is Quantity.P
            loads = told_rule(past.state, live.ask, past.at_ns) if live is not None and is_net else ""
            unmet = "" if live is None else unmet_says(past.state, live, past.at_ns)
            return {**told, "low_w": low_w, "high_w": high_w, **caps, "loads": loads, "unmet": unmet, **by}
        case ClaimKind.SET | ClaimKind.DELTA:
            # What was asked; devices that a mode bars, or whose owners are out, have no share in it.
            value = _sum(batch.value) if live is None else live.ask.value
            return {**told, "kind": batch.kind.value, "value": value, "share": _sum(batch.value[alive]), **by}
        case ClaimKind.MODE:
            return {**told, "mode": Mode(int(batch.value[0])).name, **by}
        case ClaimKind.GATE:
            return {**told, **by}
        case _ as never:
            assert_never(never)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _sum(ends_w: NDArray[np.float64]) -> float | None:
    total = float(ends_w.sum())
    return total if np.isfinite(total) else None


def command_of(fact: object, row: int, last: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a row's command after a fact, given what it was before.

    `read_back_w` is what its link read back once the device took it: a SunSpec device's settings, elsewhere its meter.
    `measured_w` is what the watchdog saw in the device's own meter against that (W; None: nothing was).
    """
    if isinstance(fact, CommandsIssued):
        at = np.flatnonzero(fact.rows.array() == row)
        if len(at):
            target_w = float(fact.target_w.array()[at[0]])
            return {
                "batch": fact.batch, "target_w": None if np.isnan(target_w) else target_w,
                "issued": iso(fact.issued_ns), "valid_until": iso(fact.valid_until_ns), "stage": Stage.QUEUED.name,
                "read_back_w": None, "measured_w": None,
            }  # fmt: skip
    # The watchdog speaks of the last command of each row, of whatever batch.
    if (
        isinstance(fact, CommandsReported)
        and last is not None
        and (fact.link == WATCHDOG or fact.batch == last["batch"])
    ):
        at = np.flatnonzero(fact.rows.array() == row)
        if len(at):
            seen_w = _number(float(fact.observed_w.array()[at[0]]))
            stage = Stage(int(fact.stage.array()[at[0]])).name
            # A link reads back what the device holds; the watchdog alone sets its meter against that.
            seen = "measured_w" if fact.link == WATCHDOG else "read_back_w"
            return {**last, "stage": stage, "link": fact.link, seen: seen_w}
    return last


def _chain(journal: Records, claim: str | None) -> list[dict[str, Any]]:
    """Return what led to a claim, oldest first."""
    found = trace(journal, claim, limit=400) if claim else None
    if found is None:
        return []
    last = next(record.seq for record in found.records if record.id == claim)
    return [
        {"id": record.id, "kind": record.kind, "subject": record.subject, "at": iso(record.recorded_at_ns)}
        for record in found.records
        if record.seq <= last
    ]
