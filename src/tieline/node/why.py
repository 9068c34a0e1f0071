"""`tieline why`: who controls a resource at an instant, and why, from the journal alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tieline.desk.apply import apply
from tieline.desk.facts import ClaimsPlaced, CommandsIssued, CommandsReported, IntervalTracked, from_record
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Fleet
from tieline.fleet.ledger import Ledger
from tieline.resource.command import Stage
from tieline.store.journal import SqliteJournal
from tieline.store.trace import trace
from tieline.times import iso


def why(folder: Path, fleet: Fleet, resource: str, at_ns: int | None) -> dict[str, Any]:
    """Return winner, losers with reasons, limits, the chain to the cause, and what was delivered.

    Args:
        folder: The data folder.
        fleet: Its fleet.
        resource: A device of it.
        at_ns: When; None: at the last record.

    Raises:
        ConfigError: No journal is there, or no such device.
    """
    if not (folder / "journal.db").exists():
        raise ConfigError(f"{folder}: no journal.db: give --data the folder of a server or demo")
    try:
        row = fleet.row(resource)
    except KeyError:
        known = ", ".join(fleet.ids[:3])
        raise ConfigError(f"resource {resource!r} is unknown: give a device such as {known}") from None
    journal = SqliteJournal(folder / "journal.db")
    try:
        return _why(journal, fleet, resource, row, at_ns)
    finally:
        journal.close()


def _why(journal: SqliteJournal, fleet: Fleet, resource: str, row: int, at_ns: int | None) -> dict[str, Any]:
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    instant_ns = at_ns or 0
    command: dict[str, Any] | None = None
    delivered: dict[str, Any] | None = None
    placed: dict[str, ClaimsPlaced] = {}
    for record in journal.replay():
        if at_ns is not None and record.recorded_at_ns > at_ns:
            break
        fact = from_record(record)
        if fact is None:
            continue
        instant_ns = record.recorded_at_ns if at_ns is None else at_ns
        apply(state, record.id, fact)
        if isinstance(fact, ClaimsPlaced):
            placed[fact.batch] = fact
        command = _command(fact, row, command)
        delivered = _delivered(fact, row) or delivered
    told = state.claims.explain(row, instant_ns)
    winner = told.setpoint.by.partition("/")[0] if told.setpoint.by else None
    return {
        "resource": resource,
        "kind": fleet.kind_of(resource).value,
        "at": iso(instant_ns),
        "revision": state.revision,
        "target_w": told.setpoint.target_w if winner else None,
        "low_w": told.setpoint.bounds.low_w,
        "high_w": told.setpoint.bounds.high_w,
        "winner": _claim(placed.get(winner or "")),
        "limited_by": _claim(placed.get((told.setpoint.limited_by or "").partition("/")[0])),
        "losers": [{"claim": lost.claim, "level": lost.level.name, "why": lost.why} for lost in told.losers],
        "limits": [
            {"level": level.name, "low_w": bounds.low_w, "high_w": bounds.high_w, "claim": claim}
            for level, bounds, claim in told.limits
        ],
        "conflicts": [list(pair) for pair in told.conflicts],
        "opted_out": bool(state.opted_out[row]),
        "command": command,
        "delivered": delivered,
        "chain": _chain(journal, winner),
    }


def _claim(fact: ClaimsPlaced | None) -> dict[str, Any] | None:
    if fact is None:
        return None
    from tieline.resource.level import Level

    return {
        "claim": fact.batch, "source": fact.source, "program": fact.program, "level": Level(fact.level).name,
        "because": fact.because, "from": iso(fact.start_ns), "version": fact.version,
    }  # fmt: skip


def _command(fact: object, row: int, last: dict[str, Any] | None) -> dict[str, Any] | None:
    if isinstance(fact, CommandsIssued):
        at = np.flatnonzero(fact.rows.array() == row)
        if len(at):
            target_w = float(fact.target_w.array()[at[0]])
            return {
                "batch": fact.batch, "target_w": None if np.isnan(target_w) else target_w,
                "issued": iso(fact.issued_ns), "valid_until": iso(fact.valid_until_ns), "stage": Stage.QUEUED.name,
                "observed_w": None,
            }  # fmt: skip
    if isinstance(fact, CommandsReported) and last is not None and fact.batch == last["batch"]:
        at = np.flatnonzero(fact.rows.array() == row)
        if len(at):
            seen_w = float(fact.observed_w.array()[at[0]])
            stage = Stage(int(fact.stage.array()[at[0]])).name
            return {**last, "stage": stage, "link": fact.link, "observed_w": None if np.isnan(seen_w) else seen_w}
    return last


def _delivered(fact: object, row: int) -> dict[str, Any] | None:
    if not isinstance(fact, IntervalTracked):
        return None
    at = np.flatnonzero(fact.rows.array() == row)
    if not len(at):
        return None
    return {"start": iso(fact.start_ns), "end": iso(fact.end_ns), "above_base_w": float(fact.row_w.array()[at[0]])}


def _chain(journal: SqliteJournal, claim: str | None) -> list[dict[str, Any]]:
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
