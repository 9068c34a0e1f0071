"""The API and the command line give one answer to who controls a resource, and why."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from console_stage import Running

from tieline.desk.ports import Ask
from tieline.node.why import why
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.store.learnt import About, names_of, save
from tieline.times import HOUR_NS, SECOND_NS, iso, parse_iso


def of_files(told: dict) -> dict:
    """Return an answer of the files as a server's, which knows until now: they tell until when anything is recorded."""
    assert told["recorded_until"] is None or parse_iso(told["recorded_until"]) <= parse_iso(told["at"])
    return {**told, "recorded_until": None}


def test_why_says_over_the_api_what_it_says_on_the_command_line(running: Running) -> None:
    """Winner, losers with reasons, limits, chains, command and delivery of devices, and what stands on groups."""
    node = running.stage.node
    fleet, folder = node.state.fleet, node.journal.path.parent

    async def both(name: str) -> tuple[dict, dict]:
        # What is decided stands in memory a moment before it is durable: then the two are held together again. So they are
        # for a minute where the fleet's steps are used up: how far a device would move is measured, no journal has it.
        for _ in range(1_200):
            await running.console.reader.caught_up()
            over_api = running.console.reader.why(name).told
            answers = {name: getattr(node.state.responses, name).copy() for name in ("strikes", "last_ns", "missed_ns")}
            kept = {**answers, "missed_until_ns": node.state.missed_until_ns.copy()}
            save(folder / "learnt.bin", kept, About(node.clock.now_ns(), len(fleet), names_of(fleet.ids, len(fleet))))
            of_journal = of_files(why(folder, fleet, name, parse_iso(over_api["at"])))
            if over_api == of_journal:
                break
            await asyncio.sleep(0.05)
        return over_api, of_journal

    settled = node.state.claims.arbitrate(running.now_ns, fleet.leaves("feeder-01"))
    named = [fleet.id_of(int(row)) for row in settled.rows[settled.winner >= 0][:4]]
    for name in [*named, *fleet.ids[:60:7], "feeder-01"]:
        mine, theirs = asyncio.run_coroutine_threadsafe(both(name), running.loop).result(120)
        assert mine == theirs

    def asks(program: str, level: Level, because: str) -> None:
        now_ns = running.now_ns
        wish = Ask(
            "console", "operator", program, level, named[0], Quantity.P, ClaimKind.SET, now_ns, now_ns,
            now_ns + HOUR_NS, because=because, people=("ann", "ben"),
        )  # fmt: skip
        asyncio.run_coroutine_threadsafe(node.desk.ask(wish), running.loop).result(60)

    with running.client("ann") as client:
        # One that lasts: what a dispatch asks of it may end at any beat.
        asks("before", Level.ENVELOPE, "a test of winners")
        told = client.get(f"/api/v1/resources/{named[0]}/why").json()["told"]
        assert told["winner"]["because"] == "a test of winners"
        asks("test", Level.GRID_EMERGENCY, "a test of losers")
        mine, theirs = asyncio.run_coroutine_threadsafe(both(named[0]), running.loop).result(120)
        over = client.get(f"/api/v1/resources/{named[0]}/why").json()["told"]
        for program in ("test", "before"):
            gone = node.desk.withdraw("console", program, named[0], Quantity.P, "frame:test")
            assert asyncio.run_coroutine_threadsafe(gone, running.loop).result(60)
    assert mine == theirs
    assert over["winner"]["because"] == "a test of losers"
    (loser,) = [each for each in over["losers"] if each["claim"].partition("/")[0] == told["winner"]["claim"]]
    assert (loser["claim"].partition("/")[0], loser["by"] is not None) == (told["winner"]["claim"], True)
    assert loser["why"]
    assert {"losers", "limits", "gates", "command", "delivered", "chain", "chains"} <= set(told)


def test_why_names_who_let_a_device_back_in_and_what_lapsed_until_when(running: Running) -> None:
    """The same over the API and on the command line; the screen of the device says what lapsed."""
    node = running.stage.node
    fleet, folder = node.state.fleet, node.journal.path.parent
    name = fleet.ids[7]

    async def both() -> tuple[dict, dict, str]:
        await running.console.reader.caught_up()
        over_api = running.console.reader.why(name).told
        shown = running.console.reader.resource(name).controls
        return over_api, of_files(why(folder, fleet, name, parse_iso(over_api["at"]))), shown

    async def leased() -> int:
        now_ns = node.clock.now_ns()
        ask = Ask(
            "console", "operator", "brief", Level.ENVELOPE, name, Quantity.P, ClaimKind.LIMIT, now_ns, now_ns,
            now_ns + SECOND_NS, low=-1e6, high=1e6, because="works (ann)",
        )  # fmt: skip
        await node.desk.ask(ask)
        await asyncio.sleep(1.5)  # its clock runs no slower than the wall's
        assert node.clock.now_ns() >= ask.end_ns
        return ask.end_ns

    with running.client("ann") as client:
        assert client.post(f"/api/v1/resources/{name}/opt-out").status_code == 200
        assert client.post(f"/api/v1/resources/{name}/opt-in").status_code == 200
    ended_ns = asyncio.run_coroutine_threadsafe(leased(), running.loop).result(60)
    mine, theirs, shown = asyncio.run_coroutine_threadsafe(both(), running.loop).result(60)
    assert mine == theirs
    lapsed, back = mine["ended"][:2]
    assert (lapsed["source"], lapsed["lapsed"], lapsed["because"]) == ("console", True, "works (ann)")
    assert lapsed["ended"] == lapsed["until"] == iso(ended_ns)
    assert (back["source"], back["lapsed"], back["why"]) == (f"owner:{name}", False, "the owner opted in (ann)")
    assert shown.endswith(f"; lapsed at {iso(ended_ns)}: the limit of console")


def test_a_limit_in_force_is_never_told_without_its_cause(running: Running) -> None:
    """While it is being written: the journal's thread is held up here, as by a disk or a database that is slow."""
    node = running.stage.node
    feeder = next(name for name in node.state.fleet.groups if name.kind is Kind.FEEDER).id
    held, may = threading.Event(), threading.Event()

    async def hold_up() -> None:
        node.group.executor = writer

    def wait() -> None:
        held.set()
        may.wait(60)

    def limited(version: int) -> Future[object]:
        now_ns = running.now_ns
        ask = Ask(
            "dnp3:dno", "operator", "limit", Level.ENVELOPE, feeder, Quantity.P, ClaimKind.LIMIT, version, now_ns,
            now_ns + HOUR_NS, low=-1e7, high=1e7, because="works", frame="frame:works",
        )  # fmt: skip
        return asyncio.run_coroutine_threadsafe(node.desk.ask(ask), running.loop)

    with ThreadPoolExecutor(1, "journal") as writer, running.client("ann") as client:
        asyncio.run_coroutine_threadsafe(hold_up(), running.loop).result(30)
        try:
            writer.submit(wait)
            assert held.wait(30)
            asked = limited(1)
            answer = client.get(f"/api/v1/resources/{feeder}/why").json()
            assert not asked.done()
        finally:
            may.set()
        asked.result(60)
        after = client.get(f"/api/v1/resources/{feeder}/why").json()
        gone = node.desk.withdraw("dnp3:dno", "limit", feeder, Quantity.P, "frame:over")
        assert asyncio.run_coroutine_threadsafe(gone, running.loop).result(60)
        asyncio.run_coroutine_threadsafe(node.group.drained(), running.loop).result(60)
        node.group.executor = None
    for told in (answer, after):
        (limit,) = [one for one in told["told"]["limits"] if one["on"] == feeder]
        assert (limit["by"] or {}).get("source") == "dnp3:dno"
        assert told["told"]["chains"][limit["by"]["claim"]]
        assert limit["by"]["claim"] in [one["id"] for one in told["nodes"]]
