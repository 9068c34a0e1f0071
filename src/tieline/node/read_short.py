"""The alarms of an award, and of a program event, that are not delivered: asked against delivered, by whole intervals.

It goes by the intervals that are recorded for settlement, not by samples of the screen, so that it tells at any speed
of the clock: a desk that beats once in three minutes of the story's clock has few samples, and every interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tieline.desk.facts import EventTracked, IntervalTracked
from tieline.desk.obligation import DISPATCH_STEP_NS, award_at
from tieline.desk.programs import EventState
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.read_alarms import Since

Tracked = IntervalTracked | EventTracked
T = TypeVar("T", IntervalTracked, EventTracked)
Found = list[tuple[AlarmView, int]]
RESPOND_S = 600
LEAST_FRAC, STAYS_FRAC = 0.9, 0.92
INTERVALS = 3
"""A lean interval or two pass by themselves: thermostats take four minutes, what was let go draws more for a while."""
SLOW_BEATS = 3.0
"""A desk beats at least once a minute of its own clock; with fewer than so many in five it can't follow that clock."""
WORDS = {
    "opt_out": "opt-outs", "offline": "late or lost telemetry", "dno_limit": "a grid operator's limit",
    "own_limit": "owners' or programs' limits", "feeder_mode": "a feeder's mode", "kill_switch": "the kill switch",
    "unavailable": "nothing more to call", "foreign_control": "somebody else's hand at the devices",
    "rebound": "rebound of what was let go", "paced": "the fleet limiter",
}  # fmt: skip
NOT_RESPONDING = "devices not responding"
"""For `unresponsive`, `refused`, `unconfirmed` and `underperformed`: told, and not done."""


def under_delivery(
    intervals: Sequence[IntervalTracked], state: DeskState, pool: str, rows: int, since: Since, now_ns: int
) -> list[AlarmView]:
    """Return an alarm where an award that runs now lacked over a tenth in each of its last three intervals.

    The alarm ends once the last three together are delivered, or the last by itself, or with its award; the next award
    has one of its own.

    Args:
        intervals: Those tracked of late, oldest first.
        state: Names the award.
        pool: Whose.
        rows: How many devices it has.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    mine = [each for each in intervals if each.pool == pool and abs(each.asked_w) > 0]
    if not mine or now_ns - mine[-1].end_ns > INTERVALS * DISPATCH_STEP_NS:
        return []
    award = award_at(state, pool, mine[-1].start_ns)
    if award is not None and now_ns >= award.end_ns:
        return []
    run = _run(mine, award.start_ns if award else 0)
    name = derive("alarm", "short", pool, award.id if award else "instructed")
    last = run[-INTERVALS:]
    if len(last) < INTERVALS:
        return []
    least = STAYS_FRAC if name in since else LEAST_FRAC
    together = _frac(last)
    if max(together, _frac(last[-1:])) >= least or (name not in since and max(_frac([each]) for each in last) >= least):
        return []
    title = f"Delivered {max(int(100 * together), 0)} % of the award over 15 min: {cause_of(last, rows)}"
    return [
        AlarmView(
            name, 2, pool, title, "Imbalance is charged and performance falls", "See what limits the pool", 600,
            "/market", 1, since.get(name, last[0].start_ns),
        )
    ]  # fmt: skip


def event_short(state: DeskState, since: Since, now_ns: int) -> Found:
    """Return the alarm of each program event that runs and lacked over a tenth in each of its last three intervals, and
    for how long that must be so; it ends as an award's does.

    Args:
        state: What is known.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    found: Found = []
    for name, event in state.events.items():
        known = state.event_counted.get(name)
        if event.state is not EventState.IN_PROGRESS or known is None or len(known.last) < INTERVALS:
            continue
        last, alarm = _run(known.last, event.start_ns), derive("alarm", "event short", name)
        if len(last) < INTERVALS or now_ns - last[-1].end_ns > INTERVALS * DISPATCH_STEP_NS or not _asks(last):
            continue
        least, together = STAYS_FRAC if alarm in since else LEAST_FRAC, _frac(last)
        each = [_frac([one]) for one in last]
        if max(together, each[-1]) >= least or (alarm not in since and max(each) >= least):
            continue
        title = f"Event {event.program} got {max(int(100 * together), 0)} % of what it asked over 15 min: "
        found.append((
            AlarmView(
                alarm, 2, event.group, title + (_worst(last) or "cause unknown"), "What was approved is not delivered",
                "See what limits its devices", RESPOND_S, "/events", 1, since.get(alarm, last[0].start_ns),
            ), 0,
        ))  # fmt: skip
    return found


def cause_of(intervals: Sequence[IntervalTracked], rows: int) -> str:
    """Return what most of the lack is put to, in words; the clock first, as nothing else can be judged then."""
    beats = beats_of(intervals, rows)
    if beats < SLOW_BEATS:
        return f"the desk decides too rarely, {beats:.1f} times in 5 min (too fast a clock, or a link that holds it up)"
    return _worst(intervals) or "cause unknown"


def _worst(intervals: Sequence[Tracked]) -> str:
    """Return the two causes of most of the lack, in words; "": none is known."""
    lacks: dict[str, float] = {}
    for each in intervals:
        for cause, watts in each.causes.items():
            word = WORDS.get(cause, NOT_RESPONDING)
            lacks[word] = lacks.get(word, 0.0) + watts
    worst = sorted(lacks.items(), key=lambda item: -item[1])[:2]
    total = sum(lacks.values())
    said = [f"{word} {watts / total:.0%}" for word, watts in worst if watts >= 0.1 * total]
    return ", ".join(said)


def beats_of(intervals: Sequence[IntervalTracked], rows: int) -> float:
    """Return how often a desk decided in each of some intervals, in the mean: each beat counts every device once."""
    return sum(each.readings for each in intervals) / max(rows, 1) / max(len(intervals), 1)


def _run(intervals: Sequence[T], since_ns: int) -> list[T]:
    """Return the last intervals without a gap, of one award or event."""
    run: list[T] = []
    for each in reversed(intervals):
        if each.start_ns < since_ns or (run and each.end_ns != run[-1].start_ns):
            break
        run.append(each)
    return run[::-1]


def _asks(intervals: Sequence[Tracked]) -> bool:
    return all(abs(each.asked_w) > 0.0 for each in intervals)


def _frac(intervals: Sequence[Tracked]) -> float:
    asked_w = sum(abs(each.asked_w) for each in intervals)
    gave_w = sum(each.delivered_w if each.asked_w > 0 else -each.delivered_w for each in intervals)
    return gave_w / asked_w
