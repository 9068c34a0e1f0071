"""Which devices somebody else had set by hand at an instant (LOCAL, R5), from the readings that a folder keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.node.heard import LOOKS_BACK_NS
from tieline.resource.point import by_code, code
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from tieline.store.segment import Tell


def take_local(
    folder: Path,
    state: DeskState,
    rows: NDArray[np.int32],
    at_ns: int,
    tell: Tell | None = None,
    *,
    until_ns: int | None = None,
) -> bool:
    """Note which of some devices had said by an instant that they are in LOCAL, and return whether that is known.

    No journal has that. One that said nothing of it in the day before is not in LOCAL, as the desk has it; only where
    the folder keeps no reading of anybody from then does nobody know. A folder that never had any tells of no devices.

    Args:
        folder: The data folder.
        state: Its state at the instant.
        rows: Which devices.
        at_ns: The instant.
        tell: Hears of a file of readings that is damaged.
        until_ns: Until when what they said counts; None: until the instant. A hand at a device is no record, so what
            stands by the last one is known better by what was said since.
    """
    until_ns = at_ns if until_ns is None else until_ns
    if not any((folder / name).is_dir() for name in ("readings", "historian")):
        return True
    is_local, missing, is_kept = state.claims.is_local.copy(), rows, False
    for table in _newest_first(folder, rows, at_ns, until_ns, tell):
        is_kept = is_kept or len(table) > 0
        found, says_local = _last_words(table)
        is_mine = np.isin(found, missing)
        is_local[found[is_mine]] = says_local[is_mine]
        missing = missing[~np.isin(missing, found)]
        if not len(missing):
            break
    state.claims.set_local(is_local)
    return is_kept or _is_any_kept(folder, len(state.fleet), at_ns, until_ns)


def _newest_first(
    folder: Path, rows: NDArray[np.int32], at_ns: int, until_ns: int, tell: Tell | None
) -> Iterator[pa.Table]:
    """Yield what was received until then and taken from a day before an instant on; of the historian whether rows are
    in LOCAL."""
    from tieline.store.segment import read_segment  # a library of tables takes its time to load
    from tieline.store.series import Historian

    for path in sorted((folder / "readings").glob("*.arrows"), reverse=True):
        try:
            table = read_segment(path)
        except FileNotFoundError:  # a server moved it into the historian just now
            continue
        yield _by_then(table, at_ns, until_ns)
    if not (folder / "historian").is_dir():
        return
    historian, points = Historian(folder / "historian", tell), [code("is_local")]
    for hour in _hours(at_ns, until_ns):
        found = historian.read(rows.tolist(), points, hour * HOUR_NS, (hour + 1) * HOUR_NS)
        yield _by_then(found, at_ns, until_ns)


def _is_any_kept(folder: Path, count: int, at_ns: int, until_ns: int) -> bool:
    """Return whether the historian has a reading of anybody from the day before an instant."""
    from tieline.store.series import Historian

    if not (folder / "historian").is_dir():
        return False
    historian, points = Historian(folder / "historian"), sorted(by_code())
    spans = ((hour * HOUR_NS, (hour + 1) * HOUR_NS) for hour in _hours(at_ns, until_ns))
    tables = (historian.read(range(count), points, *span) for span in spans)
    return any(len(_by_then(table, at_ns, until_ns)) for table in tables)


def _hours(at_ns: int, until_ns: int) -> range:
    """Return the hours from a day before an instant on, the newest first.

    What is taken in one hour may come in the next; a clock of a device may run ahead by a minute.
    """
    return range((until_ns + MINUTE_NS) // HOUR_NS, (at_ns - LOOKS_BACK_NS) // HOUR_NS - 1, -1)


def _by_then(table: pa.Table, at_ns: int, until_ns: int) -> pa.Table:
    import pyarrow.compute as pc

    recent = pc.greater_equal(table["taken_at_ns"], at_ns - LOOKS_BACK_NS)
    return table.filter(pc.and_(recent, pc.less_equal(table["received_at_ns"], until_ns)))


def _last_words(table: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the rows that say whether they are in LOCAL, each once, and what each said last; shape (m,)."""
    import pyarrow.compute as pc

    table = table.filter(pc.equal(table["point"], code("is_local")))
    # As the desk's columns: a value that is none such is passed over.
    good = (table["quality"].to_numpy() & int(Quality.OUT_OF_RANGE)) == 0
    good &= np.isfinite(table["value"].to_numpy())
    names = ("row", "value", "taken_at_ns", "received_at_ns")
    row, value, taken_ns, received_ns = (table[name].to_numpy()[good] for name in names)
    order = np.lexsort((received_ns, taken_ns, row))
    row, value = row[order], value[order]
    is_last = np.append(row[1:] != row[:-1], True)[: len(row)]
    return row[is_last].astype(np.int32), value[is_last] > 0.5
