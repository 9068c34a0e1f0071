"""The base: what each row would do without us, learnt from its own telemetry while nobody commands it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.columns import FEW, KIND_CODE
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.times import SECOND_NS

SLOW_KINDS = (KIND_CODE[Kind.THERMOSTAT], KIND_CODE[Kind.WATER_HEATER])
SLOW_S, FAST_S = 1_800.0, 120.0
"""A thermostat switches on and off, so its base is a mean over cycles; others follow their power closely."""


def learn(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Take readings into the columns, and blend the power of rows that run freely into their base."""
    if len(readings.rows) <= FEW:
        _learn_few(state, readings, now_ns)
        return
    fleet = state.fleet
    power = readings.points == fleet.power_code
    rows = readings.rows[power]
    before_ns = fleet.taken_at_ns[rows].copy()
    fleet.take_readings(readings)
    watts = readings.values[power]
    free = is_free(state, rows, now_ns) & np.isfinite(watts)
    rows, watts, before_ns = rows[free], watts[free], before_ns[free]
    passed_s = np.maximum(readings.taken_at_ns[power][free] - before_ns, 0) / SECOND_NS
    settles_s = np.where(np.isin(fleet.kinds[rows], SLOW_KINDS), SLOW_S, FAST_S)
    blend = np.where(before_ns == 0, 1.0, -np.expm1(-passed_s / settles_s))
    state.base_w[rows] += blend * (watts - state.base_w[rows])


def _learn_few(state: DeskState, readings: Readings, now_ns: int) -> None:
    """Learn from a handful, row by row; the same rule as in columns."""
    fleet, commands = state.fleet, state.commands
    at_power = [at for at, point in enumerate(readings.points.tolist()) if point == fleet.power_code]
    rows = [int(readings.rows[at]) for at in at_power]
    before_ns = [int(fleet.taken_at_ns[row]) for row in rows]
    fleet.take_readings(readings)
    for at, row, seen_ns in zip(at_power, rows, before_ns, strict=True):
        watts = float(readings.values[at])
        limited = commands.low_w[row] > -fleet.max_absorb_w[row] or commands.high_w[row] < fleet.max_inject_w[row]
        free = commands.valid_until_ns[row] <= now_ns or (math.isnan(commands.target_w[row]) and not limited)
        if not (free and math.isfinite(watts)):
            continue
        passed_s = max(int(readings.taken_at_ns[at]) - seen_ns, 0) / SECOND_NS
        settles_s = SLOW_S if fleet.kinds[row] in SLOW_KINDS else FAST_S
        blend = 1.0 if seen_ns == 0 else -math.expm1(-passed_s / settles_s)
        state.base_w[row] += blend * (watts - state.base_w[row])


def is_free(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> NDArray[np.bool_]:
    """Return which rows run freely: no target in force, and no limit that bites."""
    commands, fleet = state.commands, state.fleet
    over = commands.valid_until_ns[rows] <= now_ns
    limited = (commands.low_w[rows] > -fleet.max_absorb_w[rows]) | (commands.high_w[rows] < fleet.max_inject_w[rows])
    free: NDArray[np.bool_] = over | (np.isnan(commands.target_w[rows]) & ~limited)
    return free
