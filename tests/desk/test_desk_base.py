"""What is learnt as a device's base is what it does by itself, never what a command has it do that it may still hold."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.fleet.columns import FEW
from tieline.resource.batch import Readings
from tieline.resource.claim import Quantity
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import SECOND_NS

GIVES_W = 5_000.0


class LetGo(Stage1):
    """Stores that gave 5 kW as they were called, and whose hand-back is on its way; by themselves they rest."""

    def __init__(self, count: int) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * count))

    async def play(self, stage: Stage, observed_w: float = np.nan) -> None:
        """Call them, let them go, and have the hand-back end in a stage."""
        call = self.ask("market", Level.MARKET, "pool-1", value=GIVES_W * len(self.state.fleet))
        await self.desk.ask(call)
        await self.desk.settle()
        await self.desk.flush()
        self.read(GIVES_W)
        assert (self.state.base_w == 0.0).all()
        self.devices.hears = lambda n: np.zeros(n, np.bool_)
        await self.desk.withdraw("test:market", "p", "pool-1", Quantity.P, "f")
        await self.desk.settle()
        await self.desk.flush()
        assert np.isnan(self.state.commands.target_w).all()
        self.report(Stage.SENT)
        self.report(stage, observed_w)
        await self.desk.flush()
        assert (self.state.commands.stage == stage).all()

    def report(self, stage: Stage, observed_w: float = np.nan) -> None:
        self.devices.report(self.devices.batches[-1], stage, observed_w)

    def read(self, power_w: float, after_s: int = 60) -> None:
        """Let a minute pass, and all meters say the same."""
        self.clock.ns += after_s * SECOND_NS
        fleet, count = self.state.fleet, len(self.state.fleet)
        at_ns = np.full(count, self.clock.ns)
        codes, good = np.full(count, fleet.power_code, np.uint16), np.zeros(count, np.uint32)
        rows, power = np.arange(count, dtype=np.int32), np.full(count, power_w)
        self.desk.readings(Readings(rows, codes, power, good, at_ns, at_ns, "t"))


@pytest.mark.parametrize("count", [2, FEW + 4])
@pytest.mark.parametrize(
    ("stage", "observed_w"),
    [(Stage.UNCONFIRMED, np.nan), (Stage.UNCONFIRMED, GIVES_W), (Stage.REJECTED, np.nan), (Stage.ACCEPTED, np.nan)],
)
def test_who_is_not_known_to_have_been_let_go_teaches_no_base_until_its_lease_is_over(
    stage: Stage, observed_w: float, count: int
) -> None:
    async def play() -> tuple[np.ndarray, np.ndarray]:
        desk = LetGo(count)
        await desk.play(stage, observed_w)
        for _ in range(5):
            desk.read(GIVES_W)
        held_w = desk.state.base_w.copy()
        for _ in range(20):
            desk.read(1_000.0)
        return held_w, desk.state.base_w.copy()

    held_w, over_w = asyncio.run(play())
    assert held_w == pytest.approx(np.zeros(count)), "the 5 kW are the command's that it may still hold"
    assert over_w == pytest.approx(np.full(count, 1_000.0), rel=0.2), "no command is as old as that: it runs by itself"


@pytest.mark.parametrize("count", [2, FEW + 4])
def test_who_said_that_it_was_let_go_teaches_its_base_at_once(count: int) -> None:
    async def play() -> np.ndarray:
        desk = LetGo(count)
        await desk.play(Stage.DONE)
        for _ in range(5):
            desk.read(1_000.0)
        return desk.state.base_w.copy()

    assert asyncio.run(play()) == pytest.approx(np.full(count, 1_000.0), rel=0.1)
