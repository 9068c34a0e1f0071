"""The device tree downwards, and what an owner has earned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import StatementMade, from_record
from tieline.desk.resource_views import OwnerMoney, Part
from tieline.desk.state import DeskState
from tieline.fleet.columns import KINDS, Fleet
from tieline.flow.record import Records
from tieline.node.read_fleet import OUT, SLOW
from tieline.resource.identity import GROUP_KINDS, Purpose

MOST_PARTS, MOST_DEVICES = 60, 60
Rows = NDArray[np.int32]


def parts_of(state: DeskState, resource: str, cells: NDArray[np.uint8]) -> tuple[tuple[Part, ...], int]:
    """Return what stands directly beneath a resource, worst first, and how many parts there are.

    Groups beneath it are told first; without any, its devices; where these are many, their kinds.
    """
    fleet = state.fleet
    if fleet.kind_of(resource) not in GROUP_KINDS:
        return (), 0
    rows = fleet.leaves(resource)
    group = fleet.group(resource)
    index = fleet.groups.index(group)
    below = [child for child in fleet.groups if child.parent == index and child.purpose is group.purpose]
    if below:
        found = [_part(state, cells, child.id, child.kind.value, fleet.leaves(child.id)) for child in below]
        found = [part for part in found if part.devices]
    elif len(rows) > MOST_DEVICES:
        codes = np.unique(fleet.kinds[rows]).tolist()
        found = [_part(state, cells, "", KINDS[code].value, rows[fleet.kinds[rows] == code]) for code in codes]
    else:
        found = [_part(state, cells, fleet.id_of(row), _kind(fleet, row), rows[at : at + 1])
                 for at, row in enumerate(rows.tolist())]  # fmt: skip
    found.sort(key=lambda part: (-part.abnormal, -part.devices, part.id))
    return tuple(found[:MOST_PARTS]), len(found)


def _kind(fleet: Fleet, row: int) -> str:
    return str(KINDS[fleet.kinds[row]].value)


def _part(state: DeskState, cells: NDArray[np.uint8], name: str, kind: str, rows: Rows) -> Part:
    power_w = state.fleet.known_power_w(rows)
    sick = int(((cells[rows] >= SLOW) & (cells[rows] != OUT)).sum())
    return Part(name, kind, len(rows), float(np.nansum(power_w)) if np.isfinite(power_w).any() else None, sick)


def earned(state: DeskState, journal: Records, resource: str) -> list[OwnerMoney]:
    """Return what a device, its site and its owner have earned, the newest first.

    Raises:
        KeyError: There is no such device.
    """
    fleet = state.fleet
    rows = fleet.leaves(resource)
    if not len(rows):
        raise KeyError(resource)
    row = int(rows[0])
    known = [purpose for purpose in (Purpose.SITE, Purpose.OWNER) if purpose in fleet.parents]
    names = {resource, *(group.id for purpose in known for group in fleet.ancestors(row, purpose))}
    found = []
    for record in journal.of_kind("StatementMade"):
        fact = from_record(record)
        shares = fact.body.get("shares", {}) if isinstance(fact, StatementMade) else {}
        for owner in names & shares.keys():
            assert isinstance(fact, StatementMade)
            found.append(
                OwnerMoney(
                    fact.statement, owner, fact.start_ns, fact.end_ns, str(shares[owner]), fact.currency, fact.version
                )
            )
    return sorted(found, key=lambda money: (-money.start_ns, -money.version))
