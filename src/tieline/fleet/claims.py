"""All live claims of a fleet in columns, and their settlement: the column twin of `resource.arbitrate`.

A decision places one batch: scalars for all its rows and a value for each. Batches stay apart; settling walks them in
order of rank, a level at a time, so that a million rows take a few passes over flat arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.fleet import settle
from tieline.fleet.columns import Fleet
from tieline.resource.arbitrate import REMOTE_LEVELS, Arbitration, arbitrate
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds
from tieline.times import FOREVER_NS

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ClaimBatch:
    """One decision over many rows; the arrays have shape (k,). `id/resource` is the id of one row's claim."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The setpoints of some rows; shape (m,). `winner`, `limited_low` and `limited_high` are serials, -1: nobody."""

    rows: Rows
    target_w: Floats
    low_w: Floats
    high_w: Floats
    winner: Rows
    limited_low: Rows
    limited_high: Rows
    conflict: Mask


@dataclass(slots=True, eq=False)
class _Live:
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


class ClaimBook:
    """Places, ends and settles claims."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._live: dict[int, _Live] = {}
        self._ids: dict[str, int] = {}
        self._by_key: dict[tuple[str, str, Quantity], list[int]] = {}
        self._names: dict[int, str] = {}
        self._dirty = np.ones(len(fleet), np.bool_)
        self._settled_ns = -1
        self.is_local = np.zeros(len(fleet), np.bool_)
        self.reserved_w: dict[str, float] = {}
        self.ends: dict[ClaimEnd, int] = dict.fromkeys(ClaimEnd, 0)
        self.placed = 0

    # --- placing and ending --------------------------------------------------------------------------------------

    def place(self, batch: ClaimBatch) -> bool:
        """Place a batch; older versions of the same source, program and quantity end on its rows (R4).

        The same batch twice has one effect. Returns whether it was placed.
        """
        if batch.id in self._ids:
            return False
        serial = len(self._ids)
        self._ids[batch.id] = serial
        self._names[serial] = batch.id
        fresh = _Live(batch, serial, np.ones(len(batch.rows), np.bool_))
        key = (batch.source, batch.program, batch.quantity)
        mine = np.zeros(len(self._fleet), np.bool_)
        mine[batch.rows] = True
        for old in list(self._by_key.get(key, ())):
            other = self._live[old]
            if other.batch.source_version < batch.source_version:
                self._end(other, mine[other.batch.rows], ClaimEnd.SUPERSEDED)
            elif other.batch.source_version > batch.source_version:
                newer = np.zeros(len(self._fleet), np.bool_)
                newer[other.batch.rows[other.alive]] = True
                fresh.end(newer[batch.rows], ClaimEnd.SUPERSEDED)
        self._live[serial] = fresh
        self._by_key.setdefault(key, []).append(serial)
        self._dirty[batch.rows] = True
        self.placed += len(batch.rows)
        self._drop_if_over(fresh)
        return True

    def cancel(
        self,
        source: str,
        program: str,
        quantity: Quantity,
        rows: Rows | None = None,
        why: ClaimEnd = ClaimEnd.CANCELLED,
    ) -> int:
        """End a source's live claims on some rows (None: all), and return how many; the next valid ones hold again."""
        ended = 0
        only = None
        if rows is not None:
            only = np.zeros(len(self._fleet), np.bool_)
            only[rows] = True
        for serial in list(self._by_key.get((source, program, quantity), ())):
            live = self._live[serial]
            mask = np.ones(len(live.alive), np.bool_) if only is None else only[live.batch.rows]
            ended += self._end(live, mask, why)
        return ended

    def expire(self, now_ns: int) -> int:
        """End what has run out, and return how many claims that were."""
        over = [live for live in self._live.values() if live.batch.end_ns <= now_ns]
        return sum(self._end(live, np.ones(len(live.alive), np.bool_), ClaimEnd.EXPIRED) for live in over)

    def next_change_ns(self, now_ns: int) -> int:
        """Return the next instant at which time alone changes a result; FOREVER_NS where there is none."""
        instants = (t for live in self._live.values() for t in (live.batch.start_ns, live.batch.end_ns) if t > now_ns)
        return min(instants, default=FOREVER_NS)

    def _end(self, live: _Live, mask: Mask, why: ClaimEnd) -> int:
        rows = live.end(mask, why)
        self._dirty[rows] = True
        self.ends[why] += len(rows)
        self._drop_if_over(live)
        return len(rows)

    def _drop_if_over(self, live: _Live) -> None:
        if not live.alive.any():
            self._live.pop(live.serial, None)
            serials = self._by_key[(live.batch.source, live.batch.program, live.batch.quantity)]
            if live.serial in serials:
                serials.remove(live.serial)

    # --- settling ------------------------------------------------------------------------------------------------

    def arbitrate(self, now_ns: int, rows: Rows | None = None) -> Settled:
        """Settle active power for some rows; None: those whose result may have changed since the last time."""
        if rows is None:
            self._mark_started(now_ns)
            rows = np.flatnonzero(self._dirty).astype(np.int32)
            self._dirty[:] = False
            self._settled_ns = now_ns
        return self._settle(now_ns, rows, Level.LOCAL + 1)

    def bounds_above(self, rows: Rows, level: Level, now_ns: int) -> tuple[Floats, Floats]:
        """Return the bounds (W) that levels stronger than `level` leave on each row."""
        settled = self._settle(now_ns, rows, level)
        return settled.low_w, settled.high_w

    def target_of(self, rows: Rows, source: str, program: str, quantity: Quantity) -> tuple[Floats, NDArray[np.int64]]:
        """Return a source's own live targets on rows (NaN: none) and when they end (ns)."""
        value = np.full(len(self._fleet), np.nan)
        end_ns = np.zeros(len(self._fleet), np.int64)
        for serial in self._by_key.get((source, program, quantity), ()):
            live = self._live[serial]
            mine = live.batch.rows[live.alive]
            value[mine] = live.batch.value[live.alive]
            end_ns[mine] = live.batch.end_ns
        return value[rows], end_ns[rows]

    def limits_of(self, rows: Rows, source: str, program: str, quantity: Quantity) -> tuple[Floats, Floats]:
        """Return a source's own live limits on rows: low and high, NaN where it has none."""
        low, high = np.full(len(self._fleet), np.nan), np.full(len(self._fleet), np.nan)
        for serial in self._by_key.get((source, program, quantity), ()):
            live = self._live[serial]
            if live.batch.kind is ClaimKind.LIMIT:
                mine = live.batch.rows[live.alive]
                low[mine], high[mine] = live.batch.low[live.alive], live.batch.high[live.alive]
        return low[rows], high[rows]

    def _mark_started(self, now_ns: int) -> None:
        for live in self._live.values():
            if self._settled_ns < live.batch.start_ns <= now_ns or self._settled_ns < live.batch.end_ns <= now_ns:
                self._dirty[live.batch.rows] = True

    def _settle(self, now_ns: int, rows: Rows, below: int) -> Settled:
        fleet, count = self._fleet, len(rows)
        place = np.full(len(fleet), -1, np.int32)
        place[rows] = np.arange(count, dtype=np.int32)
        held = place.copy()
        held[self.is_local] = -1  # remote levels don't reach a device in LOCAL (R5)
        low_w, high_w = -fleet.max_absorb_w[rows], fleet.max_inject_w[rows].copy()
        low_by, high_by = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
        active = [
            live
            for live in self._live.values()
            if live.batch.start_ns <= now_ns < live.batch.end_ns
            and live.batch.quantity is Quantity.P
            and live.batch.level < below
        ]
        self._fold_limits(active, place, held, fleet.safe_w[rows], low_w, high_w, low_by, high_by)
        winner, target_w, conflict = self._compete(active, place, held, count)
        total_w = np.zeros(count)
        for live in active:
            if live.batch.kind is ClaimKind.DELTA:
                where = held if live.batch.level in REMOTE_LEVELS else place
                held_w = self.reserved_w.get(live.batch.reservation_id or "", 0.0)
                settle.add_deltas(live.batch.rows, live.alive, live.batch.value, where, held_w, total_w)
        settle.clamp(target_w, winner, fleet.default_w[rows], total_w, low_w, high_w)
        return Settled(rows, target_w, low_w, high_w, winner, low_by, high_by, conflict)

    def _fold_limits(
        self,
        active: list[_Live],
        place: Rows,
        held: Rows,
        safe_w: Floats,
        low_w: Floats,
        high_w: Floats,
        low_by: Rows,
        high_by: Rows,
    ) -> None:
        limits = [live for live in active if live.batch.kind is ClaimKind.LIMIT]
        if not limits:
            return
        count = len(low_w)
        level_low, level_high = np.full(count, -np.inf), np.full(count, np.inf)
        level_low_by, level_high_by = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
        for level in sorted({live.batch.level for live in limits}):
            where = held if level in REMOTE_LEVELS else place
            for live in sorted((x for x in limits if x.batch.level == level), key=lambda x: rank_key(x.batch)):
                b = live.batch
                settle.gather_limits(
                    b.rows, live.alive, b.low, b.high, where, live.serial,
                    level_low, level_high, level_low_by, level_high_by,
                )  # fmt: skip
            settle.fold_level(
                level_low, level_high, level_low_by, level_high_by, safe_w, low_w, high_w, low_by, high_by
            )

    def _compete(self, active: list[_Live], place: Rows, held: Rows, count: int) -> tuple[Rows, Floats, Mask]:
        winner, best_rank = np.full(count, -1, np.int32), np.zeros(count, np.int32)
        best_class, target_w = np.zeros(count, np.int32), np.zeros(count)
        conflict = np.zeros(count, np.bool_)
        targets = sorted((x for x in active if x.batch.kind is ClaimKind.SET), key=lambda x: rank_key(x.batch))
        classes: dict[tuple[int, int], int] = {}
        for rank, live in enumerate(targets):
            b = live.batch
            tie_class = classes.setdefault((b.level, b.primacy), len(classes))
            where = held if b.level in REMOTE_LEVELS else place
            settle.compete(
                b.rows, live.alive, b.value, where, live.serial, rank, tie_class,
                best_rank, best_class, winner, target_w, conflict,
            )  # fmt: skip
        return winner, target_w, conflict

    # --- explaining ----------------------------------------------------------------------------------------------

    def batch_ids(self, *serials: Rows) -> list[str]:
        """Return the ids of the batches named by serials, each once, in order of placing; -1 is passed over."""
        unique = np.unique(np.concatenate(serials)) if serials else np.zeros(0, np.int32)
        return [self._names[int(serial)] for serial in unique if serial >= 0]

    def claims_on(self, row: int) -> list[Claim]:
        """Return the live claims on a row as objects."""
        resource = self._fleet.id_of(row)
        found: list[Claim] = []
        for live in self._live.values():
            for k in np.flatnonzero((live.batch.rows == row) & live.alive):
                found.append(_claim(live.batch, int(k), resource))
        return found

    def explain(self, row: int, now_ns: int) -> Arbitration:
        """Return the whole arbitration of one row by the scalar twin."""
        fleet = self._fleet
        rating = Bounds(-float(fleet.max_absorb_w[row]), float(fleet.max_inject_w[row]))
        return arbitrate(
            rating,
            self.claims_on(row),
            now_ns=now_ns,
            default_w=float(fleet.default_w[row]),
            safe_w=float(fleet.safe_w[row]),
            is_local=bool(self.is_local[row]),
            reserved_w=self.reserved_w,
        )

    def count(self) -> int:
        """Return how many claims live."""
        return sum(int(live.alive.sum()) for live in self._live.values())

    def batches(self) -> Iterable[tuple[ClaimBatch, Mask]]:
        """Yield each live batch with the mask of its living claims."""
        for live in self._live.values():
            yield live.batch, live.alive

    def digest(self) -> str:
        """Return the hash of what lives."""
        digest = blake2b(digest_size=16)
        for live in self._live.values():
            digest.update(live.batch.id.encode())
            digest.update(live.alive.tobytes())
        return digest.hexdigest()


def _claim(batch: ClaimBatch, k: int, resource: str) -> Claim:
    return Claim(
        id=f"{batch.id}/{resource}",
        source=batch.source,
        principal=batch.principal,
        program=batch.program,
        level=batch.level,
        resource=resource,
        quantity=batch.quantity,
        kind=batch.kind,
        start_ns=batch.start_ns,
        created_ns=batch.created_ns,
        because=batch.because,
        end_ns=batch.end_ns,
        low=float(batch.low[k]),
        high=float(batch.high[k]),
        value=float(batch.value[k]),
        primacy=batch.primacy,
        source_version=batch.source_version,
        reservation_id=batch.reservation_id,
    )
