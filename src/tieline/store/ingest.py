"""Readings from outside: columnar JSON into columns and the log, durable before it is acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import numpy as np
from msgspec import Struct

from tieline.fleet.columns import Fleet
from tieline.resource.batch import Readings
from tieline.resource.claim import Refusal
from tieline.resource.point import points
from tieline.times import Clock

MOST_ROWS = 100_000


class Columns(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one point, one a row: resource ids, values (SI), when (UTC ns), quality bits (left out: good)."""

    point: str
    resource: list[str]
    value: list[float]
    taken_at_ns: list[int]
    quality: list[int] | None = None


class Ingested(Struct, frozen=True):
    """How many rows were taken, and which were not: (row, why)."""

    taken: int
    refused: tuple[tuple[int, str], ...] = ()


_DECODER = msgspec.json.Decoder(Columns)


class Ingest:
    """Takes bodies of readings."""

    def __init__(
        self,
        fleet: Fleet,
        take: Callable[[Readings], object],
        keep: Callable[[list[Readings]], Awaitable[int]],
        clock: Clock,
    ) -> None:
        """Make an ingest; `take` fills the columns at once, `keep` returns when the readings are durable."""
        self._fleet, self._take, self._keep, self._clock = fleet, take, keep, clock

    async def accept(self, body: bytes) -> Ingested | Refusal:
        """Take one body; rows with an unknown resource or a value that is no number are refused by number."""
        try:
            columns = _DECODER.decode(body)
        except msgspec.MsgspecError as error:
            return Refusal("not readings", "body", str(error)[:200], "columns: point, resource, value, taken_at_ns")
        point = points().get(columns.point)
        if point is None:
            return Refusal("no such point", "point", columns.point[:64], "a point of the catalogue")
        count = len(columns.resource)
        lengths = {
            len(columns.value),
            len(columns.taken_at_ns),
            count if columns.quality is None else len(columns.quality),
        }
        if lengths != {count} or count > MOST_ROWS:
            return Refusal("columns differ in length, or are too long", "resource", str(count), f"at most {MOST_ROWS}")
        return await self._accept(columns, point.code, count)

    async def _accept(self, columns: Columns, code: int, count: int) -> Ingested | Refusal:
        rows = self._fleet.rows_of(columns.resource)
        values = np.array(columns.value)
        try:
            taken_ns = np.array(columns.taken_at_ns, np.int64)
            quality = np.zeros(count, np.uint32) if columns.quality is None else np.array(columns.quality, np.uint32)
        except OverflowError:
            return Refusal("a time or quality is out of range", "taken_at_ns, quality", "too large", "64 and 32 bits")
        good = (rows >= 0) & np.isfinite(values)
        refused = tuple((int(k), "unknown resource" if rows[k] < 0 else "not a number") for k in np.flatnonzero(~good))
        now_ns = np.full(int(good.sum()), self._clock.now_ns(), np.int64)
        codes = np.full(len(now_ns), code, np.uint16)
        readings = Readings(rows[good], codes, values[good], quality[good], taken_ns[good], now_ns, "http")
        if len(now_ns):
            self._take(readings)
            await self._keep([readings])
        return Ingested(len(now_ns), refused)
