"""An owner who opts out at the end-point is out at the desk, too: in the event that runs, and until the VEN says else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ven_stage import SECRET, URL, served, ven_folder

from tieline.desk.event_views import EventView
from tieline.desk.events import view_of
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.node.operator import NodeOperator
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner
from tieline.times import MINUTE_NS

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
home-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
home-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
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


def play(tmp_path: Path, act: Callable[[Works], Awaitable[None]]) -> None:
    """Serve two batteries behind VENs on virtual time, with an event of both under way."""
    folder = ven_folder(tmp_path, TABLE, ["home-1", "home-2"])

    async def scene(loop: VirtualLoop) -> None:
        async with served(folder, loop) as stage, HttpClient() as http:
            operator, clock = stage.operator, stage.clock
            vens = []
            for n, name in enumerate(("home-1", "home-2")):
                how = VenSettings(URL, name, name, SECRET, poll_s=30.0, report_s=20.0)
                vens.append(Ven(how, Battery(), INSIDE, http, clock, np.random.default_rng(n)))
                stage.supervisor.keep(name, vens[-1].run)
            await asyncio.sleep(150)
            now_ns = clock.now_ns()
            wish = ComposeEvent("demand_response", "pool-1", now_ns + MINUTE_NS, now_ns + 61 * MINUTE_NS, 4e3)
            made = await operator.compose(wish, "ann")
            assert isinstance(made, EventView), str(made)
            for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
                assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
            await asyncio.sleep(90)
            works = Works(stage.node, operator, vens, made)
            assert [ven.hold.target_w for ven in vens if ven.hold] == [2_000.0, 2_000.0]
            assert works.out() == (0, [False, False])
            await act(works)
            for ven in vens:
                ven.stop()

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
