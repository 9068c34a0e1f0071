"""A hand-back that a device could not hear is owed until it answers: one without a timer holds its call for good."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.dispatch import AGAIN_NS
from tieline.desk.state import LEASE_NS
from tieline.desk.watch import decide_reverts
from tieline.fleet.columns import FEW
from tieline.fleet.ledger import Ledger
from tieline.resource.batch import CommandBatch, Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

GIVES_W = RATED_W = 5_000.0
CAP = {"kind": ClaimKind.LIMIT, "low": -1_000.0, "high": 1_000.0}


class Away(Stage1):
    """Stores that were told something, and that are lost as they are let go; they keep no timer."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * count))
        self.rows = np.arange(count, dtype=np.int32)

    async def let_go(self, what: str, ends: Stage) -> CommandBatch:
        """Tell them, lose them, let them go, and have the hand-back end unanswered; return that."""
        call = {"value": GIVES_W} if what == "target" else CAP
        for row in self.rows:
            who = ("market", Level.MARKET) if what == "target" else ("dso", Level.ENVELOPE)
            await self.desk.ask(self.ask(*who, f"r{row}", **call, end_ns=self.clock.ns + HOUR_NS))
        await self.beat()
        self.lose()
        self.clock.ns += MINUTE_NS
        for row in self.rows:
            assert await self.desk.withdraw(f"test:{who[0]}", "p", f"r{row}", Quantity.P, "f")
        released = await self.beat()
        assert released is not None and np.isnan(released.target_w).all() and (released.high_w >= RATED_W).all()
        self.clock.ns += 20 * SECOND_NS if ends is Stage.UNCONFIRMED else LEASE_NS
        self.devices.report(released, ends)
        await self.desk.flush()
        return released

    def lose(self) -> None:
        self.devices.hears = lambda n: np.zeros(n, np.bool_)
        self.state.fleet.quality[:] = int(Quality.COMM_LOST)

    def come_back(self, power_w: float) -> None:
        self.devices.hears = lambda n: np.ones(n, np.bool_)
        self.read(power_w)

    def read(self, power_w: float) -> None:
        fleet, count = self.state.fleet, len(self.rows)
        at_ns, codes = np.full(count, self.clock.ns), np.full(count, fleet.power_code, np.uint16)
        good, power = np.zeros(count, np.uint32), np.full(count, power_w)
        self.desk.readings(Readings(self.rows, codes, power, good, at_ns, at_ns, "t"))

    async def beat(self) -> CommandBatch | None:
        batch = await self.desk.settle()
        await self.desk.flush()
        return batch


@pytest.mark.parametrize("after_ns", [5 * MINUTE_NS, LEASE_NS + MINUTE_NS, 12 * HOUR_NS])
@pytest.mark.parametrize("ends", [Stage.UNCONFIRMED, Stage.EXPIRED, Stage.CANCELLED])
@pytest.mark.parametrize("what", ["target", "cap"])
def test_who_could_not_hear_that_it_was_let_go_is_told_as_it_comes_back_however_long_that_takes(
    what: str, ends: Stage, after_ns: int
) -> None:
    async def play() -> None:
        stage = Away()
        first = await stage.let_go(what, ends)
        for _ in range(3):
            stage.clock.ns += after_ns // 3
            assert await stage.beat() is None, "nobody is told anything while it can't hear"
        held = stage.devices.target_w.copy(), stage.devices.high_w.copy()
        assert (held[0] == GIVES_W).all() if what == "target" else (held[1] == CAP["high"]).all()
        stage.come_back(GIVES_W if what == "target" else 1_000.0)
        again = await stage.beat()
        assert again is not None and again.rows.tolist() == [0, 1] and again.seq > first.seq
        assert np.isnan(stage.devices.target_w).all() and (stage.devices.high_w >= RATED_W).all()
        for _ in range(4):
            stage.clock.ns += AGAIN_NS
            stage.read(0.0)
            assert await stage.beat() is None, "one answer is enough"
        assert stage.replayed(Ledger()).digest() == stage.state.digest()

    asyncio.run(play())


@pytest.mark.parametrize("count", [2, FEW + 4])
def test_what_it_holds_as_it_comes_back_is_not_learnt_as_its_own_and_what_it_does_once_let_go_is(count: int) -> None:
    async def play() -> None:
        stage = Away(count)
        await stage.let_go("target", Stage.UNCONFIRMED)
        stage.clock.ns += 3 * LEASE_NS
        stage.come_back(GIVES_W)
        for _ in range(3):
            stage.clock.ns += 10 * SECOND_NS
            stage.read(GIVES_W)
        assert (stage.state.base_w == 0.0).all()
        await stage.beat()
        stage.devices.report(stage.devices.batches[-1], Stage.DONE)
        await stage.desk.flush()
        for _ in range(20):
            stage.clock.ns += MINUTE_NS
            stage.read(300.0)
        assert stage.state.base_w == pytest.approx(np.full(count, 300.0), rel=0.01)

    asyncio.run(play())


def test_who_answered_that_it_was_let_go_is_not_told_again_after_an_outage() -> None:
    async def play() -> None:
        stage = Away()
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=GIVES_W, end_ns=stage.clock.ns + HOUR_NS))
        await stage.beat()
        assert await stage.desk.withdraw("test:market", "p", "r0", Quantity.P, "f")
        assert await stage.beat() is not None
        stage.lose()
        stage.clock.ns += 2 * LEASE_NS
        assert await stage.beat() is None
        stage.come_back(0.0)
        assert await stage.beat() is None
        assert decide_reverts(stage.state, stage.clock.ns) == ([], None)

    asyncio.run(play())


def test_one_that_is_called_anew_as_it_comes_back_is_told_that_and_no_hand_back() -> None:
    async def play() -> None:
        stage = Away()
        await stage.let_go("target", Stage.UNCONFIRMED)
        stage.clock.ns += 2 * LEASE_NS
        stage.come_back(GIVES_W)
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=2_000.0, end_ns=stage.clock.ns + HOUR_NS))
        batch = await stage.beat()
        assert dict(zip(batch.rows.tolist(), np.nan_to_num(batch.target_w, nan=-1.0), strict=True)) == {
            0: 2_000.0,
            1: -1.0,
        }

    asyncio.run(play())
