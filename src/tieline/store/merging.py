"""Brings a new table of devices into a registry: rows keep their place, as the journal names devices by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet, Group
from tieline.resource.identity import Purpose

Rows = NDArray[np.int32]
COLUMNS = ("kinds", "max_inject_w", "max_absorb_w", "energy_wh", "default_w", "safe_w", "fuels")


@dataclass(frozen=True, slots=True)
class Merged:
    """A registry after an import, and how many devices were added, changed, and left as they were."""

    fleet: Fleet
    added: int
    changed: int
    kept: int


def merge(old: Fleet, new: Fleet) -> Merged:
    """Return the registry with the devices of a new table in it; what the table doesn't name stays.

    Raises:
        ConfigError: A name is a device in the one and a group in the other, or a group of another kind.
    """
    groups = _groups(old, new)
    index = {(group.purpose, group.id): at for at, group in enumerate(groups)}
    fresh = [name for name in new.ids if not _is_device(old, name)]
    ids = [*old.ids, *fresh]
    row_of = {name: row for row, name in enumerate(ids)}
    at = np.array([row_of[name] for name in new.ids], np.int32)
    columns = {name: _placed(getattr(old, name), getattr(new, name), at, len(ids)) for name in COLUMNS}
    parents = {purpose: _parents(purpose, old, new, at, index, len(ids)) for purpose in {**old.parents, **new.parents}}
    fleet = Fleet(
        ids, columns["kinds"], columns["max_inject_w"], columns["max_absorb_w"], columns["energy_wh"],
        columns["default_w"], columns["safe_w"], groups, parents,
    )  # fmt: skip
    fleet.fuels = columns["fuels"]
    changed = sum(_differs(old, fleet, row) for row in at[at < len(old)].tolist())
    return Merged(fleet, len(fresh), changed, len(old) - changed)


def _is_device(fleet: Fleet, name: str) -> bool:
    try:
        fleet.row(name)
    except KeyError:
        return False
    return True


def _groups(old: Fleet, new: Fleet) -> list[Group]:
    groups = list(old.groups)
    known = {group.id: group for group in groups}
    at = {(group.purpose, group.id): index for index, group in enumerate(groups)}
    for group in new.groups:
        mine = known.get(group.id)
        if mine is not None and mine.kind is not group.kind:
            raise ConfigError(f"{group.id!r} is a {mine.kind.value} in the registry and a {group.kind.value} here")
        if _is_device(old, group.id):
            raise ConfigError(f"{group.id!r} is a device in the registry and a {group.kind.value} here: rename one")
        if mine is None:
            above = new.groups[group.parent] if group.parent >= 0 else None
            parent = -1 if above is None else at[(above.purpose, above.id)]
            at[(group.purpose, group.id)] = len(groups)
            groups.append(Group(group.id, group.kind, group.purpose, parent, group.name))
    for name in new.ids:
        if name in known:
            raise ConfigError(f"{name!r} is a {known[name].kind.value} in the registry and a device here: rename one")
    return groups


def _placed(old: NDArray[Any], new: NDArray[Any], at: Rows, count: int) -> NDArray[Any]:
    placed = np.zeros(count, old.dtype)
    placed[: len(old)] = old
    placed[at] = new
    return placed


def _parents(
    purpose: Purpose, old: Fleet, new: Fleet, at: Rows, index: dict[tuple[Purpose, str], int], count: int
) -> Rows:
    placed = np.full(count, -1, np.int32)
    if purpose in old.parents:
        placed[: len(old)] = old.parents[purpose]  # groups of the registry keep their place too
    if purpose in new.parents:
        move = [index[(group.purpose, group.id)] for group in new.groups]
        theirs = new.parents[purpose]
        placed[at] = [move[parent] if parent >= 0 else -1 for parent in theirs.tolist()]
    return placed


def _differs(old: Fleet, new: Fleet, row: int) -> bool:
    if any(getattr(old, name)[row] != getattr(new, name)[row] for name in COLUMNS):
        return True
    return any(old.parents[p][row] != new.parents[p][row] for p in old.parents)
