"""Takes a refusal apart: each says in words what is wrong; here are its field, value and limit, for programs."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
_OF_A_KEY = re.compile(r"(?:unknown|missing required) field `(?P<key>[^`]+)`")
_OF_A_VALUE = re.compile(r"(?:'(?P<quoted>[^']*)'|(?P<bare>-?\d[\w.]*)) is not ", re.DOTALL)


def fields_of(text: str) -> dict[str, str | None]:
    """Return a refusal as `error` (its whole words), `field`, `value` and `limit`; null where it names none.

    >>> fields_of("port 70000 at $.port: give 0 to 65535")["limit"]
    'give 0 to 65535'
    >>> fields_of("a.toml: Object contains unknown field `prt` - at `$`")["field"]
    '$.prt'
    """
    for form in _FORMS:
        if found := form.fullmatch(text):
            parts = found.groupdict()
            value = parts.get("value")
            bare = value[1:-1] if value and value[0] == value[-1] and value[0] in "'\"" and len(value) > 1 else value
            limit, field = parts["limit"].strip(), parts["field"]
            if inner := _OF_A_KEY.search(limit):  # the path before it is the table's that the key isn't known in
                field = f"{field}.{inner['key']}"
            return {"error": text, "field": field, "value": bare, "limit": limit}
    return {"error": text, "field": None, "value": None, "limit": None}


def given_in(words: Sequence[str]) -> dict[str, str]:
    """Return the value of each option in a verb's words; of one that is given twice the last.

    >>> given_in(["served", "--data", "works", "--out=x.csv", "--json"])
    {'--data': 'works', '--out': 'x.csv'}
    """
    found: dict[str, str] = {}
    for at, word in enumerate(words):
        name, joined, value = word.partition("=")
        if not name.startswith("--"):
            continue
        if joined:
            found[name] = value
        elif at + 1 < len(words) and not words[at + 1].startswith("--"):
            found[name] = words[at + 1]
    return found


def refusal_of(text: str, words: Sequence[str]) -> dict[str, str | None]:
    """Return a refusal as `fields_of` does; where it begins with a path that was given, by its option and value.

    >>> refusal_of("works/registry.bin: no registry", ["why", "x", "--data", "works"])["field"]
    '--data'
    """
    said, given = fields_of(text), given_in(words)
    if said["field"] is not None:
        said["value"] = said["value"] if said["value"] is not None else given.get(said["field"])
        return said
    paths = {word: None for word in words if not word.startswith("--")} | {value: name for name, value in given.items()}
    named = [path for path in paths if path and text.startswith((f"{path}:", f"{path.rstrip('/')}/"))]
    if not named:
        return said
    path = max(named, key=len)
    return {"error": text, "field": paths[path], "value": path, "limit": text[len(path) :].partition(": ")[2] or None}


def value_of(option: str | None, message: str, words: Sequence[str]) -> str | None:
    """Return what was given for an option or argument that can't be used, as its words or the message have it."""
    if option is not None and option in (given := given_in(words)):
        return given[option]
    found = _OF_A_VALUE.match(message)
    return None if found is None else found["quoted"] if found["quoted"] is not None else found["bare"]
