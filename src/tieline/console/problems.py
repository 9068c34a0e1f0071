"""Errors as RFC 9457 problem details, naming the field, the value and the limit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.responses import Response

from tieline.desk.screens import ONCE
from tieline.resource.claim import Refusal

TITLES = {
    400: "Not understood", 401: "Not signed in", 403: "Not allowed", 404: "Not found", 405: "Not that way",
    409: "Refused", 413: "Too large", 415: "Not JSON", 422: "Not valid", 429: "Too many tries", 500: "Our fault",
    503: "Not now",
}  # fmt: skip

LATER = {"retry-after": "5"}
"""Beside a 503 for a disk or database that takes nothing: when to come again, in seconds."""
_EXPECTED = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`")
_KINDS = {
    "float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "null": "null",
    "array": "a list", "object": "an object",
}  # fmt: skip


PLAIN = "text without control characters, line separators and marks of direction (tab and end of line may stand)"
TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters with Unicode's property Bidi_Control: marks, embeddings, overrides and isolates."""
_SIGNS = rb"\u00", rb"\u06", rb"\u20", rb"\b", rb"\f", b"\x7f", b"\xc2", b"\xd8", b"\xe2\x80", b"\xe2\x81"
"""One of these stands in each body that holds such a character, escaped or not."""


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

    So are Unicode's line and paragraph separators, which break a line where the record has one, and what turns the
    direction of writing (UAX #9): "works" could be read as another reason than the one that was recorded.

    Raises:
        Problem: 422 naming the field and the character.
    """
    if not any(sign in body for sign in _SIGNS):  # a body of plain ASCII is not read again
        return
    for path, text in _texts(msgspec.json.decode(body), ""):
        bad = next((one for one in text if is_control(one)), None)
        if bad is not None:
            raise Problem(422, f"{path}: holds a control character", field=path, value=f"U+{ord(bad):04X}", limit=PLAIN)


def is_control(one: str) -> bool:
    """Return whether a character controls how others are read.

    >>> [is_control(one) for one in ("\\x07", "\\u202e", "\\u2028", "\\t", "é")]
    [True, True, True, False, False]
    """
    return one not in "\t\n\r" and (unicodedata.category(one) in ("Cc", "Zl", "Zp") or one in TURNS)


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
    """Return a refusal of the desk as a problem: 404 for what is unknown, 403 for two people, 422 for a key that was
    another call's, else 409."""
    status = {"two people": 403, ONCE: 422}.get(refusal.rule, 409)
    status = 404 if refusal.reason.startswith("no such") else status
    return Problem(
        status, refusal.reason, field=refusal.field, value=refusal.value, limit=refusal.limit, holder=refusal.holder,
        rule=refusal.rule,
    )  # fmt: skip
