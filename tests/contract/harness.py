"""What an adapter brings to the contract suite: a link without a desk, its peer, and ways to disturb both.

To plug an adapter in, write a class with these members, and name it in `HARNESSES` of `harnesses.py`. Everything runs
on virtual time. Powers are W, positive from the resource into the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tieline.desk.ports import CommandLink, LinkHealth, Session
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import NEXT, RejectWord, Stage
from tieline.resource.point import by_code, code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import SECOND_NS


@dataclass
class Report:
    """One row of what a link reported."""

    batch: str
    row: int
    stage: Stage
    at_ns: int
    word: RejectWord
    native: str
    observed_w: float
    frame: str


@dataclass
class Seen:
    """One measurement."""

    value: float
    quality: Quality
    taken_at_ns: int
    received_at_ns: int


@dataclass
class RecordingIntake:
    """A fake of the desk's intake: it keeps what it is brought, and refuses what breaks the port's own rules."""

    reports_: list[Report] = field(default_factory=list)
    seen: dict[tuple[int, str], list[Seen]] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)

    def reports(self, reports: CommandReports) -> None:
        """Take progress, and hold every command to the table of its life."""
        count = len(reports.rows)
        assert {len(a) for a in (reports.stage, reports.at_ns, reports.reject, reports.observed_w)} == {count}
        assert len(reports.native) in (0, count) and len(reports.frames) in (0, count)
        for at in range(count):
            row, stage = int(reports.rows[at]), Stage(int(reports.stage[at]))
            before = [r.stage for r in self.reports_ if (r.batch, r.row) == (reports.batch, row)]
            assert stage in NEXT[before[-1] if before else Stage.QUEUED], (reports.batch, row, before, stage)
            native = reports.native[at] if reports.native else ""
            frame = reports.frames[at] if reports.frames else ""
            word = RejectWord(int(reports.reject[at]))
            when = int(reports.at_ns[at])
            observed_w = float(reports.observed_w[at])
            self.reports_.append(Report(reports.batch, row, stage, when, word, native, observed_w, frame))

    def readings(self, readings: Readings) -> None:
        """Take measurements; each is of a point in the catalogue, finite, and not from the future."""
        for at in range(len(readings.rows)):
            point = by_code()[int(readings.points[at])]
            seen = Seen(
                float(readings.values[at]),
                Quality(int(readings.quality[at])),
                int(readings.taken_at_ns[at]),
                int(readings.received_at_ns[at]),
            )
            assert math.isfinite(seen.value), point.key
            assert seen.taken_at_ns <= seen.received_at_ns, point.key
            self.seen.setdefault((int(readings.rows[at]), point.key), []).append(seen)

    def health(self, health: LinkHealth) -> None:
        """Take a change of session."""
        self.sessions.append(health.session)

    def life(self, batch: str, row: int) -> list[Stage]:
        """Return the stages of one command, in order."""
        return [report.stage for report in self.reports_ if (report.batch, report.row) == (batch, row)]

    def last(self, row: int, key: str) -> Seen:
        """Return the last measurement of a point."""
        assert code(key)
        return self.seen[(row, key)][-1]


class Harness(Protocol):
    """An adapter under test. `refuses_natively`: its peers can say no, with a code of their own."""

    row: int
    target_w: float
    other_w: float
    refuses_natively: bool
    answer_s: float
    poll_s: float
    lost_s: float
    bad_settings: list[tuple[dict[str, object], str]]

    async def start(
        self, loop: VirtualLoop, clock: VirtualClock, supervisor: Supervisor, intake: RecordingIntake
    ) -> CommandLink:
        """Raise the peer and the link; returns when both run."""
        ...

    def stop(self) -> None:
        """Let the link's timers go."""
        ...

    def health(self) -> LinkHealth:
        """Return the link's health."""
        ...

    def effects(self) -> list[float]:
        """Return the powers (W) that the peer was told, oldest first, one for each command that reached it."""
        ...

    def power_w(self) -> float:
        """Return what the device truly does now, by its physics."""
        ...

    async def drop(self) -> None:
        """Take the peer away, connections and listener."""
        ...

    async def restore(self) -> None:
        """Bring the peer back."""
        ...

    def delay(self, seconds: float) -> None:
        """Make the peer answer so late."""
        ...

    def silence(self, is_silent: bool) -> None:
        """Make the device take in nothing and answer nothing, with its connection up."""
        ...

    def refuse(self) -> None:
        """Make the device refuse what it is told."""
        ...

    def ignore(self) -> None:
        """Make the device say yes and do nothing."""
        ...

    def settle(self, settings: dict[str, object]) -> object:
        """Return the link's settings from a document. Raises msgspec.ValidationError for unknown ones."""
        ...

    def check(self, settings: object, clock: VirtualClock, supervisor: Supervisor) -> None:
        """Make a link of the settings and throw it away. Raises ConfigError for those that can't be."""
        ...


def batch_of(
    harness: Harness, clock: VirtualClock, seq: int, target_w: float, seconds: float = 600.0, epoch: int = 1
) -> CommandBatch:
    """Return a batch of one row."""
    now, one = clock.now_ns(), np.ones(1)
    return CommandBatch(
        f"batch-{epoch}-{seq}", np.array([harness.row], np.int32), target_w * one, -np.inf * one, np.inf * one,
        0 * one, now, now, now + int(seconds * SECOND_NS), epoch, seq, (),
    )  # fmt: skip
