"""The link for scale: commands reach the world's columns directly, with the same life and the same faults as on a wire.

Each device keeps what it was told, with the time at which it falls back by itself, and takes a command only if its
(epoch, seq) is newer than the last. Faults are columns too: some devices ignore commands, some keep no timer, some are
out of reach for a while, some answer late.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.ports import Intake, LinkHealth, Session
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.simulate.world import World
from tieline.times import SECOND_NS, Clock

Rows = NDArray[np.int32]
Later = Callable[[float, Callable[[], None]], object]


class DeviceFaults(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares (0 to 1) of devices, and of messages, that go wrong."""

    ignores: float = 0.0
    no_timer: float = 0.0
    out_of_reach: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    late_s: float = 20.0


FAULTS = {
    "none": DeviceFaults(),
    "heatwave": DeviceFaults(ignores=0.004, no_timer=0.004, out_of_reach=0.01, lost=0.002, late=0.05),
    "cloud": DeviceFaults(ignores=0.004, no_timer=0.004, out_of_reach=0.01, lost=0.002, late=0.05),
    "comms-loss": DeviceFaults(ignores=0.01, no_timer=0.01, out_of_reach=0.15, lost=0.02, late=0.2),
}


class ColumnsLink:
    """Carries commands to the world's devices and their readings back; a `desk.ports.CommandLink`."""

    def __init__(
        self,
        world: World,
        rows: Rows,
        intake: Intake,
        clock: Clock,
        later: Later,
        faults: DeviceFaults,
        rng: np.random.Generator,
        name: str = "columns",
    ) -> None:
        self.name = name
        self.rows = rows
        self._world, self._intake, self._clock, self._later, self._rng = world, intake, clock, later, rng
        self._faults = faults
        count = len(world.power_w)
        self.target_w = np.full(count, np.nan)
        self.low_w, self.high_w = np.full(count, -np.inf), np.full(count, np.inf)
        self.until_ns = np.zeros(count, np.int64)
        self._seen = np.zeros(count, np.int64)  # the newest (epoch, seq) that each device took
        self._handed = np.zeros(count, np.int64)  # and that was handed over for it
        self._last_w, self._last_ns = np.zeros(count), np.zeros(count, np.int64)
        self._heard = np.zeros(count, np.bool_)
        mine = np.zeros(count, np.bool_)
        mine[rows] = True
        draw = rng.random((3, count))
        self.ignores = mine & (draw[0] < faults.ignores)
        self.no_timer = mine & (draw[1] < faults.no_timer)
        self.unsteady = mine & (draw[2] < faults.out_of_reach)
        self.is_lost = np.zeros(count, np.bool_)
        self.sent = self.acknowledged = self.observed = self.late = self.expired = self.duplicates = 0
        self.delays_s: list[float] = []

    def told(self, now_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what the devices obey now: targets (NaN: none), low and high limits (W); over means fallen back."""
        over = (self.until_ns <= now_ns) & ~self.no_timer
        return (
            np.where(over, np.nan, self.target_w),
            np.where(over, -np.inf, self.low_w),
            np.where(over, np.inf, self.high_w),
        )

    def disturb(self, begin: bool) -> int:
        """Take the unsteady devices out of reach, or bring them back; returns how many."""
        self.is_lost = self.unsteady & begin
        return int(self.unsteady.sum())

    async def send(self, batch: CommandBatch) -> None:
        """Hand the rows over, each once; those out of reach stay unanswered and end UNCONFIRMED."""
        now_ns, stamp = self._clock.now_ns(), _stamp(batch)
        fresh = self._handed[batch.rows] < stamp
        if not fresh.all():
            self.duplicates += int((~fresh).sum())
            batch = batch.take(fresh)
        if not len(batch):
            return
        self._handed[batch.rows] = stamp
        if batch.valid_until_ns <= now_ns:
            self.expired += len(batch)
            self._report(batch, np.arange(len(batch)), Stage.EXPIRED, now_ns)
            return
        self.sent += len(batch)
        self._report(batch, np.arange(len(batch)), Stage.SENT, now_ns)
        arrives = ~self.is_lost[batch.rows] & (self._rng.random(len(batch)) >= self._faults.lost)
        slow = arrives & (self._rng.random(len(batch)) < self._faults.late)
        quick = np.flatnonzero(arrives & ~slow)
        if len(quick):
            self._later(0.05 + 0.2 * float(self._rng.random()), lambda: self._arrive(batch, quick))
        if slow.any():
            self.late += int(slow.sum())
            self._later(self._faults.late_s, lambda: self._arrive(batch, np.flatnonzero(slow)))
        lost = np.flatnonzero(~arrives)
        if len(lost):
            self._later(60.0, lambda: self._report(batch, lost, Stage.UNCONFIRMED, self._clock.now_ns()))

    def _arrive(self, batch: CommandBatch, picks: NDArray[np.int64]) -> None:
        now_ns = self._clock.now_ns()
        rows = batch.rows[picks]
        stamp = _stamp(batch)
        newer = self._seen[rows] < stamp
        if not newer.all():  # overtaken on its way by a newer one, which the device keeps
            self._report(batch, picks[~newer], Stage.UNCONFIRMED, now_ns)
        picks, rows = picks[newer], rows[newer]
        if not len(rows):
            return
        obeys = ~self.ignores[rows]
        heard = rows[obeys]
        self.target_w[heard] = batch.target_w[picks[obeys]]
        self.low_w[heard], self.high_w[heard] = batch.low_w[picks[obeys]], batch.high_w[picks[obeys]]
        self.until_ns[heard] = batch.valid_until_ns
        self._seen[rows] = stamp
        self.acknowledged += len(rows)
        self.delays_s.append((now_ns - batch.issued_at_ns) / SECOND_NS)
        self._report(batch, picks, Stage.ACCEPTED, now_ns)
        self._later(90.0, lambda: self._observe(batch, picks))

    def _observe(self, batch: CommandBatch, picks: NDArray[np.int64]) -> None:
        """Read back: done where the power is what was asked, or as near as its limits allow; else unconfirmed."""
        rows = batch.rows[picks]
        live = self._seen[rows] == _stamp(batch)
        if not live.all():
            self._report(batch, picks[~live], Stage.CANCELLED, self._clock.now_ns())  # a newer one took its place
        picks, rows = picks[live], rows[live]
        if not len(rows):
            return
        now_w, wanted_w = self._world.power_w[rows], batch.target_w[picks]
        slack_w = np.maximum(250.0, 0.15 * np.abs(wanted_w))
        near = np.isnan(wanted_w) | (np.abs(now_w - wanted_w) <= slack_w)
        spent = (self._world.up_w[rows] < slack_w) & (now_w < wanted_w)
        spent |= (self._world.down_w[rows] < slack_w) & (now_w > wanted_w)
        done = near | spent
        self.observed += int(done.sum())
        for mask, stage in ((done, Stage.DONE), (~done, Stage.UNCONFIRMED)):
            if mask.any():
                self._report(batch, picks[mask], stage, self._clock.now_ns(), now_w[mask])

    def _report(
        self,
        batch: CommandBatch,
        picks: NDArray[np.int64],
        stage: Stage,
        now_ns: int,
        observed_w: NDArray[np.float64] | None = None,
    ) -> None:
        count = len(picks)
        self._intake.reports(
            CommandReports(
                batch.id, self.name, batch.rows[picks], np.full(count, stage, np.uint8),
                np.full(count, now_ns, np.int64), np.full(count, RejectWord.NONE, np.uint8),
                np.full(count, np.nan) if observed_w is None else observed_w, (), (),
            )
        )  # fmt: skip

    def tell(self) -> None:
        """Bring the readings of all devices in reach; those out of reach go stale, and say so once."""
        now_ns = self._clock.now_ns()
        rows = self.rows[~self.is_lost[self.rows]]
        self._intake.readings(self._world.readings(now_ns, rows, self.name))
        self._last_w[rows], self._last_ns[rows], self._heard[rows] = self._world.power_w[rows], now_ns, True
        lost = self.rows[self.is_lost[self.rows] & self._heard[self.rows]]
        if len(lost):
            self._intake.readings(self._lost(lost, now_ns))

    def _lost(self, rows: Rows, now_ns: int) -> Readings:
        """Return what was last heard of rows that are out of reach, with its time: what they do now is not known."""
        count = len(rows)
        flags, points = np.full(count, int(Quality.COMM_LOST), np.uint32), np.full(count, code("power_w"), np.uint16)
        received_ns = np.full(count, now_ns, np.int64)
        return Readings(rows, points, self._last_w[rows], flags, self._last_ns[rows], received_ns, self.name)

    def health(self, now_ns: int) -> LinkHealth:
        """Return how the link is."""
        session = Session.DEGRADED if self.is_lost.any() else Session.LIVE
        return LinkHealth(self.name, "columns", session, now_ns, len(self.rows), self.sent, self.acknowledged)


def _stamp(batch: CommandBatch) -> int:
    """Return what orders commands of a row: the epoch, then the sequence."""
    return batch.epoch * (1 << 40) + batch.seq
