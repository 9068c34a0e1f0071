"""Tables that a product is settled by: CSV, Parquet or JSON, each row right or named with its field, value and limit.

Every table has `start` (ISO 8601 with an offset) and may name a `resource` and a `cause`. All faulty rows are told at
once, up to twenty; nothing is filled in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.market.settlement import shortfall_causes
from tieline.rim.texts import text_in
from tieline.store.meter_files import HEAD, Floats, Instants, read_instants, read_numbers, read_table
from tieline.times import iso

MOST_TOLD = 20


class FaultyRows(ConfigError):
    """Rows of a table are not what they should be; `faults` holds each."""

    def __init__(self, faults: list[str]) -> None:
        """Join the first faults to one line, and say how many more there are."""
        more = [f"and {len(faults) - MOST_TOLD} more rows"] if len(faults) > MOST_TOLD else []
        super().__init__("; ".join([*faults[:MOST_TOLD], *more]))
        self.faults = faults[:MOST_TOLD]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of numbers: its limits, what a missing column or an empty cell counts as, and whether it may be empty.

    `otherwise` stands for a column that a table hasn't; None: the column must be there.
    """

    name: str
    least: float
    most: float
    otherwise: float | None = None
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A table in order of resource and time: starts (UTC ns), columns of shape (n,), each row's number in its file."""

    path: Path
    starts_ns: Instants
    numbers: dict[str, Floats]
    resources: NDArray[np.str_]
    causes: NDArray[np.str_]
    texts: dict[str, NDArray[np.str_]]
    row_of: Instants

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.starts_ns)

    def exact(self, name: str, at: int) -> Decimal:
        """Return a number as the decimal that it was written as."""
        return Decimal(str(float(self.numbers[name][at])))

    def exact_or_none(self, name: str, at: int) -> Decimal | None:
        """Return the same, or None for an empty cell."""
        return self.exact(name, at) if math.isfinite(float(self.numbers[name][at])) else None

    def where(self, at: int) -> str:
        """Return the words that name a row: file and row."""
        return f"{self.path}: row {int(self.row_of[at])}"


def read_rows(
    path: Path,
    fields: Sequence[Field],
    texts: Sequence[str] = (),
    key: Sequence[str] = (),
    has_cause: bool = True,
) -> Rows:
    """Return a table.

    Args:
        path: CSV, Parquet, or JSON (a list of objects).
        fields: Its columns of numbers.
        texts: Columns of words that must be there and filled in.
        key: Columns of words that name a row together with resource and start; two rows may not be named alike.
        has_cause: Whether it may have a column `cause`, a name of the table of causes.

    Raises:
        ConfigError: The file or a column is not what it should be; rows that aren't are named, each with its field.
    """
    needed = ("start", *(field.name for field in fields if field.otherwise is None), *texts)
    may = ("resource", *(("cause",) if has_cause else ()), *(f.name for f in fields if f.otherwise is not None))
    table = _json(path, needed) if path.suffix.lower() == ".json" else read_table(path, needed, may)
    if not table.num_rows:
        raise ConfigError(f"{path}: holds no row: give {','.join(needed)}")
    starts_ns = read_instants(path, table["start"])
    faults: list[str] = []
    numbers = {field.name: _column(path, table, field, faults) for field in fields}
    words = {name: _words(path, table, name, faults, must=True) for name in texts}
    resources = _words(path, table, "resource", faults, must=False)
    causes = _words(path, table, "cause", faults, must=False) if has_cause else np.full(table.num_rows, "")
    known = shortfall_causes()
    for at in np.flatnonzero(~np.isin(causes, ["", *known])).tolist():
        faults.append(f"{path}: row {at + HEAD}: cause = {str(causes[at])!r}: give one of {', '.join(known)}")
    order = np.lexsort((starts_ns, *(words[name] for name in key), resources))
    named = [resources[order], *(words[name][order] for name in key), starts_ns[order]]
    twice = np.logical_and.reduce([column[1:] == column[:-1] for column in named])
    for k in np.flatnonzero(twice).tolist():
        one, two = sorted((int(order[k]) + HEAD, int(order[k + 1]) + HEAD))
        who = f" of {resources[order[k]]}" if resources[order[k]] else ""
        told = iso(int(starts_ns[order[k]]))
        faults.append(f"{path}: row {two}: start = {told!r}: row {one}{who} has the same: keep the one that is right")
    if faults:
        raise FaultyRows(faults)
    return Rows(
        path, starts_ns[order], {name: column[order] for name, column in numbers.items()}, resources[order],
        causes[order], {name: column[order] for name, column in words.items()}, order + HEAD,
    )  # fmt: skip


def _json(path: Path, needed: tuple[str, ...]) -> pa.Table:
    try:
        rows: Any = json.loads(text_in(path))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{path}: no list of objects: give [{{{', '.join(needed)}}}, ...]")
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pa.table({name: _cells(path, name, [row.get(name) for row in rows]) for name in names})
    except (OSError, json.JSONDecodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: {told}: give a list of objects with {', '.join(needed)}") from None
    lacking = [name for name in needed if name not in names]
    if lacking and rows:
        raise ConfigError(f"{path}: field {lacking[0]} is missing: give {', '.join(needed)}")
    return table


def _cells(path: Path, name: str, values: list[Any]) -> pa.Array:
    """Return a column; where its cells differ in kind it is read as text, and what is no number is named later."""
    odd = next((at for at, value in enumerate(values) if isinstance(value, (dict, list, bool))), None)
    if odd is not None:
        raise ConfigError(f"{path}: row {odd + HEAD}: {name} = {str(values[odd])!r}: give a number or a text")
    try:
        return pa.array(values)
    except pa.ArrowException:
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _column(path: Path, table: pa.Table, field: Field, faults: list[str]) -> Floats:
    if field.name not in table.column_names:
        return np.full(table.num_rows, math.nan if field.otherwise is None else field.otherwise)
    column = read_numbers(path, table[field.name], field.name)
    empty = np.isnan(column)
    odd = (empty & (not field.may_be_empty)) | (column < field.least) | (column > field.most)
    for at in np.flatnonzero(odd).tolist():
        told = "empty" if empty[at] else f"{column[at]:g}"
        faults.append(f"{path}: row {at + HEAD}: {field.name} = {told}: give {field.least:g} to {field.most:g}")
    return column


def _words(path: Path, table: pa.Table, name: str, faults: list[str], *, must: bool) -> NDArray[np.str_]:
    if name not in table.column_names:
        return np.full(table.num_rows, "")
    cells = table[name].cast(pa.string()).to_pylist()
    faults += [
        f"{path}: row {at + HEAD}: {name} = empty: give a name" for at, cell in enumerate(cells) if must and not cell
    ]
    return np.array([cell or "" for cell in cells], np.str_)
