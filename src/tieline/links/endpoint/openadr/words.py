"""The VTN's answers: JSON, and problem objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response


def json_of(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(body), status, headers=dict(headers or {}), media_type="application/json")


def problem(
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    error: str | None = None,
) -> Response:
    """Return a problem object; `error` adds the word that RFC 6749 (5.2) asks for at the token's end-point."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if error is not None:
        body |= {"error": error, "error_description": detail}
    media = "application/problem+json"
    return Response(msgspec.json.encode(body), status, headers=dict(headers or {}), media_type=media)
