"""A database that goes away while nobody asks anything of it is noticed, told, and told to be back."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from test_serve_postgres import Place, Served, _alarmed, database, place, served

from pg_server import IS_THERE, PgServer

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")
__all__ = ["database", "place"]
WITHIN_S = 60.0


async def until_alarmed(one: Served, stands: bool) -> float:
    """Look at the alarms until one of the journal stands, or none does; return how long that took (s)."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < WITHIN_S:
        health = (await one.client.get("/healthz")).status_code
        if await _alarmed(one, stands) and health == (503 if stands else 200):
            return time.monotonic() - began_s
        await asyncio.sleep(0.5)
    raise AssertionError(f"after {WITHIN_S:.0f} s the alarm {'is not there' if stands else 'still stands'}")


@pytest.mark.long
def test_a_database_that_is_stopped_is_told_within_a_minute_though_nothing_is_written(
    place: Place, database: PgServer
) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with served(place) as one:
            assert (await one.limit(1_000.0)).status_code == 200
            await loop.run_in_executor(None, database.stop, "fast")
            await until_alarmed(one, stands=True)
            await loop.run_in_executor(None, database.start)
            await until_alarmed(one, stands=False)
            assert (await one.limit(2_000.0)).status_code == 200

    asyncio.run(scene())


def writes(database: PgServer) -> int:
    """The process of the database that serves whoever appends: it holds the writer's lock."""
    import psycopg

    with psycopg.connect(database.url) as db:
        found = db.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted").fetchall()
    assert len(found) == 1, found
    return int(found[0][0])


@pytest.mark.long
def test_a_commit_that_hangs_is_told_within_a_minute_and_the_kill_switch_takes_effect(
    place: Place, database: PgServer
) -> None:
    async def scene() -> None:
        async with served(place) as one:
            assert (await one.limit(1_000.0)).status_code == 200
            held = await asyncio.to_thread(writes, database)
            os.kill(held, signal.SIGSTOP)  # as a disk does that stands still
            try:
                await until_alarmed(one, stands=True)
                body = {"pressed": True, "because": "a test"}
                answer = await one.client.post("/api/v1/kill", json=body, headers=one.head())
                assert answer.status_code == 200, answer.text
            finally:
                os.kill(held, signal.SIGCONT)
            await until_alarmed(one, stands=False)
            assert (await one.seen("shell")).json()["is_killed"] is True

    asyncio.run(scene())
