"""Asks from northbound interfaces: admitted as claims, refused with a reason, withdrawn.

A limit on a group becomes caps on its leaves (design rule R16): the headroom that the limit leaves is shared out over
the leaves, those that can't be reached counting at the most that they may do by themselves.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.desk.engines import barred_engines, refusal_by_contract, refusal_by_rule, unagreed
from tieline.desk.entry import Entry
from tieline.desk.facts import AskGranted, AskLapsed, AskRefused, AskWithdrawn, ClaimsEnded, ClaimsPlaced
from tieline.desk.groups import caps_of
from tieline.desk.modes import barred, refusal_by_mode
from tieline.desk.packed import Packed
from tieline.desk.people import SCREENS, lacks_second
from tieline.desk.ports import Ask, Granted
from tieline.desk.scopes import scope_of
from tieline.desk.state import LAPSED, AskKey, DeskState
from tieline.fleet.able import SUSTAIN_H, stored_wh, takes_wh
from tieline.fleet.ledger import SLOT_NS
from tieline.fleet.split import split_beside
from tieline.ids import derive
from tieline.resource.admission import Principal, admit
from tieline.resource.claim import Claim, ClaimEnd, ClaimKind, Quantity, Refusal
from tieline.resource.identity import GROUP_KINDS
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, iso

Floats = NDArray[np.float64]


def key_of(ask: Ask) -> AskKey:
    """Return what an ask replaces: the former one of the same source, program, resource and quantity."""
    return (ask.source, ask.program, ask.resource, ask.quantity.value)


def decide_ask(
    state: DeskState, ask: Ask, principal: Principal | None, now_ns: int
) -> tuple[list[Entry], Granted | Refusal]:
    """Return the facts and the answer to one ask; the same ask twice gets the first answer and makes no facts."""
    record_id = derive("ask", *key_of(ask), ask.version, ask.frame)
    if record_id in state.answers:
        return [], state.answers[record_id]
    refusal = refusal_of(state, ask, principal, now_ns)
    if refusal is not None:
        return [Entry(record_id, AskRefused(_recordable(ask), refusal), ask.resource)], refusal
    batch = derive("claims", *key_of(ask), ask.version)
    placed = placed_by(state, ask, batch, now_ns)
    entries = [
        Entry(record_id, AskGranted(ask, batch), ask.resource),
        *_unscoped_ended(state, ask, record_id),
        Entry(batch, placed, ask.resource, (record_id,)),
    ]
    return entries, Granted(batch, state.revision + 1)


def renews(state: DeskState, ask: Ask, now_ns: int) -> bool:
    """Return whether a limit says of now only what its source's live one says, for no shorter: it moves nobody."""
    live = state.asks.get(key_of(ask))
    if live is None or ask.kind is not ClaimKind.LIMIT:
        return False
    return live.ask.end_ns <= ask.end_ns and _goes_on(live.ask, ask, now_ns)


def first_asked(state: DeskState, ask: Ask, now_ns: int) -> tuple[int, int]:
    """Return when an ask that is granted now was asked first, and since when it holds: what it only says again did."""
    live = state.asks.get(key_of(ask))
    if live is None or not _goes_on(live.ask, ask, now_ns):
        return now_ns, ask.start_ns
    return live.asked_ns, live.start_ns


def _goes_on(live: Ask, ask: Ask, now_ns: int) -> bool:
    """Return whether an ask says of now what a live one of its source says."""
    same = ("principal", "level", "kind", "low", "high", "value", "primacy", "reservation_id", "randomise_s")
    is_running = live.start_ns <= now_ns < live.end_ns and ask.start_ns <= now_ns
    return is_running and all(getattr(live, name) == getattr(ask, name) for name in same)


def _recordable(ask: Ask) -> Ask:
    """Return an ask whose integers fit a journal: what was out of range is named in the refusal beside it."""
    least, most = -(2**63), 2**63 - 1

    def cut(number: int) -> int:
        return min(max(number, least), most)

    return structs.replace(
        ask, version=cut(ask.version), start_ns=cut(ask.start_ns), end_ns=cut(ask.end_ns), primacy=cut(ask.primacy),
        tagged_ns=None if ask.tagged_ns is None else cut(ask.tagged_ns),
    )  # fmt: skip


def refusal_of(state: DeskState, ask: Ask, principal: Principal | None, now_ns: int) -> Refusal | None:
    """Return why an ask can't be granted now, or None where it can; nothing is recorded."""
    if not state.fleet.holds(ask.resource):
        return Refusal("no such resource", "resource", ask.resource, "a resource of the registry")
    rows = leaves(state, ask.resource)
    last = state.versions.get(key_of(ask), 0)
    safe_w = float(state.fleet.safe_w[rows].sum())
    refusal = admit(
        _claim(ask, now_ns), principal, now_ns=now_ns, last_version=last, tagged_ns=ask.tagged_ns, safe_w=safe_w
    )
    if refusal is None and principal is not None and (principal.is_person or ask.source in SCREENS):
        refusal = lacks_second(ask.people, ask.level, len(rows), len(state.fleet), state.two_people)
    refusal = refusal or refusal_by_mode(state, rows, ask.level, ask.kind, ask.source)
    refusal = refusal or refusal_by_rule(state, ask, rows) or refusal_by_contract(state, ask, rows)
    return refusal or _not_carried(state, ask, rows) or _selected(state, ask, now_ns) or _beyond_reserve(state, ask)


def _claim(ask: Ask, now_ns: int) -> Claim:
    return Claim(
        id="",
        source=ask.source,
        principal=ask.principal,
        program=ask.program,
        level=ask.level,
        resource=ask.resource,
        quantity=ask.quantity,
        kind=ask.kind,
        start_ns=ask.start_ns,
        created_ns=now_ns,
        because=ask.because,
        end_ns=ask.end_ns,
        low=ask.low,
        high=ask.high,
        value=ask.value,
        primacy=ask.primacy,
        source_version=ask.version,
        randomise_s=ask.randomise_s,
        reservation_id=ask.reservation_id,
        scope=ask.resource,
    )


def _not_carried(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> Refusal | None:
    """Refuse what no link of it can tell its devices: a claim that nobody carries would be an empty promise."""
    if ask.quantity not in (Quantity.Q, Quantity.MODE):
        return None
    able = state.carries.get(ask.quantity)
    if able is not None and able[rows].all():
        return None
    return Refusal(
        "no link carries that to all its devices", "quantity", ask.quantity, "what its links carry", rule="R10"
    )


def select_key(source: str, resource: str, quantity: Quantity, level: Level) -> tuple[str, str, Quantity, Level]:
    """Return what a select is exclusive on: the interface is what stands before the colon of a source's name."""
    return (source.partition(":")[0], resource, quantity, level)


def _selected(state: DeskState, ask: Ask, now_ns: int) -> Refusal | None:
    return state.selects.blocks(select_key(ask.source, ask.resource, ask.quantity, ask.level), ask.source, now_ns)


def _beyond_reserve(state: DeskState, ask: Ask) -> Refusal | None:
    """Refuse a delta beyond what its reservation holds all the time, its other live deltas counted (R8)."""
    if ask.kind is not ClaimKind.DELTA:
        return None
    name, side = ask.reservation_id or "", 0 if ask.value >= 0 else 1
    booking = state.ledger.bookings.get(name)
    if booking is None or booking.resource != ask.resource:
        return Refusal("no such reservation of it", "reservation_id", name, f"one of {ask.resource}", rule="R8")
    instants = range(ask.start_ns, ask.end_ns, SLOT_NS)
    if len(instants) > booking.last - booking.first + 1:
        given = f"{iso(ask.start_ns)}/{iso(ask.end_ns)}"
        return Refusal("the delta outlasts its reservation", "end", given, "the reserved interval", name, "R8")
    held_w = min(state.ledger.held_w(name, at, at)[side] for at in (*instants, ask.end_ns - 1))
    used_w = math.fsum(
        abs(live.ask.value)
        for key, live in state.asks.items()
        if live.ask.reservation_id == name and key != key_of(ask) and (live.ask.value >= 0) == (side == 0)
        and live.ask.start_ns < ask.end_ns and ask.start_ns < live.ask.end_ns
    )  # fmt: skip
    if abs(ask.value) <= held_w - used_w + 1e-6:
        return None
    limit = f"{max(held_w - used_w, 0.0):.0f} W left of {held_w:.0f} W"
    return Refusal("the reservation holds less", "value", f"{ask.value:.0f}", limit, name, "R8")


def placed_by(state: DeskState, ask: Ask, batch: str, now_ns: int) -> ClaimsPlaced:
    """Return the claims that an admitted ask becomes, one a leaf."""
    rows = leaves(state, ask.resource)
    if ask.level > Level.UTILITY and ask.kind is not ClaimKind.LIMIT:
        rows = rows[~barred(state, ask.source)[rows]]  # devices of a feeder whose mode bars it are left out
    rows = rows[~barred_engines(state, ask, rows)]
    rows = rows[~unagreed(state, ask, rows)]
    low, high, value = _shares(state, ask, rows, now_ns)
    return ClaimsPlaced(
        batch,
        ask.source,
        ask.principal,
        ask.program,
        int(ask.level),
        ask.primacy,
        ask.quantity.value,
        ask.kind.value,
        ask.because,
        ask.version,
        now_ns,
        ask.start_ns,
        ask.end_ns,
        Packed.of(rows),
        Packed.of(low),
        Packed.of(high),
        Packed.of(value),
        ask.reservation_id,
        ask.resource,
        ask.randomise_s,
    )


def _unscoped_ended(state: DeskState, ask: Ask, record_id: str) -> list[Entry]:
    """Return the end of claims without a scope that this ask takes the place of: old journals hold such."""
    live = state.asks.get(key_of(ask))
    if (
        live is None
        or scope_of(state, live.ask)
        or not state.claims.has_scope(ask.source, ask.program, ask.quantity, "")
    ):
        return []
    ended = ClaimsEnded(
        ask.source, ask.program, ask.quantity.value, ClaimEnd.SUPERSEDED.value, live.claims,
        live_rows(state, ask.resource),
    )  # fmt: skip
    return [Entry(derive("ended", live.claims), ended, ask.resource, (record_id, live.claims))]


def leaves(state: DeskState, resource: str) -> NDArray[np.int32]:
    """Return the rows of all devices beneath a resource, or its own row where it is one."""
    return state.fleet.leaves(resource)


def _shares(state: DeskState, ask: Ask, rows: NDArray[np.int32], now_ns: int) -> tuple[Floats, Floats, Floats]:
    count = len(rows)
    if state.fleet.kind_of(ask.resource) not in GROUP_KINDS:
        return np.full(count, ask.low), np.full(count, ask.high), np.full(count, ask.value)
    if ask.kind is ClaimKind.LIMIT and ask.quantity is Quantity.P:
        low, high = _kept(state, ask, rows) or caps_of(state, ask.resource, rows, (ask.low, ask.high), now_ns)
        return low, high, np.zeros(count)
    if ask.kind in (ClaimKind.GATE, ClaimKind.MODE) or ask.quantity not in (Quantity.P, Quantity.Q):
        return np.full(count, ask.low), np.full(count, ask.high), np.full(count, ask.value)  # the same for each leaf
    size = _size_w(state, rows, ask.value, (ask.end_ns - max(ask.start_ns, now_ns)) / HOUR_NS)
    total = float(size.sum())
    value = ask.value * size / total if total > 0 else np.zeros(count)
    if ask.kind is ClaimKind.SET and ask.quantity is Quantity.P and -total < ask.value < 0.0:
        value = -_drawn_w(state, rows, -ask.value, size)
    return np.full(count, -math.inf), np.full(count, math.inf), value


def _size_w(state: DeskState, rows: NDArray[np.int32], value_w: float, hours: float) -> Floats:
    """Return by what sizes rows share a power (W): their ratings, a store's no more than it can keep up for so long.

    Where that is too little together, by what they can for five minutes; and where that is, by their ratings alone:
    nobody can make up for an empty one then, and it gives as it fills.
    """
    fleet = state.fleet
    rated_w, store_wh = fleet.max_inject_w[rows], stored_wh(fleet, rows)
    if value_w < 0.0:
        rated_w, store_wh = fleet.max_absorb_w[rows], takes_wh(fleet, rows)
    has_store = (fleet.energy_wh[rows] > 0.0) & np.isfinite(store_wh)
    for lasts_h in (max(hours, SUSTAIN_H), SUSTAIN_H):
        size_w = np.where(has_store, np.minimum(rated_w, np.maximum(store_wh, 0.0) / lasts_h), rated_w)
        if float(size_w.sum()) >= abs(value_w):
            return size_w
    return rated_w


def _drawn_w(state: DeskState, rows: NDArray[np.int32], target_w: float, size_w: Floats) -> Floats:
    """Return what each row is to draw of what a group is to (W): told a part, what is on or off would miss it.

    Who draws already goes on, so that no more loads are switched than must.
    """
    whole = state.is_switched[rows]
    at = np.flatnonzero(whole)
    order = at[np.argsort(state.fleet.power_or_0_w(rows[at]) >= 0.0, kind="stable")]
    return split_beside(target_w, size_w, whole, order)


def _kept(state: DeskState, ask: Ask, rows: NDArray[np.int32]) -> tuple[Floats, Floats] | None:
    """Return the shares that the same limit has already: a renewal moves nobody, so that no cap grows early (R16)."""
    live = state.asks.get(key_of(ask))
    if live is None or (live.ask.low, live.ask.high) != (ask.low, ask.high):
        return None
    low, high = state.claims.limits_of(rows, ask.source, ask.program, ask.quantity, scope_of(state, live.ask))
    return None if np.isnan(low).any() else (low, high)


def decide_withdraw(state: DeskState, key: AskKey, frame: str, why: str, now_ns: int) -> list[Entry]:
    """Return the facts that end a source's live claim; none where there is no such claim.

    One whose source fell silent (`LAPSED`) lapses before its lease is over: nobody withdrew it.
    """
    live = state.asks.get(key)
    if live is None:
        return []
    source, program, resource, quantity = key
    is_lapse = why == LAPSED
    record_id = derive("lapsed" if is_lapse else "withdraw", *key, live.claims)
    withdrawn = AskWithdrawn(source, program, resource, quantity, frame, why)
    end_ns = min(now_ns, live.ask.end_ns)
    return [
        Entry(record_id, AskLapsed(*key, end_ns) if is_lapse else withdrawn, resource, (live.record,)),
        Entry(
            derive("ended", live.claims),
            ClaimsEnded(
                source,
                program,
                quantity,
                (ClaimEnd.EXPIRED if is_lapse else ClaimEnd.CANCELLED).value,
                live.claims,
                live_rows(state, resource),
                scope_of(state, live.ask),
            ),
            resource,
            (record_id, live.claims),
        ),
    ]


def decide_opt_ins(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the facts that end opt-outs whose time is over, and those that tell which other asks lapsed.

    The claims of both lapse by themselves; who is out does not, and nobody would see whose limit was there. A lapse is
    told once, while an ask that is renewed in time is told by its renewals alone.
    """
    over = [key for key, live in state.asks.items() if live.ask.end_ns <= now_ns]
    entries: list[Entry] = []
    for key in over:
        live = state.asks[key]
        if live.ask.level is Level.OWNER_NEED and live.ask.kind is ClaimKind.GATE:
            entries += decide_withdraw(state, key, "", "its time is over", now_ns)
        else:
            lapsed = AskLapsed(*key, live.ask.end_ns)
            entries.append(Entry(derive("lapsed", live.claims), lapsed, live.ask.resource, (live.record, live.claims)))
    return entries


def next_end_ns(state: DeskState, now_ns: int) -> int:
    """Return when the next of all asks ends, after now; `FOREVER_NS`: none does."""
    return min((live.ask.end_ns for live in state.asks.values() if live.ask.end_ns > now_ns), default=FOREVER_NS)


def live_rows(state: DeskState, resource: str) -> Packed:
    """Return the rows beneath a resource, packed."""
    return Packed.of(leaves(state, resource))
