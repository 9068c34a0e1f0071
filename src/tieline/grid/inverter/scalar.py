"""One inverter under IEEE 1547-2018, in plain Python: the specification that `columns` is held to.

A step takes what the unit sees at its reference point and gives what flows during it. First the operating status is
settled (trip, ride-through, enter service), then active power, then reactive power under it, then both within the
apparent power and the current. Reading order is that of the priorities (4.7): service permit, trip, ride-through,
volt-watt and droop, a limit on active power, reactive power.

Times count whole steps: a condition that held in this step held for all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tieline.grid.inverter.lag import EXACT, Rule, Weights
from tieline.grid.inverter.ridethrough import (
    Status,
    frequency_status,
    high_voltage_status,
    low_voltage_status,
)
from tieline.grid.inverter.settings import NOMINAL_HZ, Settings
from tieline.resource.mode import Mode

RAMP_END = 1.1
"""Where the ramp of enter service ends; beyond 1 the unit is back in continuous operation."""
SETTLED_FRAC = 1e-3
"""Droop lets go once its lag is so near what the unit would do without it."""
LEAST_PU = 1e-4


@dataclass(frozen=True, slots=True)
class Seen:
    """What a unit sees: mean, lowest and highest applicable voltage (4.3), frequency, the power that it would give
    without any function (storage charging: below 0), what it could give, a limit told to it (NaN: none), and whether
    it may be in service. Powers as shares of the rating."""

    voltage_pu: float
    low_pu: float
    high_pu: float
    frequency_hz: float
    wanted_frac: float
    available_frac: float
    limit_frac: float = math.nan
    is_permitted: bool = True


def clip(value: float, low: float, high: float) -> float:
    """Return a value within bounds."""
    return min(max(value, low), high)


def curve(x: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> float:
    """Return a curve of straight lines, level beyond its ends."""
    if x < xs[0]:
        return ys[0]
    for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:], strict=False):
        if x < x1:
            return y0 + (x - x0) / (x1 - x0) * (y1 - y0)
    return ys[-1]


class Lag:
    """A first-order lag that starts at rest at its first input."""

    def __init__(self, rule: Rule) -> None:
        """Take the rule that makes weights of a time and a step."""
        self.rule, self.before, self.out = rule, math.nan, math.nan

    def follow(self, value: float, response_s: float, seconds: float) -> float:
        """Return the output under an input, 90 % of which is done after the response time."""
        return self.move(value, self.rule.of_response(response_s, seconds))

    def move(self, value: float, weights: Weights) -> float:
        """Return the output under an input."""
        if math.isnan(self.out):
            self.before = self.out = value
        now, before, kept = weights
        self.out = now * value + before * self.before + kept * self.out
        self.before = value
        return self.out

    def jump(self, value: float) -> None:
        """Come to rest at a value at once."""
        self.before = self.out = value


class Inverter:
    """One unit: its settings, and all that it remembers from step to step."""

    def __init__(self, settings: Settings, *, rule: Rule = EXACT, random_delay_s: Callable[[], float] = float) -> None:
        """Start in service, at rest. `random_delay_s` draws what is waited after each trip beside the fixed delay."""
        self.settings, self.draw = settings, random_delay_s
        self.status = Status.CONTINUOUS
        self.seen_s = [0.0] * 8
        self.sound_s = self.wait_s = settings.enter_delay_s
        self.trips = 0
        self.ramp = RAMP_END
        self.limit = math.nan
        self.volt_watt, self.droop, self.var, self.reference = Lag(rule), Lag(rule), Lag(rule), Lag(rule)
        self.side, self.is_drooping = 0, False
        self.before_frac = math.nan
        self.momentary_s = self.ceased_s = 0.0
        self.is_ceased = False
        self.active_current = math.nan
        self.power_frac = math.nan
        self.var_frac = 0.0

    def step(self, seen: Seen, seconds: float) -> None:
        """Move on by one step; `power_frac` (of the rating) and `var_frac` (of the nameplate) are what flows."""
        self._settle_status(seen, seconds)
        if self.status is Status.TRIPPED:
            self._rest(seen, seconds)
            return
        power_frac = self._active(seen, seconds)
        var_frac = self._reactive(seen, power_frac, seconds)
        power_frac, var_frac = within_nameplate(self.settings, power_frac, var_frac)
        self._deliver(seen, power_frac, var_frac, seconds)

    # --- status: 4.10, 6.4, 6.5 -----------------------------------------------------------------------------------

    def _settle_status(self, seen: Seen, seconds: float) -> None:
        s = self.settings
        is_sound = (
            seen.is_permitted
            and s.enter_pu[0] <= seen.low_pu
            and seen.high_pu <= s.enter_pu[1]
            and s.enter_hz[0] <= seen.frequency_hz <= s.enter_hz[1]
        )
        # 4.10.3: the grid is sound for the whole delay, without a break.
        self.sound_s = min(self.wait_s, self.sound_s + seconds) if is_sound else 0.0
        was_tripped = self.status is Status.TRIPPED
        if was_tripped and is_sound and self.sound_s >= self.wait_s:
            self.status = Status.ENTERING
        if self.status is not Status.TRIPPED:
            self.status = self._mode(seen)
        if self._must_trip(seen, seconds) or not seen.is_permitted:
            self.status = Status.TRIPPED
            if not was_tripped:
                self.trips += 1
                self.wait_s = s.enter_delay_s + self.draw()

    def _mode(self, seen: Seen) -> Status:
        category = self.settings.category
        by_frequency = frequency_status(seen.frequency_hz)
        by_voltage = max(low_voltage_status(seen.low_pu, category), high_voltage_status(seen.high_pu, category))
        # To cease is owed at any frequency; all else is beside the point where none is ridden through.
        if by_frequency is Status.UNBOUND and by_voltage < Status.MOMENTARY:
            return Status.UNBOUND
        mode = by_voltage if by_voltage >= Status.MOMENTARY else max(by_voltage, by_frequency)
        return Status.ENTERING if mode is Status.CONTINUOUS and self.ramp <= 1.0 else mode

    def _must_trip(self, seen: Seen, seconds: float) -> bool:
        """6.4.1 and 6.5.1: whether one of eight conditions has held for its clearing time."""
        s = self.settings
        outside = (
            *((seen.high_pu > pu, limit_s) for pu, limit_s in s.over_voltage),
            *((seen.low_pu < pu, limit_s) for pu, limit_s in s.under_voltage),
            *((seen.frequency_hz > hz, limit_s) for hz, limit_s in s.over_frequency),
            *((seen.frequency_hz < hz, limit_s) for hz, limit_s in s.under_frequency),
        )
        trips = False
        for k, (is_outside, limit_s) in enumerate(outside):
            self.seen_s[k] = min(limit_s, self.seen_s[k] + seconds) if is_outside else 0.0
            trips = trips or (is_outside and self.seen_s[k] >= limit_s)
        return trips

    def _rest(self, seen: Seen, seconds: float) -> None:
        """Give nothing, and forget what must not outlive a trip."""
        s = self.settings
        self.power_frac = self.var_frac = self.ramp = self.momentary_s = self.ceased_s = self.active_current = 0.0
        self.limit = 1.0
        self.volt_watt.jump(1.0)
        self.droop.jump(0.0)
        self.reference.jump(seen.voltage_pu)
        self.side, self.is_drooping, self.is_ceased = 0, False, False
        if s.reactive_mode is Mode.CONSTANT_VAR:
            # What is told while the unit is out of service is in force when it comes back.
            self.var.follow(s.constant_var_frac, s.reactive_response_s, seconds)
        else:
            self.var.jump(0.0)

    # --- active power: 4.6.2, 4.10.3, 5.4.2, 6.5.2.7 ---------------------------------------------------------------

    def _active(self, seen: Seen, seconds: float) -> float:
        s = self.settings
        self.limit = self._limit(seen.limit_frac, seconds)
        most = 1.0
        if s.is_volt_watt_on:
            told = curve(seen.voltage_pu, s.volt_watt_pu, self._volt_watt_fracs())
            most = self.volt_watt.follow(told, s.volt_watt_response_s, seconds)
        was_entering = self.ramp <= 1.0
        self.ramp = min(self.ramp + seconds / s.enter_ramp_s, RAMP_END) if s.enter_ramp_s > 0 else RAMP_END
        plain = clip(min(seen.wanted_frac, self.limit, most, 1.0), -self.ramp, self.ramp)
        drooped = self._droop(seen, plain, was_entering, seconds)
        if self.is_drooping:
            plain = clip(min(seen.available_frac, most, drooped, 1.0), -self.ramp, self.ramp)
        return max(plain, -s.charge_frac / s.rated_frac)

    def _limit(self, limit_frac: float, seconds: float) -> float:
        s = self.settings
        if math.isnan(limit_frac):
            return 1.0
        goal = limit_frac if limit_frac > 0 else limit_frac * s.charge_frac / s.rated_frac
        if s.limit_response_s == 0 or math.isnan(self.limit):
            return goal
        most = seconds / s.limit_response_s
        return clip(goal, self.limit - most, self.limit + most)

    def _volt_watt_fracs(self) -> tuple[float, float]:
        s = self.settings
        low = s.volt_watt_frac[1]
        return s.volt_watt_frac[0], low if low > 0 else low * s.charge_frac / s.rated_frac

    def _droop(self, seen: Seen, plain: float, was_entering: bool, seconds: float) -> float:
        """Return what droop asks (6.5.2.7.2): power before the disturbance, moved in proportion beyond the deadband.

        A unit on its way back has no such power: its ramp stands for it. A frequency that jumps from one side of the
        deadband to the other begins a disturbance of its own.
        """
        s = self.settings
        if not s.is_droop_on:
            return plain
        over_hz = seen.frequency_hz - (NOMINAL_HZ + s.droop_over_hz)
        under_hz = (NOMINAL_HZ - s.droop_under_hz) - seen.frequency_hz
        side = 1 if over_hz > 0 else -1 if under_hz > 0 else 0
        if was_entering or math.isnan(self.power_frac):
            self.before_frac = plain
        elif side == 0 or side != self.side:
            self.before_frac = self.power_frac
        self.side = side
        told = plain
        if over_hz > 0:
            told = max(self.before_frac - over_hz / (NOMINAL_HZ * s.droop_over_frac), s.least_frac)
        elif under_hz > 0:
            told = min(self.before_frac + under_hz / (NOMINAL_HZ * s.droop_under_frac), seen.available_frac)
        response_s = s.droop_response_s if side or self.is_drooping else 0.0
        drooped = self.droop.follow(told, response_s, seconds)
        self.is_drooping = side != 0 or (self.is_drooping and abs(drooped - told) >= SETTLED_FRAC)
        return drooped

    # --- reactive power: 5.3 ---------------------------------------------------------------------------------------

    def _reactive(self, seen: Seen, power_frac: float, seconds: float) -> float:
        s = self.settings
        reference_pu = s.reference_pu
        if s.follows_reference:
            mean = self.reference.move(seen.voltage_pu, self.reference.rule.weights(s.reference_s, seconds))
            reference_pu = clip(mean, *s.reference_limits_pu)
        match s.reactive_mode:
            case Mode.VOLT_VAR:
                told = curve(seen.voltage_pu - (reference_pu - 1.0), s.volt_var_pu, s.volt_var_frac)
            case Mode.WATT_VAR:
                told = watt_var(s, power_frac)
            case Mode.CONSTANT_VAR:
                told = s.constant_var_frac
            case _:
                told = power_frac * s.rated_frac * s.tangent
        return self.var.follow(told, s.reactive_response_s, seconds)

    # --- what flows: 6.4.2 -----------------------------------------------------------------------------------------

    def _deliver(self, seen: Seen, power_frac: float, var_frac: float, seconds: float) -> None:
        """Cease, or turn power into current within its limit, which comes back no faster than `restore_s` allows."""
        s = self.settings
        self.momentary_s = self.momentary_s + seconds if self.status is Status.MOMENTARY else 0.0
        self.ceased_s = self.ceased_s + seconds if self.status is Status.CEASED else 0.0
        match self.status:
            case Status.MOMENTARY:
                self.is_ceased = self.is_ceased or self.momentary_s >= s.momentary_s
            case Status.CEASED:
                self.is_ceased = self.is_ceased or self.ceased_s >= s.ceased_s
            case _:
                self.is_ceased = False
        if self.is_ceased:
            self.power_frac = self.var_frac = self.active_current = 0.0
            return
        volts = max(seen.voltage_pu, LEAST_PU)
        active, reactive = within_current(power_frac * s.rated_frac / volts, var_frac / volts, s.most_current_frac)
        if s.restore_s > 0 and not math.isnan(self.active_current):
            most = seconds / s.restore_s
            active = min(active, self.active_current + most) if active >= 0 else max(active, self.active_current - most)
        self.active_current = active
        self.power_frac, self.var_frac = active * volts / s.rated_frac, reactive * volts


def watt_var(s: Settings, power_frac: float) -> float:
    """Return reactive power by active power (5.3.4, Table 9); what charges counts as a share of the charging rating."""
    if power_frac < 0:
        power_frac *= s.rated_frac / s.charge_frac
    return curve(power_frac, s.watt_var_power_frac, s.watt_var_frac)


def capability(s: Settings, power_frac: float) -> tuple[float, float]:
    """Return the most that can be absorbed and injected at an active power (5.2)."""
    size = abs(power_frac)
    part = 1.0
    if size < s.none_below_frac:
        part = 0.0
    elif size < s.full_from_frac:
        part = size / s.full_from_frac
    return s.absorb_frac * part, s.inject_frac * part


def within_nameplate(s: Settings, power_frac: float, var_frac: float) -> tuple[float, float]:
    """Return active and reactive power within capability and apparent power (5.2, 5.3.1).

    Volt-var and constant var: reactive power first, and beyond Table 7 active power where that is set so. Constant
    power factor: both give way together. Watt-var: down its own curve.
    """
    power = power_frac * s.rated_frac
    most = 1.0 if power >= 0 else s.charge_va_frac
    absorb, inject = capability(s, power_frac)
    is_beyond = power**2 + var_frac**2 > most**2
    match s.reactive_mode:
        case Mode.VOLT_VAR | Mode.CONSTANT_VAR:
            var_frac = clip(var_frac, -absorb, inject)
            if power**2 + var_frac**2 > most**2:
                held = clip(var_frac, -s.required_frac[0], s.required_frac[1]) if s.is_watt_first else var_frac
                power = math.copysign(min(abs(power), math.sqrt(max(most**2 - held**2, 0.0))), power)
                left = math.sqrt(max(most**2 - power**2, 0.0))
                var_frac = clip(var_frac, -max(left, abs(held)), max(left, abs(held)))
        case Mode.WATT_VAR:
            if is_beyond:
                edge = _watt_var_edge(s, power_frac, most)
                power = edge * s.rated_frac if abs(edge) < abs(power_frac) else power
                var_frac = math.copysign(min(abs(var_frac), abs(watt_var(s, edge))), var_frac)
            var_frac = clip(var_frac, -absorb, inject)
        case _:
            wide = s.inject_frac if var_frac > 0 else s.absorb_frac
            scale = min(most / math.hypot(power, var_frac), 1.0) if is_beyond else 1.0
            if abs(var_frac) * scale > wide:
                power = math.copysign(min(abs(power), math.sqrt(max(most**2 - wide**2, 0.0))), power)
            else:
                power *= scale
            absorb, inject = capability(s, power / s.rated_frac)
            var_frac = clip(var_frac * scale, -absorb, inject)
    return power / s.rated_frac, var_frac


def _watt_var_edge(s: Settings, power_frac: float, most: float) -> float:
    """Return where the watt-var curve leaves the circle of apparent power, by halving."""
    inside, outside = 0.0, math.copysign(max(abs(power_frac), most / s.rated_frac), power_frac)
    for _ in range(80):
        middle = 0.5 * (inside + outside)
        if (middle * s.rated_frac) ** 2 + watt_var(s, middle) ** 2 > most**2:
            outside = middle
        else:
            inside = middle
    return inside


def within_current(active: float, reactive: float, most: float) -> tuple[float, float]:
    """Return active and reactive current within a limit, reactive current first."""
    if active**2 + reactive**2 <= most**2:
        return active, reactive
    reactive = clip(reactive, -most, most)
    return math.copysign(math.sqrt(max(most**2 - reactive**2, 0.0)), active), reactive
