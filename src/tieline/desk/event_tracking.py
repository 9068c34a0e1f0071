"""What each program event asks of its devices and gets, five minutes at a time, with the cause of what lacks.

An interval is recorded when it is over, as the stretch that was truly counted: an event that begins within one, or a
desk that was started within one, gives a shorter stretch, never one in the wrong place. What a desk that died had
counted of the interval that ran is lost with it, five minutes at most; nothing is made up for it. It counts as the
pools do (`tracking`): the power of a row above its base, and nothing from a row out of sight. What a stronger claim
moves, or a stronger limit takes, is given for that one and not for the event: no kWh is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.desk import tracking
from tieline.desk.beside import held_by_limits
from tieline.desk.disobedience import NOISE_W
from tieline.desk.entry import Entry
from tieline.desk.event_contracts import products_of_event
from tieline.desk.event_makeup import LEAST_S, Shown, shown_of
from tieline.desk.event_stack import SOURCE, Layer, beneath_w, layers, newest
from tieline.desk.facts import EventTracked
from tieline.desk.lost import with_timers
from tieline.desk.modes import barred
from tieline.desk.obligation import DISPATCH_STEP_NS
from tieline.desk.packed import Packed
from tieline.desk.programs import EventState
from tieline.desk.redispatch import DNO_LIMIT, MOVED_W, OWN_LIMIT, LostW, lost_headroom, unlimited
from tieline.desk.response import MISS_AFTER_NS, MOVES_FRAC, READ_BACK_S, seconds_to_reach
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBatch
from tieline.ids import derive
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS, SECOND_NS, floor_ns

Rows = NDArray[np.int32]
LONGEST_NS = 5 * MINUTE_NS
"""A stretch between two beats counts for so long at most: a desk that stood still for longer knows nothing of it."""
SHORT_H = 1 / 12
"""What a store can give for five minutes counts as what it could have given."""


@dataclass(frozen=True, slots=True, eq=False)
class _Called:
    """What an event calls its rows for: from where, and from where if no limit held them, what lies beneath it, their
    shares and what stronger limits take of what it would have of them (W), on which its claim decides, what holds them,
    and what took headroom from it (W, by cause).
    """

    rows: Rows
    from_w: tracking.Floats
    free_w: tracking.Floats
    under_w: tracking.Floats
    share_w: tracking.Floats
    taken_w: tracking.Floats
    moves: NDArray[np.bool_]
    holds: tracking.Holds
    lost_w: LostW


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """Since when an event's devices are called for what they are called for now; shape (n,) each."""

    rows: Rows
    value_w: tracking.Floats
    since_ns: NDArray[np.int64]


class EventTallies:
    """The running intervals of all events.

    A stretch is counted by the claims that stood as it began: what ends or changes them calls for a beat at once, and
    by then they are gone. So `count` comes before whatever ends an event, `note` after whatever changes its claims.
    """

    def __init__(self) -> None:
        self._called: dict[str, _Called] = {}
        self._tallies: dict[str, tracking.Tally] = {}
        self._until_ns: dict[str, int] = {}
        self._last_ns = 0
        self._told: dict[str, _Told] = {}
        self._on_way_ws: dict[str, tracking.Floats] = {}
        """What each row lacked of the running interval while it was on its way to what it had just been called for."""
        self.shown: dict[str, Shown] = {}
        """What the meters showed of each event that runs over its last whole interval, before a start of this desk
        also."""

    def note(self, state: DeskState, now_ns: int) -> None:
        """Take down what the events that run call their rows for from now on."""
        stack = layers(state)
        self._called = {event: _call(state, event, stack, now_ns) for event in _running(state)}
        self._told = {
            event: _told(call, float(np.sign(state.events[event].power_w)), self._told.get(event), now_ns)
            for event, call in self._called.items()
        }

    def count(self, state: DeskState, now_ns: int, ended: Iterable[str] = ()) -> list[Entry]:
        """Count the stretch since the last time, and return the facts of the intervals that are over.

        Called at each beat before events that are due end, and before one is cancelled (`ended`): its last stretch
        counts, too. The last interval of both is among the facts, to be recorded together with the end.
        """
        last_ns, self._last_ns = self._last_ns or now_ns, now_ns
        entries: list[Entry] = []
        stack, over = layers(state), set(ended)
        called = {
            event: self._called[event] if event in self._called else _call(state, event, stack, now_ns)
            for event in _running(state)
        }
        for event, call in called.items():
            until_ns = min(now_ns, state.events[event].end_ns)
            begins_ns = max(min(last_ns, until_ns), until_ns - LONGEST_NS)
            call = replace(call, holds=replace(call.holds, paced=state.held_ns[call.rows] >= last_ns))
            for since_ns, to_ns in tracking.parts(begins_ns, until_ns):
                entries += self._counted(state, event, call, since_ns, to_ns)
            if event in over or state.events[event].end_ns <= now_ns:
                entries += self._closed(state, event)
        for event in [event for event in self._tallies if event not in called]:
            entries += self._closed(state, event)
        self.shown = {event: shown for event in called if (shown := self._shown_of(state, event)) is not None}
        self.note(state, now_ns)
        return entries

    def _shown_of(self, state: DeskState, event: str) -> Shown | None:
        """Return what the last interval of an event showed, the one that was just counted among them."""
        counted = state.event_counted.get(event)
        return self.shown.get(event) or (None if counted is None else counted.shown)

    def _counted(self, state: DeskState, event: str, call: _Called, since_ns: int, until_ns: int) -> list[Entry]:
        """Count a stretch of an event within one interval, and return the fact of the interval before that is over."""
        start_ns, tally = floor_ns(until_ns - 1, DISPATCH_STEP_NS), self._tallies.get(event)
        goes_on = tally is not None and tally.start_ns == start_ns and np.array_equal(tally.rows, call.rows)
        entries = [] if goes_on else self._closed(state, event)
        if not goes_on:
            self._tallies[event] = tracking.Tally.begin(call.rows, start_ns, start_ns + DISPATCH_STEP_NS)
            self._on_way_ws[event] = np.zeros(len(call.rows))
        tally, power_w = self._tallies[event], state.events[event].power_w
        seconds, side = (until_ns - since_ns) / SECOND_NS, float(np.sign(power_w))
        given_w = _given_w(tracking.above_base_w(state, call.rows, call.from_w), call.share_w, power_w)
        # Who gives more than a limit lets it is not credited for that: from where it would stand uncalled, no more.
        # Nor is the event charged with what one that ignores its limit takes there: by itself it would take that, too.
        does_w = side * tracking.above_base_w(state, call.rows, call.free_w)
        ends_w = np.minimum(does_w, 0.0), np.maximum(does_w, 0.0)
        ignores = (call.taken_w > 0.0) & (side * given_w < -NOISE_W)
        given_w = side * np.clip(side * given_w, *ends_w)
        row_w = np.where(call.moves & ((call.under_w <= 0.0) | (side * given_w > 0.0)), given_w, 0.0)
        self._until_ns[event] = until_ns
        # What it was called for is what was approved, not what the reachable devices were shared out; an event that
        # has no device yet lacks all of it, and that counts as well.
        tally.add(power_w, power_w, call.share_w, row_w, seconds)
        # A limit that a device ignores takes nothing from the event: that device gives it neither.
        due_w = call.share_w + side * np.where(ignores, call.taken_w, 0.0)
        holds = replace(call.holds, by_dno=call.holds.by_dno & ~ignores, limited=call.holds.limited & ~ignores)
        kept_w, by_dno = np.where(call.moves & ~ignores, call.taken_w, 0.0), call.holds.by_dno
        lost_w = {
            **call.lost_w, DNO_LIMIT: call.lost_w[DNO_LIMIT] + float(kept_w[by_dno].sum()),
            OWN_LIMIT: call.lost_w[OWN_LIMIT] + float(kept_w[call.holds.limited & ~by_dno].sum()),
        }  # fmt: skip
        tracking.count_lack(state, tally, power_w, due_w, row_w, holds, lost_w, seconds)
        told = self._told.get(event)
        if told is not None and np.array_equal(told.rows, call.rows):
            lacks_w = np.maximum(side * (call.share_w - row_w), 0.0)
            self._on_way_ws[event] += lacks_w * _on_way_s(state, told, call.share_w, row_w, since_ns, until_ns)
        return entries

    def _closed(self, state: DeskState, event: str) -> list[Entry]:
        """End the interval of an event, and return its fact; none where no second of it was counted."""
        tally = self._tallies.pop(event, None)
        if tally is None:
            return []
        fact = _fact(state, event, tally, self._until_ns.pop(event), self._on_way_ws[event])
        if fact is None:
            return []
        record = derive("event-interval", event, fact.start_ns)
        shown = shown_of(record, fact)
        if shown is not None:
            self.shown[event] = shown
        return [Entry(record, fact, state.events[event].group, (derive("claims", SOURCE, event),))]


def _told(call: _Called, side: float, before: _Told | None, now_ns: int) -> _Told:
    """Return since when rows are called for what they are: who is new, or is asked for more, since now."""
    value_w, since_ns = call.from_w + call.share_w, np.full(len(call.rows), now_ns)
    if before is not None:
        _, mine, its = np.intersect1d(call.rows, before.rows, assume_unique=True, return_indices=True)
        as_before = side * (value_w[mine] - before.value_w[its]) <= MOVED_W
        since_ns[mine[as_before]] = before.since_ns[its[as_before]]
    return _Told(call.rows, value_w, since_ns)


def _on_way_s(
    state: DeskState, told: _Told, share_w: tracking.Floats, row_w: tracking.Floats, begins_ns: int, ends_ns: int
) -> tracking.Floats:
    """Return for how much of a stretch each row was on its way (s), by its kind, from when it was told.

    What takes longer than a house's devices do, as an engine that warms up, has to show that it rises meanwhile.
    """
    soon_s = seconds_to_reach(state, told.rows)
    from_ns = np.maximum(told.since_ns, state.held_ns[told.rows])  # whom the fleet limiter held back was told later
    passed_s = (ends_ns - from_ns) / SECOND_NS
    rises = np.abs(row_w) >= MOVES_FRAC * np.abs(share_w) * np.minimum(passed_s / soon_s, 1.0)
    waits = (soon_s <= READ_BACK_S) | (passed_s <= MISS_AFTER_NS / SECOND_NS) | rises
    on_way_s: tracking.Floats = np.maximum(np.minimum(soon_s - passed_s, 0.0) + (ends_ns - begins_ns) / SECOND_NS, 0.0)
    return np.where(waits, on_way_s, 0.0)


def _fact(
    state: DeskState, event: str, tally: tracking.Tally, until_ns: int, on_way_ws: tracking.Floats
) -> EventTracked | None:
    """Return the fact of an interval that is over; None where no second of it was counted."""
    if tally.seconds <= 0:
        return None
    asked_w, _, share_w, row_w = tally.means()
    delivered_w = float(row_w.sum())
    lacking_w = float(np.sign(asked_w)) * (asked_w - delivered_w)
    why = tally.lack_by_cause(lacking_w) if lacking_w > 1.0 else {}
    start_ns = until_ns - round(tally.seconds * SECOND_NS)
    gave = row_w != 0.0
    fact = EventTracked(
        event, start_ns, until_ns, asked_w, delivered_w, why, tally.samples, Packed.of(tally.rows[gave]),
        Packed.of(row_w[gave]),
    )  # fmt: skip
    if tally.seconds < LEAST_S:
        return fact
    # Who had no time yet to give what he was just called for lacks nothing that others are to make up for.
    late_w = float(np.sign(state.events[event].power_w)) * on_way_ws / tally.seconds
    whom = Packed.of(tally.rows), Packed.of(share_w), Packed.of(late_w)
    return structs.replace(fact, called=whom[0], called_w=whom[1], late_w=whom[2])


def _running(state: DeskState) -> list[str]:
    return [event for event, it in state.events.items() if it.state is EventState.IN_PROGRESS]


def _lost_w(state: DeskState, group: str, called: Rows, side: float, now_ns: int, products: tuple[str, ...]) -> LostW:
    """Return what took from an event those of its group that it did not call (W, by cause, a row at its first cause).

    Under a limit that bites a device's whole draw is the limit's; one that another claim moves is that claim's; the
    others as the market counts them. What a device's own limit leaves it to draw less is that limit's as well.
    """
    rows = np.setdiff1d(state.fleet.leaves(group), called)
    held = np.isin(rows, held_by_limits(state, side, Level.PROGRAM, now_ns))
    may = state.may_serve("demand_response", rows) & ~held
    lost_w = lost_headroom(state, rows, may, side, SHORT_H, now_ns, products)
    lost_w = with_timers(state, rows, may, side, SHORT_H, lost_w, now_ns)
    by_dno_w, by_own_w = _kept_w(state, rows, may & ~state.out_of(products, rows), side, now_ns)
    lost_w = {**lost_w, DNO_LIMIT: lost_w[DNO_LIMIT] + by_dno_w, OWN_LIMIT: lost_w[OWN_LIMIT] + by_own_w}
    taken_w = float(np.maximum(-side * state.base_w[rows[held]], 0.0).sum())
    winner = state.claims.arbitrate(now_ns, rows).winner
    outranked = may & ~state.opted_out[rows] & (winner >= 0) & (state.claims.level_of(winner) <= int(Level.PROGRAM))
    free_w = unlimited(state, rows, SHORT_H, now_ns)[0 if side > 0 else 1]
    return {**lost_w, DNO_LIMIT: taken_w + lost_w[DNO_LIMIT], tracking.OUTRANKED: float(free_w[outranked].sum())}


def _kept_w(state: DeskState, rows: Rows, may: NDArray[np.bool_], side: float, now_ns: int) -> tuple[float, float]:
    """Return by how much rows that may serve do what an event asks already, as limits have it (W): those of network
    operators, and what others leave less."""
    may = may & ((state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & ~barred(state, SOURCE)[rows]
    may &= ~state.claims.is_local[rows] & (state.missed_until_ns[rows] <= now_ns)
    mine = rows[may]
    by_dno_w, by_all_w = (
        np.maximum(side * (tracking.bounded_base_w(state, mine, level, now_ns) - state.base_w[mine]), 0.0)
        for level in (Level.OWNER_NEED, Level.PROGRAM)
    )
    return float(by_dno_w.sum()), float(np.maximum(by_all_w - by_dno_w, 0.0).sum())


def _given_w(row_w: tracking.Floats, share_w: tracking.Floats, power_w: float) -> tracking.Floats:
    """Return what of each row's power above base is the event's (W): up to its target and not beyond.

    A car that is told to charge 20 W less and leaves gives 20 W to the event; that it left is its own doing.
    """
    side = float(np.sign(power_w))
    given_w: tracking.Floats = side * np.minimum(side * row_w, np.maximum(side * share_w, 0.0))
    return given_w


def _call(state: DeskState, event: str, stack: list[Layer], now_ns: int) -> _Called:
    """Return what an event calls its rows for now, by its newest claims; nobody where it has none."""
    batch = newest(state, event)
    side, group = float(np.sign(state.events[event].power_w)), state.events[event].group
    rows = np.zeros(0, np.int32) if batch is None else batch.rows
    lost_w = _lost_w(state, group, rows, side, now_ns, products_of_event(state.events[event]))
    if batch is None:
        none_w, nobody = np.zeros(0), np.zeros(0, np.bool_)
        holds = tracking.Holds.of(state, rows, none_w, now_ns)
        return _Called(rows, none_w, none_w, none_w, none_w, none_w, nobody, holds, lost_w)
    base_w = tracking.bounded_base_w(state, rows, Level.PROGRAM, now_ns)
    under_w = beneath_w(stack, rows, base_w, side, batch.primacy)  # the first watts are the earlier events'
    from_w = base_w + side * under_w
    share_w, moves = batch.value - from_w, obeys(state, batch, now_ns, stack)
    holds = replace(tracking.Holds.of(state, rows, share_w, now_ns), outranked=~moves)
    moves |= tracking.by_owner(state, rows, now_ns)  # what comes by his hand is given, and no lack
    free_w = state.base_w[rows] + side * under_w
    taken_w = np.clip(side * (from_w - free_w), 0.0, np.maximum(side * (batch.value - free_w), 0.0))
    return _Called(rows, from_w, free_w, under_w, share_w, taken_w, moves, holds, lost_w)


def gives_w(state: DeskState, event: str, now_ns: int) -> tuple[Rows, tracking.Floats]:
    """Return whom an event that runs calls, and what each gives of that now (W, 0 or more, up to what it is called for;
    0 where a stronger claim decides); shape (n,) each."""
    call, side = _call(state, event, layers(state), now_ns), float(np.sign(state.events[event].power_w))
    given_w = side * _given_w(tracking.above_base_w(state, call.rows, call.from_w), call.share_w, side)
    return call.rows, np.where(call.moves, np.maximum(given_w, 0.0), 0.0)


def obeys(state: DeskState, batch: ClaimBatch, now_ns: int, stack: list[Layer]) -> NDArray[np.bool_]:
    """Return on which of an event's rows its claim decides, or one that stands upon it; on others a stronger does."""
    side = float(np.sign(state.events[batch.program].power_w))
    mine_too = {layer.batch for layer in stack if layer.side == side and layer.primacy < batch.primacy} | {batch.id}
    winner = state.claims.arbitrate(now_ns, batch.rows).winner
    mine: NDArray[np.bool_] = np.zeros(len(batch.rows), np.bool_)
    for serial in np.unique(winner[winner >= 0]).tolist():
        (name,) = state.claims.batch_ids(np.array([serial], np.int32))
        if name in mine_too:
            mine |= winner == serial
    return mine
