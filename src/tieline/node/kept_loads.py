"""What groups of a served folder drew, hour by hour, from the readings that are kept: what their load is foretold from.

An hour of a device is metered where five sixths of it are; an hour of a group where nine tenths of its rating are, and
then scaled up to the whole. Hours in which a market or a program called some of its devices say nothing of what they do
by themselves: they stay gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tieline.desk.programs import EventState
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.node.config import load_config
from tieline.node.journals import Hears, journal_to_read, tell_cut
from tieline.node.kept_readings import HOLDS_NS, STEP_NS, Hours, means
from tieline.node.rebuilt import law_in, state_of
from tieline.node.settlement_days import LEAST_PRESENT_FRAC
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.store import registry
from tieline.store.meter_files import MeterSeries
from tieline.store.segment import SCHEMA, look_at
from tieline.store.series import Historian, Wal
from tieline.times import DAY_NS, HOUR_NS, Clock, from_ns, market_day

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
A_HOUR = HOUR_NS // STEP_NS
LEAST_STEPS = 10
CALLED = (EventState.APPROVED, EventState.SCHEDULED, EventState.IN_PROGRESS, EventState.COMPLETED)


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """The hours of a folder with what its log has not moved yet: for who reads beside a server, and may not move it."""

    historian: Historian
    log: pa.Table

    @staticmethod
    def of(wal: Wal, historian: Historian) -> Logged:
        """Read the log's power; a segment that is moved meanwhile is in the hours by then."""
        found = [SCHEMA.empty_table()]
        for path in wal.segments():
            try:
                table = look_at(path).table
            except FileNotFoundError:
                continue
            found.append(table.filter(pc.equal(table["point"], code("power_w"))))
        return Logged(historian, pa.concat_tables(found))

    def read(self, rows: Sequence[int], points: Sequence[int], start_ns: int, end_ns: int) -> pa.Table:
        """Return readings as `Historian.read` does; one that stands in both comes twice."""
        taken = self.log["taken_at_ns"]
        inside = pc.and_(pc.greater_equal(taken, start_ns), pc.less(taken, end_ns))
        fresh = self.log.filter(pc.and_(inside, pc.is_in(self.log["row"], pa.array(rows, pa.int32()))))
        hours = self.historian.read(rows, points, start_ns, end_ns).cast(SCHEMA)
        if not len(fresh):
            return hours
        order = [("row", "ascending"), ("point", "ascending"), ("taken_at_ns", "ascending")]
        return pa.concat_tables([hours, fresh]).sort_by(order)

    def span_ns(self) -> tuple[int, int]:
        """Return from when until when readings may hold; (0, 0): there are none."""
        taken = self.log["taken_at_ns"]
        hours = [hour * HOUR_NS for hour in self.historian.hours()]
        first = [*hours[:1], *([pc.min(taken).as_py()] if len(taken) else [])]
        last = [*(at + HOUR_NS for at in hours[-1:]), *([pc.max(taken).as_py() + HOLDS_NS] if len(taken) else [])]
        return (min(first), max(last)) if first else (0, 0)


def drawn_kwh(hours: Hours, fleet: Fleet, groups: Mapping[str, Rows], start_ns: int, end_ns: int) -> dict[str, Floats]:
    """Return what each group drew in each whole hour of [start, end): kWh, what it gave taken off (NaN: not read)."""
    count_h = (end_ns - start_ns) // HOUR_NS
    rows = np.unique(np.concatenate([np.zeros(0, np.int32), *groups.values()])).astype(np.int32)
    rated_w = np.maximum(fleet.max_inject_w, fleet.max_absorb_w)
    found = {name: np.full(count_h, np.nan) for name in groups}
    for first in range(0, count_h, DAY_NS // HOUR_NS):
        part = slice(first, min(first + DAY_NS // HOUR_NS, count_h))
        begins, ends = start_ns + part.start * HOUR_NS, start_ns + part.stop * HOUR_NS
        steps_w = means(hours, fleet, rows, begins, ends).power_w.reshape(len(rows), -1, A_HOUR)
        read = np.isfinite(steps_w)
        count = read.sum(axis=2)
        mean_w = np.where(read, steps_w, 0.0).sum(axis=2) / np.maximum(count, 1)
        metered = count >= LEAST_STEPS
        for name, mine in groups.items():
            at, size_w = np.searchsorted(rows, mine), rated_w[mine]
            there_w = (metered[at] * size_w[:, None]).sum(axis=0)
            frac = there_w / max(float(size_w.sum()), 1e-9)
            gave_w = np.where(metered[at], mean_w[at], 0.0).sum(axis=0)
            found[name][part] = np.where(frac >= LEAST_PRESENT_FRAC, -gave_w / np.maximum(frac, 1e-9) / 1e3, np.nan)
    return found


def called(state: DeskState, rows: Rows) -> list[tuple[int, int]]:
    """Return when a market or a program called some of these rows: by awards, instructions and events."""
    fleet, mine = state.fleet, np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    spans = [(one.pool, one.start_ns, one.end_ns) for one in state.awards.values() if one.power_w]
    told = (one for of_start in state.instructions.values() for one in of_start.values())
    spans += [(one.pool, one.start_ns, one.end_ns) for one in told if one.power_w]
    spans += [(one.group, one.start_ns, one.end_ns) for one in state.events.values() if one.state in CALLED]
    touched = {name: fleet.holds(name) and bool(mine[fleet.leaves(name)].any()) for name, _, _ in spans}
    return sorted({(start_ns, end_ns) for name, start_ns, end_ns in spans if touched[name]})


def series_of(
    hours: Hours, state: DeskState, names: Sequence[str], span_ns: tuple[int, int], zone: ZoneInfo
) -> list[MeterSeries]:
    """Return the load of each group by whole hours, from the midnight before the first reading on."""
    fleet: Fleet = state.fleet
    start_ns = market_day(from_ns(span_ns[0]).astimezone(zone).date(), zone).start_ns
    end_ns = start_ns + (span_ns[1] - start_ns) // HOUR_NS * HOUR_NS
    groups = {name: fleet.leaves(name) for name in names}
    starts_ns = np.arange(start_ns, end_ns, HOUR_NS, dtype=np.int64)
    made = []
    for name, kwh in drawn_kwh(hours, fleet, groups, start_ns, end_ns).items():
        spans = called(state, groups[name])
        for begins, ends in spans:
            kwh[(starts_ns < ends) & (starts_ns + HOUR_NS > begins)] = np.nan
        flags = (f"{len(spans)} called intervals are left out",) if spans else ()
        made.append(MeterSeries(name, starts_ns, kwh, HOUR_NS, flags))
    return made


def folder_series(
    folder: Path, names: Sequence[str], zone: ZoneInfo | None, clock: Clock, say: Hears
) -> tuple[list[MeterSeries], ZoneInfo]:
    """Return the load of pools, feeders or devices of a served folder, and by whose clock; no name: each pool.

    Raises:
        ConfigError: It holds no journal, no readings, or no such resource.
    """
    fleet, settings = registry.load(folder / "registry.bin"), load_config(folder / "tieline.toml")
    zone = ZoneInfo(settings.zone) if zone is None else zone
    names = names or [group.id for group in fleet.groups_of(Kind.POOL)]
    for name in names or ("",):
        if not fleet.holds(name) or not len(fleet.leaves(name)):
            raise ConfigError(f"--of {name!r}: holds no devices: give a pool, feeder or device of {folder}")
    tell_cut(folder, say)
    journal = journal_to_read(folder)
    try:
        state = state_of(fleet, law_in(folder, fleet), journal)
    finally:
        journal.close()
    span_ns = (0, 0)
    if any((folder / part).is_dir() for part in ("readings", "historian")):
        hours = Logged.of(Wal(folder / "readings"), Historian(folder / "historian", say))
        span_ns = hours.span_ns()
    if not span_ns[1]:
        raise ConfigError(f"{folder}: holds no readings: nothing is known of its devices")
    until_ns = min(span_ns[1], clock.now_ns())
    return series_of(hours, state, names, (span_ns[0], until_ns), zone), zone
