"""The book of enrolments as the desk took it: who may be called under which program, and why others may not.

It follows from facts alone: a file that changes is taken anew as a fact, so that what was decided by the former one
stays as it was, and a replay finds the same. Where a book is asked, nobody is called by a program's event who isn't
enrolled in that program through the whole call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.contract.enrolment import ProgramEnrolment, State
from tieline.fleet.columns import Fleet
from tieline.resource.claim import Refusal
from tieline.resource.identity import GROUP_KINDS
from tieline.times import FOREVER_NS, iso

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Instants = NDArray[np.int64]
RULE = "enrolments"
"""What bars whom no enrolment names; another is barred by the id of his own."""
MOST_PROGRAMS = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Enrolments in one program, a row of the fleet each (one on a group: all its devices); shape (n,).

    `is_active` and `is_ahead` (confirmed) hold from `from_ns` until `until_ns`, where a step that lies ahead is taken.
    """

    rows: Rows
    starts_ns: Instants
    ends_ns: Instants
    is_active: Mask
    is_ahead: Mask
    from_ns: int
    until_ns: int


class Enrolled:
    """The enrolments of a fleet, by program."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.by_id: dict[str, ProgramEnrolment] = {}
        self._of: dict[str, list[ProgramEnrolment]] = {}
        self._at: dict[str, list[ProgramEnrolment]] = {}
        self._groups: list[str] = []
        self._columns: dict[str, _Columns] = {}

    def take(self, changed: Iterable[ProgramEnrolment], gone: Iterable[str]) -> None:
        """Take enrolments that are new or other than before, and leave those that are gone."""
        for name in gone:
            self.by_id.pop(name, None)
        self.by_id |= {one.id: one for one in changed}
        self._of, self._at, self._columns = {}, {}, {}
        for one in self.by_id.values():
            self._of.setdefault(one.program, []).append(one)
            self._at.setdefault(one.resource, []).append(one)
        held = [name for name in self._at if self._fleet.holds(name)]
        self._groups = [name for name in held if self._fleet.kind_of(name) in GROUP_KINDS]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What enrolments name that the registry doesn't hold: nothing of it is called."""
        return tuple(sorted({one.resource for one in self.by_id.values() if not self._fleet.holds(one.resource)}))

    def digest(self) -> str:
        """Return the hash of all enrolments."""
        held = [self.by_id[name] for name in sorted(self.by_id)]
        return blake2b(msgspec.msgpack.encode(held), digest_size=16).hexdigest()

    def serves(self, program: str, start_ns: int, end_ns: int, now_ns: int) -> Mask:
        """Return which devices are enrolled in a program through the whole of [start, end); shape (n,).

        They are active by what is known now. One whose time begins after now, and that is confirmed, counts as well:
        it is asked again as the call begins.
        """
        found, columns = np.zeros(len(self._fleet), np.bool_), self._columns_of(program, now_ns)
        runs = (columns.starts_ns <= start_ns) & (end_ns <= columns.ends_ns)
        runs &= columns.is_active | (columns.is_ahead & (columns.starts_ns > now_ns))
        found[columns.rows[runs]] = True
        return found

    def _columns_of(self, program: str, now_ns: int) -> _Columns:
        known = self._columns.get(program)
        if known is not None and known.from_ns <= now_ns < known.until_ns:
            return known
        every = [one for one in self._of.get(program, ()) if self._fleet.holds(one.resource)]
        rows = [self._fleet.leaves(one.resource) for one in every]
        counts = [len(each) for each in rows]
        states = [one.state_at(now_ns) for one in every]
        steps_ns = [step.at_ns for one in every for step in one.steps]
        made = _Columns(
            np.concatenate([np.zeros(0, np.int32), *rows]),
            np.repeat(np.array([one.starts_ns for one in every], np.int64), counts),
            np.repeat(np.array([one.ends_ns for one in every], np.int64), counts),
            np.repeat(np.array([state is State.ACTIVE for state in states], np.bool_), counts),
            np.repeat(np.array([state is State.CONFIRMED for state in states], np.bool_), counts),
            max((at_ns for at_ns in steps_ns if at_ns <= now_ns), default=0),
            min((at_ns for at_ns in steps_ns if at_ns > now_ns), default=FOREVER_NS),
        )
        if len(self._columns) >= MOST_PROGRAMS:  # names of programs are anybody's words
            self._columns.clear()
        self._columns[program] = made
        return made

    def of_row(self, row: int) -> list[ProgramEnrolment]:
        """Return the enrolments of a device or of a group that it belongs to, by when they begin."""
        above = [name for name in self._groups if row in self._fleet.leaves(name)]
        mine = [one for name in (self._fleet.id_of(row), *above) for one in self._at.get(name, ())]
        return sorted(mine, key=lambda one: (one.starts_ns, one.id))

    def refusals(self, program: str, rows: Rows, start_ns: int, end_ns: int, now_ns: int) -> list[Refusal]:
        """Return of each row that isn't enrolled in a program through [start, end) why, in the order of rows."""
        names = [self._fleet.id_of(row) for row in rows.tolist()]
        found = {row: list(self._at.get(name, ())) for row, name in zip(rows.tolist(), names, strict=True)}
        for group in self._groups:
            for row in np.intersect1d(rows, self._fleet.leaves(group)).tolist():
                found[row] += self._at[group]
        return [
            _refusal(program, name, [one for one in its if one.program == program], start_ns, end_ns, now_ns)
            for name, its in zip(names, found.values(), strict=True)
        ]


def _refusal(
    program: str, resource: str, its: list[ProgramEnrolment], start_ns: int, end_ns: int, now_ns: int
) -> Refusal:
    """Return why a device isn't called, by the enrolment that comes nearest to the call."""
    if not its:
        return Refusal(f"not enrolled in {program}", "resource", resource, "an enrolment in it", rule=RULE)
    one = max(its, key=lambda each: (min(each.ends_ns, end_ns) - max(each.starts_ns, start_ns), each.starts_ns))
    until = "for good" if one.ends_ns == FOREVER_NS else f"until {iso(one.ends_ns)}"
    limit, state = f"enrolled from {iso(one.starts_ns)} {until}", one.state_at(now_ns)
    last = next((step for step in reversed(one.steps) if step.at_ns <= now_ns), None)
    if one.starts_ns >= end_ns or (one.starts_ns > start_ns and state in (State.ACTIVE, State.CONFIRMED)):
        return Refusal(f"not enrolled in {program} before {iso(one.starts_ns)}", "resource", resource, limit,
                       rule=one.id)  # fmt: skip
    if one.ends_ns < end_ns and state is not State.ENDED:
        return Refusal(f"enrolled in {program} only until {iso(one.ends_ns)}", "resource", resource, limit, rule=one.id)
    stands = state.value.replace("_", " ") + ("" if last is None else f" since {iso(last.at_ns)}")
    why = "" if last is None else f" ({last.why.value.replace('_', ' ')})"
    if state is State.CONFIRMED:
        why += ", and nobody has begun it (`tieline enrolments advance`)"
    return Refusal(f"its enrolment in {program} is {stands}{why}", "resource", resource, "active", rule=one.id)
