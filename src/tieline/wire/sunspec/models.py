"""SunSpec models read from their JSON definitions: where each point lies, and how its registers become a value.

Offsets, types, scale factors and "not implemented" sentinels as in the SunSpec Device Information Model Specification
V1.1, sections 4.2 and 5. Only the fixed part of a model is read; repeating groups are passed over.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARKER = (0x5375, 0x6E53)  # "SunS"
MOST_SCALE = 10  # a sunssf lies within -10 to 10 (Device Information Model Specification V1.1, 4.2.8)
END = 0xFFFF
_NOT_THERE: dict[str, int] = {
    "int16": 0x8000, "uint16": 0xFFFF, "enum16": 0xFFFF, "bitfield16": 0xFFFF, "acc16": 0, "sunssf": 0x8000,
    "int32": 0x80000000, "uint32": 0xFFFFFFFF, "enum32": 0xFFFFFFFF, "bitfield32": 0xFFFFFFFF, "acc32": 0,
    "int64": 1 << 63, "uint64": (1 << 64) - 1, "acc64": 0, "pad": 0x8000, "count": 0xFFFF,
}  # fmt: skip


class ModelError(ValueError):
    """Registers that don't fit a model, or a value that its registers can't hold."""


@dataclass(frozen=True, slots=True)
class Field:
    """One point of a model: its first register counted from the model's ID, its type, size and scale factor."""

    name: str
    offset: int
    size: int
    kind: str
    scale: str | int | None


@dataclass(frozen=True, slots=True)
class Model:
    """The fixed part of one model."""

    id: int
    name: str
    size: int
    fields: Mapping[str, Field]

    def field(self, name: str) -> Field:
        """Return a field. Raises ModelError where the model has none of that name."""
        try:
            return self.fields[name]
        except KeyError:
            raise ModelError(f"model {self.id} has no point {name}") from None


def parse_model(text: str) -> Model:
    """Return the model in a JSON definition (the format of the SunSpec models repository).

    Raises:
        ModelError: It is not one.
    """
    try:
        whole: dict[str, Any] = json.loads(text)
        group = whole["group"]
        fields: dict[str, Field] = {}
        offset = 0
        for point in group["points"]:
            fields[point["name"]] = Field(point["name"], offset, point["size"], point["type"], point.get("sf"))
            offset += point["size"]
        for inner in group.get("groups", []):
            if inner.get("count", 1) in (1, None) and inner.get("type") == "sync":
                for point in inner["points"]:
                    name = f"{inner['name']}.{point['name']}"
                    fields[name] = Field(name, offset, point["size"], point["type"], point.get("sf"))
                    offset += point["size"]
        return Model(int(whole["id"]), group["name"], offset, fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a model definition: {error}") from error


def integer(kind: str, registers: Sequence[int]) -> int | None:
    """Return the integer in a point's registers, None where it says "not implemented"."""
    raw = 0
    for register in registers:
        raw = raw << 16 | register
    if raw == _NOT_THERE.get(kind) and not kind.startswith("acc"):
        return None
    bits = 16 * len(registers)
    signed = kind.startswith("int") or kind == "sunssf"
    return raw - (1 << bits) if signed and raw >> (bits - 1) else raw


def read_value(model: Model, name: str, registers: Sequence[int]) -> float | str | None:
    """Return the SI value of a point from all registers of its model; None: not implemented.

    Raises:
        ModelError: The registers are too few, or the model has no such point.
    """
    field = model.field(name)
    part = registers[field.offset : field.offset + field.size]
    if len(part) != field.size:
        raise ModelError(f"model {model.id}: {len(registers)} registers don't reach {name}")
    if field.kind == "string":
        return struct.pack(f">{field.size}H", *part).split(b"\0", 1)[0].decode("ascii", "replace")
    raw = integer(field.kind, part)
    exponent = scale_of(model, field, registers)
    return None if raw is None or exponent is None else raw * 10.0**exponent


def scale_of(model: Model, field: Field, registers: Sequence[int]) -> int | None:
    """Return the exponent of a point's scale factor; None where the device says that it has none.

    Raises:
        ModelError: It is none that SunSpec knows.
    """
    if field.scale is None:
        return 0
    if isinstance(field.scale, int):
        return field.scale
    at = model.field(field.scale)
    part = registers[at.offset : at.offset + 1]
    if not part:
        raise ModelError(f"model {model.id}: {len(registers)} registers don't reach {field.scale}")
    exponent = integer("sunssf", part)
    if exponent is not None and abs(exponent) > MOST_SCALE:
        raise ModelError(f"model {model.id}: {field.scale} = {exponent}: -{MOST_SCALE} to {MOST_SCALE} is asked for")
    return exponent


def write_value(model: Model, name: str, value: float | str | None, registers: Sequence[int]) -> tuple[int, ...]:
    """Return the registers of a point for an SI value (None: not implemented), by the scale factors in `registers`.

    Raises:
        ModelError: The value is not finite, or too large for its type and scale.
    """
    field = model.field(name)
    if isinstance(value, str):
        raw_text = value.encode("ascii", "replace")[: 2 * field.size].ljust(2 * field.size, b"\0")
        return struct.unpack(f">{field.size}H", raw_text)
    if value is None:
        return _split(_NOT_THERE.get(field.kind, 0), field.size)
    exponent = scale_of(model, field, registers)
    if exponent is None or not math.isfinite(value):
        raise ModelError(f"model {model.id}: {name} = {value}: give a finite number where a scale factor is")
    raw = round(value / 10.0**exponent)
    bits = 16 * field.size
    signed = field.kind.startswith("int") or field.kind == "sunssf"
    low, high = (-(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 2)
    if not low <= raw <= high:
        raise ModelError(
            f"model {model.id}: {name} = {value}: give {low * 10.0**exponent:g} to {high * 10.0**exponent:g}"
        )
    return _split(raw % (1 << bits), field.size)


def _split(raw: int, size: int) -> tuple[int, ...]:
    return tuple(raw >> (16 * (size - 1 - at)) & 0xFFFF for at in range(size))


def build(model: Model, values: Mapping[str, float | str | None]) -> list[int]:
    """Return all registers of a model: ID, length and the given points; others say "not implemented".

    Scale factors among `values` are given as exponents, and are laid down first.
    """
    registers = [0] * model.size
    for name, field in model.fields.items():
        empty = 0 if field.kind in ("pad", "string") else _NOT_THERE.get(field.kind, 0)
        registers[field.offset : field.offset + field.size] = _split(empty, field.size)
        if field.kind == "sunssf" and name in values:
            registers[field.offset] = int(values[name] or 0) & 0xFFFF
    registers[0], registers[1] = model.id, model.size - 2
    for name, value in values.items():
        field = model.field(name)
        if field.kind != "sunssf":
            registers[field.offset : field.offset + field.size] = write_value(model, name, value, registers)
    return registers
