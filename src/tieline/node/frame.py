"""A table of a notebook: Arrow inside, and whatever the reader works with outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.columns import KINDS
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.store.narrow import make_narrow


class Frame:
    """Columns of one length; unit in the name, positive into the grid."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"Frame of {len(self)} rows: {', '.join(self.columns)}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in self.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{value}</td>" for value in row.values()) + "</tr>"
            for row in self._table.slice(0, 20).to_pylist()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{len(self)} rows</p>"

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self._table.column_names)

    def to_arrow(self) -> pa.Table:
        """Return it as an Arrow table."""
        return self._table

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return its rows as dicts."""
        found: list[dict[str, Any]] = self._table.to_pylist()
        return found

    def to_pandas(self) -> Any:
        """Return it as a pandas DataFrame. Raises ConfigError where pandas is not installed."""
        try:
            return self._table.to_pandas()
        except ModuleNotFoundError:
            raise ConfigError("pandas is not installed: pip install pandas") from None

    def to_polars(self) -> Any:
        """Return it as a Polars DataFrame. Raises ConfigError where Polars is not installed."""
        try:
            import polars
        except ModuleNotFoundError:
            raise ConfigError("polars is not installed: pip install polars") from None
        return polars.from_arrow(self._table)


def resources_of(state: DeskState, now_ns: int) -> pa.Table:
    """Return every device at an instant: what it is, what it does and can do, and who controls it."""
    fleet = state.fleet
    rows = np.arange(len(fleet), dtype=np.int32)
    settled = state.claims.arbitrate(now_ns, rows)
    named = settled.winner >= 0
    columns: dict[str, Any] = {"id": fleet.ids, "kind": [KINDS[code].value for code in fleet.kinds]}
    for purpose in Purpose:
        if purpose in fleet.parents:
            at = fleet.parents[purpose]
            columns[purpose.value] = [fleet.groups[index].id if index >= 0 else None for index in at.tolist()]
    feeder = np.full(len(fleet), None, object)
    for group in fleet.groups_of(Kind.FEEDER):
        feeder[fleet.leaves(group.id)] = group.id
    columns["feeder"] = feeder
    for name in ("max_inject_w", "max_absorb_w", "energy_wh", "power_w", "available_up_w", "available_down_w"):
        columns[name] = getattr(fleet, name)
    columns["soc_frac"] = fleet.column("soc_frac")
    columns["target_w"] = np.where(named, settled.target_w, np.nan)
    columns["controlled_by"] = controllers(state, settled.winner)
    columns["opted_out"] = state.opted_out
    return pa.table(columns)


def controllers(state: DeskState, winner: NDArray[np.int32]) -> list[str | None]:
    """Return the level and source of each row's winner, None where it runs by itself."""
    batches = {batch.id: batch for batch, _ in state.claims.batches()}
    words: dict[int, str | None] = {-1: None}
    for serial in np.unique(winner[winner >= 0]).tolist():
        (name,) = state.claims.batch_ids(np.array([serial], np.int32))
        batch = batches.get(name)
        words[serial] = None if batch is None else f"{Level(batch.level).name} {batch.source}"
    return [words[serial] for serial in winner.tolist()]


def write_resources(state: DeskState, now_ns: int, path: Path) -> None:
    """Write `resources_of` to a Parquet file that no other account can read. Raises OSError."""
    import pyarrow.parquet as pq

    path.unlink(missing_ok=True)
    make_narrow(path)
    pq.write_table(resources_of(state, now_ns), path, compression="zstd")
