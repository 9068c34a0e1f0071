"""The kill switch is pressed while the journal's database is away: it takes effect at once, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest
from test_serve_postgres import Place, Served, database, place, served

from patience import until
from pg_server import IS_THERE, PgServer
from tieline.desk.facts import AuthorityChanged, from_record
from tieline.node.journals import journal_to_read

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")
__all__ = ["database", "place"]
AT_ONCE_S = 5.0
Moved = tuple[str, str, int]


async def pressed(one: Served, is_pressed: bool = True) -> tuple[int, float]:
    """Move the switch; return the answer's status, and how long it took (s)."""
    began_s, body = time.monotonic(), {"pressed": is_pressed, "because": "a test"}
    answer = await one.client.post("/api/v1/kill", json=body, headers=one.head())
    return answer.status_code, time.monotonic() - began_s


def moves(folder: Path) -> list[Moved]:
    """Who moved the switch where and when, by the records; the chain is whole."""
    journal = journal_to_read(folder)
    found = [(from_record(record), record.recorded_at_ns) for record in journal.of_kind("AuthorityChanged")]
    assert (journal.verify(), journal.end_fault()) == (None, "")
    journal.close()
    return [(fact.by, fact.value, at_ns) for fact, at_ns in found if isinstance(fact, AuthorityChanged)]


async def _is_healthy(one: Served) -> bool:
    return bool((await one.seen("shell")).json()["journal_is_healthy"])


async def _is_ill(one: Served) -> bool:
    return not await _is_healthy(one)


async def _acts(one: Served) -> list[str]:
    """What the Audit screen tells of the switch: who did it."""
    acts = (await one.seen("audit?count=100&kind=Audited")).json()["rows"]
    return [str(act) for act in acts if "'kill'" in str(act) or " kill" in str(act)]


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_press_is_done_at_once_and_recorded_once_when_the_database_is_back(
    place: Place, database: PgServer, mode: str
) -> None:
    async def scene() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        async with served(place) as one:
            assert (await one.limit(1_000.0)).status_code == 200
            await loop.run_in_executor(None, database.stop, mode)
            before_ns = time.time_ns()
            status, took_s = await pressed(one)  # nobody has noticed yet that the database is away
            after_ns = time.time_ns()
            assert (status, took_s < AT_ONCE_S) == (200, True), took_s
            shell = (await one.seen("shell")).json()
            assert (shell["is_killed"], shell["journal_is_healthy"]) == (True, False)
            assert (await pressed(one))[0] == 200  # pressed again it stands, and who did so is recorded
            assert (await one.limit(2_000.0, "battery-2")).status_code == 503  # nothing else is begun
            await loop.run_in_executor(None, database.start)
            await until(lambda: _is_healthy(one), "the database is noticed to be back")
            assert (await one.limit(3_000.0, "battery-2")).status_code == 200
            assert len(await _acts(one)) == 2
            await until(lambda: _is_gone(place.folder / "journal.aside"), "what stood aside is in the database")
            return before_ns, after_ns

    before_ns, after_ns = asyncio.run(scene())
    ((by, value, at_ns),) = moves(place.folder)
    assert (by, value) == ("otto", "on")
    assert before_ns <= at_ns <= after_ns


async def _is_gone(path: Path) -> bool:
    return not await asyncio.to_thread(path.exists)


@pytest.mark.long
def test_a_press_in_the_midst_of_acts_and_beats_outlives_kill_9_and_a_start_is_under_it(
    place: Place, database: PgServer
) -> None:
    """Acts wait in the middle of a commit as the press comes, and the server is killed at instants by chance."""
    random.seed(7)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        for at in range(4):
            async with served(place) as one:
                assert (await _shell(one))["is_killed"] is (at > 0)
                acts = [asyncio.create_task(one.limit(100.0 * at + k)) for k in range(3)]
                await loop.run_in_executor(None, database.stop, "immediate")
                acts += [asyncio.create_task(one.limit(100.0 * at + 10 + k)) for k in range(3)]
                press = asyncio.create_task(pressed(one))
                if at == 0:
                    assert (await press)[0] == 200
                    assert (await _shell(one))["is_killed"] is True
                if at % 2:
                    back = loop.run_in_executor(None, database.start)
                    await asyncio.sleep(random.uniform(0.0, 2.5))
                else:
                    await asyncio.sleep(random.uniform(0.0, 0.5))
                one.child.send_signal(signal.SIGKILL)
                await one.child.wait()
                await asyncio.gather(press, *acts, return_exceptions=True)
                if at % 2:
                    await back
                else:
                    await loop.run_in_executor(None, database.start)
        async with served(place) as last:
            assert (await _shell(last))["is_killed"] is True
            assert (await last.limit(7.0)).status_code == 200

    asyncio.run(scene())
    assert [(by, value) for by, value, _ in moves(place.folder)] == [("otto", "on")]
    assert not (place.folder / "journal.aside").exists()


async def _shell(one: Served) -> dict[str, object]:
    found: dict[str, object] = (await one.seen("shell")).json()
    return found


def test_a_release_waits_for_the_database(place: Place, database: PgServer) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with served(place) as one:
            assert (await pressed(one))[0] == 200
            await loop.run_in_executor(None, database.stop, "fast")
            first = asyncio.create_task(one.limit(1.0))  # it is under way as the loss is noticed, and waits
            await until(lambda: _is_ill(one), "the loss is noticed")
            assert (await pressed(one, is_pressed=False))[0] == 503
            assert (await _shell(one))["is_killed"] is True
            await loop.run_in_executor(None, database.start)
            assert (await first).status_code == 200

    asyncio.run(scene())
    assert [value for _, value, _ in moves(place.folder)] == ["on"]
