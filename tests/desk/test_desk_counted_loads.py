"""A feeder whose settings count its loads at what they draw: held by its net power, as its line is."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from strays_stage import OBEYS, SILENT, One, Street

from sampled import some
from tieline.desk import groups
from tieline.desk.nested import MARGIN_FRAC
from tieline.desk.wants import NEAR_FRAC
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS

LOADS = (Kind.INTERRUPTIBLE_LOAD, Kind.EV_CHARGER, Kind.THERMOSTAT)
SPANS = {Kind.INTERRUPTIBLE_LOAD: (-50, 0), Kind.EV_CHARGER: (-50, -14), Kind.THERMOSTAT: (-50, -50)}
BEATS = 16


class CountedStreet(Street):
    """A street whose feeder counts what loads draw; each beat is about a quarter of a minute."""

    def __init__(self, ones: list[One]) -> None:
        super().__init__(ones)
        self.state.counted = frozenset({"feeder-1"})
        self.is_sun = self.state.fleet.max_absorb_w <= 0.0
        self.state.suns.tells[:] = self.is_sun
        self.state.fleet.available_up_w[self.is_sun] = 0.0

    def moves(self) -> None:
        """Let each do what it does; the meters of plants tell what more the sun would let them give."""
        super().moves()
        self.state.fleet.available_up_w[self.is_sun] = (self.wish_w - self.does_w)[self.is_sun]

    @property
    def margin_w(self) -> float:
        """What caps keep off the end for: 1 % of it, and of what loads draw; and half a per cent of all ratings."""
        fleet = self.state.fleet
        loads_w = float(-self.does_w[fleet.max_inject_w <= 0.0].sum())
        size_w = float((fleet.max_inject_w + fleet.max_absorb_w).sum())
        return MARGIN_FRAC * (abs(self.limit_w[1]) + loads_w) + 0.005 * size_w + 3.0


def drawn_street(drawn: random.Random, stores: bool = True) -> list[One]:
    plants = [One(Kind.PV, OBEYS, 100.0 * drawn.randint(5, 50)) for _ in range(drawn.randint(1, 4))]
    kinds = drawn.choices(LOADS, k=drawn.randint(1, 5))
    loads = [One(kind, OBEYS, 100.0 * drawn.randint(*SPANS[kind])) for kind in kinds]
    idle = [One(Kind.BATTERY, OBEYS, 100.0 * drawn.randint(-20, 20)) for _ in range(drawn.randint(0, 3) * stores)]
    return plants + loads + idle


@pytest.mark.parametrize("seed", some(range(120), 60))
def test_no_plant_is_cut_and_no_store_pressed_while_the_net_power_is_within_the_end(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        street = CountedStreet(drawn_street(drawn))
        stands_w = float(street.does_w.sum())
        street.limit_w = -np.inf, stands_w
        # Who stands as near to his cap as this counts as held by it, and is given more at others' cost.
        near_w = (1.0 - NEAR_FRAC) * float(np.abs(street.does_w).sum())
        room_w = near_w + street.margin_w / (1.0 - MARGIN_FRAC) + 100.0 * drawn.randint(0, 40)
        low_w = drawn.choice([-np.inf, stands_w - 1_000.0 - street.margin_w])
        await street.limit(low_w, stands_w + room_w)
        await street.play(BEATS)
        is_load = street.state.fleet.max_inject_w <= 0.0
        gives = street.wish_w >= 0.0
        assert street.does_w[gives] == pytest.approx(street.wish_w[gives], abs=1.0)
        assert (street.does_w >= street.wish_w - 1.0)[~is_load].all()

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(160), 80))
def test_a_feeder_is_within_its_ends_again_by_the_beat_after_loads_stopped_or_began(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        street = CountedStreet(drawn_street(drawn))
        is_load = street.state.fleet.max_inject_w <= 0.0
        give_w = float(np.maximum(street.wish_w, 0.0).sum())
        high_w = 100.0 * drawn.randint(0, 1 + int(give_w / 100.0))
        await street.limit(-np.inf, high_w)
        await street.play(6)
        assert street.does_w.sum() <= high_w + 1.0
        for _ in range(4):
            before_w = street.wish_w.copy()
            at = np.flatnonzero(is_load)[[drawn.random() < 0.5 for _ in range(int(is_load.sum()))]]
            street.wish_w[at] = np.where(street.wish_w[at] < 0.0, 0.0, [street.ones[k].wish_w for k in at])
            await street.play(1)  # it stops, and the desk hears it
            stopped_w = float(np.maximum(street.wish_w - before_w, 0.0).sum())
            assert street.does_w.sum() <= high_w + stopped_w + 1.0
            await street.play(1)
            assert street.does_w.sum() <= high_w + 1.0, seed

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(200), 100))
def test_both_ends_hold_from_beat_to_beat_while_all_obey(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        ones = [*drawn_street(drawn), One(Kind.BATTERY, OBEYS, 100.0 * drawn.randint(-30, 30))]
        street = CountedStreet(ones)
        stands_w = float(street.does_w.sum())
        low_w = stands_w - 100.0 * drawn.randint(6, 60)
        await street.limit(low_w, low_w + 100.0 * drawn.randint(60, 90))
        net_w = np.array(await street.play(30))
        low_w, high_w = street.limit_w
        slack_w = 3.0 + 0.005 * float((street.state.fleet.max_inject_w + street.state.fleet.max_absorb_w).sum())
        if stands_w > high_w:
            net_w = net_w[1:]
        assert low_w - slack_w <= net_w.min() and net_w.max() <= high_w + slack_w, (low_w, high_w, net_w)

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(60), 30))
def test_loads_that_are_not_heard_make_no_room(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        ones = [
            one if one.kind not in LOADS else One(one.kind, SILENT, one.wish_w)
            for one in drawn_street(drawn, stores=False)
        ]
        street = CountedStreet(ones)
        high_w = 100.0 * drawn.randint(5, 50)
        await street.limit(-np.inf, high_w)
        await street.play(6)
        given_w = float(np.maximum(street.does_w, 0.0).sum())
        assert given_w <= high_w + 1.0

    asyncio.run(play())


def test_a_reading_older_than_the_catalogue_lets_it_be_makes_no_room() -> None:
    street = CountedStreet([One(Kind.PV, OBEYS, 5_000.0), One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -4_000.0)])
    state, rows, now_ns = street.state, np.arange(2, dtype=np.int32), street.stage.clock.ns
    fresh = groups.caps_of(state, "feeder-1", rows, (-np.inf, 2_000.0), now_ns)[1]
    assert fresh[0] == 5_000.0
    state.fleet.taken_at_ns[1] -= 3 * MINUTE_NS
    on_time = groups.caps_of(state, "feeder-1", rows, (-np.inf, 2_000.0), now_ns)[1]
    assert on_time[0] == 5_000.0
    state.fleet.taken_at_ns[1] -= 1
    late = groups.caps_of(state, "feeder-1", rows, (-np.inf, 2_000.0), now_ns)[1]
    assert late[0] == pytest.approx(1_980.0)


def test_a_feeder_that_draws_5_kilowatts_cuts_no_roof_and_presses_no_battery_of_who_opted_out() -> None:
    """Under -8 to 4 kW both roofs were cut to half, and the battery of an owner who opted out was told to draw."""

    async def play() -> None:
        roofs, battery = [One(Kind.PV, OBEYS, 4_500.0)] * 2, One(Kind.BATTERY, OBEYS, 0.0)
        loads = [One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -5_000.0)] * 2 + [One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -4_500.0)]
        street = CountedStreet([*roofs, battery, *loads])
        street.state.opted_out[2] = True
        await street.limit(-8_000.0, 4_000.0)
        await street.play(4)
        assert street.does_w.sum() == pytest.approx(-5_500.0)
        assert street.does_w[:3] == pytest.approx([4_500.0, 4_500.0, 0.0])

    asyncio.run(play())


def test_idle_batteries_stay_idle_while_loads_draw_all_that_the_limit_asks_for() -> None:
    """Under -6 kW batteries charged with 6 kW though loads drew 7 kW."""

    async def play() -> None:
        batteries = [One(Kind.BATTERY, OBEYS, 0.0)] * 2
        loads = [One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -3_500.0)] * 2
        street = CountedStreet([*batteries, *loads])
        await street.limit(-np.inf, -6_000.0)
        await street.play(4)
        assert street.does_w[:2] == pytest.approx([0.0, 0.0])
        street.wish_w[2] = 0.0
        await street.play(2)
        assert -6_600.0 < street.does_w.sum() <= -6_000.0

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(80), 40))
def test_a_pool_and_a_feeder_whose_loads_count_hold_their_ends_together(seed: int) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        street = CountedStreet(drawn_street(drawn))
        street.state.counted = frozenset(drawn.sample(["feeder-1", "pool-1"], drawn.randint(1, 2)))
        stands_w = float(street.does_w.sum())
        feeder_w, pool_w = (stands_w + 100.0 * drawn.randint(-20, 30) for _ in range(2))
        for group, high_w in (("feeder-1", feeder_w), ("pool-1", pool_w)):
            await street.desk.ask(
                street.stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=-np.inf, high=high_w,
                                 end_ns=street.stage.clock.ns + 100 * MINUTE_NS)
            )  # fmt: skip
        net_w = await street.play(20)
        fleet = street.state.fleet
        can_w = float(np.where(fleet.max_inject_w > 0.0, -fleet.max_absorb_w, street.wish_w).sum())
        assert max(net_w[8:]) <= max(min(feeder_w, pool_w), can_w) + 3.0, (feeder_w, pool_w, net_w)

    asyncio.run(play())
