"""What offers made as curves earn beside plain ones, over a year of day-ahead prices as they were (ERCOT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.desk.charging import ONE_WAY_FRAC, WEAR_PER_WH
from tieline.desk.foreseen import LOADS_FRAC
from tieline.desk.hedging import OPEN, Gives, OfferRisk, hedged_offers
from tieline.desk.offerable import cut
from tieline.desk.offering import day_ahead_offers
from tieline.desk.opt_out_rates import LOAD_FRAC
from tieline.desk.ports import Offer
from tieline.desk.price_cases import DAYS, DECAY, DayCases
from tieline.fleet.firm import firm_w
from tieline.simulate.iso.prices import ZONE, last_day, prices_of
from tieline.times import HOUR_NS, market_day

BAR = 1.0
UNIT = "net of curves over net of plain offers"
WHAT = "a year of ERCOT day-ahead prices: what offers made as curves bring beside plain ones, all else the same"
POINT, HOURS, DAY_HOURS, REACH_FRAC, PENALTY = "HB_NORTH", 6, 24, 0.99, 50.0
FIRST, QUICK_DAYS = date(2022, 1, 10), 40
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Fleet:
    """Batteries, houses, loads that are interrupted and a few biomass plants; what each gives, holds, asks, (n,)."""

    power_w: Floats
    energy_wh: Floats
    cost: Floats
    there_frac: Floats
    is_load: NDArray[np.bool_]


def _fleet(rng: np.random.Generator) -> _Fleet:
    batteries, houses, loads, plants = 120, 200, 40, 2
    power = [rng.uniform(4e3, 7e3, batteries), 0.15 * rng.uniform(3e3, 6e3, houses), 0.5 * rng.uniform(5e3, 6e4, loads)]
    power_w = np.concatenate([*power, 0.9 * rng.uniform(5e4, 1e5, plants)])
    kinds = np.repeat(np.arange(4), [batteries, houses, loads, plants])
    energy_wh = np.where(kinds == 0, 0.8 * 2.5 * power_w, np.inf)
    cost = np.array([35.0, 60.0, 110.0, 75.0])[kinds]
    is_load = (kinds == 1) | (kinds == 2)
    return _Fleet(power_w, energy_wh, cost, REACH_FRAC * np.where(is_load, 1.0 - LOAD_FRAC, 1.0), is_load)


def _cases(day: date) -> DayCases:
    """Return the cases of a day, from the days before it."""
    past = [list(prices_of(POINT, day - timedelta(days=back)).values())[:DAY_HOURS] for back in range(DAYS, 0, -1)]
    price = np.array([[*row, *row[-1:] * (DAY_HOURS - len(row))] for row in past])
    weight: Floats = DECAY ** np.arange(DAYS, dtype=np.float64)[::-1]
    weight = weight / weight.sum()
    return DayCases(weight @ price, price, price, weight)


@dataclass(slots=True)
class Earned:
    """What a way of offering came to ($), and its power (MWh) that was sold and lacked."""

    revenue: float = 0.0
    lack: float = 0.0
    cost: float = 0.0
    sold_mwh: float = 0.0
    lacks_mwh: float = 0.0

    @property
    def net(self) -> float:
        """Revenue less what buying back and giving cost."""
        return self.revenue - self.lack - self.cost


def _play(
    earned: Earned, offers: Sequence[Offer], fleet: _Fleet, price: Floats, start_ns: int, there: Floats, error: Floats
) -> None:
    """Clear a day's offers at its prices, give what can be given in the order of cost, and add up what came of it.

    What lacks is bought back at the hour's price, with a penalty. What stores gave they take back in the day's four
    cheapest hours, with losses and wear.
    """
    held_wh = fleet.energy_wh.copy()
    order = np.argsort(fleet.cost, kind="stable")
    refill = float(np.sort(price)[:4].mean()) / ONE_WAY_FRAC**2 + WEAR_PER_WH * 1e6
    cost = np.where(np.isfinite(fleet.energy_wh), refill, fleet.cost)
    for offer in offers:
        hour = (offer.start_ns - start_ns) // HOUR_NS
        sold_w = sum(step.power_w for step in offer.segments if step.price_per_mwh <= price[hour])
        can_w = np.minimum(fleet.power_w * there * np.where(fleet.is_load, max(error[hour], 0.0), 1.0), held_wh)
        given_w = np.zeros(len(can_w))
        given_w[order] = np.clip(sold_w - (np.cumsum(can_w[order]) - can_w[order]), 0.0, can_w[order])
        held_wh = held_wh - given_w
        lacks_w = sold_w - float(given_w.sum())
        earned.revenue += sold_w * price[hour] / 1e6
        earned.lack += lacks_w * max(price[hour] + PENALTY, 0.0) / 1e6
        earned.cost += float(given_w @ cost) / 1e6
        earned.sold_mwh, earned.lacks_mwh = earned.sold_mwh + sold_w / 1e6, earned.lacks_mwh + lacks_w / 1e6


def _within(offers: Sequence[Offer], fleet: _Fleet, count: int) -> list[Offer]:
    """Return offers cut to what can be counted on, as the desk cuts each that is made."""
    each_w = np.minimum(fleet.power_w, fleet.energy_wh / max(count, 1))
    made = (cut(offer, firm_w(each_w, fleet.there_frac)) for offer in offers)
    return [offer for offer in made if offer is not None]


def compared(seed: int, days: int, risk: OfferRisk) -> tuple[Earned, Earned]:
    """Return what curves and what plain offers earn over the same days, prices and luck."""
    rng = np.random.default_rng([seed, 7])
    fleet = _fleet(rng)
    curves, plain = Earned(), Earned()
    error_frac = np.where(fleet.is_load, LOADS_FRAC, 0.0)
    gives = Gives(fleet.power_w, fleet.energy_wh, fleet.cost, lambda _: fleet.there_frac, None, lambda hour: error_frac)
    for at in range(days):
        day = FIRST + timedelta(days=at)
        over, price = market_day(day, ZONE), np.array(list(prices_of(POINT, day).values()))
        there = (rng.random(len(fleet.power_w)) < fleet.there_frac).astype(np.float64)
        error = 1.0 + LOADS_FRAC * rng.standard_normal(25)
        if len(price) != DAY_HOURS:
            continue
        cases = _cases(day)
        made, _ = hedged_offers("p", "ENERGY", over, cases, cases.expected, gives, HOURS, lambda _: OPEN, risk)
        old = day_ahead_offers(
            "p", "ENERGY", over, cases.expected, fleet.power_w, fleet.energy_wh, fleet.cost, HOURS
        )  # fmt: skip
        for earned, offers in ((curves, made), (plain, old)):
            _play(earned, _within(offers, fleet, len(old)), fleet, price, over.start_ns, there, error)
    return curves, plain


def run(seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Offer day after day both ways, and return what curves bring over what plain offers do."""
    days = QUICK_DAYS if quick else (last_day(POINT) - FIRST).days
    risk = replace(OfferRisk(), penalty_per_mwh=PENALTY)
    progress(f"{days} days from {FIRST} on, both ways")
    curves, plain = compared(seed, days, risk)
    ratio = curves.net / plain.net
    return {
        "value": round(float(ratio), 3), "ok": bool(ratio >= BAR), "days": days,
        **{
            f"{name}_{key}": round(float(value), 2)
            for name, one in (("curve", curves), ("plain", plain))
            for key, value in (
                ("net", one.net), ("revenue", one.revenue), ("lack_cost", one.lack), ("sold_mwh", one.sold_mwh),
                ("lacks_mwh", one.lacks_mwh),
            )
        },
    }  # fmt: skip
