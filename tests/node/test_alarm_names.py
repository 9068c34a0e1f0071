"""A trouble that spreads, or shrinks again, is the alarm that it was: its name, since when, and who acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tieline.desk.views import AlarmView
from tieline.node.alarm_names import Names
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.times import MINUTE_NS, SECOND_NS

START_NS = 1_700_000_000 * SECOND_NS
FEEDERS, EACH = 4, 10
"""Two feeders with trouble have an alarm each; with three or more it is told of all."""


class Wall:
    """A clock that stands where it is put."""

    ns = START_NS

    def now_ns(self) -> int:
        return self.ns


class Room:
    """A desk over four feeders, some of whose devices are silent, and who looks at it each minute."""

    def __init__(self, node: Node, clock: Wall) -> None:
        self.node, self.clock = node, clock
        clock.ns = START_NS
        self.node.state.fleet.taken_at_ns[:] = START_NS
        self.reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
        self.operator = NodeOperator(node, self.reader)

    def look(self, silent: Sequence[int], minutes: int = 1) -> list[AlarmView]:
        """Return the alarms of devices that stand after so many minutes with so many silent on each feeder."""
        lost = np.concatenate([np.arange(EACH) < count for count in silent])
        self.node.state.fleet.quality[:] = np.where(lost, int(Quality.COMM_LOST), 0)
        for _ in range(minutes):
            self.clock.ns += MINUTE_NS
            found = self.reader.alarms()
        return [alarm for alarm in found if alarm.title.startswith("No telemetry")]

    def acknowledge(self, alarm: AlarmView, by: str = "ann") -> None:
        assert asyncio.run(self.operator.acknowledge(alarm.id, by)) is None

    @property
    def raised(self) -> int:
        return len(self.reader._book.raised)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Wall]]:
    tmp_path = tmp_path_factory.mktemp("works")
    folder, run, clock = tmp_path / "works", CliRunner(), Wall()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    lines = [
        f"d{f}-{n},battery,5000,5000,10000,feeder-{f},site-{f}-{n},pool-1" for f in range(FEEDERS) for n in range(EACH)
    ]
    (tmp_path / "devices.csv").write_text(
        "id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool\n" + "\n".join(lines) + "\n"
    )
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    made = node_of(folder, load_config(folder / "tieline.toml"), Supervisor(np.random.default_rng(1)), None, clock)
    made.state.fleet.power_w[:] = 1_000.0
    yield made, clock
    made.journal.close()


@pytest.fixture
def room(works: tuple[Node, Wall]) -> Room:
    return Room(*works)


def test_one_that_spreads_from_a_feeder_to_all_is_the_alarm_that_was_acknowledged_and_is_never_gone(room: Room) -> None:
    (first,) = room.look([5, 0, 0, 0], 3)
    base = room.raised
    room.acknowledge(first)
    for silent in ([5, 5, 5, 0], [5, 5, 5, 5], [9, 9, 9, 9]):
        (wide,) = room.look(silent)
        assert (wide.id, wide.since_ns) == (first.id, first.since_ns)
        assert wide.subject != first.subject and wide.count == sum(silent)
        assert (wide.is_acknowledged, wide.acknowledged_by) == (True, "ann")
    assert room.raised == base


@pytest.mark.parametrize("left", [[4, 0, 0, 0], [0, 0, 3, 0]])
def test_one_that_shrinks_to_a_feeder_again_is_still_that_alarm(room: Room, left: list[int]) -> None:
    (first,) = room.look([5, 0, 0, 0], 3)
    room.acknowledge(first)
    assert len(room.look([5, 5, 5, 5], 20)) == 1
    base = room.raised
    for minute in range(15):
        (one,) = room.look(left)
        assert (one.id, one.since_ns, one.is_acknowledged) == (first.id, first.since_ns, True), minute
        assert one.subject == f"feeder-{int(np.argmax(left))}"
    (wide,) = room.look([5, 5, 5, 5])
    assert (wide.id, wide.is_acknowledged, room.raised) == (first.id, True, base)


def test_of_several_that_become_one_it_is_one_that_nobody_acknowledged(room: Room) -> None:
    (first,) = room.look([5, 0, 0, 0], 3)
    room.acknowledge(first)
    second = next(alarm for alarm in room.look([5, 5, 0, 0], 3) if alarm.id != first.id)
    (wide,) = room.look([5, 5, 5, 5])
    assert (wide.id, wide.since_ns, wide.is_acknowledged) == (second.id, second.since_ns, False)
    room.acknowledge(wide, "bob")
    for silent, alarm, by in (([0, 4, 0, 0], second, "bob"), ([4, 0, 0, 0], first, "ann")):
        (one,) = room.look(silent)
        assert (one.id, one.acknowledged_by) == (alarm.id, by)


def test_one_that_was_gone_for_long_is_news_whatever_it_is_told_of(room: Room) -> None:
    (first,) = room.look([5, 0, 0, 0], 3)
    room.acknowledge(first)
    assert len(room.look([5, 5, 5, 5])) == 1
    assert room.look([0, 0, 0, 0], 12) == []
    (wide,) = room.look([5, 5, 5, 5], 3)
    assert not wide.is_acknowledged and wide.id != first.id


def test_the_past_shows_it_under_the_same_name_and_as_acknowledged(room: Room) -> None:
    (first,) = room.look([5, 0, 0, 0], 3)
    room.acknowledge(first)

    async def then() -> tuple[list[AlarmView], int]:
        room.look([5, 5, 5, 5])
        await room.reader._sample()
        at_ns = room.clock.ns
        room.clock.ns += MINUTE_NS
        past = await room.reader.at(at_ns)
        assert isinstance(past, NodeReader)
        return past.alarms(), at_ns

    alarms, at_ns = asyncio.run(then())
    (wide,) = [alarm for alarm in alarms if alarm.title.startswith("No telemetry")]
    assert (wide.id, wide.since_ns, wide.acknowledged_by, wide.count) == (first.id, first.since_ns, "ann", 20)
    assert at_ns > first.since_ns


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.integers(0, EACH), min_size=FEEDERS, max_size=FEEDERS), min_size=1, max_size=8))
def test_no_two_alarms_share_a_name_however_a_trouble_wanders(
    works: tuple[Node, Wall], spells: list[list[int]]
) -> None:
    room = Room(*works)
    for silent in spells:
        shown = [alarm.id for alarm in room.look(silent, 4)]
        held = [each.alarm.id for each in room.reader.suppressed() if each.alarm.title.startswith("No telemetry")]
        assert len({*shown, *held}) == len(shown) + len(held)
        assert {each.into for each in room.reader.suppressed() if each.how == "rolled_up"} <= {*shown}


def test_an_alarm_of_what_never_spread_goes_by_its_own_id() -> None:
    names = Names()
    names.follow(["f"], "all", [], {"x": 5}, {})
    assert names.of("x") == "x" and names.standing({"x": 5}) == {"x": 5}
