"""The life of a command as a link tells it, one twin for every wire.

Theory of operation. How a command is written, asked after and seen differs from wire to wire; what it means does not.
Here stands what every link keeps in the same way: a fence that takes only a newer (epoch, seq) (rules R14, R20), the
last hop that is asked just before something leaves, the one who is told and what is counted at each stage, and the
timers that wait for answers. A stage moves along the table `resource.command.NEXT` alone: a report that comes late, as
an answer to what has ended, changes nothing. Nothing here sends, and so nothing here can send twice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import LastHop
from tieline.links.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.command import NEXT, TERMINAL, RejectWord, Stage
from tieline.times import SECOND_NS, Clock

KILLED = "the kill switch is pressed"
LONGEST_S = 10.0**8
"""A claim may be valid without end, which a timer of the loop can't be: it waits no longer than three years."""


_MAY = [sum(1 << after for after in NEXT[before]) for before in Stage]
"""The table in bits: ten thousand answers come in a moment, and the hash of an enumeration costs more than this."""


@dataclass
class Counts:
    """What a link did, for its health and the operator; `stages` has how many commands came to each stage.

    `troubles` are what stands in the way now, by who has it; `last_error` is the last that merely happened.
    """

    stages: list[int] = field(default_factory=lambda: [0] * len(Stage))
    received: int = 0
    displaced: int = 0
    contended: int = 0
    unread: int = 0
    last_error: str = ""
    delays_s: list[float] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)

    def trouble(self, who: str, says: str) -> None:
        """Take that a host or device is in trouble until it is `healed`."""
        self.troubles.pop(who, None)
        self.troubles[who] = says

    def healed(self, who: str) -> None:
        """Take that it is well again: nobody is told any more what it was."""
        self.troubles.pop(who, None)

    @property
    def says(self) -> str:
        """The newest trouble that stands, or else what happened last; empty: nothing."""
        return next(reversed(self.troubles.values()), self.last_error)

    @property
    def sent(self) -> int:
        """Commands that left."""
        return self.stages[Stage.SENT]

    @property
    def acknowledged(self) -> int:
        """Commands that the other side took."""
        return self.stages[Stage.ACCEPTED]

    @property
    def observed(self) -> int:
        """Commands that were read back, or seen in telemetry."""
        return self.stages[Stage.DONE]

    @property
    def rejected(self) -> int:
        """Commands that were refused."""
        return self.stages[Stage.REJECTED]

    @property
    def unconfirmed(self) -> int:
        """Commands of which nobody knows what became."""
        return self.stages[Stage.UNCONFIRMED]


@dataclass(eq=False)
class Course:
    """One command of a row, and how far it came. `at` is its place in the batch, `frame` the native word for it."""

    batch: CommandBatch
    at: int
    stage: Stage = Stage.QUEUED
    frame: str = ""
    accepted_ns: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it has its terminal stage."""
        return self.stage in TERMINAL

    @property
    def powers_w(self) -> tuple[float, float, float]:
        """What is asked (W): target, lowest and highest power."""
        batch, at = self.batch, self.at
        return float(batch.target_w[at]), float(batch.low_w[at]), float(batch.high_w[at])


class Carrier(Protocol):
    """The link, as the life of one of its rows sees it. `speed`: seconds of the clock in one of the loop."""

    last_hop: LastHop | None
    counts: Counts
    clock: Clock
    teller: Teller
    speed: float


def leaving(last_hop: LastHop | None, batch: CommandBatch, ats: list[int]) -> NDArray[np.bool_]:
    """Return which of the rows at these places of a batch may leave now; a link that no desk has bound asks nobody."""
    if last_hop is None or not ats:
        return np.ones(len(ats), np.bool_)
    return last_hop.passes(batch.take(np.array(ats, np.int32)))


class Life:
    """The commands of one row."""

    def __init__(self, row: int, name: str, carrier: Carrier) -> None:
        self.row, self.name = row, name
        self.stamp = (-1, -1)
        self._carrier = carrier
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- may it go? --------------------------------------------------------------------------------------------------

    def takes(self, batch: CommandBatch) -> bool:
        """Note a batch, and return whether it is newer than any before; the same again, or an older one, is not."""
        stamp = (batch.epoch, batch.seq)
        if stamp <= self.stamp:
            return False
        self.stamp = stamp
        return True

    def left_s(self, course: Course) -> float:
        """Return how long a command is still valid (s of the clock)."""
        return max((course.batch.valid_until_ns - self._carrier.clock.now_ns()) / SECOND_NS, 0.0)

    def may_leave(self, course: Course) -> bool:
        """Return whether the desk lets it leave at this moment: it asks the kill switch, and asks it last."""
        return bool(leaving(self._carrier.last_hop, course.batch, [course.at]).all())

    def begins(self, course: Course) -> bool:
        """Return whether a command that waits may be written now; where not, it has ended by this."""
        if self.left_s(course) <= 0:
            self.end(course, Stage.EXPIRED)
        elif not self.may_leave(course):
            self.end(course, Stage.CANCELLED, RejectWord.BLOCKED, KILLED)
        return not course.is_over

    # --- how far it came ---------------------------------------------------------------------------------------------

    def sent(self, course: Course) -> None:
        """Tell that it left."""
        self._move(course, Stage.SENT)

    def accepted(self, course: Course, frame: str = "") -> None:
        """Tell that the other side took it, and keep how long that took since it was decided."""
        counts, now_ns = self._carrier.counts, self._carrier.clock.now_ns()
        if self._move(course, Stage.ACCEPTED, frame=frame):
            course.accepted_ns = now_ns
            counts.delays_s.append((now_ns - course.batch.issued_at_ns) / SECOND_NS)

    def displace(self, course: Course) -> None:
        """End a command that a newer one takes the place of, as what is known of it by now."""
        self._carrier.counts.displaced += not course.is_over
        if course.stage is Stage.SENT:  # it may still take effect: nobody will ask any more whether it did
            self.end(course, Stage.UNCONFIRMED, RejectWord.NONE, "displaced before it was acknowledged")
        else:
            self.end(course, Stage.CANCELLED, RejectWord.NONE, "displaced by a newer command")

    def end(
        self,
        course: Course,
        stage: Stage,
        word: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
    ) -> None:
        """Tell how a command ended, with our word and the native one; one that has ended stays as it is."""
        if stage is Stage.UNCONFIRMED:
            # The table leads there over SENT alone: what was written without a sign is told as written first.
            self._move(course, Stage.SENT)
        is_trouble = native and stage in (Stage.REJECTED, Stage.UNCONFIRMED)
        if self._move(course, stage, word, native, observed_w) and is_trouble:
            self._carrier.counts.last_error = f"{self.name}: {native}"

    def _move(
        self,
        course: Course,
        stage: Stage,
        word: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
        frame: str = "",
    ) -> bool:
        """Move along the table, count and tell; False where the table doesn't lead there."""
        if not _MAY[course.stage] >> stage & 1:
            return False
        course.stage = stage
        self._carrier.counts.stages[stage] += 1
        self._carrier.teller.stage(course.batch.id, self.row, stage, word, native, observed_w, frame or course.frame)
        return True

    # --- waiting -----------------------------------------------------------------------------------------------------

    def later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call after so many seconds of the clock; one timer a name."""
        self.wait(name, seconds / self._carrier.speed, call)

    def wait(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call after so many seconds of the loop, in which answers of the other side are awaited."""
        self.cancel(name)

        def due() -> None:
            self._timers.pop(name, None)
            call()

        self._timers[name] = asyncio.get_running_loop().call_later(min(seconds, LONGEST_S), due)

    def is_waiting(self, name: str) -> bool:
        """Return whether a timer of this name runs."""
        return name in self._timers

    def cancel(self, *names: str) -> None:
        """Let timers go."""
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def stop(self) -> None:
        """Let all timers go."""
        self.cancel(*list(self._timers))
