"""The console's application: the API of the route table, the live socket, metrics, docs and the static screens.

Every request passes `_serve`: who asks, whether he may (`roles.may`, denied by default), the body decoded and checked,
the handler, the answer; an act is recorded before it is answered. The screens use this public API and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as Path_

from tieline.console import asyncapi
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.oidc_login import OidcLogin
from tieline.console.auth.roles import Action, may
from tieline.console.auth.second import WAITING_KEY, WAITS, SecondPerson, Waiting
from tieline.console.auth.sessions import COOKIE, Sessions, Who
from tieline.console.guard import Guard, same_origin
from tieline.console.live import Live
from tieline.console.metrics import Metrics
from tieline.console.oidc_api import ways_in
from tieline.console.openapi import document
from tieline.console.problems import LATER, Problem, good, malformed, refuse_control
from tieline.console.routes import ROUTES
from tieline.console.table import Call, Desk, Handler, Route
from tieline.desk.screens import Intake, Operator, Reader, Trader
from tieline.errors import InvariantError, LinkDown, Unrecordable
from tieline.flow.begun import act
from tieline.resource.claim import Refusal

_log = structlog.get_logger("tieline.console")
STATIC = Path(str(files("tieline.console"))) / "static"
ENCODE = msgspec.json.Encoder().encode
SECRET_FIELDS = ("password", "secret", "token")
SCREENS_TYPE = "text/html; charset=utf-8"


def create_app(
    reader: Reader,
    operator: Operator,
    accounts: Accounts,
    monotonic_s: Callable[[], float],
    *,
    is_secure: bool = False,
    intake: Intake | None = None,
    trader: Trader | None = None,
    oidc: OidcLogin | None = None,
    routes: tuple[Route, ...] = ROUTES,
    sessions: Sessions | None = None,
) -> Starlette:
    """Return the ASGI application.

    Args:
        reader: What can be seen.
        operator: What can be done.
        accounts: Who may sign in.
        monotonic_s: Seconds for lifetimes of sessions.
        is_secure: Whether it is served over TLS: cookies are then marked Secure.
        intake: Where readings are sent; None: nowhere.
        trader: Where offers and prices are put; None: nowhere.
        oidc: The identity provider's way in; None: local accounts alone.
        routes: The rows to serve.
        sessions: Who is signed in; None: nobody yet, and in memory alone.
    """
    second = SecondPerson(monotonic_s, accounts.secret)
    label = oidc.settings.label if oidc is not None else ""
    sessions = sessions or Sessions(accounts, monotonic_s)
    desk = Desk(reader, operator, accounts, sessions, second, is_secure, intake, label, trader)
    metrics = Metrics(reader)
    live = Live(desk, metrics)
    described = ENCODE(document(routes))
    served: list[BaseRoute] = [
        Path_(route.path, _endpoint(desk, route, metrics), methods=[route.method]) for route in routes
    ]
    served += [
        WebSocketRoute("/api/v1/live", live.serve),
        *ways_in(desk, oidc),
        Path_("/api/v1/openapi.json", _fixed(described, "application/json"), methods=["GET"]),
        Path_("/api/v1/asyncapi.json", _fixed(ENCODE(asyncapi.document()), "application/json"), methods=["GET"]),
        Path_("/healthz", _health(reader), methods=["GET"]),
        Path_("/metrics", _metrics(desk, metrics), methods=["GET"]),
        Path_("/{path:path}", _screens(_bundle()), methods=["GET"]),
    ]
    app = Starlette(routes=served, exception_handlers={Problem: _problem, 404: _missing, 405: _missing})
    app.state.desk, app.state.live, app.state.sessions = desk, live, desk.sessions
    app.add_middleware(Guard)
    return app


def who_asks(desk: Desk, headers: Any, cookies: Any) -> Who | None:
    """Return who asks, by API token or by cookie, with the devices of his scope as they are by now; None: nobody."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    is_token = scheme.lower() == "bearer" and bool(token)
    return desk.scoped(desk.sessions.by_token(token) if is_token else desk.sessions.who(cookies.get(COOKIE, "")))


def _endpoint(desk: Desk, route: Route, metrics: Metrics) -> Handler:
    decoder = None if route.body is None or route.is_raw else msgspec.json.Decoder(route.body)

    async def serve(request: Request) -> Response:
        try:
            response = await _serve(desk, route, decoder, request)
        except Problem as problem:
            response = problem.response()
        except KeyError as error:
            name = str(error.args[0]) if error.args else ""
            response = Problem(404, f"there is no {route.subject or 'such thing'} of that name", value=name).response()
        except LinkDown as error:  # the journal's database: what was asked was not begun, or waits on
            response = Problem(503, str(error), LATER).response()
        except Unrecordable as error:
            response = Problem(422, str(error)).response()
        except InvariantError as error:
            response = Problem(500, str(error)).response()
        except ClientDisconnect:  # it hung up before all was said: nothing was begun, and nobody reads the answer
            response = Problem(400, "the request broke off", field="body").response()
        metrics.count(route.method, route.path, response.status_code)
        return response

    return serve


async def _serve(desk: Desk, route: Route, decoder: Any, request: Request) -> Response:
    who = who_asks(desk, request.headers, request.cookies)
    if who is not None:
        await desk.sessions.used(who)
    subject = str(request.path_params.get(route.subject, "")) if route.subject else ""
    acts = route.method != "GET"
    if acts and not same_origin(request.headers):
        origin = str(request.headers.get("origin", ""))[:200]
        raise Problem(403, "the request comes from another site", field="origin", value=origin)
    if route.action is not None:
        if who is None:
            raise Problem(401, "sign in first", {"www-authenticate": "Bearer"})
        scope = who.scope
        if route.action is Action.OPT and desk.reader.is_site_of(subject, scope):
            scope |= {subject}  # all that stands behind it is his: he speaks for it as for each
        if not may(who.roles, route.action, subject if route.subject == "resource" else "", scope):
            if acts:
                await desk.operator.audited(who.name, route.audited_as, subject, "not allowed", _way(who))
            raise Problem(403, "your roles don't allow this", field="action", value=route.action.value)
    _check_query(route, request)
    call = Call(await _as_of(desk, route, request), request, who)
    if route.body is not None and not (await request.body()).strip():
        raise Problem(422, "this call needs a body", field="body", limit="application/json as the API describes it")
    if decoder is None and acts and not route.is_raw:
        _require_nothing(await request.body())
    if decoder is not None:
        call.body = _decoded(decoder, await request.body(), request.headers.get("content-type", ""))
    if acts and route.action is not None and who is not None and not route.is_raw:
        with act():
            answer = await _act(desk, route, call, subject)
    else:
        answer = await route.handler(call)
    status = 202 if isinstance(answer, Waiting) else 200
    response = Response(ENCODE(answer), status, media_type="application/json")
    if call.cookie is not None:
        _set_cookie(response, call.cookie, desk.is_secure)
    return response


def _check_query(route: Route, request: Request) -> None:
    """Refuse a parameter that the route doesn't have: misspelt, it would be passed over and the answer another."""
    known = [name for name, _ in route.query] + (["as_of"] if route.action is not None else [])
    for name in request.query_params:
        if name not in known:
            limit = f"one of {', '.join(known)}" if known else "no parameters"
            value = request.query_params[name][:80]
            raise Problem(422, "there is no such parameter here", field=name[:80], value=value, limit=limit)


def _require_nothing(body: bytes) -> None:
    """Refuse fields where a call takes none. Raises Problem naming the first."""
    try:
        sent = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, f"not JSON: {error}") from error
    if sent not in ({}, None):
        field = next(iter(sent)) if isinstance(sent, dict) else "body"
        raise Problem(422, "this call takes no fields", field=field[:80], limit="an empty body")


async def _as_of(desk: Desk, route: Route, request: Request) -> Desk:
    """Return the desk, or where `as_of` names a past instant the desk as it was known then."""
    if route.method != "GET" and "as_of" in request.query_params:
        raise Problem(422, "the past can't be changed", field="as_of")
    asked = Call(desk, request, None).asked_of(route.instants)
    if asked is None:
        return desk
    name, at_ns = asked
    then = await desk.reader.at(at_ns)
    if isinstance(then, Refusal) and then.field == "as_of":
        then = msgspec.structs.replace(then, field=name)
    return dataclasses.replace(desk, reader=good(then))


async def _act(desk: Desk, route: Route, call: Call, subject: str) -> Any:
    """Do an act, or let it wait for a second person; either is recorded before it is answered."""
    assert route.action is not None and call.who is not None
    record, asked = desk.operator.audited, {**_beside(route, call), **told(call.body), **_way(call.who)}
    try:
        why = route.two(call) if route.two is not None else ""
        if why:
            path = call.request.path_params
            answer = good(desk.second.ask(route, path, subject, call.body, call.name, call.who.session, why))
        else:
            answer = await route.handler(call)
    except (Problem, KeyError) as error:
        said = error.detail if isinstance(error, Problem) else "there is no such thing"
        await record(call.name, route.audited_as, subject, f"refused: {said}", asked)
        raise
    if isinstance(answer, Waiting):
        asked = {**asked, WAITING_KEY: answer.id}
    outcome = WAITS if why else "done"
    await record(call.name, route.audited_as, subject or route.path, outcome, asked)
    return answer


def _beside(route: Route, call: Call) -> dict[str, str]:
    """Return what a path names beside its subject: which token of an account."""
    names = call.request.path_params.items()
    return {key: str(value)[:200] for key, value in names if route.subject and key != route.subject}


def _way(who: Who) -> dict[str, str]:
    """Return what the record of an act says of how somebody came: by a token it may have been a program."""
    return {"via": "token"} if who.is_token else {}


def told(body: Any) -> dict[str, str]:
    """Return what an act was asked with, for its record; never a secret."""
    if body is None:
        return {}
    if isinstance(body, list):
        return {"count": str(len(body)), **{str(at): str(one)[:200] for at, one in enumerate(body[:20])}}
    fields = msgspec.structs.asdict(body)
    return {key: str(value)[:200] for key, value in fields.items() if key not in SECRET_FIELDS}


def _decoded(decoder: Any, body: bytes, content_type: str) -> Any:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "send application/json", field="content-type", value=content_type[:80])
    try:
        made = decoder.decode(body)
        refuse_control(body)
        return made
    except msgspec.ValidationError as error:
        raise malformed(str(error), body) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, f"not JSON: {error}") from error


def _set_cookie(response: Response, cookie: str, is_secure: bool) -> None:
    if cookie:
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=is_secure, path="/")
    else:
        response.delete_cookie(COOKIE, path="/")


def _fixed(body: bytes, media_type: str) -> Handler:
    async def serve(request: Request) -> Response:
        return Response(body, media_type=media_type)

    return serve


def _health(reader: Reader) -> Handler:
    async def serve(request: Request) -> Response:
        shell = reader.shell()
        body = {"ok": shell.journal_is_healthy, "revision": shell.revision}
        return Response(ENCODE(body), 200 if shell.journal_is_healthy else 503, media_type="application/json")

    return serve


def _metrics(desk: Desk, metrics: Metrics) -> Handler:
    async def serve(request: Request) -> Response:
        who = who_asks(desk, request.headers, request.cookies)
        if who is None or not may(who.roles, Action.SEE_METRICS):
            status = 401 if who is None else 403
            return Problem(status, "metrics need a session or token that may see them").response()
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return serve


def _bundle() -> dict[str, Path]:
    """Return the files of the bundle by their path: what is not among them is never looked for on disk."""
    return {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}


def _screens(bundle: dict[str, Path]) -> Handler:
    async def serve(request: Request) -> Response:
        """Serve a file of the bundle, or the one page for every screen's path."""
        name = str(request.path_params["path"])
        if name.startswith("api/"):
            return Problem(404, "there is no such route", value=f"/{name[:200]}").response()
        if name in bundle:
            lasting = "public, max-age=31536000, immutable" if name.startswith("assets/") else "no-cache"
            return FileResponse(bundle[name], headers={"cache-control": lasting})
        if "." in name.rpartition("/")[2]:
            return Problem(404, "there is no such file", value=f"/{name[:200]}").response()
        if "index.html" not in bundle:
            return Problem(404, "the screens are not built: run `make console`").response()
        return FileResponse(bundle["index.html"], media_type=SCREENS_TYPE, headers={"cache-control": "no-cache"})

    return serve


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    text = "there is no such route" if status == 404 else "the route takes another method"
    return Problem(status, text, value=request.url.path[:200]).response()
