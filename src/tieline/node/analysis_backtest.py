"""A backtest whole, as `tieline backtest` prints it and a notebook takes it, with what to judge it by beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.ids import derive
from tieline.simulate.backtest.asked import Backtest, backtest, checked
from tieline.simulate.backtest.carbon import CarbonRun, Sight, carbon_bound_kg, own_kg, run_carbon
from tieline.simulate.backtest.emissions import STEP_NS, august_2020
from tieline.simulate.backtest.energy import Run, bound_of, run
from tieline.simulate.backtest.fleet import MixedFleet, mixed
from tieline.simulate.backtest.money import Profit
from tieline.simulate.backtest.prices import DayAhead, day_ahead_of, read_prices
from tieline.simulate.backtest.timeline import Timeline
from tieline.times import HOUR_NS

Floats = NDArray[np.float64]
MONEY = ("day_ahead", "real_time", "penalties", "fuel", "owner_pay", "margin")
CALIFORNIA = ZoneInfo("America/Los_Angeles")
CALIFORNIA_RULES = "US-CA"
SIGHTS: tuple[Sight, ...] = ("published", "like_days", "foresight")


def backtest_of(
    name: str, devices: int | None = None, first: date | None = None, last: date | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Return a backtest, by its name or that of a TOML file; the same asked gives the same answer, to the cent.

    Args:
        name: Such as `ercot-february-2021`, or a file.
        devices: How many, in place of what it says.
        first: The first day, in place of what it says.
        last: The last day, that included.
        seed: By which fleet and outages are drawn.

    Raises:
        ConfigError: There is no such backtest, or a value, file or day is not what it should be.
    """
    said = {"devices": devices, "first": first, "last": last, "seed": seed}
    asked = msgspec.structs.replace(backtest(name), **{key: value for key, value in said.items() if value is not None})
    return _energy(checked(asked)) if asked.of == "energy" else _carbon(checked(asked))


def _head(asked: Backtest, fleet: MixedFleet) -> dict[str, Any]:
    kinds, counts = np.unique(fleet.kind, return_counts=True)
    return {
        "name": asked.name, "of": asked.of, "from": asked.first.isoformat(), "to": asked.last.isoformat(),
        "devices": asked.devices, "serving": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "refused": fleet.enrolment.refused, "seed": asked.seed, "terms": msgspec.to_builtins(asked.terms),
        "input_hash": derive("inputs", msgspec.json.encode(asked), *_files(asked)),
    }  # fmt: skip


def _files(asked: Backtest) -> list[bytes]:
    return [Path(name).read_bytes() for name in (asked.prices, asked.real_time) if name]


def _energy(asked: Backtest) -> dict[str, Any]:
    prices = day_ahead_of(asked)
    line = Timeline.of(prices.clock.zone, asked.first, asked.days, HOUR_NS)
    fleet = mixed(asked.devices, asked.seed, line, asked.terms, cools=False)
    spot = read_prices(Path(asked.real_time)) if asked.real_time else {}
    played = run(asked, fleet, line, prices, "known", spot)
    beside = [run(asked, fleet, line, prices, mind, spot) for mind in ("yesterday", "foresight")]
    return {
        **_head(asked, fleet), "point": asked.prices or asked.point,
        "real_time_prices": asked.real_time or "none: a deviation at the day-ahead price of its hour",
        "days": _days(played, line, prices), "whole": _profit(played.whole),
        "before_owners": str(played.whole.before_owners), "by_kind": _by_kind(played, fleet),
        "lacks_mwh": _lacks(played), "lines": sum(len(of_day) for of_day in played.lines),
        "missed_kwh": round(sum(wh for day in played.played for wh, _ in day.missed) / 1e3, 3),
        "beside": [
            {
                "by": one.mind, **_profit(one.whole), "before_owners": str(one.whole.before_owners),
                "by_kind": _by_kind(one, fleet),
            }
            for one in beside
        ],
        "bound_before_owners": round(bound_of(asked, fleet, line, prices), 2),
    }  # fmt: skip


def _profit(one: Profit) -> dict[str, str]:
    return {name: str(getattr(one, name)) for name in MONEY}


def _days(played: Run, line: Timeline, prices: DayAhead) -> list[dict[str, Any]]:
    found = []
    for at, money, day in zip(line.played, played.days, played.played, strict=True):
        hours = day.step_ns / HOUR_NS
        found.append({
            "day": line.clock.day(at).isoformat(), "hours": len(day.price), "model": prices.model_of(line, at),
            "mean_price": round(float(day.price.mean()), 2),
            "awarded_mwh": round(float(day.awarded_w.sum()) * hours / 1e6, 6),
            "delivered_mwh": round(float(day.delivered_w.sum()) * hours / 1e6, 6), **_profit(money),
        })  # fmt: skip
    return found


def _by_kind(played: Run, fleet: MixedFleet) -> dict[str, float]:
    """Return what each kind's deviations from its own way are worth at the day-ahead price, fuel not taken off."""
    worth = np.sum([day.worth for day in played.played], axis=0)
    return {str(kind): round(float(worth[fleet.kind == kind].sum()), 2) for kind in dict.fromkeys(fleet.kind.tolist())}


def _lacks(played: Run) -> dict[str, float]:
    """Return what lacked by cause (MWh)."""
    found: dict[str, float] = {}
    for of_day in played.lines:
        for line in of_day:
            if line.cause:
                found[line.cause] = found.get(line.cause, 0.0) - line.energy_wh / 1e6
    return {cause: round(mwh, 6) for cause, mwh in sorted(found.items())}


def _carbon(asked: Backtest) -> dict[str, Any]:
    rates = august_2020()
    line = Timeline.of(CALIFORNIA, asked.first, asked.days, STEP_NS)
    for at in (line.span(line.played[0]).start, line.span(line.played[-1]).stop - 1):
        rates.place(int(line.starts_ns[at]))
    terms = msgspec.structs.replace(asked.terms, jurisdiction=CALIFORNIA_RULES)
    fleet = mixed(asked.devices, asked.seed, line, terms, cools=True)
    played, *beside = [run_carbon(asked, fleet, line, rates, sight) for sight in SIGHTS]
    return {
        **_head(asked, fleet), "days": _carbon_days(played, beside, line),
        "own_way_tonnes": round(own_kg(fleet, line, rates) / 1e3, 6), "avoided_tonnes": _tonnes(played.avoided_kg),
        "by_kind_tonnes": {kind: round(kg / 1e3, 6) for kind, kg in played.by_kind_kg.items()},
        "shifted_mwh": round(float(played.shifted_kwh.sum()) / 1e3, 6),
        "missed_kwh": round(float(played.missed_kwh.sum()), 3),
        "beside": [{"by": one.sight, "avoided_tonnes": _tonnes(one.avoided_kg)} for one in beside],
        "bound_tonnes": round(carbon_bound_kg(fleet, line, rates) / 1e3, 6),
    }  # fmt: skip


def _tonnes(kg: Floats) -> float:
    return round(float(np.sum(kg)) / 1e3, 6)


def _carbon_days(played: CarbonRun, beside: Sequence[CarbonRun], line: Timeline) -> list[dict[str, Any]]:
    return [
        {
            "day": line.clock.day(at).isoformat(), "avoided_kg": round(float(played.avoided_kg[k]), 3),
            "shifted_kwh": round(float(played.shifted_kwh[k]), 3),
            **{f"{one.sight}_kg": round(float(one.avoided_kg[k]), 3) for one in beside},
        }
        for k, at in enumerate(line.played)
    ]  # fmt: skip
