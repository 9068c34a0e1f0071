"""Readings from outside: columnar JSON into columns and the log, durable before it is acknowledged."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.screens import Ingested
from tieline.fleet.columns import Fleet
from tieline.resource.batch import AHEAD_NS, BEHIND_NS, Readings, Rows
from tieline.resource.claim import Refusal
from tieline.resource.point import Point, ends_by_code, points
from tieline.store.names import Names
from tieline.times import SECOND_NS, Clock, iso

MOST_ROWS = 100_000


class _Sent(Struct, frozen=True, forbid_unknown_fields=True):
    """`Columns` as they come: the names stay text, for `Names` to read."""

    point: str
    resource: msgspec.Raw
    value: list[float]
    taken_at_ns: list[int]
    quality: list[int] | None = None


_DECODER = msgspec.json.Decoder(_Sent)


class Ingest:
    """Takes bodies of readings."""

    def __init__(
        self,
        fleet: Fleet,
        take: Callable[[Readings], object],
        keep: Callable[[list[Readings]], Awaitable[int]],
        clock: Clock,
        ahead_ns: int = AHEAD_NS,
    ) -> None:
        """Make an ingest; `take` fills the columns at once, `keep` returns when the readings are durable.

        Beyond `ahead_ns` a time that is still to come makes a reading questionable.
        """
        self._ahead_ns = ahead_ns
        self._fleet, self._take, self._keep, self._clock = fleet, take, keep, clock
        self._names = Names(fleet.ids)

    async def accept(self, body: bytes, scope: frozenset[str] = frozenset()) -> Ingested | Refusal:
        """Take one body; a row with an unknown resource, one outside `scope`, or no number is refused by its number.

        Raises:
            StoreError: The log failed; nothing of the body was kept.
        """
        try:
            columns = _DECODER.decode(body)
            rows = self._names.rows_of(columns.resource, MOST_ROWS)
        except msgspec.MsgspecError as error:
            return Refusal("not readings", "body", str(error)[:200], "columns: point, resource, value, taken_at_ns")
        point = points().get(columns.point)
        if point is None:
            return Refusal("no such point", "point", columns.point[:64], "a point of the catalogue")
        count = len(rows)
        lengths = {
            len(columns.value),
            len(columns.taken_at_ns),
            count if columns.quality is None else len(columns.quality),
        }
        if lengths != {count} or count > MOST_ROWS:
            return Refusal("columns differ in length, or are too long", "resource", str(count), f"at most {MOST_ROWS}")
        return await self._accept(columns, rows, point, self._allowed(scope, rows))

    def _allowed(self, scope: frozenset[str], rows: Rows) -> NDArray[np.bool_]:
        """Return which rows are known and may be sent by one of this scope (empty: any)."""
        if not scope:
            return rows >= 0
        mine = self._names.rows_of(msgspec.json.encode(sorted(scope)), MOST_ROWS)
        return np.isin(rows, mine[mine >= 0])

    async def _accept(self, columns: _Sent, rows: Rows, point: Point, allowed: NDArray[np.bool_]) -> Ingested | Refusal:
        code, count, values = point.code, len(rows), np.array(columns.value, np.float64)
        try:
            taken_ns = np.array(columns.taken_at_ns, np.int64)
            quality = np.zeros(count, np.uint32) if columns.quality is None else np.array(columns.quality, np.uint32)
        except OverflowError:
            return Refusal("a time or quality is out of range", "taken_at_ns, quality", "too large", "64 and 32 bits")
        low, high = (float(ends[code]) for ends in ends_by_code())
        # NaN is in no range; an instant of 0 means that nothing was ever read.
        now_ns = self._clock.now_ns()
        span_ns = max(now_ns - BEHIND_NS, 1), now_ns + BEHIND_NS
        good = allowed & (values >= low) & (values <= high) & (taken_ns >= span_ns[0]) & (taken_ns <= span_ns[1])
        if good.all():  # the common case needs no second copy
            came_ns = np.full(count, now_ns, np.int64)
            readings = Readings(rows, np.full(count, code, np.uint16), values, quality, taken_ns, came_ns, "http")
            return await self._keep_all(readings, ())
        refused = tuple(
            (int(k), _why(point, rows[k], allowed[k], float(values[k]), int(taken_ns[k]), span_ns))
            for k in np.flatnonzero(~good)
        )
        came_ns = np.full(int(good.sum()), now_ns, np.int64)
        codes = np.full(len(came_ns), code, np.uint16)
        readings = Readings(rows[good], codes, values[good], quality[good], taken_ns[good], came_ns, "http")
        return await self._keep_all(readings, refused)

    async def _keep_all(self, readings: Readings, refused: tuple[tuple[int, str], ...]) -> Ingested:
        if len(readings.rows):
            readings = self._fleet.in_rating(readings.in_time(self._ahead_ns))
            await self._keep([readings])
            self._take(readings)  # what could not be kept is not shown either
        return Ingested(len(readings.rows), refused)


def _why(point: Point, row: int, is_allowed: bool, value: float, taken_ns: int, span_ns: tuple[int, int]) -> str:
    if row < 0:
        return "unknown resource"
    if not is_allowed:
        return "not within your scope"
    if not math.isfinite(value):
        return "not a number"
    if taken_ns <= 0:
        return f"taken_at_ns {taken_ns}: not after 1970"
    if not span_ns[0] <= taken_ns <= span_ns[1]:
        end_ns, word = (span_ns[0], "later") if taken_ns < span_ns[0] else (span_ns[1], "earlier")
        return f"taken_at_ns {taken_ns}: give {end_ns} ({iso(end_ns // SECOND_NS * SECOND_NS)}) or {word}"
    unit = "" if point.unit == "1" else f" {point.unit}"
    return f"{point.key} {value:g}: give {point.ends[0]:g} to {point.ends[1]:g}{unit}"
