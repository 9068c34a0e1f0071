"""The VTN: OpenADR 3.1 over HTTP, with OAuth2 client credentials, object privacy and webhooks.

Theory of operation. Every change is in the journal before it is answered, and only then told to subscribers; a
subscriber that does not answer is tried again with growing delays, in order, and never holds up another. What a caller
may not see does not exist for it (404), what it may not do is 403, a name twice is 409, a body that is no such object
is 400 with its path.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

import httpx
import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.links.endpoint.openadr.access import TOKEN_S, Bearer, Tokens, granted_targets, may, visible
from tieline.links.endpoint.openadr.book import TYPES, Book, Thing
from tieline.rim.supervise import Supervisor
from tieline.wire.openadr3.objects import UNIQUE, ObjectError, read_object

_log = structlog.get_logger("tieline.vtn")
MOST_BODY = 256 * 1024
MOST_PAGE = 50
MOST_WAITING = 1_000
FILTERS = {
    "events": ("programID",),
    "reports": ("programID", "eventID", "clientName"),
    "subscriptions": ("programID", "clientName"),
    "vens": ("venName",),
    "resources": ("resourceName", "venID"),
    "programs": (),
}
Watcher = Callable[[str, str, Thing], None]


def problem(status: int, title: str, detail: str) -> Response:
    """Return a problem object."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(msgspec.json.encode(body), status, media_type="application/problem+json")


class Vtn:
    """The application and its business side; `app` is the ASGI app."""

    def __init__(
        self, book: Book, tokens: Tokens, supervisor: Supervisor, client: httpx.AsyncClient, callbacks: tuple[str, ...]
    ) -> None:
        """Make a VTN; `callbacks` are the URL prefixes that webhooks may go to."""
        self.book, self._tokens, self._supervisor, self._client = book, tokens, supervisor, client
        self._callbacks = callbacks
        self._waiting: dict[str, deque[bytes]] = {}
        self.watchers: list[Watcher] = []
        self.notified = self.lost = self.refused = 0
        routes = [Route("/auth/token", self._token, methods=["POST"]), Route("/auth/server", self._server)]
        for kind in TYPES:
            routes.append(Route(f"/{kind}", self._list(kind), methods=["GET"]))
            routes.append(Route(f"/{kind}", self._add(kind), methods=["POST"]))
            routes.append(Route(f"/{kind}/{{id}}", self._one(kind), methods=["GET", "PUT", "DELETE"]))
        self.app = Starlette(routes=routes)

    # --- business side ---------------------------------------------------------------------------------------------

    async def publish(self, kind: str, body: bytes, cause: tuple[str, ...] = ()) -> Thing:
        """Add an object for the business logic, and tell subscribers. Raises ObjectError where it is none."""
        thing = await self.book.add(kind, read_object(kind, body), "tieline", cause)
        self._tell(kind, "CREATE", thing)
        return thing

    async def retract(self, kind: str, thing_id: str) -> None:
        """Delete an object for the business logic, and tell subscribers."""
        if thing_id in self.book.things[kind]:
            self._tell(kind, "DELETE", await self.book.drop(kind, thing_id))

    # --- routes ----------------------------------------------------------------------------------------------------

    async def _server(self, request: Request) -> Response:
        """Say where tokens are given: the one thing that needs none."""
        body = {"tokenURL": f"{request.url.scheme}://{request.url.netloc}/auth/token"}
        return Response(msgspec.json.encode(body), media_type="application/json")

    async def _token(self, request: Request) -> Response:
        parts = (await request.body()).decode("ascii", "replace").split("&")
        form = {name: unquote_plus(value) for name, _, value in (part.partition("=") for part in parts)}
        if form.get("grant_type") != "client_credentials":
            return problem(400, "unsupported_grant_type", "grant_type: give client_credentials")
        client, secret = _basic(request.headers.get("authorization", "")) or ("", "")
        token = self._tokens.grant(client or form.get("client_id", ""), secret or form.get("client_secret", ""))
        if token is None:
            self.refused += 1
            return problem(401, "invalid_client", "client_id or client_secret is wrong")
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_S}
        return Response(msgspec.json.encode(answer), media_type="application/json")

    def _bearer(self, request: Request) -> Bearer | None:
        word, _, token = request.headers.get("authorization", "").partition(" ")
        return self._tokens.check(token) if word.lower() == "bearer" else None

    def _denied(self, request: Request, kind: str) -> Response | Bearer:
        bearer = self._bearer(request)
        if bearer is None:
            self.refused += 1
            return problem(401, "unauthorized", "give a valid bearer token from /auth/token")
        if not may(bearer, request.method, kind):
            self.refused += 1
            return problem(403, "forbidden", f"the token's scopes don't allow {request.method} of {kind}")
        return bearer

    def _seen(self, bearer: Bearer, kind: str) -> list[Thing]:
        granted = granted_targets(bearer, self.book.things["vens"], self.book.things["resources"])
        return [thing for thing in self.book.all(kind) if visible(bearer, kind, thing, granted)]

    def _list(self, kind: str) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            bearer = self._denied(request, kind)
            if isinstance(bearer, Response):
                return bearer
            query = request.query_params
            try:
                skip, limit = int(query.get("skip", 0)), int(query.get("limit", MOST_PAGE))
            except ValueError:
                return problem(400, "bad request", "skip, limit: give whole numbers")
            if skip < 0 or not 1 <= limit <= MOST_PAGE:
                return problem(
                    400, "bad request", f"limit = {limit}, skip = {skip}: give 1 to {MOST_PAGE}, and 0 or more"
                )
            found = self._seen(bearer, kind)
            for name in FILTERS[kind]:
                if name in query:
                    found = [thing for thing in found if thing.get(name) == query[name]]
            wanted = set(query.getlist("targets"))
            if wanted:
                found = [thing for thing in found if wanted <= set(thing.get("targets") or ())]
            return Response(msgspec.json.encode(found[skip : skip + limit]), media_type="application/json")

        return handle

    def _add(self, kind: str) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            bearer = self._denied(request, kind)
            if isinstance(bearer, Response):
                return bearer
            body = await request.body()
            wrong = self._wrong(kind, body, bearer, None)
            if isinstance(wrong, Response):
                return wrong
            made = self.book.keep_report(wrong, bearer.client) if kind == "reports" else None
            thing = made or await self.book.add(kind, wrong, bearer.client)
            self._tell(kind, "CREATE", thing)
            return Response(msgspec.json.encode(thing), 201, media_type="application/json")

        return handle

    def _wrong(self, kind: str, body: bytes, bearer: Bearer, thing_id: str | None) -> Response | Any:
        """Return the object of a body, or the response that refuses it."""
        if len(body) > MOST_BODY:
            return problem(413, "too large", f"{len(body)} bytes: give at most {MOST_BODY}")
        try:
            found = read_object(kind, body)
        except ObjectError as error:
            return problem(400, "bad request", str(error))
        unique = UNIQUE.get(kind)
        if unique and any(
            thing[unique] == getattr(found, unique) and thing["id"] != thing_id for thing in self.book.all(kind)
        ):
            return problem(409, "conflict", f"{unique} = {getattr(found, unique)!r} is taken")
        if kind == "events" and found.programID not in self.book.things["programs"]:  # type: ignore[attr-defined]
            return problem(409, "conflict", f"programID = {found.programID!r}: no such program")  # type: ignore[attr-defined]
        if kind == "reports" and found.eventID not in self.book.things["events"]:  # type: ignore[attr-defined]
            return problem(409, "conflict", f"eventID = {found.eventID!r}: no such event")  # type: ignore[attr-defined]
        if kind in ("vens", "resources") and "write_targets" not in bearer.scopes:
            if getattr(found, "targets", None):
                return problem(403, "forbidden", "targets: only the business logic writes targets")
            if getattr(found, "clientID", None) not in (None, bearer.client):
                return problem(403, "forbidden", "clientID: a VEN registers itself only")
        if kind == "subscriptions":
            for operation in found.objectOperations:  # type: ignore[attr-defined]
                if not operation.callbackUrl.startswith(self._callbacks):
                    return problem(
                        403, "forbidden", f"callbackUrl = {operation.callbackUrl!r} is not on the allow-list"
                    )
        return found

    def _one(self, kind: str) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            bearer = self._denied(request, kind)
            if isinstance(bearer, Response):
                return bearer
            thing_id = request.path_params["id"]
            mine = {thing["id"]: thing for thing in self._seen(bearer, kind)}
            if thing_id not in mine:
                return problem(404, "not found", f"{kind} {thing_id}: none that you may see")
            thing = mine[thing_id]
            if request.method == "PUT":
                found = self._wrong(kind, await request.body(), bearer, thing_id)
                if isinstance(found, Response):
                    return found
                thing = await self.book.put(kind, thing_id, found, bearer.client)
                self._tell(kind, "UPDATE", thing)
            elif request.method == "DELETE":
                thing = await self.book.drop(kind, thing_id)
                self._tell(kind, "DELETE", thing)
            return Response(msgspec.json.encode(thing), media_type="application/json")

        return handle

    # --- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, operation: str, thing: Thing) -> None:
        for watch in self.watchers:
            watch(kind, operation, thing)
        for subscription in list(self.book.all("subscriptions")):
            owner = Bearer(subscription["clientID"], frozenset({"read_targets"}))
            granted = granted_targets(owner, self.book.things["vens"], self.book.things["resources"])
            if not visible(owner, kind, thing, granted):
                continue
            for wish in subscription["objectOperations"]:
                if TYPES[kind] in wish["objects"] and operation in wish["operations"]:
                    self._queue(subscription["id"], wish, kind, operation, thing)

    def _queue(self, subscription: str, wish: Thing, kind: str, operation: str, thing: Thing) -> None:
        body = msgspec.json.encode({"objectType": TYPES[kind], "operation": operation, "object": thing})
        url = wish["callbackUrl"]
        key = f"{subscription} {url}"
        if key not in self._waiting:
            self._waiting[key] = deque(maxlen=MOST_WAITING)
            self._supervisor.spawn(self._send(key, subscription, url, wish.get("bearerToken")), "webhook")
        if len(self._waiting[key]) == MOST_WAITING:
            self.lost += 1  # the oldest gives way; a poll brings the VEN up to date
        self._waiting[key].append(body)

    async def _send(self, key: str, subscription: str, url: str, token: str | None) -> None:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        waiting, delay_s = self._waiting[key], 0.5
        try:
            while waiting and subscription in self.book.things["subscriptions"]:
                try:
                    answer = await self._client.post(url, content=waiting[0], headers=headers, timeout=10.0)
                    good = answer.status_code < 300
                except httpx.HTTPError:
                    good = False
                if good:
                    waiting.popleft()
                    self.notified += 1
                    delay_s = 0.5
                else:
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, 60.0)
        finally:
            del self._waiting[key]


def _basic(header: str) -> tuple[str, str] | None:
    """Return (client, secret) of HTTP Basic credentials (RFC 6749, 2.3.1), or None."""
    word, _, coded = header.partition(" ")
    if word.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return unquote_plus(client), unquote_plus(secret)
