"""A press lets go whom events had called while the journal is out of reach, and a restart goes on from what stood aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from test_event_stretches import POWER_W, Desk, played
from test_kill_on_full_disk import called

from tieline.desk.facts import CommandsIssued, from_record
from tieline.desk.screens import AskLimit
from tieline.errors import LinkDown
from tieline.flow.begun import act
from tieline.flow.record import Record
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.store.aside import Aside
from tieline.store.journal import SqlJournal, StoreDown


class When(Enum):
    """When a database goes away."""

    NEVER = "never"
    BEFORE = "in the middle of an act and of a beat, before the press"
    AFTER = "as soon as it has recorded the press"


class Far:
    """A journal whose database goes away and comes back."""

    def __init__(self, journal: SqlJournal, when: When) -> None:
        self.journal, self.when, self.is_away = journal, when, False

    def goes(self) -> None:
        self.is_away = True

    def append(self, records: Iterable[Record]) -> int:
        if self.is_away:
            raise StoreDown("the database is away")
        records = list(records)
        seq = self.journal.append(records)
        self.is_away = self.when is When.AFTER and any(record.kind == "AuthorityChanged" for record in records)
        return seq


async def limits(desk: Desk, device: str) -> None:
    """Limit a device that is called, so that the beat before the press has something to tell it."""
    with act():
        assert not isinstance(await desk.operator.limit(device, AskLimit(0.0, 1.0, 10, "a test"), "ann"), Refusal)


def test_a_press_lets_go_whom_an_event_called_as_it_does_with_a_database(tmp_path: Path) -> None:
    """Acts and a beat wait in their middle as the database goes, and that beat holds up all others."""
    seen: dict[When, tuple[list[int], list[int]]] = {}
    kept: dict[When, list[Record]] = {}

    def pressed_at(when: When, folder: Path) -> Callable[[Desk], Awaitable[None]]:
        async def play(desk: Desk) -> None:
            node, group = desk.stage.node, desk.stage.node.group
            far, aside = Far(node.journal, when), Aside(folder, lambda: node.journal.end)  # type: ignore[arg-type,attr-defined]
            group._journal, group.aside = far, aside
            await desk.approved(0.0, 1_800.0, power_w=POWER_W)
            await desk.until(200.0)
            before = called(desk)
            if when is When.BEFORE:
                node.before_beat.append(far.goes)
            first = node.supervisor.spawn(limits(desk, node.state.fleet.id_of(before[0])), "an act under way")
            await desk.until(205.0)
            if when is When.BEFORE:
                node.before_beat.remove(far.goes)
                assert node._turn.locked(), "no beat waits in its middle"
                with pytest.raises(LinkDown), act():
                    await desk.operator.limit(desk.pool, AskLimit(-1e5, 1e5, 10, "a test"), "ann")
            count = node.journal.last_seq
            with act():
                assert await desk.operator.kill(True, "ann") is None
            await desk.until(215.0)
            seen[when] = before, called(desk)
            assert node.state.is_killed and first.done()
            if when is not When.NEVER:
                assert far.is_away and node.journal.last_seq == count + (when is When.AFTER)
                kept[when] = aside.records()
                assert [record.id for record in kept[when]] == [record.id for record in group.unwritten()]
                with pytest.raises(LinkDown), act():
                    await desk.operator.kill(False, "ann with bob")
                far.is_away, far.when = False, When.NEVER
                await desk.until(225.0)
                assert not aside.path.exists() and not group.unwritten() and not group.down
                assert all(node.journal.holds(record.id) for record in kept[when])
            assert sum(1 for _ in node.journal.of_kind("AuthorityChanged")) == 1

        return play

    for when in When:
        folder = tmp_path / when.name
        folder.mkdir()
        played(folder, pressed_at(when, folder))
    assert seen[When.BEFORE] == seen[When.AFTER] == seen[When.NEVER]
    before, after = seen[When.NEVER]
    assert set(after) < set(before), seen
    assert "AuthorityChanged" in {record.kind for record in kept[When.BEFORE]}
    assert "CommandsIssued" in {record.kind for record in kept[When.AFTER]}


def test_pressed_again_while_the_journal_is_away_who_did_not_hear_it_is_told_again(tmp_path: Path) -> None:
    async def play(desk: Desk) -> None:
        node, group = desk.stage.node, desk.stage.node.group
        far, aside = Far(node.journal, When.NEVER), Aside(tmp_path, lambda: node.journal.end)  # type: ignore[arg-type,attr-defined]
        group._journal, group.aside = far, aside
        await desk.approved(0.0, 1_800.0, power_w=POWER_W)
        await desk.until(200.0)
        far.goes()
        first = node.supervisor.spawn(limits(desk, node.state.fleet.id_of(called(desk)[0])), "an act under way")
        await desk.until(202.0)
        with act():
            assert await desk.operator.kill(True, "ann") is None
        await desk.until(205.0)
        count = len(aside.records())
        told = [from_record(record) for record in aside.records() if record.kind == "CommandsIssued"]
        rows = np.concatenate([fact.rows.array() for fact in told if isinstance(fact, CommandsIssued)])
        unheard = int(rows[-1])
        node.desk._pending = []  # nobody's answer came
        node.state.commands.stage[unheard] = Stage.UNCONFIRMED
        await desk.until(340.0)
        assert len(aside.records()) == count  # by itself no beat follows
        with act():
            assert await desk.operator.kill(True, "bob") is None
        new = [from_record(record) for record in aside.records()[count:]]
        again = [fact.rows.array().tolist() for fact in new if isinstance(fact, CommandsIssued)]
        assert unheard in [row for rows in again for row in rows], (unheard, new)
        assert first.done()
        assert sum(1 for record in aside.records() if record.kind == "AuthorityChanged") == 1
        far.is_away = False
        await desk.until(350.0)
        assert not aside.path.exists() and not group.unwritten()

    played(tmp_path, play)
