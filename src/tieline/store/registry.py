"""The registry: which devices and groups there are, saved as columns and read back to the bit."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np

from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet, Group
from tieline.resource.identity import Kind, Purpose

_COLUMNS = ("kinds", "max_inject_w", "max_absorb_w", "energy_wh", "default_w", "safe_w", "fuels")
_VERSION = 2
"""2 added `fuels`. A file without a version is 1: what its engines burn is then unknown, and no rule allows that."""


class _Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    ids: str
    columns: dict[str, tuple[str, bytes]]
    groups: list[tuple[str, str, str, int, str]]
    parents: dict[str, bytes]
    version: int = 1


def save(fleet: Fleet, path: Path) -> str:
    """Write a fleet, all or nothing, and return its digest."""
    book = _Book(
        "\n".join(fleet.ids),
        {name: (getattr(fleet, name).dtype.str, getattr(fleet, name).tobytes()) for name in _COLUMNS},
        [(g.id, g.kind.value, g.purpose.value, g.parent, g.name) for g in fleet.groups],
        {purpose.value: rows.tobytes() for purpose, rows in fleet.parents.items()},
        _VERSION,
    )
    raw = msgspec.msgpack.encode(book)
    part = path.with_suffix(".part")
    part.write_bytes(raw)
    part.replace(path)
    return blake2b(raw, digest_size=12).hexdigest()


def load(path: Path) -> Fleet:
    """Return the fleet of a file.

    Raises:
        ConfigError: There is none, or it is not a registry.
    """
    try:
        book = msgspec.msgpack.decode(path.read_bytes(), type=_Book)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no registry: `tieline import DEVICES.csv --data {path.parent}` makes one") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: not a registry: {error}") from error
    if book.version > _VERSION:
        raise ConfigError(
            f"{path}: version {book.version} of the registry: this Tieline reads up to {_VERSION}: update it"
        )
    columns = {name: np.frombuffer(raw, dtype).copy() for name, (dtype, raw) in book.columns.items()}
    groups = [Group(name, Kind(kind), Purpose(purpose), at, label) for name, kind, purpose, at, label in book.groups]
    parents = {Purpose(purpose): np.frombuffer(raw, np.int32).copy() for purpose, raw in book.parents.items()}
    ids = book.ids.split("\n") if book.ids else []
    fleet = Fleet(
        ids, columns["kinds"], columns["max_inject_w"], columns["max_absorb_w"], columns["energy_wh"],
        columns["default_w"], columns["safe_w"], groups, parents,
    )  # fmt: skip
    fleet.fuels = columns.get("fuels", fleet.fuels)
    return fleet
