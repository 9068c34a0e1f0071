"""What keeps a device from what is in force: its turn to come back, its step's minute, or that it doesn't respond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.counting import MISS_FOR_NS
from tieline.desk.dispatch import CHANGE_W
from tieline.desk.ends import end_w, last_end_w
from tieline.desk.least_times import stays_told
from tieline.desk.resource_views import Unresponsive
from tieline.desk.response import FORGETS_NS, unresponsive
from tieline.desk.state import LEASE_NS, DeskState, Responses
from tieline.fleet.claims import Settled
from tieline.fleet.limiter import WINDOW_NS
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, SECOND_NS, iso


def waits(state: DeskState, row: int, target_w: float | None, now_ns: int) -> str:
    """Return why a device was not told yet what is in force; empty: it was, or nothing holds it back."""
    rows = np.array([row], np.int32)
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    goal_w = end_w(state, rows, np.array([np.nan if target_w is None else target_w]), low_w, high_w)
    moves_w = float(np.abs(goal_w - last_end_w(state, rows, now_ns))[0])
    last, fleet, is_held = state.commands, state.fleet, moves_w > 1.0 and _is_held(state, row, now_ns)
    if not is_held and target_w is not None and (last.valid_until_ns[row] <= now_ns or np.isnan(last.target_w[row])):
        # What it does by itself no journal tells: it goes there from rest, or stops from all that it can.
        moves_w = float(abs(goal_w[0])) or float(max(fleet.max_inject_w[row], fleet.max_absorb_w[row]))
    if state.is_killed and (until_ns := stands_until_ns(state, row, now_ns)):
        said = f"its last command ({told_last(state, row)}) stands until {iso(until_ns)}"
        return f"{said}: the kill switch holds back what lets it go"
    if state.is_killed and target_w is None and unreleased(state, rows, now_ns)[0]:
        return "its release waits: the kill switch holds back what lets it go"
    if state.release_at_ns[row] > now_ns:
        return f"it comes back in turn, at {iso(int(state.release_at_ns[row]))}"
    if target_w is None and stays_told(state, rows, now_ns)[0]:
        until = iso(int(state.claims.holds.until_ns[row]))
        told = f"it was told {state.commands.target_w[row]:z.0f} W a short time ago"
        return f"{told}: it is let go once its least time is over, at {until}"
    if moves_w <= 1.0:
        return ""
    return _paced(state, row, moves_w, is_held, now_ns)


def _paced(state: DeskState, row: int, moves_w: float, is_held: bool, now_ns: int) -> str:
    """Return what of the fleet limiter a move waits for, and until about when; empty: nothing."""
    limiter, feeder = state.limiter, int(state.limiter.feeder_of[row])
    (spent_feeder_w, spent_w), most_w = limiter.spent(now_ns), float(limiter.feeder_w[feeder])
    at_ns = limiter.room_ns(row, moves_w, now_ns)
    if spent_feeder_w[feeder] + moves_w > most_w:
        says = f"{spent_feeder_w[feeder]:.0f} W of {most_w:.0f} W a minute were moved on its feeder"
    elif spent_w + moves_w > limiter.system_w:
        says = f"{spent_w:.0f} W of {limiter.system_w:.0f} W a minute were moved in all"
    elif is_held:
        says, at_ns = "the fleet limiter lets others go first", limiter.next_room_ns(now_ns)
    else:
        return ""
    when = "" if at_ns == FOREVER_NS else f"; it goes at about {iso(-(-at_ns // SECOND_NS) * SECOND_NS)}"
    return f"its step waits: {says}{when}"


def _is_held(state: DeskState, row: int, now_ns: int) -> bool:
    """Return whether the fleet limiter held a row back at its last beat, and nothing left for it since.

    It is measured: of a folder nobody knows.
    """
    held_ns = int(state.held_ns[row])
    issued_ns = int(state.commands.valid_until_ns[row]) - LEASE_NS
    return now_ns - WINDOW_NS <= held_ns <= now_ns and held_ns > issued_ns


def stands(state: DeskState, settled: Settled, now_ns: int) -> NDArray[np.bool_]:
    """Return which rows of a settlement nobody commands any more and who were not let go yet: they go on as they were
    told last; shape (m,).

    Their turn to come back is later, or the kill switch holds back what leads away from their safe power. That was a
    power, or a limit alone that is over, or wider, by now.
    """
    last, fleet, rows = state.commands, state.fleet, settled.rows
    low_w, high_w = (
        np.maximum(last.low_w[rows], -fleet.max_absorb_w[rows]),
        np.minimum(last.high_w[rows], fleet.max_inject_w[rows]),
    )
    tighter = low_w > np.maximum(settled.told_low_w, -fleet.max_absorb_w[rows]) + CHANGE_W
    tighter |= high_w < np.minimum(settled.told_high_w, fleet.max_inject_w[rows]) - CHANGE_W
    waits = state.is_killed | (state.release_at_ns[rows] > now_ns)
    goes_on = np.isfinite(last.target_w[rows]) | (tighter & waits)
    held: NDArray[np.bool_] = (settled.winner < 0) & goes_on & (last.valid_until_ns[rows] > now_ns)
    return held


def stands_until_ns(state: DeskState, row: int, now_ns: int) -> int:
    """Return until when a device that nobody commands goes on as it was told last; 0: it runs by itself, or is told."""
    settled = state.claims.arbitrate(now_ns, np.array([row], np.int32))
    return int(state.commands.valid_until_ns[row]) if stands(state, settled, now_ns)[0] else 0


def told_last(state: DeskState, row: int) -> str:
    """Return what a device was told last, in words: its power, or the limits that left it its own."""
    last, fleet = state.commands, state.fleet
    if np.isfinite(last.target_w[row]):
        return f"{last.target_w[row]:z.0f} W"
    low_w, high_w = max(last.low_w[row], -fleet.max_absorb_w[row]), min(last.high_w[row], fleet.max_inject_w[row])
    return f"a limit of {_span_says(low_w, high_w)}"


UNRELEASED = "it was let go and did not confirm that, so that it may hold what it was told before"
ANSWERS_NS = 20 * SECOND_NS
"""A release on its way for longer is not answered."""


def is_unreleased(state: DeskState, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which rows say that they don't let go, though they were told so time and again; shape as `rows`."""
    mask: NDArray[np.bool_] = state.fleet.column("is_unreleased")[rows] > 0.5
    return mask


def unreleased(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> NDArray[np.bool_]:
    """Return which rows were let go and never answered that, or say that they hold on; shape as `rows`."""
    last, fleet = state.commands, state.fleet
    limited = (last.low_w[rows] > -fleet.max_absorb_w[rows]) | (last.high_w[rows] < fleet.max_inject_w[rows])
    waits = (
        (last.batch[rows] >= 0) & (last.stage[rows] < int(Stage.ACCEPTED)) & np.isnan(last.target_w[rows]) & ~limited
    )
    waits &= now_ns - last.at_ns[rows] >= ANSWERS_NS
    mask: NDArray[np.bool_] = waits | state.owes_release(rows) | is_unreleased(state, rows)
    return mask


LOST = "its last command was not answered, and it may not have heard it"
MISSED = "it was called, and did not give what it was called for"


def no_response(responses: Responses, row: int, now_ns: int) -> Unresponsive | None:
    """Return how often and when a device stood still though it was called and able; None: it responds."""
    if responses.last_ns[row] > now_ns or not unresponsive(responses, now_ns)[row]:
        return None
    last_ns = int(responses.last_ns[row])
    return Unresponsive(int(responses.strikes[row]), last_ns, last_ns + FORGETS_NS)


def left_out(state: DeskState, row: int, now_ns: int) -> dict[str, Any] | None:
    """Return since when a device is left out of what its pool is called for, until when, and why; None: it is not."""
    since_ns, until_ns = int(state.responses.missed_ns[row]), int(state.missed_until_ns[row])
    if not 0 < since_ns <= now_ns < until_ns:
        return None
    is_lost = until_ns - since_ns < MISS_FOR_NS
    return {"since": iso(since_ns), "until": iso(until_ns), "why": LOST if is_lost else MISSED}


def take_responses(folder: Path, state: DeskState) -> None:
    """Take up how devices answered their calls, and who keeps to no command, from what a server saved of it: measured,
    no journal has it.

    A file that can't be read tells nothing, as none does: the server says so at its start.
    """
    path = folder / "learnt.bin"
    if not path.exists():
        return
    from tieline.store.learnt import load  # few ask, and a library of tables takes its time to load

    try:
        found = load(path, state.fleet.ids)
    except ValueError:
        return
    if found is None:
        return
    about, columns = found
    if {"strikes", "last_ns"} <= columns.keys():
        state.responses.strikes[: about.count] = columns["strikes"]
        state.responses.last_ns[: about.count] = columns["last_ns"]
    if {"missed_until_ns", "missed_ns"} <= columns.keys():
        state.missed_until_ns[: about.count] = columns["missed_until_ns"]
        state.responses.missed_ns[: about.count] = columns["missed_ns"]
    for name, column in state.strays.by_name().items():
        if name in columns:
            column[: about.count] = columns[name]


def stray(state: DeskState, row: int, now_ns: int) -> dict[str, Any] | None:
    """Return since when a device keeps to no command, what it was told first and now, and where it stood; None: it
    isn't known to."""
    found, last, fleet = state.strays, state.commands, state.fleet
    since_ns = int(found.since_ns[row])
    if not 0 < since_ns <= now_ns < int(last.valid_until_ns[row]):
        return None
    return {
        "since": iso(since_ns),
        "told_first_low_w": float(found.low_w[row]),
        "told_first_high_w": float(found.high_w[row]),
        "told_low_w": float(max(last.low_w[row], -fleet.max_absorb_w[row])),
        "told_high_w": float(min(last.high_w[row], fleet.max_inject_w[row])),
        "stood_w": float(found.stood_w[row]),
    }


def stray_says(found: dict[str, Any]) -> str:
    """Return it in words."""
    first, now = (_span_says(found[f"{told}_low_w"], found[f"{told}_high_w"]) for told in ("told_first", "told"))
    text = f"it kept to no command since {found['since']}: it was told {first} and stood at {found['stood_w']:z.0f} W"
    return f"{text}; its limit counts it by its meter, the others make room, and it is told {now} now"


def _span_says(low_w: float, high_w: float) -> str:
    return f"{high_w:z.0f} W" if low_w == high_w else f"{low_w:z.0f} to {high_w:z.0f} W"
