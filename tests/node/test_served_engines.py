"""A served desk calls an engine in an emergency, counts what it ran, tells what is left, and a restart knows the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_served_contracts import CONTRACTS

from tieline.desk.event_stack import newest
from tieline.desk.event_views import EventView
from tieline.desk.screens import ComposeEvent
from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.rim.supervise import Supervisor
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

START_NS = 1_699_999_200 * SECOND_NS
TABLE = (
    "id,kind,fuel,pool,max_inject_w,max_absorb_w\nload-1,interruptible_load,,pool-1,0,5000\n"
    "genset-1,backup_generator,diesel,pool-1,50000,0\ngenset-2,backup_generator,diesel,pool-1,50000,0\n"
)
PROGRAM = """
[[program]]
type = "{type}"
id = "{id}"
version = "1"
source = "ours"
certainty = "sample"
jurisdiction = "US-CA"
zone = "America/Los_Angeles"
currency = "USD"
eligibility = "{eligibility}"
market = "utility-emergency"
kinds = ["backup_generator", "interruptible_load"]
effective_from = 2020-01-01
triggers = [{{ by = "operator", reasons = ["need"] }}]
budget = {{ hours_a_call = 5.0, calls_a_season = 50 }}
incentives = [{{ per = "kwh", amount = "2.00" }}]
baseline = "caiso-10-in-10"
"""
PROGRAMS = PROGRAM.format(type="emergency", id="help", eligibility="emergency_load_reduction")
PROGRAMS += PROGRAM.format(type="peak-time-rebate", id="rebate", eligibility="demand_response")
SETTINGS = """
zone = "America/Los_Angeles"
jurisdiction = "US-CA"
[contracts]
file = "contracts.toml"
programs = "programs.toml"
without = "serve"
[[permits]]
id = "air-17"
version = "2023"
source = "permit to operate, condition 4"
resources = ["genset-1"]
limits = [{ uses = ["emergency"], hours = 1.2 }]
"""
ORDER = """
[[orders]]
id = "order-1"
source = "an executive order"
jurisdiction = "US-CA"
starts = 2023-11-01T00:00:00-07:00
ends = 2023-12-01T00:00:00-08:00
"""


class Wall:
    """A clock that stands where it is put."""

    ns = START_NS

    def now_ns(self) -> int:
        return self.ns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    works, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(works)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(works)]).exit_code == 0
    (works / "contracts.toml").write_text(CONTRACTS.replace('"US-TX"', '"US-CA"'))
    (works / "programs.toml").write_text(PROGRAMS)
    (works / "tieline.toml").write_text(SETTINGS + ORDER)
    return works


class Desk:
    """A node on a folder, its reader and a person at it; its engines give what they are told."""

    def __init__(self, node: Node, clock: Wall) -> None:
        self.node, self.clock = node, clock
        self.reader = NodeReader(node, Sources(zone="America/Los_Angeles"), node.journal.reader())
        self.operator = NodeOperator(node, self.reader)
        self.rows = [node.state.fleet.row(name) for name in ("genset-1", "genset-2")]

    async def at(self, now_ns: int, *power_w: float) -> None:
        """Go to an instant at which the engines give so much (W), and beat."""
        self.clock.ns, fleet = now_ns, self.node.state.fleet
        fleet.quality[:], fleet.taken_at_ns[:] = 0, now_ns
        fleet.power_w[:] = np.where(fleet.max_absorb_w > 0, -5_000.0, 0.0)
        fleet.power_w[self.rows[: len(power_w)]] = power_w
        fleet.available_up_w[:] = fleet.max_inject_w
        await self.node.beat()

    async def call(self, program: str, hours: float = 1.0) -> tuple[EventView | Refusal, list[str]]:
        """Call an event for 40 kW from the next minute on; return it, and the engines that it has called by then."""
        start_ns = self.clock.ns + MINUTE_NS
        wish = ComposeEvent(program, "pool-1", start_ns, start_ns + round(hours * HOUR_NS), 40e3)
        answer = await self.operator.compose(wish, "ada")
        if isinstance(answer, Refusal):
            return answer, []
        for to, by in (("Submitted", "ada"), ("Approved", "bo")):
            answer = await self.operator.advance(answer.id, to, by)
            assert isinstance(answer, EventView), answer
        await self.at(start_ns, 0.0, 0.0)
        batch = newest(self.node.state, answer.id)
        rows = [] if batch is None else batch.rows.tolist()
        return answer, [self.node.state.fleet.id_of(row) for row in self.rows if row in rows]


def served(folder: Path, act: Callable[[Desk], Awaitable[None]], now_ns: int = START_NS) -> str:
    """Let a node run on a folder from an instant on; return the digest of its state as it ends."""

    async def play() -> str:
        clock = Wall()
        clock.ns = now_ns
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None, clock)
            await act(Desk(node, clock))
            digest = node.state.digest()
            node.journal.close()
            return digest

    return asyncio.run(play())


async def runs_an_hour(desk: Desk) -> None:
    await desk.at(START_NS, 0.0, 0.0)
    event, called = await desk.call("help")
    assert called == ["genset-1"]
    for minute in range(1, 60):
        await desk.at(event.start_ns + minute * MINUTE_NS, 40e3, 0.0)
    await desk.at(event.end_ns, 0.0, 0.0)


def test_an_emergency_calls_the_engine_its_hours_are_told_and_at_the_limit_it_is_refused(folder: Path) -> None:
    async def play(desk: Desk) -> None:
        await runs_an_hour(desk)
        view = desk.reader.resource("genset-1").engine
        assert view is not None
        used = view.limits[0]
        assert (used.used_h, used.limit_h, used.rule) == (pytest.approx(59 / 60), 1.2, "air-17 2023")
        assert used.warns  # 80 % of 1.2 h
        (alarm,) = [one for one in desk.reader.alarms() if one.subject == "genset-1" and "h this year" in one.title]
        assert (alarm.priority, "air-17 2023" in alarm.consequence) == (3, True)
        wish = ComposeEvent("help", "genset-1", desk.clock.ns + MINUTE_NS, desk.clock.ns + HOUR_NS, 40e3)
        refused = await desk.operator.compose(wish, "ada")
        assert isinstance(refused, Refusal)
        assert (refused.rule, refused.limit) == ("air-17 2023", "1.2 (permit to operate, condition 4)")
        _, called = await desk.call("help")
        assert called == []

    served(folder, play)


def test_an_economic_event_and_one_without_an_order_in_force_call_none(folder: Path) -> None:
    async def play(desk: Desk) -> None:
        await desk.at(START_NS, 0.0, 0.0)
        for program in ("rebate", "demand_response"):
            assert (await desk.call(program))[1] == []

    async def none_is_called(desk: Desk) -> None:
        await desk.at(START_NS + 4 * HOUR_NS, 0.0, 0.0)
        assert (await desk.call("help"))[1] == []

    served(folder, play)
    (folder / "tieline.toml").write_text(SETTINGS)
    served(folder, none_is_called, START_NS + 4 * HOUR_NS)


def test_a_restart_a_replay_and_why_tell_the_same_hours(folder: Path) -> None:
    hours = []

    async def look(desk: Desk) -> None:
        engines, runs = desk.node.state.engines, desk.node.state.engine_runs
        hours.append([one.used_h for one in engines.hours(runs, desk.rows[0], desk.clock.ns)])

    async def play(desk: Desk) -> None:
        await runs_an_hour(desk)
        await look(desk)

    digest = served(folder, play)
    served(folder, look, START_NS + 2 * HOUR_NS)
    assert hours[0] == hours[1]
    assert hours[0][0] == pytest.approx(59 / 60)
    replayed = CliRunner().invoke(main, ["replay", "--data", str(folder), "--json"])
    assert json.loads(replayed.output)["state"] == digest
    told = json.loads(CliRunner().invoke(main, ["why", "genset-1", "--data", str(folder), "--json"]).output)["engine"]
    assert (told["jurisdiction"], told["has_permit"], told["runs_as"]) == ("US-CA", True, "")
    assert told["limits"][0] == {
        "uses": ["emergency"], "used_h": 0.983, "limit_h": 1.2, "left_h": 0.217, "rule": "air-17 2023",
        "source": "permit to operate, condition 4",
    }  # fmt: skip
    said = CliRunner().invoke(main, ["why", "genset-1", "--data", str(folder)]).output
    assert "emergency: 0.983 of 1.2 h used this year, 0.217 left (air-17 2023, permit to operate, condition 4)" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SETTINGS.replace("genset-1", "load-1"), "$.permits[0].resources = 'load-1': give a backup generator"),
        (SETTINGS + ORDER.replace("US-CA", "California"), "$.orders[0].jurisdiction = 'California': give one of EU"),
    ],
)
def test_settings_of_engines_that_are_none_keep_a_server_from_starting(folder: Path, text: str, says: str) -> None:
    (folder / "tieline.toml").write_text(text)

    async def nothing(desk: Desk) -> None:
        raise AssertionError("it started")

    with pytest.raises(ConfigError) as error:
        served(folder, nothing)
    assert says in str(error.value)
    told = CliRunner().invoke(main, ["doctor", "--data", str(folder)])
    assert told.exit_code != 0
    assert says in told.output + told.stderr
