"""Settings of IEEE 1547-2018 functions: the defaults of each category, and refusals of what cannot be meant.

Active power is a share of the active power rating, reactive power one of the nameplate apparent power (positive
injects), voltage in pu, so that one row of settings serves every unit of its kind, whatever its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.inverter.ridethrough import (
    OVER_FREQUENCY,
    OVER_VOLTAGE,
    UNDER_FREQUENCY,
    UNDER_VOLTAGE,
    Category,
    Step,
)
from tieline.resource.mode import Mode, ModeGroup, group_of

NOMINAL_HZ = 60.0
Four = tuple[float, float, float, float]
Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """All functions of one kind of unit. What stands here is the default of categories B and III; see `of_category`."""

    rated_frac: float = 1.0
    """Active power rating as a share of the nameplate apparent power, and likewise those of charging (0: it can't)."""
    charge_frac: float = 0.0
    charge_va_frac: float = 1.0
    least_frac: float = 0.0
    """The least active power that over-frequency droop goes down to (6.5.2.7.2, `p_min`); storage: -1."""
    inject_frac: float = 0.44
    absorb_frac: float = 0.44
    """5.2, Table 7: reactive capability; in full from `full_from_frac` of the rating, in proportion down to
    `none_below_frac`. Storage, which has it at rest too, gives 0 for both."""
    full_from_frac: float = 0.20
    none_below_frac: float = 0.05
    is_watt_first: bool = False
    required_frac: tuple[float, float] = (0.44, 0.44)
    """Whether active power outranks what goes beyond Table 7's reactive power (absorbed, injected); up to that,
    reactive power comes first (5.2)."""
    reactive_mode: Mode = Mode.CONSTANT_POWER_FACTOR
    power_factor: float = 1.0
    injects: bool = False
    constant_var_frac: float = 0.0
    volt_var_pu: Four = (0.92, 0.98, 1.02, 1.08)
    volt_var_frac: Four = (0.44, 0.0, 0.0, -0.44)
    """5.3.3, Table 8."""
    reference_pu: float = 1.0
    follows_reference: bool = False
    """5.3.3: whether the curve's middle follows the voltage's own slow mean, of so many seconds, within limits."""
    reference_s: float = 300.0
    reference_limits_pu: tuple[float, float] = (0.95, 1.05)
    watt_var_power_frac: Six = (-1.0, -0.5, -0.2, 0.2, 0.5, 1.0)
    watt_var_frac: Six = (0.44, 0.0, 0.0, 0.0, 0.0, -0.44)
    """5.3.4, Table 9."""
    reactive_response_s: float = 5.0
    """Open-loop response time: until 90 % of a step is done. Table 8 for volt-var; the others have up to 10 s."""
    is_volt_watt_on: bool = False
    volt_watt_pu: tuple[float, float] = (1.06, 1.10)
    volt_watt_frac: tuple[float, float] = (1.0, 0.0)
    """5.4.2, Table 10. A P2 below 0 is a share of the charging rating."""
    volt_watt_response_s: float = 10.0
    is_droop_on: bool = True
    droop_over_hz: float = 0.036
    droop_under_hz: float = 0.036
    droop_over_frac: float = 0.05
    droop_under_frac: float = 0.05
    droop_response_s: float = 5.0
    """6.5.2.7.2, Table 24: deadbands, changes of frequency (pu) that change the whole rating, open-loop response."""
    limit_response_s: float = 15.0
    """4.6.2: from nothing to all of the rating, as a limit on active power is obeyed; the standard has 30 s at most."""
    category: Category = Category.III
    over_voltage: tuple[Step, Step] = OVER_VOLTAGE[Category.III]
    under_voltage: tuple[Step, Step] = UNDER_VOLTAGE[Category.III]
    over_frequency: tuple[Step, Step] = OVER_FREQUENCY
    under_frequency: tuple[Step, Step] = UNDER_FREQUENCY
    momentary_s: float = 0.083
    ceased_s: float = 0.16
    """6.4.2.1, Tables 14 to 16: maximum response times until nothing flows."""
    restore_s: float = 0.4
    """6.4.2.7: from nothing to rated active current once the voltage is back; 80 % within 0.4 s are asked."""
    most_current_frac: float = 1.2
    enter_pu: tuple[float, float] = (0.917, 1.05)
    enter_hz: tuple[float, float] = (59.5, 60.1)
    enter_delay_s: float = 300.0
    enter_random_s: float = 0.0
    enter_ramp_s: float = 300.0
    """4.10.2, Table 4, and 4.10.3: units below 500 kVA may wait a random time instead of ramping."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises:
            ConfigError: Names the field, its value and what to give.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(np.asarray(value, np.float64)).all():
                raise ConfigError(f"{field.name} is {value}: give finite numbers")
        if group_of(self.reactive_mode) is not ModeGroup.REACTIVE:
            raise ConfigError(f"reactive_mode is {self.reactive_mode.name.lower()}: give a reactive power mode")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give more than 0")
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}: give {low} to {high}")
        for name in _RISING:
            value = getattr(self, name)
            # Points of a curve may lie on each other, as category A's in the middle do; the two of a range may not.
            if any(b < a or (b == a and len(value) == 2) for a, b in pairwise(value)):
                raise ConfigError(f"{name} is {value}: give numbers that rise")
        self._check_curves()
        self._check_trips()

    def _check_curves(self) -> None:
        for name in ("volt_var_frac", "watt_var_frac", "volt_watt_frac"):
            value = getattr(self, name)
            if any(b > a for a, b in pairwise(value)) or max(abs(x) for x in value) > 1:
                raise ConfigError(f"{name} is {value}: give shares of -1 to 1 that do not rise")
        if self.watt_var_power_frac[2] > 0 or self.watt_var_power_frac[3] < 0:
            raise ConfigError(f"watt_var_power_frac is {self.watt_var_power_frac}: give three up to 0, three from 0 on")

    def _check_trips(self) -> None:
        for name, sign in (("over_voltage", 1), ("under_voltage", -1), ("over_frequency", 1), ("under_frequency", -1)):
            (outer, outer_s), (inner, inner_s) = getattr(self, name)
            if sign * outer < sign * inner or outer_s < 0 or inner_s < outer_s:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}: give the outer threshold and its shorter clearing time first"
                )

    @classmethod
    def of_category(cls, *, is_b: bool, abnormal: Category) -> Settings:
        """Return the default settings of a normal category (A, or B) and an abnormal one (Tables 7 to 13)."""
        over, under = OVER_VOLTAGE[abnormal], UNDER_VOLTAGE[abnormal]
        if is_b:
            return cls(category=abnormal, over_voltage=over, under_voltage=under)
        return cls(
            category=abnormal,
            over_voltage=over,
            under_voltage=under,
            absorb_frac=0.25,
            required_frac=(0.25, 0.44),
            volt_var_pu=(0.90, 1.0, 1.0, 1.10),
            volt_var_frac=(0.25, 0.0, 0.0, -0.25),
            watt_var_frac=(0.44, 0.0, 0.0, 0.0, 0.0, -0.25),
            reactive_response_s=10.0,
        )

    @property
    def tangent(self) -> float:
        """Return reactive by active power under constant power factor (5.3.2), above 0 where it injects."""
        size = math.sqrt(1.0 - self.power_factor**2) / self.power_factor
        return size if self.injects else -size


_POSITIVE = ("rated_frac", "charge_va_frac", "droop_over_frac", "droop_under_frac", "reference_s",
             "most_current_frac")  # fmt: skip
_RANGES: dict[str, tuple[float, float]] = {
    "rated_frac": (0.0, 1.0), "charge_frac": (0.0, 1.0), "charge_va_frac": (0.0, 1.0), "least_frac": (-1.0, 1.0),
    "inject_frac": (0.0, 1.0), "absorb_frac": (0.0, 1.0), "none_below_frac": (0.0, 1.0), "full_from_frac": (0.0, 1.0),
    "power_factor": (0.01, 1.0), "constant_var_frac": (-1.0, 1.0), "reference_pu": (0.5, 1.5),
    "droop_over_hz": (0.0, 5.0), "droop_under_hz": (0.0, 5.0),
    **dict.fromkeys(
        ("reactive_response_s", "volt_watt_response_s", "droop_response_s", "limit_response_s", "momentary_s",
         "ceased_s", "restore_s", "enter_delay_s", "enter_random_s", "enter_ramp_s"), (0.0, 1e5)),
}  # fmt: skip
_RISING = ("volt_var_pu", "watt_var_power_frac", "volt_watt_pu", "reference_limits_pu", "enter_pu", "enter_hz")
LAGS = ("volt_watt", "droop", "var", "reference")


def row_dtype() -> np.dtype[np.void]:
    """Return the record that holds settings as numbers under their own names, and the weights of lags."""
    one = Settings()
    shapes = {field.name: np.shape(getattr(one, field.name)) for field in fields(one)}
    weights = [f"{lag}_{part}" for lag in LAGS for part in ("now", "before", "kept")]
    return np.dtype([(name, np.float64, shape) for name, shape in shapes.items()]
                    + [(name, np.float64) for name in ("tangent", *weights)])  # fmt: skip


def rows_of(kinds: list[Settings]) -> NDArray[np.void]:
    """Return a record of each of some settings."""
    rows = np.zeros(len(kinds), row_dtype())
    for row, kind in zip(rows, kinds, strict=True):
        for field in fields(kind):
            row[field.name] = getattr(kind, field.name)
        row["tangent"] = kind.tangent
    return rows
