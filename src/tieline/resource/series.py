"""A stretch of equally long steps with a value each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.times import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values over half-open steps; `known_at_ns` keeps forecasts bitemporal."""

    start_ns: int
    step_ns: int
    values: Floats
    unit: str
    known_at_ns: int

    @property
    def over(self) -> Interval:
        """What the series covers."""
        return Interval(self.start_ns, self.start_ns + self.step_ns * len(self.values))

    def at(self, instant_ns: int) -> float:
        """Return the value of the step that holds the instant.

        Raises:
            ValueError: The instant lies outside.
        """
        if not self.over.holds(instant_ns):
            raise ValueError(f"{instant_ns} lies outside {self.over}")
        return float(self.values[(instant_ns - self.start_ns) // self.step_ns])
