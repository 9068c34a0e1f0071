"""Reads rows of data strictly: unknown keys are refused with their path, and every fault is told, not the first."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from tieline.errors import ConfigError

Row = TypeVar("Row")
Instant = Annotated[datetime, Meta(tz=True)]
"""An instant with an offset; a naive one is refused."""
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$")]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Seconds = Annotated[int, Meta(ge=0, le=366 * 86_400)]
Hours = Annotated[float, Meta(ge=0, le=8_784)]
Frac = Annotated[float, Meta(ge=0, le=1)]
Watts = Annotated[float, Meta(ge=0, le=1e12)]
_AT = re.compile(r"(?P<says>.*?)(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)


class Faulty(ConfigError):
    """A file whose every fault is named; `faults` holds them one by one."""

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        super().__init__(f"{name}: nothing was taken: " + "; ".join(faults))
        self.faults = tuple(faults)


def document(text: str, name: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a TOML text as tables of rows.

    Raises:
        ConfigError: It is no TOML, or holds a table that is not one of `tables`, or one that is no list of rows.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {error}") from error
    faults = [f"{name}: $.{key}: is unknown: give {', '.join(tables)}" for key in found if key not in tables]
    faults += [
        f"{name}: $.{key}: give rows, each under [[{key}]]"
        for key in found
        if key in tables and not (isinstance(found[key], list) and all(isinstance(row, dict) for row in found[key]))
    ]
    if faults:
        raise Faulty(name, faults)
    return found


def shipped_rules(file: str, form: type[Row]) -> list[Row]:
    """Return the rules of one of this room's own tables. Raises ConfigError naming a row that is none."""
    text = (files("tieline.contract") / "rules" / file).read_text(encoding="utf-8")
    try:
        return [msgspec.convert(row, form) for row in tomllib.loads(text)["rule"]]
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from error


def take(rows: Iterable[Any], form: Any, path: str, faults: list[str]) -> list[Any]:
    """Return the rows that are of a form; what is wrong with the others is added to `faults`, each with its path."""
    taken = []
    for at, row in enumerate(rows):
        try:
            taken.append(msgspec.convert(row, form))
        except msgspec.ValidationError as error:
            faults.append(placed(error, f"{path}[{at}]"))
            taken.append(None)
    return taken


def placed(error: msgspec.ValidationError, path: str) -> str:
    """Return what a validation says, behind the path of the whole document."""
    match = _AT.fullmatch(str(error))
    inside = (match["path"] or "$")[1:] if match else ""
    return f"{path}{inside}: {match['says'] if match else error}"


class Span(Struct, frozen=True):
    """A half-open stretch [start, end) of anything that has an order; an end of None is open."""

    start: Any
    end: Any = None


def overlaps(one: Span, other: Span) -> bool:
    """Return whether two stretches share anything.

    >>> overlaps(Span(1, 3), Span(3, 5)), overlaps(Span(1), Span(3, 5))
    (False, True)
    """
    return (other.end is None or one.start < other.end) and (one.end is None or other.start < one.end)
