"""Acts that waited for a second person as the last server ended: nothing of them was done; they are to be asked again.

What waits is kept in memory alone, as nothing may be done by a second person's word on what a former server was asked.
That is told at the start and on the Audit screen, so that nobody takes a switch for released that is pressed.
"""

from __future__ import annotations

import re

from tieline.console.auth.roles import Action
from tieline.console.auth.second import LASTS_S, WAITING_KEY, WAITS
from tieline.desk.entry import Entry
from tieline.desk.facts import Audited, AuthorityChanged, from_record
from tieline.flow.record import Record, Records
from tieline.ids import derive
from tieline.times import SECOND_NS

DECIDES = ("confirm", "drop")
WAITING_ID = re.compile(rf"(?:^|, ){WAITING_KEY}=([^,]+)")


def forgotten(journal: Records, now_ns: int) -> list[tuple[Entry, str]]:
    """Return a record, and its words, of each act that waited in the last ten minutes and that nobody decided.

    None of one that a start before told.

    A release of the kill switch waits no more once the switch has moved.
    """
    since_ns = now_ns - round(LASTS_S * SECOND_NS)
    waits: dict[str, tuple[str, Audited]] = {}
    for record in journal.of_kind("Audited", since_ns):
        fact = from_record(record)
        if not isinstance(fact, Audited):
            continue
        if fact.outcome == WAITS:
            found_id = WAITING_ID.search(fact.detail)
            waits[found_id[1] if found_id else record.id] = record.id, fact
        elif fact.action in DECIDES and fact.outcome == "done":
            waits.pop(record.subject, None)
    moved_ns = [record.recorded_at_ns for record in journal.of_kind("AuthorityChanged", since_ns) if _moves(record)]
    found = []
    for name, fact in waits.values():
        asked = journal.get(name)
        if asked is None or (fact.action == Action.KILL.value and any(at >= asked.recorded_at_ns for at in moved_ns)):
            continue
        told = derive("forgotten", name)
        if not journal.holds(told):
            on = f" on {asked.subject}" if asked.subject and not asked.subject.startswith("/") else ""
            asked_for = WAITING_ID.sub("", fact.detail, count=1).removeprefix(", ")
            says = f"{fact.action}{on} ({asked_for}) asked by {fact.who} waited for a second person: ask again"
            found.append((Entry(told, Audited("server", "start", "forgotten", says), asked.subject, (name,)), says))
    return found


def _moves(record: Record) -> bool:
    fact = from_record(record)
    return isinstance(fact, AuthorityChanged) and fact.what == "kill"
