"""How much of a pool may be offered for an hour: what it is foreseen to give for as long as that lasts, and what of it
95 of 100 cases reach, beside what is promised right before and after.

An offer within its rating and beyond this would be sold from resources that nobody expects to have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk.foreseen import LOADS_FRAC, Foreseen, LoadFrac, foreseen
from tieline.desk.opt_out_rates import beyond_prior
from tieline.desk.ports import Offer, Segment
from tieline.desk.state import DeskState
from tieline.fleet.capability import Together
from tieline.fleet.firm import Z95, firm_w
from tieline.fleet.ledger import SLOT_NS
from tieline.times import HOUR_NS, SECOND_NS

if TYPE_CHECKING:
    from tieline.desk.pool_desk import PoolDesk

Floats = NDArray[np.float64]
SLOT_S = SLOT_NS / SECOND_NS
MOST_SLOTS, FILLED_SLOTS = 24 * HOUR_NS // SLOT_NS, 4 * HOUR_NS // SLOT_NS
"""What is promised is looked at for a day before an hour, and one after; up to a gap in which stores are filled, where
they are: most take no longer."""
ROUNDS, NEAR_W = 60, 0.1
WHOLE_W = 1_000.0
"""A curve's step is offered in whole kilowatts."""


@dataclass(slots=True)
class Offerable:
    """Says of each offer how much of its pool is foreseen for its hour; implements `desk.ports.Foresight`."""

    state: DeskState
    pools: Mapping[str, PoolDesk]
    load_frac: Mapping[str, LoadFrac]

    def most_w(self, offer: Offer, now_ns: int, beside: Sequence[Offer] = ()) -> float:
        """Return the most that may be promised of a pool in all, upwards, in an offer's hour (W; inf: no such pool).

        Args:
            offer: The hour, and the pool; not how much.
            now_ns: Now.
            beside: Offers that are about to be made, too.
        """
        pool = self.pools.get(offer.pool)
        if pool is None:
            return np.inf
        load_frac = self.load_frac.get(offer.pool)
        seen = foreseen(self.state, pool, offer.start_ns, offer.end_ns, now_ns, load_frac)
        stays_frac = 1.0 - beyond_prior(self.state, now_ns)[self.state.fleet.kinds[pool.rows]]
        seen = replace(seen, reach_frac=seen.reach_frac * stays_frac)
        power_w, energy_wh = _firm(seen, (offer.end_ns - offer.start_ns) / HOUR_NS)
        gap = FILLED_SLOTS if pool.forecast else MOST_SLOTS
        promised_w, mine = _promised(self.state, offer, now_ns, beside, gap)
        return float(promised_w[mine].max(initial=0.0)) + _room_w(promised_w, mine, power_w, energy_wh)

    def fitted(self, offer: Offer, now_ns: int, beside: Sequence[Offer] = ()) -> Offer | None:
        """Return an offer cut to what can be held of it, in whole kilowatts; None: nothing can."""
        return cut(offer, self.left_w(offer, now_ns, beside))

    def left_w(self, offer: Offer, now_ns: int, beside: Sequence[Offer] = ()) -> float:
        """Return how much can be offered in an offer's hour beside what is promised and about to be offered (W; inf: no
        such pool in the book)."""
        ledger, most_w = self.state.ledger, self.most_w(offer, now_ns, beside)
        if offer.pool not in ledger.capacities:
            return np.inf
        added_w = sum(each.power_w for one in beside if _overlap(one, offer) for each in one.segments)
        return ledger.free_for(offer.pool, offer.product, offer.start_ns, offer.end_ns, most_w, now_ns) - added_w


def cut(offer: Offer, left_w: float) -> Offer | None:
    """Return an offer cut to a power (W), its dearest steps first, in whole kilowatts; None: nothing is left of it."""
    if np.isinf(left_w):
        return offer
    made = list[Segment]()
    for step in offer.segments:
        watts = min(step.power_w, left_w // WHOLE_W * WHOLE_W)
        if watts <= 0.0:
            break
        made.append(Segment(watts, step.price_per_mwh))
        left_w -= watts
    return Offer(offer.id, offer.pool, offer.product, offer.start_ns, offer.end_ns, tuple(made)) if made else None


def _firm(seen: Foreseen, hours: float) -> tuple[Floats, Floats]:
    """Return what of each row's power and energy counts, so that their sum over so many hours is firm."""
    there = seen.seen if seen.is_near else np.ones(len(seen.seen), np.bool_)
    # What loads can do now they do not do as surely; what they typically give leaves that out already.
    sure_frac = np.where(seen.is_load, max(1.0 - Z95 * LOADS_FRAC, 0.0), 1.0) if seen.is_near else 1.0
    power_w = np.where(there, seen.power_w * sure_frac, 0.0)
    energy_wh = seen.energy_wh * sure_frac
    held_w = np.minimum(power_w, energy_wh / hours)
    whole_w = float(held_w.sum())
    frac = firm_w(held_w[held_w > 0.0], seen.reach_frac[held_w > 0.0]) / whole_w if whole_w > 0.0 else 0.0
    return power_w * frac, np.where(np.isinf(energy_wh), np.inf, np.nan_to_num(energy_wh, posinf=0.0) * frac)


def _overlap(one: Offer, other: Offer) -> bool:
    return one.pool == other.pool and max(one.start_ns, other.start_ns) < min(one.end_ns, other.end_ns)


def _promised(
    state: DeskState, offer: Offer, now_ns: int, beside: Sequence[Offer], most_gap: int
) -> tuple[Floats, slice]:
    """Return what is promised upwards in each slot around an offer's hour (W), and where the hour is in it.

    It begins and ends where nothing is promised for `most_gap` slots: what lies beyond, stores are filled for anew.
    """
    first, last = offer.start_ns // SLOT_NS, -(-offer.end_ns // SLOT_NS)

    def at(slot: int) -> float:
        more_w = sum(
            each.power_w for one in beside if one.pool == offer.pool for each in one.segments
            if one.start_ns <= slot * SLOT_NS < one.end_ns
        )  # fmt: skip
        return state.ledger.promised_w(offer.pool, slot, "up_w", now_ns) + more_w

    def until(slots: range) -> list[float]:
        found, gap = list[float](), 0
        for slot in slots:
            found.append(at(slot))
            gap = gap + 1 if found[-1] <= 0.0 else 0
            if gap >= most_gap:
                break
        return found

    before = until(range(first - 1, max(first - MOST_SLOTS, now_ns // SLOT_NS) - 1, -1))
    own, after = [at(slot) for slot in range(first, last)], until(range(last, last + MOST_SLOTS))
    return np.array([*reversed(before), *own, *after]), slice(len(before), len(before) + len(own))


def _room_w(promised_w: Floats, mine: slice, power_w: Floats, energy_wh: Floats) -> float:
    """Return how much more can be given in some slots, beside what is promised (W)."""
    wanted_w, can = promised_w.copy(), Together.of(power_w, energy_wh)  # of a million rows the order takes a while

    def lacks(watts: float) -> bool:
        wanted_w[mine] = promised_w[mine] + watts
        return can.lacks_wh(wanted_w, SLOT_S) > NEAR_W

    low_w, high_w = 0.0, float(power_w.sum())
    # What is promised already may lack: then nothing more can be given that does not lack, too.
    if lacks(0.0) or high_w <= 0.0:
        return 0.0
    if not lacks(high_w):
        return high_w
    for _ in range(ROUNDS):
        middle_w = 0.5 * (low_w + high_w)
        low_w, high_w = (low_w, middle_w) if lacks(middle_w) else (middle_w, high_w)
        if high_w - low_w < NEAR_W:
            break
    return low_w
