"""An owner who opts out at the end-point is out at the desk, too: in the event that runs, and until the VEN says else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tieline.desk.event_views import EventView
from tieline.desk.events import view_of
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.links.endpoint.openadr.access import secret_digest
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.links import raise_links
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner
from tieline.times import MINUTE_NS, SECOND_NS

START_NS = 1_700_000_000 * SECOND_NS
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
home-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
home-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
"""
SETTINGS = """
name = "works"
zone = "America/Chicago"
jurisdiction = "US-TX"
port = 0

[[links.openadr]]
port = 8080
resources = ["home-1", "home-2"]
callbacks = ["http://127.0.0.1:*"]
clients = [{clients}]
"""
INSIDE, OUTSIDE = Owner(Bounds(-5_000.0, 5_000.0)), Owner(Bounds(-5_000.0, 5_000.0), takes_part=False)


@dataclass
class Battery:
    power_w: float = 0.0

    def read(self) -> dict[str, float]:
        return {"power_w": self.power_w, "available_up_w": 5e3, "available_down_w": 5e3, "soc_frac": 0.8}

    def hold(self, hold: Hold, until_ns: int) -> None:
        self.power_w = 0.0 if math.isnan(hold.target_w) else hold.target_w


@dataclass
class Works:
    node: Node
    operator: NodeOperator
    vens: list[Ven]
    event: EventView

    def out(self) -> tuple[int, list[bool]]:
        """Return how many of the event's devices are out, and which of the fleet are."""
        event = self.node.state.events[self.event.id]
        return view_of(self.node.state, event).opted_out, self.node.state.opted_out.tolist()


def folder_of(tmp_path: Path) -> Path:
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    clients = ", ".join(
        f'{{ id = "{name}", secret_sha256 = "{secret_digest("s" * 40)}" }}' for name in ("home-1", "home-2")
    )
    (folder / "tieline.toml").write_text(SETTINGS.format(clients=clients))
    return folder


def play(tmp_path: Path, act: Callable[[Works], Awaitable[None]]) -> None:
    """Serve two batteries behind VENs on virtual time, with an event of both under way."""
    folder = folder_of(tmp_path)

    async def scene(loop: VirtualLoop) -> None:
        clock, settings = VirtualClock(loop, START_NS), load_config(folder / "tieline.toml")
        async with Supervisor(np.random.default_rng(1)) as supervisor, HttpClient() as http:
            node = node_of(folder, settings, supervisor, None, clock)
            operator = NodeOperator(node, NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC")))
            links = await raise_links(settings.links, folder, node, supervisor, np.random.default_rng(2))
            node.start()
            vens = []
            for n, name in enumerate(("home-1", "home-2")):
                how = VenSettings("http://127.0.0.1:8080", name, name, "s" * 40, poll_s=30.0, report_s=20.0)
                vens.append(Ven(how, Battery(), INSIDE, http, clock, np.random.default_rng(n)))
                supervisor.keep(name, vens[-1].run)
            await asyncio.sleep(150)
            now_ns = clock.now_ns()
            wish = ComposeEvent("summer", "pool-1", now_ns + MINUTE_NS, now_ns + 61 * MINUTE_NS, 4e3)
            made = await operator.compose(wish, "ann")
            assert isinstance(made, EventView), str(made)
            for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
                assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
            await asyncio.sleep(90)
            works = Works(node, operator, vens, made)
            assert [ven.hold.target_w for ven in vens if ven.hold] == [2_000.0, 2_000.0]
            assert works.out() == (0, [False, False])
            await act(works)
            for ven in vens:
                ven.stop()
            await links.stop()
        node.journal.close()

    run_virtual(scene)


def test_an_opt_out_at_the_end_point_counts_in_the_running_event_within_seconds_until_it_is_taken_back(
    tmp_path: Path,
) -> None:
    async def act(works: Works) -> None:
        works.vens[0].owner = OUTSIDE
        await asyncio.sleep(5)
        assert works.out() == (1, [True, False])
        commands = works.node.state.commands
        assert (math.isnan(commands.target_w[0]), Stage(commands.stage[0])) == (True, Stage.DONE)  # it was let go
        works.vens[0].owner = INSIDE
        await asyncio.sleep(3)
        assert works.out() == (0, [False, False])

    play(tmp_path, act)


def test_who_is_out_at_the_end_point_is_not_brought_back_at_the_console(tmp_path: Path) -> None:
    async def act(works: Works) -> None:
        works.vens[0].owner = OUTSIDE
        await asyncio.sleep(3)
        answer = await works.operator.opt("home-1", False, "ann")
        assert isinstance(answer, Refusal) and (answer.field, answer.value) == ("resource", "home-1")
        assert not isinstance(await works.operator.opt("home-2", True, "ann"), Refusal)
        await asyncio.sleep(90)
        assert works.out()[1] == [True, True]
        assert not isinstance(await works.operator.opt("home-2", False, "ann"), Refusal)
        await asyncio.sleep(90)
        assert works.out()[1] == [True, False]

    play(tmp_path, act)
