"""Takes a refusal apart: each says in words what is wrong; here are its field, value and limit, for programs."""

from __future__ import annotations

import re

_VALUE = r"(?P<value>'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s:]+)"
_FORMS = [
    re.compile(form, re.DOTALL)
    for form in (
        rf"(?:.*?: )?[\w.]+ {_VALUE} at (?P<field>\$[^\s:]*)(?: of .*?)?: (?P<limit>.*)",
        rf"(?:.*?: )?(?P<field>[^\s:]+(?: [^\s:]+)?) = {_VALUE}: (?P<limit>.*)",
        rf"(?:.*?: )?{_VALUE} at (?P<field>\$[^\s:]*): (?P<limit>.*)",
        rf"(?P<field>--[\w-]+(?:, --[\w-]+)*)(?: {_VALUE})?: (?P<limit>.*)",
        r"(?P<field>\$[^\s:]+):? (?:\w+ )?(?P<value>'[^']*'|\d+) (?P<limit>.*)",
        rf"(?P<field>[\w ]+?) {_VALUE} (?:is unknown|can't be used): (?P<limit>.*)",
        r"(?:.*?: )?(?P<limit>.*) - at `(?P<field>\$[^`]*)`(?: \(.*\))?",
        r"(?:.*?: )?(?P<field>\$[^\s:]+)(?::| (?=is |holds ))(?P<limit>.*)",
    )
]


def fields_of(text: str) -> dict[str, str | None]:
    """Return a refusal as `error` (its whole words), `field`, `value` and `limit`; null where it names none.

    >>> fields_of("port 70000 at $.port: give 0 to 65535")["limit"]
    'give 0 to 65535'
    """
    for form in _FORMS:
        if found := form.fullmatch(text):
            parts = found.groupdict()
            value = parts.get("value")
            bare = value[1:-1] if value and value[0] == value[-1] and value[0] in "'\"" and len(value) > 1 else value
            limit = parts["limit"].strip()
            return {"error": text, "field": parts["field"], "value": bare, "limit": limit}
    return {"error": text, "field": None, "value": None, "limit": None}
