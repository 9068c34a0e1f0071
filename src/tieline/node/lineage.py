"""How much of what was settled can be followed both ways: from line to award, and from award to line."""

from __future__ import annotations

from collections.abc import Iterable

from tieline.flow.record import Record

WANTED = ("AwardTaken", "IntervalTracked")
CALLED = ("ClaimsPlaced", "CommandsIssued", "CommandsReported")


def followed(
    records: Iterable[Record], energy_of: dict[str, float], called: frozenset[str]
) -> tuple[float, dict[str, int]]:
    """Return the share of settled energy whose chain is whole, and how many records of each kind the chains hold.

    Args:
        records: The journal.
        energy_of: Settled energy (Wh, absolute) by line id.
        called: Intervals in which anything was asked; only their chains must hold claims, commands and reports.
    """
    kinds: dict[str, str] = {}
    causes: dict[str, tuple[str, ...]] = {}
    effects: dict[str, list[str]] = {}
    for record in records:
        kinds[record.id], causes[record.id] = record.kind, record.caused_by
        for cause in record.caused_by:
            effects.setdefault(cause, []).append(record.id)
    whole = total = 0.0
    seen: dict[str, int] = {}
    for line, energy_wh in energy_of.items():
        total += energy_wh
        chain = _ancestors(line, causes)
        reports = {e for node in chain if kinds.get(node) == "CommandsIssued" for e in effects.get(node, ())}
        found = {kinds[node] for node in (*chain, *reports) if node in kinds}
        awards = [node for node in chain if kinds.get(node) == "AwardTaken"]
        back = all(line in _reach(award, line, effects) for award in awards)
        wanted = (*WANTED, *CALLED) if called & chain else WANTED
        if awards and back and all(kind in found for kind in wanted):
            whole += energy_wh
        for kind in found:
            seen[kind] = seen.get(kind, 0) + 1
    return (whole / total if total else 0.0), dict(sorted(seen.items()))


def _ancestors(start: str, causes: dict[str, tuple[str, ...]]) -> set[str]:
    found, front = {start}, [start]
    while front:
        front = [cause for node in front for cause in causes.get(node, ()) if cause not in found]
        front = list(dict.fromkeys(front))
        found.update(front)
    return found


def _reach(start: str, goal: str, effects: dict[str, list[str]]) -> set[str]:
    found, front = {start}, [start]
    while front and goal not in found:
        front = list(dict.fromkeys(e for node in front for e in effects.get(node, ()) if e not in found))
        found.update(front)
    return found
