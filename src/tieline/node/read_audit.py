"""The journal as an auditor reads it: what people and peers did, with what machines renew rolled up; or each record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tieline.desk.desk_views import AuditRow, AuditView
from tieline.desk.facts import KINDS, AskGranted, from_record
from tieline.flow.record import Journal, Record, Records
from tieline.links.endpoint.openadr.book import DESK
from tieline.node.read_words import OPENADR, says
from tieline.store.journal import JournalDamaged

FOLLOWS = frozenset(
    {
        "AvailabilityDeclared", "AwardPlanned", "CapacityDerated", "CapacityReserved", "ClaimsEnded", "ClaimsPlaced",
        "CommandsIssued", "CommandsReported", "ControlsKept", "CurvesKept", "EngineStarted", "EngineStopped",
        "EventTracked", "IntervalTracked", "LineSettled", "PositionChanged", "ReleaseStaged", "ScheduleMade",
        "SetpointsKept", "SettingsStood",
    }
)  # fmt: skip
"""What the desk records by itself, beat by beat, of what somebody asked: caps that are placed anew each minute,
commands and their answers, what was measured of a call. Who asked it stands in a record of another kind."""
MOST_READ = 5_000
"""Records that one page looks through: behind a quiet night of renewals the next page goes on."""


def each_record(journal: Records, last_seq: int, before_seq: int, count: int, kind: str) -> AuditView:
    """Return records before a number (0: the newest), newest first, of a kind (empty: all)."""
    rows: list[AuditRow] = []
    for record in _backwards(journal, last_seq, before_seq, max(4 * count, 400)):
        if not kind or record.kind == kind:
            rows.append(_row(record))
        if len(rows) == count:
            break
    return AuditView(
        last_seq, journal.last_hash.hex(), tuple(rows), kinds=KINDS, next_before=_next(rows, count)
    )  # fmt: skip


def acts(journal: Records, last_seq: int, before_seq: int, count: int) -> AuditView:
    """Return what people and peers did before a number (0: the newest), newest first, and what was renewed between.

    Of each kind of renewal a page has one row: its newest record, how many there were, and the first of them. No record
    is left out: `next_before` is where the next page begins.
    """
    newest: dict[tuple[str, ...], Record] = {}
    oldest: dict[tuple[str, ...], Record] = {}
    counts: dict[tuple[str, ...], int] = {}
    done = read = 0
    at = before_seq if before_seq > 0 else last_seq + 1
    for record in _backwards(journal, last_seq, before_seq, MOST_READ):
        key = renewal_of(record) or (record.id,)
        done += key == (record.id,)
        newest.setdefault(key, record)
        oldest[key] = record
        counts[key] = counts.get(key, 0) + 1
        at, read = record.seq, read + 1
        if done == count or read == MOST_READ:
            break
    rows = [
        _row(record, counts[key], oldest[key], len(key) > 2) if counts[key] > 1 else _row(record)
        for key, record in newest.items()
    ]  # fmt: skip
    return AuditView(
        last_seq, journal.last_hash.hex(), tuple(rows), kinds=KINDS, next_before=at if at > 1 else 0
    )  # fmt: skip


def renewal_of(record: Record) -> tuple[str, ...]:
    """Return what a record renews; empty: it is an act of its own.

    A program's wish that comes again for the same thing (a DNO's relief, each minute by another watt) renews the one
    before. What a person granted does not, nor what a client of the VTN made or changed.
    """
    if record.kind in FOLLOWS:
        return (record.kind, "")
    if record.kind == OPENADR:
        change: dict[str, Any] = msgspec.msgpack.decode(record.body)
        is_ours = change.get("by", "") in ("", DESK) or change.get("kind") == "reports"
        return (record.kind, "") if is_ours else ()
    fact = from_record(record) if record.kind == AskGranted.__name__ else None
    if isinstance(fact, AskGranted) and not fact.ask.people:
        ask = fact.ask
        return (record.kind, ask.source, ask.resource, ask.quantity.value, ask.kind.value)
    return ()


def _backwards(journal: Records, last_seq: int, before_seq: int, step: int) -> Iterator[Record]:
    top = before_seq if before_seq > 0 else last_seq + 1
    while top > 1:
        low = max(top - 1 - step, 0)
        part = []
        for record in journal.replay(low):
            if record.seq >= top:
                break
            part.append(record)
        yield from reversed(part)
        top = low + 1


def _row(record: Record, count: int = 1, first: Record | None = None, is_of_one: bool = True) -> AuditRow:
    subject = record.subject if is_of_one else ""
    row = AuditRow(record.seq, record.id, record.recorded_at_ns, record.kind, subject, says(record))
    if first is None:
        return row
    return msgspec.structs.replace(row, count=count, first_seq=first.seq, first_ns=first.recorded_at_ns)


def _next(rows: list[AuditRow], count: int) -> int:
    return rows[-1].seq if len(rows) == count and rows[-1].seq > 1 else 0


def bad_seq(journal: Journal) -> int | None:
    """Return the first record of a journal that is not as it was written, or None; it takes a connection of its own.

    A million records take seconds: it runs in a thread, so that the beat and every screen go on.
    """
    own = journal.reader()
    try:
        return own.verify()
    except JournalDamaged as damaged:
        return damaged.seq
    finally:
        own.close()
