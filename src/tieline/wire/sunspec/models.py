"""SunSpec models read from their JSON definitions: where each point lies, and how its registers become a value.

Offsets, types, scale factors and "not implemented" sentinels as in the SunSpec Device Information Model Specification
V1.1, sections 4.2 and 5. Only the fixed part of a model is read; repeating groups are passed over.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

MARKER = (0x5375, 0x6E53)  # "SunS"
MOST_SCALE = 10  # a sunssf lies within -10 to 10 (Device Information Model Specification V1.1, 4.2.8)
END = 0xFFFF
_TENS = {exponent: 10.0**exponent for exponent in range(-MOST_SCALE, MOST_SCALE + 1)}
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
    scale_at: int | None = None
    """The register of its scale factor; None: it has none, or a fixed one."""
    bits: int = field(init=False)
    is_signed: bool = field(init=False)
    absent: int | None = field(init=False)
    """What its registers hold where it is not implemented; None: they can't say so."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", 16 * self.size)
        object.__setattr__(self, "is_signed", self.kind.startswith("int") or self.kind == "sunssf")
        object.__setattr__(self, "absent", None if self.kind.startswith("acc") else _NOT_THERE.get(self.kind))


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
        return Model(int(whole["id"]), group["name"], offset, with_scales(fields))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a model definition: {error}") from error


def with_scales(fields: Mapping[str, Field]) -> dict[str, Field]:
    """Return the points with the register of each one's scale factor."""
    named = {name: point for name, point in fields.items() if isinstance(point.scale, str) and point.scale in fields}
    return {
        **fields,
        **{name: replace(point, scale_at=fields[str(point.scale)].offset) for name, point in named.items()},
    }


def integer(point: Field, registers: Sequence[int]) -> int | None:
    """Return the integer of a point in all registers of its model, None where it says "not implemented".

    Raises:
        ModelError: The registers are too few.
    """
    at = point.offset
    try:
        if point.size == 1:
            raw = registers[at]
        elif point.size == 2:
            raw = registers[at] << 16 | registers[at + 1]
        else:
            raw = 0
            for register in range(at, at + point.size):
                raw = raw << 16 | registers[register]
    except IndexError:
        raise ModelError(f"{len(registers)} registers don't reach {point.name}") from None
    if raw == point.absent:
        return None
    return raw - (1 << point.bits) if point.is_signed and raw >> (point.bits - 1) else raw


def read_value(model: Model, name: str, registers: Sequence[int]) -> float | str | None:
    """Return the SI value of a point from all registers of its model; None: not implemented.

    Raises:
        ModelError: The registers are too few, or the model has no such point.
    """
    point = model.field(name)
    if point.kind == "string":
        part = registers[point.offset : point.offset + point.size]
        if len(part) != point.size:
            raise ModelError(f"model {model.id}: {len(registers)} registers don't reach {name}")
        return struct.pack(f">{point.size}H", *part).split(b"\0", 1)[0].decode("ascii", "replace")
    raw = integer(point, registers)
    exponent = scale_of(model, point, registers)
    return None if raw is None or exponent is None else raw * _TENS[exponent]


def scale_of(model: Model, point: Field, registers: Sequence[int]) -> int | None:
    """Return the exponent of a point's scale factor; None where the device says that it has none.

    Raises:
        ModelError: It is none that SunSpec knows.
    """
    if point.scale is None:
        return 0
    exponent: int | None
    if point.scale_at is not None and point.scale_at < len(registers):
        raw = registers[point.scale_at]
        exponent = None if raw == _NOT_THERE["sunssf"] else raw - 0x10000 if raw & 0x8000 else raw
    else:
        exponent = point.scale if isinstance(point.scale, int) else integer(model.field(point.scale), registers)
    if exponent is not None and abs(exponent) > MOST_SCALE:
        raise ModelError(f"model {model.id}: {point.scale} = {exponent}: -{MOST_SCALE} to {MOST_SCALE} is asked for")
    return exponent


def write_value(model: Model, name: str, value: float | str | None, registers: Sequence[int]) -> tuple[int, ...]:
    """Return the registers of a point for an SI value (None: not implemented), by the scale factors in `registers`.

    Raises:
        ModelError: The value is not finite, or too large for its type and scale.
    """
    point = model.field(name)
    if isinstance(value, str):
        raw_text = value.encode("ascii", "replace")[: 2 * point.size].ljust(2 * point.size, b"\0")
        return struct.unpack(f">{point.size}H", raw_text)
    if value is None:
        return _split(_NOT_THERE.get(point.kind, 0), point.size)
    exponent = scale_of(model, point, registers)
    if exponent is None or not math.isfinite(value):
        raise ModelError(f"model {model.id}: {name} = {value}: give a finite number where a scale factor is")
    unit, bits = _TENS[exponent], point.bits
    raw = round(value / unit)
    low, high = (1 - (1 << (bits - 1)), (1 << (bits - 1)) - 1) if point.is_signed else (0, (1 << bits) - 2)
    if not low <= raw <= high:
        raise ModelError(f"model {model.id}: {name} = {value}: give {low * unit:g} to {high * unit:g}")
    return _split(raw if raw >= 0 else raw + (1 << bits), point.size)


def _split(raw: int, size: int) -> tuple[int, ...]:
    if size == 1:
        return (raw,)
    if size == 2:
        return raw >> 16, raw & 0xFFFF
    return tuple(raw >> (16 * (size - 1 - at)) & 0xFFFF for at in range(size))


def build(model: Model, values: Mapping[str, float | str | None]) -> list[int]:
    """Return all registers of a model: ID, length and the given points; others say "not implemented".

    Scale factors among `values` are given as exponents, and are laid down first.
    """
    registers = [0] * model.size
    for name, point in model.fields.items():
        empty = 0 if point.kind in ("pad", "string") else _NOT_THERE.get(point.kind, 0)
        registers[point.offset : point.offset + point.size] = _split(empty, point.size)
        if point.kind == "sunssf" and name in values:
            registers[point.offset] = int(values[name] or 0) & 0xFFFF
    registers[0], registers[1] = model.id, model.size - 2
    for name, value in values.items():
        point = model.field(name)
        if point.kind != "sunssf":
            registers[point.offset : point.offset + point.size] = write_value(model, name, value, registers)
    return registers
