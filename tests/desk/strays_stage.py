"""A feeder under a limit with two ends where some keep to no command, and may begin to at any beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from desk_stage import PEOPLE, Devices, Stage1, fleet_of

from tieline.desk import groups
from tieline.desk.desk import Desk
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.batch import CommandBatch
from tieline.resource.claim import ClaimKind
from tieline.resource.command import Stage
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, SECOND_NS

OBEYS, IGNORES, MUTE, NO_LINK, SILENT = "obeys", "ignores", "mute", "no link", "silent"
"""Who takes what it is told; takes it and goes on as before; never polls; has no link; and who obeys, and is not heard."""
BEAT_S = 15


@dataclass(frozen=True)
class One:
    """A device: what it does by itself (W, positive into the grid), and how it takes what it is told."""

    kind: Kind
    how: str
    wish_w: float


class Polled(Devices):
    """A link from which devices take what they are told; who is mute fetches nothing, and gets the last later."""

    def __init__(self, street: Street, count: int) -> None:
        super().__init__(count, street.stage.clock)
        self.street = street
        self.last: dict[int, CommandBatch] = {}

    async def send(self, batch: CommandBatch) -> None:
        self.batches.append(batch)
        for at, row in enumerate(batch.rows.tolist()):
            self.last[row] = batch.take(np.arange(len(batch)) == at)
        self.deliver(batch.take(self.street.how[batch.rows] != MUTE))

    def polls(self, row: int) -> None:
        """Let one take what waits for it."""
        if row in self.last:
            self.deliver(self.last[row])


class Street:
    """Devices of 5 kW on one feeder, each of which does as it likes within what it took, if it obeys."""

    def __init__(self, ones: Iterable[One], fleet: Fleet | None = None) -> None:
        ones, ledger = list(ones), Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        self.ones, count = ones, len(ones)
        self.stage = Stage1(fleet or fleet_of([one.kind for one in ones]), ledger)
        self.state = self.stage.state
        self.state.carries.clear()
        self.desk = Desk(self.state, self.stage.journal, self.stage.clock, PEOPLE)
        self.how = np.array([one.how for one in ones], dtype="<U8")
        self.wish_w = np.array([one.wish_w for one in ones])
        self.link = Polled(self, count)
        self.link.desk = self.desk
        rows = [row for row in range(count) if self.how[row] != NO_LINK]
        self.desk.bind(self.link, "polled", {row: f"r{row}" for row in rows})
        fleet = self.state.fleet
        self.does_w = self.wish_w.copy()
        fleet.power_w[:] = self.state.base_w[:] = self.does_w
        self.net_w: list[float] = []
        self.limit_w = (-np.inf, np.inf)

    async def limit(self, low_w: float, high_w: float) -> None:
        """Limit the feeder, or move its limit."""
        clock, self.limit_w = self.stage.clock, (low_w, high_w)
        await self.desk.ask(
            self.stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=high_w,
                           end_ns=clock.ns + 3 * HOUR_NS)
        )  # fmt: skip

    def obeys(self, row: int, wish_w: float | None = None) -> None:
        """Let one begin to obey, and to want another power if one is given."""
        if self.how[row] == MUTE:
            self.link.polls(row)
        self.how[row] = OBEYS
        self.wish_w[row] = self.wish_w[row] if wish_w is None else wish_w

    async def play(self, beats: int = 1) -> list[float]:
        """Let beats pass, and return the feeder's power after each (W)."""
        clock, fleet = self.stage.clock, self.state.fleet
        for _ in range(beats):
            await self.desk.commit(groups.decide_regulation(self.state, clock.ns))
            await self.desk.settle()
            await self.desk.flush()
            clock.ns += BEAT_S * SECOND_NS
            self.moves()
            heard = self.how != SILENT
            fleet.power_w[heard], fleet.taken_at_ns[heard] = self.does_w[heard], clock.ns
            fleet.quality[:] = np.where(heard, 0, int(Quality.COMM_LOST))
            self.net_w.append(float(self.does_w.sum()))
        return self.net_w[-beats:]

    def moves(self) -> None:
        """Let each do what it does now: by its wish, within what it holds, if it obeys."""
        takes = (self.how == OBEYS) | (self.how == SILENT)
        within_w = np.minimum(np.maximum(self.wish_w, self.link.low_w), self.link.high_w)
        is_load, is_sun = self.state.fleet.max_inject_w <= 0.0, self.state.fleet.max_absorb_w <= 0.0
        # No sun gives more than it shines, and nobody draws what it has no need of.
        within_w = np.where(is_sun, np.minimum(within_w, self.wish_w), within_w)
        within_w = np.where(is_load, np.maximum(within_w, self.wish_w), within_w)
        # A car that is left less than it needs at least stops (IEC 61851-1).
        is_car = self.state.fleet.kinds == KIND_CODE[Kind.EV_CHARGER]
        within_w = np.where(is_car & (within_w > -LEAST_CHARGE_W), 0.0, within_w)
        # Left less than its rating, what is on or off stops, whatever part of that it draws.
        stops = self.state.is_switched & (self.link.low_w > -self.state.fleet.max_absorb_w)
        within_w = np.where(stops & (self.wish_w < 0.0), 0.0, within_w)
        self.does_w = np.where(takes, within_w, np.where(self.how == IGNORES, self.wish_w, self.does_w))

    def confirmed(self) -> None:
        """Let the link say of each that obeys, or says so, that it did what it was told."""
        for row, batch in self.link.last.items():
            if self.how[row] in (OBEYS, IGNORES):
                self.link.report(batch, Stage.DONE)
