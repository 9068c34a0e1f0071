"""What `why` says beside the winner: whose limit of another group holds a device, and what a step waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tieline.desk.entry import Entry
from tieline.desk.facts import CommandsReported, IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.ports import Granted
from tieline.desk.screens import AskLimit, OwnerLimit
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.links import remembered
from tieline.node.operator import NodeOperator
from tieline.node.plain import finite
from tieline.node.read_trace import told_of
from tieline.node.read_wait import waits
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.node.why import command_of, of_others, of_whole
from tieline.resource.batch import CommandReports
from tieline.resource.claim import Refusal
from tieline.resource.command import HELD, MADE, Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.store.learnt import About, names_of, save
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

START_NS = 1_700_000_000 * SECOND_NS
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
home-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
home-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
home-3,battery,5000,5000,10000,feeder-2,site-3,pool-1
"""


def play(
    tmp_path: Path, act: Callable[[Node, NodeOperator], Awaitable[None]], table: str = "", settings: str = ""
) -> None:
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    with (folder / "tieline.toml").open("a") as written:
        written.write(settings)
    (tmp_path / "devices.csv").write_text(table or TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0

    async def scene(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, START_NS)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None, clock)
            await act(node, NodeOperator(node, NodeReader(node, Sources(utility="w", setting="LIVE", zone="UTC"))))
        node.journal.close()

    run_virtual(scene)


def test_a_limit_on_a_site_is_one_of_others_for_its_feeder_and_for_nobody_else_nor_after_its_end(
    tmp_path: Path,
) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        said = await operator.limit("site-1", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        assert not isinstance(said, Refusal), str(said)
        state, now_ns = node.state, node.clock.now_ns()
        row = state.fleet.row("home-1")
        for group, count in (("feeder-1", 1), ("pool-1", 1), ("feeder-2", 0), ("site-2", 0), ("site-1", 0)):
            found = of_others(state, group, now_ns)
            assert len(found) == count, group
            assert [batch.rows[holds].tolist() for batch, holds in found] == [[row]] * count
        assert len(list(of_whole(state, "site-1", now_ns))) == 1  # its own is no other's
        assert of_others(state, "feeder-1", now_ns + 11 * MINUTE_NS) == []

    play(tmp_path, act)


def test_a_step_says_what_it_waits_for_its_turn_its_feeder_s_minute_or_that_of_all(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        state, now_ns = node.state, node.clock.now_ns()
        row, limiter = state.fleet.row("home-1"), state.limiter
        assert waits(state, row, 3_000.0, now_ns) == ""
        limiter.feeder_w[:], limiter.system_w = 4_000.0, 6_000.0
        limiter.note(np.array([row], np.int32), np.array([2_000.0]), now_ns)
        told = waits(state, row, 3_000.0, now_ns)
        goes = "; it goes at about 2023-11-14T22:14:20Z"
        assert told == "its step waits: 2000 W of 4000 W a minute were moved on its feeder" + goes
        other = state.fleet.row("home-3")
        limiter.note(np.array([other], np.int32), np.array([3_500.0]), now_ns)
        told = waits(state, row, 1_000.0, now_ns)
        assert told == "its step waits: 5500 W of 6000 W a minute were moved in all" + goes
        assert waits(state, row, 1_000.0, now_ns + 2 * MINUTE_NS) == ""  # another minute
        state.release_at_ns[row] = now_ns + 90 * SECOND_NS
        assert waits(state, row, None, now_ns) == "it comes back in turn, at 2023-11-14T22:14:50Z"
        assert waits(state, row, None, now_ns + HOUR_NS) == ""

    play(tmp_path, act)


def asked(tmp_path: Path, resource: str, *more: str) -> str:
    done = CliRunner().invoke(main, ["why", resource, "--data", str(tmp_path / "works"), *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_pressed_kill_switch_is_named_with_who_pressed_it_for_as_long_as_it_is(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        await operator.limit("home-1", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        await asyncio.sleep(60.0)
        assert await operator.kill(True, "ann") is None
        await asyncio.sleep(60.0)
        assert await operator.kill(False, "ann with ben") is None

    play(tmp_path, act)
    told = "kill switch pressed at 2023-11-14T22:14:20Z by ann: only what leads to safe power is sent"
    for resource in ("home-1", "pool-1"):
        assert told in asked(tmp_path, resource, "--at", "2023-11-14T22:15:00Z")
        pressed = json.loads(asked(tmp_path, resource, "--at", "2023-11-14T22:15:00Z", "--json"))["kill_switch"]
        assert pressed == {"since": "2023-11-14T22:14:20Z", "by": "ann"}
        for at in ("2023-11-14T22:14:00Z", "2023-11-14T22:16:00Z"):
            assert "kill switch" not in asked(tmp_path, resource, "--at", at), at


def test_what_a_device_gave_says_over_which_time(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        rows, now_ns = np.array([node.state.fleet.row("home-1")], np.int32), node.clock.now_ns()
        fact = IntervalTracked(
            "pool-1", now_ns - 5 * MINUTE_NS, now_ns, 1e3, 1e3, {}, Packed.of(rows), Packed.of(np.array([1e3])), 1
        )
        await node.desk.commit([Entry("interval:1", fact, "pool-1")])
        await asyncio.sleep(9.5 * 3600.0)
        await operator.kill(True, "ann")

    play(tmp_path, act)
    told = asked(tmp_path, "home-1")
    over = "from 2023-11-14T22:08:20Z to 2023-11-14T22:13:20Z, the last interval of it that was counted by then"
    assert f"gave 1000 W above its base {over}" in told and "delivered" not in told


def test_a_pool_says_what_was_asked_and_given_in_its_last_interval_and_what_it_lacked_by_cause(tmp_path: Path) -> None:
    over_api = []

    async def act(node: Node, operator: NodeOperator) -> None:
        rows, now_ns = np.array([node.state.fleet.row("home-1")], np.int32), node.clock.now_ns()
        facts = [
            IntervalTracked(
                "pool-1", now_ns - (6 - at) * 5 * MINUTE_NS, now_ns - (5 - at) * 5 * MINUTE_NS, 5e3, given_w, causes,
                Packed.of(rows), Packed.of(np.array([given_w])), 1, withheld, 120.0 * at,
            )
            for at, (given_w, causes, withheld) in enumerate(
                [(5e3, {}, {}), (3e3, {"opt_out": 1_500.0, "unresponsive": 500.0}, {"dno_limit": 200.0})]
            )
        ]  # fmt: skip
        await node.desk.commit([Entry(f"interval:{at}", fact, "pool-1") for at, fact in enumerate(facts)])
        over_api.append(told_of(node.state, node.journal, facts, "pool-1", node.clock.now_ns()))

    play(tmp_path, act)
    told = asked(tmp_path, "pool-1")
    over = "from 2023-11-14T21:48:20Z to 2023-11-14T21:53:20Z, the last interval of it that was counted by then"
    assert f"gave 3000 W of 5000 W asked {over}" in told
    assert "of that 120 W by devices not called then, but within the hour before" in told
    assert "lacks, by cause: opt-outs 1500 W, devices not responding (unresponsive) 500 W" in told
    assert "was asked less, by cause: a grid operator's limit 200 W" in told
    assert finite({**over_api[0], "missing": []}) == json.loads(asked(tmp_path, "pool-1", "--json"))
    assert "gave" not in asked(tmp_path, "feeder-1"), "a feeder is no party to it"


def test_what_the_watchdog_saw_in_the_meter_is_the_last_word_on_a_command() -> None:
    rows, batch = Packed.of(np.zeros(1, np.int32)), {"batch": "batch-7", "stage": "DONE", "read_back_w": 0.0}

    def said(link: str, of: str) -> dict[str, object] | None:
        fact = CommandsReported(
            of, link, rows, Packed.of(np.array([Stage.UNCONFIRMED], np.uint8)), Packed.of(np.array([START_NS])),
            Packed.of(np.zeros(1, np.uint8)), Packed.of(np.array([3_815.0])), (), (),
        )  # fmt: skip
        return command_of(fact, 0, batch)

    told = said("watchdog", "")
    assert told is not None and (told["stage"], told["measured_w"]) == ("UNCONFIRMED", 3_815.0)
    assert told["read_back_w"] == 0.0, "what its link read back is not what its meter says"
    assert said("columns", "batch-6") == batch, "a report of an older command says nothing of this one"


def test_why_says_of_a_device_that_does_not_respond_since_when_by_what_the_server_had_learnt(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        await operator.limit("home-1", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        await asyncio.sleep(60.0)
        ids, count = node.state.fleet.ids, len(node.state.fleet)
        columns = {"strikes": np.array([2, 0, 1], np.uint8), "last_ns": np.full(count, START_NS - 10 * SECOND_NS)}
        about = About(node.clock.now_ns(), count, names_of(ids, count))
        save(tmp_path / "works" / "learnt.bin", columns, about)

    play(tmp_path, act)
    told = asked(tmp_path, "home-1")
    assert "it does not respond: called and able, it stood still in 2 calls running, the last" in told
    assert "at 2023-11-14T22:13:10Z; it counts so until it follows one, or until 2023-11-15T22:13:10Z" in told
    answer = json.loads(asked(tmp_path, "home-1", "--json"))["unresponsive"]
    assert answer == {"strikes": 2, "last": "2023-11-14T22:13:10Z", "until": "2023-11-15T22:13:10Z"}
    for resource, at in (("home-1", "2023-11-14T22:13:05Z"), ("home-2", None), ("home-3", None)):
        assert "respond" not in asked(tmp_path, resource, *(() if at is None else ("--at", at))), resource
    (tmp_path / "works" / "learnt.bin").write_bytes(b"torn")
    assert "respond" not in asked(tmp_path, "home-1")


def test_why_says_that_a_device_is_left_out_since_when_until_when_and_why(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        await operator.limit("home-1", AskLimit(-1e3, 1e3, 10, "works"), "ann")
        await asyncio.sleep(60.0)
        ids, count, now_ns = node.state.fleet.ids, len(node.state.fleet), node.clock.now_ns()
        since_ns = np.full(count, now_ns - 120 * SECOND_NS)
        until_ns = since_ns + np.array([900, 150, 30]) * SECOND_NS
        columns = {"missed_ns": since_ns, "missed_until_ns": until_ns}
        save(tmp_path / "works" / "learnt.bin", columns, About(now_ns, count, names_of(ids, count)))

    play(tmp_path, act)
    for resource, says in (("home-1", "did not give what it was called for"), ("home-2", "may not have heard it")):
        told, answer = asked(tmp_path, resource), json.loads(asked(tmp_path, resource, "--json"))["left_out"]
        assert says in answer["why"]
        line = f"  left out of its pool's calls since {answer['since']}, until {answer['until']}: {answer['why']}"
        assert line in told.splitlines()
    assert "left out" not in asked(tmp_path, "home-3"), "it is over"
    assert "left out" not in asked(tmp_path, "home-1", "--at", "2023-11-14T22:11:00Z"), "it had not begun"


async def held_alone(node: Node, operator: NodeOperator) -> int:
    """Let a limit alone hold home-1 at 4 kW, as its link reports it, and return its row."""
    row, state = node.state.fleet.row("home-1"), node.state
    said = await operator.limit("feeder-1", AskLimit(-9e3, 9e9, 10, "works"), "ann")
    assert not isinstance(said, Refusal), str(said)
    await node.desk.settle()
    one, now_ns = np.ones(1), node.clock.now_ns()
    for stage, native, seen_w in ((Stage.SENT, "", np.nan), (Stage.ACCEPTED, "", np.nan), (Stage.DONE, HELD, 4e3)):
        node.desk.reports(
            CommandReports(
                state.command_batches[int(state.commands.batch[row])], "modbus", np.array([row], np.int32),
                np.array([stage], np.uint8), np.array([now_ns]), np.zeros(1, np.uint8), seen_w * one,
                (native,) if native else (), (),
            )
        )  # fmt: skip
        await node.desk.flush()
    return row


def test_of_a_battery_that_is_out_and_held_by_a_limit_it_is_said_what_the_owners_word_changes(tmp_path: Path) -> None:
    """At three in the morning: who asked, what holds, and whether the opt-out matters to that."""

    async def act(node: Node, operator: NodeOperator) -> None:
        assert not isinstance(await operator.opt("home-1", True, "eve"), Refusal)
        await held_alone(node, operator)

    play(tmp_path, act)
    told = asked(tmp_path, "home-1")
    assert "nobody names a power: it is held giving 4,000 W to keep a limit on feeder-1 by console (ENVELOPE)" in told
    assert "works (ann)" in told.splitlines()[1]
    assert "its owner has opted out by owner:home-1 (OWNER_NEED)" in told
    assert "    that keeps what is weaker from calling it, and no limit: those above hold all the same" in told
    assert HELD not in told


def test_of_a_battery_that_is_held_beyond_its_owners_limit_it_is_said_whose_limit_that_keeps(tmp_path: Path) -> None:
    """The owner's limit had to give way, and leaves it less than the one that it is held for."""

    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await operator.owner_limit("home-1", OwnerLimit(100.0, 500.0), "eve"), Granted)
        await held_alone(node, operator)

    play(tmp_path, act)
    told = asked(tmp_path, "home-1")
    assert "nobody names a power: it is held giving 4,000 W to keep a limit on feeder-1 by console (ENVELOPE)" in told


def test_an_opt_out_without_a_limit_says_nothing_of_limits(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        assert not isinstance(await operator.opt("home-1", True, "eve"), Refusal)

    play(tmp_path, act)
    told = asked(tmp_path, "home-1")
    assert "its owner has opted out by owner:home-1 (OWNER_NEED)" in told
    assert "no limit" not in told


def test_a_battery_that_a_limit_alone_holds_is_told_as_held_and_by_whom(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        state, now_ns = node.state, node.clock.now_ns()
        row = await held_alone(node, operator)
        assert len(remembered(state, [row], now_ns)) == 1
        state.commands.stage[row] = int(Stage.SENT)  # the server goes while a renewal is on its way
        assert len(remembered(state, [row], now_ns)) == 1, "and it is known to the next"

    play(tmp_path, act)
    told, answer = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert "nobody names a power: it is held giving 4,000 W to keep a limit on feeder-1 by console (ENVELOPE)" in told
    assert "    it can be told a power, but no limit on what it draws: so one within it is held until that ends" in told
    assert "it runs by itself" not in told
    assert "  limit ENVELOPE: " in told and "works" in told
    assert "<- 2023-11-14T22:13:20Z ClaimsPlaced" in told, "with its cause"
    assert answer["held_w"] == 4_000.0 and answer["command"]["target_w"] is None
    assert json.loads(asked(tmp_path, "home-2", "--json"))["held_w"] is None


def test_what_a_device_made_of_a_command_that_it_cant_hold_is_known_to_the_next_server(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        row, state = node.state.fleet.row("home-1"), node.state
        said = await operator.limit("feeder-1", AskLimit(-9e3, 9e9, 10, "works"), "ann")
        assert not isinstance(said, Refusal), str(said)
        await node.desk.settle()
        now_ns = node.clock.now_ns()
        assert remembered(state, [row], now_ns) == [], "of one that never answered nothing is known"
        native = f"{MADE}holds 1500 W, limit 100%"
        for stage, words in ((Stage.SENT, ()), (Stage.ACCEPTED, ()), (Stage.UNCONFIRMED, (native,))):
            node.desk.reports(
                CommandReports(
                    state.command_batches[int(state.commands.batch[row])], "modbus", np.array([row], np.int32),
                    np.array([stage], np.uint8), np.array([now_ns]), np.zeros(1, np.uint8), np.full(1, 1.5e3), words,
                    (),
                )
            )  # fmt: skip
            await node.desk.flush()
        assert (len(remembered(state, [row], now_ns)), state.commands.made_w[row]) == (1, 1.5e3)
        await node.desk.settle()

    play(tmp_path, act)
