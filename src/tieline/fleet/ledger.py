"""The reservation book: what of a pool or resource is promised to whom, so that no kW is sold twice.

Slots of five minutes. Within a share class promises overlap (the largest counts); across classes they add up. A product
that nobody put into a class shares with none, itself included: a market adds up two offers of one hour. A hold
lapses by itself when its time to live is over: that is a predicate, nobody sweeps. For storage two trajectories are
kept: all upward calls and all downward calls must leave the energy within its bounds at every slot; a mere sum of
energies against the stored energy is not enough. Of a pool the stores must last for what is called beyond what the
others give for as long as they are asked. What a stronger authority takes away stands beside the promises as a
derating, so that in every slot and direction free + held + committed + derated = nameplate, and what is promised beyond
the rest is a shortfall (R18).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from tieline.fleet.booking import (
    DERATED,
    FIRM,
    FORESEEN,
    MOST_SLOTS,
    SLOT_NS,
    SOLD,
    UNSOLD,
    Balance,
    Booking,
    Calls,
    Capacity,
    Derating,
    Held,
    Shortfall,
    Stores,
)
from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, HOUR_NS, iso

__all__ = ["SLOT_NS", "Balance", "Booking", "Capacity", "Derating", "Held", "Ledger", "Shortfall", "Stores"]


@dataclass
class Ledger:
    """Books, refuses, commits, releases and derates.

    `strengths` orders products: of what a derating takes the weakest product gives first (greater is stronger; products
    left out are equal). `firm` is what the leaves of a pool can be counted on for (W up, down): no promise goes beyond.
    """

    capacities: dict[str, Capacity] = field(default_factory=dict)
    share_classes: dict[str, str] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    strengths: dict[str, int] = field(default_factory=dict)
    firm: dict[str, tuple[float, float]] = field(default_factory=dict)
    deratings: dict[str, list[Derating]] = field(default_factory=dict)
    _by_resource: dict[str, dict[str, Booking]] = field(default_factory=dict)
    _by_slot: dict[tuple[str, int], dict[str, Booking]] = field(default_factory=dict)
    _made: int = 0

    def set_capacity(self, resource: str, capacity: Capacity) -> None:
        """Say what a resource can promise."""
        self.capacities[resource] = capacity

    def set_firm(self, resource: str, up_w: float, down_w: float) -> None:
        """Say what the leaves of a pool can be counted on for (W); new promises keep within it."""
        self.firm[resource] = (up_w, down_w)

    # --- promising -----------------------------------------------------------------------------------------------

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
        foreseen_w: float = math.inf,
    ) -> Refusal | None:
        """Return why so much can't be promised, naming the holder of what is in the way; None where it can.

        `energy_wh` bounds what will be called of it in all (0: no bound but power times time), `foreseen_w` what may be
        promised upwards at all.
        """
        if not (np.isfinite(up_w) and np.isfinite(down_w) and up_w >= 0 and down_w >= 0):
            return Refusal("power must be finite and 0 or more", "up_w, down_w", f"{up_w}, {down_w}", ">= 0")
        if not np.isfinite(energy_wh):
            return Refusal("energy must be finite", "energy_wh", str(energy_wh), "a finite number")
        if end_ns <= start_ns:
            return Refusal("the interval is empty", "end", iso(end_ns), f"after {iso(start_ns)}")
        first, last = _slots(start_ns, end_ns)
        if last - first > MOST_SLOTS:
            given, limit = f"{last - first} slots", f"{MOST_SLOTS} slots of 5 min"
            return Refusal("the interval is too long", "end", given, limit)
        capacity = self.capacities.get(resource)
        if capacity is None:
            return Refusal("nothing is known of what it can promise", "resource", resource, "a registered capacity")
        share = self.share_classes.get(product, "")
        for slot in range(first, last):
            for side, wanted, nameplate_w in (("up_w", up_w, capacity.up_w), ("down_w", down_w, capacity.down_w)):
                most_w, why = self._most_w(resource, slot, side, nameplate_w, foreseen_w)
                others, own, holder = self._taken(resource, share, slot, side, now_ns)
                free_w = most_w - others
                # Within a class promises overlap: ours counts at its largest. 1e-6 W is rounding, not a second sale.
                if max(wanted, own) > free_w + 1e-6 and wanted > 0:
                    limit = f"{max(free_w, 0.0):.0f} W free of {most_w:.0f} W{why} at {iso(slot * SLOT_NS)}"
                    return Refusal(SOLD if holder else UNSOLD[why], side, f"{wanted:.0f}", limit, holder)
        # Booked on trial: energy must hold with all that is promised already, not by itself.
        asked = Booking(
            "", resource, product, share, first, last, up_w, down_w, Held.COMMITTED, FOREVER_NS, 0, abs(energy_wh)
        )
        return self._energy_refusal(asked, capacity, now_ns) or self._stores_refusal(asked, capacity.stores, now_ns)

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
        energy_wh: float = 0.0,
    ) -> None:
        """Book a promise that `check` let pass; the same id twice has one effect."""
        if booking_id in self.bookings:
            return
        first, last = _slots(start_ns, end_ns)
        share = self.share_classes.get(product, booking_id)
        # Order of booking, not a time: a shortfall takes the newest first, and two may come at one instant (R18).
        self._made += 1
        booking = Booking(
            booking_id, resource, product, share, first, last, up_w, down_w, state, holds_until_ns, self._made,
            abs(energy_wh),
        )  # fmt: skip
        self.bookings[booking_id] = booking
        self._index(booking)

    def commit(
        self, booking_id: str, now_ns: int, up_w: float | None = None, down_w: float | None = None
    ) -> Refusal | None:
        """Make a hold firm, unless it has lapsed; what was held beyond `up_w` and `down_w` is given back."""
        booking = self.bookings.get(booking_id)
        if booking is None or not booking.counts(now_ns):
            return Refusal("the hold has lapsed or never was", "reservation", booking_id, "a live hold")
        booking.state, booking.holds_until_ns = Held.COMMITTED, FOREVER_NS
        booking.up_w = booking.up_w if up_w is None else min(up_w, booking.up_w)
        booking.down_w = booking.down_w if down_w is None else min(down_w, booking.down_w)
        return None

    def deliver(self, booking_id: str) -> bool:
        """Note that a promise was delivered and settled, and return whether it stood; its capacity stays bound."""
        booking = self.bookings.get(booking_id)
        if booking is None or booking.state is not Held.COMMITTED:
            return False
        booking.state = Held.DELIVERED
        return True

    def release(self, booking_id: str) -> bool:
        """Give a promise back, and return whether it stood."""
        booking = self.bookings.get(booking_id)
        if booking is None or booking.state is Held.RELEASED:
            return False
        booking.state = Held.RELEASED
        self._by_resource[booking.resource].pop(booking_id, None)
        for slot in range(booking.first, booking.last):
            self._by_slot[(booking.resource, slot)].pop(booking_id, None)
        return True

    def retake(self, booking_id: str) -> bool:
        """Hold again what was given back, as the newest promise, and return whether it was; `check` says if it may."""
        booking = self.bookings.get(booking_id)
        if booking is None or booking.state is not Held.RELEASED:
            return False
        self._made += 1
        booking.state, booking.made = Held.HOLD, self._made
        self._index(booking)
        return True

    # --- what is left --------------------------------------------------------------------------------------------

    def free_w(self, resource: str, slot_ns: int, now_ns: int = 0) -> tuple[float, float]:
        """Return what is free up and down (W) in the slot that holds an instant."""
        up, down = (self.balance(resource, slot_ns, side, now_ns) for side in ("up_w", "down_w"))
        return up.free_w, down.free_w

    def free_for(
        self, resource: str, product: str, start_ns: int, end_ns: int, foreseen_w: float, now_ns: int = 0
    ) -> float:
        """Return how much more may be promised upwards of a product in all slots of an interval (W), as `check` has it:
        within a share class that is beside what others hold."""
        share, left_w = self.share_classes.get(product, ""), math.inf
        nameplate_w = self.capacities[resource].up_w
        for slot in range(*_slots(start_ns, end_ns)):
            most_w, _ = self._most_w(resource, slot, "up_w", nameplate_w, foreseen_w)
            left_w = min(left_w, most_w - self._taken(resource, share, slot, "up_w", now_ns)[0])
        return max(left_w, 0.0)

    def promised_w(self, resource: str, slot: int, side: str, now_ns: int = 0) -> float:
        """Return what is promised in a slot on a side ("up_w" or "down_w") in all (W)."""
        others_w, own_w, _ = self._taken(resource, "", slot, side, now_ns)
        return others_w + own_w

    def held_w(self, booking_id: str, at_ns: int, now_ns: int) -> tuple[float, float]:
        """Return what a committed promise holds up and down (W) at an instant; nothing where it does not stand then."""
        booking = self.bookings.get(booking_id)
        if booking is None or booking.state is not Held.COMMITTED or not booking.counts(now_ns):
            return (0.0, 0.0)
        inside = booking.first <= at_ns // SLOT_NS < booking.last
        return (booking.up_w, booking.down_w) if inside else (0.0, 0.0)

    def balance(self, resource: str, slot_ns: int, side: str, now_ns: int = 0) -> Balance:
        """Return one slot and direction ("up_w" or "down_w"): free + held + committed + derated = nameplate."""
        slot, nameplate_w = slot_ns // SLOT_NS, float(getattr(self.capacities[resource], side))
        firmly, in_all = dict[str, float](), dict[str, float]()
        for booking in self._at(resource, slot, now_ns):
            power_w, name = float(getattr(booking, side)), booking.share_class
            in_all[name] = max(in_all.get(name, 0.0), power_w)
            if booking.state is not Held.HOLD:
                firmly[name] = max(firmly.get(name, 0.0), power_w)
        promised_w, derated_w = math.fsum(in_all.values()), self._derated(resource, slot, side)
        covered_w = min(promised_w, nameplate_w - derated_w)
        committed_w = min(math.fsum(firmly.values()), covered_w)
        free_w = nameplate_w - derated_w - covered_w
        return Balance(free_w, covered_w - committed_w, committed_w, derated_w, promised_w - covered_w)

    def derate(
        self, resource: str, up_w: float, down_w: float, start_ns: int, now_ns: int = 0, end_ns: int = FOREVER_NS
    ) -> list[Shortfall]:
        """Lower what a resource can do from an instant on, and return which promises lose cover (R18).

        A new derating takes the place of what the former ones say of the same slots. Nameplate or more ends it.
        """
        capacity = self.capacities[resource]
        first, last = start_ns // SLOT_NS, _slots(0, end_ns)[1]
        lost = Derating(first, last, max(capacity.up_w - up_w, 0.0), max(capacity.down_w - down_w, 0.0))
        kept = [d for old in self.deratings.get(resource, []) for d in _outside(old, first, last)]
        if lost.up_w > 0 or lost.down_w > 0:
            kept.append(lost)
        self.deratings[resource] = kept
        return self.shortfalls(resource, first, last, now_ns)

    def shortfalls(self, resource: str, first: int, last: int, now_ns: int) -> list[Shortfall]:
        """Return the promises without cover in slots [first, last): weakest product, newest reservation first."""
        live = [b for b in self._by_resource.get(resource, {}).values() if b.counts(now_ns)]
        ends = max((b.last for b in live), default=first)
        found: list[Shortfall] = []
        for slot in range(first, min(last, ends)):
            mine = [b for b in live if b.first <= slot < b.last]
            up, down = self._cut(mine, resource, slot, "up_w"), self._cut(mine, resource, slot, "down_w")
            found += [
                Shortfall(name, slot, up.get(name, 0.0), down.get(name, 0.0)) for name in dict.fromkeys((*up, *down))
            ]
        return found

    def _cut(self, live: list[Booking], resource: str, slot: int, side: str) -> dict[str, float]:
        """Return what each promise loses (W). A share class gives as one: its promises overlap, so all of them sink."""
        most: dict[str, float] = {}
        # Weakest product first, newest first within it: whoever was promised early loses last (R18).
        for booking in sorted(live, key=lambda b: (self.strengths.get(b.product, 0), -b.made)):
            power_w = float(getattr(booking, side))
            most[booking.share_class] = max(most.get(booking.share_class, 0.0), power_w)
        # Against what is left of the nameplate, not of the firm sum: what was promised within it stays promised.
        left_w = float(getattr(self.capacities[resource], side)) - self._derated(resource, slot, side)
        lacking_w = max(math.fsum(most.values()) - left_w, 0.0)
        lost: dict[str, float] = {}
        for share, highest_w in most.items():
            level_w = max(highest_w - lacking_w, 0.0)
            lacking_w -= highest_w - level_w
            for booking in live:
                over_w = float(getattr(booking, side)) - level_w
                if booking.share_class == share and over_w > 1e-6:
                    lost[booking.id] = over_w
        return lost

    def digest(self) -> str:
        """Return the hash of all bookings and deratings."""
        digest = blake2b(digest_size=16)
        for key in sorted(self.bookings):
            b = self.bookings[key]
            digest.update(f"{key}:{b.first}:{b.last}:{b.up_w!r}:{b.down_w!r}:{b.state}".encode())
        for resource in sorted(self.deratings):
            digest.update(f"{resource}:{self.deratings[resource]!r}".encode())
        return digest.hexdigest()

    # --- inside --------------------------------------------------------------------------------------------------

    def _index(self, booking: Booking) -> None:
        self._by_resource.setdefault(booking.resource, {})[booking.id] = booking
        for slot in range(booking.first, booking.last):
            self._by_slot.setdefault((booking.resource, slot), {})[booking.id] = booking

    def _at(self, resource: str, slot: int, now_ns: int) -> list[Booking]:
        return [b for b in self._by_slot.get((resource, slot), {}).values() if b.counts(now_ns)]

    def _derated(self, resource: str, slot: int, side: str) -> float:
        lost = self.deratings.get(resource, ())
        return math.fsum(float(getattr(d, side)) for d in lost if d.first <= slot < d.last)

    def _most_w(
        self, resource: str, slot: int, side: str, nameplate_w: float, foreseen_w: float = math.inf
    ) -> tuple[float, str]:
        """Return the most that may be promised, and what binds it where that is not the nameplate."""
        derated_w = self._derated(resource, slot, side)
        firm_w = self.firm[resource][side == "down_w"] if resource in self.firm else nameplate_w
        if side == "up_w" and foreseen_w < min(firm_w, nameplate_w - derated_w):
            return foreseen_w, FORESEEN
        if firm_w < nameplate_w - derated_w:
            return firm_w, FIRM
        return nameplate_w - derated_w, DERATED if derated_w > 0 else ""

    def _taken(self, resource: str, share: str, slot: int, side: str, now_ns: int) -> tuple[float, float, str]:
        """Return what other share classes hold, what our own holds (W), and who else holds most ("": nobody)."""
        by_class: dict[str, tuple[float, str]] = {}
        for booking in self._at(resource, slot, now_ns):
            power_w: float = getattr(booking, side)
            best = by_class.get(booking.share_class, (0.0, ""))
            by_class[booking.share_class] = max(best, (power_w, f"{booking.product} ({booking.id})"))
        own = by_class.pop(share, (0.0, ""))[0]
        most_w, holder = max(by_class.values(), default=(0.0, ""))
        holder = holder if most_w > 0 else ""  # what it holds the other way is in nobody's way here
        return math.fsum(power_w for power_w, _ in by_class.values()), own, holder

    def _energy_refusal(self, asked: Booking, c: Capacity, now_ns: int) -> Refusal | None:
        if c.energy_wh is None:
            return None
        live = [b for b in self._by_resource.get(asked.resource, {}).values() if b.counts(now_ns)]
        # Slots that are over can no longer be called; their energy is in the state of charge by now.
        start = max(min([asked.first, *(b.first for b in live)]), now_ns // SLOT_NS)
        end = max([asked.last, *(b.last for b in live)])
        calls = {"up_w": Calls([*live, asked], "up_w"), "down_w": Calls([*live, asked], "down_w")}
        for slot in range(start, end):
            at = iso((slot + 1) * SLOT_NS)
            # Losses lie on both ways: what leaves costs more than it gives, what enters leaves less than it took.
            lower = c.energy_wh - calls["up_w"].through(slot) / c.discharge_frac
            upper = c.energy_wh + calls["down_w"].through(slot) * c.charge_frac
            holder = self._taken(asked.resource, asked.share_class, slot, "up_w", now_ns)[2]
            if lower < c.min_energy_wh - 1e-6:
                limit = f"stored energy reaches its floor {c.min_energy_wh:.0f} Wh at {at}"
                reason = "all upward calls together need more energy than is stored"
                return Refusal(reason, "up_w", f"{asked.up_w:.0f}", limit, holder)
            if upper > c.max_energy_wh + 1e-6:
                holder = self._taken(asked.resource, asked.share_class, slot, "down_w", now_ns)[2]
                limit = f"stored energy reaches its top {c.max_energy_wh:.0f} Wh at {at}"
                reason = "all downward calls together overfill the store"
                return Refusal(reason, "down_w", f"{asked.down_w:.0f}", limit, holder)
        return None

    def _stores_refusal(self, asked: Booking, stores: Stores | None, now_ns: int) -> Refusal | None:
        """Return why a pool's stores don't last for all that is promised; None where they do.

        Before the first call they are full for upward ones and empty for downward ones, as they may be by then; what a
        call asks beyond what lasts without them they give, and what it leaves free they take back, each within their
        own power. What they hold now counts for what is promised at once: that is availability's matter.
        """
        if stores is None:
            return None
        since, hours = now_ns // SLOT_NS, SLOT_NS / HOUR_NS
        live = [b for b in self._by_resource.get(asked.resource, {}).values() if b.counts(now_ns) and b.last > since]
        first, last = min([asked.first, *(b.first for b in live)]), max([asked.last, *(b.last for b in live)])
        for side, lasting_w, back_w in (
            ("up_w", stores.lasting_up_w, stores.take_w), ("down_w", stores.lasting_down_w, stores.give_w),
        ):  # fmt: skip
            if getattr(asked, side) <= 0:
                continue
            calls, before_wh, left_wh = Calls([*live, asked], side), 0.0, stores.energy_wh
            for slot in range(first, last):
                called_wh = calls.through(slot)
                called_w, before_wh = (called_wh - before_wh) / hours, called_wh
                free_w = lasting_w - called_w if called_w > 0.0 else math.inf
                left_wh = min(left_wh + min(free_w, back_w) * hours, stores.energy_wh)
                if left_wh < -1e-6 and slot >= since:
                    own = [b for b in live if getattr(b, side) > 0]
                    most = max(own, key=lambda b: float(getattr(b, side)) * (b.last - b.first), default=None)
                    holder = "" if most is None else f"{most.product} ({most.id})"
                    limit = f"the stores' {stores.energy_wh:.0f} Wh are used up at {iso((slot + 1) * SLOT_NS)}"
                    reason = "what is promised in a row needs more energy than the stores hold"
                    return Refusal(reason, side, f"{getattr(asked, side):.0f}", limit, holder)
        return None


def _slots(start_ns: int, end_ns: int) -> tuple[int, int]:
    return start_ns // SLOT_NS, -(-end_ns // SLOT_NS)


def _outside(old: Derating, first: int, last: int) -> list[Derating]:
    """Return what of a derating lies outside slots [first, last)."""
    pieces = [(old.first, min(old.last, first)), (max(old.first, last), old.last)]
    return [Derating(a, b, old.up_w, old.down_w) for a, b in pieces if a < b]
