"""Every fault of the fault menu that a person must act on raises one alarm in time; the others raise none.

Faults are put into a world that has none: what alarms, alarms for that fault. The menu is `simulate.faults`.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sampled import rare, some
from tieline.node.reader import NodeReader
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.story import Story
from tieline.node.timing import living
from tieline.rim.supervise import Supervisor
from tieline.simulate.faults import DeviceFaults
from tieline.simulate.iso.faults import FaultMenu
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.simulate.network import Network
from tieline.times import HOUR_NS, MINUTE_NS

AT_MIN = 40
"""When the fault comes, in minutes after the opening: the first call is ten minutes old by then."""
Fault = Callable[["Place"], None]


class Route:
    """Paths that are sound until a port is taken away: then nothing arrives, or each write is cut."""

    def __init__(self) -> None:
        self.away: dict[int, float | None] = {}

    def __call__(self, host: str, port: int) -> _Path:
        return _Path(self, port)


class _Path:
    def __init__(self, route: Route, port: int) -> None:
        self._route, self._port = route, port

    def delay_s(self, now_s: float, size: int) -> float | None:
        return self._route.away.get(self._port, 0.002)


class Place:
    """A stage, and what can be done to it."""

    def __init__(self, stage: Stage, route: Route, network: Network) -> None:
        self.stage, self.route, self.network = stage, route, network

    def take(self, port: int, how: float | None) -> None:
        self.route.away[port] = how
        if how is None:
            self.network.cut("127.0.0.1", port)

    def devices(self, **menu: float) -> None:
        self.stage.link._faults = DeviceFaults(**menu)

    def some(self, frac: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        drawn: np.ndarray[tuple[int], np.dtype[np.bool_]]
        drawn = np.random.default_rng(2).random(len(self.stage.link.ignores)) < frac
        return drawn

    @property
    def iso_port(self) -> int:
        return int(self.stage.iso_link._settings.url.rstrip("/").rpartition(":")[2])


def played(
    folder: Path, fault: Fault, length_ns: int = 2 * HOUR_NS, before: Fault = lambda place: None, seed: int = 2
) -> list[tuple[float, str]]:
    """Return what was raised from the fault on: how many minutes after it, and the alarm's title."""
    route, raised = Route(), list[tuple[float, str]]()
    network = Network(route)
    what = msgspec.structs.replace(scenario("cloud"), name="none", iso=FaultMenu())
    when = living(date.fromisoformat(what.day), length_ns)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(5)) as supervisor:
            # No feeder of this territory comes near its rating: an overload would be an alarm of its own.
            stage = await raise_stage(what, 400, seed, clock, supervisor, folder)
            place, reader, begins_ns = Place(stage, route, network), None, when.opens_ns + AT_MIN * MINUTE_NS
            reader, known = NodeReader(stage.node, stage_sources(stage)), set[str]()
            before(place)

            async def look() -> None:
                now_ns = clock.now_ns()
                for alarm in reader.alarms():
                    if alarm.id not in known and now_ns >= begins_ns:
                        raised.append(((now_ns - begins_ns) / MINUTE_NS, alarm.title))
                known.clear()
                known.update(reader._book.since)

            async def strike() -> None:
                await stage.sleep(AT_MIN * 60)
                fault(place)

            stage.node.after_beat.append(look)
            supervisor.spawn(strike(), "fault")
            await Story(stage, when, lambda line: None).play()

    run_virtual(main, network)
    return raised


def _out_of_reach(place: Place) -> None:
    place.stage.link.unsteady = place.some(0.3)
    place.stage.link.disturb(True)


def _ignores(place: Place) -> None:
    place.stage.link.ignores = place.some(0.4)


LINKS = {
    "iso half open": (lambda place: place.take(place.iso_port, math.inf), "Link iso"),
    "iso cut": (lambda place: place.take(place.iso_port, None), "Link iso"),
    "dnp3 half open": (lambda place: place.take(place.stage.outstation.port, math.inf), "Link dnp3"),
    "dnp3 cut": (lambda place: place.take(place.stage.outstation.port, None), "Link dnp3"),
}


def test_a_world_without_faults_raises_nothing(tmp_path: Path) -> None:
    assert played(tmp_path, lambda place: None) == []


@pytest.mark.parametrize("name", ["iso half open", rare("dnp3 cut"), rare("iso cut"), rare("dnp3 half open")])
def test_a_link_that_is_lost_raises_one_alarm(name: str, tmp_path: Path) -> None:
    fault, title = LINKS[name]
    raised = played(tmp_path, fault)
    assert [text[: len(title)] for _, text in raised] == [title], raised
    assert raised[0][0] <= 10.0


@pytest.mark.long
def test_devices_out_of_reach_raise_one_alarm_within_three_minutes(tmp_path: Path) -> None:
    raised = played(tmp_path, _out_of_reach)
    assert Counter(title.partition(":")[0] for _, title in raised) == {"No telemetry": 1}, raised
    assert raised[0][0] <= 3.0


@pytest.mark.long
def test_devices_that_ignore_what_they_accept_raise_one_alarm(tmp_path: Path) -> None:
    raised = played(tmp_path, _ignores, 6 * HOUR_NS)
    assert Counter(title.partition(":")[0] for _, title in raised)["Not responding"] == 1, raised


@pytest.mark.long
@pytest.mark.parametrize(("menu", "seed"), some([({"lost": 0.4}, 2), ({"mute": 0.4}, 2), ({"mute": 0.4}, 4)]))
def test_commands_that_are_lost_raise_one_alarm(menu: dict[str, float], seed: int, tmp_path: Path) -> None:
    """With seed 4 it is told of a feeder first, and of all of them later."""
    raised = played(tmp_path, lambda place: place.devices(**menu), 3 * HOUR_NS, seed=seed)
    assert Counter(title.partition(":")[0] for _, title in raised)["Commands failed"] == 1, raised


@pytest.mark.long
def test_what_the_desk_mends_by_itself_raises_nothing(tmp_path: Path) -> None:
    assert played(tmp_path, lambda place: place.devices(late=0.2, doubled=0.3, overtaken=0.02), 2 * HOUR_NS) == []
