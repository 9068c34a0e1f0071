"""When a device was heard last, from the readings that its folder keeps: no journal has that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tieline.desk.cycle import STALE_NS
from tieline.node.read_held import Heard
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS

if TYPE_CHECKING:
    import pyarrow as pa

    from tieline.store.segment import Tell

LOOKS_BACK_NS = DAY_NS
"""Of a device that was heard in the last day is told when; of one that was lost longer its link's alarm stands."""


def heard_by(folder: Path, row: int, at_ns: int, tell: Tell | None = None) -> Heard | None:
    """Return when a device was heard last by an instant, and how good that was; None: the folder has none of a day.

    One that was last heard more than three minutes before is out of reach, as the desk itself has it.

    Args:
        folder: The data folder.
        row: The device.
        at_ns: The instant.
        tell: Hears of a file of readings that is damaged.
    """
    if not any((folder / name).is_dir() for name in ("readings", "historian")):
        return None
    found = _newest(folder, row, at_ns, tell)
    if found is None:
        return None
    stale = int(Quality.NOT_TOPICAL) if at_ns - found.taken_ns > STALE_NS else 0
    return Heard(found.taken_ns, found.quality | stale)


def _newest(folder: Path, row: int, at_ns: int, tell: Tell | None) -> Heard | None:
    """Return when a device's newest power by an instant was taken, and its quality; None: it wasn't heard that day."""
    from tieline.store.segment import read_segment  # a library of tables takes its time to load
    from tieline.store.series import Historian

    power = code("power_w")
    for path in sorted((folder / "readings").glob("*.arrows"), reverse=True):
        try:
            table = read_segment(path)
        except FileNotFoundError:  # a server moved it into the historian just now
            continue
        if (found := _last_of(table, row, power, at_ns)) is not None:
            return found
    if not (folder / "historian").is_dir():
        return None
    historian = Historian(folder / "historian", tell)
    # What is taken in one hour may come in the next; a clock of a device may run ahead by a minute.
    for hour in range((at_ns + MINUTE_NS) // HOUR_NS, (at_ns - LOOKS_BACK_NS) // HOUR_NS - 1, -1):
        table = historian.read([row], [power], hour * HOUR_NS, (hour + 1) * HOUR_NS)
        if (found := _last_of(table, row, power, at_ns)) is not None:
            return found
    return None


def _last_of(table: pa.Table, row: int, point: int, at_ns: int) -> Heard | None:
    import pyarrow.compute as pc

    mine = pc.and_(pc.equal(table["row"], row), pc.equal(table["point"], point))
    table = table.filter(pc.and_(mine, pc.less_equal(table["received_at_ns"], at_ns)))
    if not len(table):
        return None
    last = table.sort_by([("taken_at_ns", "descending"), ("received_at_ns", "descending")]).slice(0, 1)
    return Heard(int(last["taken_at_ns"][0].as_py()), int(last["quality"][0].as_py()))
