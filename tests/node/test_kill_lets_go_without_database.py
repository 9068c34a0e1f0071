"""A press lets go whom events had called while the journal is out of reach, and a restart goes on from what stood aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from test_event_stretches import POWER_W, Desk, played
from test_kill_on_full_disk import called

from tieline.desk.screens import AskLimit
from tieline.errors import LinkDown
from tieline.flow.begun import act
from tieline.flow.record import Record
from tieline.resource.claim import Refusal
from tieline.store.aside import Aside
from tieline.store.journal import SqlJournal, StoreDown


class Far:
    """A journal whose database goes away and comes back."""

    def __init__(self, journal: SqlJournal) -> None:
        self.journal, self.is_away = journal, False

    def goes(self) -> None:
        self.is_away = True

    def append(self, records: Iterable[Record]) -> int:
        if self.is_away:
            raise StoreDown("the database is away")
        return self.journal.append(records)


async def limits(desk: Desk, device: str) -> None:
    """Limit a device that is called, so that the beat before the press has something to tell it."""
    with act():
        assert not isinstance(await desk.operator.limit(device, AskLimit(0.0, 1.0, 10, "a test"), "ann"), Refusal)


def test_a_press_lets_go_whom_an_event_called_as_it_does_with_a_database(tmp_path: Path) -> None:
    """An act and a beat are under way as the database goes: both wait in the middle, and the beat holds up all others."""
    seen: dict[bool, tuple[list[int], list[int]]] = {}
    kept: dict[bool, list[Record]] = {}

    def pressed_at(is_away: bool, folder: Path) -> Callable[[Desk], Awaitable[None]]:
        async def play(desk: Desk) -> None:
            node, group = desk.stage.node, desk.stage.node.group
            far, aside = Far(node.journal), Aside(folder)  # type: ignore[arg-type]
            group._journal, group.aside = far, aside
            await desk.approved(0.0, 1_800.0, power_w=POWER_W)
            await desk.until(200.0)
            before = called(desk)
            if is_away:
                node.before_beat.append(far.goes)
            first = node.supervisor.spawn(limits(desk, node.state.fleet.id_of(before[0])), "an act under way")
            await desk.until(205.0)
            if is_away:
                node.before_beat.remove(far.goes)
                assert node._turn.locked(), "no beat waits in its middle"
                with pytest.raises(LinkDown), act():
                    await desk.operator.limit(desk.pool, AskLimit(-1e5, 1e5, 10, "a test"), "ann")
            count = node.journal.last_seq
            with act():
                assert await desk.operator.kill(True, "ann") is None
            await desk.until(215.0)
            seen[is_away] = before, called(desk)
            assert node.state.is_killed and first.done()
            if is_away:
                assert node.journal.last_seq == count
                kept[is_away] = aside.records()
                assert [record.id for record in kept[is_away]] == [record.id for record in group.unwritten()]
                with pytest.raises(LinkDown), act():
                    await desk.operator.kill(False, "ann with bob")
                far.is_away = False
                await desk.until(225.0)
                assert not aside.path.exists() and not group.unwritten() and not group.down
                assert all(node.journal.holds(record.id) for record in kept[is_away])
            assert sum(1 for _ in node.journal.of_kind("AuthorityChanged")) == 1

        return play

    for is_away in (False, True):
        folder = tmp_path / str(is_away)
        folder.mkdir()
        played(folder, pressed_at(is_away, folder))
    assert seen[True] == seen[False]
    before, after = seen[True]
    assert set(after) < set(before), seen
    assert "AuthorityChanged" in {record.kind for record in kept[True]}
