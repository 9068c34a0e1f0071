"""What wakes a desk between its marks: hands that move, answers that a limit's growth waits for, loads that count.

Theory of operation. Each comes for single devices and in floods, so each gathers for a while before the desk beats for
it, and rests afterwards: no device that changes its mind each second has the desk beat each second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HANDS_S = 1.0, 5.0
"""So long hands at devices gather before the desk beats for them, and so long after it did that last: one device that
goes in and out of LOCAL each second must not have it beat each second."""
ANSWERED_S = 0.5
"""So long answers gather that a limit's growth waits for, unless all are there (s of our time)."""
ABOVE_S = 1.0, 10.0
"""So long readings gather where loads count, before the desk looks whether a group stands above its limit; and so long
after a beat for that it looks again, as some may not obey."""


class Wakes:
    """Timers of the loop that wake a desk; each stands once. All lengths are of our time, `speed` of it a second."""

    def __init__(self, wake: Callable[[], None], speed: float, stands_above: Callable[[], bool]) -> None:
        """`stands_above` says whether a group whose loads count stands above its limit now."""
        self._wake, self._speed, self._stands_above = wake, speed, stands_above
        self._hands: asyncio.TimerHandle | None = None
        self._grows: asyncio.TimerHandle | None = None
        self._above: asyncio.TimerHandle | None = None
        self._grows_s = 0.0
        self.rests_s = 0.0
        """Until when (of the loop) no beat comes for answers, as the last took so long."""

    def hand_moved(self) -> None:
        """Have a beat soon, as somebody else has a device by now, or has let it go: nobody waits for the minute's mark
        until others stand in."""
        loop = asyncio.get_running_loop()
        gathers_s, rests_s = (each / self._speed for each in HANDS_S)
        if self._hands is None or self._hands.when() + rests_s < loop.time():
            due_s = loop.time() + gathers_s
        elif self._hands.when() <= loop.time():
            due_s = self._hands.when() + rests_s
        else:
            return  # it comes already
        self._hands = loop.call_at(due_s, self._wake)

    def answered(self, are_all: bool) -> None:
        """Have a beat as all have answered that a limit's growth waits for, or for some of them after a while."""
        loop = asyncio.get_running_loop()
        due_s = max(loop.time() + (0.0 if are_all else ANSWERED_S / self._speed), self.rests_s)
        if self._grows is not None and loop.time() < self._grows_s:
            if self._grows_s <= due_s:
                return  # it comes already
            self._grows.cancel()
        self._grows, self._grows_s = loop.call_at(due_s, self._wake), due_s

    def counted_heard(self) -> None:
        """Look soon whether a group whose loads count stands above its limit, as one stopped."""
        loop = asyncio.get_running_loop()
        if self._above is None or self._above.when() + ABOVE_S[1] / self._speed < loop.time():
            self._above = loop.call_at(loop.time() + ABOVE_S[0] / self._speed, self._look_above)

    def _look_above(self) -> None:
        if self._stands_above():
            self._wake()
        else:
            self._above = None
