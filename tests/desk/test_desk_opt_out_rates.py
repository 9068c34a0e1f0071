"""How often owners opt out of calls: from the prior, by what events in the journal tell, the same after a replay."""

import asyncio
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from desk_stage import fleet_of
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import NAMEPLATE_W, START, Programs

from tieline.desk import events
from tieline.desk.hedging import there_frac
from tieline.desk.opt_out_rates import (
    HOURS,
    LOAD_FRAC,
    OTHER_FRAC,
    PRIOR_CALLS,
    OptOutRates,
    high_frac,
    opt_out_rates,
    views_of,
)
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, KINDS
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, from_ns

UTC = ZoneInfo("UTC")
BATTERY, HOUSE = KIND_CODE[Kind.BATTERY], KIND_CODE[Kind.THERMOSTAT]
SHAPE = (len(KINDS), HOURS)


def test_without_a_call_the_rate_is_the_prior_and_that_is_said() -> None:
    fleet = fleet_of([Kind.BATTERY, Kind.THERMOSTAT])
    rates = opt_out_rates(DeskState.empty(fleet, ClaimBook(fleet), Ledger()), UTC, START)
    told = {view.kind: view for view in views_of(rates, fleet.kinds)}
    assert [(v.hour, v.called, v.out) for v in told.values()] == [(None, 0, 0)] * 2
    assert (told["battery"].mean_frac, told["thermostat"].mean_frac) == (OTHER_FRAC, LOAD_FRAC)
    assert all(view.mean_frac == view.prior_frac < view.high_frac for view in told.values())


def test_owners_who_leave_a_call_are_counted_by_kind_and_hour_and_a_replay_tells_the_same() -> None:
    """Three of ten leave while they are called; one that leaves after the event was over tells nothing of it."""

    async def play() -> Programs:
        stage = Programs()
        event = await stage.approved(0.4 * NAMEPLATE_W)
        stage.clock.ns = START
        await stage.desk.commit(events.due(stage.state, stage.clock.ns))
        assert stage.state.called[event.id].rows
        for name in ("r1", "r4", "r7"):
            await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, name, ClaimKind.GATE, quantity=Quantity.CONNECT))
        stage.clock.ns = START + 2 * HOUR_NS
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r2", ClaimKind.GATE, quantity=Quantity.CONNECT))
        return stage

    stage = asyncio.run(play())
    rates = opt_out_rates(stage.state, UTC, stage.clock.ns)
    hour = from_ns(START).hour
    assert rates.called.sum() == rates.called[BATTERY, hour] == 10
    assert rates.out.sum() == rates.out[BATTERY, hour] == 3
    assert rates.of_kind()[BATTERY] == pytest.approx((PRIOR_CALLS * OTHER_FRAC + 3) / (PRIOR_CALLS + 10))
    assert rates.of_hour()[BATTERY, hour] > rates.of_hour()[BATTERY, (hour + 5) % 24] == rates.of_kind()[BATTERY]
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(NAMEPLATE_W, NAMEPLATE_W))
    again = opt_out_rates(stage.replayed(ledger), UTC, stage.clock.ns)
    assert np.array_equal(again.called, rates.called) and np.array_equal(again.out, rates.out)


counts = st.integers(0, 500).flatmap(lambda called: st.tuples(st.just(called), st.integers(0, called)))


@given(of_hour=counts, more=st.integers(1, 100))
def test_one_more_opt_out_raises_the_rate_and_lowers_who_is_counted_on_and_no_call_jumps(of_hour, more: int) -> None:
    called, out = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64)
    called[HOUSE, 18], out[HOUSE, 18] = of_hour[0] + more, of_hour[1]
    few = OptOutRates(called, out)
    many = OptOutRates(called, out + (np.arange(SHAPE[0]) == HOUSE)[:, None] * (np.arange(HOURS) == 18) * more)
    fleet = fleet_of([Kind.THERMOSTAT] * 3)
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    there = [there_frac(state, rates.of_hour()[:, 18]) for rates in (few, many)]
    assert (there[1] < there[0]).all() and (there[1] > 0.0).all()
    first = OptOutRates((called > 0).astype(np.int64), (called > 0).astype(np.int64))
    assert first.of_hour()[HOUSE, 18] - LOAD_FRAC <= 2.0 / (PRIOR_CALLS + 1), "one call tells little"


@given(of_hour=counts)
def test_the_high_end_is_above_the_mean_and_comes_nearer_with_calls(of_hour) -> None:
    called, out = of_hour
    mean = (PRIOR_CALLS * LOAD_FRAC + out) / (PRIOR_CALLS + called)
    assert mean < high_frac(mean, called) <= 1.0
    assert high_frac(mean, 10 * called + 10) < high_frac(mean, called)
