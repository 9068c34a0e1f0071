"""What was on its way to devices as the desk ended: no link waits for its answer, so the next desk tells it anew."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import PEOPLE, Stage1, fleet_of

from tieline.desk.desk import Desk
from tieline.desk.dispatch import AGAIN_NS
from tieline.desk.watch import decide_given_up
from tieline.fleet.ledger import Ledger
from tieline.resource.batch import CommandBatch
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

CAP = {"kind": ClaimKind.LIMIT, "low": -1_000.0, "high": 1_000.0}


def begins_again(stage: Stage1) -> None:
    """Let the desk end as if killed, and another begin on its journal; devices stay as they are."""
    stage.state = stage.replayed(Ledger())
    stage.desk = stage.devices.desk = Desk(stage.state, stage.journal, stage.clock, PEOPLE)
    stage.desk.bind(stage.devices, "test", {row: stage.state.fleet.id_of(row) for row in range(len(stage.state.fleet))})


async def told(stage: Stage1, what: str, sent: bool) -> CommandBatch:
    """Tell two devices the same, which the first does not hear and the second takes; return the batch."""
    desk, devices, hour = stage.desk, stage.devices, {"end_ns": stage.clock.ns + HOUR_NS}
    for row in ("r0", "r1"):
        if what == "target":
            await desk.ask(stage.ask("market", Level.MARKET, row, value=2_000.0, **hour))
        else:
            await desk.ask(stage.ask("dso", Level.ENVELOPE, row, **CAP, **hour))
    if what == "hand-back":
        await desk.settle()
        await desk.flush()
        stage.clock.ns += MINUTE_NS
        for row in ("r0", "r1"):
            assert await desk.withdraw("test:dso", "p", row, Quantity.P, "f")
    devices.hears = lambda n: np.arange(n) > 0
    batch = await desk.settle()
    assert batch.rows.tolist() == [0, 1]
    if sent:
        devices.report(batch.take(batch.rows == 0), Stage.SENT)
    await desk.flush()
    return batch


def hold_the_same(stage: Stage1) -> bool:
    devices = stage.devices
    return all(np.ptp(np.nan_to_num(of, nan=-1.0)) == 0.0 for of in (devices.target_w, devices.low_w, devices.high_w))


@pytest.mark.parametrize("what", ["hand-back", "cap", "target"])
@pytest.mark.parametrize("sent", [False, True])
def test_what_was_on_its_way_as_the_desk_ended_is_told_anew_once_and_nothing_that_was_answered(
    what: str, sent: bool
) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        first = await told(stage, what, sent)
        assert not hold_the_same(stage)
        begins_again(stage)
        stage.devices.hears = lambda n: np.ones(n, np.bool_)
        stage.clock.ns += 5 * SECOND_NS
        again = await stage.desk.settle()
        assert again is not None and again.rows.tolist() == [0]
        assert again.seq > first.seq and hold_the_same(stage)
        await stage.desk.flush()
        stage.clock.ns += AGAIN_NS
        assert await stage.desk.settle() is None
        assert decide_given_up(stage.state, stage.clock.ns) == []
        assert stage.replayed(Ledger()).digest() == stage.state.digest()

    asyncio.run(play())


@pytest.mark.parametrize("what", ["hand-back", "cap", "target"])
def test_a_device_that_is_not_heard_as_the_desk_begins_ends_its_command_once_and_is_told_as_it_is_heard(
    what: str,
) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        await told(stage, what, True)
        begins_again(stage)
        stage.state.fleet.quality[0] = int(Quality.COMM_LOST)
        stage.devices.hears = lambda n: np.ones(n, np.bool_)
        stage.clock.ns += AGAIN_NS - SECOND_NS
        assert await stage.desk.settle() is None
        assert decide_given_up(stage.state, stage.clock.ns) == [], "its link might have waited as long"
        stage.clock.ns += SECOND_NS
        assert await stage.desk.settle() is None
        (end,) = decide_given_up(stage.state, stage.clock.ns)
        await stage.desk.commit([end])
        assert stage.state.commands.stage.tolist() == [Stage.UNCONFIRMED, Stage.ACCEPTED]
        assert decide_given_up(stage.state, stage.clock.ns) == []
        assert stage.replayed(Ledger()).commands.stage.tolist() == [Stage.UNCONFIRMED, Stage.ACCEPTED]
        begins_again(stage)  # one more start gives it up no second time
        assert decide_given_up(stage.state, stage.clock.ns + HOUR_NS) == []
        stage.clock.ns += 20 * SECOND_NS
        stage.state.fleet.quality[0] = 0
        again = await stage.desk.settle()
        assert again.rows.tolist() == [0] and hold_the_same(stage)

    asyncio.run(play())


def test_what_is_on_its_way_while_the_desk_lives_is_left_to_its_link() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        await told(stage, "hand-back", True)
        stage.clock.ns += 5 * MINUTE_NS
        assert await stage.desk.settle() is None
        assert decide_given_up(stage.state, stage.clock.ns) == []

    asyncio.run(play())
