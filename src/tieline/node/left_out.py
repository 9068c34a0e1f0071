"""A link that was left out at the start, as a file that it needs can't be used: listed, told of, in nobody's way."""

from __future__ import annotations

import numpy as np

from tieline.desk.ports import Intake, LinkHealth, Session
from tieline.resource.batch import CommandBatch, CommandReports
from tieline.resource.command import RejectWord, Stage
from tieline.times import Clock

NOT_STARTED = "not started: "


class LeftOut:
    """Stands in a link's place: what is commanded over it is refused at once, so that others can stand in."""

    def __init__(
        self,
        name: str,
        protocol: str,
        fault: str,
        intake: Intake,
        clock: Clock,
        switched: frozenset[int] = frozenset(),
    ) -> None:
        """Make one; `fault` names the file, what is wrong with it and what would do."""
        self.switched = switched
        self.name, self._protocol, self._says = name, protocol, NOT_STARTED + fault
        self._intake, self._clock, self._since_ns = intake, clock, clock.now_ns()
        self._refused = 0

    async def send(self, batch: CommandBatch) -> None:
        """Refuse all rows of a batch."""
        count = len(batch)
        self._refused += count
        self._intake.reports(
            CommandReports(
                batch.id, self.name, batch.rows, np.full(count, Stage.REJECTED, np.uint8),
                np.full(count, self._clock.now_ns(), np.int64), np.full(count, RejectWord.HARDWARE, np.uint8),
                np.full(count, np.nan), (self._says,) * count, (),
            )
        )  # fmt: skip

    def health(self) -> LinkHealth:
        """Return that it is down, and why."""
        return LinkHealth(
            self.name, self._protocol, Session.DOWN, self._since_ns, refused=self._refused, last_error=self._says
        )
