"""The reservation book over columns: promises of very many resources, slot by slot, held at once.

`fleet.ledger` is the rule as it reads, a promise at a time; this is the same for whole days of a hundred thousand, and
a property test holds the two together. Watts are whole numbers here, so that sums are exact. Within a share class
promises overlap (the largest counts), across classes they add up, and so do those of a class that shares with none,
itself included (`adds`: two energy offers of one hour are two sales). What all upward calls together take out of a
store must leave it above its floor at the end of every slot. A row that asks for nothing is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.fleet.booking import DERATED, SLOT_NS, SOLD, UNSOLD
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, iso

Watts = NDArray[np.int32]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Words = NDArray[np.int8]
HELD, BEYOND, NEGATIVE, EMPTY = 0, 1, 2, 3
"""What a hold came to: held, beyond what is free, a negative power, more energy than is stored."""
NO_STORE = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Holds:
    """What became of each hold, shape (k,): of which row, a word, and the slot at which it failed (-1: it holds)."""

    rows: Counts
    word: Words
    slot: Counts

    @property
    def count(self) -> int:
        """How many rows are held."""
        return int((self.word == HELD).sum())


class Book:
    """Upward promises of a fleet over slots [first, first + slots) of five minutes."""

    def __init__(
        self,
        first: int,
        slots: int,
        nameplate_w: Watts,
        classes: tuple[str, ...],
        adds: tuple[str, ...] = (),
        energy_wh: Floats | None = None,
        floor_wh: Floats | None = None,
        discharge_frac: Floats | None = None,
    ) -> None:
        """Open a book.

        Args:
            first: First slot (five minutes since the epoch).
            slots: How many.
            nameplate_w: What each resource can promise; shape (n,), W.
            classes: Share classes that there are.
            adds: Those of them whose promises add up.
            energy_wh: What each has stored (`NO_STORE`: no store); shape (n,). None: nobody has a store.
            floor_wh: Below which a store must not fall; shape (n,).
            discharge_frac: What of a stored watt-hour arrives; shape (n,).
        """
        count = len(nameplate_w)
        self.first, self.classes = first, classes
        self.adds = frozenset(adds)
        self.nameplate_w = nameplate_w
        self.derated_w = np.zeros((1, 1), np.int32)
        self.taken_w = np.zeros((len(classes), count, slots), np.int32)
        self.energy_wh = np.full(count, NO_STORE) if energy_wh is None else energy_wh
        self.floor_wh = np.zeros(count) if floor_wh is None else floor_wh
        self.discharge_frac = np.ones(count) if discharge_frac is None else discharge_frac

    def derate(self, lost_w: Watts) -> None:
        """Say what a stronger authority takes of each resource in each slot; shape (n, slots), W."""
        self.derated_w = lost_w

    def hold(self, share_class: str, wanted_w: Watts, rows: Counts | None = None) -> Holds:
        """Book what each row asks for, all of its slots or none, and return what became of it.

        Args:
            share_class: One of the book's.
            wanted_w: What each asks in each slot; shape (k, slots), W.
            rows: Who asks; shape (k,). None: all, in order.

        Raises:
            ValueError: The book has no such class, or the shape is not its own.
        """
        if share_class not in self.classes:
            raise ValueError(f"share_class = {share_class!r}: give one of {', '.join(self.classes)}")
        asking = np.arange(self.taken_w.shape[1]) if rows is None else rows
        shape = (len(asking), self.taken_w.shape[2])
        if wanted_w.shape != shape:
            raise ValueError(f"wanted_w has shape {wanted_w.shape}: give {shape}")
        word, slot = np.zeros(len(asking), np.int8), np.full(len(asking), -1, np.int64)
        _hold(
            asking, self.taken_w, self.classes.index(share_class), share_class in self.adds, wanted_w,
            self.nameplate_w, self.derated_w, self.energy_wh, self.floor_wh, self.discharge_frac,
            SLOT_NS / HOUR_NS, word, slot,
        )  # fmt: skip
        return Holds(asking, word, np.where(slot >= 0, slot + self.first, -1))

    def place(self, share_class: str, available_w: Watts, target_w: Counts) -> tuple[Watts, Counts]:
        """Split what a pool promises over its resources and hold it; return what is held and what found nobody.

        What a resource can't hold, as its energy or another class is in the way, goes to those without a store that
        have room left.

        Args:
            share_class: One of the book's, of which these resources hold nothing yet.
            available_w: What each resource can give; shape (n, slots), W.
            target_w: What the pool promises in each slot; shape (slots,), W.
        """
        wanted = np.empty_like(available_w)
        left = spread(available_w, target_w, wanted)
        out = self.hold(share_class, wanted).word != HELD
        lacking = left + wanted[out].sum(axis=0, dtype=np.int64)
        wanted[out] = 0
        if not lacking.any():
            return wanted, lacking
        helps = np.flatnonzero(~np.isfinite(self.energy_wh))
        room = np.empty((len(helps), wanted.shape[1]), np.int32)
        _room(self.taken_w, helps, self.nameplate_w, self.derated_w, available_w, wanted, room)
        extra = np.empty_like(room)
        left = spread(room, lacking, extra)
        wanted[helps] += extra
        # They have room for it, so that none is refused; what finds no room is left.
        self.hold(share_class, extra if share_class in self.adds else wanted[helps], helps)
        return wanted, left

    def refusal(self, holds: Holds, at: int, share_class: str, wanted_w: Watts) -> Refusal | None:
        """Return in words why a hold was refused, naming the class that has the most of what is in its way."""
        if holds.word[at] == HELD:
            return None
        row, slot = int(holds.rows[at]), int(holds.slot[at]) - self.first
        when = iso((slot + self.first) * SLOT_NS)
        asked = str(int(wanted_w[at, slot]))
        if holds.word[at] == NEGATIVE:
            return Refusal("power must be 0 or more", "up_w", asked, f">= 0 at {when}")
        ways = [k for k, name in enumerate(self.classes) if name != share_class or name in self.adds]
        others = {self.classes[k]: int(self.taken_w[k, row, slot]) for k in ways}
        holder = max(others, key=lambda name: others[name], default="")
        holder = holder if others.get(holder, 0) > 0 else ""
        if holds.word[at] == EMPTY:
            ends = iso((slot + 1 + self.first) * SLOT_NS)
            limit = f"stored energy reaches its floor {self.floor_wh[row]:.0f} Wh at {ends}"
            # The slot that empties it need not be the one that asks for most: the whole of the wish is in the way.
            most = str(int(wanted_w[at].max()))
            return Refusal("all upward calls together need more energy than is stored", "up_w", most, limit, holder)
        lost = int(self.derated_w[row, slot]) if self.derated_w.shape[0] > 1 else 0
        room_w = int(self.nameplate_w[row]) - lost
        limit = f"{max(room_w - sum(others.values()), 0)} W free of {room_w} W at {when}"
        return Refusal(SOLD if holder else UNSOLD[DERATED if lost > 0 else ""], "up_w", asked, limit, holder)

    def free_w(self) -> Watts:
        """Return what is free of each resource in each slot; shape (n, slots), W."""
        lost = self.derated_w if self.derated_w.shape[0] > 1 else 0
        free: Watts = self.nameplate_w[:, None] - lost - self.taken_w.sum(axis=0)
        return free


@compiled
def _hold(
    asking: Counts,
    taken_w: NDArray[np.int32],
    own: int,
    adds: bool,
    wanted_w: Watts,
    nameplate_w: Watts,
    derated_w: Watts,
    energy_wh: Floats,
    floor_wh: Floats,
    discharge_frac: Floats,
    hours: float,
    word: Words,
    slot: Counts,
) -> None:
    """Book row after row what fits in all of its slots; see `Ledger.check` for the rule of one promise."""
    classes, rows, slots = taken_w.shape
    derates = derated_w.shape[0] == rows and derated_w.shape[1] == slots
    for j in range(len(asking)):
        i = asking[j]
        if not wanted_w[j].any():
            continue
        for s in range(slots):
            wanted = wanted_w[j, s]
            if wanted < 0:
                word[j], slot[j] = NEGATIVE, s
                break
            free = np.int64(nameplate_w[i]) - (derated_w[i, s] if derates else 0)
            for k in range(classes):
                free -= taken_w[k, i, s] if adds or k != own else 0
            if wanted > 0 and (wanted if adds else max(wanted, taken_w[own, i, s])) > free:
                word[j], slot[j] = BEYOND, s
                break
        if word[j] == HELD and np.isfinite(energy_wh[i]):
            room_wh = energy_wh[i] - floor_wh[i]
            slot[j] = _empties(taken_w[:, i], own, adds, wanted_w[j], room_wh, discharge_frac[i], hours)
            word[j] = HELD if slot[j] < 0 else EMPTY
        if word[j] == HELD:
            for s in range(slots):
                before = taken_w[own, i, s]
                taken_w[own, i, s] = before + wanted_w[j, s] if adds else max(before, wanted_w[j, s])


@compiled
def _room(
    taken_w: NDArray[np.int32],
    rows: Counts,
    nameplate_w: Watts,
    derated_w: Watts,
    available_w: Watts,
    wanted_w: Watts,
    room_w: Watts,
) -> None:
    """Fill in what each row can give beyond what it holds, and has free beside it; shape (k, slots)."""
    classes, count, slots = taken_w.shape
    derates = derated_w.shape[0] == count and derated_w.shape[1] == slots
    for j in range(len(rows)):
        i = rows[j]
        for s in range(slots):
            free = np.int64(nameplate_w[i]) - (derated_w[i, s] if derates else 0)
            for k in range(classes):
                free -= taken_w[k, i, s]
            room_w[j, s] = max(min(np.int64(available_w[i, s]) - wanted_w[i, s], free), 0)


@compiled
def _empties(
    taken_w: Watts, own: int, adds: bool, wanted_w: Watts, room_wh: float, discharge_frac: float, hours: float
) -> int:
    """Return the slot at whose end a store would have given more than it may, were a wish held; -1: none.

    `taken_w` are its promises, shape (classes, slots), and `wanted_w` the wish, shape (slots,).
    """
    called_wh = 0.0
    for s in range(len(wanted_w)):
        for k in range(taken_w.shape[0]):
            taken = taken_w[k, s]
            if k == own:
                taken = taken + wanted_w[s] if adds else max(taken, wanted_w[s])
            called_wh += taken * hours
        if room_wh - called_wh / discharge_frac < -1e-6:
            return s
    return -1


@compiled
def sums_by_level(
    available_w: Watts, reach_frac: Floats, level: Words, level_w: Floats, mean_w: Floats, variance: Floats
) -> None:
    """Add up what a pool has in each slot: by price level, and the mean and variance of what can be reached.

    Args:
        available_w: What each leaf can give; shape (n, slots), W.
        reach_frac: How often each could be reached of late; shape (n,).
        level: Each leaf's price level; shape (n,).
        level_w, mean_w, variance: Where sums go; shapes (levels, slots), (slots,), (slots,).
    """
    rows, slots = available_w.shape
    for i in range(rows):
        often, k = reach_frac[i], level[i]
        seldom = often * (1.0 - often)
        for s in range(slots):
            watts = float(available_w[i, s])
            level_w[k, s] += watts
            mean_w[s] += watts * often
            variance[s] += watts * watts * seldom


@compiled
def spread(available_w: Watts, target_w: Counts, wanted_w: Watts) -> Counts:
    """Fill in each leaf's whole-watt share of a pool's target in each slot, and return what finds no leaf.

    In proportion to what each can give, rounded down; the watts that rounding leaves go to the first leaves with room.

    Args:
        available_w: What each leaf can give; shape (n, slots), W.
        target_w: What the pool promises; shape (slots,), W.
        wanted_w: Where shares go; shape (n, slots), W.
    """
    rows, slots = available_w.shape
    whole = np.zeros(slots, np.int64)
    for i in range(rows):
        for s in range(slots):
            whole[s] += available_w[i, s]
    left = np.empty(slots, np.int64)
    frac = np.zeros(slots)
    for s in range(slots):
        left[s] = target_w[s]
        if whole[s] > 0:
            frac[s] = min(target_w[s] / whole[s], 1.0)
    for i in range(rows):
        for s in range(slots):
            share = min(np.int64(available_w[i, s] * frac[s]), left[s])
            wanted_w[i, s] = share
            left[s] -= share
    over = left.sum()
    for i in range(rows):
        if over == 0:
            break
        for s in range(slots):
            if left[s] > 0 and wanted_w[i, s] < available_w[i, s]:
                wanted_w[i, s] += 1
                left[s] -= 1
                over -= 1
    return left
