"""What device links tell the desk, gathered for one turn of the loop: one report a batch, one table of readings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tieline.desk.ports import Intake
from tieline.resource.batch import CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import Clock


@dataclass
class _Told:
    """The reports of one batch that wait."""

    rows: list[int] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    at_ns: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    observed_w: list[float] = field(default_factory=list)
    native: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)


class Teller:
    """Gathers reports and readings and brings them to an intake at the end of the loop's turn, in order."""

    def __init__(self, name: str, intake: Intake, clock: Clock) -> None:
        self._name, self._intake, self._clock = name, intake, clock
        self._reports: dict[str, _Told] = {}
        self._readings: list[tuple[int, int, float, int, int, int]] = []
        self._is_due = False

    def stage(
        self,
        batch: str,
        row: int,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
        frame: str = "",
    ) -> None:
        """Tell how far a command has come. Two stages of one row keep their order: the first goes out at once."""
        told = self._reports.setdefault(batch, _Told())
        if row in told.rows:
            self._send_reports()
            told = self._reports.setdefault(batch, _Told())
        told.rows.append(row)
        told.stages.append(stage)
        told.at_ns.append(self._clock.now_ns())
        told.words.append(reject)
        told.observed_w.append(observed_w)
        told.native.append(native)
        told.frames.append(frame)
        self._soon()

    def bring(self, row: int, values: Mapping[str, float], quality: Quality, taken_ns: int) -> None:
        """Tell measurements of one row, by point (SI)."""
        now_ns = self._clock.now_ns()
        self._readings += [(row, code(key), value, int(quality), taken_ns, now_ns) for key, value in values.items()]
        if values:
            self._soon()

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Bring all that waits."""
        self._is_due = False
        self._send_reports()
        waiting, self._readings = self._readings, []
        if not waiting:
            return
        rows, points, values, quality, taken_ns, received_ns = zip(*waiting, strict=True)
        self._intake.readings(
            Readings(
                np.array(rows, np.int32), np.array(points, np.uint16), np.array(values), np.array(quality, np.uint32),
                np.array(taken_ns, np.int64), np.array(received_ns, np.int64), self._name,
            )
        )  # fmt: skip

    def _send_reports(self) -> None:
        waiting, self._reports = self._reports, {}
        for batch, told in waiting.items():
            self._intake.reports(
                CommandReports(
                    batch, self._name, np.array(told.rows, np.int32), np.array(told.stages, np.uint8),
                    np.array(told.at_ns, np.int64), np.array(told.words, np.uint8), np.array(told.observed_w),
                    tuple(told.native) if any(told.native) else (), tuple(told.frames) if any(told.frames) else (),
                )
            )  # fmt: skip
