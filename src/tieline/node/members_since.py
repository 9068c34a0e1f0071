"""Since when each device has a trouble that many share one alarm of.

An alarm of a class may stand for hours while none of the devices that it was raised for is in it any more: a person who
reads how long it stands would take that for how long these do. A device that comes back within ten minutes was never
out: chattering is no news (ISA-18.2-2016, 16).
"""

from __future__ import annotations

from collections.abc import Iterable

from tieline.times import MINUTE_NS

BACK_NS = 10 * MINUTE_NS


class Members:
    """Remembers who is in each alarm of a class of devices."""

    def __init__(self) -> None:
        """Remember nobody."""
        self._since: dict[str, dict[int, int]] = {}
        self._seen: dict[str, dict[int, int]] = {}

    def look(self, alarm: str, rows: Iterable[int], now_ns: int) -> dict[int, int]:
        """Return since when each row of those that are in an alarm now is (ns), the longest first."""
        since, seen = self._since.setdefault(alarm, {}), self._seen.setdefault(alarm, {})
        seen |= dict.fromkeys(rows_now := list(rows), now_ns)
        for row in [row for row, at_ns in seen.items() if at_ns <= now_ns - BACK_NS]:
            del seen[row]
        self._since[alarm] = since = {row: since.get(row, at_ns) for row, at_ns in seen.items()}
        return {row: since[row] for row in sorted(rows_now, key=lambda row: (since[row], row))}
