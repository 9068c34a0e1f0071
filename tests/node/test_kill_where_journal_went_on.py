"""What stood aside meets a database that is another by now: the press holds, and no old limit comes back over a newer."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import pytest
from test_kill_without_database import moves, pressed
from test_serve_postgres import Place, Served, database, granted, place, served

from patience import until
from pg_server import IS_THERE, PgServer

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")
__all__ = ["database", "place"]


async def killed_with_a_press(one: Served, database: PgServer) -> None:
    """Take the database away in the middle of an act, press, and kill the server."""
    await asyncio.to_thread(database.stop, "immediate")
    act = asyncio.create_task(one.limit(111.0))
    assert (await pressed(one))[0] == 200
    assert (await act).status_code == 200
    one.child.send_signal(signal.SIGKILL)
    await one.child.wait()


async def _is_limited(one: Served) -> bool:
    return (await one.limit(200.0)).status_code == 200


async def started(place: Place) -> tuple[list[str], bool]:
    """Start a server, and return what it warns of, and whether it is under the switch."""
    async with served(place) as one:
        warnings = [line for line in one.said if line.startswith("warning: ")]
        return warnings, bool((await one.seen("shell")).json()["is_killed"])


@pytest.mark.long
def test_a_server_that_served_from_elsewhere_in_between_keeps_its_limits_and_the_press_holds(
    place: Place, database: PgServer, tmp_path: Path
) -> None:
    other = Place(tmp_path / "other", place.tokens)

    async def scene() -> None:
        async with served(place) as one:
            assert (await one.limit(100.0)).status_code == 200
            await asyncio.to_thread(shutil.copytree, place.folder, other.folder)
            await killed_with_a_press(one, database)
        await asyncio.to_thread(database.start)
        async with served(other) as two:
            assert (await two.seen("shell")).json()["is_killed"] is False
            assert (await two.limit(222.0)).status_code == 200
        warnings, is_killed = await started(place)
        assert is_killed and len(warnings) == 1 and "journal.aside.left" in warnings[0], warnings
        assert (await started(place)) == (warnings, True)
        (place.folder / "journal.aside.left").rename(tmp_path / "seen")
        assert (await started(place)) == ([], True)

    asyncio.run(scene())
    assert granted(place.folder) == [100.0, 222.0]
    assert [(by, value) for by, value, _ in moves(place.folder)] == [("otto", "on")]


def test_a_database_from_an_older_backup_is_under_the_switch(place: Place, database: PgServer, tmp_path: Path) -> None:
    backup, data = tmp_path / "backup", Path(database.folder) / "db"

    def restore() -> None:
        shutil.rmtree(data)
        backup.rename(data)
        for path in (data, *data.rglob("*")):
            shutil.chown(path, "postgres", "postgres")
        database.start()

    async def scene() -> None:
        async with served(place) as one:
            assert (await one.limit(100.0)).status_code == 200
            await asyncio.to_thread(database.stop, "fast")
            await asyncio.to_thread(shutil.copytree, data, backup)
            await asyncio.to_thread(database.start)
            await until(lambda: _is_limited(one), "limits are taken again")
            await killed_with_a_press(one, database)
        await asyncio.to_thread(restore)
        warnings, is_killed = await started(place)
        assert is_killed and any("journal.aside.left" in line for line in warnings), warnings
        assert any("is missing: journal.head knows" in line for line in warnings), warnings

    asyncio.run(scene())
