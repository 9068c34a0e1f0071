"""A schedule of awards that dispatch follows: what each store gives at each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """What `rows` give (W above base) at each step from `start_ns` on, for `awards`; `power_w` has shape (T, n).

    The rows are in rising order. It is followed from `from_ns` on: one that is made ahead of its first step, or while
    devices are on their way by what stood before, waits until then.
    """

    awards: tuple[str, ...]
    start_ns: int
    step_ns: int
    made_ns: int
    rows: Rows
    power_w: NDArray[np.float32]
    from_ns: int = 0

    @property
    def end_ns(self) -> int:
        """The end of the last step."""
        return self.start_ns + self.step_ns * len(self.power_w)

    def of(self, rows: Rows, now_ns: int) -> NDArray[np.float64] | None:
        """Return what each of `rows` gives now (W; 0: none that is scheduled); None: no step is now."""
        if not max(self.start_ns, self.from_ns) <= now_ns < self.end_ns or not len(self.rows):
            return None
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        power_w = self.power_w[(now_ns - self.start_ns) // self.step_ns][at].astype(np.float64)
        return np.where(self.rows[at] == rows, power_w, 0.0)
