"""The registry: which devices and groups there are, saved as columns and read back to the bit."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np

from tieline.errors import ConfigError
from tieline.fleet.columns import FUELS, KINDS, Fleet, Group
from tieline.resource.identity import Kind, Purpose
from tieline.store import checked

_COLUMNS = ("kinds", "max_inject_w", "max_absorb_w", "energy_wh", "default_w", "safe_w", "fuels")
_VERSION = 2
"""2 added `fuels`. A file without a version is 1: what its engines burn is then unknown, and no rule allows that."""
_MAGIC = b"TLREG\0\0\1"
"""A file begins with it and the hash of what follows; one of before has neither."""


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
    checked.write(path, _MAGIC, raw)
    return blake2b(raw, digest_size=12).hexdigest()


def load(path: Path) -> Fleet:
    """Return the fleet of a file.

    Raises:
        ConfigError: There is none, it is not a registry, or not as it was written.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no registry: `tieline import DEVICES.csv --data {path.parent}` makes one") from None
    try:
        body = checked.body_of(raw, _MAGIC) if raw.startswith(_MAGIC) else raw
    except ValueError as error:
        raise _changed(path, str(error)) from error
    try:
        return _fleet_of(msgspec.msgpack.decode(body, type=_Book), path)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError) as error:
        raise _changed(path, f"not a registry ({error})") from error


def is_checked(path: Path) -> bool:
    """Return whether a registry carries its checksum; one that an older Tieline wrote gets it by its next import."""
    return checked.is_checked(path, _MAGIC)


def _changed(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} = 'changed': {why}: put it back from a backup; without one move it away and import the device tables "
        f"again in the order in which they came, as records name devices by their row"
    )


def _fleet_of(book: _Book, path: Path) -> Fleet:
    """Return the fleet of what a file holds. Raises ConfigError for a newer version, ValueError for odd columns."""
    if book.version > _VERSION:
        raise ConfigError(
            f"{path}: version {book.version} of the registry: this Tieline reads up to {_VERSION}: update it"
        )
    columns = {name: np.frombuffer(raw, dtype).copy() for name, (dtype, raw) in book.columns.items()}
    groups = [Group(name, Kind(kind), Purpose(purpose), at, label) for name, kind, purpose, at, label in book.groups]
    parents = {Purpose(purpose): np.frombuffer(raw, np.int32).copy() for purpose, raw in book.parents.items()}
    ids = book.ids.split("\n") if book.ids else []
    if {len(column) for column in [*columns.values(), *parents.values()]} - {len(ids)}:
        raise ValueError(f"columns are not as long as its {len(ids)} ids")
    if any(not -1 <= group.parent < at for at, group in enumerate(groups)):
        raise ValueError("a group stands under none that is before it")
    codes = [(columns["kinds"], len(KINDS)), (columns.get("fuels", np.zeros(0)), len(FUELS))]
    for column, count in [*codes, *((rows, len(groups)) for rows in parents.values())]:
        if len(column) and not (column.min() >= -1 and column.max() < count):
            raise ValueError("a kind, fuel or group that there is not")
    fleet = Fleet(
        ids, columns["kinds"], columns["max_inject_w"], columns["max_absorb_w"], columns["energy_wh"],
        columns["default_w"], columns["safe_w"], groups, parents,
    )  # fmt: skip
    fleet.fuels = columns.get("fuels", fleet.fuels)
    return fleet
