"""The desk of a served folder as its files tell it: decided by its journal, measured by its last readings.

It stands at the instant of the newest reading, whether a server runs there or not: what devices can do is known up to
then, and what a server that has ended could call is no news of today.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tieline.desk.cycle import STALE_NS
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.node.config import Settings, load_config
from tieline.node.contracting import agreements_of, bind
from tieline.node.journals import Hears, journal_to_read, tell_cut
from tieline.node.last_readings import take_last
from tieline.node.learnt import Learnt
from tieline.node.rebuilt import engines_of, enrolments_of, law_of, state_of
from tieline.resource.point import by_code
from tieline.store import registry
from tieline.store.segment import read_segment
from tieline.store.series import Historian, Wal
from tieline.times import HOUR_NS, SECOND_NS


def seen(folder: Path, say: Hears) -> tuple[DeskState, int]:
    """Return the state of a served folder and the instant of its newest reading, at which it stands.

    `say` hears of records that were changed or are gone, and of readings that can't be read.

    Raises:
        ConfigError: It holds no journal or no readings.
    """
    fleet = registry.load(folder / "registry.bin")
    path = folder / "tieline.toml"
    settings = load_config(path) if path.is_file() else Settings()
    agreed = agreements_of(settings, folder, fleet)
    tell_cut(folder, say)
    law, journal = law_of(settings, agreed), journal_to_read(folder)
    try:
        state = state_of(fleet, law, journal)
    finally:
        journal.close()
    state.ahead_ns = round(settings.readings.ahead_s * SECOND_NS)
    state.enrolments = enrolments_of(fleet, law)
    state.engines = engines_of(settings, fleet, law)
    settings.limits.count_loads(state)
    at_ns = 0
    if any((folder / name).is_dir() for name in ("readings", "historian")):
        wal, historian = Wal(folder / "readings"), Historian(folder / "historian", say)
        at_ns = _newest_ns(wal, historian, len(fleet))
    if not at_ns:
        raise ConfigError(f"{folder}: holds no readings: nothing is known of its devices")
    bind(state, agreed, at_ns)
    learnt = Learnt(folder / "learnt.bin", state, say)
    learnt.take()
    take_last(state, wal, historian, at_ns)
    learnt.hold_base(at_ns)
    learnt.note_lost()
    fleet.mark_stale(at_ns, STALE_NS)
    return state, at_ns


def _newest_ns(wal: Wal, historian: Historian, count: int) -> int:
    """Return when the newest reading came; 0: there is none."""
    for path in reversed(wal.segments()):
        if newest_ns := _newest_of(read_segment(path)):
            return newest_ns
    for hour in sorted(historian.hours(), reverse=True):
        of_hour = historian.read(range(count), sorted(by_code()), hour * HOUR_NS, (hour + 1) * HOUR_NS)
        if newest_ns := _newest_of(of_hour):
            return newest_ns
    return 0


def _newest_of(table: pa.Table) -> int:
    return int(pc.max(table["received_at_ns"]).as_py() or 0)
