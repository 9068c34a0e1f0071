"""kill -9 at any instant: nothing acknowledged is lost or doubled, and the chain stays whole."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.facts import AskGranted, AwardTaken, BatchTaken, from_record
from tieline.store.journal import SqliteJournal

SERVER = Path(__file__).with_name("soak_server.py")


def soak(folder: Path, kills: int, seed: int) -> tuple:
    """Kill the server so many times while it takes asks and batches; return what was acknowledged, and the records."""
    rng = np.random.default_rng(seed)
    acknowledged: set = set()
    n = 1
    for _ in range(kills):
        server = subprocess.Popen(
            [sys.executable, str(SERVER), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ),
        )  # fmt: skip
        assert server.stdout.readline().startswith("ready")
        last_words = int(rng.integers(1, 12))
        pending = []
        for _ in range(last_words):
            kind = "ask" if rng.random() < 0.6 else "batch"
            pending.append((kind, n))
            server.stdin.write(f"{kind} {n}\n")
            n += 1
        server.stdin.flush()
        for _ in range(int(rng.integers(0, last_words + 1))):
            word, kind, number, _ = server.stdout.readline().split()
            assert word == "done"
            acknowledged.add((kind, int(number)))
        server.kill()
        rest, _ = server.communicate()
        for line in rest.splitlines():
            if line.startswith("done") and len(line.split()) == 4:
                acknowledged.add((line.split()[1], int(line.split()[2])))
        if pending and rng.random() < 0.3:
            n = pending[-1][1] + 1 if pending[-1] in acknowledged else pending[-1][1]  # send the last again
    journal = SqliteJournal(folder / "journal.db")
    assert journal.verify() is None
    return acknowledged, list(journal.replay())


def check(acknowledged: set, records: list) -> None:
    facts = [from_record(record) for record in records]
    asks = [fact.ask.version for fact in facts if isinstance(fact, AskGranted)]
    awards = [fact.award.id for fact in facts if isinstance(fact, AwardTaken) and fact.refusal is None]
    batches = [fact.batch.uid for fact in facts if isinstance(fact, BatchTaken)]
    for found in (asks, awards, batches):
        assert len(found) == len(set(found)), "doubled"
    assert {n for kind, n in acknowledged if kind == "ask"} <= set(asks)
    assert {f"u{n}" for kind, n in acknowledged if kind == "batch"} <= set(batches)
    assert {f"a{n}" for kind, n in acknowledged if kind == "batch"} <= set(awards)


def test_nothing_acknowledged_is_lost_or_doubled_over_a_few_kills(tmp_path: Path) -> None:
    acknowledged, records = soak(tmp_path, 4, 1)
    check(acknowledged, records)
    assert acknowledged


@pytest.mark.long
def test_it_holds_over_two_hundred_kills(tmp_path: Path) -> None:
    acknowledged, records = soak(tmp_path, 200, 2)
    check(acknowledged, records)
    print(f"{len(acknowledged)} acknowledged, {len(records)} records, 200 kills: 0 lost, 0 doubled")
