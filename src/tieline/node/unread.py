"""Which intervals of an event have no reading: by meter, instant and row, so that who asks for them can name them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tieline.store.meter_files import EventFile, MeterSeries
from tieline.times import from_ns

MOST_NAMED = 5


def unread_of(meters: Sequence[MeterSeries], event: EventFile) -> list[str]:
    """Return a flag a meter that lacks readings of the event: how many, when, and whether a row is there and empty."""
    flags = []
    for one in meters:
        wanted = np.arange(event.start_ns, event.end_ns, one.step_ns)
        at = np.minimum(np.searchsorted(one.starts_ns, wanted), len(one.starts_ns) - 1)
        is_there = one.starts_ns[at] == wanted
        lacking = np.flatnonzero(~is_there | ~np.isfinite(one.kwh[at]))
        if not len(lacking):
            continue
        told = []
        for k in lacking[:MOST_NAMED].tolist():
            has_row = is_there[k] and one.rows is not None
            row = f"row {one.rows[at[k]]} is empty" if has_row and one.rows is not None else "no row"
            told.append(f"{from_ns(int(wanted[k])).astimezone(event.zone).isoformat()} ({row})")
        more = ", ..." if len(lacking) > MOST_NAMED else ""
        who = f"{one.meter}: " if one.meter else ""
        flags.append(f"{who}{len(lacking)} intervals of the event without a reading: {', '.join(told)}{more}")
    return flags
