"""Reads devices from a table: CSV or Parquet, a row each, every fault named by row and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tieline.errors import ConfigError
from tieline.fleet.columns import FUEL_CODE, FUELS, KIND_CODE, Fleet, Group, implied_fuels
from tieline.ids import NAME, is_name
from tieline.resource.identity import GROUP_KINDS, Fuel, Kind, Purpose

ELECTRICAL = (
    ("substation", Kind.SUBSTATION),
    ("feeder", Kind.FEEDER),
    ("transformer", Kind.TRANSFORMER),
    ("bus", Kind.BUS),
)
"""From the top down; a device hangs on the lowest that its row names, and each of them on the one above."""
COMMERCIAL = (
    ("site", Purpose.SITE, Kind.SITE),
    ("owner", Purpose.OWNER, Kind.OWNER),
    ("pool", Purpose.POOL, Kind.POOL),
    ("program", Purpose.PROGRAM, Kind.PROGRAM),
)
GROUPS = (*(name for name, _ in ELECTRICAL), *(name for name, _, _ in COMMERCIAL))
COLUMNS = ("id", "kind", "fuel", "max_inject_w", "max_absorb_w", "energy_wh", "default_w", *GROUPS)
NUMBERS = ("max_inject_w", "max_absorb_w", "energy_wh", "default_w")
BURNING = frozenset({Kind.BACKUP_GENERATOR, Kind.BIOMASS, Kind.CHP, Kind.HYBRID_SITE})
MOST_FAULTS = 20
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MOST = 1e10
"""No device is larger than 10 GW or stores more than 10 GWh: such a number is a unit mistaken."""


def read_fleet(path: Path) -> Fleet:
    """Return the fleet of a table.

    Raises:
        ConfigError: A column is missing, or rows are faulty; up to 20 are named with row, column, value and limit.
    """
    rows = list(_rows(path))
    faults: list[str] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        faults += _faults(number, row, seen)
        if len(faults) > MOST_FAULTS:
            break
    groups, parents = ([], {}) if faults else _tree(rows, faults)
    if faults:
        more = "" if len(faults) <= MOST_FAULTS else " ..."
        raise ConfigError(f"{path}: nothing was imported: " + "; ".join(faults[:MOST_FAULTS]) + more)
    return _fleet(rows, groups, parents)


def read_nothing() -> Fleet:
    """Return a fleet of no device: what a data folder begins with."""
    return _fleet([], [], {})


def _rows(path: Path) -> Iterable[dict[str, str]]:
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"{path}: not a Parquet file: {error}") from None
        names = tuple(table[0]) if table else COLUMNS
        rows = [{key: "" if value is None else str(value) for key, value in row.items()} for row in table]
    elif path.suffix.lower() not in ("", ".csv", ".txt"):
        raise ConfigError(f"{path}: a {path.suffix} file can't be read: give .csv or .parquet")
    else:
        try:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                reader = csv.DictReader(lines, strict=True)
                names = tuple(reader.fieldnames or ())
                rows = []
                for number, row in enumerate(reader, 2):
                    if None in row:
                        raise ConfigError(f"{path}: row {number} has more cells than the header has columns")
                    if None in row.values():  # a row that was cut off would become a device that can do nothing
                        cells = sum(value is not None for value in row.values())
                        limit = f"give all {len(names)}, empty ones too"
                        raise ConfigError(f"{path}: row {number}: cells = {cells}: {limit}")
                    rows.append({key: value or "" for key, value in row.items()})
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path}: not a table in UTF-8: {error}") from None
    if not rows:
        raise ConfigError(f"{path}: holds no device: give a row for each")
    missing = [name for name in ("id", "kind") if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if missing or unknown:
        wrong = f"no column {', '.join(missing)}" if missing else f"unknown column {', '.join(unknown)}"
        raise ConfigError(f"{path}: {wrong}: columns are {', '.join(COLUMNS)}")
    return rows


def _faults(number: int, row: dict[str, str], seen: set[str]) -> list[str]:
    found = []
    name = row["id"].strip()
    if not name or name in seen:
        found.append(f"row {number}: id = {name!r}: give each device an id of its own")
    elif not is_name(name):
        found.append(f"row {number}: id = {name!r}: give {NAME}")
    seen.add(name)
    for column in GROUPS:
        group = row.get(column, "").strip()
        if group and not is_name(group):
            found.append(f"row {number}: {column} = {group!r}: give {NAME}")
    leaves = sorted(kind.value for kind in Kind if kind not in GROUP_KINDS)
    if row["kind"] not in leaves:
        found.append(f"row {number}: kind = {row['kind']!r}: give one of {', '.join(leaves)}")
    if row.get("fuel", "").strip() not in ("", *FUELS):
        found.append(f"row {number}: fuel = {row['fuel']!r}: give one of {', '.join(FUELS)}")
    elif row.get("fuel", "").strip() not in ("", Fuel.NONE) and row["kind"] in leaves and row["kind"] not in BURNING:
        # A fuel decides whether a device may serve: one that nothing burns is a mistaken kind, or a mistaken cell.
        found.append(f"row {number}: fuel = {row['fuel']!r}: a {row['kind']} burns nothing: give none, or leave it out")
    for column in NUMBERS:
        text = row.get(column, "") or "0"
        if not NUMBER.fullmatch(text):
            found.append(f"row {number}: {column} = {text!r}: give a finite number such as 5000 or 1.5e6")
            continue
        value = float(text)
        if abs(value) > MOST or (column != "default_w" and value < 0):
            low = -MOST if column == "default_w" else 0.0
            found.append(f"row {number}: {column} = {text}: give {low:g} to {MOST:g}")
    if not found and not -_number(row, "max_absorb_w") <= _number(row, "default_w") <= _number(row, "max_inject_w"):
        found.append(f"row {number}: default_w = {row['default_w']}: give one within -max_absorb_w to max_inject_w")
    return found


def _number(row: dict[str, str], column: str) -> float:
    return float(row.get(column) or 0)


class _Tree:
    """The groups of a table, each once."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.at: dict[str, int] = {}

    def find(self, name: str, kind: Kind, purpose: Purpose, parent: int) -> int:
        """Return the index of a group, made where it is new. Raises ValueError where it stands elsewhere already."""
        if name not in self.at:
            self.at[name] = len(self.groups)
            self.groups.append(Group(name, kind, purpose, parent))
        known = self.groups[self.at[name]]
        if known.kind is not kind:
            raise ValueError(f"{kind.value} = {name!r}: is a {known.kind.value} in another row: give it another name")
        if known.parent != parent:
            above = [self.groups[at].id if at >= 0 else "nothing" for at in (known.parent, parent)]
            raise ValueError(f"{kind.value} = {name!r}: hangs on {above[0]} in another row, on {above[1]} here")
        return self.at[name]

    def electrical(self, row: dict[str, str]) -> int:
        """Return the lowest electrical group of a row, -1 where it names none."""
        at = -1
        for column, kind in ELECTRICAL:
            name = row.get(column, "").strip()
            if name:
                at = self.find(name, kind, Purpose.ELECTRICAL, at)
        return at


def _tree(rows: list[dict[str, str]], faults: list[str]) -> tuple[list[Group], dict[Purpose, list[int]]]:
    tree = _Tree()
    parents: dict[Purpose, list[int]] = {purpose: [] for purpose in Purpose}
    devices = {row["id"].strip() for row in rows}
    for number, row in enumerate(rows, 2):
        try:
            parents[Purpose.ELECTRICAL].append(tree.electrical(row))
            for column, purpose, kind in COMMERCIAL:
                name = row.get(column, "").strip()
                parents[purpose].append(tree.find(name, kind, purpose, -1) if name else -1)
        except ValueError as error:
            faults.append(f"row {number}: {error}")
            return [], {}
    both = sorted(devices & set(tree.at))
    if both:
        faults.append(f"{both[0]!r} is a device and a {tree.groups[tree.at[both[0]]].kind.value}: rename one")
    return tree.groups, parents


def _fleet(rows: list[dict[str, str]], groups: list[Group], parents: dict[Purpose, list[int]]) -> Fleet:
    numbers = {column: np.array([float(row.get(column) or 0) for row in rows]) for column in NUMBERS}
    fleet = Fleet(
        [row["id"].strip() for row in rows],
        np.array([KIND_CODE[Kind(row["kind"])] for row in rows], np.uint8),
        numbers["max_inject_w"], numbers["max_absorb_w"], numbers["energy_wh"], numbers["default_w"],
        np.zeros(len(rows)), groups,
        {purpose: np.array(found, np.int32) for purpose, found in parents.items() if max(found, default=-1) >= 0},
    )  # fmt: skip
    said = [row.get("fuel", "").strip() for row in rows]
    fleet.fuels = np.array(
        [FUEL_CODE.get(word, at) for word, at in zip(said, implied_fuels(fleet.kinds).tolist(), strict=True)], np.uint8
    )
    return fleet
