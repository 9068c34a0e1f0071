"""One settlement of some rows in columns: the column twin of `resource.arbitrate.arbitrate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.fleet import settle
from tieline.fleet.columns import Fleet, places
from tieline.resource.arbitrate import ABOVE_TIMERS, LOCKS_OUT, NOTHING_HELD, REMOTE_LEVELS, Held
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Quantity
from tieline.resource.level import Level

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
Mask = NDArray[np.bool_]
NOBODY, TIMER = -1, -2
"""Serials of no claim: nobody, and the device's own hold timer."""
OPEN = int(Level.LOCAL) + 1


@dataclass(frozen=True, slots=True, eq=False)
class ClaimBatch:
    """One decision over many rows; the arrays have shape (k,). `id/resource` is the id of one row's claim.

    `scope` is the group whose limit or target these claims share out (empty: none); versions count within it.
    """

    id: str
    source: str
    principal: str
    program: str
    level: Level
    primacy: int
    quantity: Quantity
    kind: ClaimKind
    because: str
    source_version: int
    created_ns: int
    start_ns: int
    end_ns: int
    rows: Rows
    low: Floats
    high: Floats
    value: Floats
    reservation_id: str | None = None
    scope: str = ""

    def claim_of(self, k: int, resource: str) -> Claim:
        """Return the claim of one row, the k-th, on its resource."""
        return Claim(
            id=f"{self.id}/{resource}",
            source=self.source,
            principal=self.principal,
            program=self.program,
            level=self.level,
            resource=resource,
            quantity=self.quantity,
            kind=self.kind,
            start_ns=self.start_ns,
            created_ns=self.created_ns,
            because=self.because,
            end_ns=self.end_ns,
            low=float(self.low[k]),
            high=float(self.high[k]),
            value=float(self.value[k]),
            primacy=self.primacy,
            source_version=self.source_version,
            reservation_id=self.reservation_id,
            scope=self.scope,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The setpoints of some rows; shape (m,). `winner`, `limited_low`, `limited_high` are serials of batches, as is
    `barred`: the closed gate behind which no weaker target counts.

    -1 stands for nobody, -2 for the device's own hold timer. `told_low_w` and `told_high_w` are the limits of claims
    alone: what the device is told, as it keeps its timer by itself.
    """

    rows: Rows
    target_w: Floats
    low_w: Floats
    high_w: Floats
    winner: Rows
    limited_low: Rows
    limited_high: Rows
    conflict: Mask
    told_low_w: Floats
    told_high_w: Floats
    barred: Rows


@dataclass(slots=True, eq=False)
class Live:
    """A batch with the state of its claims."""

    batch: ClaimBatch
    serial: int
    alive: Mask
    ends: dict[ClaimEnd, int] = field(default_factory=dict)

    def end(self, mask: Mask, why: ClaimEnd) -> Rows:
        """End the claims under a mask that still live, and return their rows."""
        ending = self.alive & mask
        self.alive &= ~mask
        self.ends[why] = self.ends.get(why, 0) + int(ending.sum())
        return self.batch.rows[ending]


def rank_key(batch: ClaimBatch) -> tuple[int, int, int, str, str]:
    """Return what targets compete by, the least first; see `resource.arbitrate.rank`."""
    return (batch.level, batch.primacy, -batch.created_ns, batch.source, batch.id)


@dataclass(slots=True, eq=False)
class Holds:
    """The hold timers of a fleet; shape (n,) each. A row whose `until_ns` is over has none."""

    low_w: Floats
    high_w: Floats
    until_ns: Instants

    @staticmethod
    def none(count: int) -> Holds:
        """Return timers of which none runs."""
        return Holds(np.zeros(count), np.zeros(count), np.zeros(count, np.int64))


class Gates:
    """Which rows stand behind a closed gate, and whose: found anew when gates come, go or change, not at each asking.

    Whoever changes a gate's claims, or which devices are in LOCAL, counts `moves` on.
    """

    def __init__(self) -> None:
        self.moves = 0
        self._asked: tuple[int, ...] = ()
        self._found = _closed((), np.zeros(0, np.bool_))

    def closed(self, gates: Sequence[Live], is_local: Mask) -> tuple[Rows, NDArray[np.int32], Rows]:
        """Return the rows behind a closed gate, the level of each one's gate, and the serial of its batch."""
        asked = (self.moves, *(x.serial for x in gates))
        if asked != self._asked:
            ranked = sorted((x for x in gates if x.batch.kind is ClaimKind.GATE), key=lambda x: rank_key(x.batch))
            self._asked, self._found = asked, _closed(ranked, is_local)
        return self._found


def _closed(ranked: Sequence[Live], is_local: Mask) -> tuple[Rows, NDArray[np.int32], Rows]:
    """Find them of gates in order of rank; remote ones don't reach a device in LOCAL (R5)."""
    if not ranked:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    # One pass over all gates: a territory has an opt-out a batch, and thousands of them.
    rows = np.concatenate([live.batch.rows for live in ranked])
    alive = np.concatenate([live.alive for live in ranked])
    value = np.concatenate([live.batch.value for live in ranked])
    of = np.repeat(np.arange(len(ranked)), [len(live.batch.rows) for live in ranked])
    remote = np.array([live.batch.level in REMOTE_LEVELS for live in ranked], np.bool_)[of]
    asked = np.flatnonzero(alive & ~(remote & is_local[rows]))
    # The strongest of each row decides: laid down last, it stays.
    strongest = np.full(len(is_local), -1, np.int64)
    strongest[rows[asked[::-1]]] = asked[::-1]
    decides = strongest[strongest >= 0]
    decides = decides[value[decides] == 0.0]
    levels = np.array([live.batch.level for live in ranked], np.int32)
    serials = np.array([live.serial for live in ranked], np.int32)
    return rows[decides], levels[of[decides]], serials[of[decides]]


class Settling:
    """One settlement: `low_w` to `conflict` fill up as its steps are done; all of shape (m,)."""

    def __init__(self, fleet: Fleet, rows: Rows, is_local: Mask, quantity: Quantity, memo: Gates) -> None:
        count = len(rows)
        self._memo = memo
        self.fleet, self.rows, self.quantity = fleet, rows, quantity
        self.place = np.full(len(fleet), -1, np.int32)
        self.place[rows] = np.arange(count, dtype=np.int32)
        self._is_local = is_local
        self._reach: dict[int, Rows] = {}
        self._at = at = places(rows)
        if quantity is Quantity.P:
            self.low_w, self.high_w = -fleet.max_absorb_w[at], fleet.max_inject_w[at]
            self.safe_w, self.default_w = fleet.safe_w[at], fleet.default_w[at]
        else:  # reactive power: within the apparent power, none by default
            self.low_w, self.high_w = -fleet.max_va[at], fleet.max_va[at]
            self.safe_w, self.default_w = np.zeros(count), np.zeros(count)
        self.low_by, self.high_by = np.full(count, NOBODY, np.int32), np.full(count, NOBODY, np.int32)
        self.conflict = np.zeros(count, np.bool_)
        self._barred: dict[int, Rows] = {}
        self._gate_level: NDArray[np.int32] | None = None
        self._gate_by = np.full(count, NOBODY, np.int32)

    def run(self, active: Sequence[Live], reserved_w: Mapping[str, Held], holds: Holds, now_ns: int) -> Settled:
        """Settle the live batches of this instant."""
        self._gates([x for x in active if x.batch.quantity is Quantity.CONNECT])
        mine = [x for x in active if x.batch.quantity is self.quantity]
        self._limits([x for x in mine if x.batch.kind is ClaimKind.LIMIT], holds, now_ns)
        winner, target_w = self._compete([x for x in mine if x.batch.kind is ClaimKind.SET])
        total_w = self._deltas([x for x in mine if x.batch.kind is ClaimKind.DELTA], reserved_w)
        settle.clamp(target_w, winner, self.default_w, total_w, self.low_w, self.high_w)
        return Settled(
            self.rows, target_w, self.low_w, self.high_w, winner, self.low_by, self.high_by, self.conflict,
            self.low_w, self.high_w, self._gate_by,
        )  # fmt: skip

    def bounds(self, active: Sequence[Live], holds: Holds | None, now_ns: int) -> tuple[Floats, Floats]:
        """Return the limits (W) of claims and of hold timers; None: of claims alone."""
        self._gates([x for x in active if x.batch.quantity is Quantity.CONNECT])
        limits = [x for x in active if x.batch.quantity is self.quantity and x.batch.kind is ClaimKind.LIMIT]
        self._limits(limits, holds, now_ns)
        return self.low_w, self.high_w

    # --- who reaches whom ----------------------------------------------------------------------------------------

    def _where(self, level: Level) -> Rows:
        """Return `place` for limits of a level: remote ones don't reach a device in LOCAL (R5)."""
        key = int(level in REMOTE_LEVELS)
        if key not in self._reach:
            held = self.place.copy()
            held[self._is_local] = -1
            self._reach[1], self._reach[0] = held, self.place
        return self._reach[key]

    def _past_gate(self, level: Level) -> Rows:
        """Return `place` for targets of a level: those behind a closed gate of a stronger one don't count."""
        where = self._where(level)
        if self._gate_level is None:
            return where
        if int(level) not in self._barred:
            barred = where.copy()
            barred[self.rows[self._gate_level < int(level)]] = -1
            self._barred[int(level)] = barred
        return self._barred[int(level)]

    def _gates(self, gates: Sequence[Live]) -> None:
        if not any(x.batch.kind is ClaimKind.GATE for x in gates):
            return
        rows, levels, serials = self._memo.closed(gates, self._is_local)
        at = self.place[rows]
        mine = at >= 0
        level = np.full(len(self.rows), OPEN, np.int32)
        level[at[mine]], self._gate_by[at[mine]] = levels[mine], serials[mine]
        self._gate_level = level

    # --- the rules -----------------------------------------------------------------------------------------------

    def _limits(self, limits: Sequence[Live], holds: Holds | None, now_ns: int) -> None:
        count = len(self.rows)
        level_low, level_high = np.full(count, -np.inf), np.full(count, np.inf)
        level_low_by, level_high_by = np.full(count, NOBODY, np.int32), np.full(count, NOBODY, np.int32)
        held: Mask | bool = False
        if holds is not None and self.quantity is Quantity.P:
            held = holds.until_ns[self._at] > now_ns
        levels = {x.batch.level for x in limits}
        if self._gate_level is not None:
            levels |= {Level(level) for level in LOCKS_OUT if (self._gate_level == level).any()}
        timed = not np.any(held)
        for level in sorted(levels):
            if holds is not None and not timed and level not in ABOVE_TIMERS:
                self._fold_holds(holds, held)
                timed = True
            for live in sorted((x for x in limits if x.batch.level == level), key=lambda x: rank_key(x.batch)):
                b = live.batch
                settle.gather_limits(
                    b.rows, live.alive, b.low, b.high, self._where(level), live.serial,
                    level_low, level_high, level_low_by, level_high_by,
                )  # fmt: skip
            settle.fold_level(
                level_low, level_high, level_low_by, level_high_by, self.safe_w,
                self.low_w, self.high_w, self.low_by, self.high_by, self.conflict,
            )  # fmt: skip
            if self._gate_level is not None and level in LOCKS_OUT:
                locked_w = np.where(self._gate_level == int(level), self.safe_w, np.nan)
                self._fold(locked_w, locked_w, self._gate_by)
        if holds is not None and not timed:
            self._fold_holds(holds, held)

    def _fold_holds(self, holds: Holds, held: Mask | bool) -> None:
        low_w = np.where(held, holds.low_w[self.rows], np.nan)
        self._fold(low_w, holds.high_w[self.rows], np.full(len(self.rows), TIMER, np.int32))

    def _fold(self, low_w: Floats, high_w: Floats, by: Rows) -> None:
        settle.fold_bounds(low_w, high_w, by, self.low_w, self.high_w, self.low_by, self.high_by)

    def _compete(self, targets: Sequence[Live]) -> tuple[Rows, Floats]:
        count = len(self.rows)
        winner, best_rank = np.full(count, NOBODY, np.int32), np.zeros(count, np.int32)
        best_class, target_w = np.zeros(count, np.int32), np.zeros(count)
        classes: dict[tuple[int, int], int] = {}
        for rank, live in enumerate(sorted(targets, key=lambda x: rank_key(x.batch))):
            b = live.batch
            tie_class = classes.setdefault((b.level, b.primacy), len(classes))
            settle.compete(
                b.rows, live.alive, b.value, self._past_gate(b.level), live.serial, rank, tie_class,
                best_rank, best_class, winner, target_w, self.conflict,
            )  # fmt: skip
        return winner, target_w

    def _deltas(self, deltas: Sequence[Live], reserved_w: Mapping[str, Held]) -> Floats:
        total_w = np.zeros(len(self.rows))
        used: dict[str, tuple[Floats, Floats]] = {}
        for live in sorted(deltas, key=lambda x: rank_key(x.batch)):
            b = live.batch
            name = b.reservation_id or ""
            up_w, down_w = used.setdefault(name, (np.zeros(len(self.rows)), np.zeros(len(self.rows))))
            held_up_w, held_down_w = reserved_w.get(name, NOTHING_HELD)
            settle.add_deltas(
                b.rows, live.alive, b.value, self._past_gate(b.level), held_up_w, held_down_w, up_w, down_w, total_w
            )
        return total_w
