"""Meter, temperature and event files of a settlement analyst: read whole or refused with the row, never filled in.

Meter: `start,kwh` and `meter` where there are several; `start` is ISO 8601 with an offset, `kwh` the energy of the
interval that begins there, consumption positive. Temperature: `start,celsius`. Event: TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.rim.texts import text_in
from tieline.store.meter_grid import step_of
from tieline.times import FAR, HOUR_NS, from_ns, iso, parse_iso, to_ns

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
EVENT_FIELDS = (
    "timezone", "start", "end", "other_event_days", "holidays", "temperature", "notified_at", "controls",
    "peak_load_kw", "firm_service_kw", "loss_factor", "population", "rating_kw",
)  # fmt: skip
HEAD = 2
"""A CSV's first row of values stands in its second line."""
MOST_KW = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class MeterSeries:
    """One meter's energy: start of each interval (UTC ns, rising) and kWh (NaN: no reading), both of shape (n,)."""

    meter: str
    starts_ns: Instants
    kwh: Floats
    step_ns: int
    flags: tuple[str, ...]
    rows: Instants | None = None
    """The row of each in its file; shape (n,). None: they stand in none."""


@dataclass(frozen=True, slots=True)
class EventFile:
    """An event as an analyst writes it down; `day` is the local day on which it begins."""

    zone: ZoneInfo
    start_ns: int
    end_ns: int
    other_event_days: frozenset[date]
    holidays: frozenset[date]
    temperature: Path | None
    notified_ns: int | None
    controls: Path | None = None
    """Meters of customers that were not called."""
    peak_load_kw: float | None = None
    firm_service_kw: float | None = None
    loss_factor: float = 1.0
    population: int | None = None
    """How many meters those of the file stand for."""
    rating_kw: Mapping[str, float] = field(default_factory=dict)
    """What a meter is registered for, either way, by its name; under "": each that has none of its own."""

    @property
    def day(self) -> date:
        """The local day of the event."""
        return from_ns(self.start_ns).astimezone(self.zone).date()


def read_meters(path: Path) -> list[MeterSeries]:
    """Return the meters of a CSV or Parquet file, by name.

    A row that repeats another one exactly is dropped and flagged; so is told of readings that are missing or negative.
    Nothing is filled in.

    Raises:
        ConfigError: The file, a column or a row is not what it should be; the row is named.
    """
    table = read_table(path, ("start", "kwh"), ("meter",))
    starts_ns, kwh = read_instants(path, table["start"]), read_numbers(path, table["kwh"], "kwh")
    if not len(kwh):
        raise ConfigError(f"{path}: holds no reading: give rows of start,kwh")
    names = table["meter"].cast(pa.string()).to_pylist() if "meter" in table.column_names else None
    if names is None:
        return [_series(path, "", np.arange(len(kwh)), starts_ns, kwh)]
    blank = next((at for at, name in enumerate(names) if not name), None)
    if blank is not None:
        raise ConfigError(f"{path}: row {blank + HEAD}: meter is empty: give a name in every row, or no such column")
    keys, of = np.unique(np.array(names, object).astype(str), return_inverse=True)
    order = np.argsort(of, kind="stable")
    bounds = np.searchsorted(of[order], np.arange(len(keys) + 1))
    return [_series(path, str(key), order[bounds[k] : bounds[k + 1]], starts_ns, kwh) for k, key in enumerate(keys)]


def read_warmest(path: Path, zone: ZoneInfo) -> dict[date, float]:
    """Return the highest temperature of each local day (degC). Raises ConfigError naming the row that is none."""
    found: dict[date, float] = {}
    for start_ns, value in zip(*(column.tolist() for column in read_celsius(path)), strict=True):
        if value == value:
            day = from_ns(start_ns).astimezone(zone).date()
            found[day] = max(found.get(day, value), value)
    return found


def read_celsius(path: Path) -> tuple[Instants, Floats]:
    """Return instants and temperatures (degC; NaN: empty) as they stand. Raises ConfigError naming a row at fault."""
    table = read_table(path, ("start", "celsius"), ())
    starts_ns, celsius = read_instants(path, table["start"]), read_numbers(path, table["celsius"], "celsius")
    odd = np.flatnonzero((celsius < -90.0) | (celsius > 65.0))
    if len(odd):
        raise ConfigError(f"{path}: row {odd[0] + HEAD}: celsius = {celsius[odd[0]]:g}: give -90 to 65 degC")
    return starts_ns, celsius


def read_column(path: Path, needed: tuple[str, ...], most: float) -> tuple[Instants, list[Floats]]:
    """Return the starts and the further columns of a table, in time order (prices, awards).

    Raises:
        ConfigError: A row is no number, is beyond `most`, or stands twice; it is named.
    """
    table = read_table(path, needed, ())
    starts_ns = read_instants(path, table["start"])
    columns = [read_numbers(path, table[name], name) for name in needed[1:]]
    for name, column in zip(needed[1:], columns, strict=True):
        odd = np.flatnonzero(~(np.abs(column) <= most))
        if len(odd):
            value = "empty" if np.isnan(column[odd[0]]) else f"{column[odd[0]]:g}"
            raise ConfigError(f"{path}: row {odd[0] + HEAD}: {name} = {value}: give -{most:g} to {most:g}")
    order = np.argsort(starts_ns, kind="stable")
    twice = np.flatnonzero(np.diff(starts_ns[order]) == 0)
    if len(twice):
        one, two = order[twice[0]] + HEAD, order[twice[0] + 1] + HEAD
        raise ConfigError(f"{path}: rows {one} and {two}: start = {iso(int(starts_ns[order[twice[0]]]))} stands twice")
    return starts_ns[order], [column[order] for column in columns]


def read_event(path: Path) -> EventFile:
    """Return an event file. Raises ConfigError naming the field, its value and what would do."""
    fields = _toml(path)
    unknown = sorted(set(fields) - set(EVENT_FIELDS))
    if unknown:
        raise ConfigError(f"{path}: {unknown[0]}: no such field: give {', '.join(EVENT_FIELDS)}")
    lacking = [name for name in EVENT_FIELDS[:3] if name not in fields]
    if lacking:
        raise ConfigError(f"{path}: {lacking[0]} is missing: give {', '.join(EVENT_FIELDS[:3])}")
    try:
        zone = ZoneInfo(str(fields["timezone"]))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = "an IANA name such as America/Los_Angeles"
        raise ConfigError(f"{path}: timezone = {fields['timezone']!r}: give {known}") from None
    start_ns, end_ns = (_instant(path, name, fields[name], zone) for name in ("start", "end"))
    if end_ns <= start_ns:
        raise ConfigError(f"{path}: end = {iso(end_ns)}: give an instant after start ({iso(start_ns)})")
    first, last = (from_ns(at).astimezone(zone).date() for at in (start_ns, end_ns - 1))
    if first != last:
        raise ConfigError(f"{path}: end = {iso(end_ns)}: give an event within one local day ({first})")
    beside: dict[str, Path | None] = {}
    for name in ("temperature", "controls"):
        told = fields.get(name)
        if told is not None and not isinstance(told, str):
            raise ConfigError(f"{path}: {name} = {told!r}: give the name of a CSV or Parquet file")
        beside[name] = None if told is None else path.parent / told
    told = fields.get("notified_at")
    return EventFile(
        zone, start_ns, end_ns,
        _days(path, "other_event_days", fields), _days(path, "holidays", fields),
        beside["temperature"],
        None if told is None else _instant(path, "notified_at", told, zone),
        beside["controls"], _number(path, "peak_load_kw", fields, 0.0, MOST_KW),
        _number(path, "firm_service_kw", fields, 0.0, MOST_KW), _number(path, "loss_factor", fields, 1.0, 2.0) or 1.0,
        _count(path, "population", fields), _ratings(path, fields.get("rating_kw", {})),
    )  # fmt: skip


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_in(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: give an event file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no TOML ({error}): give timezone, start and end") from None


def _instant(path: Path, name: str, value: object, zone: ZoneInfo) -> int:
    if isinstance(value, datetime):
        # A time of the wall clock without an offset is read on the event's own clock, which the file names.
        return to_ns(value if value.tzinfo is not None else value.replace(tzinfo=zone))
    try:
        return parse_iso(str(value))
    except ValueError:
        pass
    try:
        return to_ns(datetime.fromisoformat(str(value)).replace(tzinfo=zone))
    except ValueError:
        form = "ISO 8601 such as 2024-07-31T16:00:00-07:00"
        raise ConfigError(f"{path}: {name} = {value!r}: give {form}") from None


def _number(path: Path, name: str, fields: dict[str, Any], least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"{path}: {name} = {value!r}: give {least:g} to {most:g}")
    return float(value)


def _ratings(path: Path, told: object) -> dict[str, float]:
    """Return kW by meter, of a number for each or a table. Raises ConfigError naming what is no rating."""
    named = told if isinstance(told, dict) else {"": told}
    found = {}
    for meter, value in named.items():
        name = f"rating_kw.{meter}" if meter else "rating_kw"
        kw = _number(path, name, {name: value}, 0.0, MOST_KW)
        if not kw:
            raise ConfigError(f"{path}: {name} = {value!r}: give kW above 0, up to {MOST_KW:g}")
        found[meter] = kw
    return found


def _count(path: Path, name: str, fields: dict[str, Any]) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000_000:
        raise ConfigError(f"{path}: {name} = {value!r}: give a whole number, 1 to 1000000000")
    return value


def _days(path: Path, name: str, fields: dict[str, Any]) -> frozenset[date]:
    values = fields.get(name, [])
    found = []
    for at, value in enumerate(values if isinstance(values, list) else [values]):
        try:
            day = value if isinstance(value, date) else date.fromisoformat(str(value))
        except ValueError:
            raise ConfigError(f"{path}: {name}[{at}] = {value!r}: give days such as 2024-07-24") from None
        found.append(day.date() if isinstance(day, datetime) else day)
    return frozenset(found)


def read_table(path: Path, needed: tuple[str, ...], may: tuple[str, ...], *, only: bool = False) -> pa.Table:
    """Return the columns of a CSV or Parquet file that are needed, and those of `may` that it has.

    With `only` it may have no others: where left out means without limit, a name that is misspelt must not.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pyarrow.parquet.read_table(path)
        else:
            kinds = {"start": pa.string(), "meter": pa.string()}
            # Only an empty cell is left out: words such as NaN or NULL are those of a program that had no number.
            convert = pyarrow.csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=[""])
            table = pyarrow.csv.read_csv(path, convert_options=convert)
    except (OSError, pa.ArrowException) as error:
        told = str(error).splitlines()[0][:200]
        raise ConfigError(f"{path}: {told}: give a CSV or Parquet file with {','.join(needed)}") from None
    lacking = [name for name in needed if name not in table.column_names]
    if lacking:
        has = ", ".join(table.column_names)[:200]
        raise ConfigError(f"{path}: column {lacking[0]} is missing among {has}: give {','.join(needed)}")
    strange = [name for name in table.column_names if name not in (*needed, *may)] if only else []
    if strange:
        raise ConfigError(f"{path}: column {strange[0]!r} is not known: give {', '.join((*needed, *may))}")
    return table.select([*needed, *(name for name in may if name in table.column_names)])


def read_instants(path: Path, column: pa.ChunkedArray) -> Instants:
    """Return a column as UTC ns. Raises ConfigError naming the row that is no instant with an offset."""
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            raise ConfigError(f"{path}: start has no time zone: give instants with an offset")
        try:
            made = column.cast(pa.timestamp("ns", tz="UTC"))
        except pa.ArrowException:  # beyond what nanoseconds reach
            made = _one_by_one(path, column.cast(pa.timestamp("us", tz="UTC")).to_pylist())
    else:
        try:
            made = pc.cast(column.cast(pa.string()), pa.timestamp("ns", tz="UTC"))
        except pa.ArrowException:
            made = _one_by_one(path, column.to_pylist())
    if made.null_count:
        at = int(np.flatnonzero(np.asarray(made.is_null()))[0])
        raise ConfigError(f"{path}: row {at + HEAD}: start is empty: give ISO 8601 with an offset")
    found: Instants = made.cast(pa.int64()).to_numpy().astype(np.int64)
    return found


def _one_by_one(path: Path, values: list[object]) -> pa.ChunkedArray:
    """Read what the fast reader would not; the first that is no instant is named."""
    found = []
    for at, value in enumerate(values):
        try:
            found.append(parse_iso(str(value)))
        except ValueError as error:
            is_far = str(error).endswith(FAR)
            form = FAR if is_far else "ISO 8601 with an offset such as 2024-07-31T16:00:00-07:00"
            raise ConfigError(f"{path}: row {at + HEAD}: start = {str(value)!r}: give {form}") from None
    return pa.chunked_array([pa.array(found, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))])


def read_numbers(path: Path, column: pa.ChunkedArray, name: str) -> Floats:
    """Return a column as numbers; what is empty is NaN: no reading.

    Raises:
        ConfigError: A cell that is no finite number, a NaN that stands there in words too; its row is named.
    """
    try:
        made = column.cast(pa.float64())
    except pa.ArrowException:
        for at, value in enumerate(column.to_pylist()):
            try:
                float(str("nan" if value is None else value))
            except ValueError:
                raise ConfigError(f"{path}: row {at + HEAD}: {name} = {value!r}: give a number") from None
        made = pa.chunked_array([pa.array([float(str("nan" if v is None else v)) for v in column.to_pylist()])])
    numbers: Floats = made.to_numpy(zero_copy_only=False).astype(np.float64)
    given = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    endless = np.flatnonzero(given & ~np.isfinite(numbers))
    if len(endless):
        what = numbers[endless[0]]
        fit = "a number, or leave the cell empty" if np.isnan(what) else "a finite number"
        raise ConfigError(f"{path}: row {endless[0] + HEAD}: {name} = {what}: give {fit}")
    return numbers


def _series(path: Path, meter: str, at: NDArray[np.int64], starts_ns: Instants, kwh: Floats) -> MeterSeries:
    who = f"{path}: meter {meter}" if meter else str(path)
    order = at[np.argsort(starts_ns[at], kind="stable")]
    starts, values = starts_ns[order], kwh[order]
    flags: list[str] = []
    again = np.flatnonzero(np.diff(starts) == 0)
    for k in again:
        one, two = order[k] + HEAD, order[k + 1] + HEAD
        if not (values[k] == values[k + 1] or (np.isnan(values[k]) and np.isnan(values[k + 1]))):
            raise ConfigError(
                f"{who}: rows {one} and {two}: two readings of {iso(int(starts[k]))}, {values[k]:g} and "
                f"{values[k + 1]:g} kWh: keep the one that is right"
            )
        flags.append(f"row {two} repeats row {one}: left out")
    keep = np.concatenate([[True], np.diff(starts) != 0])
    order, starts, values = order[keep], starts[keep], values[keep]
    step_ns = step_of(who, starts, order + HEAD)
    for words, mask in (("without a reading", np.isnan(values)), ("negative: export into the grid", values < 0)):
        rows = order[mask] + HEAD
        if len(rows):
            some = ", ".join(str(row) for row in sorted(rows.tolist())[:5])
            flags.append(f"{len(rows)} rows {words} (row {some}{', ...' if len(rows) > 5 else ''})")
    most_kw = float(np.nanmax(np.abs(values), initial=0.0)) * HOUR_NS / step_ns
    if most_kw > MOST_KW:
        raise ConfigError(f"{who}: kwh comes to {most_kw:g} kW: no meter has over {MOST_KW:g} kW: are these Wh?")
    return MeterSeries(meter, starts, values, step_ns, tuple(flags[:20]), order + HEAD)
