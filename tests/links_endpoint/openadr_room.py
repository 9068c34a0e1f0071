"""A VTN, its link, and VENs on virtual time or on sockets, for the tests of this folder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tieline.desk.ports import LinkHealth
from tieline.links.endpoint.openadr.access import READ_ALL, Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.limits import VtnLimits
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.notify import WebhookLimits
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import Stage
from tieline.resource.point import by_code
from tieline.resource.quality import Quality
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal
from tieline.times import SECOND_NS
from tieline.wire.openadr3.objects import Ven as Name

VEN_SCOPES = frozenset({"read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens"})
BL_SCOPES = frozenset(
    {READ_ALL, "write_programs", "write_events", "write_vens", "write_subscriptions", "write_reports"}
)
START_NS = 1_700_000_000 * SECOND_NS
ROOMY = VtnLimits(rate_per_s=1e6, burst=1e6, token_burst=1e6)


@dataclass
class Site:
    """A device that holds what it is told."""

    power_w: float = 0.0
    holds: list[Hold] = field(default_factory=list)
    obeys: bool = True

    def read(self) -> dict[str, float]:
        return {"power_w": self.power_w, "available_up_w": 1_000.0, "available_down_w": 500.0, "soc_frac": 0.25}

    def hold(self, hold: Hold, until_ns: int) -> None:
        self.holds.append(hold)
        if self.obeys:
            self.power_w = 0.0 if math.isnan(hold.target_w) else hold.target_w


@dataclass
class Log:
    """What the link told the desk."""

    stages: list[Stage] = field(default_factory=list)
    natives: list[str] = field(default_factory=list)
    observed_w: list[float] = field(default_factory=list)
    seen: list[tuple[str, float, Quality, int]] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)

    def reports(self, reports: CommandReports) -> None:
        self.stages += [Stage(int(s)) for s in reports.stage]
        self.natives += list(reports.native) or [""]
        self.observed_w += reports.observed_w.tolist()

    def readings(self, readings: Readings) -> None:
        readings = readings.in_time()  # as every desk takes them, whatever link they come by
        for point, value, quality, at in zip(
            readings.points, readings.values, readings.quality, readings.taken_at_ns, strict=True
        ):
            self.seen.append((by_code()[int(point)].key, float(value), Quality(int(quality)), int(at)))

    def health(self, health: LinkHealth) -> None:
        self.sessions.append(int(health.session))

    def last(self, key: str) -> tuple[float, Quality, int]:
        return next(one[1:] for one in reversed(self.seen) if one[0] == key)


@dataclass
class Room:
    vtn: Vtn
    url: str
    http: httpx.AsyncClient
    ours: HttpClient
    clock: Any
    supervisor: Supervisor
    link: OpenAdrLink
    site: Site
    ven: Ven
    log: Log
    server: asyncio.Server
    ven_task: Any = None
    seq: int = 0
    journal: Any = None

    async def token(self, client: str, **more: str) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"secret-of-{client}", **more}
        answer = await self.http.post(self.url + "/auth/token", data=form)
        return {"authorization": "Bearer " + answer.json()["access_token"]}

    async def call(self, client: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = await self.token(client)
        answer = await self.http.request(method, self.url + path, json=body, headers=headers)
        return answer.status_code, answer.json()

    async def command(
        self, target_w: float, seconds: float = 900.0, after_s: float = 0.0, wait_s: float = 5.0, seq: int = 0
    ) -> CommandBatch:
        self.seq = seq or self.seq + 1
        now, one = self.clock.now_ns(), np.ones(1)
        start_ns = now + int(after_s * SECOND_NS)
        batch = CommandBatch(
            f"commands:{self.seq}", np.array([5], np.int32), target_w * one, -8_000 * one, 6_000 * one, 0 * one, now, start_ns,
            start_ns + int(seconds * SECOND_NS), 1, self.seq, (),
        )  # fmt: skip
        await self.link.send(batch)
        await asyncio.sleep(wait_s)
        return batch

    def events(self) -> list[dict[str, Any]]:
        """The dispatch events that stand."""
        return [e for e in self.vtn.book.all("events") if e.get("targets")]


Scene = Callable[[Room], Awaitable[None]]


class FailingRecorder:
    """The journal of a room; while `is_broken` it keeps nothing and says so."""

    def __init__(self, group: GroupCommit[Any]) -> None:
        self._group, self.is_broken = group, False

    async def append(self, records: Any) -> int:
        if self.is_broken:
            from tieline.store.journal import StoreError

            raise StoreError("no space left")
        return await self._group.append(records)


async def raise_room(
    clock: Any,
    supervisor: Supervisor,
    journal: SqliteJournal,
    limits: VtnLimits = ROOMY,
    webhooks: WebhookLimits | None = None,
    keep_ven: bool = True,
    seed: int = 0,
    is_bound: bool = True,
    **ven: Any,
) -> Room:
    recorder = FailingRecorder(GroupCommit(journal, supervisor.spawn))
    book = Book(recorder, clock)
    book.restore(journal)
    clients = {n: Client(n, secret_digest(f"secret-of-{n}"), VEN_SCOPES) for n in ("site-5", "site-6")}
    clients["bl"] = Client("bl", secret_digest("secret-of-bl"), BL_SCOPES)
    http, ours, log, site = httpx.AsyncClient(timeout=30.0), HttpClient(keep_s=86_400.0), Log(), Site()
    supervisor.at_end(ours.aclose)
    tokens = Tokens(clients, b"k" * 32, clock)
    origins = ("http://127.0.0.1:*",)
    vtn = Vtn(book, tokens, supervisor, ours, origins, clock, np.random.default_rng(seed), limits, webhooks)
    server = await serve_asgi(vtn.app, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    # Unless it is bound, the desk commands no resource here: its VEN is anybody's, and follows what anybody asks.
    bound = {5: EndPointName("site-5", "site-5")} if is_bound else {}
    link = OpenAdrLink(OpenAdrSettings(bound), vtn, log, clock, supervisor)
    await link.start()
    if not is_bound and book.named("vens", "site-5") is None:
        own = Name(venName="site-5", clientID="site-5", targets=["site-5"])
        await book.add("vens", own, "bl")
    settings = VenSettings(url, "site-5", "site-5", "secret-of-site-5", **ven)
    end = Ven(settings, site, Owner(Bounds(-5_000.0, 5_000.0)), ours, clock, np.random.default_rng(seed + 1))
    room = Room(vtn, url, http, ours, clock, supervisor, link, site, end, log, server, journal=recorder)
    if keep_ven:
        room.ven_task = supervisor.keep("ven", end.run)
    return room


def play(scene: Scene, path: Path | None = None, **how: Any) -> Room:
    """Play a scene on virtual time and return its room."""

    async def main(loop: VirtualLoop) -> Room:
        clock = VirtualClock(loop, START_NS)
        journal = SqliteJournal(path or Path(":memory:"))
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            room = await raise_room(clock, supervisor, journal, **how)
            await asyncio.sleep(2)
            await scene(room)
            room.link.stop()
            room.ven.stop()
        journal.close()
        return room

    return run_virtual(main)
