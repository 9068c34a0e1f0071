"""What is kept of devices that keep to no command: `desk.strays` tells the rule."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass
class Strays:
    """Who was found to keep to no command; shape (n,) each. Measured, not decided.

    `since_ns`: when (0: it is none). `stood_w`: where its meter stood then (W). `low_w` and `high_w`: what it was told
    then (W). `part_low_w` and `part_high_w`: its part of its limit's ends, by its rating (W). `then_low_w` and
    `then_high_w`: its part of how far apart they were as it was told that, by both its ratings (W).
    """

    since_ns: NDArray[np.int64]
    stood_w: NDArray[np.float64]
    low_w: NDArray[np.float64]
    high_w: NDArray[np.float64]
    part_low_w: NDArray[np.float64]
    part_high_w: NDArray[np.float64]
    then_low_w: NDArray[np.float64]
    then_high_w: NDArray[np.float64]

    @staticmethod
    def empty(count: int) -> Strays:
        """Return columns of rows of which none was found so."""
        return Strays(np.zeros(count, np.int64), *(np.zeros(count) for _ in fields(Strays)[1:]))

    def by_name(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns themselves by the names under which they are saved."""
        return {f"stray_{each.name}": getattr(self, each.name) for each in fields(self)}
