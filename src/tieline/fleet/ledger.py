"""The reservation book: what of a pool or resource is promised to whom, so that no kW is sold twice.

Slots of five minutes. Within a share class promises overlap (the largest counts); across classes they add up. A hold
lapses by itself when its time to live is over: that is a predicate, nobody sweeps. For storage two trajectories are
kept: all upward calls and all downward calls must leave the energy within its bounds at every slot; a mere sum of
energies against the stored energy is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, iso

SLOT_NS = 5 * MINUTE_NS
Floats = NDArray[np.float64]


class Held(StrEnum):
    """Where a reservation stands."""

    HOLD = "hold"
    COMMITTED = "committed"
    DELIVERED = "delivered"
    RELEASED = "released"


@dataclass(slots=True)
class Booking:
    """One promise: so much up and down (W) over whole slots [first, last)."""

    id: str
    resource: str
    product: str
    share_class: str
    first: int
    last: int
    up_w: float
    down_w: float
    state: Held
    holds_until_ns: int
    made: int


@dataclass(slots=True)
class Capacity:
    """What a resource can promise: power each way (W), and stored energy with its bounds (Wh; None: no storage)."""

    up_w: float
    down_w: float
    energy_wh: float | None = None
    max_energy_wh: float = 0.0
    min_energy_wh: float = 0.0
    charge_frac: float = 1.0
    discharge_frac: float = 1.0


@dataclass(slots=True)
class Shortfall:
    """A promise that a derating left without cover (W)."""

    booking: str
    slot: int
    up_w: float
    down_w: float


@dataclass
class Ledger:
    """Books, refuses, commits, releases and derates."""

    capacities: dict[str, Capacity] = field(default_factory=dict)
    share_classes: dict[str, str] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    _by_resource: dict[str, dict[str, Booking]] = field(default_factory=dict)
    _made: int = 0

    def set_capacity(self, resource: str, capacity: Capacity) -> None:
        """Say what a resource can promise."""
        self.capacities[resource] = capacity

    def check(
        self,
        resource: str,
        product: str,
        start_ns: int,
        end_ns: int,
        up_w: float,
        down_w: float,
        energy_wh: float = 0.0,
        now_ns: int = 0,
    ) -> Refusal | None:
        """Return why so much can't be promised, naming the holder of what is in the way; None where it can."""
        if not (np.isfinite(up_w) and np.isfinite(down_w) and up_w >= 0 and down_w >= 0):
            return Refusal("power must be finite and 0 or more", "up_w, down_w", f"{up_w}, {down_w}", ">= 0")
        if end_ns <= start_ns:
            return Refusal("the interval is empty", "end", iso(end_ns), f"after {iso(start_ns)}")
        capacity = self.capacities.get(resource)
        if capacity is None:
            return Refusal("nothing is known of what it can promise", "resource", resource, "a registered capacity")
        first, last = _slots(start_ns, end_ns)
        share = self.share_classes.get(product, product)
        for slot in range(first, last):
            for side, wanted, most in (("up_w", up_w, capacity.up_w), ("down_w", down_w, capacity.down_w)):
                others, own, holder = self._taken(resource, share, slot, side, now_ns)
                free_w = most - others
                if max(wanted, own) > free_w + 1e-6:
                    at = iso(slot * SLOT_NS)
                    limit = f"{max(free_w, 0.0):.0f} W free of {most:.0f} W at {at}"
                    return Refusal("that capacity is sold or beyond the rating", side, f"{wanted:.0f}", limit, holder)
        return self._energy_refusal(resource, share, first, last, up_w, down_w, capacity, now_ns)

    def reserve(
        self,
        booking_id: str,
        resource: str,
        product: str,
        start_ns: int,
        end_ns: int,
        up_w: float,
        down_w: float,
        *,
        state: Held = Held.COMMITTED,
        holds_until_ns: int = FOREVER_NS,
    ) -> None:
        """Book a promise that `check` let pass; the same id twice has one effect."""
        if booking_id in self.bookings:
            return
        first, last = _slots(start_ns, end_ns)
        share = self.share_classes.get(product, product)
        self._made += 1
        booking = Booking(
            booking_id, resource, product, share, first, last, up_w, down_w, state, holds_until_ns, self._made
        )
        self.bookings[booking_id] = booking
        self._by_resource.setdefault(resource, {})[booking_id] = booking

    def commit(self, booking_id: str, now_ns: int) -> Refusal | None:
        """Make a hold firm, unless it has lapsed."""
        booking = self.bookings.get(booking_id)
        if booking is None or not _counts(booking, now_ns):
            return Refusal("the hold has lapsed or never was", "reservation", booking_id, "a live hold")
        booking.state, booking.holds_until_ns = Held.COMMITTED, FOREVER_NS
        return None

    def release(self, booking_id: str) -> bool:
        """Give a promise back, and return whether it stood."""
        booking = self.bookings.get(booking_id)
        if booking is None or booking.state is Held.RELEASED:
            return False
        booking.state = Held.RELEASED
        self._by_resource[booking.resource].pop(booking_id, None)
        return True

    def free_w(self, resource: str, slot_ns: int, now_ns: int = 0) -> tuple[float, float]:
        """Return what is free up and down (W) in the slot that holds an instant."""
        capacity = self.capacities[resource]
        slot = slot_ns // SLOT_NS
        up_w = capacity.up_w - self._taken(resource, "", slot, "up_w", now_ns)[0]
        return up_w, capacity.down_w - self._taken(resource, "", slot, "down_w", now_ns)[0]

    def derate(self, resource: str, up_w: float, down_w: float, slot_ns: int, now_ns: int = 0) -> list[Shortfall]:
        """Lower what a resource can do, and return which promises lose cover in a slot: newest first (R18)."""
        capacity = self.capacities[resource]
        capacity.up_w, capacity.down_w = up_w, down_w
        slot = slot_ns // SLOT_NS
        live = [
            b for b in self._by_resource.get(resource, {}).values() if _counts(b, now_ns) and b.first <= slot < b.last
        ]
        lacking_up = max(sum(b.up_w for b in live) - up_w, 0.0)
        lacking_down = max(sum(b.down_w for b in live) - down_w, 0.0)
        found: list[Shortfall] = []
        for booking in sorted(live, key=lambda b: -b.made):
            up, down = min(booking.up_w, lacking_up), min(booking.down_w, lacking_down)
            lacking_up, lacking_down = lacking_up - up, lacking_down - down
            if up > 0 or down > 0:
                found.append(Shortfall(booking.id, slot, up, down))
        return found

    def digest(self) -> str:
        """Return the hash of all bookings."""
        digest = blake2b(digest_size=16)
        for key in sorted(self.bookings):
            b = self.bookings[key]
            digest.update(f"{key}:{b.first}:{b.last}:{b.up_w!r}:{b.down_w!r}:{b.state}".encode())
        return digest.hexdigest()

    def _taken(self, resource: str, share: str, slot: int, side: str, now_ns: int) -> tuple[float, float, str]:
        """Return what other share classes hold, what our own holds (W), and the largest other holder."""
        by_class: dict[str, tuple[float, str]] = {}
        for booking in self._by_resource.get(resource, {}).values():
            if booking.first <= slot < booking.last and _counts(booking, now_ns):
                power_w: float = getattr(booking, side)
                best = by_class.get(booking.share_class, (0.0, ""))
                by_class[booking.share_class] = max(best, (power_w, f"{booking.product} ({booking.id})"))
        own = by_class.pop(share, (0.0, ""))[0]
        holder = max(by_class.values(), default=(0.0, ""))[1]
        return sum(power_w for power_w, _ in by_class.values()), own, holder

    def _energy_refusal(
        self, resource: str, share: str, first: int, last: int, up_w: float, down_w: float, c: Capacity, now_ns: int
    ) -> Refusal | None:
        if c.energy_wh is None:
            return None
        bookings = [b for b in self._by_resource.get(resource, {}).values() if _counts(b, now_ns)]
        end = max([last, *(b.last for b in bookings)])
        start = min([first, *(b.first for b in bookings)])
        lower = upper = c.energy_wh
        hours = SLOT_NS / HOUR_NS
        for slot in range(start, end):
            up, down = (up_w, down_w) if first <= slot < last else (0.0, 0.0)
            up_others, up_own, holder = self._taken(resource, share, slot, "up_w", now_ns)
            down_others, down_own, down_holder = self._taken(resource, share, slot, "down_w", now_ns)
            lower -= (up_others + max(up, up_own)) * hours / c.discharge_frac
            upper += (down_others + max(down, down_own)) * hours * c.charge_frac
            if lower < c.min_energy_wh - 1e-6:
                limit = f"stored energy reaches its floor {c.min_energy_wh:.0f} Wh at {iso((slot + 1) * SLOT_NS)}"
                return Refusal(
                    "all upward calls together need more energy than is stored", "up_w", f"{up_w:.0f}", limit, holder
                )
            if upper > c.max_energy_wh + 1e-6:
                limit = f"stored energy reaches its top {c.max_energy_wh:.0f} Wh at {iso((slot + 1) * SLOT_NS)}"
                return Refusal(
                    "all downward calls together overfill the store", "down_w", f"{down_w:.0f}", limit, down_holder
                )
        return None


def _slots(start_ns: int, end_ns: int) -> tuple[int, int]:
    return start_ns // SLOT_NS, -(-end_ns // SLOT_NS)


def _counts(booking: Booking, now_ns: int) -> bool:
    if booking.state is Held.RELEASED:
        return False
    return booking.state is not Held.HOLD or now_ns < booking.holds_until_ns
