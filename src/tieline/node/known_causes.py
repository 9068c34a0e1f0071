"""What an analyst knows of a lack, from a table: what each cause took of an interval, of the pool or of one meter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tieline.errors import ConfigError
from tieline.market.settlement import shortfall_causes
from tieline.store.meter_files import EventFile
from tieline.store.product_files import FaultyRows, Field, read_rows
from tieline.times import MINUTE_NS, iso

MOST_KW = 1e8
NO_METER_DATA = "no_meter_data"
NOBODY: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class KnownCauses:
    """Watts by cause for each interval of an event: of the pool as a whole, and of single meters."""

    pool: Mapping[int, Mapping[str, float]]
    meters: Mapping[str, Mapping[int, Mapping[str, float]]]

    def pool_w(self, at: int) -> dict[str, float]:
        """Return what is known of the pool's lack in an interval: its own rows and those of all meters."""
        found = dict(self.pool.get(at, NOBODY))
        for of_meter in self.meters.values():
            for cause, watts in of_meter.get(at, NOBODY).items():
                found[cause] = found.get(cause, 0.0) + watts
        return found

    def meter_w(self, meter: str, at: int) -> dict[str, float]:
        """Return what is known of one meter's lack in an interval."""
        return dict(self.meters.get(meter, {}).get(at, NOBODY))


def otherwise(is_unread: bool) -> str:
    """Return the cause of what nobody knows a cause of."""
    return NO_METER_DATA if is_unread else "underperformed"


def known_causes(path: Path | None, event: EventFile, step_ns: int, meters: set[str]) -> KnownCauses:
    """Return the table of an event; without a file nothing is known.

    Args:
        path: `start,cause,kw`; `minutes` (an interval of the meter where it isn't given) and `resource` as there are.
        event: A row must lie within it.
        step_ns: Length of an interval of the meter.
        meters: Which resources there are.

    Raises:
        ConfigError: A row is no known cause, lies off the event or its grid, or names no meter; each is named.
    """
    if path is None:
        return KnownCauses({}, {})
    fields = [Field("kw", 0.0, MOST_KW), Field("minutes", 1 / 60, 1_500, step_ns / MINUTE_NS)]
    rows = read_rows(path, fields, ("cause",), ("cause",), has_cause=False)
    pool: dict[int, dict[str, float]] = {}
    of_meter: dict[str, dict[int, dict[str, float]]] = {}
    faults = []
    known = shortfall_causes()
    for at in range(len(rows)):
        start_ns, cause = int(rows.starts_ns[at]), str(rows.texts["cause"][at])
        long_ns, meter = round(float(rows.numbers["minutes"][at]) * MINUTE_NS), str(rows.resources[at])
        where = rows.where(at)
        if cause not in known:
            faults.append(f"{where}: cause = {cause!r}: give one of {', '.join(known)}")
        elif start_ns < event.start_ns or start_ns + long_ns > event.end_ns:
            faults.append(
                f"{where}: start = {iso(start_ns)!r}: give intervals of the event, from {iso(event.start_ns)}"
            )
        elif (start_ns - event.start_ns) % step_ns or long_ns % step_ns:
            faults.append(f"{where}: start = {iso(start_ns)!r}: give whole intervals of the meter")
        elif meter and meter not in meters:
            faults.append(f"{where}: resource = {meter!r}: give a meter of the meter file, or nothing for the pool")
        else:
            into = of_meter.setdefault(meter, {}) if meter else pool
            first = (start_ns - event.start_ns) // step_ns
            for k in range(first, first + long_ns // step_ns):
                of = into.setdefault(k, {})
                of[cause] = of.get(cause, 0.0) + float(rows.numbers["kw"][at]) * 1e3
    if faults:
        raise FaultyRows(faults)
    if not pool and not of_meter:
        raise ConfigError(f"{path}: holds no row: give start,cause,kw")
    return KnownCauses(pool, of_meter)
