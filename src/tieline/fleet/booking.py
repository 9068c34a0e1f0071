"""What the reservation book is made of: promises, capacities, deratings, and the energy that promises may call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from tieline.times import HOUR_NS, MINUTE_NS

SLOT_NS = 5 * MINUTE_NS
MOST_SLOTS = 12 * 24 * 400
"""The longest promise: something over a year."""
FIRM, DERATED = " that its leaves can be counted on for", " left by a stronger authority"
FORESEEN = " that it can be counted on to give then"
"""What binds a promise where that is not the nameplate, as a refusal's limit says it."""
SOLD = "that capacity is sold or beyond the rating"
UNSOLD = {
    "": "that is beyond the rating",
    FIRM: "that is beyond what its leaves can be counted on for",
    DERATED: "that is beyond what a stronger authority has left",
    FORESEEN: "that is beyond what it can be counted on to give then",
}
"""Why a promise is refused where nobody holds any of it: by what binds it."""


class Held(StrEnum):
    """Where a reservation stands."""

    HOLD = "hold"
    COMMITTED = "committed"
    DELIVERED = "delivered"
    RELEASED = "released"


@dataclass(slots=True)
class Booking:
    """One promise: so much up and down (W) over whole slots [first, last), at most `energy_wh` in all (0: no bound)."""

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
    energy_wh: float = 0.0

    def counts(self, now_ns: int) -> bool:
        """Return whether it binds capacity: a released one does not, and a hold only while it lives."""
        if self.state is Held.RELEASED:
            return False
        return self.state is not Held.HOLD or now_ns < self.holds_until_ns


@dataclass(slots=True)
class Stores:
    """What the stores of a pool hold together, and what the pool gives without them for as long as it is called.

    `energy_wh` is usable, from empty to full; `give_w` and `take_w` are the stores' own power; `lasting_up_w` and
    `lasting_down_w` what the others do.
    """

    energy_wh: float
    give_w: float
    take_w: float
    lasting_up_w: float
    lasting_down_w: float


@dataclass(slots=True)
class Capacity:
    """What a resource can promise: power each way (W), and stored energy with its bounds (Wh; None: no storage).

    `stores`: of a pool that has some beside other resources.
    """

    up_w: float
    down_w: float
    energy_wh: float | None = None
    max_energy_wh: float = 0.0
    min_energy_wh: float = 0.0
    charge_frac: float = 1.0
    discharge_frac: float = 1.0
    stores: Stores | None = None


@dataclass(frozen=True, slots=True)
class Derating:
    """What a stronger authority takes of a resource over slots [first, last) (W)."""

    first: int
    last: int
    up_w: float
    down_w: float


@dataclass(slots=True)
class Shortfall:
    """A promise that a derating left without cover (W)."""

    booking: str
    slot: int
    up_w: float
    down_w: float


@dataclass(frozen=True, slots=True)
class Balance:
    """One slot and direction of a resource (W): the four add up to its nameplate; `short` is promised without cover."""

    free_w: float
    held_w: float
    committed_w: float
    derated_w: float
    short_w: float


class Calls:
    """Energy that all promises one way may call, slot after slot (Wh): a class overlaps, classes add.

    A promise that is bounded in energy calls at most that; a class calls at most what its bounds add up to.
    """

    def __init__(self, bookings: list[Booking], side: str) -> None:
        self._side = side
        self._classes: dict[str, list[Booking]] = {}
        for booking in bookings:
            self._classes.setdefault(booking.share_class, []).append(booking)
        self._by_power = dict.fromkeys(self._classes, 0.0)
        self._by_booking: dict[str, list[float]] = {name: [0.0] * len(b) for name, b in self._classes.items()}

    def through(self, slot: int) -> float:
        """Return the energy called to the end of a slot; call it for one slot after the other."""
        hours, total = SLOT_NS / HOUR_NS, 0.0
        for name, bookings in self._classes.items():
            power_w = [float(getattr(b, self._side)) if b.first <= slot < b.last else 0.0 for b in bookings]
            self._by_power[name] += max(power_w) * hours
            called = self._by_booking[name]
            for k, booking in enumerate(bookings):
                whole = called[k] + power_w[k] * hours
                called[k] = min(whole, booking.energy_wh) if booking.energy_wh > 0 else whole
            total += min(self._by_power[name], math.fsum(called))
        return total
