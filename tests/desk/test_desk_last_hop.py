"""What stands between a settled setpoint and the wire: kill switch, fleet limiter, ramps, timers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.authority import decide_kill, may_pass
from tieline.fleet.holding import timers
from tieline.fleet.ledger import Ledger
from tieline.fleet.limiter import FleetLimiter
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.hold import held_within, switches
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.ramp import stepped
from tieline.resource.setpoint import Bounds
from tieline.times import MINUTE_NS, SECOND_NS

POWERS = st.floats(-5e3, 5e3)


async def kill(stage: Stage1, pressed: bool, *people: str) -> Refusal | None:
    entries, refusal = decide_kill(stage.state, pressed, " with ".join(people), people, stage.clock.ns)
    await stage.desk.commit(entries)
    return refusal


def test_a_pressed_kill_switch_survives_a_restart_and_two_people_release_it() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        assert await kill(stage, True, "ada") is None
        assert stage.replayed(Ledger()).is_killed
        refusal = await kill(stage, False, "ada")
        assert refusal is not None
        assert (refusal.field, refusal.rule) == ("people", "two people")
        assert await kill(stage, False, "ada", "ada") is not None, "the same person twice is one"
        assert stage.state.is_killed
        assert await kill(stage, False, "ada", "bo") is None
        assert not stage.replayed(Ledger()).is_killed

    asyncio.run(play())


def test_under_the_kill_switch_only_what_leads_to_safety_leaves_and_the_rest_follows_its_release() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 3))
        stage.state.fleet.power_w[:] = [3_000.0, 3_000.0, 0.0]
        await kill(stage, True, "ada")
        for row, watts in enumerate((1_000.0, 4_000.0, 500.0)):
            await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=watts))
        await stage.desk.settle()
        assert [list(batch.rows) for batch in stage.devices.batches] == [[0]]
        await kill(stage, False, "ada", "bo")
        stage.clock.ns += SECOND_NS
        await stage.desk.settle()
        assert list(stage.devices.batches[-1].rows) == [1, 2]

    asyncio.run(play())


def test_a_command_that_waited_while_the_switch_was_pressed_is_barred_at_the_last_hop() -> None:
    """100,000 commands are decided and durable; the switch is pressed before they are handed over: none leaves."""

    async def play() -> None:
        count = 100_000
        stage = Stage1(fleet_of([Kind.BATTERY] * count))
        stage.state.limiter.system_w = np.inf
        stage.state.limiter.feeder_w[:] = np.inf
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=1e6))
        append, pressed = stage.journal.append, []

        async def slow(records: list) -> int:
            if not pressed and any(record.kind == "CommandsIssued" for record in records):
                pressed.append(await kill(stage, True, "ada"))
            return await append(records)

        stage.journal.append = slow
        await stage.desk.settle()
        await stage.desk.flush()
        assert pressed == [None]
        assert not stage.devices.batches
        assert set(np.unique(stage.state.commands.stage)) == {8}, "all ended CANCELLED"

    asyncio.run(play())


@given(st.lists(st.tuples(POWERS, POWERS, POWERS), min_size=1, max_size=20))
def test_what_passes_a_kill_switch_never_ends_further_from_safety(rows: list) -> None:
    stage = Stage1(fleet_of([Kind.BATTERY] * len(rows)))
    stage.state.authority["kill"] = "on"
    now, target, safe = (np.array(x) for x in zip(*rows, strict=True))
    stage.state.fleet.power_w[:], stage.state.fleet.safe_w[:] = now, safe
    some, wide = np.arange(len(rows), dtype=np.int32), np.full(len(rows), np.inf)
    passes = may_pass(stage.state, some, target, -wide, wide)
    assert (np.abs(target - safe)[passes] <= np.abs(now - safe)[passes] + 1.0 + 1e-6).all()
    assert passes[target == safe].all()


# --- fleet limiter ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_mix_of_targets_swings_more_than_the_cap_in_any_60_s(seed: int) -> None:
    rng = np.random.default_rng(seed)

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 40, per_feeder=10))
        limiter = stage.state.limiter
        moved: list[tuple[int, np.ndarray]] = []
        end = np.zeros(40)
        for turn in range(30):
            stage.clock.ns += int(rng.integers(1, 40)) * SECOND_NS
            for row in rng.choice(40, 12, replace=False):
                value = float(rng.integers(-50, 51) * 100)
                await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=value, version=turn + 1))
            batch = await stage.desk.settle()
            step = np.zeros(40)
            if batch is not None:
                step[batch.rows] = np.abs(batch.target_w - end[batch.rows])
                end[batch.rows] = batch.target_w
            moved.append((stage.clock.ns, step))
            window = sum(s for at, s in moved if at > stage.clock.ns - 60 * SECOND_NS)
            assert window.sum() <= limiter.system_w + 1e-6
            assert (np.bincount(np.arange(40) // 10, window) <= limiter.feeder_w[:4] + 1e-6).all()
        assert sum(s.sum() for _, s in moved) > limiter.system_w, "it only delays: in the end more than one cap moved"

    asyncio.run(play())


def test_what_the_limiter_held_back_follows_minute_by_minute_until_all_is_there() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 10))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=-50_000.0))
        await stage.desk.settle()
        stage.clock.ns += 61 * SECOND_NS
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=50_000.0))
        went = []
        for _ in range(4):
            await stage.desk.settle()
            went.append(float(stage.devices.target_w.sum()))
            stage.clock.ns += 61 * SECOND_NS
        assert went[0] < went[1] <= went[2] == went[3] == 50_000.0

    asyncio.run(play())


@pytest.mark.parametrize("ratings_w", [(5_000.0,), (5_000.0, 300.0), (5_000.0, 100.0, 100.0)])
@pytest.mark.parametrize("kind", [Kind.BATTERY, Kind.INTERRUPTIBLE_LOAD])
def test_a_device_that_is_most_of_its_feeder_is_moved_all_the_way_and_let_go_within_a_minute_each(
    kind: Kind, ratings_w: tuple[float, ...]
) -> None:
    async def play() -> None:
        fleet = fleet_of([kind] * len(ratings_w))
        fleet.max_absorb_w[:] = ratings_w
        fleet.max_inject_w[:] = ratings_w if kind is Kind.BATTERY else 0.0
        stage = Stage1(fleet)
        state, ends = stage.state, (-5_000.0, 5_000.0) if kind is Kind.BATTERY else (-5_000.0, 0.0)
        fleet.power_w[:] = state.base_w[:] = -np.array(ratings_w)
        for turn, value in enumerate((*ends, *ends), 1):
            await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=value, version=turn))
            await stage.desk.settle()
            assert stage.devices.target_w[0] == value, turn
            fleet.power_w[0] = value
            stage.clock.ns += 61 * SECOND_NS
            fleet.taken_at_ns[:] = stage.clock.ns
        await stage.desk.withdraw("test:market", "p", "r0", Quantity.P, "f")
        await stage.desk.settle()
        assert np.isnan(stage.devices.target_w[0])

    asyncio.run(play())


def test_a_tightening_by_the_grid_is_never_held_back() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 20, per_feeder=10))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=40_000.0))
        await stage.desk.settle()
        assert stage.devices.target_w == pytest.approx(np.full(20, 2_000.0))
        stage.state.fleet.power_w[:] = 2_000.0
        stage.state.limiter.system_w = 1.0
        stage.state.limiter.feeder_w[:] = 1.0
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-5e4, high=0.0))
        await stage.desk.settle()
        assert stage.devices.target_w[:10].sum() <= 1e-6
        assert stage.devices.target_w[10:] == pytest.approx(np.full(10, 2_000.0))

    asyncio.run(play())


def test_a_feeder_that_must_draw_is_told_so_at_once_though_the_limiter_is_spent() -> None:
    """What was let go a moment before has spent the minute; the way to the grid's limit is not a matter of that."""

    async def play(market_w: float) -> tuple[np.ndarray, np.ndarray]:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=market_w))
        await stage.desk.settle()
        stage.state.fleet.power_w[:] = market_w / 4
        stage.clock.ns += 61 * SECOND_NS
        first = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-5e4, high=1_000.0)
        await stage.desk.ask(first)
        await stage.desk.settle()
        assert stage.devices.target_w.sum() <= 1_000.0 + 1e-6
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await stage.desk.settle()
        stage.clock.ns += 2 * SECOND_NS
        stage.state.limiter.system_w, stage.state.limiter.feeder_w[:] = 1.0, 1.0
        await stage.desk.ask(
            stage.ask(
                "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-5e4, high=-3_000.0, version=stage.clock.ns
            )
        )
        await stage.desk.settle()
        return stage.devices.target_w.copy(), stage.devices.high_w.copy()

    target_w, high_w = asyncio.run(play(17_000.0))
    assert high_w.sum() <= -3_000.0 + 1e-6
    assert target_w == pytest.approx(high_w), "as far as the limit, and no further"


def test_the_limiter_counts_each_feeder_and_lets_pass_the_strongest_first() -> None:
    fleet = fleet_of([Kind.BATTERY] * 4, per_feeder=2)
    limiter = FleetLimiter(fleet, 3_000.0, np.array([2_000.0, 2_000.0, 0.0]))
    rows, none = np.arange(4, dtype=np.int32), np.zeros(4, np.bool_)
    passes = limiter.allows(rows, np.full(4, 1_500.0), np.array([7, 5, 7, 6]), none, 0)
    assert list(passes) == [False, True, False, True]
    limiter.note(rows[passes], np.full(2, 1_500.0), 0)
    assert not limiter.allows(rows, np.full(4, 600.0), np.zeros(4, np.int64), none, 59 * SECOND_NS).any()
    assert limiter.allows(rows, np.full(4, 600.0), np.zeros(4, np.int64), none, 60 * SECOND_NS).all()


# --- ramps and timers -------------------------------------------------------------------------------------------------


@given(POWERS, POWERS, st.floats(0.1, 500), st.floats(0, 120), st.integers(1, 10))
def test_a_step_keeps_the_ramp_unless_levels_0_to_2_tighten(
    here: float, there: float, ramp: float, seconds: float, level: int
) -> None:
    got = stepped(here, there, ramp, seconds, level, 0.0)
    if level <= 2 and abs(there) <= abs(here):
        assert got == there
    else:
        assert abs(got - here) <= ramp * seconds + 1e-9
        assert abs(there - got) <= abs(there - here)


def test_targets_climb_by_the_ramp_and_an_emergency_takes_them_down_at_once() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        stage.state.fleet.ramp_w_per_s[:] = 20.0
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0))
        climbs = []
        for _ in range(4):
            await stage.desk.settle()
            climbs.append(float(stage.devices.target_w[0]))
            stage.clock.ns += MINUTE_NS
        assert climbs == [1_200.0, 2_400.0, 3_000.0, 3_000.0]
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", value=0.0))
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 0.0
        await stage.desk.withdraw("test:dso", "p", "r0", Quantity.P, "f")
        stage.clock.ns += MINUTE_NS
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 1_200.0, "release is by the normal ramp"

    asyncio.run(play())


@given(st.lists(st.tuples(POWERS, st.one_of(st.none(), POWERS)), min_size=1, max_size=10))
def test_hold_timers_in_columns_say_what_the_scalar_rule_says(drawn: list) -> None:
    fleet = fleet_of([Kind.CHP] * len(drawn))
    fleet.max_absorb_w[:] = 2_000.0
    rating = Bounds(-2_000.0, 5_000.0)
    target = np.array([t for t, _ in drawn])
    former = np.array([np.nan if f is None else f for _, f in drawn])
    starts, low, high = timers(fleet, np.arange(len(drawn), dtype=np.int32), target, former)
    for k, (to, was) in enumerate(drawn):
        assert starts[k] == switches(to, was, rating)
        expected = held_within(to, rating)
        assert (low[k], high[k]) == pytest.approx((expected.low_w, expected.high_w))


async def started() -> Stage1:
    """A desk whose only device is an engine that the market started a minute ago."""
    stage = Stage1(fleet_of([Kind.CHP]))
    stage.state.limiter.feeder_w[:] = stage.state.limiter.system_w = np.inf
    await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=4_000.0))
    await stage.desk.settle()
    stage.state.fleet.power_w[:] = 4_000.0
    stage.clock.ns += 60 * SECOND_NS
    return stage


def test_an_engine_that_was_started_runs_its_least_time_unless_safety_says_no() -> None:
    async def play() -> None:
        stage = await started()
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", value=0.0))
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 250.0, "held on at its least by its timer (R12)"
        told = stage.state.claims.explain(0, stage.clock.ns)
        assert told.setpoint.limited_by == "device:hold-timer"
        assert stage.devices.low_w[0] == 0.0, "it keeps its timer by itself: only the limits of claims are told"
        stage.clock.ns += 540 * SECOND_NS
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 0.0

    asyncio.run(play())


def test_an_engine_in_its_least_time_is_told_a_grid_operators_limit_as_it_is() -> None:
    """It idles behind its open breaker: at the least that its timer demands it would feed in for as long as that."""

    async def play() -> None:
        stage = await started()
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-5e4, high=0.0))
        await stage.desk.settle()
        assert (stage.devices.target_w[0], stage.devices.high_w[0]) == (0.0, 0.0)

    asyncio.run(play())


def test_a_timer_that_runs_is_begun_anew_by_nothing_that_leaves_its_engine_on() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.CHP]))
        stage.state.limiter.feeder_w[:] = stage.state.limiter.system_w = np.inf
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=4_000.0))
        await stage.desk.settle()
        until_ns = int(stage.state.claims.holds.until_ns[0])
        for power_w in (3_000.0, 2_000.0):
            stage.clock.ns += 60 * SECOND_NS
            await stage.desk.withdraw("test:market", "p", "r0", Quantity.P, "f")
            await stage.desk.settle()
            stage.clock.ns += 60 * SECOND_NS
            await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=power_w, version=stage.clock.ns))
            await stage.desk.settle()
            assert stage.devices.target_w[0] == power_w
        assert stage.state.claims.holds.until_ns[0] == until_ns

    asyncio.run(play())
