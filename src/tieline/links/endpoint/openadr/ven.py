"""The VEN at an end-point: takes events by webhook, with polling as the net, and reports what its device does."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol

import httpx
import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.errors import LinkDown, PeerError
from tieline.resource.setpoint import Bounds
from tieline.rim.serve import serve_asgi
from tieline.site.plan import Hold, Owner, Plan, decide, newer
from tieline.times import SECOND_NS, Clock
from tieline.wire.openadr3.objects import ObjectError, instant_ns, seconds_of

Thing = dict[str, Any]


class VenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the VTN is reached, and as whom."""

    url: str
    name: str
    client_id: str
    client_secret: str
    poll_s: float = 120.0
    report_s: float = 60.0


class EndDevice(Protocol):
    """The device behind the end-point."""

    def read(self) -> dict[str, float]:
        """Return power_w and, where known, available_up_w and available_down_w."""
        ...

    def hold(self, hold: Hold, until_ns: int) -> None:
        """Do what was decided, until an instant."""
        ...


class Ven:
    """One VEN with one resource of the same name; run it with `Supervisor.keep(name, ven.run)`."""

    def __init__(
        self, settings: VenSettings, device: EndDevice, owner: Owner, client: httpx.AsyncClient, clock: Clock
    ) -> None:
        self.owner = owner
        self._settings, self._device, self._client, self._clock = settings, device, client, clock
        self._token, self._event = "", ""
        self._plan: Plan | None = None
        self._heard_ns = clock.now_ns()
        self._came_back_ns = 0
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._telemetry = ""
        self.taken = self.polls = 0

    async def run(self) -> None:
        """Register, subscribe, and serve until the VTN is lost. Raises LinkDown or PeerError, to be run afresh."""
        if self._server is None:
            app = Starlette(routes=[Route("/callback", self._callback, methods=["POST"])])
            self._server = await serve_asgi(app, "127.0.0.1", 0)
        await self._login()
        await self._register()
        loop = asyncio.get_running_loop()
        poll_due_s = report_due_s = loop.time()
        while True:
            if loop.time() >= poll_due_s:
                await self._poll()
                poll_due_s = loop.time() + self._settings.poll_s
            if loop.time() >= report_due_s:
                await self._report(self._telemetry, None)
                report_due_s = loop.time() + self._settings.report_s
            self._news.clear()
            try:
                async with asyncio.timeout(max(min(poll_due_s, report_due_s) - loop.time(), 0.001)):
                    await self._news.wait()
                await self._poll()
            except TimeoutError:
                pass

    # --- talking to the VTN ----------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, body: Thing | None = None, again: bool = True) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        raw = None if body is None else msgspec.json.encode(body)
        try:
            answer = await self._client.request(method, self._settings.url + path, content=raw, headers=headers)
        except httpx.HTTPError as error:
            raise LinkDown(f"VTN {self._settings.url}: {error or type(error).__name__}") from error
        if answer.status_code == 401 and again:
            await self._login()
            return await self._call(method, path, body, again=False)
        if answer.status_code >= 400 and answer.status_code != 409:
            raise PeerError(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        self._hear()
        return msgspec.json.decode(answer.content) if answer.status_code != 409 else None

    async def _login(self) -> None:
        form = {
            "grant_type": "client_credentials", "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
        }  # fmt: skip
        try:
            answer = await self._client.post(self._settings.url + "/auth/token", data=form)
        except httpx.HTTPError as error:
            raise LinkDown(f"VTN {self._settings.url}: {error or type(error).__name__}") from error
        if answer.status_code != 200:
            raise PeerError(f"the VTN gives no token: {answer.status_code} {answer.text[:200]}")
        self._token = answer.json()["access_token"]

    async def _register(self) -> None:
        name = self._settings.name
        await self._call("POST", "/vens", {"venName": name})
        mine = await self._call("GET", f"/subscriptions?clientName={name}")
        for old in mine:
            await self._call("DELETE", f"/subscriptions/{old['id']}")
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        operation = {
            "objects": ["EVENT"], "operations": ["CREATE", "UPDATE", "DELETE"],
            "callbackUrl": f"http://127.0.0.1:{port}/callback",
        }  # fmt: skip
        await self._call("POST", "/subscriptions", {"clientName": name, "objectOperations": [operation]})

    async def _callback(self, request: Request) -> Response:
        """Take a notification as news that there is something to fetch: what counts is what the VTN then shows."""
        await request.body()
        self._hear()
        self._news.set()
        return Response(status_code=200)

    async def _poll(self) -> None:
        self.polls += 1
        events = await self._call("GET", "/events?limit=50")
        for event in events:
            if event.get("eventName") == "telemetry":
                self._telemetry = event["id"]
        mine = [event for event in events if self._settings.name in (event.get("targets") or ())]
        if mine:
            await self._take(max(mine, key=_stamp))
        elif self._event:
            self._event, self._plan = "", None
            self._obey()

    async def _take(self, event: Thing) -> None:
        try:
            plan = read_plan(event, self._clock.now_ns())
        except (ObjectError, ValueError, KeyError, IndexError) as error:
            raise PeerError(f"event {event.get('id')}: {error}") from error
        if event["id"] == self._event or not newer(plan, self._plan):
            return
        self._event, self._plan = event["id"], plan
        self.taken += 1
        hold = self._obey()
        await self._report(event["id"], "ACCEPTED" if self.owner.takes_part else "OPTED_OUT")
        if self.owner.takes_part:
            await asyncio.sleep(2.0)  # the device's own answer time, before its state is read
            await self._report(event["id"], "DONE" if hold.why != "contact is lost" else "FALLBACK")

    def _obey(self) -> Hold:
        now_ns = self._clock.now_ns()
        hold = decide(self._plan, self.owner, math.nan, now_ns, self._heard_ns, self._came_back_ns)
        until_ns = self._plan.until_ns if self._plan is not None else now_ns
        self._device.hold(hold, until_ns)
        return hold

    async def _report(self, event: str, state: str | None) -> None:
        if not event:
            return
        seen = self._device.read()
        payloads: list[Thing] = [{"type": "DEMAND", "values": [-seen["power_w"] / 1e3]}]
        for key, name in (
            ("available_up_w", "UP_REGULATION_AVAILABLE"),
            ("available_down_w", "DOWN_REGULATION_AVAILABLE"),
        ):
            if key in seen:
                payloads.append({"type": name, "values": [seen[key] / 1e3]})
        if state is not None:
            payloads.append({"type": "OPERATING_STATE", "values": [state]})
        name = self._settings.name
        body = {
            "eventID": event, "clientName": name,
            "resources": [{"resourceName": name, "intervals": [{"id": 0, "payloads": payloads}]}],
        }  # fmt: skip
        await self._call("POST", "/reports", body)

    def _hear(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._heard_ns > 120 * SECOND_NS:
            self._came_back_ns = now_ns
        self._heard_ns = now_ns


def _stamp(event: Thing) -> tuple[int, int]:
    epoch, _, seq = str(event.get("eventName") or "0.0").partition(".")
    return (int(epoch), int(seq)) if epoch.isdigit() and seq.isdigit() else (0, 0)


def read_plan(event: Thing, now_ns: int) -> Plan:
    """Return the plan in an event: OpenADR's kW from the load's side become W from the grid's."""
    epoch, seq = _stamp(event)
    period = event.get("intervalPeriod") or {"start": "0001-01-01", "duration": "P9999Y"}
    start_ns = instant_ns(period["start"]) or now_ns
    until_ns = start_ns + int(min(seconds_of(period.get("duration") or "P9999Y"), 10**8)) * SECOND_NS
    intervals = event.get("intervals") or [{"payloads": []}]
    values = {p["type"]: float(p["values"][0]) for p in intervals[0]["payloads"]}
    target_w = -values["DISPATCH_SETPOINT"] * 1e3 if "DISPATCH_SETPOINT" in values else math.nan
    low_w = -values["IMPORT_CAPACITY_LIMIT"] * 1e3 if "IMPORT_CAPACITY_LIMIT" in values else -math.inf
    high_w = values["EXPORT_CAPACITY_LIMIT"] * 1e3 if "EXPORT_CAPACITY_LIMIT" in values else math.inf
    return Plan(epoch, seq, target_w, Bounds(low_w, high_w), until_ns)
