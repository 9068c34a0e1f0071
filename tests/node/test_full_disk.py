"""A disk that is full under the journal: new acts are refused at once, one under way is answered by what is recorded."""

import asyncio
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from py1815.control import CommandStatus

from patience import until
from tieline.bench.override import FEEDER, _fleet
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.desk.facts import AskGranted, Audited, AuthorityChanged, ClaimsPlaced, from_record
from tieline.fleet.ledger import Ledger
from tieline.flow.record import Record
from tieline.links.grid.dnp3.binding import Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.journals import journal_to_write
from tieline.node.runtime import Node, replayed
from tieline.resource.admission import Principal
from tieline.resource.level import Level
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.scada import Scada
from tieline.store.journal import SqliteJournal

TABLE = "id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool\n" + "".join(
    f"battery-{at},battery,5000,5000,10000,feeder-1,site-1,pool-1\n" for at in range(1, 9)
)
MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode
    == 0
)
DISK_BYTES = 96 * 1024 * 1024
AT_ONCE_S = 3.0
"""So long an answer may take on a machine that others use as well; what hung did so for as long as the disk was full."""


def run(*words: str) -> None:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, (done.output, done.exception)


async def tokens_of(folder: Path) -> dict[str, str]:
    journal = journal_to_write(folder, load_config(folder / "tieline.toml").journal)

    async def append(records: Iterable[Record]) -> int:
        return journal.append(records)

    accounts, tokens = Accounts(append, SystemClock(), lambda: 0.0, os.urandom), {}
    for name, roles in (("otto", (Role.OPERATOR, Role.AUDITOR)), ("gate", (Role.GATEWAY,))):
        await accounts.enrol(accounts.invite(name, roles, sets_password=False), "")
        token = await accounts.make_token(name)
        assert token is not None
        tokens[name] = token
    journal.close()
    return tokens


@dataclass
class Served:
    """A server whose data folder has a disk of its own."""

    client: httpx.AsyncClient
    folder: Path
    tokens: dict[str, str]

    def head(self, name: str = "otto") -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[name]}"}

    async def post(
        self, path: str, body: dict[str, object] | None = None, name: str = "otto"
    ) -> tuple[httpx.Response, float]:
        """Return the answer and how many seconds it took."""
        began_s = time.monotonic()
        answer = await self.client.post(f"/api/v1/{path}", json=body, headers=self.head(name))
        return answer, time.monotonic() - began_s

    async def limit(self, high_w: float, device: str) -> tuple[httpx.Response, float]:
        body: dict[str, object] = {"low_w": -5_000.0, "high_w": high_w, "minutes": 600, "because": "a test"}
        return await self.post(f"resources/{device}/limit", body)

    async def reading(self) -> httpx.Response:
        body: dict[str, object] = {
            "point": "power_w",
            "resource": ["battery-1"],
            "value": [17.0],
            "taken_at_ns": [time.time_ns()],
        }
        return (await self.post("readings", body, "gate"))[0]

    def fill(self, leaves: int = 0) -> None:
        """Fill the disk to the last byte, or leave some."""
        with (self.folder / "other").open("wb", buffering=0) as file:
            try:
                while os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize > leaves:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self) -> None:
        (self.folder / "other").unlink()

    def asked(self, copy: Path) -> list[tuple[str, float]]:
        """Return whom the record holds limits and opt-outs of, as a kill at this instant would leave it."""
        copy.mkdir()
        for name in ("journal.db", "journal.db-wal"):
            shutil.copy(self.folder / name, copy / name)
        journal = SqliteJournal(copy / "journal.db")
        facts = [from_record(record) for record in journal.replay()]
        assert journal.verify() is None
        journal.close()
        return [(fact.ask.resource, fact.ask.high) for fact in facts if isinstance(fact, AskGranted)]


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    folder, disk = tmp_path / "works", tmp_path / "disk"
    run("init", str(folder))
    (tmp_path / "devices.csv").write_text(TABLE)
    run("import", str(tmp_path / "devices.csv"), "--data", str(folder))
    tokens = await tokens_of(folder)
    disk.mkdir()
    script = (
        f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$1" && cp -a "$2/." "$1" '
        f'&& exec "$0" -m tieline serve --data "$1" --port 0'
    )
    command = ["unshare", "-rm", "sh", "-c", script, sys.executable, str(disk), str(folder)]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said = ""
        assert child.stdout is not None
        assert child.stderr is not None
        async with asyncio.timeout(120):
            while not said.startswith("console at "):
                said = (await child.stdout.readline()).decode().rstrip()
                assert said, (await child.stderr.read()).decode()
        async with httpx.AsyncClient(base_url=said.removeprefix("console at "), timeout=30) as client:
            yield Served(client, Path(f"/proc/{child.pid}/root{disk}"), tokens)
    finally:
        if child.returncode is None:
            child.terminate()
        await child.communicate()


@pytest.mark.skipif(not MAY_MOUNT, reason="no disk of its own can be mounted here")
def test_on_a_full_disk_acts_are_refused_at_once_and_take_no_effect_later(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(tmp_path) as one:
            assert (await one.limit(1_000.0, "battery-1"))[0].status_code == 200
            one.fill()
            done, tries = ["battery-1"], 0
            while tries < 400:  # what was held is used up within some of them
                tries += 1
                if not _told(*await one.limit(2_000.0 + tries, "battery-2")):
                    break
                done.append("battery-2")
            began_s = time.monotonic()
            await until(lambda: _alarmed(one), "an alarm says it")
            assert time.monotonic() - began_s < 10.0
            kept = [resource for resource, _ in one.asked(tmp_path / "killed")]
            assert tries < 400, "the disk is full"
            assert kept == done, "what was answered is what a kill would leave"
            for at, wait_s in enumerate((0.0, 1.0, 5.0)):
                await asyncio.sleep(wait_s)
                many = (
                    one.post(f"resources/battery-{4 + at}/opt-out"), one.limit(3_000.0, "battery-7"),
                    one.post("resources/battery-8/owner-limit", {"low_w": 0.0, "high_w": 0.0}),
                )  # fmt: skip
                for answer, took_s in await asyncio.gather(*many):
                    assert not _told(answer, took_s)
            reading = await one.reading()
            assert (reading.status_code, reading.headers["retry-after"]) == (503, "5")
            shell = (await one.client.get("/api/v1/shell", headers=one.head())).json()
            assert shell["journal_is_healthy"] is False
            await presses(one, tmp_path)
            assert await _alarmed(one), "it still does"
            one.free()
            await until(lambda: _takes(one), "acts are taken again")
            assert [resource for resource, _ in one.asked(tmp_path / "after")] == [*kept, "battery-6"]
            shell = (await one.client.get("/api/v1/shell", headers=one.head())).json()
            assert (shell["is_killed"], shell["journal_is_healthy"]) == (True, True)

    asyncio.run(scene())


async def presses(one: Served, tmp_path: Path) -> None:
    """Press the kill switch on a full disk: it is done and recorded at once, and whatever else comes is refused on."""
    answer, took_s = await one.post("kill", {"pressed": True, "because": "a test"})
    assert (answer.status_code, took_s < AT_ONCE_S) == (200, True), answer.text
    one.asked(tmp_path / "pressed")
    journal = SqliteJournal(tmp_path / "pressed" / "journal.db")
    facts = [from_record(record) for record in journal.replay()]
    journal.close()
    assert [fact.value for fact in facts if isinstance(fact, AuthorityChanged)] == ["on"]
    assert [(fact.who, fact.action, fact.outcome) for fact in facts if isinstance(fact, Audited)][-1] == (
        "otto",
        "kill",
        "done",
    )
    shell = (await one.client.get("/api/v1/shell", headers=one.head())).json()
    assert (shell["is_killed"], shell["journal_is_healthy"]) == (True, False)
    assert not _told(*await one.limit(2_500.0, "battery-3"))
    again, took_s = await one.post("kill", {"pressed": True, "because": "again"})
    assert (again.status_code, took_s < AT_ONCE_S) == (200, True), again.text


@pytest.mark.skipif(not MAY_MOUNT, reason="no disk of its own can be mounted here")
def test_acts_under_way_as_the_disk_fills_are_each_answered_by_what_a_kill_would_leave(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(tmp_path) as one:
            done: list[tuple[str, float]] = []
            lost: list[tuple[str, float]] = []
            is_full = asyncio.Event()

            async def ask_on(device: str, high_w: float) -> None:
                while len(lost) < 40:
                    high_w += 1.0
                    answer, took_s = await one.limit(high_w, device)
                    (done if _told(answer, took_s) else lost).append((device, high_w))
                    await asyncio.sleep(0.02 if is_full.is_set() else 0.0)

            tasks = [asyncio.create_task(ask_on(f"battery-{at}", 1_000.0)) for at in range(1, 5)]
            await asyncio.sleep(1.0)
            await asyncio.get_running_loop().run_in_executor(None, one.fill)
            is_full.set()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)
            assert sorted(one.asked(tmp_path / "killed")) == sorted(done)
            one.free()
            await until(lambda: _takes(one), "acts are taken again")
            assert sorted(one.asked(tmp_path / "after")) == sorted([*done, ("battery-6", 4_000.0)])

    asyncio.run(scene())


def _told(answer: httpx.Response, took_s: float) -> bool:
    """Return whether an act was done; it was answered at once either way, and a refusal says why and when to come."""
    assert took_s < AT_ONCE_S, (took_s, answer.text)
    if answer.status_code == 200:
        return True
    assert (answer.status_code, answer.json()["title"], answer.headers["retry-after"]) == (503, "Not now", "5")
    assert answer.json()["detail"].startswith("Nothing can be recorded: ")
    assert "full" in answer.json()["detail"]
    return False


async def _takes(one: Served) -> bool:
    answer, _ = await one.limit(4_000.0, "battery-6")
    return answer.status_code == 200


async def _alarmed(one: Served) -> bool:
    answer = await one.client.get("/api/v1/alarms", headers=one.head())
    found = [alarm for alarm in answer.json() if alarm["subject"] == "journal"]
    return [alarm["title"].startswith("Nothing can be recorded: ") and "full" in alarm["title"] for alarm in found] == [
        True
    ]


def test_an_operate_on_a_full_disk_is_refused_by_its_own_status_at_once_and_takes_no_effect_later(
    tmp_path: Path,
) -> None:
    """A limit on files, at what they are: to the journal a full disk."""
    journal, whole = SqliteJournal(tmp_path / "journal.db"), resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main() -> list[list[CommandStatus]]:
        clock, answers = SystemClock(), []
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            state = replayed(_fleet(4), Ledger(), journal)
            principals = {"dno": Principal("dno", Level.ENVELOPE, frozenset({FEEDER}))}
            node = Node(state, journal, clock, supervisor, principals, {})
            node.published = [FEEDER]
            peer = Peer("dno", 1, may_read=(FEEDER,), may_operate=(FEEDER,), ceiling="ENVELOPE")
            binding = Binding(10, (Group(FEEDER, 0, 20_000.0, 20_000.0),), (peer,), port=0)
            outstation = Dnp3Outstation(binding, node.desk, clock, supervisor, node.desk)
            await outstation.start()
            node.publishers.append(outstation)
            node.start()
            room = Scada(
                "127.0.0.1", outstation.port, master=1, outstation=10,
                spawn=lambda work: supervisor.spawn(work, "scada"),
            )  # fmt: skip
            await room.connect()
            answers.append(await room.limit(0, -5_000.0, 20_000.0))
            await asyncio.sleep(1.0)
            await node.group.drained()
            size = (tmp_path / "journal.db-wal").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, whole[1]))
            for low_w in (-4_000.0, -3_000.0, -2_000.0):
                async with asyncio.timeout(AT_ONCE_S):
                    answers.append(await room.limit(0, low_w, 20_000.0))
            resource.setrlimit(resource.RLIMIT_FSIZE, whole)
            async with asyncio.timeout(10):
                await node.group.came_up.wait()
            answers.append(await room.limit(0, -1_000.0, 20_000.0))
            await outstation.stop()
            await room.close()
            await node.end()
        return answers

    try:
        answers = asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    assert [set(each) for each in answers] == [
        {CommandStatus.SUCCESS}, *[{CommandStatus.DOWNSTREAM_FAIL}] * 3, {CommandStatus.SUCCESS},
    ]  # fmt: skip
    facts = [from_record(record) for record in journal.replay()]
    asked = [fact.ask.low for fact in facts if isinstance(fact, AskGranted)]
    assert asked == [-5_000.0, -1_000.0]
    assert any(isinstance(fact, ClaimsPlaced) for fact in facts)
    journal.close()
