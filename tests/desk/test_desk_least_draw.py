"""Chargers are told to stop or to draw six amperes at least, whatever is owed, called or limited (IEC 61851-1)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.desk import events, redispatch
from tieline.desk.cycle import Cycle
from tieline.desk.event_tracking import EventTallies
from tieline.desk.least_draw import drawable_w, followable, is_between, whole_draws
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Granted
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.holding import least_draw_w
from tieline.fleet.ledger import SLOT_NS
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

START = (START_NS // SLOT_NS + 1) * SLOT_NS
DRAWS = st.lists(st.floats(0.0, 7_200.0), min_size=1, max_size=12)
SIDES = st.sampled_from([1.0, -1.0])


@settings(max_examples=300)
@given(DRAWS, SIDES, st.floats(0.0, 1.0), st.lists(st.floats(0.0, 5_000.0), max_size=4))
def test_no_share_leaves_a_charger_between_and_all_give_what_they_gave_within_one_step(
    draws: list[float], side: float, part: float, others: list[float]
) -> None:
    """What is between is moved by no more than a car's least draw in all, less what others make up for."""
    base_w = -np.array([*draws, *([0.0] * len(others))])
    least_w = np.array([LEAST_CHARGE_W] * len(draws) + [0.0] * len(others))
    most_w = np.concatenate([-base_w[: len(draws)] if side > 0 else 7_200.0 + base_w[: len(draws)], others])
    share_w, smooth_w = part * most_w, np.where(least_w > 0.0, 0.0, most_w)
    found_w = whole_draws(share_w, base_w, least_w, most_w, side, smooth_w)
    called = found_w > 1e-6
    assert not is_between(base_w + side * found_w, least_w)[called].any()
    assert (found_w >= -1e-6).all() and (found_w <= most_w + 1e-6).all()
    off_w = float(found_w.sum() - share_w.sum())
    assert abs(off_w) <= LEAST_CHARGE_W + 1e-6
    no_more = whole_draws(share_w, base_w, least_w, most_w, side, smooth_w, beyond_w=0.0)
    most = np.maximum(-LEAST_CHARGE_W - base_w, 0.0)[: len(draws)].sum() if side > 0 else 0.0
    assert no_more.sum() <= max(share_w.sum(), most) + 1e-6


ROWS = st.lists(
    st.tuples(st.sampled_from([35.0, 42.0, 48.0, 110.0]), st.floats(0.0, 7_200.0), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300)
@given(ROWS, st.floats(1.0, 30_000.0), SIDES)
@example([(35.0, 3_000.0, True), (48.0, 5_000.0, False)], 2_000.0, 1.0)
def test_what_chargers_leave_of_what_is_owed_whoever_can_give_a_part_gives_dear_as_it_may_be(
    rows: list[tuple[float, float, bool]], owed_w: float, side: float
) -> None:
    """A battery that costs more than the car stood by, and the pool told the market that it lacked 380 of 2,000 W."""
    price, power_w, is_car = (np.array(column) for column in zip(*rows, strict=True))
    base_w = np.where(is_car, -power_w, 0.0)
    up_w, down_w = power_w, np.where(is_car, 7_200.0 - power_w, power_w)
    number, least_w = np.arange(len(rows), dtype=np.int32), np.where(is_car, LEAST_CHARGE_W, 0.0)
    room = redispatch.Headroom(number, base_w, up_w, down_w, price, np.ones(len(rows), np.bool_))
    plain = redispatch.allocate(room, side * owed_w)
    split = followable(plain, room, least_w, ~is_car, side)
    share_w, most_w = side * split.share_w, up_w if side > 0.0 else down_w
    assert (share_w >= -1e-6).all() and (share_w <= most_w + 1e-6).all()
    assert split.target_w == pytest.approx(base_w + split.share_w)
    assert not is_between(split.target_w, least_w)[share_w > 1e-3].any()
    gives_w, asked_w = float(share_w.sum()), side * float(plain.share_w.sum())
    assert split.shortfall_w == pytest.approx(side * max(owed_w - gives_w, 0.0), abs=1e-6)
    free_w = float((most_w - share_w)[~is_car].sum())
    assert asked_w - gives_w <= max(25.0, 0.005 * owed_w) + 1.0 or free_w <= 1.0, "nobody is left who could give a part"


@given(st.lists(st.tuples(st.floats(-8e3, 8e3), st.floats(-8e3, 0.0), st.floats(-8e3, 8e3)), min_size=1, max_size=20))
def test_a_target_that_is_told_lies_within_its_limits_and_not_between_unless_they_do(
    rows: list[tuple[float, float, float]],
) -> None:
    low_w = np.array([min(low, high) for _, low, high in rows])
    high_w = np.array([max(low, high) for _, low, high in rows])
    target_w = np.clip([target for target, _, _ in rows], low_w, high_w)
    least_w = np.full(len(rows), LEAST_CHARGE_W)
    found_w = drawable_w(target_w, least_w, low_w, high_w)
    assert ((found_w >= low_w) & (found_w <= high_w)).all()
    may_not = (high_w < 0.0) & (low_w > -least_w)
    assert not (is_between(found_w, least_w) & ~may_not).any()
    kept = ~is_between(target_w, least_w)
    assert (found_w[kept] == target_w[kept]).all()


@given(st.lists(st.tuples(st.floats(0.0, 9e3), st.floats(-0.4, 0.4)), min_size=1, max_size=8))
def test_no_device_is_told_a_fraction_of_a_watt_as_its_base_and_what_makes_up_for_it_add_up_to_it(
    rows: list[tuple[float, float]],
) -> None:
    base_w = -np.array([base for base, _ in rows])
    target_w = base_w + (np.array([off for _, off in rows]) - base_w)
    count = len(rows)
    stage = Stage1(fleet_of([Kind.THERMOSTAT] * count, rating_w=1e4))

    async def act() -> None:
        for row in range(count):
            end_ns = stage.clock.ns + HOUR_NS
            await stage.desk.ask(
                stage.ask("market", Level.MARKET, f"r{row}", value=float(target_w[row]), end_ns=end_ns)
            )
        await stage.desk.settle()
        await stage.desk.flush()

    asyncio.run(act())
    assert (stage.state.commands.target_w == 0.0).all()


class Street:
    """Six chargers with cars, four batteries and two thermostats of a pool; each does what it is told at once."""

    def __init__(self, draws_w: list[float]) -> None:
        kinds = [*[Kind.EV_CHARGER] * 6, *[Kind.BATTERY] * 4, *[Kind.THERMOSTAT] * 2]
        self.stage = Stage1(fleet_of(kinds, rating_w=7_200.0))
        self.state, self.fleet = self.stage.state, self.stage.state.fleet
        self.own_w = -np.array([*draws_w, *([0.0] * 4), 7_200.0, 7_200.0])
        self.fleet.available_up_w[:6], self.fleet.available_down_w[:6] = draws_w, 7_200.0 - np.array(draws_w)
        self.fleet.energy_available_wh[6:10] = 1_500.0
        self.state.base_w[:] = self.fleet.power_w[:] = self.own_w
        rows = np.arange(len(kinds), dtype=np.int32)
        price = merit_price(self.fleet.kinds)
        self.pool = PoolDesk("pool-1", rows, price, np.ones(len(kinds), np.bool_), np.zeros(len(kinds)))
        self.cycle = Cycle(self.stage.desk, {"pool-1": self.pool})
        self.tallies, self.told = EventTallies(), list[float]()

    async def minutes(self, count: int) -> None:
        """Let minutes go by; every target that chargers are told is kept."""
        for _ in range(count):
            self.stage.clock.ns += MINUTE_NS
            self.fleet.taken_at_ns[:] = self.stage.clock.ns
            await self.cycle.beat(self.stage.clock.ns)
            await self.stage.desk.settle()
            await self.stage.desk.flush()
            target_w = self.state.commands.target_w
            self.told += target_w[:6][np.isfinite(target_w[:6])].tolist()
            does_w = np.where(np.isfinite(target_w), target_w, self.own_w)
            does_w = np.clip(does_w, self.state.commands.low_w, self.state.commands.high_w)
            between = is_between(does_w, least_draw_w(self.fleet, self.pool.rows))
            self.fleet.power_w[:] = np.where(between, 0.0, does_w)
            self.fleet.available_up_w[:6] = -self.fleet.power_w[:6]

    async def award(self, power_w: float) -> None:
        at_ns = self.stage.clock.ns
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", at_ns, at_ns + HOUR_NS, power_w, 50.0)
        await self.minutes(4)

    async def event(self, power_w: float) -> None:
        wish = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, power_w)
        entries, event = events.decide_compose(self.state, wish, "ada", self.stage.clock.ns)
        await self.stage.desk.commit(entries)
        assert isinstance(event, ProgramEvent)
        for to, by in ((EventState.SUBMITTED, "ada"), (EventState.APPROVED, "bo")):
            entries, _ = events.decide_step(self.state, event.id, to, by, self.stage.clock.ns)
            await self.stage.desk.commit(entries)
        while self.stage.clock.ns < START + 3 * MINUTE_NS:
            counted = self.tallies.count(self.state, self.stage.clock.ns)
            entries = events.due(self.state, self.stage.clock.ns, self.tallies.shown)
            await self.stage.desk.commit([*counted, *entries])
            if entries:
                self.tallies.note(self.state, self.stage.clock.ns)
                await self.cycle.hand_over(self.stage.clock.ns)
            await self.minutes(1)

    async def own_wish(self, power_w: float) -> None:
        end_ns = self.stage.clock.ns + HOUR_NS
        asked = self.stage.ask("dso", Level.ENVELOPE, "r0", value=-min(power_w, 7_200.0), end_ns=end_ns)
        assert isinstance(await self.stage.desk.ask(asked), Granted)
        await self.minutes(2)

    async def limit(self, power_w: float) -> None:
        end_ns = self.stage.clock.ns + HOUR_NS
        for row in range(6):
            asked = self.stage.ask(
                "dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=-power_w, high=1e6, end_ns=end_ns
            )
            assert isinstance(await self.stage.desk.ask(asked), Granted)
        await self.minutes(2)


def played(draws_w: list[float], *acts: tuple[str, float]) -> list[float]:
    """Return every target that a charger was told while these came, one after the other (W)."""

    async def play() -> list[float]:
        street = Street(draws_w)
        for name, power_w in acts:
            await getattr(street, name)(power_w)
        return street.told

    return asyncio.run(play())


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0.0, 7_200.0), min_size=6, max_size=6),
    st.permutations(["award", "limit", "own_wish"]),
    st.lists(st.floats(200.0, 30_000.0), min_size=3, max_size=3),
)
def test_awards_wishes_and_limits_tell_no_charger_a_power_between(
    draws_w: list[float], acts: list[str], powers_w: list[float]
) -> None:
    told = np.array(played(draws_w, *zip(acts, powers_w, strict=True)))
    assert not is_between(told, np.full(len(told), LEAST_CHARGE_W)).any(), told[(told < 0) & (told > -LEAST_CHARGE_W)]


@pytest.mark.parametrize("power_w", [3_000.0, 9_000.0, 15_000.0, 21_000.0, -4_000.0])
def test_an_event_that_chargers_share_tells_none_a_power_between(power_w: float) -> None:
    told = np.array(played([7_000.0, 3_000.0, 2_000.0, 1_500.0, 0.0, 0.0], ("event", power_w)))
    assert len(told) and not is_between(told, np.full(len(told), LEAST_CHARGE_W)).any(), told
