"""A journal that takes no records is in the list of alarms within ten seconds, whoever looked before or how seldom."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_why_parts import play

from tieline.desk.screens import AskLimit
from tieline.desk.views import AlarmView
from tieline.errors import LinkDown
from tieline.flow.begun import act
from tieline.ids import derive
from tieline.node.operator import NodeOperator
from tieline.node.outage import Outage
from tieline.node.read_alarms import AlarmBook, journal_alarm
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.store.journal import SqliteJournal
from tieline.times import SECOND_NS

WITHIN_S = 10.0


def told(alarms: list[AlarmView]) -> list[str]:
    return [alarm.title for alarm in alarms if alarm.id == derive("alarm", "journal")]


def fill(node: Node) -> None:
    """Take the room of the journal's disk: a limit on files, at what its log is, is a full disk to it."""
    assert isinstance(node.journal, SqliteJournal)
    length, (_, most) = Path(f"{node.journal.path}-wal").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, most))


@pytest.fixture
def whole_disk() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("looks_s", [[9.5], [0.0, 9.5], [9.0, 9.5], [2.0, 4.0, 6.0, 8.0, 9.5], [300.0]])
def test_the_first_look_after_ten_seconds_of_a_full_disk_shows_its_alarm_and_none_does_after_it_has_room(
    tmp_path: Path, looks_s: list[float], whole_disk: None
) -> None:
    async def scene(node: Node, operator: NodeOperator) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        reader = NodeReader(node, Sources(utility="w", setting="LIVE", zone="UTC"))
        with act():
            await operator.limit("home-2", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        assert told(reader.alarms()) == []
        fill(node)
        with pytest.raises(LinkDown), act():
            await operator.limit("home-1", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        began_ns = node.clock.now_ns()
        for at_s in looks_s:
            await asyncio.sleep(at_s - (node.clock.now_ns() - began_ns) / SECOND_NS)
            shown = reader.alarms()
        (title,) = told(shown)
        assert title.startswith("Nothing can be recorded: ") and "full" in title
        (alarm,) = [one for one in shown if one.subject == "journal"]
        assert alarm.since_ns == began_ns
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        async with asyncio.timeout(10.0):
            await node.group.came_up.wait()
        await asyncio.sleep(2.0)
        assert told(reader.alarms()) == []

    play(tmp_path, scene)


LOOKS = st.lists(st.floats(0.0, 120.0), min_size=1, max_size=12).map(sorted)


@given(looks_s=LOOKS, has_failed=st.booleans(), is_full=st.booleans())
def test_a_look_shows_the_alarm_of_an_outage_by_how_long_it_has_lasted_and_not_by_who_looked_before(
    looks_s: list[float], has_failed: bool, is_full: bool
) -> None:
    book = AlarmBook()
    for at_s in looks_s:
        now_ns = round(at_s * SECOND_NS)
        outage = Outage("away", has_failed, is_full, now_ns)
        found = journal_alarm(outage, 3, book.standing(), now_ns)
        shown = told(book.keep(found, now_ns))
        assert shown or at_s < WITHIN_S
        assert shown or not (has_failed or is_full), "nothing of that passes by itself"
        assert not shown or at_s >= 5.0 or has_failed or is_full, "a database that fails over needs nobody"
