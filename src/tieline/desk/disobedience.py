"""Who stands beyond a limit that he was told, by his own meter, whatever his link said of the command.

A link that reads a setting back has seen a setting: that an inverter holds the register of a limit does not say that it
keeps it. So what the desk knows of a limit is judged once more by the meter, by the same rule as every read-back
(`resource.obedience`), after the time that the slowest kind needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.response import seconds_to_reach
from tieline.desk.state import LEASE_NS, DeskState
from tieline.resource.command import Stage
from tieline.resource.obedience import SLACK_FRAC, SLACK_W, astray_w
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
BEYOND_FRAC = 0.25
NOISE_W, NOISE_FRAC = 50.0, 0.03
"""So far off is who obeys by his own meter: what it and his steps are off by."""
SPENT_FRAC = 0.01
"""Within so much of its energy of empty, or of full, a store that says that it can do no more is taken at its word."""
KEEPS_NS = 5 * MINUTE_NS
"""How long a device has to keep a limit: a compressor's own timer counts three minutes, thermostats take four."""
HEARS_NS = 2 * MINUTE_NS
"""How long it may take until what moves at once has fetched what it was told, and its meter is read again."""


def beyond(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows stand beyond a limit that they were told, that still holds, and that they had time to keep.

    It counts whatever they answered. A limit whose share moves at each beat gives nobody new time: who stands beyond
    the loosest of all that he was told meanwhile has had his. Where its link read the power back a device has the time
    of its kind, and no more. Of one whose power nobody knows, as it has no meter, nothing is found.
    Rule R12: a machine that a timer of its own holds where it is has not disobeyed; but none has to feed in where
    nothing may: it can open its breaker. Nor has a store disobeyed that is empty and stands by, told to give, or one
    that is full, told to draw: there is nothing that anybody could do at its site.
    """
    fleet, commands = state.fleet, state.commands
    since_ns = fleet.taken_at_ns[rows] - commands.since_ns[rows]
    had_time = (since_ns >= keeps_ns(state, rows)) | (is_read_back(state, rows) & (since_ns >= soon_ns(state, rows)))
    found: Mask = (commands.valid_until_ns[rows] > now_ns) & np.isfinite(fleet.power_w[rows])
    found &= _stands_beyond(state, rows, commands.low_w[rows], commands.high_w[rows], now_ns)
    at = np.flatnonzero(found & ~had_time)
    if len(at):
        eased = fleet.taken_at_ns[rows[at]] - commands.eased_ns[rows[at]] >= KEEPS_NS
        loosest_w = commands.eased_low_w[rows[at]], commands.eased_high_w[rows[at]]
        found[at] = eased & _stands_beyond(state, rows[at], *loosest_w, now_ns)
    at = np.flatnonzero(found)
    if len(at):  # few: who claims what is asked of those alone
        found[at] = _stands_beyond(state, rows[at], *_still_hold(state, rows[at], now_ns), now_ns)
    return (found | _goes_its_own_way(state, rows, now_ns)) & ~_can_no_more(state, rows)


def _can_no_more(state: DeskState, rows: Rows) -> Mask:
    """Return which stores stand by and were told to give though they are empty, or to draw though they are full.

    They say so themselves; of one that tells no energy nobody knows.
    """
    fleet, commands = state.fleet, state.commands
    has_wh, whole_wh = fleet.energy_available_wh[rows], fleet.energy_wh[rows]
    rated_w = np.maximum(fleet.max_inject_w[rows], fleet.max_absorb_w[rows])
    stands_by = (whole_wh > 0.0) & (np.abs(fleet.power_w[rows]) <= np.maximum(NOISE_W, NOISE_FRAC * rated_w))
    empty = (commands.low_w[rows] > 0.0) & (has_wh <= SPENT_FRAC * whole_wh) & (fleet.available_up_w[rows] <= 0.0)
    full = (commands.high_w[rows] < 0.0) & (has_wh >= (1.0 - SPENT_FRAC) * whole_wh)
    mask: Mask = stands_by & (empty | (full & (fleet.available_down_w[rows] <= 0.0)))
    return mask


def _goes_its_own_way(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows were found to keep to no command (`desk.strays`) longer ago than a device has to keep a limit,
    and stand beyond both what they were told then and their part of the limit, though not on their way there.

    What such a one is told now is near its meter, so that the others need not move far should it begin to obey.
    """
    fleet, last, found = state.fleet, state.commands, state.strays
    mask: Mask = (found.since_ns[rows] > 0) & (last.valid_until_ns[rows] > now_ns) & np.isfinite(fleet.power_w[rows])
    mask &= fleet.taken_at_ns[rows] - found.since_ns[rows] >= KEEPS_NS
    at = np.flatnonzero(mask)
    if len(at):
        some = rows[at]
        low_w, high_w = (
            np.minimum(found.low_w[some], found.part_low_w[some]),
            np.maximum(found.high_w[some], found.part_high_w[some]),
        )
        mask[at] = _stands_beyond(state, some, low_w, high_w, now_ns) & ~follows(state, some, now_ns)
    return mask


def follows(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows that were found to keep to no command keep what they are told now, and are off where they stood
    by more than a meter may be."""
    last, stood_w, fleet = state.commands, state.strays.stood_w[rows], state.fleet
    low_w, high_w = (
        np.maximum(last.low_w[rows], -fleet.max_absorb_w[rows]),
        np.minimum(last.high_w[rows], fleet.max_inject_w[rows]),
    )
    mask: Mask = (last.valid_until_ns[rows] > now_ns) & is_within(fleet.power_w[rows], low_w, high_w)
    return mask & ~is_within(stood_w, low_w, high_w)


def is_within(power_w: Floats, low_w: Floats, high_w: Floats) -> Mask:
    """Return which powers are within bounds (W), but for what a meter may be off by; no power is in none."""
    off_w, end_w = np.maximum(power_w - high_w, low_w - power_w), np.where(power_w > high_w, high_w, low_w)
    mask: Mask = off_w <= np.maximum(NOISE_W, NOISE_FRAC * np.abs(end_w))
    return mask


def _stands_beyond(state: DeskState, rows: Rows, low_w: Floats, high_w: Floats, now_ns: int) -> Mask:
    """Return which rows stand beyond bounds, but where a timer of their own may hold them."""
    fleet, holds = state.fleet, state.claims.holds
    power_w, free = fleet.power_or_0_w(rows), np.full(len(rows), np.nan)
    low_w, high_w = np.maximum(low_w, -fleet.max_absorb_w[rows]), np.minimum(high_w, fleet.max_inject_w[rows])
    off_w = astray_w(power_w, free, low_w, high_w)
    stands: Mask = np.abs(off_w) > np.maximum(SLACK_W, BEYOND_FRAC * np.abs(power_w - off_w))
    is_timed = (holds.until_ns[rows] > now_ns) & (power_w >= holds.low_w[rows]) & (power_w <= holds.high_w[rows])
    is_timed &= (power_w <= 0.0) | (high_w > 0.0)
    return stands & ~is_timed


def _still_hold(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return what rows were told as far as a limit in force asks for it still (W).

    Who comes back in turn holds the command of a limit that is over, for up to an hour: it breaks none by coming
    sooner. A limit that came since counts once it was told. One that doesn't reach a device in LOCAL (R5) was told it
    before, and stands.
    """
    told_low_w, told_high_w = state.commands.low_w[rows], state.commands.high_w[rows]
    settled, is_local = state.claims.arbitrate(now_ns, rows), state.claims.is_local[rows]
    low_w = np.where(is_local, told_low_w, np.minimum(told_low_w, settled.told_low_w))
    return low_w, np.where(is_local, told_high_w, np.maximum(told_high_w, settled.told_high_w))


def ignoring(state: DeskState, rows: Rows, now_ns: int) -> tuple[Mask, Mask]:
    """Return which rows give more, and which draw more, than they were told, though the time of their kind is over.

    Their group counts them at what they do, be it little: a share that moved towards that would hide them, and leave
    what they take to nobody else. Nothing is said of them yet: an alarm waits for `beyond`, and for more than this.
    Who can't be reached is counted otherwise (R16): see `ignored`.
    """
    commands, fleet = state.commands, state.fleet
    told = (commands.valid_until_ns[rows] > now_ns) & ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0)
    return _ignores(state, rows, told, (commands.low_w[rows], commands.high_w[rows]), commands.since_ns[rows])


def ignored(state: DeskState, rows: Rows, now_ns: int) -> tuple[Mask, Mask]:
    """Return which rows gave more, and which drew more, as they were heard last, than the command that they took lets
    them that they hold still: no cap holds them, though nobody hears what they do now.

    What they may have heard since is no time anew: the loosest of all counts.
    """
    commands = state.commands
    ends_w, took_ns = (commands.leased_low_w[rows], commands.leased_high_w[rows]), commands.leased_until_ns[rows]
    return _ignores(state, rows, took_ns > now_ns, ends_w, took_ns - LEASE_NS)


def _ignores(
    state: DeskState, rows: Rows, told: Mask, ends_w: tuple[Floats, Floats], since_ns: NDArray[np.int64]
) -> tuple[Mask, Mask]:
    """Return which of those that were told stood above, and which below, the ends (W) that they had since then."""
    (low_w, high_w), power_w = ends_w, state.fleet.power_w[rows]
    gives: Mask = told & (power_w > np.maximum(high_w, 0.0) + NOISE_W)
    draws: Mask = told & (power_w < np.minimum(low_w, 0.0) - NOISE_W)
    at = np.flatnonzero(gives | draws)
    if len(at):
        off_w = np.maximum(power_w[at] - high_w[at], low_w[at] - power_w[at])
        end_w = np.where(gives[at], high_w[at], low_w[at])
        ignores = off_w > NOISE_FRAC * np.abs(end_w)
        ignores &= state.fleet.taken_at_ns[rows[at]] - since_ns[at] >= soon_ns(state, rows[at])
        gives[at] &= ignores
        draws[at] &= ignores
    return gives, draws


def holds_on(state: DeskState, rows: Rows) -> Mask:
    """Return which rows were let go, were read back as still set to a power, and stand at it by their meter.

    Who is asked for nothing obeys with any power: only what a link reads in the device tells one that runs as it likes
    from one that kept its last command. It has the time of its kind.
    """
    fleet, commands = state.fleet, state.commands
    power_w, held_w = fleet.power_w[rows], commands.observed_w[rows]
    found: Mask = np.isnan(commands.target_w[rows]) & is_read_back(state, rows)
    found &= (commands.low_w[rows] <= -fleet.max_absorb_w[rows]) & (commands.high_w[rows] >= fleet.max_inject_w[rows])
    found &= np.abs(power_w - held_w) <= np.maximum(SLACK_W, SLACK_FRAC * np.abs(held_w))
    return found & (fleet.taken_at_ns[rows] - commands.at_ns[rows] >= soon_ns(state, rows))


def soon_ns(state: DeskState, rows: Rows) -> NDArray[np.float64]:
    """Return how long after its command each row gives in full (ns)."""
    found: NDArray[np.float64] = seconds_to_reach(state, rows) * SECOND_NS
    return found


def keeps_ns(state: DeskState, rows: Rows) -> NDArray[np.float64]:
    """Return how long each row has to keep a limit that it was told (ns): the time of its kind, and to hear of it."""
    found: NDArray[np.float64] = np.minimum(soon_ns(state, rows) + HEARS_NS, KEEPS_NS)
    return found


def is_read_back(state: DeskState, rows: Rows) -> Mask:
    """Return which rows took their last command and were read back as something else."""
    commands = state.commands
    mask: Mask = (commands.stage[rows] == int(Stage.UNCONFIRMED)) & np.isfinite(commands.observed_w[rows])
    return mask
