"""The catalogue of points, read from `points.toml`: what can be measured or told, in which unit and sign."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """A named quantity of a resource, with its references in the standards."""

    key: str
    code: int
    unit: str
    sign: Literal["grid", ""]
    access: Literal["r", "rw"]
    dtype: Literal["float64", "bool", "uint16", "uint32"]
    stale_after_s: float
    says: str
    iec61850: str = ""
    sunspec: str = ""
    sep2: str = ""
    mesa: str = ""


def load(text: str) -> dict[str, Point]:
    """Return the points of a catalogue's text, by key.

    Raises:
        ConfigError: A row is not a point, or two points share a code; the path is named.
    """
    found: dict[str, Point] = {}
    codes: dict[int, str] = {}
    for key, row in tomllib.loads(text).items():
        try:
            point = msgspec.convert({"key": key, **row}, Point)
        except msgspec.ValidationError as error:
            raise ConfigError(f"points.toml: {key}: {error}") from error
        if point.code in codes or not 0 < point.code < 65_536:
            raise ConfigError(f"points.toml: {key}.code = {point.code}: give a free code, 1 to 65535")
        codes[point.code] = key
        found[key] = point
    return found


@cache
def points() -> dict[str, Point]:
    """Return the catalogue by key."""
    return load((files("tieline.resource") / "points.toml").read_text(encoding="utf-8"))


@cache
def by_code() -> dict[int, Point]:
    """Return the catalogue by code."""
    return {point.code: point for point in points().values()}


def code(key: str) -> int:
    """Return the code of a point. Raises KeyError where there is none."""
    return points()[key].code


def markdown() -> str:
    """Return the catalogue as a Markdown table."""
    rows = [
        "| point | code | unit | sign | access | says | IEC 61850 | SunSpec | IEEE 2030.5 | IEEE 1815.2 |",
        "|---" * 10 + "|",
    ]
    rows += [
        f"| `{p.key}` | {p.code} | {p.unit} | {p.sign or '-'} | {p.access} | {p.says} | {p.iec61850} | {p.sunspec} "
        f"| {p.sep2} | {p.mesa} |"
        for p in points().values()
    ]
    return "\n".join(rows) + "\n"


def json_schema() -> dict[str, object]:
    """Return the JSON schema of an object that holds any points by key."""
    types = {"float64": "number", "bool": "boolean", "uint16": "integer", "uint32": "integer"}
    properties = {p.key: {"type": types[p.dtype], "description": f"{p.says} ({p.unit})"} for p in points().values()}
    return {"type": "object", "properties": properties, "additionalProperties": False}
