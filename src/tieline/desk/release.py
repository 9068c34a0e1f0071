"""Rebound: devices that are let go together come back one by one (sections 4 and 7 of the kernel's rules).

What was held back returns as soon as it is let go: a fleet of air conditioners all at once, above what it drew before.
So where many with a rebound, of the fleet or on one feeder, are released in one decision, each keeps what it was told
until its turn: a feeder's own are few of a large fleet, and all that their transformer bears. Turns
are spread evenly over the kind's time on every feeder, in an order that nobody can predict from the outside but that a
replay repeats. One whose turn has come waits on while its feeder's devices already draw what they would draw uncalled
(`desk.room`), for `LATEST_NS` at most. An owner's tap is never staged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import ReleaseStaged
from tieline.desk.packed import Packed
from tieline.desk.reasons import Why
from tieline.desk.room import has_room
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE
from tieline.ids import derive
from tieline.resource.identity import Kind
from tieline.times import MINUTE_NS, SECOND_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Instants = NDArray[np.int64]
SPREAD_S: dict[Kind, float] = {
    Kind.THERMOSTAT: 2_700.0,
    Kind.WATER_HEATER: 2_700.0,
    Kind.EV_CHARGER: 600.0,
    Kind.SHIFTABLE_LOAD: 1_800.0,
}
"""Over how long devices of a kind come back (s): thermal ones within 30 to 60 min, chargers as IEC 61851 does at a
start, 0 to 600 s."""
LATEST_NS, AGAIN_NS = 45 * MINUTE_NS, 2 * MINUTE_NS
"""For how long after its turn one waits for room at most, and when it is looked at again."""
LEAST, LEAST_OF_FEEDER, FRAC = 20, 5, 0.05
"""So many of what has a rebound, in the fleet and on a feeder, or this share, may come back together unstaged."""
_SPREAD = np.zeros(len(KIND_CODE))
for _kind, _seconds in SPREAD_S.items():
    _SPREAD[KIND_CODE[_kind]] = _seconds


def spread_s(state: DeskState, rows: Rows) -> NDArray[np.float64]:
    """Return over how long each row may come back (s; 0: at once): its kind's time, or what its claim asked for."""
    seconds: NDArray[np.float64] = np.maximum(_SPREAD[state.fleet.kinds[rows]], state.spread_s[rows])
    return seconds


def decide_release(state: DeskState, why: Why, loosens: Mask, now_ns: int) -> tuple[list[Entry], Mask]:
    """Return the fact that stages a release, where there is one to stage, and which rows keep their command for now.

    Args:
        state: What is known.
        why: Rows that need a command, and who decides about each; shape (n,).
        loosens: Which of them are let go, or limited less, by that command.
        now_ns: Now.
    """
    rows = why.rows
    due_ns = state.release_at_ns[rows]
    waits = loosens & (due_ns > now_ns) & ~state.opted_out[rows]
    late = _without_room(state, rows, loosens & (due_ns > 0) & ~waits & ~state.opted_out[rows], now_ns)
    fresh = takes_turns(state, rows, loosens)
    gone = ~loosens & (due_ns > 0)  # somebody commands it again before its turn came
    if not (fresh.any() or gone.any() or late.any()):
        return [], waits
    staged, at_ns = rows[fresh], turns(state, rows[fresh], now_ns)
    again_ns = np.minimum(now_ns + AGAIN_NS, state.release_by_ns[rows[late]])
    changed = np.concatenate([staged, rows[late], rows[gone]])
    told_ns = np.concatenate([at_ns, again_ns, np.zeros(int(gone.sum()), np.int64)])
    at = np.concatenate([np.flatnonzero(each) for each in (fresh, late, gone)])
    caused_by, causes = why.of_release(at, told_ns == 0)
    fact = ReleaseStaged(Packed.of(changed), Packed.of(told_ns), causes)
    waits[fresh] = at_ns > now_ns
    waits |= late
    return [Entry(derive("release", now_ns, changed.tobytes()), fact, "", caused_by)], waits


def takes_turns(state: DeskState, rows: Rows, let_go: Mask) -> Mask:
    """Return which rows would wait for their turn to come back, and go on as told, if some of them were let go now."""
    fresh: Mask = let_go & (state.release_at_ns[rows] == 0) & (spread_s(state, rows) > 0.0) & ~state.opted_out[rows]
    if not fresh.any():
        return fresh
    mask: Mask = fresh & (_are_many(state, rows, fresh) | (state.spread_s[rows] > 0.0))
    return mask


def _are_many(state: DeskState, rows: Rows, fresh: Mask) -> Mask:
    """Return which rows are let go among many: of the whole fleet, or of their own feeder."""
    has_rebound = _SPREAD[state.fleet.kinds] > 0
    feeder_of, none = state.limiter.feeder_of, len(state.limiter.feeders)
    few = np.maximum(LEAST_OF_FEEDER, FRAC * np.bincount(feeder_of[has_rebound], minlength=none + 1))
    few[none] = np.inf
    many: Mask = (np.bincount(feeder_of[rows[fresh]], minlength=none + 1) > few)[feeder_of[rows]]
    return many | (int(fresh.sum()) > max(LEAST, FRAC * float(has_rebound.sum())))


def _without_room(state: DeskState, rows: Rows, ready: Mask, now_ns: int) -> Mask:
    """Return which rows whose turn has come wait on, as their feeder has no room for them yet."""
    late = ready & (state.release_by_ns[rows] > now_ns)
    at = np.flatnonzero(late)
    if len(at):
        late[at] = ~has_room(state, rows[at], _SPREAD[state.fleet.kinds] > 0.0, now_ns)
    return late


def turns(state: DeskState, rows: Rows, now_ns: int) -> Instants:
    """Return when each row comes back: on every feeder evenly over the time of its kind, in a shuffled order."""
    seed = derive("turns", now_ns, rows.tobytes()).encode()
    rng = np.random.default_rng(np.frombuffer(seed, np.uint8).astype(np.uint32))
    feeder = state.limiter.feeder_of[rows]
    order = np.lexsort((rng.random(len(rows)), feeder))
    place, frac = np.empty(len(rows), np.int64), np.zeros(len(rows))
    starts = np.searchsorted(feeder[order], feeder[order])
    place[order] = np.arange(len(rows)) - starts
    size = np.bincount(feeder, minlength=len(state.limiter.feeders) + 1)[feeder] if len(rows) else place
    frac = (place + rng.random(len(rows))) / np.maximum(size, 1)
    delay_ns = (frac * spread_s(state, rows) * SECOND_NS).astype(np.int64)
    due: Instants = now_ns + np.maximum(delay_ns, 1)
    return due
