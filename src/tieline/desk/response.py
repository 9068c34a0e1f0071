"""Who does not respond, as opposed to who has nothing left to give.

Theory of operation. A row that was called and hardly moved is left out for a while, whatever the reason: the pool needs
the power now (`missed`). Whether that row is *unresponsive* is another question, and an alarm hangs on it. A thermostat
whose room grew too warm, a car that must leave, a battery at its reserve and a compressor within its hold time all
stand still by right, and say so: their own headroom is gone. A command that was lost never reached anybody. So a strike
is counted only where the command was taken, the row had time by its kind, its telemetry is fit, and it had room by its
own word at every beat since it was called. Two strikes running make it unresponsive; following once wipes them out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState, Responses
from tieline.desk.sun import keeps_down
from tieline.desk.tracking import above_base_w
from tieline.fleet.columns import KINDS, among, places
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]

MISS_AFTER_NS, HELD_NS = 3 * MINUTE_NS, 2 * MINUTE_NS
ASKED_W = 200.0
MOVES_FRAC, FOLLOWS_FRAC, SLACK_W = 0.25, 0.5, 50.0
STRIKES = 2
FORGETS_NS = 24 * HOUR_NS
"""An alarm must not outlive what is known: who was not called for a day may have been repaired meanwhile."""

SECONDS_TO_REACH: dict[Kind, float] = {
    Kind.BATTERY: 10.0,
    Kind.HYBRID_SITE: 10.0,
    Kind.MECHANICAL_STORAGE: 30.0,
    Kind.PV: 10.0,
    Kind.EV_CHARGER: 30.0,
    Kind.INTERRUPTIBLE_LOAD: 60.0,
    Kind.WATER_HEATER: 60.0,
    Kind.THERMOSTAT: 240.0,
    Kind.SHIFTABLE_LOAD: 300.0,
    Kind.PROCESS_LINE: 600.0,
    Kind.BACKUP_GENERATOR: 600.0,
    Kind.CHP: 900.0,
    Kind.BIOMASS: 1_800.0,
}
"""How long after its command a device of each kind gives in full (s): inverters and relays at once, a cloud that is
polled within minutes, engines after start and warming up."""
SLOWEST_S = 1_800.0
READ_BACK_S = 300.0
"""Kinds that give within this time are judged by their link's read-back; slower ones by the clock alone."""


_TAKEN = among((Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE), len(Stage))


def seconds_to_reach(state: DeskState, rows: Rows) -> Floats:
    """Return how long after its command each row gives in full (s)."""
    table = np.array([SECONDS_TO_REACH.get(kind, SLOWEST_S) for kind in KINDS])
    found: Floats = table[state.fleet.kinds[rows]]
    return found


def is_nearest(state: DeskState, rows: Rows) -> Mask:
    """Return which rows are switched ones that stand in the state nearest to their target: they can come no nearer."""
    fleet = state.fleet
    away_w = np.abs(fleet.power_w[rows] - state.commands.target_w[rows])
    step_w = np.maximum(fleet.max_inject_w[rows], fleet.max_absorb_w[rows])
    mask: Mask = state.is_switched[rows] & (away_w <= 0.5 * step_w + SLACK_W)
    return mask


def unresponsive(responses: Responses, now_ns: int) -> Mask:
    """Return which rows don't respond: they were able, were told, and stood still, time after time."""
    mask: Mask = (responses.strikes >= STRIKES) & (responses.last_ns > now_ns - FORGETS_NS)
    return mask


def unheard(state: DeskState, rows: Rows) -> Mask:
    """Return which rows report, but nothing answered their last command: they may not have heard it."""
    last = state.commands
    fit = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    mask: Mask = fit & (last.stage[rows] == int(Stage.UNCONFIRMED)) & np.isnan(last.observed_w[rows])
    return mask


def judge(state: DeskState, rows: Rows, share_w: Floats, now_ns: int) -> Mask:
    """Return which rows missed their call and are to be left out, and note who did so without a reason.

    Args:
        state: The desk's; what it knows of how rows answer is changed.
        rows: Those of a pool.
        share_w: What each of them is called for (W); shape as `rows`.
        now_ns: Now.

    Behind the kill switch no command reaches anybody: nobody is judged while it is pressed, nor for so long after it
    was released as a row's kind takes to give.
    """
    rows = places(rows)
    responses, asked = state.responses, np.abs(share_w) > ASKED_W
    if state.is_killed:
        asked = np.zeros(len(rows), np.bool_)
    responses.uncalled_ns[rows[~asked]] = now_ns
    if not asked.any():
        responses.called[rows] = False
        return np.zeros(len(rows), np.bool_)
    fleet, commands = state.fleet, state.commands
    need_w, moved_w = np.abs(share_w), np.sign(share_w) * above_base_w(state, rows)
    # What it was told may be older than its call: a limit that holds it, or one call that follows another's.
    since_ns = now_ns - np.maximum(commands.at_ns[rows], responses.uncalled_ns[rows])
    stage = commands.stage[rows]
    # Who was held back by the fleet limiter a moment ago was not told yet: what it holds is the command before.
    told = now_ns - state.held_ns[rows] > HELD_NS
    soon_s = seconds_to_reach(state, rows)
    told &= now_ns - state.kill_moved_ns > np.maximum(MISS_AFTER_NS, soon_s * SECOND_NS)
    still = moved_w < MOVES_FRAC * need_w
    # An engine that warms up is no miss: it is held to what it gives by then. Nor is one that gives what it was called
    # for, whatever its link read back while it began.
    rises = moved_w >= MOVES_FRAC * need_w * np.minimum(since_ns / (soon_s * SECOND_NS), 1.0)
    # Nor is a heater whose link read back what it drew a moment before its relay went.
    is_read = (stage == int(Stage.UNCONFIRMED)) & (soon_s <= READ_BACK_S) & (since_ns >= soon_s * SECOND_NS)
    unseen = is_read & (moved_w < FOLLOWS_FRAC * need_w)
    failed = (stage == int(Stage.REJECTED)) | unseen
    # Nor is a plant from which a cloud took what it was to hold back.
    told &= ~keeps_down(state, rows, share_w)
    missed: Mask = asked & told & (((since_ns > MISS_AFTER_NS) & ~rises) | failed)

    room_w = np.where(share_w > 0, fleet.available_up_w[rows], fleet.available_down_w[rows])
    fit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    able = fit & ~still | fit & (np.isnan(room_w) | (room_w >= MOVES_FRAC * need_w))
    able &= ~is_nearest(state, rows)
    able &= responses.able[rows] | ~responses.called[rows]
    read_back = is_read & np.isfinite(commands.observed_w[rows])
    taken = _TAKEN[stage]
    had_time = taken & (since_ns > np.maximum(MISS_AFTER_NS, soon_s * SECOND_NS))
    strike = missed & still & able & (read_back | had_time)
    follows = asked & fit & taken & (moved_w >= FOLLOWS_FRAC * need_w)

    responses.called[rows], responses.able[rows] = asked, able & ~strike  # one strike a call
    struck = rows[strike]
    lately = responses.last_ns[struck] > now_ns - FORGETS_NS
    responses.strikes[struck] = np.where(lately, np.minimum(responses.strikes[struck], 254), 0) + 1
    responses.last_ns[struck] = now_ns
    responses.strikes[rows[follows]] = 0
    return missed
