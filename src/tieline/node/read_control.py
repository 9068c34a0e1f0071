"""Who controls a device or a group, in words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.resource_views import ClaimView
from tieline.desk.state import DeskState
from tieline.node.read_contracts import not_covered, not_enrolled
from tieline.node.read_held import (
    ONLY_POWERS,
    Heard,
    binding,
    lost_says,
    off_says,
    out_of_reach,
    power_says,
    share_of,
    uncounted_by,
)
from tieline.node.read_runs import GROUP_SAYS, Runs, counts_of, runs_of
from tieline.node.read_wait import UNRELEASED, stray, stray_says
from tieline.node.read_words import kw
from tieline.node.why_claims import asked_w
from tieline.resource.arbitrate import Arbitration
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds
from tieline.times import iso

WORDS = {
    Level.PHYSICS: "device physics",
    Level.SAFETY: "safety lock-out",
    Level.GRID_EMERGENCY: "grid emergency",
    Level.ENVELOPE: "operating envelope",
    Level.OWNER_NEED: "owner's need",
    Level.RELIABILITY: "reliability dispatch",
    Level.UTILITY: "utility optimisation",
    Level.MARKET: "market schedule",
    Level.PROGRAM: "program event",
    Level.PRICE: "price response",
    Level.LOCAL: "local default",
}
KILLED = "; the kill switch is pressed: only what leads to the safe power is sent"


def _unnamed(
    settled: Arbitration,
    limiter: Level | None,
    runs: Runs,
    stands_ns: int,
    held_w: float,
    timer_ns: int,
    is_killed: bool,
) -> str:
    """Return what a device does whose power nobody names."""
    by_switch = ", as the kill switch holds back what lets it go" if is_killed else ""
    ends, whose = settled.setpoint.bounds, "those of"
    claimed = [level for level, _, _ in settled.limits if level > Level.PHYSICS]
    match runs:
        case Runs.AT_LIMIT:
            text = _at_limit(ends, held_w)
            whose = "that of" if math.isfinite(held_w) else "by"
        case Runs.ON_LAST:
            text = f"Nobody commands it: its last command stands until {iso(stands_ns)}{by_switch}"
        case Runs.LOST:
            text = "Nobody commands it: nobody hears what it does, nor whether it keeps its limits"
        case Runs.OFF:
            text = "Nobody commands it, and it may not run"
        case Runs.BY_TIMER:
            text = f"Nobody commands it: its own timer holds it off until {iso(timer_ns)}"
        case Runs.BY_HAND:
            text = "Nobody commands it: somebody else set it, and what is weaker than a limit of the grid is held"
        case Runs.UNRELEASED:
            text = f"Nobody commands it: {UNRELEASED}"
        case _:
            text = "Nobody commands it: it runs freely within its limits"
    if limiter is None and claimed:
        # What it does by itself lies within them now; who set them is what an operator asks next.
        text += f", {whose} {' and '.join(f'{WORDS[level]} (level {int(level)})' for level in claimed)}"
    return text


def _at_limit(ends: Bounds, held_w: float) -> str:
    """Return the power that a limit leaves a device, or pushes it to."""
    if math.isfinite(held_w):
        return f"Nobody names a power: it is held {power_says(held_w)} to keep its limit, as {ONLY_POWERS}"
    if ends.low_w == ends.high_w:
        # A limit that leaves it one power alone names that as a target would: it doesn't run by itself.
        return f"Nobody names a power: it is held at {kw(ends.low_w)}"
    if ends.low_w > 0:
        return f"Nobody names a power: it is told to give at least {kw(ends.low_w)}"
    return f"Nobody names a power: it is told to draw at least {kw(-ends.high_w)}"


NOT_IN_FORCE = {
    Stage.UNCONFIRMED: "not confirmed",
    Stage.REJECTED: "refused",
    Stage.EXPIRED: "never delivered",
    Stage.CANCELLED: "taken back",
}
"""How a command ended that nobody knows to be kept: who named its power doesn't control the device by that."""


def controls_of(
    state: DeskState, row: int, winner: ClaimView | None, settled: Arbitration, stands_ns: int, now_ns: int
) -> str:
    """Return who controls a device: the winner of its claims, or what it does where nobody names its power.

    Args:
        state: The desk's.
        row: The device.
        winner: The claim that names its power.
        settled: What all of its claims come to.
        stands_ns: Until when its last command stands though nobody asks for it any more; 0: it doesn't.
        now_ns: Now.
    """
    lost, held_w = out_of_reach(state, row, Heard.of(state, row), now_ns), float(state.commands.held_now_w(now_ns)[row])
    held, ends = settled.setpoint.limited_by, settled.setpoint.bounds
    limiter = next((level for level, _, holder in settled.limits if holder == held), None) if held else None
    column = state.claims.arbitrate(now_ns, np.array([row], np.int32))
    # Its own timer is no limit of anybody: what it alone holds off has no share of one.
    share = None if winner is not None else share_of(state, row, float(column.told_low_w[0]), now_ns)
    if winner is None:
        runs, timer_ns = Runs(int(runs_of(state, column, now_ns)[0])), int(state.claims.holds.until_ns[row])
        text = _unnamed(settled, limiter, runs, stands_ns, held_w, timer_ns, state.is_killed)
    else:
        text = f"{winner.level_name.capitalize()} (level {winner.level}) by {winner.source}"
        if limiter is not None and (power_w := asked_w(state, row, settled)) is not None:
            # Held by a limit, what it is asked for is not what it does: both powers are named.
            text += f" asks for {kw(power_w)}; it is held at {kw(settled.setpoint.target_w)}"
            text += f" by {WORDS[limiter]} (level {int(limiter)})"
        last, ended = state.commands, NOT_IN_FORCE.get(Stage(int(state.commands.stage[row])))
        if ended is not None and last.batch[row] >= 0 and last.valid_until_ns[row] > now_ns:
            text += f", but its command was {ended}"
    if limiter is not None and winner is None:
        is_pushed = ends.low_w > 0 or ends.high_w < 0 or ends.low_w == ends.high_w
        text += f", {'by' if is_pushed else 'held back by'} {WORDS[limiter]} (level {int(limiter)})"
    # Its own limit that leaves it one power alone was named with that power.
    is_told = ends.low_w == ends.high_w and share is not None and not (share["waits_for_turn"] or share["too_small"])
    if share is not None and share["off"] and not is_told:
        text += f"; {off_says(share, state.fleet.id_of(row))}"
    if (tightest := binding(state, row, now_ns)) is not None and (loads := uncounted_by(state, row, tightest, now_ns)):
        text += f"; {loads}"
    text += lost_says(lost) if lost else ""
    text += f"; {stray_says(found)}" if (found := stray(state, row, now_ns)) else ""
    for why in filter(None, (not_covered(state, row), not_enrolled(state, row, now_ns))):
        text += f"; {why}"
    return text + ("; its owner has opted out" if state.opted_out[row] else "") + (KILLED if state.is_killed else "")


def group_controls(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> str:
    """Return how many devices of a group each authority sets, and how many nobody does."""
    settled = state.claims.arbitrate(now_ns, rows)
    named, runs = settled.winner >= 0, counts_of(runs_of(state, settled, now_ns))
    told = ", ".join(f"{runs[way]:,} {says}" for way, says in GROUP_SAYS.items() if way in runs)
    after = f", of whom {told}" if told else ""
    if not named.any():
        return "Nobody commands its devices now" + after + (KILLED if state.is_killed else "")
    batches = {batch.id: batch for batch, _ in state.claims.batches()}
    by_level: dict[str, int] = {}
    serials, counts = np.unique(settled.winner[named], return_counts=True)
    for serial, count in zip(serials, counts, strict=True):
        (name,) = state.claims.batch_ids(np.array([serial], np.int32))
        word = WORDS[batches[name].level] if name in batches else "a claim that has ended"
        by_level[word] = by_level.get(word, 0) + int(count)
    parts = [f"{word} {count:,}" for word, count in sorted(by_level.items(), key=lambda item: -item[1])]
    return (
        f"Of {len(rows):,} devices: "
        + ", ".join(parts)
        + f", free {int((~named).sum()):,}{after}"
        + (KILLED if state.is_killed else "")
    )
