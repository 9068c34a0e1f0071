"""A VEN that never says OPERATING_STATE: no clause makes it, so its meter decides, and its events stay."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from openadr_room import Log, Room, play

from tieline.resource.command import Stage

STARTS_W = -7_600.0


@dataclass
class Reader:
    """A VEN of somebody else's: it reads its events, holds the setpoint of the newest, and reports DEMAND alone."""

    obeys: bool = True
    reads: bool = True
    report_s: float = 20.0
    power_w: float = STARTS_W
    stood: list[list[str]] = field(default_factory=list)

    async def run(self, room: Room) -> None:
        telemetry = next(str(e["id"]) for e in room.vtn.book.all("events") if e.get("eventName") == "telemetry")
        turn = 0
        while True:
            if self.reads:
                _, events = await room.call("site-5", "GET", "/events?targets=site-5")
                mine = [e for e in events if e.get("targets")]
                self.stood.append([str(e["eventName"]) for e in mine])
                if self.obeys:
                    self.power_w = self._asked(mine)
            if turn % max(round(self.report_s / 5.0), 1) == 0:
                payloads = [{"type": "DEMAND", "values": [-self.power_w / 1e3]}]
                said = {"resourceName": "site-5", "intervals": [{"id": 0, "payloads": payloads}]}
                body = {"eventID": telemetry, "clientName": "x", "reportName": f"r{turn}", "resources": [said]}
                await room.call("site-5", "POST", "/reports", body)
            turn += 1
            await asyncio.sleep(5.0)

    def _asked(self, events: list[dict[str, Any]]) -> float:
        if not events:
            return STARTS_W
        said = {p["type"]: p["values"][0] for p in events[-1]["intervals"][0]["payloads"]}
        return -1e3 * said["DISPATCH_SETPOINT"] if "DISPATCH_SETPOINT" in said else STARTS_W


def played(ven: Reader, *commands: tuple[float, float, float]) -> tuple[Log, list[str]]:
    """Play commands to a VEN (the power of each, W, for how long it holds, and how long is waited then, s).

    Returns what the desk was told, and the events that stand at the end.
    """
    left: list[str] = []

    async def scene(room: Room) -> None:
        run = asyncio.ensure_future(ven.run(room))
        await asyncio.sleep(30.0)
        for target_w, seconds, wait_s in commands:
            await room.command(target_w, seconds=seconds, wait_s=wait_s)
        run.cancel()
        left.extend(str(e["eventName"]) for e in room.events())

    return play(scene, keep_ven=False).log, left


@pytest.mark.parametrize("report_s", [5.0, 20.0, 60.0])
def test_who_obeys_and_reports_only_its_power_is_confirmed_by_its_meter_and_keeps_its_event(report_s: float) -> None:
    ven = Reader(report_s=report_s)
    log, left = played(ven, (0.0, 900.0, 600.0))
    assert (log.stages, log.observed_w[-1]) == ([Stage.SENT, Stage.DONE], 0.0)
    assert (left, ven.power_w) == (["dispatch 1.1"], 0.0)


def test_who_is_met_by_its_meter_at_none_of_its_power_is_unconfirmed_and_its_event_stays_until_its_end() -> None:
    ven = Reader(obeys=False)
    log, left = played(ven, (0.0, 300.0, 290.0))
    assert log.stages == [Stage.SENT, Stage.UNCONFIRMED]
    assert math.isnan(log.observed_w[-1]) and "did not report on the event" in log.natives[-1]
    assert left == ["dispatch 1.1"]
    assert played(Reader(obeys=False), (0.0, 300.0, 310.0))[1] == []


def test_an_event_that_nobody_fetched_is_offered_until_its_time_is_over() -> None:
    log, left = played(Reader(reads=False), (0.0, 600.0, 590.0))
    assert (log.stages, left) == ([], ["dispatch 1.1"])
    log, left = played(Reader(reads=False), (0.0, 600.0, 610.0))
    assert (log.stages, left) == ([Stage.EXPIRED], [])


@pytest.mark.parametrize("seed", range(12))
def test_whatever_follows_takes_the_place_of_the_event_before_and_there_is_never_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ven = Reader(obeys=bool(seed % 2), report_s=float(rng.choice([5.0, 30.0, 120.0])))
    asked = [(float(rng.choice([0.0, -2_000.0])), 900.0, float(rng.uniform(3.0, 200.0))) for _ in range(8)]
    _, left = played(ven, *asked)
    first = next(at for at, stood in enumerate(ven.stood) if stood)
    assert {len(stood) for stood in ven.stood[first:]} <= {1, 2}, "two for a moment, never none"
    assert left == ["dispatch 1.8"]


def test_a_meter_that_comes_seldom_confirms_a_command_that_is_told_again_though_none_came_since() -> None:
    log, _ = played(Reader(report_s=150.0), (0.0, 900.0, 100.0), (0.0, 900.0, 100.0), (0.0, 900.0, 100.0))
    assert log.stages[-1] is Stage.DONE


def test_who_is_let_go_and_stays_where_it_was_told_is_not_taken_for_free_by_its_meter() -> None:
    async def scene(room: Room) -> None:
        ven = Reader()
        run = asyncio.ensure_future(ven.run(room))
        await room.command(0.0, wait_s=120.0)
        ven.obeys = False
        await room.command(math.nan, wait_s=120.0)
        assert room.log.stages[2:] == [Stage.SENT, Stage.UNCONFIRMED]
        ven.obeys = True
        await room.command(math.nan, wait_s=120.0)
        assert room.log.stages[4:] == [Stage.SENT, Stage.DONE]
        run.cancel()

    play(scene, keep_ven=False)
