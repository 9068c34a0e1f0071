"""Program events: what one would do, its steps as facts, and the claims that put it into force.

A program event shares a reduction over the devices of a group that can be reached and have not opted out, in
proportion to what each has to give. It stands at level PROGRAM: whatever is stronger wins, and the screen says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.desk.desk_views import EventPreview
from tieline.desk.engine_calls import named_engines
from tieline.desk.entry import Entry
from tieline.desk.event_anew import Asked, asked_anew, asked_first
from tieline.desk.event_contracts import barred_rows, dropped, refusal_of_all, refusal_of_longer
from tieline.desk.event_left_out import told_left_out
from tieline.desk.event_makeup import NOTHING, Shown
from tieline.desk.event_reserve import booked, decide_reserve, room
from tieline.desk.event_says import (
    says_asked,
    says_awards,
    says_equal,
    says_free,
    says_rebound,
    says_unknown,
    says_unmet,
    warning_of,
)
from tieline.desk.event_split import NOBODY, added_up_w, shares
from tieline.desk.event_stack import SOURCE, Layer, asked_from_w, layers, newest, sunk, top
from tieline.desk.event_views import EventView
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced, EventChanged
from tieline.desk.modes import barred, refusal_by_mode
from tieline.desk.packed import Packed
from tieline.desk.programs import NEXT, EventState, ProgramEvent, advance, check, lapses
from tieline.desk.screens import KEY, ONCE, ComposeEvent
from tieline.desk.state import DeskState
from tieline.desk.tracking import bounded_base_w
from tieline.fleet.able import stored_wh
from tieline.fleet.columns import KIND_CODE, KINDS
from tieline.ids import derive
from tieline.market.settlement import LEAST_TOLD_WH, without_noise
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, iso

MAX_HOURS = 12
MOST_WHY = 400
REBOUND_FRAC = {Kind.THERMOSTAT: 0.6, Kind.WATER_HEATER: 0.7, Kind.EV_CHARGER: 0.5, Kind.SHIFTABLE_LOAD: 0.8}
"""Share of the power withheld that comes back when a called device is released (thermal and shifted load)."""
SECOND_PERSON_DEVICES = 1


def view_of(state: DeskState, event: ProgramEvent) -> EventView:
    """Return an event for a screen."""
    reserved_w, reserved_wh = booked(state, event.id)
    asked_wh, delivered_wh, over_wh = state.event_tracked.get(event.id, (0.0, 0.0, 0.0))
    called, counted = newest(state, event.id), state.event_counted.get(event.id)
    rows = np.zeros(0, np.int32) if called is None else called.rows
    is_open = bool(NEXT[event.state]) and state.fleet.holds(event.group)
    unmet = says_unmet(state.fleet, event.group, event.power_w) if is_open else ""
    lacks_wh = without_noise(state.event_lacks.get(event.id, {}), LEAST_TOLD_WH)
    return EventView(
        event.id, event.program, event.group, event.strategy, event.start_ns, event.end_ns, event.power_w,
        event.state.value, event.composed_by, event.approved_by, event.why,
        tuple(sorted(step.value for step in NEXT[event.state])), reserved_w, reserved_wh, asked_wh, delivered_wh,
        len(rows), int(state.opted_out[rows].sum()), lacks_wh, over_wh,
        says_asked(event.power_w), () if counted is None else counted.uncounted(),
        0 if counted is None or not asked_wh else counted.to_ns,
        unmet, says_equal(state.events.values(), event) if is_open else "",
    )  # fmt: skip


def refusal_of(state: DeskState, wish: ComposeEvent, now_ns: int) -> Refusal | None:
    """Return why an event can't be composed, or None."""
    if not state.fleet.holds(wish.group):
        return Refusal("no such group", "group", wish.group, "a group or device of the registry")
    if not wish.program.strip() or len(wish.program) > 80 or not wish.program.isprintable():
        return Refusal("a program has a name", "program", wish.program[:80], "1 to 80 printable characters")
    if len(wish.why) > MOST_WHY:
        return Refusal("the reason is too long", "why", f"{len(wish.why)} characters", f"up to {MOST_WHY}")
    if wish.strategy not in ("share", "merit"):
        return Refusal("no such strategy", "strategy", wish.strategy, "share or merit")
    if not 0 < abs(wish.power_w) < 1e12:
        return Refusal("an event asks for some power", "power_w", str(wish.power_w), "below 1e12 W, not 0")
    for field, instant_ns in (("start_ns", wish.start_ns), ("end_ns", wish.end_ns)):
        if not 0 <= instant_ns <= FOREVER_NS:
            return Refusal("no instant", field, str(instant_ns)[:40], f"0 to {FOREVER_NS} ns since 1970")
    if wish.end_ns - wish.start_ns > MAX_HOURS * HOUR_NS:
        return Refusal("the event is too long", "end_ns", iso(wish.end_ns), f"{MAX_HOURS} h after its start")
    wished = _event(wish, "", "")
    refusal = check(wished, now_ns)
    refusal = refusal or refusal_by_mode(state, state.fleet.leaves(wish.group), Level.PROGRAM, ClaimKind.SET, SOURCE)
    refusal = refusal or refusal_of_all(state, wished, now_ns)
    # Compared when it is composed, so that nobody waits for an approval that can't be; booked when it is approved.
    return refusal or decide_reserve(state, wished, wish.start_ns, wish.end_ns, now_ns)[1]


def _event(wish: ComposeEvent, name: str, by: str) -> ProgramEvent:
    return ProgramEvent(
        name, wish.program.strip(), wish.group, wish.strategy, wish.start_ns, wish.end_ns, wish.power_w, by,
        why=wish.why,
    )  # fmt: skip


def preview(state: DeskState, wish: ComposeEvent, now_ns: int) -> EventPreview | Refusal:
    """Return what an event would do by what is known now; nothing happens."""
    refusal = refusal_of(state, wish, now_ns)
    if refusal is not None:
        return refusal
    left = room(state, _event(wish, "", ""), now_ns)
    bars, _ = barred_rows(state, _event(wish, "", ""), now_ns)
    engines = named_engines(state, _event(wish, "", ""), state.fleet.leaves(wish.group), now_ns)
    found = shares(state, wish.group, wish.power_w, now_ns, wish.end_ns, barred_by_contract=bars, engines=engines)
    out = told_left_out(state, _event(wish, "", ""), now_ns)
    rows, share_w = found.rows, found.share_w
    expected_w = added_up_w(share_w, wish.power_w)
    hours = (wish.end_ns - wish.start_ns) / HOUR_NS
    energy_wh = stored_wh(state.fleet, rows)
    stores = state.fleet.energy_wh[rows] > 0
    per_minute = []
    for minute in range(0, max(int(hours * 60), 1), max(int(hours * 60) // 60, 1)):
        empty = stores & (np.abs(share_w) * minute / 60.0 > np.nan_to_num(energy_wh, nan=np.inf))
        per_minute.append(float(share_w[~empty].sum()))
    kinds = state.fleet.kinds[rows]
    by_kind = {KINDS[code].value: int((kinds == code).sum()) for code in np.unique(kinds).tolist()}
    rebound_w = math.fsum(
        frac * float(np.abs(share_w[kinds == KIND_CODE[kind]]).sum()) for kind, frac in REBOUND_FRAC.items()
    )
    text = says_rebound(rebound_w, wish.power_w)
    return EventPreview(
        wish.group, len(rows), wish.power_w, float(np.sign(wish.power_w)) * found.most_w, expected_w,
        found.opted_out, found.unseen,
        float(np.mean(per_minute)) * hours, -float(np.sign(wish.power_w)) * rebound_w, text,
        len(rows) >= SECOND_PERSON_DEVICES, by_kind, tuple(per_minute),
        float((np.abs(share_w) * merit_price(kinds)).sum()) / 1e6 * hours, (), left.owed_w, left.free_w, left.free_wh,
        int(barred(state, SOURCE)[state.fleet.leaves(wish.group)].sum()), found.limited,
        warning_of(found, wish.power_w, state.is_killed, out), found.scheduled, out.unagreed, out.unagreed_why,
        says_unknown(state, _event(wish, "", ""), by_kind), says_asked(wish.power_w),
        says_free(left.free_w, found.most_w), says_awards(state, _event(wish, "", ""), rows, share_w),
        says_unmet(state.fleet, wish.group, wish.power_w), says_equal(state.events.values(), _event(wish, "", "")),
        out.unenrolled, out.unfit, out.devices,
    )  # fmt: skip


def keyed(state: DeskState, wish: ComposeEvent, by: str, key: str) -> ProgramEvent | Refusal | None:
    """Return the event that somebody composed with a key before, a refusal where that was another; None: none was.

    Its id follows from the key, so that a call that is sent again finds it, whatever died in between.
    """
    event = state.events.get(_name_of(by, key)) if key else None
    if event is None or event.asked == _asked(wish):
        return event
    return Refusal(
        "the key was used for another event", KEY, key, "a key of its own for each call", holder=event.id, rule=ONCE
    )


def _name_of(by: str, key: str) -> str:
    return derive("event", by, "key", key)


def _asked(wish: ComposeEvent) -> str:
    return derive("asked", *(str(value) for value in structs.astuple(wish)))


def _changed(event: ProgramEvent, by: str, now_ns: int, causes: tuple[str, ...] = ()) -> Entry:
    body = structs.asdict(event)
    body["state"] = event.state.value
    record = derive("event-step", event.id, event.state.value, now_ns)
    return Entry(record, EventChanged(event.id, event.state.value, by, body), event.group, causes)


def decide_compose(
    state: DeskState, wish: ComposeEvent, by: str, now_ns: int, key: str = ""
) -> tuple[list[Entry], ProgramEvent | Refusal]:
    """Return the facts of a new event, or why there can be none; of one that came with its key before, none."""
    known = keyed(state, wish, by, key)
    if known is not None:
        return [], known
    refusal = refusal_of(state, wish, now_ns)
    if refusal is not None:
        return [], refusal
    name = derive("event", wish.program, wish.group, wish.start_ns, wish.end_ns, by, len(state.events))
    event = _event(wish, _name_of(by, key) if key else name, by)
    event = structs.replace(event, asked=_asked(wish)) if key else event
    return [_changed(event, by, now_ns)], event


def decide_step(
    state: DeskState, event_id: str, to: EventState, by: str, now_ns: int
) -> tuple[list[Entry], ProgramEvent | Refusal]:
    """Return the facts of one step; an approved event is scheduled at once, a cancelled one gives its claims back."""
    event = state.events.get(event_id)
    if event is None:
        return [], Refusal("no such event", "event", event_id, "an event of the desk")
    after = advance(event, to, by, now_ns)
    if isinstance(after, Refusal):
        return [], after
    entries = [_changed(after, by, now_ns)]
    if after.state is EventState.APPROVED:
        refusal = refusal_of_all(state, after, now_ns)
        if refusal is not None:
            return [], refusal
        booked_by, refusal = decide_reserve(state, after, after.start_ns, after.end_ns, now_ns, (entries[0].id,))
        if refusal is not None:
            return [], refusal
        entries += booked_by
        after = structs.replace(after, state=EventState.SCHEDULED)
        entries.append(_changed(after, by, now_ns, (entries[0].id,)))
    if event.state is EventState.IN_PROGRESS:
        entries.append(_ended(after, ClaimEnd.CANCELLED if to is EventState.CANCELED else ClaimEnd.COMPLETED, entries))
        entries += _left(state, {event_id}, now_ns)[0]
    return entries, after


def most_longer(start_ns: int, end_ns: int) -> int:
    """Return by how many minutes an event may last longer at most."""
    return (MAX_HOURS * HOUR_NS - (end_ns - start_ns)) // MINUTE_NS


def decide_extend(
    state: DeskState, event_id: str, minutes: int, by: str, now_ns: int
) -> tuple[list[Entry], ProgramEvent | Refusal]:
    """Return the facts of a longer event: claims of one that runs are placed anew and supersede the old (R4)."""
    event = state.events.get(event_id)
    if event is None:
        return [], Refusal("no such event", "event", event_id, "an event of the desk")
    if event.state not in (EventState.SCHEDULED, EventState.IN_PROGRESS):
        return [], Refusal("only an event that is to come or runs lasts longer", "state", event.state.value,
                           "Scheduled or In Progress")  # fmt: skip
    most = most_longer(event.start_ns, event.end_ns)
    if not 1 <= minutes <= most:
        return [], Refusal("the event can't last that much longer", "minutes", str(minutes), f"1 to {most}")
    longer = structs.replace(event, end_ns=event.end_ns + minutes * MINUTE_NS)
    body = {**structs.asdict(longer), "state": longer.state.value}
    step = Entry(
        derive("event-extended", event.id, longer.end_ns, now_ns), EventChanged(event.id, event.state.value, by, body),
        event.group,
    )  # fmt: skip
    rows, value_w = _called(state, event, now_ns)
    refusal = refusal_of_longer(state, longer, rows, now_ns)
    if refusal is not None:
        return [], refusal
    reserved, refusal = decide_reserve(state, longer, event.end_ns, longer.end_ns, now_ns, (step.id,))
    if refusal is not None:
        return [], refusal
    if event.state is EventState.SCHEDULED:
        return [step, *reserved], longer
    return [step, *reserved, _placed(state, longer, rows, value_w, now_ns, step.id)], longer


def due(state: DeskState, now_ns: int, shown: Mapping[str, Shown] = NOTHING) -> list[Entry]:
    """Return the facts that the time brings: scheduled events begin with their claims, running ones end.

    One whose time is over before it began lapses, approved or not.

    Those that run call others for what they lack by their meters (`shown`, by event).
    """
    over = {
        name for name, event in state.events.items()
        if event.state is EventState.IN_PROGRESS and event.end_ns <= now_ns
    }  # fmt: skip
    entries, stack = _left(state, over, now_ns)
    for event in sorted(state.events.values(), key=lambda event: event.start_ns):  # who began first is served first
        if lapses(event, now_ns):
            entries.append(_changed(structs.replace(event, state=EventState.LAPSED), "clock", now_ns))
        elif event.state is EventState.SCHEDULED and event.start_ns <= now_ns:
            running = structs.replace(event, state=EventState.IN_PROGRESS)
            begun = _changed(running, "clock", now_ns)
            rows, value_w = _first_called(state, event, stack, now_ns)
            entries += [begun, _placed(state, running, rows, value_w, now_ns, begun.id, top(stack))]
            # Two that begin at one instant stand upon each other, too.
            stack.append(Layer(event.id, "", float(np.sign(event.power_w)), top(stack), rows, value_w))
        elif event.state is EventState.IN_PROGRESS and event.end_ns <= now_ns:
            done = [_changed(structs.replace(event, state=EventState.COMPLETED), "clock", now_ns)]
            entries += [*done, _ended(event, ClaimEnd.COMPLETED, done)]
        elif event.state is EventState.IN_PROGRESS and state.is_killed:
            entries += _stopped(state, event)
        elif event.state is EventState.IN_PROGRESS:
            entries += _called_later(state, event, stack, now_ns, shown.get(event.id))
    return entries


def _first_called(
    state: DeskState, event: ProgramEvent, stack: list[Layer], now_ns: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return whom an event calls as it begins, and the target of each (W); nobody behind the kill switch."""
    if state.is_killed:
        return NOBODY, np.zeros(0)
    bars, _ = barred_rows(state, event, now_ns)
    engines = named_engines(state, event, state.fleet.leaves(event.group), now_ns)
    found = shares(state, event.group, event.power_w, now_ns, event.end_ns, NOBODY, stack, bars, engines)
    first = asked_first(state, event, found.rows, found.target_w, stack, top(stack), now_ns)
    return first.rows, first.value_w


def _stopped(state: DeskState, event: ProgramEvent) -> list[Entry]:
    """Return the end of what an event calls as the kill switch is pressed: released, it calls again while it runs."""
    held = newest(state, event.id)
    if held is None:
        return []
    why = state.kill_record
    fact = ClaimsEnded(SOURCE, event.id, Quantity.P.value, ClaimEnd.CANCELLED.value, why)
    return [Entry(derive("ended", held.id, why), fact, event.group, (why, held.id))]


def _called_later(
    state: DeskState, event: ProgramEvent, running: list[Layer], now_ns: int, shown: Shown | None
) -> list[Entry]:
    """Return the claims on devices that are called beside those that an event has, as they don't give what was asked.

    Its plants follow their sun, and where it gets too much some are let go (`event_anew`). What it asks is added to
    what those that are `running` ask: whose turn is next stands upon it.
    """
    if any(layer.event == event.id and not layer.batch for layer in running):
        return []  # what it asks was just placed anew, as one beneath it ended
    rows, value_w = _called(state, event, now_ns)
    held, stack = newest(state, event.id), [layer for layer in running if layer.event != event.id]
    primacy, side = top(stack) if held is None else held.primacy, float(np.sign(event.power_w))
    own = Layer(event.id, "" if held is None else held.id, side, primacy, rows, value_w)
    asked = asked_anew(state, event, own, stack, layers(state), shown, now_ns)
    fewer = held is not None and len(rows) < len(held.rows)  # contracts have set some aside: it has them no more
    if asked is None and not fewer:
        return []
    asked = Asked(rows, value_w, NOBODY) if asked is None else asked
    cause = derive("claims", SOURCE, event.id) if shown is None else shown.record
    ended = [_let_go(event, asked.gone, now_ns, cause)] if len(asked.gone) else []
    running[:] = [*stack, replace(own, batch="", rows=asked.rows, value_w=asked.value_w)]
    return [*ended, _placed(state, event, asked.rows, asked.value_w, now_ns, cause, primacy)]


def _let_go(event: ProgramEvent, rows: NDArray[np.int32], now_ns: int, cause: str) -> Entry:
    fact = ClaimsEnded(SOURCE, event.id, Quantity.P.value, ClaimEnd.SUPERSEDED.value, cause, Packed.of(rows))
    return Entry(derive("ended", SOURCE, event.id, now_ns, cause), fact, event.group, (cause,))


def _left(state: DeskState, over: set[str], now_ns: int) -> tuple[list[Entry], list[Layer]]:
    """Return the claims of events that go on where they stood upon some that are over, and what is asked then."""
    stack, entries = layers(state, over=over), []
    left = [layer for layer in stack if layer.event not in over]
    if not over:
        return [], left
    bounded_w = bounded_base_w(state, np.arange(len(state.fleet), dtype=np.int32), Level.PROGRAM, now_ns)
    left = [sunk(stack, layer, over, asked_from_w(state.base_w, bounded_w, layer.side)) for layer in left]
    for layer in (layer for layer in left if not layer.batch):
        cause = derive("claims", SOURCE, layer.event)
        entries.append(_placed(state, state.events[layer.event], layer.rows, layer.value_w, now_ns, cause))
    return entries, left


def _called(state: DeskState, event: ProgramEvent, now_ns: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the rows that an event has called, and the target of each (W)."""
    held = newest(state, event.id)
    if held is None:
        return NOBODY, np.zeros(0)
    stays = ~dropped(state, event, held.rows, now_ns)
    return held.rows[stays], held.value[stays]


def _placed(
    state: DeskState,
    event: ProgramEvent,
    rows: NDArray[np.int32],
    value_w: NDArray[np.float64],
    now_ns: int,
    cause: str,
    primacy: int = 0,
) -> Entry:
    """Return the claims of an event on rows; a later version takes the place of the one before (R4)."""
    first, held = derive("claims", SOURCE, event.id), newest(state, event.id)
    is_first = state.events[event.id].state is EventState.SCHEDULED  # nothing stands yet, where it begins now
    version = 1 if is_first else 2 if held is None else held.source_version + 1
    batch = first if is_first else derive("claims", SOURCE, event.id, version, now_ns)
    primacy = primacy if held is None else held.primacy  # it keeps its place among events
    stays = ~dropped(state, event, rows, now_ns)
    rows, value_w = rows[stays], value_w[stays]
    count = len(rows)
    fact = ClaimsPlaced(
        batch, SOURCE, event.composed_by, event.id, int(Level.PROGRAM), primacy, Quantity.P.value, ClaimKind.SET.value,
        event.why or event.program, version, now_ns, event.start_ns, event.end_ns, Packed.of(rows),
        Packed.of(np.full(count, -np.inf)), Packed.of(np.full(count, np.inf)), Packed.of(value_w),
    )  # fmt: skip
    return Entry(batch, fact, event.group, (cause,))


def _ended(event: ProgramEvent, why: ClaimEnd, causes: list[Entry]) -> Entry:
    batch = derive("claims", SOURCE, event.id)
    fact = ClaimsEnded(SOURCE, event.id, Quantity.P.value, why.value, batch)
    return Entry(derive("ended", batch), fact, event.group, (causes[0].id, batch))
