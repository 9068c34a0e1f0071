"""Over which of its time a program event was counted: what no server counted is named, and nothing is made up for it.

A server that dies takes with it what it had counted of the running five minutes, and until the next one starts nobody
counts at all. The sums of an event hold the intervals that were recorded alone, so that they mean less than they seem
to where there were such gaps. All of it comes from the facts, so that a replay tells the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from tieline.desk.event_makeup import Shown, shown_of
from tieline.desk.facts import EventChanged, EventTracked
from tieline.desk.programs import EventState
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

LEAST_NS = SECOND_NS
"""Shorter is no gap: one beat ends and the next begins at instants of a clock that are read one after the other."""
MOST_LAST = 3
"""So many of an event's newest intervals are kept as they were recorded, without its devices."""


@dataclass
class Counted:
    """One event's time (ns): from when it asked, to where it was counted, when it was over; `gaps` were not counted.

    `shown` is what the last interval that was long enough showed of one that runs: by that it goes on after a start;
    `last` are its newest intervals, oldest first, as they were recorded.
    """

    from_ns: int
    to_ns: int
    is_begun: bool = False
    over_ns: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    shown: Shown | None = field(default=None, compare=False)
    last: tuple[EventTracked, ...] = field(default=(), compare=False)

    def uncounted(self) -> tuple[tuple[int, int], ...]:
        """Return the stretches, [start, end) in ns, that nobody counted; of one that runs, up to its last interval."""
        is_short = self.over_ns - self.to_ns > LEAST_NS
        return (*self.gaps, (self.to_ns, self.over_ns)) if is_short else tuple(self.gaps)


def note_changed(state: DeskState, fact: EventChanged, at_ns: int) -> None:
    """Note when an event begins to ask and when it is over, by the instant of the record."""
    known = state.event_counted.get(fact.event)
    start_ns, end_ns = int(fact.body["start_ns"]), int(fact.body["end_ns"])
    match fact.state:
        case EventState.SCHEDULED if known is None:
            # One that is approved late asks from then on.
            begin_ns = max(start_ns, at_ns)
            state.event_counted[fact.event] = Counted(begin_ns, begin_ns)
        case EventState.IN_PROGRESS if known is not None and known.to_ns == known.from_ns:
            # The beat that begins it may be up to a minute late, and nothing is asked before. Later is a server's lack.
            known.is_begun = True
            if at_ns - known.from_ns <= MINUTE_NS:
                known.from_ns = known.to_ns = max(at_ns, known.from_ns)
        case EventState.COMPLETED | EventState.CANCELED if known is not None and known.is_begun:
            known.over_ns = max(min(at_ns, end_ns), known.from_ns)
    if known is not None and fact.state in (EventState.COMPLETED, EventState.CANCELED):
        known.shown, known.last = None, ()


def note_tracked(state: DeskState, record_id: str, fact: EventTracked) -> None:
    """Add an interval that was counted to its event's sums, and note what lies between it and the one before."""
    known = state.event_counted.setdefault(fact.event, Counted(fact.start_ns, fact.start_ns))
    if fact.start_ns - known.to_ns > LEAST_NS:
        known.gaps.append((known.to_ns, fact.start_ns))
    known.to_ns = max(known.to_ns, fact.end_ns)
    shown, event = shown_of(record_id, fact), state.events.get(fact.event)
    if shown is not None and event is not None and event.state is EventState.IN_PROGRESS:
        known.shown = shown
    if event is not None and event.state is EventState.IN_PROGRESS:
        bare = structs.replace(fact, rows=None, row_w=None, called=None, called_w=None, late_w=None)
        known.last = (*known.last, bare)[-MOST_LAST:]
    hours = (fact.end_ns - fact.start_ns) / HOUR_NS
    asked_wh, delivered_wh, over_wh = state.event_tracked.get(fact.event, (0.0, 0.0, 0.0))
    # What one interval gave beyond the asked is no lack of another made good: it stands on a line of its own.
    over_w = max(math.copysign(1.0, fact.asked_w) * (fact.delivered_w - fact.asked_w), 0.0)
    state.event_tracked[fact.event] = (
        asked_wh + fact.asked_w * hours, delivered_wh + fact.delivered_w * hours, over_wh + over_w * hours,
    )  # fmt: skip
    lacks_wh = state.event_lacks.setdefault(fact.event, {})
    for cause, watts in fact.causes.items():
        lacks_wh[cause] = lacks_wh.get(cause, 0.0) + watts * hours
