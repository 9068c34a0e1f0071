"""The link for scale: commands reach the world's columns directly, with the same life and the same faults as on a wire.

Each device keeps what it was told, with the time at which it falls back by itself, and takes a command only if its
(epoch, seq) is newer than the last and its time is not over. Faults are columns too: some devices ignore commands,
some keep no timer, some are out of reach for a while and come back with nothing remembered; messages are lost, late,
doubled, overtaken, held and let go, and answers go missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import Intake, LastHop, LinkHealth, Session
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.obedience import astray_w, slack_w
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.simulate.faults import DeviceFaults
from tieline.simulate.world import World
from tieline.times import FOREVER_NS, SECOND_NS, Clock

Rows = NDArray[np.int32]
Picks = NDArray[np.int64]
Later = Callable[[float, Callable[[], None]], object]
ANSWERS_S = 20.0
"""How long an answer is waited for."""


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
        self.name, self.switched = name, frozenset[int]()  # its world knows on and off by kind alone
        self.rows = rows
        self.last_hop: LastHop | None = None
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
        self.skew_ns = np.round(rng.standard_normal(count) * faults.skew_s * SECOND_NS).astype(np.int64)
        self.is_lost = np.zeros(count, np.bool_)
        self.is_isolated = np.zeros(count, np.bool_)
        self._held: list[tuple[CommandBatch, Picks]] = []
        self.seen: Counter[str] = Counter()
        self.sent = self.acknowledged = self.observed = self.late = self.expired = self.duplicates = 0
        self.delays_s: list[float] = []

    def told(self, now_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what the devices obey now: targets (NaN: none), low and high limits (W); over means fallen back."""
        over = (self.until_ns <= now_ns - self.skew_ns) & ~self.no_timer
        found = (
            np.where(over, np.nan, self.target_w),
            np.where(over, -np.inf, self.low_w),
            np.where(over, np.inf, self.high_w),
        )
        for column in found:
            column[self.is_isolated] = 0.0
        return found

    def alone_until_ns(self, rows: Rows, now_ns: int) -> NDArray[np.int64]:
        """Return until when devices whose line is lost now do by their own timers what they began before; 0: in reach.

        Such a timer ends what it was told last, or the least time of an engine that runs. No command comes to it later.
        """
        until_ns = np.where(self.until_ns < FOREVER_NS, self.until_ns + self.skew_ns, FOREVER_NS)
        engines = self._world.engine_rows
        runs_ns = now_ns + np.round(self._world.engines.must_run_s() * SECOND_NS).astype(np.int64)
        until_ns[engines] = np.maximum(until_ns[engines], runs_ns)
        return np.where(self.is_lost, until_ns, 0)[rows]

    def isolate(self, rows: Rows) -> None:
        """Open the isolators of devices at their sites, by hand: whatever they are told, they give and take nothing."""
        self.is_isolated[rows] = True

    def rejoin(self) -> None:
        """Close all isolators again."""
        self.is_isolated[:] = False

    def disturb(self, begin: bool) -> int:
        """Take the unsteady devices out of reach, or bring them back; returns how many.

        Some come back because they started anew: what they were told is gone, and with it what they had seen. Then
        what was held on the way is let go.
        """
        self.is_lost = self.unsteady & begin
        if not begin:
            fresh = self.unsteady & (self._rng.random(len(self.unsteady)) < self._faults.reboots)
            self.seen["rebooted"] += int(fresh.sum())
            self.target_w[fresh], self.until_ns[fresh], self._seen[fresh] = np.nan, 0, 0
            self.low_w[fresh], self.high_w[fresh] = -np.inf, np.inf
            held, self._held = self._held, []
            for batch, picks in held:
                self._obey(batch, picks)  # nobody waits for their answers any more
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
        if self.last_hop is not None:
            passes = self.last_hop.passes(batch)
            if not passes.all():
                self._report(batch, np.flatnonzero(~passes), Stage.CANCELLED, now_ns)
                batch = batch.take(passes)
            if not len(batch):
                return
        self.sent += len(batch)
        self._report(batch, np.arange(len(batch)), Stage.SENT, now_ns)
        faults, draw = self._faults, self._rng.random((5, len(batch)))
        away = self.is_lost[batch.rows]
        held = away & (draw[0] < faults.held)
        arrives = ~away & (draw[0] >= faults.lost)
        mute = arrives & (draw[1] < faults.mute)
        slow = arrives & ~mute & (draw[2] < faults.late + faults.overtaken)
        quick = np.flatnonzero(arrives & ~mute & ~slow)
        first_s = 0.05 + 0.2 * float(self._rng.random())
        for picks, delay_s in (
            (quick, first_s),
            (np.flatnonzero(slow & (draw[2] < faults.late)), faults.late_s),
            (np.flatnonzero(slow & (draw[2] >= faults.late)), 65.0),  # the next beat's command is there before it
        ):
            if len(picks):
                self._later(delay_s, partial(self._arrive, batch, picks))
        again = quick[draw[3][quick] < faults.doubled]
        for picks, delay_s in (
            (np.flatnonzero(mute), first_s),
            (again, first_s + 1.0 + 40.0 * float(self._rng.random())),
        ):
            if len(picks):
                self._later(delay_s, partial(self._hear, batch, picks))
        if held.any():
            self._held.append((batch, np.flatnonzero(held)))
        unanswered = np.flatnonzero(~arrives | mute)
        if len(unanswered):
            self._later(ANSWERS_S, lambda: self._report(batch, unanswered, Stage.UNCONFIRMED, self._clock.now_ns()))
        self.late += int(slow.sum())
        counted = (("lost", ~arrives & ~held), ("held", held), ("mute", mute), ("late", slow))
        self.seen.update({name: int(mask.sum()) for name, mask in counted})

    def _arrive(self, batch: CommandBatch, picks: Picks) -> None:
        """Let devices take what came, and answer; what came too late, or after a newer one, had no effect."""
        takes, now_ns = self._obey(batch, picks), self._clock.now_ns()
        taken, missed = picks[takes], picks[~takes]
        if len(missed):
            self._report(batch, missed, Stage.UNCONFIRMED, now_ns)
        if not len(taken):
            return
        self.acknowledged += len(taken)
        self.delays_s.append((now_ns - batch.issued_at_ns) / SECOND_NS)
        self._report(batch, taken, Stage.ACCEPTED, now_ns)
        self._later(90.0, lambda: self._observe(batch, taken))

    def _hear(self, batch: CommandBatch, picks: Picks) -> None:
        """Let devices take what came without anybody hearing of it: a doubled command, or one whose answer is lost."""
        self._obey(batch, picks)

    def _obey(self, batch: CommandBatch, picks: Picks) -> NDArray[np.bool_]:
        """Let the devices take a command that is in time and newer than what they have seen; returns which did."""
        rows = batch.rows[picks]
        in_time = batch.valid_until_ns > self._clock.now_ns() - self.skew_ns[rows]
        self.seen["stale"] += int((~in_time).sum())
        stamp = _stamp(batch)
        newer = self._seen[rows] < stamp
        self.duplicates += int((~newer).sum())
        takes: NDArray[np.bool_] = newer & in_time
        picks, rows = picks[takes], rows[takes]
        obeys = ~self.ignores[rows]
        heard = rows[obeys]
        self.target_w[heard] = batch.target_w[picks[obeys]]
        self.low_w[heard], self.high_w[heard] = batch.low_w[picks[obeys]], batch.high_w[picks[obeys]]
        self.until_ns[heard] = batch.valid_until_ns
        self._seen[rows] = stamp
        return takes

    def _observe(self, batch: CommandBatch, picks: NDArray[np.int64]) -> None:
        """Read back: done where the meter shows what was asked, or as near as the device can be; else unconfirmed."""
        rows = batch.rows[picks]
        live = self._seen[rows] == _stamp(batch)
        if not live.all():
            self._report(batch, picks[~live], Stage.CANCELLED, self._clock.now_ns())  # a newer one took its place
        picks, rows = picks[live], rows[live]
        if not len(rows):
            return
        now_w, world = self._world.power_w[rows], self._world
        off_w = astray_w(now_w, batch.target_w[picks], batch.low_w[picks], batch.high_w[picks])
        near_w = slack_w(now_w, off_w)
        # What has nowhere to go is as near as it can be: a store that is empty, an engine or a compressor in its time.
        room_w = np.where(off_w < 0, world.up_w[rows], world.down_w[rows])
        done = (np.abs(off_w) <= near_w) | (room_w < near_w)
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
