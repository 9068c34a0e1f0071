"""A served folder asks its book of enrolments: who isn't enrolled isn't called, a changed book counts at once, and
neither a kill nor a later change alters what was decided by the former one."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from test_serve_restart import SERVER, facts_since, signed_in
from test_serve_trades import PASSWORD, made, process
from test_served_contracts import CONTRACTS
from test_why_parts import asked, play

from patience import until
from tieline.desk.facts import EnrolmentsTaken
from tieline.desk.screens import ComposeEvent
from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.contracting import book_path
from tieline.node.enrolment_book import BookWatch
from tieline.node.operator import NodeOperator
from tieline.node.runtime import Node
from tieline.node.serve import startable
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS

PROGRAM = "base-interruptible"
DEVICES = f"""location,resource,kind,power_w,rating_w,program,contract,starts,aggregation
mill,load-1,interruptible_load,150000,200000,{PROGRAM},mill-2026,STARTS,north-1
"""
BOOK = "book.json"
IN_CALIFORNIA = CONTRACTS.replace("US-TX", "US-CA").replace('"demand_response"]', f'"demand_response", "{PROGRAM}"]')


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


def with_book(folder: Path, text: str, starts: str = "2026-01-01T00:00:00-08:00") -> Path:
    """Give a folder contracts, a book of enrolments in which nobody is yet, and the rows of a file for it."""
    (folder / "contracts.toml").write_text(text, encoding="utf-8")
    settings = folder / "tieline.toml"
    table = f'\n[contracts]\nfile = "contracts.toml"\nwithout = "serve"\nenrolments = "{BOOK}"\n'
    settings.write_text(settings.read_text(encoding="utf-8").replace("US-TX", "US-CA") + table, encoding="utf-8")
    (folder / "rows.csv").write_text(DEVICES.replace("STARTS", starts), encoding="utf-8")
    return folder


def enrol(folder: Path) -> None:
    """Enrol the load, have the utility approve it, and let its time come."""
    kept = ("--book", folder / BOOK)
    run("enrol", folder / "rows.csv", "--contracts", folder / "contracts.toml", *kept)
    run("enrolments", "review", "north-1", "approved", "--by", "utility desk", *kept)
    run("enrolments", "advance", "--contracts", folder / "contracts.toml", *kept)


def suspend(folder: Path) -> None:
    run("enrolments", "step", "load-1", "suspended", "device_lost", "--by", "bo", "--book", folder / BOOK)


def test_a_book_that_changes_while_a_server_runs_counts_at_once_and_a_kill_keeps_what_was_taken(tmp_path: Path) -> None:
    folder = with_book(made(tmp_path, 9), IN_CALIFORNIA)
    enrol(folder)
    start_ns = (time.time_ns() // HOUR_NS + 3) * HOUR_NS

    async def shown(http: httpx.AsyncClient, group: str = "pool-1") -> dict[str, Any]:
        wish = {"program": PROGRAM, "group": group, "start_ns": start_ns, "end_ns": start_ns + HOUR_NS, "power_w": 1e5}
        return dict((await http.post("/events/preview", json=wish)).json())

    async def scene() -> None:
        serve = ("-m", "tieline", "serve", "--data", str(folder))
        async with process(*serve) as (child, url, secret), signed_in(url) as http:
            await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
            before = await shown(http)
            assert before["unenrolled"] == 2, before
            assert before["left_out"]["battery-1"] == f"not enrolled in {PROGRAM} (enrolments)"
            suspend(folder)

            async def refused() -> bool:
                return f"its enrolment in {PROGRAM} is suspended since" in json.dumps(await shown(http, "load-1"))

            await until(refused, "the changed book was not taken")
            child.kill()
            await child.wait()
        run("enrolments", "step", "load-1", "active", "device_back", "--by", "bo", "--book", folder / BOOK)
        told = [fact for fact in facts_since(folder, 0) if isinstance(fact, EnrolmentsTaken)]
        assert [[one.state.value for one in fact.changed] for fact in told] == [["active"], ["suspended"]]
        said = run("why", "load-1", "--data", folder).output
        assert "it is enrolled in no program now ([contracts] enrolments): programs don't call it" in said
        assert f"enrolled in {PROGRAM} from 2026-01-01T08:00:00Z: suspended since" in said
        again = json.loads(run("replay", "--data", folder, "--json").output)["state"]
        async with process(SERVER, str(folder), "0") as (_, url, _), signed_in(url) as http:
            after = await shown(http)
            assert after["unenrolled"] == 2, "what changed while no server ran counts with the next"
        assert json.loads(run("replay", "--data", folder, "--json").output)["state"] != again

    asyncio.run(scene())


def test_a_faulty_book_is_refused_at_the_start_and_leaves_the_former_one_in_force_while_a_server_runs(
    tmp_path: Path,
) -> None:
    said = list[str]()
    folder = tmp_path / "works"

    async def act(node: Node, operator: NodeOperator) -> None:
        text = CONTRACTS.replace('resources = ["load-1"]', 'resources = ["home-1"]')
        with_book(folder, text)
        settings = load_config(folder / "tieline.toml")
        with pytest.raises(ConfigError, match=r"book.json: no such file: `tieline enrol` makes one"):
            startable(folder, 0)
        watch = BookWatch(node, book_path(settings, folder), said.append)
        (folder / BOOK).write_text("{}", encoding="utf-8")
        startable(folder, 0)
        await watch.begin()
        start_ns = node.clock.now_ns() + HOUR_NS
        wish = ComposeEvent("demand_response", "pool-1", start_ns, start_ns + HOUR_NS, 1_000.0)
        refused = await operator.compose(wish, "ada")
        assert isinstance(refused, Refusal) and refused.reason == "not enrolled in demand_response"
        (folder / BOOK).write_text('{"enrolments": 7}', encoding="utf-8")
        await watch.look()
        await watch.look()
        assert len(said) == 2 and "is no book of enrolments" in said[1] and "stand as they were taken last" in said[1]
        (folder / BOOK).unlink()
        await watch.look()
        assert "no such file" in said[2]
        assert isinstance(await operator.compose(wish, "ada"), Refusal)

    play(tmp_path, act)
    assert "it is enrolled in no program now" in asked(tmp_path, "home-1")
    answer = json.loads(asked(tmp_path, "home-1", "--json"))
    assert answer["enrolments"] == [] and answer["not_enrolled"].startswith("it is enrolled in no program now")
