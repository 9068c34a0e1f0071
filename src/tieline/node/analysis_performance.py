"""A season from a book of statements: which events, who could have been called, how late readings were."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tieline.errors import ConfigError
from tieline.node.analysis_statement import read_sites
from tieline.pool.performance import Score, followed
from tieline.pool.season import GROUPS, Season
from tieline.pool.settled import Settled
from tieline.store.meter_files import HEAD, Floats, read_instants, read_table
from tieline.store.statement_files import read_statements
from tieline.times import from_ns, iso


def season_of(
    book: Path,
    first: str | None,
    last: str | None,
    program: str,
    sites_file: Path | None,
    telemetry_file: Path | None,
) -> Season:
    """Return the season of a book.

    Raises:
        ConfigError: A file or option is not what it should be, or no event is left.
    """
    begin, end = _day("--from", first, date.min), _day("--until", last, date.max)
    if end < begin:
        raise ConfigError(f"--until {end}: give {begin} or later")
    held = [series.newest.settled for series in read_statements(book).series.values()]
    events = [one for one in held if begin <= _day_of(one) <= end and program in ("", one.program)]
    if not events:
        has = ", ".join(sorted({f"{one.program} {_day_of(one)}" for one in held})[:10]) or "none"
        raise ConfigError(f"--book {book}: no event of these days and program: it has {has}")
    members = [] if sites_file is None else [site.customer for site in read_sites(sites_file).values()]
    return Season(events, members, None if telemetry_file is None else delays_of(telemetry_file))


def _day_of(one: Settled) -> date:
    return from_ns(one.start_ns).astimezone(ZoneInfo(one.zone)).date()


def _day(option: str, text: str | None, otherwise: date) -> date:
    try:
        return otherwise if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give a day such as 2024-06-01") from None


def delays_of(path: Path) -> Floats:
    """Return how long each reading took until it was at hand (s): `start` when it was taken, `received_at`.

    Raises:
        ConfigError: A row is no instant, or was at hand before it was taken; it is named.
    """
    table = read_table(path, ("start", "received_at"), ())
    taken, at_hand = (read_instants(path, table[name]) for name in ("start", "received_at"))
    if not len(taken):
        raise ConfigError(f"{path}: holds no row: give start,received_at")
    odd = np.flatnonzero(at_hand < taken)
    if len(odd):
        told = iso(int(at_hand[odd[0]]))
        raise ConfigError(f"{path}: row {odd[0] + HEAD}: received_at = {told!r}: give an instant at or after start")
    delays: Floats = (at_hand - taken) / 1e9
    return delays


def season_told(season: Season) -> dict[str, Any]:
    """Return a season as a program reads it."""
    events = []
    for at, score in enumerate(season.by_event):
        how = followed(season.events[at])
        more = {"statement": season.events[at].basis.statement, "error": how.error, "held_h": how.held_h,
                "is_shaped": how.is_shaped}  # fmt: skip
        events.append(_told(score, season.event_name(at)) | more)
    return {
        "all": _told(season.all, "all"), "events": events,
        **{f"by_{word}": [_told(score, score.name) for score in season.groups[word]] for word in GROUPS},
        "gini": season.fairness.gini,
        "calls": [{"customer": who, "calls": season.fairness.calls[who], "hours": hours}
                  for who, hours in season.fairness.hours.items()],
        "peaker": [{"mark": m.name, "value": m.value, "bar": m.bar.bar, "unit": m.bar.unit, "met": m.is_met,
                    "says": m.bar.says, "source": m.bar.source, "ours": m.bar.ours} for m in season.marks],
    }  # fmt: skip


def _told(score: Score, name: str) -> dict[str, Any]:
    return {
        "name": name, "events": score.events, "hours": score.hours, "committed_kwh": score.committed_kwh,
        "baseline_kwh": score.baseline_kwh, "delivered_kwh": score.delivered_kwh, "performance": score.performance,
        "excused_performance": score.excused_performance, "surplus_kwh": score.surplus_kwh,
        "lacks_kwh": dict(score.lacks_kwh), "rebound_kwh": score.rebound_kwh, "snapback": score.snapback,
    }  # fmt: skip
