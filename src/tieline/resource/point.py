"""The catalogue of points, read from `points.toml`: what can be measured or told, in which unit and sign."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError

# Far beyond what there is, near enough to tell a slip of units or a broken register; W, var and VA end at a terawatt.
_OF_UNIT = {
    "W": (-1e12, 1e12), "var": (-1e12, 1e12), "VA": (0.0, 1e12), "Wh": (-1e18, 1e18), "V": (0.0, 1e7),
    "A": (-1e6, 1e6), "Hz": (0.0, 1e3), "degC": (-273.15, 1e4), "s": (0.0, 1e10),
    "h": (0.0, 1e7), "W/m2": (-100.0, 1e5), "W/s": (0.0, 1e12),
}  # fmt: skip
_OF_DTYPE = {"bool": (0.0, 1.0), "uint16": (0.0, 65_535.0), "uint32": (0.0, 4_294_967_295.0)}
_SLACK = 1e-6
"""What rounding on the way may add: a full battery that says 1.0000001 is full."""


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
    low: float | None = None
    high: float | None = None
    iec61850: str = ""
    sunspec: str = ""
    sep2: str = ""
    mesa: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that its quantity can be; a value outside is no reading of it."""
        low, high = _OF_DTYPE.get(self.dtype) or _OF_UNIT.get(self.unit, (-math.inf, math.inf))
        return (low if self.low is None else self.low), (high if self.high is None else self.high)


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


@cache
def ends_by_code() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the most of each code, rounding allowed for, as columns; a code that is free has no ends."""
    size = max(by_code()) + 1
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    for point in points().values():
        low[point.code], high[point.code] = point.ends[0] - _SLACK, point.ends[1] + _SLACK
    return low, high


def code(key: str) -> int:
    """Return the code of a point. Raises KeyError where there is none."""
    return points()[key].code


def markdown() -> str:
    """Return the catalogue as a Markdown table."""
    rows = [
        "| point | code | unit | range | sign | access | says | IEC 61850 | SunSpec | IEEE 2030.5 | IEEE 1815.2 |",
        "|---" * 11 + "|",
    ]
    rows += [
        f"| `{p.key}` | {p.code} | {p.unit} | {p.ends[0]:g} to {p.ends[1]:g} | {p.sign or '-'} "
        f"| {p.access} | {p.says} | {p.iec61850} | {p.sunspec} "
        f"| {p.sep2} | {p.mesa} |"
        for p in points().values()
    ]
    return "\n".join(rows) + "\n"


def json_schema() -> dict[str, object]:
    """Return the JSON schema of an object that holds any points by key."""
    types = {"float64": "number", "bool": "boolean", "uint16": "integer", "uint32": "integer"}
    properties = {
        p.key: {
            "type": types[p.dtype],
            "minimum": p.ends[0],
            "maximum": p.ends[1],
            "description": f"{p.says} ({p.unit})",
        }
        for p in points().values()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}
