"""kill -9 of the real server at any instant: nothing acknowledged is lost or doubled, and the chain stays whole."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.desk.facts import AskGranted, AwardTaken, BatchTaken, from_record
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.node.config import write_example
from tieline.resource.identity import Kind, Purpose
from tieline.resource.point import points
from tieline.rim.clock import SystemClock
from tieline.store import registry
from tieline.store.journal import SqliteJournal
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS

SERVER = Path(__file__).with_name("soak_server.py")
ROWS = 20
FIRST_NS = time.time_ns() // HOUR_NS * HOUR_NS - HOUR_NS
"""What is sent was taken so many nanoseconds after this as its turn is: within the hour before this one."""


def fleet() -> Fleet:
    ones = np.ones(ROWS)
    return Fleet(
        [f"battery-{n}" for n in range(ROWS)], np.full(ROWS, KIND_CODE[Kind.BATTERY], np.uint8), 1e7 * ones, 1e7 * ones,
        1e9 * ones, 0 * ones, 0 * ones, [Group("pool-1", Kind.POOL, Purpose.POOL, -1)],
        {Purpose.POOL: np.zeros(ROWS, np.int32)},
    )  # fmt: skip


async def prepare(folder: Path) -> dict[str, str]:
    """Make a data folder with an operator and a gateway, and return the token of each."""
    write_example(folder / "tieline.toml")
    registry.save(fleet(), folder / "registry.bin")
    journal = SqliteJournal(folder / "journal.db")

    async def append(records: list) -> int:
        return journal.append(records)

    accounts = Accounts(append, SystemClock(), lambda: 0.0, os.urandom)
    tokens = {}
    for name, role in (("otto", Role.OPERATOR), ("gate", Role.GATEWAY)):
        await accounts.enrol(accounts.invite(name, (role,), sets_password=False), "")
        tokens[name] = await accounts.make_token(name)
    journal.close()
    return tokens


class Acknowledged:
    """What the server said was done, by kind; `turn` numbers everything that was ever asked."""

    def __init__(self) -> None:
        self.turn = itertools.count(1)
        self.limits: set[int] = set()
        self.trades: set[int] = set()
        self.readings: set[int] = set()
        self.unsure: list[int] = []

    def counts(self) -> tuple[int, int, int]:
        """How many of each kind."""
        return len(self.limits), len(self.trades), len(self.readings)


async def limits(client: httpx.AsyncClient, token: str, seen: Acknowledged) -> None:
    while True:
        n = next(seen.turn)
        body = {"low_w": -1e7, "high_w": float(n), "minutes": 600, "because": f"soak {n}"}
        head = {"authorization": f"Bearer {token}"}
        answer = await client.post(f"/api/v1/resources/battery-{n % ROWS}/limit", json=body, headers=head)
        assert answer.status_code == 200, answer.text
        seen.limits.add(n)


async def readings(client: httpx.AsyncClient, token: str, seen: Acknowledged) -> None:
    while True:
        n = next(seen.turn)
        names = [f"battery-{k}" for k in range(ROWS)]
        body = {"point": "power_w", "resource": names, "value": [float(n)] * ROWS, "taken_at_ns": [FIRST_NS + n] * ROWS}
        answer = await client.post("/api/v1/readings", json=body, headers={"authorization": f"Bearer {token}"})
        assert answer.json() == {"taken": ROWS, "refused": []}, answer.text
        seen.readings.add(n)


async def trades(port: int, seen: Acknowledged) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            again = seen.unsure.pop() if seen.unsure else 0  # after a kill the market sends what it got no answer to
            n = again or next(seen.turn)
            seen.unsure.append(n)
            writer.write(f"{n}\n".encode())
            said = await reader.readline()
            if not said:
                return
            assert said == f"done {n}\n".encode()
            seen.unsure.remove(n)
            seen.trades.add(n)
    finally:
        writer.close()


async def one_life(ready: str, tokens: dict, seen: Acknowledged, after_s: float, waits: bool) -> None:
    """Ask for everything at once, and kill the server so long after; `waits`: after something of each kind was done."""
    _, pid, port, market = ready.split()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        work = [limits(client, tokens["otto"], seen), limits(client, tokens["otto"], seen)]
        work += [readings(client, tokens["gate"], seen), readings(client, tokens["gate"], seen)]
        work += [trades(int(market), seen)]
        tasks = [asyncio.create_task(one) for one in work]
        before = seen.counts()
        while waits and any(now == then for now, then in zip(seen.counts(), before, strict=True)):
            await asyncio.sleep(0.01)
            if any(task.done() for task in tasks):
                break  # its error is raised below
        await asyncio.sleep(after_s)
        os.kill(int(pid), signal.SIGKILL)
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception) and not isinstance(found, (httpx.TransportError, OSError)):
                raise found


def soak(folder: Path, kills: int, seed: int) -> Acknowledged:
    rng, seen = np.random.default_rng(seed), Acknowledged()
    tokens = asyncio.run(prepare(folder))
    command = [sys.executable, str(SERVER), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nest:
        for turn in range(kills):
            nest.stdin.write("start\n")
            nest.stdin.flush()
            ready = nest.stdout.readline()
            assert ready.startswith("ready"), ready
            asyncio.run(one_life(ready, tokens, seen, float(rng.uniform(0.0, 0.3)), turn % 4 != 3))
            assert nest.stdout.readline() == f"ended {-signal.SIGKILL}\n"
        nest.stdin.close()
    return seen


def check(folder: Path, seen: Acknowledged) -> str:
    """Hold what was acknowledged against the disk, and return the counts."""
    journal = SqliteJournal(folder / "journal.db")
    assert journal.verify() is None
    facts = [from_record(record) for record in journal.replay()]
    asks = [int(fact.ask.high) for fact in facts if isinstance(fact, AskGranted)]
    awards = [fact.award.id for fact in facts if isinstance(fact, AwardTaken) and fact.refusal is None]
    batches = [fact.batch.uid for fact in facts if isinstance(fact, BatchTaken)]
    historian = Historian(folder / "historian")
    historian.compact(Wal(folder / "readings"))  # at a full hour the server began to, and was killed in it or not
    kept = historian.read(range(ROWS), range(len(points())), FIRST_NS, FIRST_NS + HOUR_NS)
    rows = Counter(zip(kept["row"].to_pylist(), kept["taken_at_ns"].to_pylist(), strict=True))
    for found in (Counter(asks), Counter(awards), Counter(batches), rows):
        assert max(found.values()) == 1, "doubled"
    assert seen.limits <= set(asks)
    assert {f"a{n}" for n in seen.trades} <= set(awards)
    assert {f"u{n}" for n in seen.trades} <= set(batches)
    assert {(row, FIRST_NS + n) for n in seen.readings for row in range(ROWS)} <= set(rows)
    assert kept["value"].to_pylist() == [float(at_ns - FIRST_NS) for at_ns in kept["taken_at_ns"].to_pylist()]
    assert seen.limits
    assert seen.trades
    assert seen.readings
    return (
        f"{len(seen.limits)} claims, {len(seen.trades)} awards with their dispatch, {len(seen.readings)} bodies of "
        f"readings acknowledged; {journal.last_seq} records: 0 lost, 0 doubled"
    )


def test_nothing_acknowledged_is_lost_or_doubled_over_a_few_kills(tmp_path: Path) -> None:
    check(tmp_path, soak(tmp_path, 4, 1))


@pytest.mark.long
def test_it_holds_over_two_hundred_kills(tmp_path: Path) -> None:
    said = check(tmp_path, soak(tmp_path, 200, 2))
    print(f"200 kills: {said}")
