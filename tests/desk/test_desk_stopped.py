"""What markets are told behind the kill switch: no call is accepted that no device would hear of."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import numpy as np
import pytest
from test_desk_declares import HOUR
from test_desk_kill import Pressed
from test_desk_last_hop import kill

from tieline.desk.facts import AvailabilityDeclared, from_record
from tieline.desk.obligation import owed
from tieline.desk.paid import Metered
from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Instruction
from tieline.desk.settle import Owners, settle_day
from tieline.fleet.ledger import Ledger
from tieline.market.settlement import SHORTFALL
from tieline.times import HOUR_NS, MINUTE_NS


async def called(stage: Pressed, uid: str, power_w: float, revision: int = 1) -> BatchAnswer:
    end_ns = HOUR + HOUR_NS
    one = Instruction(f"i-{uid}", uid, "pool-1", "ENERGY", HOUR, end_ns, power_w, 50.0, revision)
    return await stage.desk.dispatch(DispatchBatch(uid, stage.clock.ns, stage.clock.ns, end_ns, (one,), "f"))


@pytest.mark.parametrize("power_w", [40_000.0, 15_000.0])
def test_a_call_behind_the_switch_is_declined_in_words_that_name_it_and_one_for_nothing_is_accepted(
    power_w: float,
) -> None:
    async def play() -> None:
        stage = Pressed()
        await stage.press()
        answer = await called(stage, "1", power_w)
        assert answer.accepted == ()
        ((name, refusal),) = answer.declined
        assert name == "i-1"
        assert refusal.reason.startswith("kill_switch")
        assert (refusal.field, refusal.value) == ("power_w", f"{power_w:.0f}")
        assert (await called(stage, "2", 0.0)).accepted == ("i-2",), "it asks for what was declared"
        await kill(stage, False, "ada", "bo")
        assert await called(stage, "1", power_w) == answer, "what was answered stays"
        assert (await called(stage, "3", power_w, 2)).accepted == ("i-3",)

    asyncio.run(play())


def test_what_was_called_before_the_switch_is_owed_on_though_a_revision_is_declined_behind_it() -> None:
    async def play() -> None:
        stage = Pressed()
        assert (await called(stage, "1", 30_000.0)).accepted == ("i-1",)
        await stage.press()
        assert (await called(stage, "2", 20_000.0, 2)).accepted == ()
        debt = owed(stage.state, "pool-1", HOUR)
        assert debt is not None and debt.power_w == 30_000.0
        again = owed(stage.replayed(Ledger()), "pool-1", HOUR)
        assert again is not None and again.power_w == 30_000.0, "and after a restart"

    asyncio.run(play())


def test_an_award_whose_calls_are_declined_behind_the_switch_is_settled_as_lacking_because_of_it() -> None:
    """40 kW for an hour at 50 $/MWh, nothing delivered: 40 kWh are bought back at 80 $/MWh."""

    async def play() -> Pressed:
        stage = Pressed()
        await stage.press()
        for step in range(12):
            await called(stage, str(step + 1), 20_000.0, step + 1)
            await stage.minutes(5)
        await stage.minutes(2)
        return stage

    stage = asyncio.run(play())
    tracked = {fact.start_ns: fact for fact in stage.intervals()}
    starts = [HOUR + n * 5 * MINUTE_NS for n in range(12)]
    assert all(tracked[at].causes == pytest.approx({"kill_switch": 40_000.0}) for at in starts)
    meters = Metered(dict.fromkeys(starts, 0.0), dict.fromkeys(starts, 80.0), ())
    owners = Owners(np.zeros(10, np.int32), ["site"], Decimal("0.2"))
    made = settle_day("pool-1", [stage.state.awards["a"]], tracked, meters, owners)
    lacks = [line for line in made.lines if line.kind == SHORTFALL]
    assert {line.cause for line in lacks} == {"kill_switch"}
    assert sum(line.energy_wh for line in lacks) == pytest.approx(-40_000.0)
    assert made.bought_back == {"kill_switch": pytest.approx(Decimal("3.20"), abs=Decimal("0.06"))}
    assert not made.excused_wh


@pytest.mark.parametrize("comes_first", ["award", "switch"])
def test_what_is_sold_for_later_and_can_t_be_called_is_told_as_the_switchs_at_the_first_beat(comes_first: str) -> None:
    """An award of an hour ahead: nothing is owed yet, and telemetry has nothing to do with it."""

    async def play() -> tuple[list[tuple[float, str]], list[str]]:
        stage = Pressed()
        stage.state.awards.clear()
        stage.clock.ns -= 40 * MINUTE_NS
        later = Award("b", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 40_000.0, 50.0)
        await stage.minutes(3)
        if comes_first == "award":
            stage.state.awards["b"] = later
            await stage.press()
        else:
            await stage.press()
            stage.state.awards["b"] = later
        stage.market.told.clear()
        await stage.minutes(2)
        facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), AvailabilityDeclared)]
        return stage.market.told, [fact.cause for fact in facts if fact.up_w == 0.0]

    told, causes = asyncio.run(play())
    assert told == [(0.0, "kill_switch")]
    assert causes == ["kill_switch"]
