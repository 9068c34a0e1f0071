"""What a program event binds of its pools' capacity: booked in the one ledger, so that no kW is called twice (R8).

Theory of operation. An event on a pool, a feeder or a device is split over the pools whose devices it calls, by their
nameplate. Each part is checked when the event is composed, committed when a second person approves it, and given back
when it is cancelled; one that ran to its end stays bound as delivered. Each event is a product, and so a share class,
of its own: two calls add up with each other and with what the market was sold, while the booking that an extension
adds overlaps the one it prolongs.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from tieline.desk.engine_calls import IS_ENGINE, named_engines
from tieline.desk.entry import Entry
from tieline.desk.facts import CapacityReserved
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState
from tieline.fleet.ledger import SLOT_NS, Held
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS

PRODUCT = "DEMAND_RESPONSE"


def product_of(event: ProgramEvent) -> str:
    """Return the product under which an event is booked; a refusal names it as the holder."""
    return f"{PRODUCT}/{event.program}/{event.id}"


class Room(Struct, frozen=True):
    """What the pools of an event owe at its fullest slot, and what is free there (W, Wh over the event)."""

    owed_w: float
    free_w: float
    free_wh: float


def parts(state: DeskState, event: ProgramEvent, now_ns: int) -> dict[str, float]:
    """Return the power that an event asks of each pool (W, as signed as the event), by nameplate of its devices.

    Backup engines that a rule lets it call are no capacity of a pool, which sells nothing of them: what they give by
    their nameplate is asked of no pool.
    """
    group, power_w = event.group, event.power_w
    fleet, rows = state.fleet, state.fleet.leaves(group)
    size_w = fleet.max_inject_w + fleet.max_absorb_w
    named = rows[named_engines(state, event, rows, now_ns)]
    if len(named):
        engines_w = float(size_w[named].sum())
        size_w = np.where(IS_ENGINE[fleet.kinds], 0.0, size_w)
        others_w = float(size_w[rows].sum())
        power_w *= others_w / (others_w + engines_w)
    mine_w = float(size_w[rows].sum())
    found: dict[str, float] = {}
    for pool in state.ledger.capacities:
        if not fleet.holds(pool) or mine_w <= 0:
            continue
        within = set(fleet.leaves(pool).tolist()).intersection(rows.tolist()) if pool != group else set(rows.tolist())
        if within:
            found[pool] = power_w * float(size_w[sorted(within)].sum()) / mine_w
    return found


def room(state: DeskState, event: ProgramEvent, now_ns: int) -> Room:
    """Return what is owed and free for an event in its fullest slot, over all its pools."""
    side = "up_w" if event.power_w > 0 else "down_w"
    slots = range(event.start_ns // SLOT_NS * SLOT_NS, event.end_ns, SLOT_NS)
    owed_w = free_w = 0.0
    for pool in parts(state, event, now_ns):
        most_w = float(getattr(state.ledger.capacities[pool], side))
        firm_w = state.ledger.firm[pool][side == "down_w"] if pool in state.ledger.firm else most_w
        balances = [state.ledger.balance(pool, slot, side, now_ns) for slot in slots]
        promised_w = [b.committed_w + b.held_w + b.short_w for b in balances]
        owed_w += max(promised_w)
        free_w += min(
            max(min(b.free_w, firm_w - p_w), 0.0) for b, p_w in zip(balances, promised_w, strict=True)
        )  # fmt: skip
    return Room(owed_w, free_w, free_w * (event.end_ns - event.start_ns) / HOUR_NS)


def decide_reserve(
    state: DeskState, event: ProgramEvent, start_ns: int, end_ns: int, now_ns: int, causes: tuple[str, ...] = ()
) -> tuple[list[Entry], Refusal | None]:
    """Return the facts that book an event's capacity over an interval, or the fact and words of the first refusal.

    An interval that goes on from the event's end is booked from the next step of the book on: that which holds the end
    is booked whole.
    """
    entries: list[Entry] = []
    hours = (end_ns - start_ns) / HOUR_NS
    if start_ns > event.start_ns:
        start_ns = -(-start_ns // SLOT_NS) * SLOT_NS
    if start_ns >= end_ns:
        return [], None
    for pool, power_w in parts(state, event, now_ns).items():
        up_w, down_w = max(power_w, 0.0), max(-power_w, 0.0)
        energy_wh = abs(power_w) * hours
        product = product_of(event)
        refusal = state.ledger.check(pool, product, start_ns, end_ns, up_w, down_w, energy_wh, now_ns)
        name = derive("reservation", event.id, pool, start_ns)
        fact = CapacityReserved(
            name, pool, product, start_ns, end_ns, up_w, down_w, energy_wh, refusal, event=event.id,
        )  # fmt: skip
        if refusal is not None:
            return [Entry(derive("reservation-refused", name, now_ns), fact, pool, causes)], refusal
        entries.append(Entry(name, fact, pool, causes))
    return entries, None


def booked(state: DeskState, event: str) -> tuple[float, float]:
    """Return what an event has booked over all its pools: power (W, its greatest) and energy (Wh)."""
    found = [state.ledger.bookings[name] for name in state.event_bookings.get(event, ())]
    bound = [b for b in found if b.state is not Held.RELEASED]
    by_pool: dict[str, float] = {}
    for b in bound:
        by_pool[b.resource] = max(by_pool.get(b.resource, 0.0), b.up_w - b.down_w, key=abs)
    return sum(by_pool.values()), sum(b.energy_wh for b in bound)
