"""What waited for a second person as a server was killed is said to be asked again; what was decided is not."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from test_serve_postgres import Place, Served, database, place, served

from pg_server import IS_THERE
from tieline.desk.facts import Audited, from_record
from tieline.node.journals import journal_to_read

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")
__all__ = ["database", "place"]


async def moved(one: Served, is_pressed: bool, because: str) -> dict[str, Any]:
    body = {"pressed": is_pressed, "because": because}
    answer = await one.client.post("/api/v1/kill", json=body, headers=one.head())
    assert answer.status_code == (200 if is_pressed else 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def killed(one: Served) -> None:
    one.child.send_signal(signal.SIGKILL)
    await one.child.wait()


def test_a_release_that_waited_is_said_to_be_asked_again_once_and_one_that_was_taken_back_is_not(place: Place) -> None:
    async def scene() -> None:
        async with served(place) as one:
            await moved(one, True, "a test")
            back = await moved(one, False, "taken back, with a long reason " + 200 * "x")
            answer = await one.client.post(f"/api/v1/waiting/{back['id']}/drop", headers=one.head())
            assert answer.status_code == 200, answer.text
            waits = await moved(one, False, "the fault is cleared")
            await killed(one)
        async with served(place) as two:
            notes = [line for line in two.said if "ask again" in line]
            assert len(notes) == 1 and "the fault is cleared" in notes[0] and "otto" in notes[0], two.said
            assert (await two.seen("shell")).json()["is_killed"] is True
            assert (await two.seen("waiting")).json() == []
            known = await two.seen(f"waiting/{waits['id']}")
            assert known.status_code == 404 and "ask again" in known.text
            assert "ask again" in (await two.seen("audit?count=20")).text
            await killed(two)
        async with served(place) as three:
            assert not [line for line in three.said if "ask again" in line]
            again = await moved(three, False, "the fault is cleared")
            assert again["left_minutes"] == 10

    asyncio.run(scene())
    journal = journal_to_read(place.folder)
    facts = [from_record(record) for record in journal.of_kind("Audited")]
    journal.close()
    assert [fact.outcome for fact in facts if isinstance(fact, Audited) and fact.who == "server"] == ["forgotten"]
