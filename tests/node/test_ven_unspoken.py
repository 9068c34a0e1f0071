"""A VEN of somebody else's that never says OPERATING_STATE, served: its limit holds, and who ignores one is named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from ven_stage import SECRET, URL, served, ven_folder

from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsPlaced
from tieline.desk.packed import Packed
from tieline.desk.screens import AskLimit
from tieline.node.cli import main
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.times import HOUR_NS, SECOND_NS

DRAWS_W = -7_600.0
TABLE = """id,kind,max_inject_w,max_absorb_w,feeder,site,pool
pump-1,ev_charger,0,7600,feeder-1,site-1,pool-1
"""


@dataclass
class Pump:
    """A VEN that fetches its events or not, obeys them or not, and reports DEMAND alone."""

    obeys: bool = True
    reads: bool = True
    power_w: float = DRAWS_W
    most_w: float = 0.0

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=URL, timeout=30.0) as http:
            form = {"grant_type": "client_credentials", "client_id": "pump-1", "client_secret": SECRET}
            token = (await http.post("/auth/token", data=form)).json()["access_token"]
            http.headers["authorization"] = f"Bearer {token}"
            standing = next(e for e in (await http.get("/events")).json() if e.get("eventName") == "telemetry")
            turn = 0
            while True:
                if self.reads:
                    events = (await http.get("/events", params={"targets": "pump-1"})).json()
                    self._obey([e for e in events if e.get("targets")])
                said = {"resourceName": "pump-1", "intervals": [
                    {"id": 0, "payloads": [{"type": "DEMAND", "values": [-self.power_w / 1e3]}]}
                ]}  # fmt: skip
                body = {"eventID": standing["id"], "clientName": "p", "reportName": f"r{turn}", "resources": [said]}
                await http.post("/reports", json=body)
                turn += 1
                await asyncio.sleep(10.0)

    def _obey(self, events: list[dict[str, Any]]) -> None:
        if not self.obeys:
            return
        said = {p["type"]: p["values"][0] for p in events[-1]["intervals"][0]["payloads"]} if events else {}
        low_w = -1e3 * said.get("IMPORT_CAPACITY_LIMIT", 7.6)
        self.power_w = max(-1e3 * said.get("DISPATCH_SETPOINT", 7.6), low_w, DRAWS_W)


@dataclass
class Works:
    node: Node
    operator: NodeOperator
    reader: NodeReader
    pump: Pump

    async def limit(self, low_w: float) -> None:
        told = await self.operator.limit("feeder-1", AskLimit(low_w, 0.0, 60, "works on the line"), "ann")
        assert not isinstance(told, Refusal), str(told)

    def named(self) -> list[str]:
        """Return the titles of the alarms that name the pump."""
        return [alarm.title for alarm in self.reader.alarms() if alarm.subject == "pump-1"]


def play(tmp_path: Path, pump: Pump, act: Callable[[Works], Awaitable[None]]) -> None:
    """Serve a pump behind a VEN of its own on virtual time."""
    folder = ven_folder(tmp_path, TABLE, ["pump-1"])

    async def scene(loop: VirtualLoop) -> None:
        async with served(folder, loop) as stage:
            runs = asyncio.ensure_future(pump.run())
            await asyncio.sleep(120.0)
            assert stage.node.state.fleet.power_w.tolist() == [DRAWS_W]
            await act(Works(stage.node, stage.operator, stage.reader, pump))
            assert not runs.done()
            runs.cancel()

    run_virtual(scene)


def test_who_keeps_a_limit_and_says_nothing_of_it_keeps_it_for_its_whole_time(tmp_path: Path) -> None:
    async def act(works: Works) -> None:
        await works.limit(0.0)
        await asyncio.sleep(40.0)
        stages = set()
        for _ in range(110):
            assert works.pump.power_w == 0.0 and works.named() == []
            stages.add(Stage(works.node.state.commands.stage[0]))
            await asyncio.sleep(30.0)
        assert stages <= {Stage.QUEUED, Stage.SENT, Stage.DONE} and Stage.DONE in stages

    play(tmp_path, Pump(), act)


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("moves", [False, True])
def test_who_ignores_a_limit_and_says_nothing_of_it_is_named_within_six_minutes_and_a_beat(
    tmp_path: Path, reads: bool, moves: bool
) -> None:
    """Fetched or not, and though the limit moves at each beat."""

    async def act(works: Works) -> None:
        found: list[list[str]] = []
        for look in range(40):
            if look == 0 or moves:
                await works.limit(-100.0 * (look % 4))
            await asyncio.sleep(30.0)
            found.append(works.named())
        first = next((at for at, titles in enumerate(found) if titles), 99)
        assert first <= 13, [first, Stage(works.node.state.commands.stage[0])]
        assert found[first:] == [["Beyond a limit that it never confirmed: pump-1"]] * (40 - first)

    play(tmp_path, Pump(obeys=False, reads=reads), act)


def called_to_rest(now_ns: int) -> Entry:
    """Return the fact that a program names 0 W for the pump from now on."""
    rows, at = np.zeros(1, np.int32), now_ns - SECOND_NS
    low, high, value = (Packed.of(np.full(1, watts)) for watts in (-np.inf, np.inf, 0.0))
    fact = ClaimsPlaced(
        "batch-1", "program", "program", "saver", int(Level.PROGRAM), 0, Quantity.P.value, ClaimKind.SET.value, "an event", 1, at, at,
        now_ns + HOUR_NS, Packed.of(rows), low, high, value,
    )  # fmt: skip
    return Entry("batch-1", fact, "program")


@pytest.mark.parametrize(("obeys", "says"), [(True, "controlled by"), (False, "told by")])
def test_nobody_is_said_to_control_a_device_whose_command_is_not_confirmed(
    tmp_path: Path, obeys: bool, says: str
) -> None:
    async def act(works: Works) -> None:
        await works.node.desk.commit([called_to_rest(works.node.clock.now_ns())])
        await asyncio.sleep(170.0)
        stage = Stage(works.node.state.commands.stage[0])
        assert stage is (Stage.DONE if obeys else Stage.UNCONFIRMED)
        screen = works.reader.resource("pump-1").controls
        assert ("but its command was not confirmed" in screen) is not obeys, screen

    play(tmp_path, Pump(obeys=obeys), act)
    done = CliRunner().invoke(main, ["why", "pump-1", "--data", str(tmp_path / "works")])
    (line,) = [line for line in done.output.splitlines() if "program (PROGRAM)" in line]
    assert f"{says} program (PROGRAM)" in line and (", and not confirmed: 0 W" in line) is not obeys, done.output
