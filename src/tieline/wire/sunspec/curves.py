"""SunSpec models that store curves or controls, of which one is adopted: 705, 706 and 711 of the 700 series.

Theory of operation. Such a model has a head (switch, request, result, how many it stores) and a repeating group of
curves, each of points again; how many there are each device says for itself. So the layout is made of a model's
definition and of a device's own head: `Crv[2].Pt[1].V` is a point like any other, its scale factor in the head. The
first curve is read-only and shows what is in force; another is written, and adopted by its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tieline.wire.sunspec.models import Field, Model, ModelError, integer, parse_model, with_scales, write_value

ACTIVE = 1
"""The curve that shows what is in force."""
IN_PROGRESS, COMPLETED, FAILED = 0, 1, 2
MOST_CURVES, MOST_POINTS = 64, 64
_WRITABLE = 0


@dataclass(frozen=True, slots=True)
class Bank:
    """The layout of a model's stored curves as one device has them.

    `group` is what a curve is called, `request` and `result` the points by which one is adopted; `writable` are the
    points of a curve that may be written, by the names that they have within it.
    """

    model: Model
    group: str
    request: str
    result: str
    curves: int
    points: int
    writable: tuple[str, ...]

    def name(self, curve: int, point: str) -> str:
        """Return the name of a point of a curve in the whole model."""
        return f"{self.group}[{curve}].{point}"

    def has(self, curve: int, point: str, registers: Sequence[int]) -> bool:
        """Return whether a device implements a point of a curve."""
        found = self.model.fields.get(self.name(curve, point))
        return found is not None and integer(found, registers) is not None

    def words(self, curve: int, point: str, registers: Sequence[int]) -> tuple[int, ...]:
        """Return the registers of a point of a curve."""
        found = self.model.field(self.name(curve, point))
        return tuple(registers[found.offset : found.offset + found.size])

    def is_writable(self, curve: int, registers: Sequence[int]) -> bool:
        """Return whether a device lets a curve be written."""
        return integer(self.model.field(self.name(curve, "ReadOnly")), registers) == _WRITABLE

    def contents(self, curve: int, registers: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return what a curve holds: the registers of each point that is implemented and may be written."""
        return {name: self.words(curve, name, registers) for name in self.writable if self.has(curve, name, registers)}

    def holds(self, curve: int, wished: Mapping[str, tuple[int, ...]], registers: Sequence[int]) -> bool:
        """Return whether a curve holds what is wished of it."""
        return all(self.words(curve, name, registers) == raw for name, raw in wished.items())

    def encode(self, values: Mapping[str, float], registers: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the registers of a curve's points, by a device's own scale factors.

        Raises:
            ModelError: A point that the layout has not, or a value that its registers can't hold.
        """
        return {
            name: write_value(self.model, self.name(ACTIVE, name), value, registers) for name, value in values.items()
        }

    def runs(self, curve: int, wished: Mapping[str, tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
        """Return what is written for a curve, in order: (register counted from the model's ID, words)."""
        found: list[tuple[int, tuple[int, ...]]] = []
        places = sorted((self.model.field(self.name(curve, name)).offset, raw) for name, raw in wished.items())
        for at, raw in places:
            if found and found[-1][0] + len(found[-1][1]) == at:
                found[-1] = found[-1][0], found[-1][1] + raw
            else:
                found.append((at, raw))
        return found


def bank_of(text: str, head: Sequence[int]) -> Bank:
    """Return the layout of a device's curves, from a model's JSON definition and the registers of its fixed part.

    Raises:
        ModelError: No model of stored curves, or a head that can't be: no curve, too many, or another length.
    """
    whole, plain = json.loads(text)["group"], parse_model(text)
    groups = [group for group in whole.get("groups", []) if group.get("count") in plain.fields]
    if len(groups) != 1:
        raise ModelError(f"model {plain.id} stores no curves")
    count = groups[0]["count"]
    curves = _count(plain, count, head, MOST_CURVES)
    points = _count(plain, "NPt", head, MOST_POINTS) if "NPt" in plain.fields else 0
    bank = laid_out(text, curves, points)
    length = integer(plain.field("L"), head)
    if length is not None and length < bank.model.size - 2:
        raise ModelError(f"model {plain.id}: length {length}: {curves} of {points} points take {bank.model.size - 2}")
    return bank


def laid_out(text: str, curves: int, points: int) -> Bank:
    """Return the layout of so many curves of so many points. Raises ModelError as `bank_of` does."""
    whole, plain = json.loads(text)["group"], parse_model(text)
    fields, offset, writable = dict(plain.fields), plain.size, list[str]()
    groups = [group for group in whole.get("groups", []) if group.get("count") in plain.fields]
    if len(groups) != 1:
        raise ModelError(f"model {plain.id} stores no curves")
    name = groups[0]["name"]
    for curve in range(1, curves + 1):
        for where, point in _points(groups[0], points):
            key = f"{name}[{curve}].{where}"
            fields[key] = Field(key, offset, point["size"], point["type"], point.get("sf"))
            offset += point["size"]
            if curve == ACTIVE and point.get("access") == "RW":
                writable.append(where)
    request, result = f"Adpt{name}Req", f"Adpt{name}Rslt"
    model = Model(plain.id, plain.name, offset, with_scales(fields))
    for needed in (request, result, "Ena", f"{name}[1].ReadOnly"):
        model.field(needed)
    return Bank(model, name, request, result, curves, points, tuple(writable))


def _points(group: Mapping[str, Any], points: int) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield the points of one curve in their order, each with its name within the curve."""
    for point in group["points"]:
        yield point["name"], point
    for inner in group.get("groups", []):
        for nth in range(1, points + 1):
            for point in inner["points"]:
                yield f"{inner['name']}[{nth}].{point['name']}", point


def _count(model: Model, name: str, head: Sequence[int], most: int) -> int:
    found = integer(model.field(name), head)
    if found is None or not 1 <= found <= most:
        raise ModelError(f"model {model.id}: {name} = {found}: 1 to {most} is asked for")
    return found
