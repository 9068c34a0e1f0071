"""The trace: from any record to all that led to it and all that followed, by `caused_by`."""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct

from tieline.flow.record import Record, Records

Counts = tuple[Callable[[Record], bool], Callable[[Record], Collection[str] | None]]
"""Which records are looked at, and which causes of each."""


class Trace(Struct, frozen=True):
    """Records and the arrows between them (cause, effect); `is_cut` when the limit left some out."""

    start: str
    records: tuple[Record, ...]
    edges: tuple[tuple[str, str], ...]
    is_cut: bool

    def kinds(self) -> dict[str, int]:
        """Return how many records of each kind there are."""
        counts: dict[str, int] = {}
        for record in self.records:
            counts[record.kind] = counts.get(record.kind, 0) + 1
        return counts


def _any(record: Record) -> bool:
    return True


def _all_of(record: Record) -> Collection[str] | None:
    return None


def trace(
    journal: Records,
    record_id: str,
    limit: int = 2_000,
    max_depth: int = 32,
    concerns: Callable[[Record], bool] = _any,
    most_effects: int | None = None,
    causes_of: Callable[[Record], Collection[str] | None] = _all_of,
) -> Trace | None:
    """Return what led to a record and what followed from it, nearest first; None where there is no such record.

    Backwards all causes of causes are followed, forwards all effects of effects; siblings (other effects of the same
    cause) are not, or a trace from one line would hold the whole day.

    Args:
        journal: Where the records are.
        record_id: Where to start.
        limit: So many records at most.
        max_depth: So many steps either way at most.
        concerns: Records for which this is false are left out, and what led to them or followed from them.
        most_effects: So many effects of one step are looked at (None: `limit`); more than `limit` where many are
            left out.
        causes_of: Which causes of a record count (None: all); by others it is neither reached nor explained.
    """
    start = journal.get(record_id)
    if start is None:
        return None
    records: dict[str, Record] = {start.id: start}
    edges: dict[tuple[str, str], None] = {}
    is_cut = _backwards(journal, start.id, records, edges, limit, max_depth, (concerns, causes_of))
    seen = most_effects or limit
    is_cut |= _forwards(journal, start.id, records, edges, (limit, seen), max_depth, (concerns, causes_of))
    ordered = sorted(records.values(), key=lambda record: record.seq)
    return Trace(record_id, tuple(ordered), tuple(edges), is_cut)


def _backwards(
    journal: Records,
    start: str,
    records: dict[str, Record],
    edges: dict[tuple[str, str], None],
    limit: int,
    depth: int,
    counts: Counts,
) -> bool:
    (concerns, causes_of), front = counts, [start]
    for _ in range(depth):
        found_by: dict[str, list[str]] = {}
        for effect, causes in journal.causes_of(front).items():
            mine = causes_of(records[effect])
            for cause in causes:
                if mine is None or cause in mine:
                    found_by.setdefault(cause, []).append(effect)
        nearer = [cause for cause in found_by if cause not in records]
        many = journal.many(nearer[: max(limit - len(records), 0)])
        found = [record for record in many if concerns(record)]
        left_out = {record.id for record in many} - {record.id for record in found}
        edges.update(
            ((cause, effect), None) for cause, by in found_by.items() if cause not in left_out for effect in by
        )
        records.update((record.id, record) for record in found)
        front = [record.id for record in found]
        if not front:
            return len(records) >= limit
    return True


def _forwards(
    journal: Records,
    start: str,
    records: dict[str, Record],
    edges: dict[tuple[str, str], None],
    limits: tuple[int, int],
    depth: int,
    counts: Counts,
) -> bool:
    (limit, most_effects), (concerns, causes_of), front = limits, counts, [start]
    for _ in range(depth):
        fresh: list[str] = []
        for cause, record in journal.effects_of(front, most_effects):
            mine = causes_of(record)
            if mine is not None and cause not in mine:
                continue
            if record.id not in records:
                if not concerns(record):
                    continue
                if len(records) < limit:
                    records[record.id] = record
                    fresh.append(record.id)
            edges[(cause, record.id)] = None
        front = fresh
        if not front:
            return len(records) >= limit
    return True
