"""The base: what each row would do without us, learnt from its own telemetry while nobody commands it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import UNHEARD, DeskState
from tieline.fleet.columns import FEW, KIND_CODE, OUT_OF_RANGE, among
from tieline.resource.batch import Readings
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.times import SECOND_NS

SLOW_KINDS = (KIND_CODE[Kind.THERMOSTAT], KIND_CODE[Kind.WATER_HEATER])
HELD_W = 100.0
NEAR_FRAC, NEAR_W = 0.1, 150.0
"""So near to its target a device is at it: a share of it, or what its meter may be off."""
ENGINES = (KIND_CODE[Kind.BIOMASS], KIND_CODE[Kind.CHP])
"""Started by a call they run on for their least time, and a CHP leaves its tank full: neither is their own doing."""
PAY_BACK = (*SLOW_KINDS, KIND_CODE[Kind.EV_CHARGER], KIND_CODE[Kind.SHIFTABLE_LOAD], *ENGINES)
_IS_SLOW, _PAYS_BACK = among(SLOW_KINDS), among(PAY_BACK)
SLOW_S, FAST_S = 1_800.0, 120.0
"""A thermostat switches on and off, so its base is a mean over cycles; others follow their power closely."""
FINITE_S = {KIND_CODE[Kind.EV_CHARGER]: 4_800.0, KIND_CODE[Kind.SHIFTABLE_LOAD]: 7_200.0}
"""A car that is held back would have been done by and by: its base fades with this time constant while it is held. Else
it would count as 7 kW given for as long as that lasts, though its session would have ended. Of the recorded sessions
that charge at one moment of an afternoon 0.48 of the power is left an hour later and 0.24 after two."""


def learn(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Take readings into the columns, and blend the power of rows that run freely into their base."""
    if len(readings.rows) <= FEW:
        _learn_few(state, readings, now_ns)
        return
    fleet = state.fleet
    power = (readings.points == fleet.power_code) & ((readings.quality & OUT_OF_RANGE) == 0)
    rows = readings.rows[power]
    before_ns = fleet.taken_at_ns[rows].copy()
    fleet.take_readings(readings)
    watts = readings.values[power]
    passed_s = np.maximum(readings.taken_at_ns[power] - before_ns, 0) / SECOND_NS
    free = is_free(state, rows, now_ns) & ~holds_on(state, rows, watts)
    _fade(state, rows, watts, np.where(before_ns == 0, 0.0, passed_s), free, now_ns)
    free &= np.isfinite(watts)
    rows, watts, before_ns, passed_s = rows[free], watts[free], before_ns[free], passed_s[free]
    settles_s = np.where(_IS_SLOW[fleet.kinds[rows]], SLOW_S, FAST_S)
    blend = -np.expm1(-passed_s / settles_s)
    first = before_ns == 0
    if first.any():
        blend[first] = np.where(still_holds(state, rows[first], watts[first], now_ns), 0.0, 1.0)
    state.base_w[rows] += blend * (watts - state.base_w[rows])


def _learn_few(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Learn from a handful, row by row; the same rule as in columns."""
    fleet, commands = state.fleet, state.commands
    fit = ((readings.points == fleet.power_code) & ((readings.quality & OUT_OF_RANGE) == 0)).tolist()
    at_power = [at for at, is_fit in enumerate(fit) if is_fit]
    all_rows, values, taken_ns = readings.rows.tolist(), readings.values.tolist(), readings.taken_at_ns.tolist()
    rows = [all_rows[at] for at in at_power]
    before_ns = fleet.taken_at_ns[rows].tolist()
    stages = commands.stage[rows].tolist()
    fleet.take_readings(readings)
    for at, row, seen_ns, stage in zip(at_power, rows, before_ns, stages, strict=True):
        watts = values[at]
        holds = stage in UNHEARD and bool(holds_on(state, np.array([row], np.int32), np.array([watts]))[0])
        limited = commands.low_w[row] > -fleet.max_absorb_w[row] or commands.high_w[row] < fleet.max_inject_w[row]
        passed_s = max(taken_ns[at] - seen_ns, 0) / SECOND_NS
        kind = int(fleet.kinds[row])
        called = state.rebounds_until_ns[row] > now_ns
        let_go = math.isnan(commands.target_w[row]) and not limited and stage == Stage.DONE
        free = (commands.valid_until_ns[row] <= now_ns and not holds) or let_go
        is_held = watts - state.base_w[row] > HELD_W and (called or not free)
        if is_held and kind in FINITE_S and seen_ns:
            state.base_w[row] *= math.exp(-passed_s / FINITE_S[kind])
        if not (free and math.isfinite(watts)) or (called and kind in PAY_BACK):
            continue
        settles_s = SLOW_S if kind in SLOW_KINDS else FAST_S
        stands = seen_ns == 0 and still_holds(state, np.array([row]), np.array([watts]), now_ns)[0]
        blend = float(not stands) if seen_ns == 0 else -math.expm1(-passed_s / settles_s)
        state.base_w[row] += blend * (watts - state.base_w[row])


def is_free(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> NDArray[np.bool_]:
    """Return which rows run freely: no target in force, and no limit that bites.

    One that is let go runs freely once it said so: back from an outage, it may hold the command before. One that never
    answered, that refused, or that its meter contradicts (UNCONFIRMED) may hold it until its lease is over.
    """
    commands, fleet = state.commands, state.fleet
    over = commands.valid_until_ns[rows] <= now_ns
    unsure = commands.stage[rows] != Stage.DONE
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
    leased_w = state.commands.leased_w[rows[at]]
    near_w = np.maximum(NEAR_W, NEAR_FRAC * np.abs(leased_w))
    found[at] = np.isnan(leased_w) | (np.abs(power_w[at] - leased_w) < near_w)
    return found


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
