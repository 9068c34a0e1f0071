"""What was measured last before a server ended: taken into the columns again as it starts.

Measurements are no part of the journal, so a server that starts knows what it decided and not what its devices do. Had
it to wait for their next telemetry, the first beat would find nobody in sight and let go whoever serves an award.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tieline.desk.base import learn
from tieline.desk.cycle import KEPT_NS
from tieline.desk.state import DeskState
from tieline.resource.batch import Readings
from tieline.resource.point import by_code
from tieline.store.segment import SCHEMA, read_segment
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS

LOOKS_BACK_NS = KEPT_NS
"""A reading holds for fifteen minutes at most; what is older is learnt anew."""


def take_last(state: DeskState, wal: Wal, historian: Historian, now_ns: int) -> int:
    """Take the newest kept reading of each device and point of the last minutes, and return how many there were.

    How old they are they say themselves: what is stale by then is marked at the first beat as ever.
    """
    table = _recent(wal, historian, len(state.fleet), now_ns)
    if not len(table):
        return 0
    row, point = table["row"].to_numpy(), table["point"].to_numpy()
    order = np.lexsort((table["received_at_ns"].to_numpy(), table["taken_at_ns"].to_numpy(), point, row))
    key = row[order].astype(np.int64) * (1 << 16) + point[order]
    newest = order[np.append(key[1:] != key[:-1], True)]
    rows, points, values, quality, taken_ns, received_ns = (table[name].to_numpy()[newest] for name in SCHEMA.names)
    kept = Readings(rows, points, values, quality, taken_ns, received_ns, "kept")
    # As any that comes: what was kept before readings were held against ranges and ratings teaches nothing either.
    learn(state, state.fleet.checked(kept, state.ahead_ns), now_ns)
    return len(newest)


def _recent(wal: Wal, historian: Historian, count: int, now_ns: int) -> pa.Table:
    """Return what was received in the last minutes, from the log and from the hours that it was moved into."""
    since_ns = now_ns - LOOKS_BACK_NS
    hours = historian.read(range(count), sorted(by_code()), since_ns, now_ns + MINUTE_NS)
    table = pa.concat_tables([SCHEMA.empty_table(), *_of_log(wal, since_ns), hours.cast(SCHEMA)])
    recent = pc.and_(pc.greater_equal(table["taken_at_ns"], since_ns), pc.less(table["row"], count))
    return table.filter(pc.and_(recent, pc.less_equal(table["received_at_ns"], now_ns)))


def _of_log(wal: Wal, since_ns: int) -> list[pa.Table]:
    """Return the log's segments, the newest first, back to one that was over before an instant."""
    found = []
    for path in reversed(wal.segments()):
        table = read_segment(path)
        if len(table):
            found.append(table)
            if (pc.max(table["received_at_ns"]).as_py() or 0) < since_ns:
                break
    return found
