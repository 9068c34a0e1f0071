"""A month of simulated operation with faults: no limit of an owner, a device or a feeder is crossed by what we do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from month_devices import Devices
from month_life import Lived, live
from month_truth import Standing, Truth

from tieline.node.demo import quiet
from tieline.resource.identity import Kind
from tieline.simulate.physics.batch import MAY_WAIT
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import DAY_NS, SECOND_NS, parse_iso

SEED, DAYS = 1, 30
ASKED = ("disturbance", "opt-out", "owner's limit", "limit on generation over DNP3", "limit on a feeder", "award")
FAULTS = ("lost", "late", "held", "mute", "stall", "cut", "rebooted")
NOON = parse_iso("2022-08-17T12:00:00-05:00")


def held(lived: Lived, days: int) -> None:
    """Nothing was crossed, though everything was tried, felt and seen."""
    truth = lived.truth
    assert truth.crossings == [], truth.told()
    assert truth.minutes >= days * DAY_NS // (60 * SECOND_NS) - 1 and truth.missed == 0
    assert all(lived.did[name] > 0 for name in ASKED), lived.did
    assert any(name.startswith("event") and "refused" not in name for name in lived.did), lived.did
    assert all(lived.faults[name] > 0 for name in FAULTS), lived.faults
    assert truth.binding["a limit on a group"] > 0 and truth.binding["an owner's limit"] > 0


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lived, Truth]]:
    """A day, and beside it what is found where limits are noted that nobody was told of."""
    quiet()
    untold: list[Truth] = []

    def also(truth: Truth) -> None:
        stage, fleet = truth.stage, truth.stage.territory.fleet
        other = Truth(stage, truth.dno, truth.owners)
        since_ns = stage.node.clock.now_ns()
        other.groups["nobody"] = Standing(stage.territory.feeders[0], -1_000.0, 1_000.0, since_ns)
        for row in stage.world.rows[Kind.THERMOSTAT].tolist():
            other.limited[row] = Standing(fleet.id_of(row), -500.0, 0.0, since_ns)
        other.out |= dict.fromkeys(stage.world.rows[Kind.BATTERY].tolist(), (since_ns, since_ns + DAY_NS))
        stage.node.before_beat.append(other.look)
        untold.append(other)

    yield live(tmp_path_factory.mktemp("day"), SEED, 1, also=also), untold[0]


@pytest.mark.long
def test_a_day_with_faults_crosses_no_limit(day: tuple[Lived, Truth]) -> None:
    held(day[0], 1)


@pytest.mark.long
def test_limits_that_nobody_was_told_of_are_found_crossed(day: tuple[Lived, Truth]) -> None:
    """Else a month without a crossing would prove nothing."""
    found = Counter(one.check for one in day[1].crossings)
    assert found["a limit on a group"] > 100 and found["an owner's limit"] > 100, found
    # The limit on its feeder, which was not told either, is no excuse here: batteries are called though they are out.
    pressed = sum(n for (check, _), n in day[1].counts.items() if check == "an opted-out device is called")
    assert pressed > 10, day[1].counts


def found_in(change: Callable[[World, list], None]) -> set[str]:
    """Return what is found a minute after something was changed by hand in a world that runs by itself."""
    rng = np.random.default_rng(3)
    territory = build(60, rng)
    world = World(territory, rng, with_grid=False)
    count = len(territory.fleet)
    told = [np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)]
    looks = Devices(world, territory.fleet)
    for turn in range(12):
        world.step(NOON + turn * 60 * SECOND_NS, 60.0, *told)
        assert list(looks.found(*told)) == [], "left alone it keeps its limits"
    change(world, told)
    return {check for check, _, _ in looks.found(*told)}


def beyond(world: World, told: list) -> None:
    world.power_w[0] = 1e6


def told_beyond(world: World, told: list) -> None:
    told[0][0] = -1e6


def emptied(world: World, told: list) -> None:
    world.storage.soc_frac[0] = 0.01


def waits_where_it_spoils(world: World, told: list) -> None:
    world.lines.step_at[:] = int(np.flatnonzero(~MAY_WAIT)[0])
    world.lines.last_w[:] = 0.0


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (beyond, "a rating"),
        (told_beyond, "a rating, by what it was told"),
        (emptied, "a store's reserve or size"),
        (waits_where_it_spoils, "a batch that waits"),
    ],
)
def test_a_device_beyond_its_own_limits_is_found(change: Callable[[World, list], None], check: str) -> None:
    assert check in found_in(change)


def test_a_device_that_is_switched_twice_within_its_least_time_is_found() -> None:
    rng = np.random.default_rng(3)
    territory = build(60, rng)
    world = World(territory, rng, with_grid=False)
    told = [np.full(60, np.nan), np.full(60, -np.inf), np.full(60, np.inf)]
    looks = Devices(world, territory.fleet)
    world.hvac.is_on = ~world.hvac.is_on
    assert list(looks.found(*told)) == [], "since when it stood as it did before nobody knows"
    world.hvac.is_on = ~world.hvac.is_on
    found = [(check, beyond) for check, _, beyond in looks.found(*told)]
    assert found and set(found) == {("a least time on or off", 240.0)}


@pytest.mark.long
def test_a_month_with_faults_crosses_no_limit(tmp_path: Path) -> None:
    quiet()
    lived = live(tmp_path, SEED, DAYS, say=print)
    print(lived.truth.told())
    held(lived, DAYS)
