"""A desk that has lived through part of a day, with the console over real sockets."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import httpx
import numpy as np

from tieline.console.auth.roles import Role
from tieline.node.reader import NodeReader
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.story import Story
from tieline.node.timing import living
from tieline.node.trader import NodeTrader, terms_of
from tieline.node.web import DESK_ROLES, Console, serve_console
from tieline.rim.clock import PacedClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import HOUR_NS

TRUSTED = ssl.create_default_context()
"""Made once: a client that makes its own reads every certificate of this machine, for 25 ms."""
PEOPLE = (("ann", DESK_ROLES), ("ben", DESK_ROLES), *((role.value, (role,)) for role in Role))


@dataclass
class Running:
    """The console, the loop it runs on, and a signed-in client for each account."""

    console: Console
    stage: Stage
    trader: NodeTrader
    loop: asyncio.AbstractEventLoop
    cookies: dict[str, str]
    says: list[str]

    @property
    def url(self) -> str:
        return self.console.url

    def client(self, name: str | None) -> httpx.Client:
        cookies = {"tieline_session": self.cookies[name]} if name else {}
        return httpx.Client(base_url=self.url, cookies=cookies, timeout=60.0, verify=TRUSTED)

    @property
    def now_ns(self) -> int:
        """Now by the desk's clock."""

        async def tell() -> int:
            return self.stage.node.clock.now_ns()

        return asyncio.run_coroutine_threadsafe(tell(), self.loop).result(30)


CALLED = (
    "Peak relief", "Evening relief", "Told relief", "Words", "Focus", "Two people", "One hand", "Too late",
)  # fmt: skip
"""Programs that tests call events under, each of which finds its own by that."""


def lived(folder: Path) -> tuple[Stage, NodeReader]:
    """Play a day of 200 devices from its auction to a quarter to five in the afternoon, on virtual time."""
    loop = VirtualLoop()

    async def play() -> tuple[Stage, NodeReader]:
        what = scenario("heatwave")
        when = living(date.fromisoformat(what.day), int(3.37 * HOUR_NS))
        clock = VirtualClock(loop, when.opens_ns)
        supervisor = Supervisor(np.random.default_rng(5))
        stage = await raise_stage(what, 200, 2, clock, supervisor, folder)
        reader = NodeReader(stage.node, stage_sources(stage))
        await Story(stage, when, lambda line: None).play()
        await supervisor.stop()
        return stage, reader

    stage, reader = loop.run_until_complete(play())
    return stage, reader


async def serve(stage: Stage, reader: NodeReader, says: list[str]) -> tuple[Console, NodeTrader]:
    """Go on from there on wall time over sockets; the grid's links stay behind."""
    node, supervisor = stage.node, Supervisor(np.random.default_rng(6))
    clock = PacedClock(node.clock.now_ns())
    node.clock = node.desk._clock = stage.link._clock = clock
    node.supervisor, node.group._spawn = supervisor, supervisor.spawn
    node._wake, node._told, node._turn = asyncio.Event(), asyncio.Event(), asyncio.Lock()
    node.group.went_down, node.group.came_up = asyncio.Event(), asyncio.Event()
    node.group.came_up.set()
    node.event_programs = CALLED
    node.publishers.clear()
    node.desk.market = None
    node.desk._links = dict.fromkeys(node.desk._links, stage.link)
    stage.link._later = asyncio.get_running_loop().call_later
    trader = NodeTrader(node, terms_of(list(node.cycle.pools), reader.sources.zone, {}, {}))
    console = await serve_console(
        node, port=0, reader=reader, trader=trader, people=PEOPLE, sets_password=False, say=says.append
    )
    node.start()
    return console, trader


@contextmanager
def opened(folder: Path) -> Iterator[Running]:
    """Give a desk with its console on a loop of its own, and everybody signed in."""
    stage, reader = lived(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    says: list[str] = []
    console, trader = asyncio.run_coroutine_threadsafe(serve(stage, reader, says), loop).result(30)
    cookies: dict[str, str] = {}
    for name, link in console.links:
        secret = link.partition("#")[2]
        answer = httpx.post(f"{console.url}/api/v1/enrol", json={"secret": secret}, timeout=60.0)
        assert answer.status_code == 200, answer.text
        cookies[name] = re.search(r"tieline_session=([^;]+)", answer.headers["set-cookie"])[1]  # type: ignore[index]
    yield Running(console, stage, trader, loop, cookies, says)
    asyncio.run_coroutine_threadsafe(stage.node.supervisor.stop(), loop).result(30)
    asyncio.run_coroutine_threadsafe(console.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def left_over(running: Running) -> tuple[str, float]:
    """Return the feeder where the market, which is stronger than a program, has left most, and half of that (W)."""
    now_ns, minute_ns = running.now_ns, 60_000_000_000
    wish = {
        "program": "Peak relief",
        "start_ns": now_ns - 10**9,
        "end_ns": now_ns + 60 * minute_ns,
        "power_w": 20_000.0,
    }
    with running.client("ann") as ann:
        feeders = [row["feeder"] for row in ann.get("/api/v1/overview").json()["feeders"]]
        views = [ann.post("/api/v1/events/preview", json={**wish, "group": name}).json() for name in feeders]
    best = max(views, key=lambda view: view["expected_w"])
    return best["group"], best["expected_w"] / 2
