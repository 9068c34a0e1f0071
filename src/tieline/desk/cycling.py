"""What a device that goes on and off by itself draws on the whole: its mean over whole cycles, as lately seen.

A compressor draws 0 or 3 kW and never its mean, so no reading tells it, nor does a mean over any stretch that cuts a
cycle in two. A cycle begins as the device starts and ends as it starts again; what was read last holds until the next
reading. One that is called, limited, or pays back what was held from it within the hour shows nothing of its own
cycles: what runs then is thrown away, and the cycles before it stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.resource.hold import ON_FRAC
from tieline.times import HOUR_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Instants = NDArray[np.int64]
LATELY_S = 3_600.0
"""How fast older cycles are forgotten: two or three of an air conditioner count, and one of a tank."""
LONG_FRAC = 2.0
"""One that has stood still, or run, for so many of its last cycles has another way by now."""
GAP_S = 900.0
"""What was read so long ago says nothing of the time since."""
PAYS_BACK_NS = HOUR_NS
"""For so long after it was held a room or a tank takes back what it missed."""
LONGEST_S = 2.0 * 3_600.0
"""A load of another kind that takes longer is switched by hand or by a clock, and does not cycle."""


@dataclass
class Cycles:
    """What was seen of each row's cycles; shape (n,) each. Measured, not decided.

    `open_ws` and `open_s` are energy (Ws, as signed as power) and length (s) of what runs since the last start, which
    began with a start where `has_begun`. `whole_ws` and `whole_s` are those of the cycles that are over, older ones
    less, and `length_s` is how long the last took. It was seen to run freely for `seen_s`, and shows nothing of its own
    way before `own_from_ns`.
    """

    open_ws: Floats
    open_s: Floats
    has_begun: Mask
    whole_ws: Floats
    whole_s: Floats
    length_s: Floats
    seen_s: Floats
    own_from_ns: Instants

    @staticmethod
    def empty(count: int) -> Cycles:
        """Return columns of rows of which nothing was seen."""
        return Cycles(
            np.zeros(count), np.zeros(count), np.zeros(count, np.bool_), np.zeros(count), np.zeros(count),
            np.zeros(count), np.zeros(count), np.zeros(count, np.int64),
        )  # fmt: skip

    def drop(self, rows: Rows) -> None:
        """Throw away what runs of rows."""
        self.open_ws[rows] = self.open_s[rows] = 0.0
        self.has_begun[rows] = False

    def pays_back(self, rows: Rows, now_ns: int) -> Mask:
        """Return which rows take back what was held from them; what lies further ahead is of a clock set back since."""
        ahead_ns = self.own_from_ns[rows] - now_ns
        mask: Mask = (ahead_ns > 0) & (ahead_ns <= PAYS_BACK_NS)
        return mask

    def mean_w(self, rows: Rows) -> Floats:
        """Return the mean power of rows over the cycles that are over (W); of rows that are known by them."""
        found: Floats = self.whole_ws[rows] / self.whole_s[rows]
        return found

    def known(self, rows: Rows) -> Mask:
        """Return which rows are known by their cycles: one is over, and what runs takes not much longer than it."""
        mask: Mask = (self.whole_s[rows] > 0.0) & (self.open_s[rows] <= LONG_FRAC * self.length_s[rows])
        return mask

    def take(self, rows: Rows, was_w: Floats, power_w: Floats, size_w: Floats, passed_s: Floats) -> None:
        """Take readings of rows that run freely, each once.

        Args:
            rows: Whose.
            was_w: What each was read at before (W; NaN: never).
            power_w: And now (W).
            size_w: What counts as its size (W): a small part of it is off.
            passed_s: Time between the two (s).
        """
        lost = (passed_s > GAP_S) | np.isnan(was_w)
        if lost.any():
            self.drop(rows[lost])
        passed_s = np.where(lost, 0.0, passed_s)
        self.seen_s[rows] += passed_s
        self.open_ws[rows] += np.nan_to_num(was_w) * passed_s
        self.open_s[rows] += passed_s
        least_w = ON_FRAC * size_w
        starts = (passed_s > 0.0) & (np.abs(was_w) < least_w) & (np.abs(power_w) >= least_w)
        if starts.any():
            self._begin(rows[starts])

    def _begin(self, rows: Rows) -> None:
        over = rows[self.has_begun[rows] & (self.open_s[rows] > 0.0)]
        keeps = np.exp(-self.open_s[over] / LATELY_S)
        self.whole_ws[over] = keeps * self.whole_ws[over] + self.open_ws[over]
        self.whole_s[over] = keeps * self.whole_s[over] + self.open_s[over]
        self.length_s[over] = self.open_s[over]
        self.drop(rows)
        self.has_begun[rows] = True
