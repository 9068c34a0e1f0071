"""What a device does by itself, and what it is held at where a limit alone can't be told.

Model 704 limits what is given alone: that a device may not draw more, or must draw, is told as a power. Nobody asked
for that power, so it is the one that the device has by itself when the limit comes, moved into the limit's ends and no
further. It is kept as it was then for as long as such a limit lasts: what is measured meanwhile is our own hold, and
one that followed it would creep to the nearer end with every cap that moves.
"""

from __future__ import annotations

import math

FRESH_POLLS = 2.0
"""What was measured within so many polls tells what a device does now; one poll may have failed."""


def held_w(own_w: float, low_w: float, high_w: float) -> float:
    """Return the power (W) to hold a device at that does `own_w` by itself (NaN: not known, as if it did nothing).

    >>> held_w(50_000.0, -48_780.0, math.inf)
    50000.0
    >>> held_w(-30_000.0, -20_000.0, math.inf), held_w(math.nan, -20_000.0, math.inf), held_w(0.0, -5.0, -2.0)
    (-20000.0, 0.0, -2.0)
    """
    return min(max(0.0 if math.isnan(own_w) else own_w, low_w), high_w)


class OwnPower:
    """Of one device: its power while nobody named one, and what a limit found it doing."""

    def __init__(self, least_w: float, most_w: float, fresh_s: float) -> None:
        """Know nothing yet. `least_w`, `most_w`: within its rating; `fresh_s`: how old a measurement may be (s)."""
        self._least_w, self._most_w, self._fresh_s = least_w, most_w, fresh_s
        self._power_w, self._at_s = math.nan, -math.inf
        self._found_w, self._until_ns = math.nan, 0

    def see(self, power_w: float, now_s: float) -> None:
        """Take what it measured while it was told no power (W; NaN: it measures none)."""
        if not math.isnan(power_w):
            self._power_w, self._at_s = min(max(power_w, self._least_w), self._most_w), now_s

    def known_w(self, now_ns: int, now_s: float) -> float:
        """Return what it does by itself (W; NaN: not known): as the limit found it, where one holds it already."""
        if not math.isnan(self._found_w) and now_ns < self._until_ns:
            return self._found_w
        return self._power_w if now_s - self._at_s <= self._fresh_s else math.nan

    def told(self, found_w: float, until_ns: int) -> None:
        """Take that it is told something until then; `found_w` is NaN where no such limit is among it."""
        self._found_w, self._until_ns = found_w, until_ns
