"""A limit on both ends of a feeder: the end that is far is never a reason to stand beyond the one that is near."""

from __future__ import annotations

import asyncio
from itertools import product

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.desk import groups, worth
from tieline.fleet.columns import KINDS
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

MIX = (
    Kind.BATTERY, Kind.PV, Kind.INTERRUPTIBLE_LOAD, Kind.THERMOSTAT, Kind.EV_CHARGER, Kind.PROCESS_LINE,
    Kind.SHIFTABLE_LOAD,
)  # fmt: skip
SWITCHED = (Kind.THERMOSTAT, Kind.SHIFTABLE_LOAD)


class Feeder:
    """A feeder whose devices do what they would, within what they are told; process lines run on whatever that is.

    Shiftable loads stand behind plugs: their kind need not be on or off, their link says that they are.
    """

    def __init__(self, kinds: list[Kind], free_w: np.ndarray, called_w: float = 0.0) -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        plugs = frozenset(row for row, kind in enumerate(kinds) if kind is Kind.SHIFTABLE_LOAD)
        self.stage, self.kinds, self.called_w = Stage1(fleet_of(kinds), ledger, plugs), np.array(kinds), called_w
        self.switched = np.isin(np.arange(len(kinds)), [row for row, kind in enumerate(kinds) if kind in SWITCHED])
        fleet = self.stage.state.fleet
        self.free_w = np.clip(free_w, -fleet.max_absorb_w, fleet.max_inject_w)
        self.free_w[self.kinds == Kind.BATTERY] = 0.0
        self.free_w[self.switched] = np.round(self.free_w / 5e3)[self.switched] * 5e3
        self.stage.state.base_w[:] = self.free_w
        self.told = np.zeros(len(kinds), np.bool_)
        self.net_w: list[float] = []

    def live(self) -> None:
        devices, fleet = self.stage.devices, self.stage.state.fleet
        target_w = np.where(np.isnan(devices.target_w) | ~self.told, self.free_w, devices.target_w)
        low_w = np.where(self.told, devices.low_w, -np.inf)
        power_w = np.where(self.told, np.clip(target_w, low_w, devices.high_w), target_w)
        # On or off: one whose floor lies above its whole draw may not run.
        power_w[self.switched] = np.where(low_w <= -5e3 + 0.01, self.free_w, 0.0)[self.switched]
        sun = self.kinds == Kind.PV
        power_w[sun] = np.minimum(power_w[sun], self.free_w[sun])
        runs_on = self.kinds == Kind.PROCESS_LINE
        power_w[runs_on] = self.free_w[runs_on]
        fleet.power_w[:] = np.clip(power_w, -fleet.max_absorb_w, fleet.max_inject_w)
        fleet.available_up_w[:] = np.where(runs_on, 0.0, fleet.max_inject_w - fleet.power_w)
        fleet.available_up_w[sun] = np.maximum(self.free_w - fleet.power_w, 0.0)[sun]
        fleet.available_down_w[:] = np.where(runs_on, 0.0, fleet.power_w + fleet.max_absorb_w)
        fleet.taken_at_ns[:] = self.stage.clock.ns
        self.net_w.append(float(fleet.power_w.sum()))

    async def minute(self) -> None:
        await self.stage.desk.commit(groups.decide_regulation(self.stage.state, self.stage.clock.ns))
        batch = await self.stage.desk.settle()
        if batch is not None:
            self.told[batch.rows] = True
        self.live()
        self.stage.clock.ns += MINUTE_NS

    async def play(self, low_w: float, high_w: float, minutes: int) -> list[float]:
        stage, hour_ns = self.stage, self.stage.clock.ns + HOUR_NS
        for row in np.flatnonzero(self.kinds == Kind.BATTERY) if self.called_w else ():
            await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=self.called_w, end_ns=hour_ns))
        await self.minute()
        ends = {"low": low_w, "high": high_w, "end_ns": hour_ns}
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, **ends))
        for _ in range(minutes):
            await self.minute()
        return self.net_w


def drawn_feeder(
    drawn: list, batteries: int, middle: int, half: int, called: int
) -> tuple[list[Kind], Feeder, tuple[float, float]]:
    """A feeder of drawn devices and batteries, its kinds, and the two ends of its limit (W)."""
    kinds = [kind for kind, _ in drawn] + [Kind.BATTERY] * batteries
    power_w = np.array([100.0 * n * (1 if kind is Kind.PV else -1) for kind, n in drawn] + [0.0] * batteries)
    ends_w = 5e3 * middle - 2e3 * half, 5e3 * middle + 2e3 * half
    return kinds, Feeder(kinds, power_w, 1_000.0 * called), ends_w


def beyond_w(net_w: float, low_w: float, high_w: float) -> float:
    return max(low_w - net_w, net_w - high_w, 0.0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(MIX), st.integers(0, 50)), min_size=1, max_size=12),
    st.integers(2, 6), st.integers(-4, 4), st.integers(3, 10), st.integers(-2, 2),
)  # fmt: skip
def test_it_is_kept_wherever_batteries_can_and_never_makes_a_feeder_stand_further_beyond(
    drawn: list, batteries: int, middle: int, half: int, called: int
) -> None:
    """The band is wider than what is on or off: no band of 4 kW is kept by loads of 5 that come and go."""
    kinds, feeder, (low_w, high_w) = drawn_feeder(drawn, batteries, middle, half, called)
    before_w, *net_w = asyncio.run(feeder.play(low_w, high_w, 6))
    worst = max(beyond_w(before_w, low_w, high_w), beyond_w(float(feeder.free_w.sum()), low_w, high_w))
    slack_w = 1.0
    assert max(beyond_w(each, low_w, high_w) for each in net_w) <= worst + slack_w
    room_w = 5e3 * sum(kind is Kind.BATTERY for kind in kinds)
    others_w = float(feeder.free_w.sum())
    if low_w + 1e3 <= others_w + room_w and others_w - room_w <= high_w - 1e3:
        assert [beyond_w(each, low_w, high_w) for each in net_w[3:]] == pytest.approx([0.0] * 3, abs=slack_w), (
            net_w, list(zip([KINDS.index(k) for k in kinds], feeder.free_w, strict=True))
        )  # fmt: skip


def test_a_feeder_that_draws_too_much_at_noon_is_not_told_to_charge_for_the_end_that_it_is_far_from() -> None:
    """Loads of 76 kW and sun of 40 at ±15 kW: as if all loads stopped, stores were told to charge, and it drew 64."""
    kinds = [Kind.INTERRUPTIBLE_LOAD] * 8 + [Kind.PROCESS_LINE] * 8 + [Kind.PV] * 8 + [Kind.BATTERY] * 8
    free_w = np.array([-4_750.0] * 16 + [5_000.0] * 8 + [0.0] * 8)
    feeder = Feeder(kinds, free_w)
    before_w, *net_w = asyncio.run(feeder.play(-15_000.0, 15_000.0, 5))
    assert before_w == -36_000.0
    assert min(net_w) >= -15_000.0 - 1.0
    batteries = feeder.stage.state.fleet.power_w[feeder.kinds == Kind.BATTERY]
    assert (batteries >= 0.0).all(), "no store was told to draw"


def test_a_far_lower_end_makes_no_room_for_what_gives_as_loads_that_run_may_stop() -> None:
    """Loads of 22 kW between -30 kW and 0 W: were batteries let give 7 kW, the feeder fed in 7 once the loads stop."""
    kinds = [Kind.BATTERY] * 6 + [Kind.INTERRUPTIBLE_LOAD] * 5
    free_w = np.array([0.0] * 6 + [-4_400.0] * 5)
    for low_w in (-30_000.0, -9e9):
        feeder = Feeder(kinds, free_w, 1_500.0)
        asyncio.run(feeder.play(low_w, 0.0, 3))
        assert feeder.stage.devices.high_w[:6].sum() == pytest.approx(0.0, abs=1e-6), low_w
        assert feeder.net_w[-1] == pytest.approx(-22_000.0), "and no load is told to stop"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(MIX), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(2, 6), st.integers(-4, 4), st.integers(3, 10), st.integers(-2, 2),
)  # fmt: skip
def test_both_ends_hold_whichever_loads_stop_but_for_what_the_lower_one_needs_of_those_that_give(
    drawn: list, batteries: int, middle: int, half: int, called: int
) -> None:
    """Held against every subset of the loads, once devices have followed; process lines are those that can't be shed."""
    _, feeder, (low_w, high_w) = drawn_feeder(drawn, batteries, middle, half, called)
    net_w = asyncio.run(feeder.play(low_w, high_w, 8))
    fleet, told = feeder.stage.state.fleet, feeder.stage.devices
    gives = fleet.max_inject_w > 0
    if high_w < -float(fleet.max_absorb_w[gives].sum()) + 1e3:
        return  # all that can charge is too little: loads must draw, and may not stop
    runs_on_w = -float(feeder.free_w[feeder.kinds == Kind.PROCESS_LINE].sum())
    needs_w = low_w + 0.01 * abs(low_w) + runs_on_w
    slack_w = worth.MOVES_FRAC * float((fleet.max_inject_w + fleet.max_absorb_w).sum()) + 1.0
    most_w = float(np.minimum(told.high_w, fleet.max_inject_w)[gives].sum())
    draws_w = np.maximum(-fleet.power_w[~gives], 0.0)
    for stops in product((False, True), repeat=len(draws_w)):
        assert most_w - float(draws_w[~np.array(stops, np.bool_)].sum()) <= max(high_w, needs_w) + slack_w, stops
    if needs_w + 1e3 <= 5e3 * int((feeder.kinds == Kind.BATTERY).sum()):
        assert net_w[-1] >= low_w - 1.0


def test_plugs_that_a_lower_end_turns_off_make_no_room_above_the_upper_one() -> None:
    """Batteries give 100 kW, two plugs draw 40: turned off by a part of 20 kW each, they counted at that part."""
    kinds = [Kind.BATTERY] * 20 + [Kind.SHIFTABLE_LOAD] * 8
    for low_w in (-2_000.0, -10_000.0):
        feeder = Feeder(kinds, np.array([0.0] * 20 + [-5_000.0] * 8), 5_000.0)
        before_w, *net_w = asyncio.run(feeder.play(low_w, 30_000.0, 3))
        assert before_w == 60_000.0
        plugs = np.maximum(feeder.stage.devices.low_w[20:], -5_000.0)
        assert set(plugs.tolist()) <= {-5_000.0, 0.0}, "no plug is told a part of its size"
        assert max(net_w) <= 30_000.0, low_w
        assert feeder.stage.devices.high_w[:20].sum() <= 30_000.0, "nor is more shown as the limit in force"


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from((*MIX, Kind.BACKUP_GENERATOR)), st.integers(0, 50)), min_size=1, max_size=12),
    st.integers(2, 8), st.integers(0, 4), st.integers(3, 10), st.integers(0, 5),
)  # fmt: skip
@example([(Kind.SHIFTABLE_LOAD, 50)] * 4, 8, 1, 3, 5)
@example([(Kind.INTERRUPTIBLE_LOAD, 50)] * 3, 8, 0, 3, 3)
def test_the_upper_end_holds_from_the_first_command_on_and_though_loads_stop_then_if_it_is_the_near_one(
    drawn: list, batteries: int, middle: int, half: int, called: int
) -> None:
    kinds = [kind for kind, _ in drawn] + [Kind.BATTERY] * batteries
    gives = np.array([kind in (Kind.PV, Kind.BACKUP_GENERATOR) for kind in kinds])
    power_w = np.where(gives, 100.0, -100.0) * np.array([n for _, n in drawn] + [0] * batteries)
    low_w, high_w = 5e3 * middle - 2e3 * half, 5e3 * middle + 2e3 * half
    feeder = Feeder(kinds, power_w, 1_000.0 * called)
    before_w, *net_w = asyncio.run(feeder.play(low_w, high_w, 1))
    fleet, told = feeder.stage.state.fleet, feeder.stage.devices
    runs_on_w = -float(feeder.free_w[feeder.kinds == Kind.PROCESS_LINE].sum())
    most_w = max(high_w, low_w + 0.01 * abs(low_w) + runs_on_w) + 1.0
    assert net_w[0] <= most_w
    given_w = float(np.minimum(told.high_w, fleet.max_inject_w)[fleet.max_inject_w > 0].sum())
    if before_w > high_w:
        assert given_w <= most_w
    elif before_w > 5e3 * middle:
        # Who stands within stays above the lower end though no load follows: then loads that draw still count.
        draws_w = -float(feeder.free_w[fleet.max_inject_w <= 0].sum())
        assert given_w <= max(most_w, low_w + draws_w + 0.01 * abs(low_w) + 1.0)
