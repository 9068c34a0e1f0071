"""Files of an event as an analyst has them: three meters, one interval unread, an opt-out and a grid operator's limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from event_readings import meter_rows

from tieline.node.cli import main

Told = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meter.csv").write_text(meter_rows())
    (tmp_path / "event.toml").write_text(
        'timezone = "America/Los_Angeles"\nstart = 2024-07-31T16:00:00-07:00\nend = 2024-07-31T20:00:00-07:00\n'
        "other_event_days = [2024-07-24]\nholidays = [2024-07-04]\n"
    )
    hours = ((16, 62.15, 58), (17, 80, 310), (18, 90, 200), (19, 70, 60))
    (tmp_path / "awards.csv").write_text(
        "start,mw,price\n" + "".join(f"2024-07-31T{h}:00:00-07:00,0.028,{da}\n" for h, da, _ in hours)
    )
    (tmp_path / "prices.csv").write_text(
        "start,price\n" + "".join(f"2024-07-31T{h}:00:00-07:00,{rt}\n" for h, _, rt in hours)
    )
    (tmp_path / "causes.csv").write_text(
        "start,cause,kw,resource\n2024-07-31T18:00:00-07:00,opt_out,12,b\n2024-07-31T18:00:00-07:00,dno_limit,1,b\n"
    )
    (tmp_path / "sites.csv").write_text("meter,owner,customer,feeder\na,north,n,f1\nb,south,s,f1\nc,north,n,f2\n")
    return tmp_path


@pytest.fixture
def tieline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Run a verb in the folder and return what its JSON says; what is refused comes back with `exit`."""
    monkeypatch.chdir(folder)

    def run(*words: str, code: int = 0) -> Told:
        done = CliRunner().invoke(main, [*words, "--json"])
        assert done.exit_code == code, (words, done.output, done.stderr, done.exception)
        told: Told = json.loads(done.stdout if code != 2 else done.stderr)
        return told

    return run


ISSUE = (
    "statements", "issue", "caiso-10-in-10", "meter.csv", "--event", "event.toml", "--awards", "awards.csv",
    "--prices", "prices.csv", "--causes", "causes.csv", "--sites", "sites.csv", "--program", "peak", "--market", "iso",
    "--operator-share", "0.2", "--level", "meter", "--book", "book",
)  # fmt: skip


@pytest.fixture
def issue() -> tuple[str, ...]:
    """The words that issue the event's statement in `book`."""
    return ISSUE


@pytest.fixture
def opened(tieline: Callable[..., Told]) -> Callable[..., Told]:
    """The same, with a book that is open."""
    words = ("--operator", "manager", "--currency", "USD", "--at", "2024-08-01T00:00:00Z")
    tieline("statements", "open", "book", *words)
    return tieline
