"""How long a caller that is on no list is kept waiting before it is hung up on.

A master with a wrong address dials anew the moment it is cut off, thousands of times a second. So the first refusal of
a host is at once, as a mistake deserves, and each further one twice as late, up to half a minute. Only refused callers
wait: the right master behind the same address is heard as soon as it calls.
"""

from __future__ import annotations

FIRST_S, MOST_S = 0.5, 30.0
FORGET_S = 300.0
"""A host that was quiet for so long begins anew."""
MOST_HOSTS = 1_000
MOST_HELD = 64
"""Connections held at once, of all hosts; one more is hung up on at once, as sockets are scarcer than time."""


class Refusals:
    """Who was refused how often, of the hosts that were refused last."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, float]] = {}

    def hold_s(self, host: str, now_s: float) -> float:
        """Count a refusal of a host and return how long to hold its connection (s)."""
        count, ends_s = self._of.pop(host, (0, now_s))
        if now_s - ends_s > FORGET_S:
            count = 0
        hold_s = min(FIRST_S * 2.0 ** min(count - 1, 16), MOST_S) if count else 0.0
        # Put at the end, so that the host that was quiet for longest is forgotten first.
        self._of[host] = count + 1, now_s + hold_s
        if len(self._of) > MOST_HOSTS:
            del self._of[next(iter(self._of))]
        return hold_s
