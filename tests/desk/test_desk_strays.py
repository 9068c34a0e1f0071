"""A limit on both ends of a feeder where some keep to no command: it is held, also while they begin to obey."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest
from strays_stage import BEAT_S, IGNORES, MUTE, NO_LINK, OBEYS, SILENT, One, Street

from sampled import some
from tieline.desk.disobedience import beyond
from tieline.desk.views import AlarmView
from tieline.desk.watch import decide_contradicted
from tieline.node.members_since import Members
from tieline.node.read_fleet import order_of, states
from tieline.node.read_own_way import own_way
from tieline.node.read_wait import stray, stray_says
from tieline.resource.command import Stage
from tieline.resource.identity import Kind

FOLLOWS = 300 // BEAT_S
"""Within so many beats a limit is to be held (docs/reference/limits.md)."""
THREE_GIVE = [One(Kind.BATTERY, OBEYS, 0.0)] * 4
LOW_W, HIGH_W = -1_000.0, 500.0


@pytest.mark.parametrize("how", [IGNORES, MUTE])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("wish_w", [5_000.0, 0.0])
def test_three_that_gave_much_begin_to_obey_and_the_feeder_stays_within_both_ends(
    how: str, at_once: bool, wish_w: float
) -> None:
    """It stood at -2.9 kW as each of them began to obey, and at -9.7 kW where all did at once."""

    async def play() -> None:
        street = Street([One(Kind.BATTERY, how, 5_000.0)] * 3 + THREE_GIVE)
        await street.limit(LOW_W, HIGH_W)
        await street.play(FOLLOWS)
        for row in range(3):
            street.obeys(row, wish_w)
            if not at_once:
                await street.play(3)
        await street.play(3 * FOLLOWS)
        assert max(street.net_w[2:]) <= HIGH_W
        assert min(street.net_w) >= LOW_W
        assert street.state.strays.since_ns.tolist() == [0] * 7, "all obey, and count as those that do"

    asyncio.run(play())


def named(street: Street) -> list[AlarmView]:
    """Return the alarms that name devices which go their own way."""
    state, now_ns = street.state, street.stage.clock.ns
    cells = states(state, {}, now_ns)
    return [alarm for alarm, _ in own_way(state, order_of(state.fleet), cells, [], "", {}, now_ns, Members())]


def test_who_is_told_nearly_what_it_gives_is_found_all_the_same_and_its_command_is_not_done() -> None:
    async def play() -> None:
        street = Street([One(Kind.BATTERY, IGNORES, 5_000.0)] * 3 + THREE_GIVE)
        await street.limit(LOW_W, HIGH_W)
        rows = np.arange(7, dtype=np.int32)
        for _ in range(2 * FOLLOWS):
            await street.play()
            street.confirmed()
            await street.desk.flush()
            await street.desk.commit(decide_contradicted(street.state, street.stage.clock.ns))
        assert (street.state.commands.high_w[:3] > 4_000.0).all(), "no further than the lower end has room for"
        assert beyond(street.state, rows, street.stage.clock.ns).tolist() == [True] * 3 + [False] * 4
        assert [Stage(int(x)) for x in street.state.commands.stage[:3]] == [Stage.UNCONFIRMED] * 3
        alarms = named(street)
        assert [(alarm.title, alarm.count) for alarm in alarms] == [("Beyond a limit that it took: r0, r1, r2", 3)]
        says = stray_says(stray(street.state, 0, street.stage.clock.ns) or {})
        assert says.endswith(
            "it was told 1604 W and stood at 5000 W; its limit counts it by its meter, the others make room, "
            "and it is told 4552 W now"
        )
        street.obeys(0)
        await street.play(2)
        assert beyond(street.state, rows, street.stage.clock.ns).tolist() == [False, True, True] + [False] * 4

    asyncio.run(play())


@pytest.mark.parametrize(("was", "then"), [((-3e4, 9e3), (-3e4, 3e3)), ((-9e3, 3e4), (-3e3, 3e4))])
def test_a_tighter_limit_reaches_who_ignored_the_last_one_at_the_next_beat(
    was: tuple[float, float], then: tuple[float, float]
) -> None:
    async def play() -> None:
        side = 1.0 if was[1] < 1e4 else -1.0
        street = Street([One(Kind.BATTERY, IGNORES, side * 5_000.0)] * 2 + [One(Kind.BATTERY, OBEYS, 0.0)] * 4)
        await street.limit(*was)
        await street.play(FOLLOWS)
        last = street.state.commands
        before_w = np.where(side > 0, last.high_w, -last.low_w)[:2]
        await street.limit(*then)
        await street.play()
        after_w = np.where(side > 0, last.high_w, -last.low_w)[:2]
        assert (after_w <= before_w - 1_000.0).all(), "six share the 6 kW that the limit has lost"
        assert float(np.where(side > 0, last.high_w, -last.low_w).sum()) <= 3_000.0
        assert (np.where(side > 0, street.link.high_w, -street.link.low_w)[:2] == after_w).all()

    asyncio.run(play())


@pytest.mark.parametrize("off", [0.028, -0.028])
def test_a_meter_that_is_off_makes_nobody_a_stray_that_is_named(off: float) -> None:
    async def play() -> None:
        street = Street([One(Kind.BATTERY, OBEYS, 3_000.0)] * 4 + [One(Kind.THERMOSTAT, OBEYS, -3_000.0)] * 2)
        await street.limit(LOW_W, HIGH_W)
        rows, drawn = np.arange(6, dtype=np.int32), random.Random(1)
        for beat in range(4 * FOLLOWS):
            if beat % 20 == 0:  # rooms are warm enough, or not
                street.wish_w[4:] = [drawn.choice([0.0, -3_000.0]), drawn.choice([0.0, -3_000.0])]
            await street.play()
            street.state.fleet.power_w[:] *= 1.0 + off
            assert not beyond(street.state, rows, street.stage.clock.ns).any()

    asyncio.run(play())


MIXED = [Kind.BATTERY, Kind.BATTERY, Kind.PV, Kind.PV, Kind.INTERRUPTIBLE_LOAD]
CARS = [Kind.EV_CHARGER, Kind.EV_CHARGER, Kind.BATTERY, Kind.INTERRUPTIBLE_LOAD]


def drawn_street(seed: int, kinds: Sequence[Kind] = MIXED) -> tuple[random.Random, list[One]]:
    """Return a street of two to four batteries that obey, and one to five others of all ways and of some kinds."""
    drawn = random.Random(seed)
    ones = [One(Kind.BATTERY, OBEYS, 0.0)] * drawn.randint(2, 4)
    for _ in range(drawn.randint(1, 5)):
        kind = drawn.choice(kinds)
        how = drawn.choice([IGNORES, IGNORES, IGNORES, MUTE, MUTE, NO_LINK, OBEYS, SILENT])
        spans = {
            Kind.BATTERY: (-50, 50),
            Kind.PV: (0, 50),
            Kind.INTERRUPTIBLE_LOAD: (-1, 0),
            Kind.EV_CHARGER: (-50, -14),
        }
        steps = drawn.randint(*spans[kind])
        wish_w = steps * (5_000.0 if kind is Kind.INTERRUPTIBLE_LOAD else 100.0)
        ones.append(One(kind, how, 0.0 if kind is Kind.BATTERY and how in (OBEYS, SILENT) else wish_w))
    return drawn, ones


def drawn_limit(drawn: random.Random) -> tuple[float, float]:
    middle_w, half_w = 500.0 * drawn.randint(-8, 8), 100.0 * drawn.randint(4, 50)
    return middle_w - half_w, middle_w + half_w


def could_hold(street: Street) -> bool:
    """Whether batteries that obey could hold the limit, wherever those are that were not found to ignore theirs."""
    low_w, high_w = street.limit_w
    fleet, obeys = street.state.fleet, street.how == OBEYS
    unfound = (street.how == MUTE) | (street.how == IGNORES)
    unsure = (street.how == SILENT) | (unfound & (street.state.strays.since_ns == 0))
    unsure_w = 5_000.0 * int(unsure.sum())
    spare_w = 0.01 * float((fleet.max_inject_w + fleet.max_absorb_w).sum()) + 60.0
    fixed_w = float(street.does_w[~obeys & (street.how != SILENT)].sum())
    can_w = 5_000.0 * int((obeys & (fleet.max_inject_w > 0.0) & (fleet.max_absorb_w > 0.0)).sum())
    within = fixed_w - can_w + unsure_w <= high_w - spare_w and fixed_w + can_w - unsure_w >= low_w + spare_w
    return within and high_w - low_w >= 2.0 * (unsure_w + spare_w)


async def held(street: Street, beats: int, after: int) -> None:
    """Let beats pass; from some on the limit is held, by what caps move for no less, wherever it could be."""
    fleet = street.state.fleet
    slack_w = 6.0 + 0.005 * float((fleet.max_inject_w + fleet.max_absorb_w).sum())
    for beat in range(beats):
        (net_w,) = await street.play()
        if beat >= after and could_hold(street):
            assert street.limit_w[0] - slack_w <= net_w <= street.limit_w[1] + slack_w


@pytest.mark.parametrize("seed", some(range(400), 12))
def test_both_ends_are_held_also_as_any_begin_to_obey_while_the_limit_tightens_and_loosens(seed: int) -> None:
    plays(*drawn_street(seed))


@pytest.mark.parametrize("seed", some(range(400), 12))
def test_so_they_are_where_cars_charge(seed: int) -> None:
    plays(*drawn_street(seed, CARS))


def plays(drawn: random.Random, ones: list[One]) -> None:
    """Play a street, and hold its limit to be kept wherever it could be."""

    async def play() -> None:
        street = Street(ones)
        silent = np.flatnonzero(street.how == SILENT)
        street.how[silent] = OBEYS
        await street.limit(*drawn_limit(drawn))
        await held(street, FOLLOWS + 4, FOLLOWS)
        street.how[silent] = SILENT
        await held(street, FOLLOWS + 4 if len(silent) else 0, FOLLOWS)
        later = [row for row, one in enumerate(ones) if one.how in (IGNORES, MUTE)]
        drawn.shuffle(later)
        while later:
            count, could = drawn.randint(1, len(later)), could_hold(street)
            for row in later[:count]:
                wish_w = ones[row].wish_w
                street.obeys(row, drawn.choice([wish_w, wish_w, 0.0]) if ones[row].kind is Kind.BATTERY else wish_w)
            later = later[count:]
            await held(street, drawn.randint(1, 12), 0 if could else FOLLOWS)
            if drawn.random() < 0.5:
                await street.limit(*drawn_limit(drawn))
                await held(street, drawn.choice([4, FOLLOWS + 4]), FOLLOWS)
        await held(street, FOLLOWS + 4, FOLLOWS)

    asyncio.run(play())
