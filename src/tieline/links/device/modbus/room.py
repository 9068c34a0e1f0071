"""How many requests one host answers at once, found out by reads and kept over its connections.

Theory of operation. A Modbus server may take a single transaction at a time, and lose what comes beside it. Behind a
host of one unit nothing ever comes beside: it is asked as it comes. A host that several units share begins with one,
and is asked two, four and so on, together and with nothing else out, only by reads: what was answered in full may be
out at once from then on, writes too. As all units are looked for at once, that is known before they are told anything.

An answer that is lost beside others puts it in doubt: the question is put once more with nothing else out. One that is
answered then was lost for its company: the host takes fewer. Silence shows that it is the unit: all goes on as before,
and that unit's silence is no reason for a doubt until it is heard again. An answer to the first question, late, shows
that the unit is slow: others are tried with. A trial of which nothing at all was heard may have met a stream that
stood still, and tells something at its second time alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import structlog

_log = structlog.get_logger("tieline.modbus")
AGAIN_S = 3_600.0
MOST_AGAIN_S = 86_400.0
STRIKES = 2
LATE_AGAIN_S = 60.0
"""What is late twice within so long is late for those that it waits behind."""


@dataclass(slots=True)
class Room:
    """What is known of a host: `proven` may be out at once, `most` are ever tried.

    `wished`: as many as the settings allow and there are `units` to ask (0: not known). `silent` units did not answer,
    `slow` ones later than they were waited for. A host that was found to take fewer is tried with more again after
    `again_s` (s of the loop), which doubles up to a day.
    """

    wished: int
    where: str = ""
    proven: int = 1
    units: int = 0
    silent: set[int] = field(default_factory=set)
    slow: set[int] = field(default_factory=set)
    again_s: float = AGAIN_S
    most: int = 0
    _again_at_s: float = 0.0
    _strikes: int = 0
    _late_at_s: float = -math.inf

    def __post_init__(self) -> None:
        self.most = self.wished

    @staticmethod
    def behind(where: str, units: int, in_flight: int) -> Room:
        """Return what is known of a host with so many units before it was asked anything."""
        if units <= 1:
            return Room(in_flight, where, in_flight, units)
        return Room(min(in_flight, units), where, 1, units)

    def to_try(self, now_s: float) -> int:
        """Return how many reads may be put together where nothing else is out; no more than `proven`: none is tried."""
        if self.most < self.wished and now_s >= self._again_at_s:
            self.most = self.wished
        return min(2 * self.proven, self.most)

    @property
    def is_silent(self) -> bool:
        """Whether no unit answered its last question."""
        return len(self.silent) >= self.units

    def may_try(self, unit: int) -> bool:
        """Return whether a unit's answer would tell of the host, and not of itself alone."""
        return unit not in self.silent and unit not in self.slow

    def grow(self, count: int) -> None:
        """Take that so many were out together and each was answered."""
        self.proven, self._strikes = max(self.proven, count), 0

    def failed(self, is_heard: bool, now_s: float) -> None:
        """Take that of a trial some were answered alone; `is_heard`: others were answered in it."""
        self._strikes += 1
        if is_heard or self._strikes >= STRIKES:
            self.narrow(self.proven, now_s)

    def was_late(self, now_s: float) -> None:
        """Take that an answer beside others came later than a time-out: all of them queue there, or it stood still."""
        if now_s - self._late_at_s < LATE_AGAIN_S:
            self.narrow(self.proven // 2, now_s)
        self._late_at_s = now_s

    def narrow(self, at_once: int, now_s: float) -> None:
        """Take that a host answers no more than so many at once."""
        self.most = self.proven = max(at_once, 1)
        self._strikes, self._again_at_s = 0, now_s + self.again_s
        self.again_s = min(2.0 * self.again_s, MOST_AGAIN_S)
        _log.info("loses requests beside others", host=self.where, at_once=self.most)
