"""What IEEE 1547-2018 has an inverter do by itself: volt-var, volt-watt, frequency droop, trip and enter service.

All in columns of shape (n,); the settings are the defaults of the standard for category B (reactive power, 5.2) and
III (ride-through, 4.3), as `tieline.grid.inverter` has them. The standard delivers an inverter with volt-var and
volt-watt switched off (5.3.1, 5.4.1); here both are on, as the utilities that need them have it. Open-loop response
times (5 s in Tables 8 and 24, 10 s in 10) are taken as done within a step; trip times are counted to the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.grid.inverter.settings import NOMINAL_HZ, Settings
from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
DEFAULT = Settings()
VOLT_VAR_PU, VOLT_VAR_FRAC = DEFAULT.volt_var_pu, DEFAULT.volt_var_frac
"""5.3.3, Table 8, category B: reactive power (positive injects) as a share of the nameplate apparent power."""
VOLT_WATT_PU = DEFAULT.volt_watt_pu
"""5.4.2, Table 10, categories A and B alike: from the rating at V1 down to P2 at V2."""
MOST_LEAST_FRAC = 0.2
"""5.4.2, Table 10: P2 is the lesser of this share of the rating and the least power that the unit can run at; P'2 of
what can also absorb is 0."""
DROOP_DEADBAND_HZ, DROOP_FRAC = DEFAULT.droop_over_hz, DEFAULT.droop_over_frac
"""6.5.2.7.2, Table 24, all categories: deadband, and the change of frequency (pu) that changes the whole rating."""
OVER_VOLTAGE, UNDER_VOLTAGE = DEFAULT.over_voltage, DEFAULT.under_voltage
"""6.4.1, Table 13, category III: threshold (pu) and clearing time (s) of OV2, OV1 and of UV2, UV1."""
OVER_FREQUENCY, UNDER_FREQUENCY = DEFAULT.over_frequency, DEFAULT.under_frequency
"""6.5.1, Table 18, all categories: threshold (Hz) and clearing time (s) of OF2, OF1 and of UF2, UF1."""
ENTER_PU, ENTER_HZ = DEFAULT.enter_pu, DEFAULT.enter_hz
ENTER_DELAY_S, ENTER_RAMP_S = DEFAULT.enter_delay_s, DEFAULT.enter_ramp_s
"""4.10.2, Table 4, and 4.10.3: what the grid must show, for how long, and how slowly the power then comes back."""


def volt_var_frac(voltage_pu: Floats) -> Floats:
    """Return reactive power as a share of the nameplate (5.3.3): straight lines between four points."""
    return np.interp(voltage_pu, VOLT_VAR_PU, VOLT_VAR_FRAC)


def volt_watt_frac(voltage_pu: Floats, least_frac: Floats | float = 0.0) -> Floats:
    """Return the most active power as a share of the rating (5.4.2): down to `least_frac` at the upper voltage."""
    low, high = VOLT_WATT_PU
    result: Floats = 1.0 - (1.0 - least_frac) * within((voltage_pu - low) / (high - low), 0.0, 1.0)
    return result


def volt_watt_least_frac(least_power_frac: Floats | float, absorbs: Mask) -> Floats:
    """Return P2 as a share of the rating (5.4.2, Table 10), of what runs at `least_power_frac` of it or not at all."""
    result: Floats = np.where(absorbs, 0.0, np.minimum(least_power_frac, MOST_LEAST_FRAC))
    return result


def droop_frac(frequency_hz: float) -> float:
    """Return the change of active power as a share of the rating (6.5.2.7, Table 23): below 0 at over-frequency."""
    over = max(frequency_hz - (NOMINAL_HZ + DROOP_DEADBAND_HZ), 0.0)
    under = max((NOMINAL_HZ - DROOP_DEADBAND_HZ) - frequency_hz, 0.0)
    return (under - over) / (NOMINAL_HZ * DROOP_FRAC)


@dataclass(eq=False)
class Inverters:
    """Columns of inverters: nameplate, what they have seen for how long, and whether they are in service."""

    rated_w: Floats
    nameplate_va: Floats
    least_frac: Floats
    var: Floats
    is_tripped: Mask
    seen_s: Floats
    """How long each of the eight trip conditions has held, shape (8, n)."""
    normal_s: Floats
    ramp_frac: Floats
    trips: int = 0

    @classmethod
    def of(cls, rated_w: Floats, absorbs: Mask, least_power_frac: Floats | float = 0.0) -> Inverters:
        """Return inverters in service. `least_power_frac`: the share of the rating below which one can't run.

        1.12 of the rating as nameplate gives category B its 44 % reactive power (5.2, Table 7) also at full power.
        """
        n = len(rated_w)
        return cls(
            rated_w, 1.12 * rated_w, volt_watt_least_frac(least_power_frac, absorbs), np.zeros(n),
            np.zeros(n, np.bool_), np.zeros((8, n)), np.full(n, ENTER_DELAY_S), np.ones(n),
        )  # fmt: skip

    def watch(self, voltage_pu: Floats, frequency_hz: float, seconds: float) -> None:
        """Trip what has seen too much for too long, and let back in what has seen a sound grid long enough."""
        off = [frequency_hz > hz for hz, _ in OVER_FREQUENCY] + [frequency_hz < hz for hz, _ in UNDER_FREQUENCY]
        low_pu, high_pu = voltage_pu.min(initial=1.0), voltage_pu.max(initial=1.0)
        is_off = any(high_pu > pu for pu, _ in OVER_VOLTAGE) or any(low_pu < pu for pu, _ in UNDER_VOLTAGE)
        if not (self.is_tripped.any() or self.seen_s.any() or any(off) or is_off):
            if self.ramp_frac.min(initial=1.0) < 1.0:
                self._ramp(seconds)
            return
        outside = [voltage_pu > pu for pu, _ in OVER_VOLTAGE] + [voltage_pu < pu for pu, _ in UNDER_VOLTAGE]
        times = [s for _, s in (*OVER_VOLTAGE, *UNDER_VOLTAGE, *OVER_FREQUENCY, *UNDER_FREQUENCY)]
        everywhere = [np.full(len(self.rated_w), flag) for flag in off]
        trips = np.zeros(len(self.rated_w), np.bool_)
        for k, (mask, limit_s) in enumerate(zip(outside + everywhere, times, strict=True)):
            self.seen_s[k] = np.where(mask, self.seen_s[k] + seconds, 0.0)
            trips |= self.seen_s[k] >= limit_s
        self.trips += int((trips & ~self.is_tripped).sum())
        self.is_tripped |= trips
        low, high = ENTER_PU
        sound = (voltage_pu >= low) & (voltage_pu <= high) & (ENTER_HZ[0] <= frequency_hz <= ENTER_HZ[1])
        self.normal_s = np.where(sound, self.normal_s + seconds, 0.0)
        enters = self.is_tripped & ~trips & (self.normal_s >= ENTER_DELAY_S)
        self.ramp_frac = np.where(self.is_tripped, 0.0, self.ramp_frac)
        self.is_tripped &= ~enters
        self._ramp(seconds)

    def _ramp(self, seconds: float) -> None:
        rising = np.minimum(self.ramp_frac + seconds / ENTER_RAMP_S, 1.0)
        self.ramp_frac = np.where(self.is_tripped, 0.0, rising)

    def bounds(self, voltage_pu: Floats) -> Floats:
        """Return the most active power that each may give or take now (W): volt-watt on what it gives, and its ramp."""
        result: Floats = self.rated_w * np.minimum(volt_watt_frac(voltage_pu, self.least_frac), self.ramp_frac)
        return result

    def react(self, power_w: Floats, voltage_pu: Floats) -> Floats:
        """Return the reactive power (var, positive injects) under an active power.

        Volt-var has priority over active power (5.3.1) up to 44 % of the nameplate; what the nameplate leaves beside
        the active power bounds it.
        """
        left_va = np.sqrt(np.maximum(self.nameplate_va**2 - power_w**2, 0.0))
        var = within(volt_var_frac(voltage_pu) * self.nameplate_va, -left_va, left_va)
        self.var = np.where(self.is_tripped, 0.0, var)
        return self.var
