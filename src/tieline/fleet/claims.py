"""All live claims of a fleet in columns, and their settlement: the column twin of `resource.arbitrate`.

A decision places one batch: scalars for all its rows and a value for each. Batches stay apart; settling walks them in
order of rank, a level at a time, so that a million rows take a few passes over flat arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.fleet.kept import KeptBounds
from tieline.fleet.modes import fit_apparent, settle_modes
from tieline.fleet.settling import OPEN, ClaimBatch, Floats, Gates, Holds, Live, Mask, Rows, Settled, Settling
from tieline.resource.arbitrate import LOCKS_OUT, Arbitration, Held, arbitrate
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.mode import ModeGroup
from tieline.resource.setpoint import Bounds
from tieline.times import FOREVER_NS

__all__ = ["ClaimBatch", "ClaimBook", "Floats", "Mask", "Rows", "Settled"]
_Key = tuple[str, str, Quantity, str]  # source, program, quantity, scope


class ClaimBook:
    """Places, ends and settles claims."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._live: dict[int, Live] = {}
        self._ids: dict[str, int] = {}
        self._by_key: dict[_Key, list[int]] = {}
        self._names: dict[int, str] = {}
        self._levels: list[int] = []
        self._dirty = np.ones(len(fleet), np.bool_)
        self._soonest_end_ns = FOREVER_NS
        self._settled_ns = self.latest_ns = -1
        self._is_set_back = False
        self.is_local = np.zeros(len(fleet), np.bool_)
        self.holds = Holds.none(len(fleet))
        self.reserved_w: dict[str, Held] = {}
        self.ends: dict[ClaimEnd, int] = dict.fromkeys(ClaimEnd, 0)
        self.placed = 0
        self.ended = np.full(len(fleet), -1, np.int32)
        """What ended last on each row and was not told to it yet (-1: nothing); see `end_of`."""
        self._ends: list[tuple[str, ...]] = []
        self._moves = 0
        self._bounds, self._gates = KeptBounds(), Gates()

    # --- placing and ending --------------------------------------------------------------------------------------

    def place(self, batch: ClaimBatch) -> bool:
        """Place a batch; older versions of the same source, program, quantity and scope end on its rows (R4).

        The same batch twice has one effect. Returns whether it was placed.
        """
        if batch.id in self._ids:
            return False
        self.latest_ns = max(self.latest_ns, batch.created_ns)
        serial = len(self._ids)
        self._ids[batch.id] = serial
        self._names[serial] = batch.id
        self._levels.append(int(batch.level))
        fresh = Live(batch, serial, np.ones(len(batch.rows), np.bool_))
        mine = np.zeros(len(self._fleet), np.bool_)
        mine[batch.rows] = True
        over = 0
        for old in self._serials(batch.source, batch.program, batch.quantity, batch.scope):
            other = self._live[old]
            if other.batch.source_version < batch.source_version:
                self._end(other, mine[other.batch.rows], ClaimEnd.SUPERSEDED, (batch.id,))
            elif other.batch.source_version > batch.source_version:
                newer = np.zeros(len(self._fleet), np.bool_)
                newer[other.batch.rows[other.alive]] = True
                fresh.end(newer[batch.rows], ClaimEnd.SUPERSEDED)
                self.ends[ClaimEnd.SUPERSEDED] += int((~fresh.alive).sum()) - over
                over = int((~fresh.alive).sum())
        self._live[serial] = fresh
        self._note_move(batch)
        self._soonest_end_ns = min(self._soonest_end_ns, batch.end_ns)
        self._by_key.setdefault(_key(batch), []).append(serial)
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
        scope: str | None = None,
        record: str = "",
    ) -> int:
        """End a source's live claims by a record, and return how many; the next valid ones hold again.

        Only those on some rows (None: on all), and of one scope (None: of every).
        """
        ended = 0
        only = None
        if rows is not None:
            only = np.zeros(len(self._fleet), np.bool_)
            only[rows] = True
        for serial in self._serials(source, program, quantity, scope):
            live = self._live[serial]
            mask = np.ones(len(live.alive), np.bool_) if only is None else only[live.batch.rows]
            ended += self._end(live, mask, why, (live.batch.id, record) if record else (live.batch.id,))
        return ended

    def _serials(self, source: str, program: str, quantity: Quantity, scope: str | None) -> list[int]:
        """Return the serials of a source's live batches of one scope; of every scope where it is None."""
        if scope is not None:
            return list(self._by_key.get((source, program, quantity, scope), ()))
        keys = [key for key in self._by_key if key[:3] == (source, program, quantity)]
        return [serial for key in keys for serial in self._by_key[key]]

    def has_scope(self, source: str, program: str, quantity: Quantity, scope: str) -> bool:
        """Return whether a source has live claims under a scope."""
        return bool(self._by_key.get((source, program, quantity, scope)))

    def expire(self, now_ns: int) -> int:
        """End what has run out, and return how many claims that were."""
        if now_ns < self._soonest_end_ns:
            return 0
        over = [live for live in self._live.values() if live.batch.end_ns <= now_ns]
        ended = sum(self._end(live, np.ones(len(live.alive), np.bool_), ClaimEnd.EXPIRED) for live in over)
        self._soonest_end_ns = min((live.batch.end_ns for live in self._live.values()), default=FOREVER_NS)
        return ended

    def next_change_ns(self, now_ns: int) -> int:
        """Return the next instant at which time alone changes a result; FOREVER_NS where there is none."""
        instants = (t for live in self._live.values() for t in (live.batch.start_ns, live.batch.end_ns) if t > now_ns)
        timers = self.holds.until_ns[self.holds.until_ns > now_ns]
        return min(min(instants, default=FOREVER_NS), int(timers.min(initial=FOREVER_NS)))

    def _end(self, live: Live, mask: Mask, why: ClaimEnd, by: tuple[str, ...] = ()) -> int:
        rows = live.end(mask, why)
        self._note_move(live.batch)
        self._dirty[rows] = True
        if len(rows):
            self.ended[rows] = len(self._ends)
            self._ends.append(by or (live.batch.id,))
        self.ends[why] += len(rows)
        self._drop_if_over(live)
        return len(rows)

    def _note_move(self, batch: ClaimBatch) -> None:
        self._moves += 1
        self._gates.moves += int(batch.quantity is Quantity.CONNECT)

    def _drop_if_over(self, live: Live) -> None:
        if not np.count_nonzero(live.alive):
            self._live.pop(live.serial, None)
            serials = self._by_key.get(_key(live.batch), [])
            if live.serial in serials:
                serials.remove(live.serial)
            if not serials:
                self._by_key.pop(_key(live.batch), None)

    # --- settling ------------------------------------------------------------------------------------------------

    def arbitrate(self, now_ns: int, rows: Rows | None = None, quantity: Quantity = Quantity.P) -> Settled:
        """Settle active or reactive power for some rows; None: those that may have changed since the last time."""
        if rows is None:
            self._mark_started(now_ns)
            rows = np.flatnonzero(self._dirty).astype(np.int32)
            self._dirty[:] = False
            self._settled_ns = self.latest_ns = now_ns
        return self._settle(now_ns, rows, OPEN, quantity)

    def set_back(self, now_ns: int) -> None:
        """Note that the clock was set back to an instant: what began goes on, and all is settled anew."""
        self._is_set_back, self.latest_ns = True, now_ns
        self._moves += 1
        self._dirty[:] = True

    def touch(self, rows: Rows) -> None:
        """Settle these rows the next time, whether or not a claim on them changes."""
        self._dirty[rows] = True

    def set_local(self, is_local: Mask) -> int:
        """Note which devices are in LOCAL (R5), and return for how many that changed."""
        moved = is_local != self.is_local
        self.is_local = is_local.copy()
        self._moves += 1
        self._gates.moves += int(moved.any())
        self._dirty |= moved
        return int(moved.sum())

    def hold(self, rows: Rows, low_w: Floats, high_w: Floats, until_ns: NDArray[np.int64]) -> None:
        """Start hold timers: what the devices themselves allow until then (R12)."""
        self.holds.low_w[rows], self.holds.high_w[rows], self.holds.until_ns[rows] = low_w, high_w, until_ns
        self._moves += 1
        self._dirty[rows] = True

    def bounds_above(self, rows: Rows, level: Level, now_ns: int, with_timers: bool = True) -> tuple[Floats, Floats]:
        """Return the bounds (W) that levels stronger than `level` leave on each row, with or without hold timers.

        Nobody may write into them: a beat asks several times, and has the same answer while nothing moves.
        """
        asked = self._moves, int(level), now_ns, with_timers
        if (found := self._bounds.of(asked, rows)) is not None:
            return found
        active = [x for x in self._in_force(now_ns, (Quantity.P, Quantity.CONNECT)) if x.batch.level < level]
        settling = Settling(self._fleet, rows, self.is_local, Quantity.P, self._gates)
        low_w, high_w = settling.bounds(active, self.holds if with_timers else None, now_ns)
        return self._bounds.keep(asked, rows, low_w, high_w)

    def bounds_by(
        self, rows: Rows, counts: Callable[[ClaimBatch], bool], level: Level, now_ns: int
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]] | None:
        """Return the bounds (W) that some limits leave on each row: those up to a level, and all; None: there are none.

        Device timers don't count, gates do.
        """
        held = self._in_force(now_ns, (Quantity.P, Quantity.CONNECT))
        held = [x for x in held if x.batch.quantity is Quantity.CONNECT or counts(x.batch)]
        if not any(x.batch.kind is ClaimKind.LIMIT or x.batch.level in LOCKS_OUT for x in held):
            return None
        up_to = [x for x in held if x.batch.level <= level]
        low, high = (
            Settling(self._fleet, rows, self.is_local, Quantity.P, self._gates).bounds(some, None, now_ns)
            for some in (up_to, held)
        )
        return low, high

    def limits_above(self, rows: Rows, level: Level, now_ns: int) -> tuple[Floats, Floats]:
        """Return the bounds (W) that claims stronger than `level` leave on each row; device timers don't count."""
        return self.bounds_above(rows, level, now_ns, with_timers=False)

    def target_of(self, rows: Rows, source: str, program: str, quantity: Quantity) -> tuple[Floats, NDArray[np.int64]]:
        """Return a source's own live targets on rows (NaN: none) and when they end (ns)."""
        value = np.full(len(self._fleet), np.nan)
        end_ns = np.zeros(len(self._fleet), np.int64)
        for serial in self._serials(source, program, quantity, ""):
            live = self._live[serial]
            mine = live.batch.rows[live.alive]
            value[mine] = live.batch.value[live.alive]
            end_ns[mine] = live.batch.end_ns
        return value[rows], end_ns[rows]

    def limits_of(
        self, rows: Rows, source: str, program: str, quantity: Quantity, scope: str = ""
    ) -> tuple[Floats, Floats]:
        """Return a source's own live limits of a scope on rows: low and high, NaN where it has none."""
        low, high = np.full(len(self._fleet), np.nan), np.full(len(self._fleet), np.nan)
        for serial in self._serials(source, program, quantity, scope):
            live = self._live[serial]
            if live.batch.kind is ClaimKind.LIMIT:
                mine = live.batch.rows[live.alive]
                low[mine], high[mine] = live.batch.low[live.alive], live.batch.high[live.alive]
        return low[rows], high[rows]

    def least_high(self, rows: Rows, quantity: Quantity, now_ns: int) -> Floats:
        """Return the lowest upper limit in force of a quantity on rows; inf where there is none."""
        return self._tightest(rows, quantity, now_ns, "high", np.minimum, np.inf)

    def most_low(self, rows: Rows, quantity: Quantity, now_ns: int) -> Floats:
        """Return the highest lower limit in force of a quantity on rows; -inf where there is none."""
        return self._tightest(rows, quantity, now_ns, "low", np.maximum, -np.inf)

    def _tightest(
        self, rows: Rows, quantity: Quantity, now_ns: int, side: str, keep: np.ufunc, nothing: float
    ) -> Floats:
        limits = [x for x in self._in_force(now_ns, (quantity,)) if x.batch.kind is ClaimKind.LIMIT]
        if not limits:
            return np.full(len(rows), nothing)
        whole = np.full(len(self._fleet), nothing)
        for live in limits:
            keep.at(whole, live.batch.rows[live.alive], getattr(live.batch, side)[live.alive])
        return whole[rows]

    def modes(self, now_ns: int) -> dict[ModeGroup, tuple[NDArray[np.uint8], Rows]]:
        """Return of each mode group what is in force on each row, and the serial of who named it (R10)."""
        return settle_modes(self._in_force(now_ns, (Quantity.MODE,)), self.is_local)

    def powers(self, now_ns: int, rows: Rows) -> tuple[Settled, Settled, Mask]:
        """Settle active and reactive power, fitted into the apparent power; last, where one gave way to the other."""
        active, reactive = self._settle(now_ns, rows, OPEN), self._settle(now_ns, rows, OPEN, Quantity.Q)
        fleet = self._fleet
        fitted = fit_apparent(active.target_w, reactive.target_w, fleet.max_va[rows], fleet.q_priority[rows])
        return replace(active, target_w=fitted[0]), replace(reactive, target_w=fitted[1]), fitted[2]

    def _in_force(self, now_ns: int, quantities: tuple[Quantity, ...]) -> list[Live]:
        return [
            live
            for live in self._live.values()
            if live.batch.quantity in quantities and self.holds_at(live.batch, now_ns)
        ]

    def holds_at(self, claim: ClaimBatch | Claim, now_ns: int) -> bool:
        """Return whether a claim is in force at an instant.

        One that began when it was made goes on where the clock was set back since; of an instant that lies before what
        was settled or placed last, its start alone tells.
        """
        is_past = not self._is_set_back or now_ns < self.latest_ns
        began_ns = now_ns if is_past else max(now_ns, claim.created_ns)
        return claim.start_ns <= began_ns and now_ns < claim.end_ns

    def _mark_started(self, now_ns: int) -> None:
        for live in self._live.values():
            if self._settled_ns < live.batch.start_ns <= now_ns or self._settled_ns < live.batch.end_ns <= now_ns:
                self._dirty[live.batch.rows] = True
        ended = (self.holds.until_ns > self._settled_ns) & (self.holds.until_ns <= now_ns)
        self._dirty |= ended

    def _settle(
        self, now_ns: int, rows: Rows, below: int, quantity: Quantity = Quantity.P, holds: Holds | None = None
    ) -> Settled:
        active = [x for x in self._in_force(now_ns, (quantity, Quantity.CONNECT)) if x.batch.level < below]
        holds = holds or self.holds
        settled = Settling(self._fleet, rows, self.is_local, quantity, self._gates).run(
            active, self.reserved_w, holds, now_ns
        )
        if not (holds.until_ns[rows] > now_ns).any():
            return settled
        low_w, high_w = Settling(self._fleet, rows, self.is_local, quantity, self._gates).bounds(active, None, now_ns)
        return replace(settled, told_low_w=low_w, told_high_w=high_w)

    # --- explaining ----------------------------------------------------------------------------------------------

    def batch_ids(self, *serials: Rows) -> list[str]:
        """Return the ids of the batches named by serials, each once, in order of placing; -1 is passed over."""
        unique = np.unique(np.concatenate(serials)) if serials else np.zeros(0, np.int32)
        return [self._names[int(serial)] for serial in unique if serial >= 0]

    def name_of(self, serial: int) -> str:
        """Return the id of the batch that a serial names."""
        return self._names[serial]

    def end_of(self, end: int) -> tuple[str, ...]:
        """Return what an end in `ended` stands for: the batch whose time was over or that was ended, and by what."""
        return self._ends[end]

    def level_of(self, serials: Rows) -> NDArray[np.int64]:
        """Return the level of the batch of each serial; that of no claim is beyond the weakest."""
        levels = np.array([*self._levels, OPEN, OPEN], np.int64)  # -1 and -2 count from the end
        found: NDArray[np.int64] = levels[serials]
        return found

    def claims_on(self, row: int) -> list[Claim]:
        """Return the live claims on a row as objects."""
        resource = self._fleet.id_of(row)
        found: list[Claim] = []
        for live in self._live.values():
            for k in (live.batch.rows == row).nonzero()[0].tolist():
                if live.alive[k]:
                    found.append(live.batch.claim_of(k, resource))
        return found

    def explain(self, row: int, now_ns: int, *, timers: bool = True) -> Arbitration:
        """Return the whole arbitration of one row by the scalar twin; `timers`: under the device's own (R12), too."""
        fleet, holds = self._fleet, self.holds
        is_held = timers and holds.until_ns[row] > now_ns
        rating = Bounds(-float(fleet.max_absorb_w[row]), float(fleet.max_inject_w[row]))
        return arbitrate(
            rating,
            [self._begun(claim, now_ns) for claim in self.claims_on(row)],
            now_ns=now_ns,
            default_w=float(fleet.default_w[row]),
            safe_w=float(fleet.safe_w[row]),
            is_local=bool(self.is_local[row]),
            reserved_w=self.reserved_w,
            hold=Bounds(float(holds.low_w[row]), float(holds.high_w[row])) if is_held else None,
        )

    def _begun(self, claim: Claim, now_ns: int) -> Claim:
        holds = claim.start_ns > now_ns and self.holds_at(claim, now_ns)
        return structs.replace(claim, start_ns=now_ns) if holds else claim

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


def _key(batch: ClaimBatch) -> _Key:
    return (batch.source, batch.program, batch.quantity, batch.scope)
