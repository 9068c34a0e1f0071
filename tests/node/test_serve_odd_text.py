"""`tieline serve` asked with names that no database could keep: refused, recorded, and all goes on."""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from click.testing import CliRunner

from pg_server import IS_THERE, PASSWORD, PgServer
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.desk.facts import AskRefused, Audited, from_record
from tieline.flow.record import MOST_SUBJECT_BYTES, Record
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.journals import journal_to_read, journal_to_write
from tieline.node.web import DESK_ROLES
from tieline.rim.clock import SystemClock

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""
PEOPLE = {"vera": (Role.VIEWER,), "otto": DESK_ROLES}
LONG = random.Random(3).randbytes(1_500).hex()
ODD = {
    "NUL": "%00", "NUL within": "battery-1%00", "3,000 of hex": LONG, "combining": quote("e\u0301" * 300),
    "a turn": quote("battery\u202e1"), "no UTF-8": "%ff%fe", "half a pair": "%ed%a0%80",
}  # fmt: skip
"""As a path says them."""


@pytest.fixture(scope="module")
def database() -> Iterator[PgServer | None]:
    if not IS_THERE:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        made = PgServer(folder)
        made.start()
        yield made
        made.end()


async def tokens_of(folder: Path) -> dict[str, str]:
    journal = journal_to_write(folder, load_config(folder / "tieline.toml").journal)

    async def append(records: Iterable[Record]) -> int:
        return journal.append(records)

    accounts, tokens = Accounts(append, SystemClock(), lambda: 0.0, os.urandom), {}
    for name, roles in PEOPLE.items():
        await accounts.enrol(accounts.invite(name, roles, sets_password=False), "")
        tokens[name] = str(await accounts.make_token(name))
    journal.close()
    return tokens


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    command = [sys.executable, "-m", "tieline", "serve", "--data", str(folder), "--port", "0"]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    try:
        line = ""
        async with asyncio.timeout(120):
            while not line.startswith("console at "):
                line = (await child.stdout.readline()).decode().rstrip()
                assert line, (await child.stderr.read()).decode()
        async with httpx.AsyncClient(base_url=line.removeprefix("console at "), timeout=30) as client:
            yield client
    finally:
        child.terminate()
        await child.communicate()


@pytest.mark.parametrize("place", ["a file", "PostgreSQL"])
def test_names_that_no_database_keeps_are_refused_and_the_kill_switch_works_after_them(
    database: PgServer | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pytest.importorskip("psycopg")
    folder, of_database = tmp_path / "works", []
    if place == "PostgreSQL":
        if database is None:
            pytest.skip("no PostgreSQL is installed")
        database.renew()
        monkeypatch.setenv("TIELINE_JOURNAL_PASSWORD", PASSWORD)
        of_database = ["--journal", database.url_of_user]
    (tmp_path / "devices.csv").write_text(TABLE)
    for words in (
        ["init", str(folder), *of_database], ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]
    ):  # fmt: skip
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    tokens = asyncio.run(tokens_of(folder))

    async def scene() -> None:
        async with served(folder) as client:

            async def post(who: str, path: str, body: object = None) -> httpx.Response:
                head = {"authorization": f"Bearer {tokens[who]}"}
                return await client.post(f"/api/v1/{path}", json=body, headers=head)

            limit = {"low_w": -500.0, "high_w": 500.0, "minutes": 60, "because": "works"}
            for name, odd in ODD.items():
                for act, body in (("release", None), ("limit", limit), ("opt-out", None)):
                    refused = await post("vera", f"resources/{odd}/{act}", body)
                    assert refused.status_code == 403, (name, act, refused.text)
                    refused = await post("otto", f"resources/{odd}/{act}", body)
                    assert refused.status_code in (403, 404, 409, 422), (name, act, refused.text)
                refused = await post("otto", f"feeders/{odd}/mode", {"mode": "NORMAL", "because": "x"})
                assert refused.status_code in (404, 409, 422), (name, refused.text)
                refused = await post("otto", f"events/{odd}/approve")
                assert refused.status_code in (404, 409, 422), (name, refused.text)
                seen = await client.get(
                    f"/api/v1/resources/{odd}", headers={"authorization": f"Bearer {tokens['otto']}"}
                )
                assert seen.status_code in (404, 422), (name, seen.text)
            named = await post("otto", "resources/%00/limit", limit)
            assert (named.status_code, named.json()["field"]) == (422, "resource")
            assert "up to 512 characters" in named.json()["limit"]
            for act, body in (("limit", limit), ("release", None)):
                done = await post("otto", f"resources/battery-1/{act}", body)
                assert (done.status_code, done.json()["done"]) == (200, True), done.text
            pressed = await post("otto", "kill", {"pressed": True, "because": "works"})
            assert pressed.status_code == 200, pressed.text
            shell = (await client.get("/api/v1/shell", headers={"authorization": f"Bearer {tokens['vera']}"})).json()
            assert (shell["is_killed"], shell["journal_is_healthy"]) == (True, True)

    asyncio.run(scene())
    journal = journal_to_read(folder)
    records = list(journal.replay())
    assert (journal.verify(), journal.end_fault()) == (None, "")
    journal.close()
    facts = [(record, from_record(record)) for record in records]
    audited = [(record, fact) for record, fact in facts if isinstance(fact, Audited)]
    refused = [record for record, fact in audited if fact.who == "vera" and fact.outcome == "not allowed"]
    assert len(refused) == 3 * len(ODD)  # each try of the viewer stands in the record
    assert {record.subject for record in refused} >= {"\\u0000", "battery-1\\u0000"}
    assert all(len(record.subject.encode()) <= MOST_SUBJECT_BYTES for record in records)
    assert all(len(fact.ask.resource) <= 512 for _, fact in facts if isinstance(fact, AskRefused))
