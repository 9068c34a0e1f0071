"""The step of `scalar` over records of many inverters, compiled; `columns` is its door.

Each unit is one record of what it remembers, so that a step reads and writes it once. The order of the steps and the
clauses stand in `scalar`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tieline.compiled import compiled_unchecked as compiled
from tieline.grid.inverter.ridethrough import (
    CONTINUOUS_HZ,
    CONTINUOUS_PU,
    HIGHEST_RIDDEN_PU,
    RIDDEN_HZ,
    Category,
    Status,
)
from tieline.grid.inverter.scalar import LEAST_PU, RAMP_END, SETTLED_FRAC
from tieline.grid.inverter.settings import NOMINAL_HZ
from tieline.resource.mode import Mode

MEMORY = np.dtype(
    [(name, np.float64) for name in (
        "sound_s", "wait_s", "ramp", "limit", "before_frac", "active_current", "power_frac", "var_frac", "volt_watt_in",
        "volt_watt_out", "droop_in", "droop_out", "var_in", "var_out", "reference_in", "reference_out", "momentary_s",
        "ceased_s")]
    + [("seen_s", np.float64, (8,)), ("trips", np.int32), ("status", np.int8), ("side", np.int8),
       ("is_watched", np.bool_), ("is_ceased", np.bool_), ("is_drooping", np.bool_)],
    align=True,
)  # fmt: skip
"""What a unit remembers; `is_watched`: one of its eight trip conditions has begun."""

# Compiled code takes plain numbers.
TRIPPED, ENTERING, CONTINUOUS = int(Status.TRIPPED), int(Status.ENTERING), int(Status.CONTINUOUS)
MANDATORY, PERMISSIVE, UNBOUND = int(Status.MANDATORY), int(Status.PERMISSIVE), int(Status.UNBOUND)
MOMENTARY, CEASED = int(Status.MOMENTARY), int(Status.CEASED)
CATEGORY_I, CATEGORY_III = float(Category.I), float(Category.III)
VOLT_VAR, WATT_VAR, CONSTANT_VAR = float(Mode.VOLT_VAR), float(Mode.WATT_VAR), float(Mode.CONSTANT_VAR)
LOW_PU, HIGH_PU = CONTINUOUS_PU
LOW_HZ, HIGH_HZ = CONTINUOUS_HZ
LOWEST_HZ, HIGHEST_HZ = RIDDEN_HZ
RANDOM_STEP, MIX_A, MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def uniform(seed: Any, row: Any, turn: Any) -> Any:
    """Return a number in [0, 1) that follows from seed, row and turn alone, so that order and shards change nothing."""
    x = np.uint64(seed) + RANDOM_STEP * (np.uint64(row) + np.uint64(1))
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * MIX_A
        x = (x ^ (x >> np.uint64(27))) * MIX_B
        x = (x ^ (x >> np.uint64(31))) + RANDOM_STEP * np.uint64(turn)
    return (x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def _curve(x: Any, xs: Any, ys: Any) -> Any:
    if x < xs[0]:
        return ys[0]
    for k in range(len(xs) - 1):
        if x < xs[k + 1]:
            return ys[k] + (x - xs[k]) / (xs[k + 1] - xs[k]) * (ys[k + 1] - ys[k])
    return ys[len(xs) - 1]


@compiled
def _watt_var(s: Any, power_frac: Any) -> Any:
    if power_frac < 0:
        power_frac *= s.rated_frac / s.charge_frac
    return _curve(power_frac, s.watt_var_power_frac, s.watt_var_frac)


@compiled
def _mode(s: Any, low_pu: Any, high_pu: Any, hz: Any, ramp: Any) -> Any:
    mode = CONTINUOUS if LOW_HZ <= hz <= HIGH_HZ else MANDATORY
    if low_pu < LOW_PU:
        is_third = s.category == CATEGORY_III
        is_first = s.category == CATEGORY_I
        by_low = MOMENTARY if is_third else CEASED
        if low_pu >= (0.50 if is_third else 0.70 if is_first else 0.65):
            by_low = MANDATORY
        elif not is_third and low_pu >= (0.50 if is_first else 0.30):
            by_low = PERMISSIVE
        mode = max(mode, by_low)
    if high_pu > HIGHEST_RIDDEN_PU:
        mode = CEASED
    elif high_pu > HIGH_PU:
        mode = max(mode, MOMENTARY if s.category == CATEGORY_III else PERMISSIVE)
    if mode < MOMENTARY and not LOWEST_HZ <= hz <= HIGHEST_HZ:
        return UNBOUND
    return ENTERING if mode == CONTINUOUS and ramp <= 1.0 else mode


@compiled
def _must_trip(s: Any, m: Any, low_pu: Any, high_pu: Any, hz: Any, seconds: Any) -> Any:
    trips, is_watched = False, False
    for k in range(2):
        for group in range(4):
            if group == 0:
                edge, limit_s = s.over_voltage[k, 0], s.over_voltage[k, 1]
                is_outside = high_pu > edge
            elif group == 1:
                edge, limit_s = s.under_voltage[k, 0], s.under_voltage[k, 1]
                is_outside = low_pu < edge
            elif group == 2:
                edge, limit_s = s.over_frequency[k, 0], s.over_frequency[k, 1]
                is_outside = hz > edge
            else:
                edge, limit_s = s.under_frequency[k, 0], s.under_frequency[k, 1]
                is_outside = hz < edge
            at = 2 * group + k
            if is_outside:
                m.seen_s[at] = min(limit_s, m.seen_s[at] + seconds)
                is_watched = True
                trips = trips or m.seen_s[at] >= limit_s
            else:
                m.seen_s[at] = 0.0
    m.is_watched = is_watched
    return trips


@compiled
def _settle_status(
    s: Any, m: Any, row: Any, seed: Any, low_pu: Any, high_pu: Any, hz: Any, may: Any, seconds: Any
) -> Any:
    is_sound = (may and s.enter_pu[0] <= low_pu and high_pu <= s.enter_pu[1]
                and s.enter_hz[0] <= hz <= s.enter_hz[1])  # fmt: skip
    m.sound_s = min(m.wait_s, m.sound_s + seconds) if is_sound else 0.0
    was_tripped = m.status == TRIPPED
    status = m.status
    if was_tripped and is_sound and m.sound_s >= m.wait_s:
        status = ENTERING
    if status != TRIPPED:
        status = _mode(s, low_pu, high_pu, hz, m.ramp)
    # Most units at most times are outside nothing: then only those that have begun to count are looked at.
    is_outside = (high_pu > s.over_voltage[1, 0] or low_pu < s.under_voltage[1, 0]
                  or hz > s.over_frequency[1, 0] or hz < s.under_frequency[1, 0])  # fmt: skip
    trips = False
    if is_outside or m.is_watched:
        trips = _must_trip(s, m, low_pu, high_pu, hz, seconds)
    if trips or not may:
        status = TRIPPED
        if not was_tripped:
            m.trips += 1
            m.wait_s = s.enter_delay_s + s.enter_random_s * uniform(seed, row, m.trips)
    m.status = status


@compiled
def _rest(s: Any, m: Any, voltage_pu: Any) -> Any:
    m.power_frac = m.var_frac = m.ramp = m.momentary_s = m.ceased_s = m.active_current = 0.0
    m.limit = m.volt_watt_in = m.volt_watt_out = 1.0
    m.droop_in = m.droop_out = 0.0
    m.reference_in = m.reference_out = voltage_pu
    m.side = 0
    m.is_drooping = m.is_ceased = False
    if s.reactive_mode == CONSTANT_VAR:
        told = s.constant_var_frac
        if math.isnan(m.var_out):
            m.var_in = m.var_out = told
        m.var_out = s.var_now * told + s.var_before * m.var_in + s.var_kept * m.var_out
        m.var_in = told
    else:
        m.var_in = m.var_out = 0.0


@compiled
def _limit(s: Any, m: Any, limit_frac: Any, seconds: Any) -> Any:
    if math.isnan(limit_frac):
        return 1.0
    goal = limit_frac if limit_frac > 0 else limit_frac * s.charge_frac / s.rated_frac
    if s.limit_response_s == 0 or math.isnan(m.limit):
        return goal
    most = seconds / s.limit_response_s
    return min(max(goal, m.limit - most), m.limit + most)


@compiled
def _droop(s: Any, m: Any, hz: Any, plain: Any, available: Any, was_entering: Any) -> Any:
    over_hz = hz - (NOMINAL_HZ + s.droop_over_hz)
    under_hz = (NOMINAL_HZ - s.droop_under_hz) - hz
    side = 1 if over_hz > 0 else -1 if under_hz > 0 else 0
    if was_entering or math.isnan(m.power_frac):
        m.before_frac = plain
    elif side == 0 or side != m.side:
        m.before_frac = m.power_frac
    m.side = side
    told = plain
    if over_hz > 0:
        told = max(m.before_frac - over_hz / (NOMINAL_HZ * s.droop_over_frac), s.least_frac)
    elif under_hz > 0:
        told = min(m.before_frac + under_hz / (NOMINAL_HZ * s.droop_under_frac), available)
    if math.isnan(m.droop_out):
        m.droop_in = m.droop_out = told
    if side != 0 or m.is_drooping:
        m.droop_out = s.droop_now * told + s.droop_before * m.droop_in + s.droop_kept * m.droop_out
        m.is_drooping = side != 0 or abs(m.droop_out - told) >= SETTLED_FRAC
    else:
        m.droop_out = told
    m.droop_in = told
    return m.droop_out


@compiled
def _active(s: Any, m: Any, voltage_pu: Any, hz: Any, wanted: Any, available: Any, limit: Any, seconds: Any) -> Any:
    m.limit = _limit(s, m, limit, seconds)
    most = 1.0
    if s.is_volt_watt_on != 0:
        low = s.volt_watt_frac[1]
        low = low if low > 0 else low * s.charge_frac / s.rated_frac
        part = (voltage_pu - s.volt_watt_pu[0]) / (s.volt_watt_pu[1] - s.volt_watt_pu[0])
        told = s.volt_watt_frac[0] + min(max(part, 0.0), 1.0) * (low - s.volt_watt_frac[0])
        if math.isnan(m.volt_watt_out):
            m.volt_watt_in = m.volt_watt_out = told
        m.volt_watt_out = (
            s.volt_watt_now * told + s.volt_watt_before * m.volt_watt_in + s.volt_watt_kept * m.volt_watt_out
        )
        m.volt_watt_in = told
        most = m.volt_watt_out
    was_entering = m.ramp <= 1.0
    if was_entering or m.ramp < RAMP_END:
        m.ramp = min(m.ramp + seconds / s.enter_ramp_s, RAMP_END) if s.enter_ramp_s > 0 else RAMP_END
    power = min(max(min(wanted, m.limit, most, 1.0), -m.ramp), m.ramp)
    if s.is_droop_on != 0:
        drooped = _droop(s, m, hz, power, available, was_entering)
        if m.is_drooping:
            power = min(max(min(available, most, drooped, 1.0), -m.ramp), m.ramp)
    return max(power, -s.charge_frac / s.rated_frac)


@compiled
def _reactive(s: Any, m: Any, voltage_pu: Any, power_frac: Any) -> Any:
    reference_pu = s.reference_pu
    if s.follows_reference != 0:
        if math.isnan(m.reference_out):
            m.reference_in = m.reference_out = voltage_pu
        m.reference_out = (
            s.reference_now * voltage_pu + s.reference_before * m.reference_in + s.reference_kept * m.reference_out
        )
        m.reference_in = voltage_pu
        reference_pu = min(max(m.reference_out, s.reference_limits_pu[0]), s.reference_limits_pu[1])
    if s.reactive_mode == VOLT_VAR:
        told = _curve(voltage_pu - (reference_pu - 1.0), s.volt_var_pu, s.volt_var_frac)
    elif s.reactive_mode == WATT_VAR:
        told = _watt_var(s, power_frac)
    elif s.reactive_mode == CONSTANT_VAR:
        told = s.constant_var_frac
    else:
        told = power_frac * s.rated_frac * s.tangent
    if math.isnan(m.var_out):
        m.var_in = m.var_out = told
    m.var_out = s.var_now * told + s.var_before * m.var_in + s.var_kept * m.var_out
    m.var_in = told
    return m.var_out


@compiled
def _capable(s: Any, power_frac: Any) -> Any:
    size = abs(power_frac)
    if size < s.none_below_frac:
        return 0.0
    return size / s.full_from_frac if size < s.full_from_frac else 1.0


@compiled
def _watt_var_edge(s: Any, is_charging: Any, most: Any) -> Any:
    """Return where the watt-var curve leaves the circle, in closed form on the straight line that crosses it."""
    sign = -1.0 if is_charging else 1.0
    scale = s.charge_frac if is_charging else s.rated_frac
    x0, y0 = 0.0, _curve(0.0, s.watt_var_power_frac, s.watt_var_frac)
    for k in range(4):
        at = 2 - k if is_charging else 3 + k
        if k < 3:
            x1, y1 = sign * s.watt_var_power_frac[at] * scale, s.watt_var_frac[at]
        else:
            x1, y1 = 2.0 * most + x0, y0  # level beyond the last point
        if x1 * x1 + y1 * y1 > most * most:
            dx, dy = x1 - x0, y1 - y0
            a, b, c = dx * dx + dy * dy, x0 * dx + y0 * dy, x0 * x0 + y0 * y0 - most * most
            part = (-b + math.sqrt(max(b * b - a * c, 0.0))) / a
            return sign * (x0 + part * dx) / s.rated_frac
        x0, y0 = x1, y1
    return sign * x0 / s.rated_frac


@compiled
def _within_nameplate(s: Any, power_frac: Any, var: Any) -> Any:
    power = power_frac * s.rated_frac
    most = 1.0 if power >= 0 else s.charge_va_frac
    most2 = most * most
    if s.reactive_mode == VOLT_VAR or s.reactive_mode == CONSTANT_VAR:
        part = _capable(s, power_frac)
        var = min(max(var, -s.absorb_frac * part), s.inject_frac * part)
        if power * power + var * var > most2:
            held = var
            if s.is_watt_first != 0:
                held = min(max(var, -s.required_frac[0]), s.required_frac[1])
            power = math.copysign(min(abs(power), math.sqrt(max(most2 - held * held, 0.0))), power)
            left = max(math.sqrt(max(most2 - power * power, 0.0)), abs(held))
            var = min(max(var, -left), left)
        return power / s.rated_frac, var
    is_beyond = power * power + var * var > most2
    if s.reactive_mode == WATT_VAR:
        part = _capable(s, power_frac)
        if is_beyond:
            edge = _watt_var_edge(s, power < 0, most)
            power = edge * s.rated_frac if abs(edge) < abs(power_frac) else power
            var = math.copysign(min(abs(var), abs(_watt_var(s, edge))), var)
        return power / s.rated_frac, min(max(var, -s.absorb_frac * part), s.inject_frac * part)
    wide = s.inject_frac if var > 0 else s.absorb_frac
    scale = min(most / math.hypot(power, var), 1.0) if is_beyond else 1.0
    if abs(var) * scale > wide:
        power = math.copysign(min(abs(power), math.sqrt(max(most2 - wide * wide, 0.0))), power)
    else:
        power *= scale
    part = _capable(s, power / s.rated_frac)
    return power / s.rated_frac, min(max(var * scale, -s.absorb_frac * part), s.inject_frac * part)


@compiled
def _deliver(s: Any, m: Any, voltage_pu: Any, power_frac: Any, var: Any, seconds: Any) -> Any:
    m.momentary_s = m.momentary_s + seconds if m.status == MOMENTARY else 0.0
    m.ceased_s = m.ceased_s + seconds if m.status == CEASED else 0.0
    if m.status == MOMENTARY:
        m.is_ceased = m.is_ceased or m.momentary_s >= s.momentary_s
    elif m.status == CEASED:
        m.is_ceased = m.is_ceased or m.ceased_s >= s.ceased_s
    else:
        m.is_ceased = False
    if m.is_ceased:
        m.power_frac = m.var_frac = m.active_current = 0.0
        return
    volts, most = max(voltage_pu, LEAST_PU), s.most_current_frac
    active, reactive = power_frac * s.rated_frac / volts, var / volts
    if active * active + reactive * reactive > most * most:
        reactive = min(max(reactive, -most), most)
        active = math.copysign(math.sqrt(max(most * most - reactive * reactive, 0.0)), active)
    if s.restore_s > 0 and not math.isnan(m.active_current):
        rise = seconds / s.restore_s
        active = min(active, m.active_current + rise) if active >= 0 else max(active, m.active_current - rise)
    m.active_current = active
    m.power_frac, m.var_frac = active * volts / s.rated_frac, reactive * volts


@compiled
def first_bad(voltage: Any, low: Any, high: Any, hz: Any, wanted: Any, available: Any, limit: Any) -> Any:
    """Return the first row whose inputs are no numbers that can be meant, or -1."""
    for i in range(len(voltage)):
        is_sound = (
            0.0 <= voltage[i] < 10.0 and 0.0 <= low[i] <= high[i] < 10.0 and 0.0 < hz[i] < 1000.0
            and abs(wanted[i]) < 1e6 and abs(available[i]) < 1e6
            and (math.isnan(limit[i]) or abs(limit[i]) <= 1.0)
        )  # fmt: skip
        if not is_sound:
            return i
    return -1


@compiled
def step_all(
    kinds: Any, kind_of: Any, memory: Any, seed: Any, first_row: Any, seconds: Any, voltage: Any, low: Any, high: Any,
    hz: Any, wanted: Any, available: Any, limit: Any, may: Any,
) -> Any:  # fmt: skip
    """Move every unit on by one step."""
    for i in range(len(memory)):
        s, m = kinds[kind_of[i]], memory[i]
        _settle_status(s, m, first_row + i, seed, low[i], high[i], hz[i], may[i], seconds)
        if m.status == TRIPPED:
            _rest(s, m, voltage[i])
            continue
        power = _active(s, m, voltage[i], hz[i], wanted[i], available[i], limit[i], seconds)
        var = _reactive(s, m, voltage[i], power)
        power, var = _within_nameplate(s, power, var)
        _deliver(s, m, voltage[i], power, var, seconds)
