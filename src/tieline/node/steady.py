"""An alarm that stays until its trouble has been gone for a while: what comes and goes is one trouble, told once."""

from __future__ import annotations

from tieline.desk.views import AlarmView
from tieline.times import MINUTE_NS

HEALTHY_NS = 5 * MINUTE_NS
"""For so long nothing may be found until the alarm goes: a market interval, in which dispatch asks all once more."""
Found = list[tuple[AlarmView, int]]


class Steady:
    """Remembers what was found of one trouble last, and when."""

    def __init__(self) -> None:
        """Make it; nothing was found."""
        self._last: Found = []
        self._at_ns = self._ends_ns = 0

    def keep(self, found: Found, ends_ns: int, is_told: bool, now_ns: int) -> Found:
        """Return what was found, or else what was told before and may not go yet.

        Args:
            found: The alarm, if its trouble is there, and for how long that must be so.
            ends_ns: When it is over at the latest.
            is_told: Whether it was told at the last look; one that was not need not last.
            now_ns: Now.
        """
        if found:
            self._last, self._at_ns, self._ends_ns = found, now_ns, ends_ns
        elif not is_told or now_ns - self._at_ns >= HEALTHY_NS or now_ns >= self._ends_ns:
            self._last = []
        return self._last
