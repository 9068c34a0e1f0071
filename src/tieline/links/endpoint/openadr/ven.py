"""The VEN at an end-point: takes events by webhook, with polling as the net, and reports what its device does.

Theory of operation. What counts is what the VTN shows, all of it, over all pages, and what its notifications tell of
since. A notification that came in the clear is only news that there is something to fetch: who listens on the way has
its token, and could make events of their own. What is known goes to the end-point (`site.plan`), which knows the fence,
the owner's bounds and the fail-safe; a timer asks it again whenever its answer may be another, whether the VTN is there
or not. Three things are reported, and apart: that an event was taken (OPERATING_STATE on the event, with the SETPOINT
that will be held), what the device measures (DEMAND and more, on the event that asks for reports), and that its owner
opted out.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from typing import Any, Protocol

import numpy as np
import structlog
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.errors import PeerError
from tieline.links.endpoint.openadr.limits import TooLarge, read_body
from tieline.links.endpoint.openadr.payloads import noted_event, read_plan, report_body, spread_ns, with_notes
from tieline.links.endpoint.openadr.ven_client import Thing, VenClient, is_private
from tieline.links.endpoint.openadr.ven_programs import Programs
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.site.plan import EndPoint, FailSafe, Hold, Owner, Plan
from tieline.times import SECOND_NS, Clock
from tieline.wire.openadr3.objects import ObjectError, read_json
from tieline.wire.openadr3.times import TimeError

_log = structlog.get_logger("tieline.ven")
NEAR_W, NEAR_FRAC = 25.0, 0.01
WATCH_TURNS = 60


class VenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the VTN is reached, and as whom. `callback_url` is what the VTN is told if it is not where we listen."""

    url: str
    name: str
    client_id: str
    client_secret: str
    poll_s: float = 120.0
    report_s: float = 60.0
    watch_s: float = 5.0
    answer_s: float = 10.0
    callback_host: str = "127.0.0.1"
    callback_port: int = 0
    callback_url: str = ""
    fail_safe: FailSafe = FailSafe()


class EndDevice(Protocol):
    """The device behind the end-point."""

    def read(self) -> dict[str, float]:
        """Return its points now: power_w and, where known, available_up_w, available_down_w, soc_frac."""
        ...

    def hold(self, hold: Hold, until_ns: int) -> None:
        """Do what was decided, until an instant."""
        ...


class Ven:
    """One VEN with one resource of the same name; run it with `Supervisor.keep(name, ven.run)`."""

    def __init__(
        self,
        settings: VenSettings,
        device: EndDevice,
        owner: Owner,
        client: HttpClient,
        clock: Clock,
        rng: np.random.Generator,
        speed: float = 1.0,
    ) -> None:
        """Make a VEN. `speed`: seconds of the clock in one of the loop; times of the settings are the loop's."""
        self._settings, self._device, self._clock, self._rng, self._speed = settings, device, clock, rng, speed
        who = settings.client_id, settings.client_secret
        self._vtn = VenClient(settings.url, *who, client, clock, settings.answer_s)
        self._programs = Programs(self._vtn)
        self._end = EndPoint(owner, settings.fail_safe, clock.now_ns())
        self._seen: dict[str, tuple[str, int, int]] = {}
        self._bad: dict[str, tuple[str, dict[str, str] | None]] = {}
        self._plans: dict[str, tuple[Thing, Owner, int, int, dict[str, str] | None, Plan]] = {}
        """What was read in each event, and of what: with most polls an event is the same as before."""
        self._targets: tuple[str, ...] = ()
        self._events: dict[str, Thing] = {}
        self._notes: list[tuple[str, Thing]] = []
        """What notifications told since the loop looked last: (operation, event), in their order."""
        self._telemetry = self._ven_id = self._callback_url = ""
        self._secret = rng.bytes(24).hex()
        self._wake = asyncio.Event()
        self._said: dict[str, tuple[Plan, int]] = {}
        """What the VTN took of us on each plan: as it was read, and the owner's word that counted then."""
        self._owner_turn = 0
        self._news = self._owner_news = self._ven_news = self._asks = False
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held: Hold | None = None
        self._watching = 0
        self.taken = self.polls = self.unread = 0

    @property
    def owner(self) -> Owner:
        """What the owner allows."""
        return self._end.owner

    @owner.setter
    def owner(self, owner: Owner) -> None:
        """Take the owner's word: it counts at once, and travels up with the next breath."""
        self._end.owner = owner
        self._owner_turn += 1
        self._owner_news = True
        self._obey()
        self._tell_loop()

    @property
    def hold(self) -> Hold | None:
        """What the device was last told."""
        return self._held

    async def run(self) -> None:
        """Register, subscribe, and serve until the VTN is lost. Raises LinkDown or PeerError, to be run afresh."""
        if self._timer is None:
            self._obey()
        if self._server is None:
            app = Starlette(routes=[Route("/callback", self._callback, methods=["POST"])])
            self._server = await serve_asgi(app, self._settings.callback_host, self._settings.callback_port)
        await self._register()
        await self._subscribe()
        loop = asyncio.get_running_loop()
        poll_due_s = report_due_s = loop.time()
        while True:
            self._news = False
            if self._ven_news:
                self._ven_news = False
                await self._register()
            if self._asks or loop.time() >= poll_due_s:
                poll_due_s = loop.time() + self._settings.poll_s
                await self._poll()
            await self._follow()
            if self._owner_news:
                self._owner_news = False
                report_due_s = loop.time()
            while not self._news and loop.time() < poll_due_s:
                if loop.time() >= report_due_s:
                    report_due_s = loop.time() + self._settings.report_s
                    await self._report(self._telemetry, "telemetry")
                if self._watching and self._is_near():
                    self._watching = 0
                    await self._report(self._telemetry, "telemetry")
                await self._rest(min(poll_due_s, report_due_s))

    async def _rest(self, until_s: float) -> None:
        """Wait for news or an instant; shorter while a device is on its way to what it was told."""
        loop = asyncio.get_running_loop()
        if self._watching:
            self._watching -= 1
            until_s = min(until_s, loop.time() + self._settings.watch_s)
        self._wake.clear()
        if self._news:
            return
        try:
            async with asyncio.timeout(max(until_s - loop.time(), 0.001)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def stop(self) -> None:
        """Let the timer and the callback's listener go; the task is its supervisor's to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._server is not None:
            self._server.close()
            self._server = None

    # --- talking to the VTN ----------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, body: Thing | None = None) -> Any:
        found = await self._vtn.call(method, path, body)
        self._end.hear(self._clock.now_ns())
        return found

    async def _all(self, kind: str, **query: str) -> list[Thing]:
        found = await self._vtn.get_all(kind, **query)
        self._end.hear(self._clock.now_ns())
        return found

    async def _register(self) -> None:
        """Find our VEN and resource at the VTN, or make them, and learn the targets that we were granted."""
        name = self._settings.name
        if not await self._all("vens", venName=name):
            await self._call("POST", "/vens", {"objectType": "VEN_VEN_REQUEST", "venName": name})
        vens = await self._all("vens", venName=name)
        if not vens:
            raise PeerError(f"venName = {name!r} is somebody else's at this VTN")
        self._ven_id = vens[0]["id"]
        body = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": name, "venID": self._ven_id}
        resources = await self._all("resources", venID=self._ven_id)
        if name not in [resource.get("resourceName") for resource in resources]:
            await self._call("POST", "/resources", body)
        granted = [target for thing in (*vens, *resources) for target in thing.get("targets") or ()]
        self._targets = tuple(dict.fromkeys(granted))

    async def _subscribe(self) -> None:
        """Have one subscription of ours at the VTN, with where we listen now."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        self._callback_url = self._settings.callback_url or f"http://{self._settings.callback_host}:{port}/callback"
        operation = {
            "objects": ["EVENT", "PROGRAM", "VEN", "RESOURCE"], "operations": ["CREATE", "UPDATE", "DELETE"],
            "callbackUrl": self._callback_url,
            "bearerToken": self._secret,
        }  # fmt: skip
        name = self._settings.name
        body = {"clientName": name, "objectOperations": [operation]}
        mine = await self._all("subscriptions", clientName=name)
        for old in mine[1:]:
            await self._call("DELETE", f"/subscriptions/{old['id']}")
        if mine:
            await self._call("PUT", f"/subscriptions/{mine[0]['id']}", body)
        else:
            await self._call("POST", "/subscriptions", body)

    async def _callback(self, request: Request) -> Response:
        """Take a notification as news. Who doesn't know the token that we subscribed with tells us nothing."""
        if self._server is None:
            return Response(status_code=503)  # we have stopped: a connection that lingers delivers nothing
        word, _, token = request.headers.get("authorization", "").partition(" ")
        # Definition, subscriptions: "callback endpoints should accept the provided bearer token to authenticate".
        if word.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._secret.encode()):
            return Response(status_code=401)
        try:
            said = read_json(await read_body(request, 1 << 20))
        except (TooLarge, ObjectError, ClientDisconnect):
            return Response(status_code=400)
        self._note(said)
        self._end.hear(self._clock.now_ns())
        self._tell_loop()
        return Response(status_code=200)

    def _note(self, said: Any) -> None:
        """Keep what a notification tells; what it doesn't say so that we understand is asked for."""
        note = noted_event(said)
        if note is not None and is_private(self._callback_url):
            self._notes.append(note)
            return
        kind = said.get("objectType") if isinstance(said, dict) else None
        if kind == "PROGRAM":
            self._programs.forget()  # what we need of it is asked for anew; its events are told by themselves
            return
        self._ven_news |= kind in ("VEN", "RESOURCE")
        self._asks = True

    def _tell_loop(self) -> None:
        self._news = True
        self._wake.set()

    async def _poll(self) -> None:
        """Fetch what is asked of all and what is asked of our targets; a VTN shows what has targets only when asked."""
        self._asks = False
        self._programs.forget()
        self.polls += 1
        events = {event["id"]: event for event in await self._all("events")}
        for target in self._targets:
            events |= {event["id"]: event for event in await self._all("events", targets=target)}
        self._events = events

    async def _follow(self) -> None:
        """Follow the events that we know, with what notifications told of them since they were fetched."""
        notes, self._notes = self._notes, []
        self._events = events = with_notes(self._events, notes)
        asking = [event["id"] for event in events.values() if event.get("reportDescriptors")]
        self._telemetry = min(asking, default="")
        plans = []
        for event in events.values():
            plan = await self._read(event)
            if plan is not None:
                plans.append(plan)
        for forgotten in set(self._seen) - set(events):
            del self._seen[forgotten]
        self._bad = {event: made for event, made in self._bad.items() if event in events}
        self._plans = {event: known for event, known in self._plans.items() if event in events}
        fresh = self._end.show(plans)
        self._obey()
        self.taken += sum(1 for plan in fresh if plan.steps)
        await self._say_news()

    async def _read(self, event: Thing) -> Plan | None:
        """Return the plan in an event; one that can't be followed is answered with ERROR, once, and harms no other."""
        made, units = str(event.get("modificationDateTime")), await self._programs.units(event)
        if self._bad.get(event["id"]) == (made, units):
            return None
        # Drawn once for each version of an event: a draw at each poll would start and stop the device at random.
        if self._seen.get(event["id"], ("",))[0] != made:
            try:
                shift_ns = spread_ns(event, float(self._rng.uniform(-1.0, 1.0)))
            except (TimeError, AttributeError):
                shift_ns = 0
            self._seen[event["id"]] = (made, self._clock.now_ns(), shift_ns)
        _, first_ns, shift_ns = self._seen[event["id"]]
        read_from, known = (event, self._end.owner, first_ns, shift_ns, units), self._plans.get(event["id"])
        if known is not None and known[:-1] == read_from:
            return known[-1]
        try:
            if units is None:
                raise PeerError(f"no units in it, and its program {event['programID']} is not shown to us")
            plan = read_plan(event, self._end.owner, first_ns, shift_ns, units)
        except (TimeError, PeerError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.unread += 1
            _log.warning("event not followed", ven=self._settings.name, about=event["id"], error=str(error)[:200])
            try:
                await self._report(event["id"], "state", "ERROR")
            except PeerError as refused:  # who makes such events may take no report on them either
                _log.warning("report not taken", ven=self._settings.name, about=event["id"], error=str(refused)[:200])
            self._bad[event["id"]] = made, units
            return None
        self._plans[event["id"]] = (*read_from, plan)
        return plan

    # --- what the device is told, and what it says ------------------------------------------------------------------

    def _obey(self) -> None:
        """Tell the device what to do now, and look again when that may change."""
        now_ns = self._clock.now_ns()
        hold, due_ns = self._end.hold(now_ns), self._end.due_ns(now_ns)
        if self._held is None or self._held.by != hold.by:
            self._watching = WATCH_TURNS  # when its power has come to what it is told now, that is news
            self._wake.set()
        self._held = hold
        self._device.hold(hold, hold.until_ns)
        if self._timer is not None:
            self._timer.cancel()
        wait_s = min((due_ns - now_ns) / SECOND_NS, 86_400.0) / self._speed
        self._timer = asyncio.get_running_loop().call_later(max(wait_s, 1e-3), self._obey)

    def _is_near(self) -> bool:
        """Return whether the device does what it was told: then that is news, before the next report is due."""
        hold, power_w = self._held, self._device.read().get("power_w", math.nan)
        if hold is None or math.isnan(hold.target_w):
            return True
        return abs(power_w - hold.target_w) <= NEAR_W + NEAR_FRAC * abs(hold.target_w)

    async def _say_news(self) -> None:
        """Say of each event what the VTN was not told yet: that it was taken, or that the owner's word is another.

        What could not be said, as the VTN was not there, is said when it is back.
        """
        plans = [plan for plan in self._end.plans if plan.steps]
        self._said = {plan.id: self._said[plan.id] for plan in plans if plan.id in self._said}
        for plan in plans:
            now, before = (plan, self._owner_turn), self._said.get(plan.id)
            # One that was read anew, as its program says another unit, is to be answered anew.
            if before is not None and before[0] is plan and before[1] == self._owner_turn:
                continue
            try:
                await self._say(plan)
            except PeerError:
                self._said[plan.id] = now  # refused is an answer: the same again would be refused again
                raise
            self._said[plan.id] = now

    async def _say(self, plan: Plan) -> None:
        """Say that an event was taken, and what will be held when its time comes."""
        begins_ns = max(self._clock.now_ns(), min(step.start_ns for step in plan.steps))
        hold = self._end.hold(begins_ns)
        await self._report(plan.id, "state", self._state(hold), hold.target_w if hold.by == plan.id else math.nan)

    def _state(self, hold: Hold) -> str:
        """Return the operating state (Definition 3.1.0, table 4)."""
        power_w = self._device.read().get("power_w", math.nan)
        runs = "RUNNING" if abs(power_w) > NEAR_W else "IDLE"
        if not self._end.owner.takes_part:
            return f"{runs}_OPTED_OUT"
        if math.isnan(hold.target_w):
            return "NORMAL"
        return f"{runs}_CURTAILED" if hold.target_w >= 0 else f"{runs}_HEIGHTENED"

    async def _report(self, event: str, name: str, state: str = "", target_w: float = math.nan) -> None:
        if not event:
            return
        now_ns = self._clock.now_ns()
        values = self._device.read() | {"target_w": target_w}
        state = state or self._state(self._held or self._end.hold(now_ns))
        await self._call("POST", "/reports", report_body(event, self._settings.name, name, values, state, now_ns))
