"""`tieline serve` with its records in a real PostgreSQL: killed, cut off from it, asked by every verb."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from patience import until
from pg_server import IS_THERE, PASSWORD, PgServer
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.desk.facts import AskGranted, from_record
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.journals import journal_to_read, journal_to_write
from tieline.rim.clock import SystemClock

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""


@pytest.fixture(scope="module")
def database() -> Iterator[PgServer]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        made = PgServer(folder)
        made.start()
        yield made
        made.end()


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


async def tokens_of(folder: Path) -> dict[str, str]:
    """Make an operator and a gateway, and return the token of each."""
    journal = journal_to_write(folder, load_config(folder / "tieline.toml").journal)

    async def append(records: Iterable[Record]) -> int:
        return journal.append(records)

    accounts = Accounts(append, SystemClock(), lambda: 0.0, os.urandom)
    tokens: dict[str, str] = {}
    for name, roles in (("otto", (Role.OPERATOR, Role.AUDITOR)), ("gate", (Role.GATEWAY,))):
        await accounts.enrol(accounts.invite(name, roles, sets_password=False), "")
        token = await accounts.make_token(name)
        assert token is not None
        tokens[name] = token
    journal.close()
    return tokens


@dataclass
class Place:
    """A data folder whose records are in the database, and who may ask there."""

    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def place(database: PgServer, tmp_path: Path) -> Place:
    database.renew()
    folder = tmp_path / "works"
    run("init", str(folder), "--journal", database.url_of_user)
    settings = folder / "tieline.toml"
    settings.write_text(
        settings.read_text().replace('\n#\n# [readings]', '\npassword_file = "db.password"\n# [readings]').replace(
            '# password_file', '#'
        )
    )  # fmt: skip
    (folder / "db.password").write_text(PASSWORD + "\n")
    (tmp_path / "devices.csv").write_text(TABLE)
    run("import", str(tmp_path / "devices.csv"), "--data", str(folder))
    return Place(folder, asyncio.run(tokens_of(folder)))


@dataclass
class Served:
    """A server in a process of its own."""

    child: asyncio.subprocess.Process
    client: httpx.AsyncClient
    said: list[str]
    tokens: dict[str, str]

    def head(self, name: str = "otto") -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[name]}"}

    async def limit(self, high_w: float, device: str = "battery-1") -> httpx.Response:
        body = {"low_w": -5_000.0, "high_w": high_w, "minutes": 600, "because": f"limit {high_w:.0f}"}
        return await self.client.post(f"/api/v1/resources/{device}/limit", json=body, headers=self.head())

    async def reading(self, value: float) -> httpx.Response:
        body = {"point": "power_w", "resource": ["battery-1"], "value": [value], "taken_at_ns": [time.time_ns()]}
        return await self.client.post("/api/v1/readings", json=body, headers=self.head("gate"))

    async def seen(self, path: str) -> httpx.Response:
        return await self.client.get(f"/api/v1/{path}", headers=self.head())


@asynccontextmanager
async def served(place: Place) -> AsyncIterator[Served]:
    command = [sys.executable, "-m", "tieline", "serve", "--data", str(place.folder), "--port", "0"]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    try:
        said: list[str] = []
        async with asyncio.timeout(120):
            while not any(line.startswith("console at ") for line in said):
                line = await child.stdout.readline()
                assert line, (await child.stderr.read()).decode()
                said.append(line.decode().rstrip())
        async with httpx.AsyncClient(base_url=said[-1].removeprefix("console at "), timeout=60) as client:
            yield Served(child, client, said, place.tokens)
    finally:
        if child.returncode is None:
            child.terminate()
        _, err = await child.communicate()
        assert PASSWORD not in "\n".join([*said, err.decode()])


def granted(folder: Path) -> list[float]:
    """The limits that the database holds, in the order of the journal."""
    journal = journal_to_read(folder)
    facts = [from_record(record) for record in journal.replay()]
    assert (journal.verify(), journal.end_fault()) == (None, "")
    journal.close()
    return [fact.ask.high for fact in facts if isinstance(fact, AskGranted)]


def test_a_claim_is_there_after_kill_9_and_every_verb_reads_it(place: Place, tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(place) as one:
            assert (await one.limit(1_234.0)).status_code == 200
            one.child.send_signal(signal.SIGKILL)
            await one.child.wait()
        async with served(place) as two:
            assert "records replayed" in two.said[0]
            shown = (await two.seen("resources/battery-1")).text
            assert '"high_w":1234.0' in shown, shown
            assert (await two.limit(2_345.0, "battery-2")).status_code == 200

    asyncio.run(scene())
    data = ("--data", str(place.folder))
    assert granted(place.folder) == [1_234.0, 2_345.0]
    assert not (place.folder / "journal.db").exists()
    assert json.loads(run("doctor", *data, "--json"))["journal"]["ok"]
    assert "limit ENVELOPE: -5000 W to 1234 W" in run("why", "battery-1", *data)
    assert json.loads(run("replay", *data, "--json"))["claims"] == 2
    assert run("export", "AskGranted", str(tmp_path / "asks.csv"), *data).startswith("records: 2")
    kinds = dict(json.loads(run("sql", "SELECT kind, count(*) FROM record GROUP BY 1", *data, "--json"))["rows"])
    assert kinds["AskGranted"] == 2
    both = "SELECT count(*) FROM record JOIN resource ON subject = resource.id WHERE record.kind = 'AskGranted'"
    assert json.loads(run("sql", both, *data, "--json"))["rows"] == [[2]]
    for query, says in (
        ("DELETE FROM record", "is refused: the records are read-only here"),
        ("CREATE TABLE x (a int)", "is refused: the records are read-only here"),
        ("SELECT 1; DELETE FROM record", "SELECT 1; DELETE"),
        ("SET default_transaction_read_only = off", "SET default"),
        ("COPY record TO STDOUT", "COPY"),
        ("SELECT nope", "nope"),
        ("", ""),
        (
            "SELECT count(*) FROM range(1000000000000) a, range(9) b WHERE a.range % 7 = b.range",
            "ended after 0.3 s: narrow",
        ),
    ):
        said = run("sql", query, "--timeout", "0.3s", *data, code=2)
        assert says in said
        assert len(said.strip().splitlines()) == 1, said
    many = json.loads(run("sql", "SELECT * FROM generate_series(1, 100005)", *data, "--json"))
    assert (len(many["rows"]), many["is_cut"]) == (100_000, True)
    assert granted(place.folder) == [1_234.0, 2_345.0]
    for path in place.folder.rglob("*"):
        assert path.name == "db.password" or not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_while_the_database_is_away_nothing_is_lost_and_whoever_asks_is_told(place: Place, database: PgServer) -> None:
    taken: list[float] = []

    async def ask_on(one: Served, goes: asyncio.Event) -> None:
        high_w = 1.0
        while not goes.is_set():
            high_w += 1.0
            answer = await one.limit(high_w)
            if answer.status_code == 200:
                taken.append(high_w)
            else:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.02)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with served(place) as one:
            over = asyncio.Event()
            task = asyncio.create_task(ask_on(one, over))
            for mode in ("immediate", "fast"):
                count = len(taken)
                await until(partial(_more, taken, count + 20), "claims are taken")
                await loop.run_in_executor(None, database.stop, mode)
                await asyncio.sleep(0.5)  # one is under way: it waits, and the next is refused
                second = await one.limit(4_321.0, "battery-2")
                assert second.status_code == 503
                assert second.json()["title"] == "Not now"
                assert int(second.headers["retry-after"]) > 0
                assert "try again" in second.json()["detail"]
                assert (await one.seen("overview")).status_code == 200  # what is measured is still shown
                shell = (await one.seen("shell")).json()
                assert shell["journal_is_healthy"] is False
                assert (await one.seen("audit")).status_code == 503
                assert (await one.reading(17.0)).json() == {"taken": 1, "refused": []}
                if mode == "fast":
                    await until(lambda: _alarmed(one), "an alarm says that nothing is recorded")
                await loop.run_in_executor(None, database.start)
                count = len(taken)
                await until(partial(_more, taken, count + 20), "claims are taken again")
                assert (await one.seen("audit")).status_code == 200
                await until(lambda: _alarmed(one, stands=False), "the alarm is gone")
            over.set()
            await task
            assert (await one.seen("shell")).json()["journal_is_healthy"] is True
            assert one.child.returncode is None
            await loop.run_in_executor(None, database.stop, "fast")
            last = asyncio.create_task(one.limit(9_999.0))
            await asyncio.sleep(0.5)
            one.child.send_signal(signal.SIGTERM)  # it ends all the same, and what it can't record it answers to nobody
            async with asyncio.timeout(60):
                await one.child.wait()
            answer = (await asyncio.gather(last, return_exceptions=True))[0]
            assert isinstance(answer, httpx.TransportError) or (
                isinstance(answer, httpx.Response) and answer.status_code != 200
            )
            await loop.run_in_executor(None, database.start)

    asyncio.run(scene())
    kept = granted(place.folder)
    assert len(kept) == len(set(kept)), "one was recorded twice"
    assert set(taken) == set(kept)  # what was under way waited, and was answered; what was refused has no effect


async def _alarmed(one: Served, stands: bool = True) -> bool:
    """Return whether an alarm says that nothing can be recorded, and what is to be done."""
    answer = await one.seen("alarms")
    assert answer.status_code == 200, answer.text
    found = [alarm for alarm in answer.json() if alarm["subject"] == "journal"]
    told = [alarm["title"].startswith("Nothing can be recorded") and "database" in alarm["action"] for alarm in found]
    return told == [True] if stands else not found


async def _more(found: list[float], count: int) -> bool:
    return len(found) >= count


def test_a_second_server_is_refused_even_from_another_folder(place: Place, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    for name in ("tieline.toml", "db.password", "registry.bin"):
        (twin / name).write_bytes((place.folder / name).read_bytes())

    async def scene() -> None:
        async with served(place) as one:
            said = await asyncio.get_running_loop().run_in_executor(
                None, lambda: run("serve", "--data", str(twin), "--port", "0", "--for", "1s", code=2)
            )
            assert "another server appends there" in said
            assert (await one.limit(7.0)).status_code == 200

    asyncio.run(scene())


def test_a_folder_moves_into_a_database_with_its_chain_even_after_it_was_cut_short(
    database: PgServer, tmp_path: Path
) -> None:
    from tieline.store.postgres import PostgresJournal

    database.renew()
    old = tmp_path / "old"
    run("init", str(old))
    (tmp_path / "devices.csv").write_text(TABLE)
    run("import", str(tmp_path / "devices.csv"), "--data", str(old))
    asyncio.run(tokens_of(old))
    before = json.loads(run("replay", "--data", str(old), "--json"))
    file = journal_to_read(old)
    records = list(file.replay())
    file.close()
    assert "names no database" in run("move", "--data", str(old), code=2)
    settings = f'[journal]\nurl = "{database.url_of_user}"\npassword_file = "p"\n'
    (old / "tieline.toml").write_text(settings)
    (old / "p").write_text("wrong")
    assert "password authentication failed" in run("move", "--data", str(old), code=2)
    (old / "p").write_text(PASSWORD)
    said = run("serve", "--data", str(old), "--for", "1s", code=2)
    assert f"is empty, and {old / 'journal.db'} holds {len(records)} records: copy them with `tieline move" in said
    half = PostgresJournal(database.url_of_user, None, PASSWORD)
    half.append(records[:1])
    half.close()
    assert run("move", "--data", str(old)).startswith(f"records: {len(records)}\n")
    assert json.loads(run("replay", "--data", str(old), "--json")) == before
    assert json.loads(run("doctor", "--data", str(old), "--json"))["healthy"]
    assert not (old / "journal.db").exists()


def test_a_database_with_other_records_takes_none(place: Place, tmp_path: Path) -> None:
    old = tmp_path / "old"
    run("init", str(old))
    asyncio.run(tokens_of(old))
    for name in ("tieline.toml", "db.password"):
        (old / name).write_bytes((place.folder / name).read_bytes())
    before = granted(place.folder)
    assert "records of another journal" in run("move", "--data", str(old), code=2)
    assert (old / "journal.db").exists()
    assert granted(place.folder) == before
