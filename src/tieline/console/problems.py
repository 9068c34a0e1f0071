"""Errors as RFC 9457 problem details, naming the field, the value and the limit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.responses import Response

from tieline.resource.claim import Refusal

TITLES = {
    400: "Not understood", 401: "Not signed in", 403: "Not allowed", 404: "Not found", 405: "Not that way",
    409: "Refused", 413: "Too large", 415: "Not JSON", 422: "Not valid", 429: "Too many tries", 500: "Our fault",
    503: "Not now",
}  # fmt: skip

_EXPECTED = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`")
_KINDS = {
    "float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "null": "null",
    "array": "a list", "object": "an object",
}  # fmt: skip


_ESCAPED = re.compile(rb"\\[ubf]|\x7f|\xc2")
PLAIN = "text without control characters (tab and end of line may stand)"


class Problem(Exception):
    """An answer that is an error; raised by handlers, sent as problem+json."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more

    def response(self) -> Response:
        """Return it as an HTTP response."""
        body: dict[str, Any] = {
            "type": "about:blank", "title": TITLES.get(self.status, "Error"), "status": self.status,
            "detail": self.detail, **{key: value for key, value in self.more.items() if value},
        }  # fmt: skip
        return Response(
            msgspec.json.encode(body), self.status, media_type="application/problem+json", headers=self.headers
        )


def malformed(said: str, body: bytes = b"") -> Problem:
    """Return what msgspec says of a body ("Expected `float`, got `null` - at `$.y`") in words of its field."""
    text, _, path = said.partition(" - at `")
    inner = text.split("field `", 1)[1].partition("`")[0] if "field `" in text else ""
    field = ".".join(part for part in (path.rstrip("`").removeprefix("$").lstrip("."), inner) if part)
    if match := _EXPECTED.fullmatch(text):
        text = f"give {_named(match['want'])}, not {_named(match['got'])}"
        if match["want"] == "int" and isinstance(value := _value(body, path), float):
            text = f"give a whole number, not {value!r}"
        elif match["want"] == "float" and match["got"] == "null":
            text = "give a finite number, not null"  # what a browser makes of one that is infinite
    elif text == "Number out of range":
        text = "give a finite number"
    elif inner:
        text = "is missing" if "missing" in text else "is unknown here"
    return Problem(422, f"{field}: {text}" if field else text, field=field)


def refuse_control(body: bytes) -> None:
    """Refuse text with a control character other than a tab or an end of line: logs, files and databases choke on it.

    JSON holds them as escapes alone, so that a body without one is not searched.

    Raises:
        Problem: 422 naming the field and the character.
    """
    if (
        b"\\u00" not in body
        and b"\\b" not in body
        and b"\\f" not in body
        and b"\x7f" not in body
        and b"\xc2" not in body
    ):
        return
    for path, text in _texts(msgspec.json.decode(body), ""):
        bad = next((one for one in text if unicodedata.category(one) == "Cc" and one not in "\t\n\r"), None)
        if bad is not None:
            raise Problem(422, f"{path}: holds a control character", field=path, value=f"U+{ord(bad):04X}", limit=PLAIN)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each text in what JSON made, names of fields too."""
    if isinstance(value, str):
        yield path or "body", value
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _texts(each, f"{path}[{at}]")
    elif isinstance(value, dict):
        for name, each in value.items():
            yield path or "body", name
            yield from _texts(each, f"{path}.{name}" if path else name)


def _value(body: bytes, path: str) -> Any:
    """Return what stands at a path of msgspec's (`$.y[2]`) in a body; None where it can't be found."""
    try:
        found = msgspec.json.decode(body)
        for name, at in re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", path):
            found = found[int(at)] if at else found[name]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError):
        return None
    return found


def _named(kinds: str) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds.split(" | "))


def good(answer: Any) -> Any:
    """Return an answer of the desk. Raises Problem where it is a refusal."""
    if isinstance(answer, Refusal):
        raise refused(answer)
    return answer


def refused(refusal: Refusal) -> Problem:
    """Return a refusal of the desk as a problem: 404 for what is unknown, 403 for two people, else 409."""
    status = 404 if refusal.reason.startswith("no such") else 403 if refusal.rule == "two people" else 409
    return Problem(
        status, refusal.reason, field=refusal.field, value=refusal.value, limit=refusal.limit, holder=refusal.holder,
        rule=refusal.rule,
    )  # fmt: skip
