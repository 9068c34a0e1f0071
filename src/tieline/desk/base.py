"""The base: what each row would do without us, learnt from its own telemetry while nobody commands it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk import sun
from tieline.desk.cycling import LONGEST_S, PAYS_BACK_NS
from tieline.desk.state import UNHEARD, DeskState
from tieline.fleet.columns import FEW, KIND_CODE, OUT_OF_RANGE, among, places
from tieline.resource.batch import Readings
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.times import SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
SLOW_KINDS = (KIND_CODE[Kind.THERMOSTAT], KIND_CODE[Kind.WATER_HEATER])
HELD_W = 100.0
LEAST_TOLD_W = 0.5
"""No device is told less, nor called for less: its power is counted in watts."""
NEAR_FRAC, NEAR_W = 0.1, 150.0
"""So near to its target a device is at it: a share of it, or what its meter may be off."""
ENGINES = (KIND_CODE[Kind.BIOMASS], KIND_CODE[Kind.CHP])
"""Started by a call they run on for their least time, and a CHP leaves its tank full: neither is their own doing."""
PAY_BACK = (*SLOW_KINDS, KIND_CODE[Kind.EV_CHARGER], KIND_CODE[Kind.SHIFTABLE_LOAD], *ENGINES)
_IS_SLOW, _PAYS_BACK = among(SLOW_KINDS), among(PAY_BACK)
_IS_LOCAL = code("is_local")
SLOW_S, FAST_S = 1_800.0, 120.0
"""What goes on and off by itself has its mean over whole cycles as its base (`desk.cycling`), and until one is known,
that of what was seen. Others follow their power closely, and what the sun drives at once (`desk.sun`)."""
FINITE_S = {KIND_CODE[Kind.EV_CHARGER]: 4_800.0}
"""A car that is held back would have been done by and by: its base fades with this time constant while it is held. Else
it would count as 7 kW given for as long as that lasts, though its session would have ended. Of the recorded sessions
that charge at one moment of an afternoon 0.48 of the power is left an hour later and 0.24 after two."""


def tells_of_a_hand(state: DeskState, readings: Readings) -> bool:
    """Return whether a device says that somebody else has it by now (LOCAL), or no more, other than as settled by."""
    if len(readings.points) <= FEW:
        points = readings.points.tolist()
        return _IS_LOCAL in points and _few_tell_of_a_hand(state, readings, points)
    at = np.flatnonzero(readings.points == _IS_LOCAL)
    at = at[(readings.quality[at] & OUT_OF_RANGE) == 0]
    if not len(at):
        return False
    return bool(np.count_nonzero((readings.values[at] > 0.5) != state.claims.is_local[readings.rows[at]]))


def _few_tell_of_a_hand(state: DeskState, readings: Readings, points: list[int]) -> bool:
    rows, values, flags = readings.rows.tolist(), readings.values.tolist(), readings.quality.tolist()
    is_local = state.claims.is_local
    return any(
        (values[at] > 0.5) != is_local[rows[at]]
        for at, point in enumerate(points)
        if point == _IS_LOCAL and not flags[at] & OUT_OF_RANGE
    )


def learn(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Take readings into the columns, and blend the power of rows that run freely into their base."""
    if len(readings.rows) <= FEW:
        _learn_few(state, readings, now_ns)
        return
    fleet = state.fleet
    power = (readings.points == fleet.power_code) & ((readings.quality & OUT_OF_RANGE) == 0)
    rows = places(readings.rows[power])
    before_ns, was_w = fleet.taken_at_ns[rows].copy(), fleet.power_w[rows].copy()
    fleet.take_readings(readings)
    newer = (before_ns > 0) & (fleet.taken_at_ns[rows] > before_ns)
    fleet.heard_every_ns[rows[newer]] = (fleet.taken_at_ns[rows] - before_ns)[newer]
    watts = readings.values[power]
    passed_s = np.maximum(readings.taken_at_ns[power] - before_ns, 0) / SECOND_NS
    free = is_free(state, rows, now_ns) & ~holds_on(state, rows, watts)
    _fade(state, rows, watts, np.where(before_ns == 0, 0.0, passed_s), free, now_ns)
    free &= np.isfinite(watts)
    by_sun = sun.IS_SUN[fleet.kinds[rows]]
    if by_sun.any():
        _take_sun(state, rows[by_sun], watts[by_sun], free[by_sun], before_ns[by_sun] == 0, now_ns)
        free &= ~by_sun
    _note_held(state, rows, free, now_ns)
    rows, watts, before_ns = rows[free], watts[free], before_ns[free]
    was_w, passed_s = was_w[free], passed_s[free]
    on_off = _IS_SLOW[fleet.kinds[rows]] | state.is_switched[rows]
    if on_off.any():
        mine = rows[on_off]
        state.cycles.take(mine, was_w[on_off], watts[on_off], fleet.max_absorb_w[mine], passed_s[on_off])
    blend = _blend(state, rows, passed_s)
    first = before_ns == 0
    if first.any():
        blend[first] = np.where(still_holds(state, rows[first], watts[first], now_ns), 0.0, 1.0)
    state.base_w[rows] += blend * (watts - state.base_w[rows])
    if on_off.any():
        mine = mine[_by_cycles(state, mine)]
        state.base_w[mine] = state.cycles.mean_w(mine)


def _take_sun(state: DeskState, rows: Rows, watts: Floats, free: Mask, first: Mask, now_ns: int) -> None:
    """Take readings of rows that the sun drives; one seen first where a command left it may be held by that yet."""
    if first.any():
        free = free & ~(first & still_holds(state, rows, watts, now_ns))
    sun.take(state, rows, watts, free, now_ns)


def _note_held(state: DeskState, rows: Rows, free: Mask, now_ns: int) -> None:
    """Take who pays back what was held from him out of `free` (shape as `rows`); what runs of others is no cycle."""
    cycles, last, fleet = state.cycles, state.commands, state.fleet
    slow = _IS_SLOW[fleet.kinds[rows]]
    at = np.flatnonzero(slow)
    if len(at):
        mine = rows[at]
        bound = (last.low_w[mine] > -fleet.max_absorb_w[mine]) | (last.high_w[mine] < fleet.max_inject_w[mine])
        bound = (last.valid_until_ns[mine] > now_ns) & (bound | np.isfinite(last.target_w[mine]))
        cycles.own_from_ns[mine[bound]] = now_ns + PAYS_BACK_NS
        # One that was never seen to run freely has no base at all: what it pays back tells more than nothing.
        free[at] &= ~cycles.pays_back(mine, now_ns) | (cycles.seen_s[mine] <= 0.0)
    cycles.drop(rows[~free & (slow | state.is_switched[rows])])


def _blend(state: DeskState, rows: Rows, passed_s: Floats) -> Floats:
    """Return how much of a reading goes into the base of each row (0 to 1)."""
    slow = _IS_SLOW[state.fleet.kinds[rows]]
    blend: Floats = -np.expm1(-passed_s / np.where(slow, SLOW_S, FAST_S))
    if slow.any():  # of what was seen for a while only each minute counts alike
        seen_s = np.maximum(state.cycles.seen_s[rows[slow]], 1e-9)
        blend[slow] = np.maximum(blend[slow], np.minimum(passed_s[slow] / seen_s, 1.0))
    return blend


def _by_cycles(state: DeskState, rows: Rows) -> Mask:
    """Return which rows have their mean over whole cycles as their base: of kinds that need not cycle, short ones."""
    cycles = state.cycles
    mask: Mask = cycles.known(rows) & (_IS_SLOW[state.fleet.kinds[rows]] | (cycles.length_s[rows] <= LONGEST_S))
    return mask


def _learn_few(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Learn from a handful, row by row; the same rule as in columns."""
    fleet, commands = state.fleet, state.commands
    fit = ((readings.points == fleet.power_code) & ((readings.quality & OUT_OF_RANGE) == 0)).tolist()
    at_power = [at for at, is_fit in enumerate(fit) if is_fit]
    all_rows, values, taken_ns = readings.rows.tolist(), readings.values.tolist(), readings.taken_at_ns.tolist()
    rows = [all_rows[at] for at in at_power]
    before_ns, was_w = fleet.taken_at_ns[rows].tolist(), fleet.power_w[rows].tolist()
    stages = commands.stage[rows].tolist()
    fleet.take_readings(readings)
    _take_sun_few(state, [(all_rows[at], values[at]) for at in at_power], before_ns, stages, now_ns)
    for at, row, seen_ns, before_w, stage in zip(at_power, rows, before_ns, was_w, stages, strict=True):
        watts = values[at]
        if taken_ns[at] > seen_ns > 0:
            fleet.heard_every_ns[row] = taken_ns[at] - seen_ns
        if sun.IS_SUN[fleet.kinds[row]]:
            continue
        holds = stage in UNHEARD and _holds_on_one(state, row, stage, watts)
        limited = commands.low_w[row] > -fleet.max_absorb_w[row] or commands.high_w[row] < fleet.max_inject_w[row]
        passed_s = max(taken_ns[at] - seen_ns, 0) / SECOND_NS
        kind = int(fleet.kinds[row])
        called = state.rebounds_until_ns[row] > now_ns
        let_go = math.isnan(commands.target_w[row]) and not limited and stage == Stage.DONE
        over = commands.valid_until_ns[row] <= now_ns
        free = (over and not holds) or let_go
        is_held = watts - state.base_w[row] > HELD_W and (called or not free)
        if is_held and kind in FINITE_S and seen_ns:
            state.base_w[row] *= math.exp(-passed_s / FINITE_S[kind])
        free = free and math.isfinite(watts) and not (called and kind in PAY_BACK)
        if kind in SLOW_KINDS or state.is_switched[row]:
            bound = not over and (limited or math.isfinite(commands.target_w[row]))
            free = _cycles_few(state, row, free, bound, (before_w, watts, passed_s), now_ns)
        if not free:
            continue
        stands = seen_ns == 0 and still_holds(state, np.array([row]), np.array([watts]), now_ns)[0]
        blend = float(not stands) if seen_ns == 0 else _blend_few(state, row, kind, passed_s)
        state.base_w[row] += blend * (watts - state.base_w[row])
        if (kind in SLOW_KINDS or state.is_switched[row]) and _by_cycles(state, np.array([row]))[0]:
            state.base_w[row] = state.cycles.mean_w(np.array([row]))[0]


def _take_sun_few(
    state: DeskState, read: list[tuple[int, float]], before_ns: list[int], stages: list[int], now_ns: int
) -> None:
    """Take what was read of rows that the sun drives (row, W), if there are any in a handful."""
    kinds = state.fleet.kinds
    for (row, watts), was_ns, stage in zip(read, before_ns, stages, strict=True):
        if not sun.IS_SUN[kinds[row]]:
            continue
        if was_ns and stage not in UNHEARD:
            free = math.isfinite(watts) and _is_free_one(state, row, stage, now_ns)
            sun.take_one(state, row, watts, free, now_ns)
            continue
        rows, power_w = np.array([row], np.int32), np.array([watts])
        is_one_free = is_free(state, rows, now_ns) & ~holds_on(state, rows, power_w) & np.isfinite(power_w)
        _take_sun(state, rows, power_w, is_one_free, np.array([was_ns == 0]), now_ns)


def _is_free_one(state: DeskState, row: int, stage: int, now_ns: int) -> bool:
    """Return what `is_free` says of one row."""
    commands, fleet = state.commands, state.fleet
    if state.rebounds_until_ns[row] > now_ns and _PAYS_BACK[fleet.kinds[row]]:
        return False
    if commands.valid_until_ns[row] <= now_ns:
        return True
    limited = commands.low_w[row] > -fleet.max_absorb_w[row] or commands.high_w[row] < fleet.max_inject_w[row]
    return math.isnan(commands.target_w[row]) and not limited and stage == Stage.DONE


def _cycles_few(
    state: DeskState, row: int, free: bool, bound: bool, read: tuple[float, float, float], now_ns: int
) -> bool:
    """Take a reading of what goes on and off into its cycles, and return whether it teaches its base.

    Args:
        state: What is known.
        row: Whose.
        free: Whether it runs freely.
        bound: Whether a command holds it.
        read: What it was read at before and now (W), and how long that took (s).
        now_ns: Now.
    """
    cycles = state.cycles
    if int(state.fleet.kinds[row]) in SLOW_KINDS:
        if bound:
            cycles.own_from_ns[row] = now_ns + PAYS_BACK_NS
        free = free and bool(~cycles.pays_back(np.array([row]), now_ns)[0] or cycles.seen_s[row] <= 0.0)
    at = np.array([row], np.int32)
    if not free:
        cycles.drop(at)
    else:
        was_w, watts, passed_s = (np.array([number]) for number in read)
        cycles.take(at, was_w, watts, state.fleet.max_absorb_w[at], passed_s)
    return free


def _blend_few(state: DeskState, row: int, kind: int, passed_s: float) -> float:
    if kind not in SLOW_KINDS:
        return -math.expm1(-passed_s / FAST_S)
    part = min(passed_s / max(float(state.cycles.seen_s[row]), 1e-9), 1.0)
    return max(-math.expm1(-passed_s / SLOW_S), part)


def is_free(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> NDArray[np.bool_]:
    """Return which rows run freely: no target in force, and no limit that bites.

    One that is let go runs freely once it said so: back from an outage, it may hold the command before. One that never
    answered, that refused, or that its meter contradicts (UNCONFIRMED) may hold it until its lease is over.
    """
    rows = places(rows)
    commands, fleet = state.commands, state.fleet
    over = commands.valid_until_ns[rows] <= now_ns
    unsure = commands.stage[rows] != int(Stage.DONE)
    limited = (commands.low_w[rows] > -fleet.max_absorb_w[rows]) | (commands.high_w[rows] < fleet.max_inject_w[rows])
    # What pays back a call is not what it would do without us.
    pays_back = (state.rebounds_until_ns[rows] > now_ns) & _PAYS_BACK[fleet.kinds[rows]]
    free: NDArray[np.bool_] = (over | (np.isnan(commands.target_w[rows]) & ~limited & ~unsure)) & ~pays_back
    return free


def still_holds(
    state: DeskState, rows: NDArray[np.int32], power_w: NDArray[np.float64], now_ns: int
) -> NDArray[np.bool_]:
    """Return which rows stand where a command put them that is over, and that nobody has let go since.

    Seen first after a start that is no base: a timer that lies would make its command one.
    """
    last = state.commands
    over = (last.valid_until_ns[rows] > 0) & (last.valid_until_ns[rows] < now_ns)
    near_w = np.maximum(NEAR_W, NEAR_FRAC * np.abs(np.nan_to_num(last.target_w[rows])))
    mask: NDArray[np.bool_] = over & (np.abs(power_w - last.target_w[rows]) < near_w)
    return mask


def holds_on(state: DeskState, rows: NDArray[np.int32], power_w: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows could not hear that they were let go and stand where they were told, or may as a limit has it.

    One without a timer of its own does so for as long as it takes, and that is no base.
    """
    found, at = np.zeros(len(rows), np.bool_), np.flatnonzero(state.owes_release(rows))
    if not len(at):
        return found
    leased_w = state.commands.leased_w[rows[at]]
    near_w = np.maximum(NEAR_W, NEAR_FRAC * np.abs(leased_w))
    found[at] = np.isnan(leased_w) | (np.abs(power_w[at] - leased_w) < near_w)
    return found


def _holds_on_one(state: DeskState, row: int, stage: int, power_w: float) -> bool:
    """Return what `holds_on` says of one row, whose command is at a stage that `DeskState.owes_release` asks of."""
    commands, fleet = state.commands, state.fleet
    if stage == Stage.UNCONFIRMED and not math.isnan(commands.observed_w[row]):
        return False
    if commands.low_w[row] > -fleet.max_absorb_w[row] or commands.high_w[row] < fleet.max_inject_w[row]:
        return False
    if not math.isnan(commands.target_w[row]):
        return False
    leased_w = float(commands.leased_w[row])
    return math.isnan(leased_w) or abs(power_w - leased_w) < max(NEAR_W, NEAR_FRAC * abs(leased_w))


def _fade(
    state: DeskState,
    rows: NDArray[np.int32],
    watts: NDArray[np.float64],
    passed_s: NDArray[np.float64],
    free: NDArray[np.bool_],
    now_ns: int,
) -> None:
    """Let the base of rows fade that are held back, by a call or a limit, and whose need would have ended."""
    called = (state.rebounds_until_ns[rows] > now_ns) | ~free
    held = called & (watts - state.base_w[rows] > HELD_W)
    if not held.any():
        return
    for kind, settles_s in FINITE_S.items():
        mine = held & (state.fleet.kinds[rows] == kind)
        state.base_w[rows[mine]] *= np.exp(-passed_s[mine] / settles_s)
