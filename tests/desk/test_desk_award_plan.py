"""Awards are given by a schedule over all their steps: no store is spent before the hour that needs it."""

from __future__ import annotations

import asyncio
import math

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import redispatch
from tieline.desk.award_plan import LEAST_W, SETTLED_NS, STEP_NS, Asked, asked, decide_planned, follow, planned
from tieline.desk.cycle import Cycle
from tieline.desk.obligation import ENERGY
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.trim import Learnt
from tieline.fleet.ledger import Capacity, Ledger
from tieline.plan.executor import Here
from tieline.pool.merit import merit_price
from tieline.resource.claim import Quantity
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOURS = STEP_NS / HOUR_NS
POWER = st.floats(LEAST_W, 5_000.0)


def asked_of(up_w: list[float], left_wh: list[float], cost: list[float], award_w: list[float]) -> Asked:
    """What a schedule is made from; costs in $/MWh."""
    rows = np.arange(len(up_w), dtype=np.int32)
    return Asked(
        "pool-1", ("a",), 0, 0, rows, np.array(up_w), np.array(left_wh), np.array(cost) / 1e6, np.array(award_w),
        np.zeros(len(award_w)),
    )  # fmt: skip


ROWS = st.lists(
    st.tuples(POWER, st.one_of(st.just(math.inf), st.floats(LEAST_W * HOURS, 10_000.0)), st.sampled_from([35.0, 60.0, 240.0])),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(deadline=None)
@given(ROWS, st.lists(st.one_of(st.just(0.0), st.floats(1.0, 15_000.0)), min_size=1, max_size=8))
def test_a_schedule_meets_its_award_or_says_what_lacks_and_spends_no_store_beyond_what_it_holds(rows, award_w) -> None:
    of = asked_of(*(list(column) for column in zip(*rows, strict=True)), award_w)
    made, found = planned(of, Here())
    near_w = 1e-3 * max(award_w) + 1e-3
    assert (found.net_w + found.under_w >= of.award_w - near_w).all()
    holds = np.isfinite(of.left_wh)
    assert (made.power_w.sum(axis=0) * HOURS <= of.left_wh[holds] * (1 + 1e-6) + near_w).all()
    assert (made.power_w >= -near_w).all() and (made.power_w <= of.up_w[holds] + near_w).all()
    assert found.bound <= found.cost + 1e-9 and found.gap_frac < 1e-5


@settings(deadline=None)
@given(ROWS, st.floats(1.0, 30_000.0), st.lists(POWER, min_size=6, max_size=6), st.floats(0.2, 1.0))
def test_what_is_owed_is_shared_out_whole_or_its_lack_is_named(rows, owed_w, planned_w, sustained_frac) -> None:
    up_w, left_wh, cost = (np.array(column) for column in zip(*rows, strict=True))
    stores, serves = np.isfinite(left_wh), np.ones(len(rows), np.bool_)
    number, nothing = np.arange(len(rows), dtype=np.int32), np.zeros(len(rows))
    free = redispatch.Headroom(number, nothing, up_w, nothing, cost, serves)
    room = redispatch.Headroom(number, nothing, np.where(stores, sustained_frac, 1.0) * up_w, nothing, cost, serves)
    wish_w = np.array(planned_w[: len(rows)])
    split = redispatch.allocate_planned(room, free, owed_w, nothing, ~serves, wish_w, stores)
    assert abs(split.feasible_w + split.shortfall_w - owed_w) < 1e-6 * owed_w
    assert abs(split.feasible_w - split.share_w.sum()) < 1e-6 and split.shortfall_w >= 0.0
    assert (split.share_w >= 0.0).all() and (split.share_w <= up_w + 1e-9).all()
    followed_w = np.minimum(wish_w, up_w)[stores]
    if followed_w.sum() <= owed_w:
        assert (split.share_w[stores] >= followed_w - 1e-9).all(), "the schedule is followed first"
    if split.shortfall_w > 1e-6:
        assert (split.share_w >= room.up_w - 1e-6).all(), "nobody had room left"


BATTERY_WH = 6_000.0


class Evening:
    """Two batteries and a heater that is on; what is awarded is dear at first and little after, or the other way."""

    def __init__(self, award_w: tuple[float, float]) -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        self.stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY, Kind.WATER_HEATER]), ledger)
        state, fleet = self.stage.state, self.stage.state.fleet
        self.stage.clock.ns = start_ns = -(-self.stage.clock.ns // HOUR_NS) * HOUR_NS
        fleet.taken_at_ns[:] = start_ns
        fleet.power_w[:] = state.base_w[:] = [0.0, 0.0, -3_000.0]
        fleet.available_up_w[:], fleet.available_down_w[:] = [5_000.0, 5_000.0, 3_000.0], 0.0
        fleet.energy_available_wh[:] = [BATTERY_WH / 2, BATTERY_WH / 2, np.nan]
        for at, watts in enumerate(award_w):
            start = start_ns + at * HOUR_NS
            state.awards[f"a{at}"] = Award(f"a{at}", "o", "pool-1", ENERGY, start, start + HOUR_NS, watts, 90.0)
        rows = np.arange(3, dtype=np.int32)
        self.pool = PoolDesk("pool-1", rows, merit_price(fleet.kinds), np.ones(3, np.bool_), np.zeros(3))
        self.cycle = Cycle(self.stage.desk, {"pool-1": self.pool})

    def schedule(self) -> None:
        """Make the schedule that is due, have it recorded and followed."""
        of = asked(self.stage.state, self.pool, self.stage.clock.ns)
        assert of is not None
        self.pool.planned, found = planned(of, Here())
        asyncio.run(self.stage.desk.commit([decide_planned(of, found)]))

    def beat(self) -> float:
        """Have a beat, and return what is shared out (W)."""
        asyncio.run(self.cycle.beat(self.stage.clock.ns))
        return float(self.pool.share_w.sum())


def test_by_merit_a_dear_first_hour_lacks_what_a_schedule_gives() -> None:
    """6 kWh give 5 kW for an hour and 1 kW for another, beside 3 kW of a heater: 8 and 1 kW are owed."""
    evening = Evening((8_000.0, 1_000.0))
    assert evening.beat() <= 6_001.0, "spread evenly the batteries give 3 kW"
    evening.schedule()
    assert abs(evening.beat() - 8_000.0) < 10.0
    assert evening.stage.state.award_plans["pool-1"].gap_frac < 1e-6


def test_a_store_keeps_for_the_dear_hour_what_the_first_would_take_by_merit() -> None:
    """A battery is cheaper than a heater at any hour; but of the 8 kW of the second the heater gives 3 at most."""
    evening = Evening((3_000.0, 8_000.0))
    evening.schedule()
    assert abs(evening.beat() - 3_000.0) < 10.0
    made = evening.pool.planned
    assert made is not None
    stores_w = made.power_w.sum(axis=1)
    assert (stores_w[4:] > 4_990.0).all() and stores_w.sum() * HOURS < BATTERY_WH + 1.0, stores_w


def test_what_all_together_lack_is_recorded_by_step() -> None:
    evening = Evening((8_000.0, 8_000.0))
    evening.schedule()
    made = evening.stage.state.award_plans["pool-1"]
    lacks_wh = float(made.lacks_w.array().sum()) * HOURS
    assert abs(lacks_wh - (16_000.0 - 6_000.0 - BATTERY_WH)) < 1.0, "two hours of heater, and the batteries once"


def test_what_meters_lack_of_a_call_is_scheduled_for_and_no_more_declared_as_what_can_be_called() -> None:
    """A heater that gives half of what its size says leaves the rest to batteries that hold just enough without it."""
    evening = Evening((6_000.0, 6_000.0))
    evening.schedule()
    assert evening.stage.state.award_plans["pool-1"].lacks_w.array().max() < 1.0
    evening.beat()
    declared_w = evening.pool.available[0]
    evening.pool.learnt = Learnt(1_500.0)
    evening.beat()
    assert abs(declared_w - evening.pool.available[0] - 1_500.0) < 1.0
    evening.stage.clock.ns += 15 * MINUTE_NS
    evening.schedule()
    made = evening.stage.state.award_plans["pool-1"]
    lacks_wh, award_wh = (float(each.array().sum()) * HOURS for each in (made.lacks_w, made.award_w))
    assert abs(award_wh - 1.75 * 6_000.0) < 1.0
    assert abs(lacks_wh - (1.75 * 4_500.0 - BATTERY_WH)) < 1.0, "the heater counts as able to give its 3 kW"


def test_a_lack_is_known_while_the_stores_that_make_up_for_it_still_give() -> None:
    """By its meter a heater gives half of what it is asked: the schedule says so half an hour before all is empty."""
    evening = Evening((6_000.0, 6_000.0))
    stage, pool, fleet = evening.stage, evening.pool, evening.stage.state.fleet
    began_ns, known_ns, empty_ns = stage.clock.ns, 0, 0
    while not empty_ns:
        if asked(stage.state, pool, stage.clock.ns) is not None:
            evening.schedule()
            lacks_w = stage.state.award_plans["pool-1"].lacks_w.array()
            known_ns = known_ns or (stage.clock.ns if lacks_w.max() > 500.0 else 0)
        evening.beat()
        fleet.power_w[:2] = np.minimum(pool.share_w[:2], fleet.energy_available_wh[:2] * 60.0)
        fleet.power_w[2] = -3_000.0 + pool.share_w[2] / 2
        fleet.energy_available_wh[:2] -= fleet.power_w[:2] / 60.0
        fleet.available_up_w[:2] = np.minimum(5_000.0, fleet.energy_available_wh[:2] * 12.0) - fleet.power_w[:2]
        fleet.available_up_w[2] = -fleet.power_w[2]
        stage.clock.ns += MINUTE_NS
        fleet.taken_at_ns[:] = stage.clock.ns
        if float(fleet.energy_available_wh[:2].sum()) < 0.02 * BATTERY_WH:
            empty_ns = stage.clock.ns
        assert stage.clock.ns < began_ns + 2 * HOUR_NS, "they are empty before the awards are over"
    assert known_ns and empty_ns - known_ns >= 30 * MINUTE_NS


def test_a_schedule_is_made_anew_each_quarter_and_as_awards_come_and_for_no_other_reason() -> None:
    evening = Evening((3_000.0, 8_000.0))
    stage, pool = evening.stage, evening.pool
    evening.schedule()
    assert asked(stage.state, pool, stage.clock.ns) is None
    stage.clock.ns += 14 * MINUTE_NS
    assert asked(stage.state, pool, stage.clock.ns) is None
    stage.clock.ns += MINUTE_NS
    again = asked(stage.state, pool, stage.clock.ns)
    assert again is not None and len(again.award_w) == 7
    evening.schedule()
    end_ns = max(award.end_ns for award in stage.state.awards.values())
    stage.state.awards["late"] = Award("late", "o", "pool-1", ENERGY, end_ns, end_ns + HOUR_NS, 1_000.0, 90.0)
    more = asked(stage.state, pool, stage.clock.ns)
    assert more is not None and more.awards == ("a0", "a1", "late") and len(more.award_w) == 11


def test_after_the_clock_was_set_back_a_schedule_is_made_for_what_it_says_now() -> None:
    evening = Evening((3_000.0, 8_000.0))
    stage, pool = evening.stage, evening.pool
    stage.clock.ns += 50 * MINUTE_NS
    evening.schedule()
    stage.clock.ns -= 40 * MINUTE_NS
    again = asked(stage.state, pool, stage.clock.ns)
    assert again is not None and again.awards == ("a0", "a1") and again.made_ns == stage.clock.ns
    evening.schedule()
    assert asked(stage.state, pool, stage.clock.ns) is None


def test_an_award_to_draw_more_and_one_that_is_far_off_are_not_scheduled() -> None:
    evening = Evening((-3_000.0, -3_000.0))
    assert asked(evening.stage.state, evening.pool, evening.stage.clock.ns) is None
    evening = Evening((3_000.0, 3_000.0))
    assert asked(evening.stage.state, evening.pool, evening.stage.clock.ns - 6 * MINUTE_NS) is None
    assert asked(evening.stage.state, evening.pool, evening.stage.clock.ns - 5 * MINUTE_NS) is not None


def test_a_store_that_is_lost_after_its_schedule_was_made_is_made_up_for_by_the_others() -> None:
    evening = Evening((3_000.0, 1_000.0))
    evening.schedule()
    evening.stage.state.opted_out[0] = True
    assert abs(evening.beat() - 3_000.0) < 10.0 and evening.pool.share_w[0] == 0.0


def test_a_replay_knows_the_schedule_that_was_made() -> None:
    evening = Evening((3_000.0, 8_000.0))
    evening.schedule()
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
    again = evening.stage.replayed(ledger)
    assert again.award_plans == evening.stage.state.award_plans and again.award_plans


@settings(deadline=None)
@given(st.integers(0, 899))
def test_a_schedule_that_comes_behind_a_split_waits_until_stores_have_followed_that(second: int) -> None:
    """Where one is followed already it goes on till then."""
    evening = Evening((8_000.0, 1_000.0))
    evening.schedule()
    evening.beat()
    before, clock = evening.pool.planned, evening.stage.clock
    evening.stage.state.awards["b"] = Award("b", "o", "pool-1", ENERGY, clock.ns, clock.ns + HOUR_NS, 500.0, 90.0)
    clock.ns += second * SECOND_NS
    of = asked(evening.stage.state, evening.pool, clock.ns)
    assert of is not None
    made, _ = planned(of, Here())
    assert not follow(evening.pool, made, clock.ns), "no beat is to come for it"
    assert evening.pool.planned is before and evening.pool.following is not None
    from_ns = evening.pool.following.from_ns
    assert from_ns % MINUTE_NS == 0 and clock.ns < from_ns <= clock.ns + SETTLED_NS + MINUTE_NS
    is_ahead = from_ns % STEP_NS == 0 and from_ns - clock.ns <= MINUTE_NS
    assert is_ahead or from_ns >= clock.ns + SETTLED_NS
    evening.beat()
    assert evening.pool.planned is before
    clock.ns = from_ns
    evening.beat()
    assert evening.pool.planned is not before and evening.pool.following is None


def test_a_share_of_less_than_half_a_watt_is_no_call() -> None:
    """A load of 15 kW was told 14.999996 kW: it got an event, and counted as controlled by the market."""
    for award_w, is_called in ((0.3, False), (3.0, True)):
        evening = Evening((award_w, award_w))
        evening.beat()
        held_w, _ = evening.stage.state.claims.target_of(evening.pool.rows, redispatch.SOURCE, "pool-1", Quantity.P)
        assert np.isfinite(held_w).any() == is_called
