"""The VTN's answers: JSON, and problem objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from tieline.wire.openadr3.objects import ObjectError

WRONG_VALUE = "/openapi.json#/components/schemas/WrongValue"
"""The type of a problem of one field: it has the members `field` (a path), `value` and `limit`, too."""


def json_of(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(body), status, headers=dict(headers or {}), media_type="application/json")


def problem(
    status: int,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    error: str | None = None,
    wrong: ObjectError | None = None,
) -> Response:
    """Return a problem object (RFC 9457).

    Args:
        status: Of HTTP.
        title: What kind it is.
        detail: What is wrong, for a person.
        headers: Beside it.
        error: The word that RFC 6749 (5.2) asks for at the token's end-point.
        wrong: Of what in a body it is: where its field is known, the problem has a type, and names it for programs.
    """
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if error is not None:
        body |= {"error": error, "error_description": detail}
    if wrong is not None and wrong.field:
        body |= {"type": WRONG_VALUE, "field": wrong.field, "value": wrong.value, "limit": wrong.limit}
    media = "application/problem+json"
    return Response(msgspec.json.encode(body), status, headers=dict(headers or {}), media_type=media)
