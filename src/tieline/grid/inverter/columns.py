"""Inverters by the million under IEEE 1547-2018: settings shared by kind, a record of memory each, one compiled step.

>>> fleet = Inverters([Settings(is_volt_watt_on=True)], np.zeros(3, np.int32))
>>> fleet.step(1.0, voltage_pu=np.array([1.0, 1.08, 1.12]), frequency_hz=60.0, wanted_frac=np.ones(3))
>>> fleet.power_frac.round(2).tolist()
[1.0, 0.5, 0.0]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tieline.errors import ConfigError
from tieline.grid.inverter.kernel import MEMORY, first_bad, step_all
from tieline.grid.inverter.lag import EXACT, Rule
from tieline.grid.inverter.ridethrough import Status
from tieline.grid.inverter.scalar import RAMP_END
from tieline.grid.inverter.settings import LAGS, Settings, rows_of

Floats = NDArray[np.float64]
_INPUTS = ("voltage_pu", "low_pu", "high_pu", "frequency_hz", "wanted_frac", "available_frac", "limit_frac")


class Inverters:
    """Columns of inverters, shape (n,): in service and at rest at first."""

    def __init__(
        self, kinds: Sequence[Settings], kind_of: NDArray[np.int32], *, seed: int = 0, first_row: int = 0,
        rule: Rule = EXACT,
    ) -> None:  # fmt: skip
        """Take settings by kind and the kind of each unit. From seed and row follow the random delays of enter service;
        a shard of a larger fleet says at which row it begins, and does what the whole would.

        Raises:
            ConfigError: A unit's kind is none of those given.
        """
        at = np.flatnonzero((kind_of < 0) | (kind_of >= len(kinds)))
        if len(at):
            raise ConfigError(f"kind_of[{at[0]}] is {kind_of[at[0]]}: give 0 to {len(kinds) - 1}")
        self.kinds, self.kind_of, self.rule = tuple(kinds), np.ascontiguousarray(kind_of, np.int32), rule
        self.seed, self.first_row = np.uint64(seed), first_row
        self._rows = rows_of(list(kinds))
        self._weights_s = np.nan
        self.memory = np.zeros(len(kind_of), MEMORY)
        for name in ("power_frac", "active_current", "before_frac", "limit", "volt_watt_out", "droop_out", "var_out",
                     "reference_out"):  # fmt: skip
            self.memory[name] = np.nan  # each comes to rest at what it meets first
        self.memory["status"], self.memory["ramp"] = Status.CONTINUOUS, RAMP_END
        self.memory["sound_s"] = self.memory["wait_s"] = self._rows["enter_delay_s"][self.kind_of]

    def __len__(self) -> int:
        """Return how many units there are."""
        return len(self.memory)

    @property
    def power_frac(self) -> Floats:
        """Return active power as a share of the rating; storage that charges is below 0."""
        return self.memory["power_frac"]

    @property
    def var_frac(self) -> Floats:
        """Return reactive power as a share of the nameplate; positive injects."""
        return self.memory["var_frac"]

    @property
    def status(self) -> NDArray[np.int8]:
        """Return the `Status` of each."""
        return self.memory["status"]

    @property
    def trips(self) -> NDArray[np.int32]:
        """Return how often each has tripped."""
        return self.memory["trips"]

    def step(
        self, seconds: float, *, voltage_pu: ArrayLike, frequency_hz: ArrayLike, wanted_frac: ArrayLike,
        available_frac: ArrayLike | None = None, low_pu: ArrayLike | None = None, high_pu: ArrayLike | None = None,
        limit_frac: ArrayLike = np.nan, is_permitted: ArrayLike = True,
    ) -> None:  # fmt: skip
        """Move on by one step under what each unit sees: one number for all, or a column of shape (n,).

        `voltage_pu` is the mean of the applicable voltages, and without `low_pu` and `high_pu` those too. `wanted_frac`
        is what a unit would give without any function, `available_frac` what it could give (the same, if left out).

        Raises:
            ConfigError: A number that can't be meant, by its row; nothing has moved then.
        """
        if not 0 < seconds < np.inf:
            raise ConfigError(f"seconds is {seconds}: give more than 0")
        given = (voltage_pu, voltage_pu if low_pu is None else low_pu, voltage_pu if high_pu is None else high_pu,
                 frequency_hz, wanted_frac, wanted_frac if available_frac is None else available_frac,
                 limit_frac)  # fmt: skip
        columns = [self._column(name, value) for name, value in zip(_INPUTS, given, strict=True)]
        may = np.array(np.broadcast_to(np.asarray(is_permitted, np.bool_), (len(self),)))
        if (row := first_bad(*columns)) >= 0:
            told = ", ".join(f"{name} {column[row]}" for name, column in zip(_INPUTS, columns, strict=True))
            raise ConfigError(
                f"row {row} sees {told}: give voltages of 0 to 10 pu, the low not above the high, a frequency above 0, "
                f"finite powers, and a limit of -1 to 1 or NaN for none"
            )
        if seconds != self._weights_s:
            self._weigh(seconds)
        step_all(self._rows, self.kind_of, self.memory, self.seed, self.first_row, seconds, *columns, may)

    def _column(self, name: str, value: ArrayLike) -> Floats:
        column = np.asarray(value, np.float64)
        if column.shape not in ((), (len(self),)):
            raise ConfigError(f"{name} has the shape {column.shape}: give one number or ({len(self)},)")
        # One layout alone goes to compiled code, which else would be compiled anew for every mix of them.
        if column.shape == ():
            return np.full(len(self), column)
        return column if column.flags.c_contiguous and column.flags.writeable else column.copy()

    def _weigh(self, seconds: float) -> None:
        for row, kind in zip(self._rows, self.kinds, strict=True):
            responses_s = (kind.volt_watt_response_s, kind.droop_response_s, kind.reactive_response_s)
            weights = [self.rule.of_response(response_s, seconds) for response_s in responses_s]
            weights.append(self.rule.weights(kind.reference_s, seconds))
            for lag, parts in zip(LAGS, weights, strict=True):
                row[f"{lag}_now"], row[f"{lag}_before"], row[f"{lag}_kept"] = parts
        self._weights_s = seconds
