"""What is made once a revision and second, and shown to all who ask."""

from __future__ import annotations

from collections.abc import Callable

from tieline.desk.state import DeskState
from tieline.rim.clock import loop_s
from tieline.times import SECOND_NS

ROWS_PER_S = 500_000
"""A view of a million devices costs 0.15 s: it is made anew at most every 2 s, one of 10,000 every 20 ms."""


class Kept:
    """The views of one revision and second, by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self._key, self._made_s = (-1, -1), float("-inf")
        self.views: dict[str, object] = {}

    def once(self, state: DeskState, now_ns: int, name: str, make: Callable[[], object]) -> object:
        """Return a view of the state as it is now; it is made where it is not there, or stands for too long."""
        key, now_s = (state.revision, now_ns // SECOND_NS), loop_s()
        # Seconds that run backwards are another loop's (a day was played before it is served): they keep nothing.
        if self._key != key and not 0 <= now_s - self._made_s < len(state.fleet) / ROWS_PER_S:
            self._key, self._made_s, self.views = key, now_s, {}
        if name not in self.views:
            self.views[name] = make()
        return self.views[name]
