"""Which acts that waited for a second person a start tells of: those that nobody decided in the ten minutes before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tieline.console.auth.second import WAITING_KEY, WAITS
from tieline.desk.entry import Entry
from tieline.desk.facts import Audited, AuthorityChanged, Fact
from tieline.node.forgotten import forgotten
from tieline.store.journal import SqliteJournal
from tieline.times import MINUTE_NS

NOW_NS = 1_000 * MINUTE_NS
ASKED = Audited("ann", "kill", WAITS, f"{WAITING_KEY}=w1, because=cleared, pressed=False")


def by_bob(action: str, outcome: str) -> Audited:
    return Audited("bob", action, outcome, "")


@pytest.mark.parametrize(
    "since_min, after, is_told",
    [
        (1, [], True),
        (9, [], True),
        (11, [], False),
        (1, [by_bob("confirm", "done")], False),
        (1, [by_bob("drop", "done")], False),
        (1, [by_bob("confirm", "refused: a second person must confirm it")], True),
        (1, [AuthorityChanged("kill", "off", "cat with dan")], False),
        (1, [AuthorityChanged("feeder", "manual", "cat")], True),
    ],
)
def test_an_act_is_told_unless_it_was_decided_or_is_too_old(
    tmp_path: Path, since_min: int, after: list[Fact], is_told: bool
) -> None:
    journal, at_ns = SqliteJournal(tmp_path / "journal.db"), NOW_NS - since_min * MINUTE_NS
    pressed = Entry("pressed", AuthorityChanged("kill", "on", "ann"), "").record(at_ns - MINUTE_NS)
    later = [Entry(f"later-{at}", fact, "w1").record(at_ns + 1 + at) for at, fact in enumerate(after)]
    journal.append([pressed, Entry("asked", ASKED, "/api/v1/kill").record(at_ns), *later])
    found = forgotten(journal, NOW_NS)
    assert bool(found) is is_told
    for entry, says in found:
        assert says == "kill (because=cleared, pressed=False) asked by ann waited for a second person: ask again"
        journal.append([entry.record(NOW_NS)])
    assert forgotten(journal, NOW_NS + 1) == []
    journal.close()
