"""The VTN: OpenADR 3.1 over HTTP, with OAuth2 client credentials, object privacy and webhooks.

Theory of operation. A call is known by its token, counted against its caller's turns, allowed by scope, and only then
looked at. Every change is in the journal before it is known or answered, and only then told to subscribers. What a
caller may not see does not exist for it (404), what it may not do is 403, a name twice, an unknown parent or a program
that would give its events another meaning is 409, a body that is no such object is 400 with its path. What the desk
published is the desk's: no client changes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec
import numpy as np
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.errors import Error, Unrecordable
from tieline.links.endpoint.openadr.access import Bearer, Tokens, may, may_change
from tieline.links.endpoint.openadr.asking import check_event, check_program
from tieline.links.endpoint.openadr.book import DESK, Book, Conflict, Missing, Thing
from tieline.links.endpoint.openadr.callbacks import is_allowed, read_origins
from tieline.links.endpoint.openadr.limits import Buckets, TooLarge, VtnLimits, read_body
from tieline.links.endpoint.openadr.meaning import AnotherMeaning, check_meaning
from tieline.links.endpoint.openadr.notify import Notifier, WebhookLimits
from tieline.links.endpoint.openadr.one_writer import OneWriter
from tieline.links.endpoint.openadr.openapi import description
from tieline.links.endpoint.openadr.query import QueryError, find, find_one
from tieline.links.endpoint.openadr.reported import check_report, private_in
from tieline.links.endpoint.openadr.tokens_api import TokenDesk, shown_by
from tieline.links.endpoint.openadr.words import json_of, problem
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.times import SECOND_NS, Clock, iso
from tieline.wire.openadr3.objects import REQUESTS, TYPES, ObjectError, Program, read_object
from tieline.wire.openadr3.times import begins_ns, ends_ns

_log = structlog.get_logger("tieline.vtn")
_CALLED_MOST = "reports"
GRACE_NS = 30 * SECOND_NS
"""An event that was to begin so short ago begins in time: it was on its way."""


class Watcher(Protocol):
    """Who inside our house listens to what VENs do."""

    def heard(self, client: str, kind: str) -> None:
        """A client called with a valid token."""
        ...

    def shown(self, client: str, kind: str, thing_id: str) -> None:
        """An object was delivered to a client: it read it, or its callback took it."""
        ...

    def bars(self, client: str, kind: str, thing_id: str) -> bool:
        """Whether an object may not go to a client any more; asked just before it leaves."""
        ...

    def refused(self, client: str, kind: str, why: str) -> None:
        """A body of a client was refused, and nothing of it was taken."""
        ...

    def changed(self, kind: str, operation: str, thing: Thing) -> None:
        """An object was made, changed or deleted; `clientID` in it comes from a token, never from a body."""
        ...


class Vtn:
    """The application and its business side; `app` is the ASGI app."""

    def __init__(
        self,
        book: Book,
        tokens: Tokens,
        supervisor: Supervisor,
        client: HttpClient,
        callbacks: tuple[str, ...],
        clock: Clock,
        rng: np.random.Generator,
        limits: VtnLimits | None = None,
        webhooks: WebhookLimits | None = None,
    ) -> None:
        """Make a VTN; `callbacks` are the origins that webhooks may go to. Raises ConfigError for one that can't be."""
        self.book, self._tokens, self._clock = book, tokens, clock
        self._limits = limits or VtnLimits()
        self._origins, self.one_writer = read_origins(callbacks), OneWriter(book, tokens)
        self.notifier = Notifier(
            book, tokens, supervisor, client, self._origins, rng, webhooks or WebhookLimits(), self._may_go,
            self.one_writer.hides,
        )  # fmt: skip
        self.notifier.delivered.append(self._delivered)
        self._turns = Buckets(self._limits.rate_per_s, self._limits.burst)
        self.watchers: list[Watcher] = []
        self.reserved: dict[str, str] = {}  # targets of the dispatch, each of one client alone
        self.is_device: Callable[[str], bool] = lambda name: False  # whether a name is that of a device of ours
        self.rated_of: Callable[[str, str], float | None] = lambda client, resource: None  # as `reported.RatedOf`
        self.private_states: tuple[str, ...] = ()
        self.withheld: set[str] = set()  # events on their way out: nobody reads them any more
        self.refused = self.failed = 0
        for revoked, at_ns in book.revoked_ns.items():
            tokens.revoke(revoked, at_ns)
        desk = TokenDesk(tokens, self._limits)
        routes = [Route("/auth/token", desk.give, methods=["POST"]), Route("/auth/server", desk.where)]
        routes += [Route("/notifiers", self._notifiers), Route("/openapi.json", self._openapi)]
        for kind in sorted(TYPES, key=_CALLED_MOST.__ne__):  # routes are tried in order
            routes.append(Route(f"/{kind}", self._guarded(kind, self._list), methods=["GET"]))
            routes.append(Route(f"/{kind}", self._guarded(kind, self._add), methods=["POST"]))
            for method, act in (("GET", self._get), ("PUT", self._put), ("DELETE", self._delete)):
                routes.append(Route(f"/{kind}/{{id}}", self._guarded(kind, act), methods=[method]))
        self._described = msgspec.json.encode(description())
        self.app = Starlette(routes=routes, exception_handlers={404: _nowhere, 405: _nowhere})

    # --- business side ---------------------------------------------------------------------------------------------

    async def publish(self, kind: str, body: bytes, cause: tuple[str, ...] = ()) -> Thing:
        """Add an object for the business logic, and tell subscribers. Raises ObjectError where it is none."""
        thing = await self.book.add(kind, read_object(kind, body), DESK, cause)
        self._tell(kind, "CREATE", thing)
        return thing

    def report(self, body: bytes) -> Thing:
        """Keep the newest report of its name for the business logic, in memory. Raises ObjectError where it is none."""
        thing = self.book.keep_report(read_object("reports", body), DESK)
        self._tell("reports", "CREATE", thing)
        return thing

    async def replace(self, kind: str, thing_id: str, body: bytes) -> Thing:
        """Replace an object for the business logic, and tell subscribers."""
        thing = await self.book.put(kind, thing_id, read_object(kind, body))
        self._tell(kind, "UPDATE", thing)
        return thing

    async def retract(self, kind: str, thing_id: str) -> None:
        """Delete an object for the business logic, and tell subscribers."""
        if thing_id in self.book.things[kind]:
            self._tell_gone(await self.book.drop(kind, thing_id))

    async def revoke(self, client: str) -> None:
        """Let no token of a client count that it holds by now, nor after a restart."""
        await self.book.revoke(client)
        self._tokens.revoke(client, self._clock.now_ns())

    # --- every call ------------------------------------------------------------------------------------------------

    def _guarded(self, kind: str, act: Callable[[Request, Bearer, str], Any]) -> Callable[[Request], Any]:
        """Return a route that lets only those in who may, and turns what goes wrong into problems."""

        async def handle(request: Request) -> Response:
            bearer = self._known(request, kind)
            if isinstance(bearer, Response):
                self.refused += 1
                return bearer
            for watcher in self.watchers:
                watcher.heard(bearer.client, kind)
            try:
                answer: Response = await act(request, bearer, kind)
            except AnotherMeaning as error:
                return problem(409, "conflict", str(error), wrong=error)
            except ObjectError as error:
                for watcher in self.watchers:
                    watcher.refused(bearer.client, kind, str(error))
                return problem(400, "bad request", str(error), wrong=error)
            except QueryError as error:
                return problem(400, "bad request", str(error))
            except TooLarge as error:
                return problem(413, "too large", str(error))
            except (Conflict, Missing) as error:
                return problem(409, "conflict", str(error))
            except ClientDisconnect:
                return problem(400, "bad request", "the caller hung up")
            except Unrecordable as error:
                return problem(400, "bad request", str(error))
            except Error as error:  # the journal: nothing was changed, and the caller may try again
                self.failed += 1
                _log.error("not kept", kind=kind, error=str(error))
                said = "it could not be kept; nothing was changed: try again later"
                return problem(503, "unavailable", said, {"retry-after": "5"})
            return answer

        return handle

    def _known(self, request: Request, kind: str) -> Bearer | Response:
        word, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = self._tokens.check(token, shown_by(request)) if word.lower() == "bearer" else None
        if bearer is None:
            said = {"www-authenticate": 'Bearer realm="openadr", error="invalid_token"'}
            return problem(401, "unauthorized", "give a valid bearer token from /auth/token", said)
        wait_s = self._turns.take(bearer.client, asyncio.get_running_loop().time())
        if wait_s:
            said = {"retry-after": str(int(wait_s) + 1)}
            return problem(429, "too many requests", f"at most {self._limits.rate_per_s:g} a second", said)
        if kind and not may(bearer, "GET" if request.method == "HEAD" else request.method, kind):
            return problem(403, "forbidden", f"the token's scopes don't allow {request.method} of {kind}")
        return bearer

    async def _notifiers(self, request: Request) -> Response:
        bearer = self._known(request, "")
        return bearer if isinstance(bearer, Response) else json_of({"WEBHOOK": True})

    async def _openapi(self, request: Request) -> Response:
        """Describe the interface: it is public, and so needs no token."""
        return Response(self._described, media_type="application/json")

    # --- objects ---------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, bearer: Bearer, kind: str) -> Response:
        now_ns, hides = self._clock.now_ns(), self.one_writer.hides
        found = find(self.book, bearer, kind, request.query_params, self._limits.page, now_ns, hides)
        found = [thing for thing in found if thing["id"] not in self.withheld]
        for thing in found:
            self._delivered(bearer.client, kind, thing["id"])
        return json_of(found)

    async def _get(self, request: Request, bearer: Bearer, kind: str) -> Response:
        hides = self.one_writer.hides
        thing = find_one(self.book, bearer, kind, request.path_params["id"], request.query_params, hides)
        if thing is None or thing["id"] in self.withheld:
            return problem(404, "not found", f"no object of {kind} with this id that you may see")
        self._delivered(bearer.client, kind, thing["id"])
        return json_of(thing)

    async def _add(self, request: Request, bearer: Bearer, kind: str) -> Response:
        found = await self._read(request, bearer, kind)
        if isinstance(found, Response):
            return found
        past = self._past(found) if kind == "events" else None
        if past is not None:
            return past
        most = self._limits.own_subscriptions if kind == "subscriptions" else self._limits.own_objects
        is_limited = kind in ("subscriptions", "vens", "resources") and not bearer.is_business
        if is_limited and len(self.book.owned(kind, bearer.client)) >= most:
            return problem(403, "forbidden", f"{kind}: at most {most} of one client")
        if kind == "reports":
            thing = self.book.keep_report(found, bearer.client)
        else:
            thing = await self.book.add(kind, found, bearer.client)
        self._tell(kind, "CREATE", thing)
        if kind == "reports":
            return json_of(thing, 201, self._private_in(found, bearer))
        return json_of(thing, 201, self._note_of(thing) if kind == "events" else None)

    def _private_in(self, report: Any, bearer: Bearer) -> dict[str, str] | None:
        """Return the header that says what of a report nobody here reads."""
        note = private_in(report, partial(self.rated_of, bearer.client))
        return {"tieline-note": note} if note else None

    def _note_of(self, event: Thing) -> dict[str, str] | None:
        """Return the header that says of an event that it asks nothing, or is followed from now on, as it has begun."""
        if not event.get("intervals"):
            is_empty = not event.get("reportDescriptors")
            return {"tieline-note": "it has no interval and asks for no report"} if is_empty else None
        now_ns = self._clock.now_ns()
        starts_ns = begins_ns(event, now_ns)
        if starts_ns >= now_ns - GRACE_NS:
            return None
        return {"tieline-note": f"began at {iso(starts_ns)}: it is followed from {iso(now_ns)} on"}

    def _past(self, event: Any) -> Response | None:
        """Return what refuses a new event that is over already: no VEN would ever follow it."""
        now_ns = self._clock.now_ns()
        over_ns = ends_ns(msgspec.to_builtins(event), now_ns)
        if over_ns > now_ns:
            return None
        detail = f"$.intervalPeriod: over at {iso(over_ns)}: give an event that ends after {iso(now_ns)}"
        return problem(400, "bad request", detail)

    async def _put(self, request: Request, bearer: Bearer, kind: str) -> Response:
        old = self._changeable(request, bearer, kind)
        if isinstance(old, Response):
            return old
        found = await self._read(request, bearer, kind)
        if isinstance(found, Response):
            return found
        if kind == "vens" and self.book.made_by.get(old["id"]) == DESK:
            lacks = bearer.is_business and not set(old["targets"]) & set(self.reserved) <= set(found.targets or ())
            if lacks or found.venName != old["venName"] or found.clientID not in (None, old["clientID"]):
                return problem(403, "forbidden", "$.venName, $.clientID, $.targets: this VEN is the dispatch's own")
        if kind == "reports":
            thing = self.book.keep_report(found, old["clientID"], is_new=False, thing_id=old["id"])
            self._tell(kind, "UPDATE", thing)
            return json_of(thing, 200, self._private_in(found, bearer))
        # What business logic granted is not a VEN's to give up: targets stay where it may not write them.
        keeps = ("targets",) if kind in ("vens", "resources") and not bearer.is_business else ()
        thing = await self.book.put(kind, old["id"], found, keeps)
        self._tell(kind, "UPDATE", thing)
        return json_of(thing)

    async def _delete(self, request: Request, bearer: Bearer, kind: str) -> Response:
        old = self._changeable(request, bearer, kind)
        if isinstance(old, Response):
            return old
        self._tell_gone(await self.book.drop(kind, old["id"]))
        return json_of(old)

    def _changeable(self, request: Request, bearer: Bearer, kind: str) -> Thing | Response:
        thing_id = request.path_params["id"]
        thing = self.book.things[kind].get(thing_id)
        if thing is None or not may_change(bearer, kind, thing):
            return problem(404, "not found", f"no object of {kind} with this id that you may change")
        # A VEN of the dispatch may be changed (its attributes, more targets), but neither deleted nor handed on.
        is_fixed = kind in ("programs", "events") or (kind == "vens" and request.method == "DELETE")
        if self.book.made_by.get(thing_id) == DESK and is_fixed:
            return problem(403, "forbidden", f"{kind} {thing_id} was published by the dispatch of this VTN")
        return thing

    async def _read(self, request: Request, bearer: Bearer, kind: str) -> Response | Any:
        """Return the object of a body that this caller may send, or the response that refuses it."""
        found: Any = read_object(kind, await read_body(request, self._limits.body_bytes))
        if kind == "events" and self.book.made_by.get(found.programID) == DESK:
            return problem(403, "forbidden", "programID: events of this program are the dispatch's own")
        if kind == "events":
            check_event(found, self._clock.now_ns(), self.book.things["programs"].get(found.programID))
            if (wrong := self.one_writer.refusal_of(found)) is not None:
                return problem(403, "forbidden", str(wrong), wrong=wrong)
        if kind == "programs":
            self._check_program(found, request.path_params.get("id", ""))
        if kind == "reports":
            above = self.book.above({"eventID": found.eventID})
            check_report(found, partial(self.rated_of, bearer.client), self.private_states, *above)
        if kind in REQUESTS:
            return self._refused_ven(found, bearer, kind) or found
        if kind == "subscriptions":
            for at, wish in enumerate(found.objectOperations):
                if not is_allowed(wish.callbackUrl, self._origins):
                    detail = f"$.objectOperations[{at}].callbackUrl is not on the allow-list of this VTN"
                    return problem(403, "forbidden", detail)
        return found

    def _check_program(self, found: Program, program: str) -> None:
        """Refuse a program, new or (`program`: its id) changed, that can't be, or that its events stand against."""
        now_ns, events = self._clock.now_ns(), self.book.below("events", program)
        check_program(found, events, now_ns)
        if (old := self.book.things["programs"].get(program)) is not None:
            reported = ((event, self.book.below("reports", event["id"])) for event in events)
            check_meaning(old, found, reported, now_ns)

    def _refused_ven(self, found: Any, bearer: Bearer, kind: str) -> Response | None:
        """Return what refuses a VEN or resource: only business logic writes targets, and others' objects."""
        if kind == "resources":
            ven = self.book.things["vens"].get(found.venID)
            if ven is None or not may_change(bearer, "vens", ven):
                return problem(404, "not found", "$.venID: no such ven that you may change")
        if found.objectType not in (None, TYPES[kind], *REQUESTS[kind]):
            return problem(400, "bad request", f"$.objectType: give one of {', '.join(REQUESTS[kind])}")
        if bearer.is_business:
            whose = self.book.things["vens"][found.venID]["clientID"] if kind == "resources" else found.clientID
            wrong = [
                t
                for t in found.targets or ()
                if self.reserved.get(t, whose or bearer.client) != (whose or bearer.client)
            ]
            return problem(403, "forbidden", f"$.targets: {wrong[0]!r} is another VEN's alone") if wrong else None
        if found.targets:
            return problem(403, "forbidden", "$.targets: only the business logic writes targets")
        if found.clientID not in (None, bearer.client) or found.objectType == REQUESTS[kind][1]:
            return problem(403, "forbidden", "$.clientID, $.objectType: a VEN writes its own objects only")
        field = "venName" if kind == "vens" else "resourceName"
        name = getattr(found, field)
        if self.is_device(name) and self.reserved.get(name) != bearer.client:
            # Who reads a list of VENs, a report or the record would take it for the device.
            return problem(403, "forbidden", f"$.{field}: {name!r} is a device that this client doesn't speak for")
        return None

    # --- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, operation: str, thing: Thing, program: str | None = None) -> None:
        for watcher in self.watchers:
            watcher.changed(kind, operation, thing)
        self.notifier.tell(kind, operation, thing, program)

    def _tell_gone(self, gone: list[tuple[str, Thing]]) -> None:
        """Tell of objects that are gone; of a report that went with its event, the program is that event's still."""
        programs = {thing["id"]: thing["programID"] for kind, thing in gone if kind == "events"}
        for kind, thing in gone:
            self._tell(kind, "DELETE", thing, programs.get(thing.get("eventID", "")))

    def _may_go(self, client: str, kind: str, thing_id: str) -> bool:
        """Return whether an object may still go out by a webhook, as a read of it would be answered now."""
        if thing_id in self.withheld:
            return False
        return not any(watcher.bars(client, kind, thing_id) for watcher in self.watchers)

    def _delivered(self, client: str, kind: str, thing_id: str) -> None:
        for watcher in self.watchers:
            watcher.shown(client, kind, thing_id)


async def _nowhere(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    said = dict(getattr(error, "headers", None) or {})
    return problem(status, "not found" if status == 404 else "method not allowed", request.url.path[:200], said)
