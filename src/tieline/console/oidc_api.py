"""The two addresses of an identity provider's way in: `/oidc/login` leads there, `/oidc/callback` leads back."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tieline.console.auth import oidc_login
from tieline.console.auth.oidc_login import OidcLogin
from tieline.console.auth.sessions import COOKIE
from tieline.console.table import Desk, Handler
from tieline.resource.claim import Refusal

PATH = "/oidc"


def ways_in(desk: Desk, oidc: OidcLogin | None) -> list[BaseRoute]:
    """Return the routes of a provider; none where there is no provider."""
    if oidc is None:
        return []
    return [
        Route(f"{PATH}/login", _login(desk, oidc), methods=["GET"]),
        Route(f"{PATH}/callback", _callback(desk, oidc), methods=["GET"]),
    ]


def _login(desk: Desk, oidc: OidcLogin) -> Handler:
    async def serve(request: Request) -> Response:
        begun = await oidc.begin()
        if isinstance(begun, Refusal):
            return _sorry(begun)
        address, browser = begun
        response = RedirectResponse(address, 302, {"cache-control": "no-store"})
        # Lax: the way back begins on the provider's page, and a strict cookie would stay behind.
        response.set_cookie(
            oidc_login.COOKIE, browser, int(oidc_login.LASTS_S), httponly=True, samesite="lax", secure=desk.is_secure,
            path=PATH,
        )  # fmt: skip
        return response

    return serve


def _callback(desk: Desk, oidc: OidcLogin) -> Handler:
    async def serve(request: Request) -> Response:
        who = await oidc.finish(request.query_params, request.cookies.get(oidc_login.COOKIE, ""))
        peer = {"peer": request.client.host if request.client else ""}
        if isinstance(who, Refusal):
            # A stranger's guess at a state leaves no record: the journal must not be filled from outside.
            if who.field != "state":
                await desk.operator.audited("", "sign in by provider", "", f"refused: {who.reason}", peer)
            return _sorry(who)
        await desk.operator.audited(who.name, "sign in by provider", "", "done", peer)
        response = RedirectResponse("/", 303, {"cache-control": "no-store"})
        cookie = await desk.sessions.open(who.name, who)
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=desk.is_secure, path="/")
        response.delete_cookie(oidc_login.COOKIE, path=PATH)
        return response

    return serve


def _sorry(refusal: Refusal) -> Response:
    """Lead back to the sign-in page, which says why in its own words (behind the #, so that no server logs it)."""
    said = refusal.reason + (f": {refusal.value}" if refusal.value else "")
    response = RedirectResponse(f"/#refused={quote(said[:300])}", 303, {"cache-control": "no-store"})
    response.delete_cookie(oidc_login.COOKIE, path=PATH)
    return response
