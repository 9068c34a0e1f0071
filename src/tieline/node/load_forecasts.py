"""What loads of served pools will draw today and tomorrow, foretold from the readings that are kept, beside the beat.

Theory of operation. Each local day, a quarter of an hour after midnight and once at a start, the load of each kind that
gives by drawing less is foretold for today (yesterday is known) and tomorrow: `tieline.forecast` replays the last
weeks, and of the week before, the last day, like days and a ridge that one speaks which had the least error of late.
What was made is kept by when it became known, never overwritten. Whole days are read from the historian once and held
as hours; where readings of one come late it is read anew, and what hangs on it foretold anew, once an hour at most.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from tieline.desk.offering import LOADS
from tieline.desk.trading import LoadForecastView
from tieline.errors import ConfigError
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.forecast.known import Issue
from tieline.forecast.replay import LOOKS_BACK_DAYS, MODELS
from tieline.node.analysis_forecast import REPLAYED_DAYS, Asked, forecast_of
from tieline.node.kept_loads import called, drawn_kwh
from tieline.node.kept_readings import HOLDS_NS, KeptReadings
from tieline.node.runtime import Node
from tieline.node.settlement_days import Terms
from tieline.node.trade_settings import BY_FORECAST
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.store.forecast_files import as_known, keep
from tieline.store.journal import StoreError
from tieline.store.meter_files import MeterSeries
from tieline.times import DAY_NS, HOUR_NS, from_ns, market_day

_log = structlog.get_logger("tieline.node.load_forecasts")
Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Spans = Sequence[tuple[int, int]]
LOOKS_BACK = REPLAYED_DAYS + LOOKS_BACK_DAYS + 2


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """One making: what is kept of it, and what models were worth for each series."""

    issue: Issue
    worth: Mapping[str, Mapping[str, Any]]


class LoadForecasts:
    """Foretells the loads of pools."""

    def __init__(self, node: Node, kept: KeptReadings, terms: Mapping[str, Terms], folder: Path) -> None:
        """Begin to foretell after each beat; `folder` is where forecasts are kept."""
        self.node, self.folder = node, folder
        self._kept, self._terms = kept, {n: t for n, t in terms.items() if t.settings.loads == BY_FORECAST}
        self._rows = {name: _loads_of(node, name) for name in self._terms if name in node.cycle.pools}
        self._days: dict[str, dict[date, dict[str, Floats]]] = {name: {} for name in self._rows}
        self._made: dict[tuple[str, date], Foretold] = {}
        self._next_ns, self._since_ns, self._busy = dict.fromkeys(self._rows, 0), dict.fromkeys(self._rows, 0), False
        self._late: list[tuple[str, date, date]] = []
        self._aside = ThreadPoolExecutor(1, "loads")
        node.supervisor.at_end(self._end)
        node.after_beat.append(self.look)
        node.on_kept.append(self.heard)

    async def _end(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._aside.shutdown)

    def heard(self, readings: Readings) -> None:
        """Note that readings of days that are over came in: these are read anew, and soon foretold from anew."""
        if not len(readings.taken_at_ns):
            return
        first_ns, last_ns = int(readings.taken_at_ns.min()), int(readings.taken_at_ns.max())
        for pool in self._days:
            zone = self._terms[pool].zone
            first, last = (from_ns(at).astimezone(zone).date() for at in (first_ns, last_ns + HOLDS_NS))
            if first < self._today(pool):
                self._forget(pool, first, last)
                self._late += [(pool, first, last)] if self._busy else []
                self._next_ns[pool] = min(self._next_ns[pool], self._since_ns[pool] + HOUR_NS)

    def _forget(self, pool: str, first: date, last: date) -> None:
        days = self._days[pool]
        for day in [day for day in days if first <= day <= last]:
            del days[day]

    def _today(self, pool: str) -> date:
        return from_ns(self.node.clock.now_ns()).astimezone(self._terms[pool].zone).date()

    async def look(self) -> None:
        """Have what is due foretold."""
        now_ns = self.node.clock.now_ns()
        due = [pool for pool, at_ns in self._next_ns.items() if at_ns <= now_ns and self._rows[pool]]
        if due and not self._busy:
            self._busy = True
            self.node.supervisor.spawn(self._make(due), "forecast of loads")

    async def _make(self, pools: Sequence[str]) -> None:
        node, loop = self.node, asyncio.get_running_loop()
        try:
            await self._kept.gather()
            for pool in pools:
                now_ns, today = node.clock.now_ns(), self._today(pool)
                spans = {name: called(node.state, rows) for name, rows in self._rows[pool].items()}
                over = market_day(today, self._terms[pool].zone)
                self._since_ns[pool], self._next_ns[pool] = now_ns, over.end_ns + HOLDS_NS
                days = self._days[pool]
                work = partial(self._foretell, pool, dict(days), spans, today, now_ns)
                read, made = await loop.run_in_executor(self._aside, work)
                days.update(read)
                self._made.update(made)
            for pool, first, last in self._late:  # what was read meanwhile may lack them
                self._forget(pool, first, last)
        except (OSError, StoreError, ConfigError) as error:
            _log.error("loads are not foretold: what they typically give is offered", error=str(error))
        finally:
            self._late.clear()
            self._busy = False

    # --- beside the beat ------------------------------------------------------------

    def _foretell(
        self, pool: str, days: dict[date, dict[str, Floats]], spans: Mapping[str, Spans], today: date, now_ns: int
    ) -> tuple[dict[date, dict[str, Floats]], dict[tuple[str, date], Foretold]]:
        """Return the days that were read, and what was made of all; in a thread of its own."""
        read = self._read(pool, days, today)
        series = _series(self._rows[pool], days | read, spans, self._terms[pool], today)
        made: dict[tuple[str, date], Foretold] = {}
        for ahead in (0, 1) if series else ():
            day = today + timedelta(days=ahead)
            asked = Asked(
                Path(pool), self._terms[pool].zone.key, None, 1 + ahead, "meter", "none", (), MODELS[:4], series
            )  # fmt: skip
            try:
                told, issue = forecast_of(asked, day)
            except ConfigError as why:  # too few days yet: what loads typically give is offered
                _log.info("no forecast of loads", pool=pool, day=str(day), why=str(why))
                continue
            issue = replace(issue, known_at_ns=now_ns)
            keep(self.folder, issue)
            worth = {one["series"]: {**one["lately"], "coverage_90": one["coverage_90"]} for one in told["series"]}
            made[pool, day] = Foretold(issue, worth)
        return read, made

    def _read(self, pool: str, days: Mapping[date, object], today: date) -> dict[date, dict[str, Floats]]:
        """Return what each kind drew on the days that are over and not known yet."""
        zone, found = self._terms[pool].zone, dict[date, dict[str, Floats]]()
        hours = self._kept.historian.hours()
        first = from_ns(hours[0] * HOUR_NS).astimezone(zone).date() if hours else today
        first = max(first, today - timedelta(days=LOOKS_BACK))
        for back in range((today - first).days, 0, -1):
            day = today - timedelta(days=back)
            if day not in days:
                over = market_day(day, zone)
                rows = self._rows[pool]
                found[day] = drawn_kwh(self._kept.historian, self._kept.fleet, rows, over.start_ns, over.end_ns)
        return found

    # --- what is known ------------------------------------------------------------

    def drawn_w(self, pool: str, day: date) -> dict[Kind, Floats]:
        """Return what each kind of a pool's loads is foretold to draw in each hour of a day (W); empty: nothing is."""
        made = self._made.get((pool, day))
        if made is None:
            return {}
        return {Kind(name.rpartition("/")[2]): made.issue.mean[k] * 1e3 for k, name in enumerate(made.issue.series)}

    def error_frac(self, pool: str, day: date) -> dict[Kind, Floats]:
        """Return by how much of its mean the draw of each kind is off in each hour of a day: one deviation, from the
        outer quantiles as of a normal error; NaN where there are none yet. Empty: nothing is foretold."""
        made = self._made.get((pool, day))
        if made is None:
            return {}
        issue, found = made.issue, dict[Kind, Floats]()
        reach = 2.0 * NormalDist().inv_cdf(float(issue.levels[-1]))  # levels lie alike about the median
        for k, name in enumerate(issue.series):
            deviation = (issue.quantiles[k, :, -1] - issue.quantiles[k, :, 0]) / reach
            mean = np.where(issue.mean[k] > 0.0, issue.mean[k], np.inf)
            found[Kind(name.rpartition("/")[2])] = deviation / mean
        return found

    async def known(self, pool: str, at_ns: int | None) -> list[LoadForecastView]:
        """Return what was known at an instant (None: now), from its local day on."""
        asked_ns = self.node.clock.now_ns() if at_ns is None else at_ns
        since_ns = asked_ns - DAY_NS
        loop = asyncio.get_running_loop()
        try:
            table = await loop.run_in_executor(None, as_known, self.folder, asked_ns, None, since_ns)
        except ConfigError:  # nothing was foretold yet
            return []
        grouped: dict[tuple[str, date], list[dict[str, Any]]] = {}
        for row in table.to_pylist():
            name = row["series"].rpartition("/")[0]
            zone = self._terms[name].zone if name in self._terms else None
            if zone is not None and pool in ("", name):
                day = from_ns(row["start_ns"]).astimezone(zone).date()
                if day >= from_ns(asked_ns).astimezone(zone).date():
                    grouped.setdefault((row["series"], day), []).append(row)
        return [self._view(series, day, rows) for (series, day), rows in sorted(grouped.items())]

    def _view(self, series: str, day: date, rows: Sequence[Mapping[str, Any]]) -> LoadForecastView:
        pool, _, kind = series.rpartition("/")
        first, made = rows[0], self._made.get((pool, day))
        newest = made is not None and made.issue.known_at_ns == first["known_at_ns"]
        worth = made.worth.get(series, {}) if made is not None and newest else {}
        low, high = (tuple(_known(row["quantiles"][at] * 1e3) for row in rows) for at in (0, -1))
        return LoadForecastView(
            pool, kind, day.isoformat(), first["known_at_ns"], first["readings_until_ns"], first["model"],
            tuple(row["start_ns"] for row in rows), tuple(row["mean"] * 1e3 for row in rows), low, high,
            _known(worth.get("skill", math.nan)), {n: _known(v) for n, v in worth.get("wape", {}).items()},
            _known(worth.get("coverage_90", math.nan)),
        )  # fmt: skip


def _loads_of(node: Node, pool: str) -> dict[str, Rows]:
    """Return the rows of each kind of load of a pool that may serve, by the name of its series."""
    fleet: Fleet = node.state.fleet
    desk = node.cycle.pools[pool]
    rows = desk.rows[desk.eligible]
    of_kind = {f"{pool}/{kind.value}": rows[fleet.kinds[rows] == KIND_CODE[kind]] for kind in LOADS}
    return {name: np.sort(mine).astype(np.int32) for name, mine in of_kind.items() if len(mine)}


def _series(
    rows: Mapping[str, Rows],
    days: Mapping[date, Mapping[str, Floats]],
    spans: Mapping[str, Spans],
    terms: Terms,
    today: date,
) -> list[MeterSeries]:
    """Return each kind's load by hours up to today, the called ones left out."""
    known = sorted(day for day in days if day < today)
    if not known:
        return []
    overs = [market_day(day, terms.zone) for day in known]
    starts_ns = np.concatenate([np.arange(over.start_ns, over.end_ns, HOUR_NS, dtype=np.int64) for over in overs])
    made = []
    for name in rows:
        kwh = np.concatenate([days[day][name] for day in known])
        for begins, ends in spans[name]:
            kwh[(starts_ns < ends) & (starts_ns + HOUR_NS > begins)] = np.nan
        made.append(MeterSeries(name, starts_ns, kwh, HOUR_NS, ()))
    return made


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
