"""Offers of a pool's dear hours as curves: each further watt asks what it costs, and for the risk that it lacks.

Theory of operation. Per hour: what each device is foretold to give, how often one like it is there when it is called,
and by how much loads together are off, make the power that will be there (`market.offer_value.Members`). The days of
late make the cases of prices. From both `market.curve` works out at which price each further watt breaks even; a store
asks no less than what its energy would earn in the best hour that it gives up. No share of the whole stays back for
what may fail: that is in the prices of the last watts. What is left out beyond that, the desk's foresight leaves out of
every offer (`desk.offerable`). No draw is made: the same inputs give the same offer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.foreseen import LOADS_FRAC
from tieline.desk.offering import LOADS, asks_of
from tieline.desk.ports import Offer, Segment
from tieline.desk.price_cases import DayCases
from tieline.desk.state import DeskState
from tieline.desk.trading import OfferReason
from tieline.fleet.columns import KIND_CODE, KINDS
from tieline.ids import derive
from tieline.market.curve import offer_curve, stack_cost
from tieline.market.offer import Step
from tieline.market.offer_value import Members, PriceCases, best_single, outlook, risk_of
from tieline.market.participation import Model, Number, Words
from tieline.plan.forecast import best_hours
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, Interval

Floats = NDArray[np.float64]
_OURS = "own"
OPEN = Model(
    id="any", version="1", name="A market that is told no participation model", product="ENERGY", sells="energy",
    gates=(), directions=Words(("up",), "K", _OURS), curve=Words(("steps",), "K", _OURS),
    min_mw=Number(0.01, "K", _OURS), step_mw=Number(0.001, "K", _OURS), points_most=Number(8, "K", _OURS),
    price_floor=Number(-20_000.0, "K", _OURS), price_cap=Number(20_000.0, "K", _OURS),
    price_tick=Number(0.5, "K", _OURS),
)  # fmt: skip
"""What is offered where a pool is told no participation model: what the desk takes, from 10 kW on, in half dollars."""


UNTOLD_FRAC = 0.25
"""By how much (one deviation) loads together are off what they typically give, where they are not foretold."""


class OfferRisk(Struct, frozen=True, forbid_unknown_fields=True):
    """What power that lacks costs and how that is weighed, where offers are curves.

    `penalty_per_mwh` comes on top of buying back. `aversion` 0 weighs the mean of all cases alone, 1 that of the worst
    `tail_frac` of them alone (CVaR). Power that lacks more often than `most_short_frac` is not offered at any price.
    """

    penalty_per_mwh: float = 50.0
    aversion: float = 0.5
    tail_frac: float = 0.1
    most_short_frac: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Gives:
    """What the rows of a fleet can give on a day; shape (n,).

    Attributes:
        power_w: Each at most (W).
        energy_wh: What each has stored for the day (Wh; inf: no store).
        cost: What each asks (per MWh).
        there_frac: How often each gives when it is called in an hour of the day, 0 to 1.
        frac: What part of `power_w` each can give in an hour of the day; None: all.
        error_frac: By how much of that loads together are off in an hour (one deviation, 0 for what is no load).
    """

    power_w: Floats
    energy_wh: Floats
    cost: Floats
    there_frac: Callable[[int], Floats]
    frac: Callable[[int], Floats] | None
    error_frac: Callable[[int], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Hedge:
    """What an hour's offer was made from: power that will be there, prices, and the stack (W, per MWh; (k,) each)."""

    available: Members
    prices: PriceCases
    power_w: Floats
    cost: Floats


def there_frac(state: DeskState, out_frac: Floats) -> Floats:
    """Return how often each row of the fleet gives when it is called: in reach, and not out by its owner's will.

    Shape (n,); of one whose owner is out now it is nothing. `out_frac` is how often owners of each kind opt out of an
    hour's calls; shape (kinds,).
    """
    frac = np.clip(state.reach_frac, 0.0, 1.0) * (1.0 - out_frac[state.fleet.kinds])
    return np.where(state.opted_out, 0.0, frac)


def load_errors(told: Mapping[Kind, Floats]) -> Floats:
    """Return by how much of its mean what each kind gives is off in each hour: one deviation; shape (hours, kinds).

    Args:
        told: Of kinds whose draw is foretold, by the hour of a day; NaN: not known yet.
    """
    found = np.zeros((max((len(each) for each in told.values()), default=1), len(KINDS)))
    for kind in LOADS:
        known = told.get(kind)
        found[:, KIND_CODE[kind]] = UNTOLD_FRAC if known is None else np.where(np.isfinite(known), known, LOADS_FRAC)
    return found


def hedged_offers(
    pool: str, product: str, day: Interval, cases: DayCases, price: Floats, gives: Gives, hours: int,
    model_at: Callable[[int], Model], risk: OfferRisk,
) -> tuple[list[Offer], Mapping[str, Hedge]]:  # fmt: skip
    """Return one offer for each of the dearest hours of a market day, and by its id what it was made from.

    Args:
        pool: Who offers.
        product: What.
        day: The market day.
        cases: What its hours may cost.
        price: What each is expected to cost, -inf: none is offered then; shape (hours of the day,).
        gives: What the fleet can give.
        hours: At most so many hours are offered.
        model_at: What the market takes at an instant.
        risk: What a lack costs and how it is weighed.
    """
    chosen = best_hours(price, hours, float(np.min(gives.cost)) if len(gives.cost) else 0.0)
    if not len(chosen):
        return [], {}
    sustained_w = np.minimum(gives.power_w, gives.energy_wh / len(chosen))
    asks = asks_of(price[int(chosen[0]) :], sustained_w, gives.energy_wh, gives.cost)
    offers, hedges = list[Offer](), dict[str, Hedge]()
    for hour in chosen.tolist():
        hedge = _hedge(sustained_w, asks, cases.hour(hour), gives, hour)
        start_ns = day.start_ns + hour * HOUR_NS
        steps = curve_of(hedge, model_at(start_ns), risk)
        if steps:
            name = derive("offer-id", pool, product, start_ns)
            segments = tuple(Segment(step.power_w, step.price) for step in steps)
            offers.append(Offer(name, pool, product, start_ns, start_ns + HOUR_NS, segments))
            hedges[name] = hedge
    return offers, hedges


def _hedge(sustained_w: Floats, asks: Floats, prices: PriceCases, gives: Gives, hour: int) -> Hedge:
    watts = sustained_w if gives.frac is None else sustained_w * gives.frac(hour)
    rows = np.flatnonzero(watts > 0.0)
    there_frac = gives.there_frac(hour)[rows]
    error_w = float((watts[rows] * gives.error_frac(hour)[rows]).sum())
    cost, of = np.unique(asks[rows], return_inverse=True)
    by_cost = np.bincount(of, watts[rows], minlength=len(cost)).astype(np.float64)
    return Hedge(Members.of(watts[rows], there_frac, error_w), prices, by_cost, cost)


def curve_of(hedge: Hedge, model: Model, risk: OfferRisk) -> tuple[Step, ...]:
    """Return the steps of an hour's offer as a market takes it; empty: nothing that it takes."""
    prices = hedge.prices
    weighed = risk_of(prices, risk.penalty_per_mwh, risk.aversion, risk.tail_frac, risk.most_short_frac)

    def one_of(power_w: Floats, price: Floats, least_w: float) -> int:
        return best_single(power_w, price, least_w, prices)

    return offer_curve(model, hedge.power_w, hedge.cost, hedge.available, weighed, one_of=one_of)


def reason_of(offer: Offer, hedge: Hedge, risk: OfferRisk, room_w: float) -> OfferReason:
    """Return why an offer is as it is; `room_w` is the most that could be offered then, by the forecast (W)."""
    steps = [Step(one.power_w, one.price_per_mwh) for one in offer.segments]
    whole_w = sum(step.power_w for step in steps)
    cost = float(stack_cost(hedge.power_w, hedge.cost, np.array([whole_w]))[0])
    told = outlook(steps, hedge.available, hedge.prices, risk.penalty_per_mwh, cost)
    return OfferReason(
        offer.id, told.price, told.sold_w, told.revenue, told.lacks_w, told.penalty, told.marginal_cost,
        told.clears_frac, told.there_frac, room_w,
    )  # fmt: skip
