"""What device links tell the desk, gathered for a moment: few reports a batch, one table of readings."""

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
    """Gathers reports and readings for `gather_s` (of the loop) and brings them to an intake, in order.

    A thousand devices that answer in a moment make a few tables and a few journal records, not a thousand. Two stages
    of one row go out in two tables, the earlier first.
    """

    def __init__(self, name: str, intake: Intake, clock: Clock, gather_s: float = 0.05) -> None:
        self._name, self._intake, self._clock, self._gather_s = name, intake, clock, gather_s
        self._reports: dict[str, list[_Told]] = {}
        self._layer_of: dict[tuple[str, int], int] = {}
        self._readings: list[tuple[int, int, float, int, int, int]] = []
        self._timer: asyncio.TimerHandle | None = None

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
        """Tell how far a command has come."""
        layers = self._reports.setdefault(batch, [])
        at = self._layer_of.get((batch, row), -1) + 1
        self._layer_of[(batch, row)] = at
        if at == len(layers):
            layers.append(_Told())
        told = layers[at]
        told.rows.append(row)
        told.stages.append(stage)
        told.at_ns.append(self._clock.now_ns())
        told.words.append(reject)
        told.observed_w.append(observed_w)
        told.native.append(native)
        told.frames.append(frame)
        self._soon()

    def stages(self, batch: str, rows: list[int], stage: Stage) -> None:
        """Tell the first stage of many commands of a batch, with nothing to add."""
        layers = self._reports.setdefault(batch, [])
        if not layers:
            layers.append(_Told())
        told, count = layers[0], len(rows)
        self._layer_of.update(((batch, row), 0) for row in rows)
        told.rows += rows
        told.stages += [stage] * count
        told.at_ns += [self._clock.now_ns()] * count
        told.words += [RejectWord.NONE] * count
        told.observed_w += [math.nan] * count
        told.native += [""] * count
        told.frames += [""] * count
        self._soon()

    def bring(self, row: int, values: Mapping[str, float], quality: Quality, taken_ns: int) -> None:
        """Tell measurements of one row, by point (SI)."""
        now_ns = self._clock.now_ns()
        self._readings += [(row, code(key), value, int(quality), taken_ns, now_ns) for key, value in values.items()]
        if values:
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_s, self.flush)

    def flush(self) -> None:
        """Bring all that waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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
        self._layer_of.clear()
        for batch, layers in waiting.items():
            for told in layers:
                self._intake.reports(
                    CommandReports(
                        batch, self._name, np.array(told.rows, np.int32), np.array(told.stages, np.uint8),
                        np.array(told.at_ns, np.int64), np.array(told.words, np.uint8), np.array(told.observed_w),
                        tuple(told.native) if any(told.native) else (), tuple(told.frames) if any(told.frames) else (),
                    )
                )  # fmt: skip
