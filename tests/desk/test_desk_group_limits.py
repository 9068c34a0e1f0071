"""A group's limit holds at every instant, whatever is lost on the way (R16), and is told upward (R18)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups, growing
from tieline.desk.cycle import Cycle
from tieline.desk.facts import CapacityDerated, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.fleet.grouplimit import moved_caps
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.grouplimit import moved_caps as moved_caps_scalar
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS

CAP = st.integers(-500, 500).map(lambda n: n * 10.0)


@given(st.lists(st.tuples(CAP, CAP, CAP), min_size=1, max_size=12), CAP)
def test_caps_that_move_never_add_up_to_more_than_the_limit_with_what_may_still_hold(drawn: list, limit: float) -> None:
    wish, held, told = (np.array(x) for x in zip(*drawn, strict=True))
    caps = moved_caps(limit, wish, held, told)
    assert caps == pytest.approx(np.array(moved_caps_scalar(limit, list(wish), list(held), list(told))))
    assert np.maximum(caps, held).sum() <= max(limit, held.sum()) + 1e-6
    least = np.minimum(held, told)
    if held.sum() >= limit:
        assert (caps <= least + 1e-9).all(), "nothing grows where nothing is free"
    assert (caps <= np.maximum(wish, least) + 1e-9).all()
    assert (caps[wish <= least] == wish[wish <= least]).all(), "what sinks sinks at once"


@given(st.lists(st.tuples(CAP, CAP, CAP, CAP, st.booleans(), CAP), min_size=1, max_size=10))
def test_caps_on_both_ends_are_never_crossed_and_add_up_to_no_more_than_they_did(drawn: list) -> None:
    """Wishes are in order; what may not grow yet stands apart from them, and may cross the other end.

    A load that is to draw less goes on at no more than it draws, and only for what others give too much.
    """
    wish_low, wish_high, low, high, is_load, draws_w = (np.array(x) for x in zip(*drawn, strict=True))
    draws_w = np.where(is_load, draws_w, np.inf)
    wish_low, wish_high = np.minimum(wish_low, wish_high), np.maximum(wish_low, wish_high)
    low, high = np.maximum(low, wish_low), np.minimum(high, wish_high)  # neither is wider than wished
    wish, none = (wish_low, wish_high), np.zeros(len(low), np.bool_)
    made_low, made_high = growing.uncrossed(low, high, wish, none, is_load, draws_w)
    assert (made_low <= made_high + 1e-9).all()
    assert (made_low >= np.minimum.reduce([low, high, draws_w]) - 1e-9).all()
    still_low = growing.uncrossed(low, high, wish, none, is_load, np.full(len(low), np.inf))[0]
    goes_on = made_low < still_low - 1e-9
    assert not (goes_on & ~is_load).any()
    assert not goes_on.any() or made_high.sum() >= high.sum() - 1e-6, "no further than others give too much"
    assert (made_high <= np.maximum(low, high) + 1e-9).all()
    over_w, can_w = made_high.sum() - high.sum(), (made_high - made_low).sum()
    assert over_w <= 1e-6 or can_w <= 1e-6 or (made_high - made_low)[low <= high].sum() <= 1e-6
    if (low <= high).all():
        assert (made_low == low).all() and (made_high == high).all()


KIND = st.sampled_from([Kind.BATTERY, Kind.PV, Kind.EV_CHARGER, Kind.THERMOSTAT, Kind.INTERRUPTIBLE_LOAD])


@given(
    st.lists(st.tuples(KIND, st.integers(-50, 50), st.integers(-50, 0), st.booleans()), min_size=1, max_size=10),
    st.integers(0, 500), st.integers(0, 50), st.booleans(), st.booleans(),
)  # fmt: skip
def test_above_an_end_that_binds_none_it_counts_for_nothing_what_loads_are_told_to_draw(
    drawn: list, low: int, more: int, is_site: bool, is_counted: bool
) -> None:
    kinds, does, told, is_load_counted = zip(*drawn, strict=True)
    stage = Stage1(fleet_of(list(kinds)))
    fleet, now_ns, rows = stage.state.fleet, stage.clock.ns, np.arange(len(kinds), dtype=np.int32)
    fleet.power_w[:] = np.clip(100.0 * np.array(does), -fleet.max_absorb_w, fleet.max_inject_w)
    stage.state.base_w[:], fleet.quality[:], fleet.taken_at_ns[:] = fleet.power_w, 0, now_ns
    ends = -100.0 * low, float(fleet.max_inject_w.sum()) + 100.0 * more
    counted = np.array(is_load_counted) if is_counted else None
    now, then = (
        groups.caps(stage.state, rows, *ends, now_ns, is_site, None, stops_w, counted)
        for stops_w in (None, 100.0 * np.array(told))
    )
    assert [each.tolist() for each in now] == [each.tolist() for each in then]


def test_a_limit_on_both_ends_of_a_feeder_that_gives_too_much_holds_at_its_first_command() -> None:
    """Eight of ten batteries give 5 kW; the idle two may not draw yet, as what the eight may draw is still leased."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 10), _ledger())
        state, devices, now_ns = stage.state, stage.devices, stage.clock.ns
        state.fleet.quality[:], state.fleet.taken_at_ns[:] = 0, now_ns
        for row in range(8):
            call = stage.ask("market", Level.MARKET, f"r{row}", value=5_000.0, end_ns=now_ns + HOUR_NS)
            await stage.desk.ask(call)
        await stage.desk.settle()
        state.fleet.power_w[:] = np.where(np.arange(10) < 8, 5_000.0, 0.0)
        limit = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-20_000.0, high=20_000.0, end_ns=now_ns + HOUR_NS
        )
        await stage.desk.ask(limit)
        for _ in range(4):
            await stage.desk.commit(groups.decide_regulation(state, stage.clock.ns))
            await stage.desk.settle()
            assert devices.high_w.sum() <= 20_000.0
            assert (devices.low_w <= devices.high_w).all()
            state.fleet.power_w[:] = np.clip(np.nan_to_num(devices.target_w), devices.low_w, devices.high_w)
            stage.clock.ns += MINUTE_NS
            state.fleet.taken_at_ns[:] = stage.clock.ns

    asyncio.run(play())


async def lossy(seed: int, loss: float, minutes: int) -> tuple[int, int, float]:
    """Play a limited feeder whose devices run at their caps; returns (instants, violations, kWh given in all)."""
    rng = np.random.default_rng(seed)
    count, limit_w = 6, 9_000.0
    stage = Stage1(fleet_of([Kind.BATTERY] * count), _ledger())
    devices, fleet, state = stage.devices, stage.state.fleet, stage.state
    devices.hears = lambda n: rng.random(n) >= loss
    devices.answers = lambda n: rng.random(n) >= loss
    limit = stage.ask(
        "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-3e4, high=limit_w, end_ns=stage.clock.ns + 40 * HOUR_NS
    )
    await stage.desk.ask(limit)
    settled_once, instants, broken, energy = False, 0, 0, 0.0
    for minute in range(minutes):
        if minute % 7 == 0:  # who wants how much changes, so that caps have to change places
            value = rng.permutation(np.r_[np.full(3, 5_000.0), np.zeros(3)])
            for row in range(count):
                ask = stage.ask(
                    "market", Level.MARKET, f"r{row}", value=float(value[row]), end_ns=stage.clock.ns + HOUR_NS
                )
                await stage.desk.ask(ask)
        await stage.desk.commit(groups.decide_regulation(state, stage.clock.ns))
        await stage.desk.settle()
        await stage.desk.flush()
        for _ in range(6):
            stage.clock.ns += 10 * SECOND_NS
            lapsed = devices.until_ns <= stage.clock.ns
            most = np.where(lapsed, fleet.default_w, np.minimum(devices.high_w, fleet.max_inject_w))
            wants = np.where(np.isnan(devices.target_w), most, devices.target_w)
            fleet.power_w[:] = np.where(lapsed, fleet.default_w, np.minimum(wants, most))
            fleet.taken_at_ns[:] = stage.clock.ns
            settled_once = settled_once or bool(most.sum() <= limit_w)
            instants += settled_once
            broken += settled_once and bool(most.sum() > limit_w + 1e-6)
            energy += float(fleet.power_w.sum()) / 360e3
    return instants, broken, energy


def _ledger() -> Ledger:
    made = Ledger()
    made.set_capacity("pool-1", Capacity(1e6, 1e6))
    return made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_group_limit_holds_at_every_instant_with_30_of_100_messages_lost(seed: int) -> None:
    instants, broken, energy = asyncio.run(lossy(seed, 0.3, 60))
    assert broken == 0
    assert instants > 100
    assert energy > 0.5, "and it is used, not shut"


@pytest.mark.long
def test_a_group_limit_holds_in_a_thousand_seeds() -> None:
    for seed in range(1_000):
        instants, broken, _ = asyncio.run(lossy(seed, 0.3, 60))
        assert (broken, instants > 100) == (0, True), f"seed {seed}"


def test_a_site_whose_readings_are_older_than_10_s_is_counted_at_its_worst() -> None:
    stage = Stage1(fleet_of([Kind.PV, Kind.BATTERY]))
    fleet, rows, now = stage.state.fleet, np.arange(2, dtype=np.int32), stage.clock.ns
    fleet.power_w[:] = [3_000.0, 0.0]
    fresh = groups.caps(stage.state, rows, -2_000.0, 9e9, now + 9 * SECOND_NS, True)[0]
    stale = groups.caps(stage.state, rows, -2_000.0, 9e9, now + 11 * SECOND_NS, True)[0]
    assert fresh[1] < -4_900.0, "2 kW from the grid and 3 kW from the roof"
    assert stale[1] == pytest.approx(-2_000.0, abs=100.0), "a cloud may have come: the roof counts for nothing"


KINDS_DRAWN = st.lists(
    st.tuples(st.sampled_from([Kind.BATTERY, Kind.CHP, Kind.PV, Kind.THERMOSTAT, Kind.EV_CHARGER]), st.floats(-1, 1)),
    min_size=1, max_size=10,
)  # fmt: skip


def _at(drawn: list[tuple[Kind, float]]) -> Stage1:
    stage = Stage1(fleet_of([kind for kind, _ in drawn]))
    fleet = stage.state.fleet
    part = np.array([frac for _, frac in drawn])
    fleet.power_w[:] = np.clip(part * 5_000.0, -fleet.max_absorb_w, fleet.max_inject_w)
    fleet.quality[:], stage.state.base_w[:] = 0, fleet.power_w
    return stage


@given(KINDS_DRAWN, st.integers(-20, 20).map(lambda n: n * 1_000.0))
def test_upper_caps_keep_the_sum_though_every_load_may_stop_and_no_load_must_draw_while_others_can_give_way(
    drawn, high
):
    stage = _at(drawn)
    fleet, rows = stage.state.fleet, np.arange(len(drawn), dtype=np.int32)
    caps = groups.caps(stage.state, rows, -9e9, high, stage.clock.ns)[1]
    if high >= fleet.max_inject_w.sum():
        assert np.isinf(caps).all()
        return
    gives, feasible = fleet.max_inject_w > 0, high >= -float(fleet.max_absorb_w.sum()) * 0.98
    most_w = np.minimum(caps, fleet.max_inject_w)
    if feasible:
        assert most_w.sum() <= high + 1e-6
    if -float(fleet.max_absorb_w[gives].sum()) * 0.98 <= high:
        assert (most_w[~gives] == 0.0).all(), "stores and generators can keep it: loads are free to stop"
    else:
        assert most_w[gives] == pytest.approx(-fleet.max_absorb_w[gives]), "loads come last"


def test_a_feeder_that_may_draw_but_not_feed_in_leaves_its_load_free_and_lets_its_battery_charge() -> None:
    """A load of 1.7 kW, a battery and a CHP between -700 kW and 0 W: the load is told nothing, the CHP to stand still."""

    async def play() -> None:
        stage = _at([(Kind.BATTERY, 0.0), (Kind.CHP, 0.0), (Kind.EV_CHARGER, -0.34)])
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-7e5, high=0.0,
                          end_ns=stage.clock.ns + HOUR_NS)  # fmt: skip
        await stage.desk.ask(limit)
        await stage.desk.settle()
        assert stage.devices.high_w.tolist() == [0.0, 0.0, np.inf]
        assert stage.devices.low_w[0] == -5_000.0

    asyncio.run(play())


# --- feedback upward --------------------------------------------------------------------------------------------------


class Market:
    """A market link that notes what it is told, and when."""

    name = "market"

    def __init__(self, stage: Stage1) -> None:
        self._clock, self.told = stage.clock, []

    async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
        self.told.append((self._clock.ns, pool, up_w, reason))


def _cycle(stage: Stage1) -> Cycle:
    count = len(stage.state.fleet)
    pool = PoolDesk(
        "pool-1", stage.state.fleet.leaves("pool-1"), np.zeros(count), np.ones(count, np.bool_), np.zeros(count)
    )
    stage.desk.market = Market(stage)
    return Cycle(stage.desk, {"pool-1": pool})


def test_a_limit_derates_the_book_names_who_falls_short_and_tells_the_market_in_the_same_beat() -> None:
    async def play() -> None:
        ledger = Ledger(strengths={"ENERGY": 1, "RESERVE": 2})
        ledger.set_capacity("pool-1", Capacity(100_000.0, 100_000.0))
        stage = Stage1(fleet_of([Kind.BATTERY] * 10, 5), ledger)
        cycle, start = _cycle(stage), stage.clock.ns // (5 * MINUTE_NS) * 5 * MINUTE_NS
        ledger.reserve("old energy", "pool-1", "ENERGY", start, start + HOUR_NS, 40_000.0, 0.0)
        ledger.reserve("new energy", "pool-1", "ENERGY2", start, start + HOUR_NS, 20_000.0, 0.0)
        ledger.reserve("reserve", "pool-1", "RESERVE", start, start + HOUR_NS, 30_000.0, 0.0)
        await cycle.beat(stage.clock.ns)
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=0.0, end_ns=start + HOUR_NS)
        granted = await stage.desk.ask(limit)
        stage.clock.ns += SECOND_NS
        cycle.because(granted.claim)
        await cycle.beat(stage.clock.ns)
        facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), CapacityDerated)]
        assert [(f.pool, f.cause) for f in facts] == [("pool-1", granted.claim)]
        assert facts[0].up_w == pytest.approx(50_000.0, rel=0.02), "half of the pool is at zero"
        # 90 kW promised, 50 left: ENERGY2 has no strength and goes first, then ENERGY; the reserve is kept.
        assert [(s.reservation, round(s.up_w, -3)) for s in facts[0].short] == [
            ("new energy", 20_000.0),
            ("old energy", 20_000.0),
        ]
        assert stage.desk.market.told[-1][0] - limit.start_ns <= 5 * SECOND_NS
        assert ledger.check("pool-1", "ENERGY3", start, start + HOUR_NS, 20_000.0, 0.0).limit.startswith("0 W free")
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await cycle.beat(stage.clock.ns + SECOND_NS)
        assert not ledger.deratings["pool-1"], "given back: nothing is derated any more"

    asyncio.run(play())


def test_a_derating_ends_with_the_limits_lease_and_tomorrow_stays_free() -> None:
    async def play() -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(100_000.0, 100_000.0))
        stage = Stage1(fleet_of([Kind.BATTERY] * 10, 5), ledger)
        cycle, now = _cycle(stage), stage.clock.ns
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=0.0))
        await cycle.beat(now)
        assert ledger.free_w("pool-1", now)[0] == pytest.approx(50_000.0, rel=0.02)
        assert ledger.free_w("pool-1", now + 24 * HOUR_NS) == (100_000.0, 100_000.0)
        out = {"quantity": Quantity.CONNECT, "end_ns": FOREVER_NS, "source": "owner"}
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r9", ClaimKind.GATE, **out))
        await cycle.beat(now + SECOND_NS)
        assert ledger.free_w("pool-1", now)[0] == pytest.approx(40_000.0, rel=0.02)
        again = Ledger()
        again.set_capacity("pool-1", Capacity(100_000.0, 100_000.0))
        assert stage.replayed(again).ledger.digest() == ledger.digest()

    asyncio.run(play())


def test_two_deratings_of_one_instant_are_two_records_and_the_journal_alone_tells_the_same_book() -> None:
    """Beats come as fast as what they follow: by the story's clock two may share an instant, and a cause."""

    async def play() -> None:
        def book() -> Ledger:
            ledger = Ledger()
            ledger.set_capacity("pool-1", Capacity(100_000.0, 100_000.0))
            return ledger

        stage = Stage1(fleet_of([Kind.BATTERY] * 10, 5), book())
        cycle, now_ns = _cycle(stage), stage.clock.ns
        for feeder in ("feeder-1", "feeder-2"):
            limit = stage.ask(
                "dso", Level.ENVELOPE, feeder, ClaimKind.LIMIT, low=0.0, high=0.0, end_ns=now_ns + HOUR_NS
            )
            await stage.desk.ask(limit)
            await cycle.beat(now_ns)
        (derating,) = stage.ledger.deratings["pool-1"]
        assert derating.up_w == pytest.approx(100_000.0, rel=0.02)
        names = [record.id for record in stage.journal.records]
        assert len(set(names)) == len(names), "a journal keeps the first of a name"
        assert stage.replayed(book()).ledger.deratings == stage.ledger.deratings

    asyncio.run(play())
