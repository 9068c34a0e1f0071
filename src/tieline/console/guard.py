"""What guards every answer and request: security headers, a limit on bodies, no other site's requests."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tieline.console.problems import Problem

MOST_BYTES = 1_000_000
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def same_origin(headers: Any) -> bool:
    """Return whether a request comes from our own pages, or from a program (which names no origin)."""
    origin = headers.get("origin")
    if origin is None:
        return bool(headers.get("sec-fetch-site", "none") in ("none", "same-origin"))
    return bool(str(origin).partition("://")[2] == headers.get("host", ""))


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it where its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                headers += HEADERS
                if scope["path"].startswith("/api/"):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > MOST_BYTES:
            await _too_large()(scope, receive, guarded)
            return
        seen = 0
        is_over = False

        async def counted() -> Message:
            nonlocal seen, is_over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                is_over = True
                raise Problem(413, "the body is too large", limit=f"{MOST_BYTES} bytes")
            return message

        await self._app(scope, counted, guarded)


def _too_large() -> Any:
    return Problem(413, "the body is too large", limit=f"{MOST_BYTES} bytes").response()
