"""The region that the ISO clears our offers in: the IEEE 118-bus system on a summer's day, with our bids at one bus.

A territory of some dozens of devices moves no price of 5 GW. So each MW of ours counts as many times (`counts_as`) as
makes the pool a twentieth of the case's published load: as if so many like it offered the same. Awards and instructions
come back in MW of ours.

Our bids stand in the unit commitment hour by hour, as offers that can give nothing in any other hour. In real time what
was awarded is taken whatever it costs, as a block beneath the rest of the curve, which is cleared at its prices. What a
resource was called for and did not give, by its telemetry, is drawn at its bus in the next five minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.simulate.clearing import Case, Cleared, Commitment, Market, Offer, case118, commit
from tieline.simulate.clearing.case118 import shape
from tieline.wire.ads import messages as ads

Floats = NDArray[np.float64]
BUS, NAME = "60", "IEEE 118-bus"
POOL_FRAC = 0.05
SUMMER_FRAC, PER_DEGREE = 1.2, 0.015
"""A summer's day draws a fifth more than the published case, and 1.5 % of that case more a degree: rules of our own."""
COST_FRAC = 2.5
"""What plants ask beside the case's own offers, whose fuel is cheap: that of a summer in which gas is dear."""
RESERVE_FRAC, STEP_RESERVE_FRAC = 0.08, 0.05
"""What is held as reserve in a committed hour and in five minutes: the rest is for a load that strays."""
STRAY_FRAC, KEPT_FRAC, STEPS_AN_HOUR = 0.01, 0.9, 12
GAP, MOST_S = 5e-3, 600.0
"""The search ends at this proven gap, so that it is the same each time; its time (s) is far more than it takes."""


@dataclass(frozen=True, slots=True)
class Region:
    """What is fixed of the case.

    Attributes:
        load_frac: What is drawn, as a multiple of the published case.
        counts_as: How many MW of the case one MW of ours stands for.
    """

    load_frac: float = SUMMER_FRAC
    counts_as: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("load_frac", 2.0), ("counts_as", 1e9)):
            if not 0.0 < getattr(self, name) <= most:
                raise ConfigError(f"{name} = {getattr(self, name)}: give a number above 0, {most:g} at most")

    @classmethod
    def of(cls, pool_mw: float, hotter_c: float) -> Region:
        """Return the case for a pool of so many MW on a day that is hotter than its season by so many degC."""
        published_mw = float(case118().load_mw.sum())
        return cls(
            SUMMER_FRAC + PER_DEGREE * hotter_c, max(POOL_FRAC * published_mw / pool_mw, 1.0) if pool_mw > 0 else 1.0
        )

    @property
    def case(self) -> Case:
        """The network and its plants, at the cost of their fuel."""
        return dear()

    @property
    def row(self) -> int:
        """The row of our bus."""
        return dear().network.row(BUS)

    def drawn_mw(self, hour: Floats) -> Floats:
        """Return what each bus draws at hours of the local day; shape (hours, b)."""
        return self.load_frac * np.outer(shape(hour), case118().load_mw)

    def strays(self, steps: int, rng: np.random.Generator) -> Floats:
        """Return by what part of itself the load strays from what was foreseen, five minutes by five minutes."""
        x, found = rng.normal(0.0, STRAY_FRAC), np.zeros(steps)
        for k in range(steps):
            found[k] = x
            x = KEPT_FRAC * x + rng.normal(0.0, STRAY_FRAC * math.sqrt(1.0 - KEPT_FRAC**2))
        return found


@cache
def dear() -> Case:
    """Return the published case with offers at the cost of dear fuel; the same object each time."""
    case = case118()
    return replace(case, offers=tuple(_at_cost(offer) for offer in case.offers))


def _at_cost(offer: Offer) -> Offer:
    steps = tuple((mw, round(COST_FRAC * price, 2)) for mw, price in offer.steps)
    return replace(
        offer, steps=steps, no_load_per_h=COST_FRAC * offer.no_load_per_h, start_cost=COST_FRAC * offer.start_cost
    )


@lru_cache(maxsize=16)
def alone(load_frac: float, hours: tuple[float, ...]) -> Commitment:
    """Return the day as it is committed without us; `hours` are the middles of its hours on the local clock."""
    region = Region(load_frac)
    return _market(dear(), region.drawn_mw(np.array(hours))).day_ahead(gap=GAP, most_s=MOST_S)


def _market(case: Case, drawn_mw: Floats, ours: Sequence[Offer] = ()) -> Market:
    return Market(case, ours, reserve_frac=RESERVE_FRAC, step_reserve_frac=STEP_RESERVE_FRAC, drawn_mw=drawn_mw)


@dataclass(frozen=True, slots=True)
class Bid:
    """A bid of ours in the case: its offer, who made it, and in which hour of the day it stands (from 0)."""

    uid: str
    offer: Offer
    resource: str
    product: str
    hour: int


class ClearedDay:
    """One market day of the case with our bids: committed as it is made, then dispatched step by step."""

    def __init__(self, region: Region, hours: tuple[float, ...], bids: Sequence[tuple[ads.Bid, int]]) -> None:
        """Commit the day: seconds of work. `bids` come with the hour of the day that each stands in, from 0."""
        self.region, self.hours = region, hours
        self.alone = alone(region.load_frac, hours)
        self.bids = tuple(Bid(bid.bid_uid, _offer(bid, region), bid.resource, bid.product, hour) for bid, hour in bids)
        case, drawn = region.case, region.drawn_mw(np.array(hours))
        self._market = _market(case, drawn, [bid.offer for bid in self.bids])
        self._plants = _market(case, drawn)
        most = np.full((len(hours), len(self._market.offers)), np.inf)
        for bid in self.bids:
            at = self._market.row[bid.offer.name]
            most[:, at] = 0.0
            most[bid.hour, at] = np.inf
        self.ahead = self._market.day_ahead(gap=GAP, most_s=MOST_S, most_mw=most) if self.bids else self.alone
        self.without = self._without(drawn) if self.bids else self.alone
        self._next = 0
        self._begin(0)

    def awarded(self) -> list[tuple[float, float]]:
        """Return what each bid is awarded (MW of ours) and at what price ($/MWh), in the order of the bids."""
        found = []
        for bid in self.bids:
            hour = self.ahead.hours[bid.hour]
            mw = float(hour.power_mw[self._market.row[bid.offer.name]])
            found.append((mw / self.region.counts_as, float(hour.price[self.region.row])))
        return found

    def prices(self, hour: int) -> tuple[float, float, float]:
        """Return the price at our bus in an hour of the day ahead ($/MWh): with us, without, and by what is on with us.

        Without us others are on, also by chance within the gap; by what is on with us, less what we give, a price says
        what our energy did alone.
        """
        with_us, alone_, same = (each.hours[hour].price for each in (self.ahead, self.alone, self.without))
        row = self.region.row
        return float(with_us[row]), float(alone_[row]), float(same[row])

    def _without(self, drawn_mw: Floats) -> Commitment:
        """Return the day without us, the same plants on: what another search would have on differs by chance, too."""
        case = self.region.case
        is_on = self.ahead.is_on[:, : len(case.offers)]
        reserve = RESERVE_FRAC * drawn_mw.sum(axis=1)
        return commit(case.network, case.offers, drawn_mw, reserve_mw=reserve, is_on=is_on)

    def step(
        self, at: int, awarded_mw: Mapping[str, float], most_mw: Mapping[str, float], missed_mw: float, stray: float
    ) -> Called:
        """Return a step of the day as dispatched; one that doesn't follow the last begins at what its hour was for.

        Args:
            at: Which step of the day, from 0.
            awarded_mw: What each bid of this hour that was taken is awarded, by the bid's uid (MW of ours).
            most_mw: What each resource has declared that it can give; one that is left out gives all that it offered.
            missed_mw: What was called and not given of late (MW of ours).
            stray: By what part of itself the load strays from what was foreseen.
        """
        if at != self._next:
            self._begin(at)
        self._next = at + 1
        hour = self.hours[at // STEPS_AN_HOUR] - 0.5 + (at % STEPS_AN_HOUR + 0.5) / STEPS_AN_HOUR
        drawn = (1.0 + stray) * self.region.drawn_mw(np.array([hour]))[0]
        plants = self._plants.step((), drawn)
        with_us = drawn.copy()
        with_us[self.region.row] += missed_mw * self.region.counts_as
        offers, most = self._now(at // STEPS_AN_HOUR, awarded_mw, most_mw)
        made = self._market.step(offers, with_us, most)
        return self._called(made, plants, awarded_mw, missed_mw)

    def _begin(self, at: int) -> None:
        """Begin at a step, with us and beside it without: plants on alike, and what they gave in its hour."""
        self._market.begin(self.ahead, at)
        count = len(self.region.case.offers)
        hours = tuple(replace(hour, power_mw=hour.power_mw[:count]) for hour in self.ahead.hours)
        self._plants.begin(replace(self.ahead, is_on=self.ahead.is_on[:, :count], hours=hours), at)

    def _now(
        self, hour: int, awarded_mw: Mapping[str, float], most_mw: Mapping[str, float]
    ) -> tuple[list[Offer], dict[str, float]]:
        """Return our offers of an hour, what was awarded as a block beneath each curve, and the most that each gives.

        What a resource declared less than it sold is taken off what lies above its blocks first.
        """
        left_mw = {name: mw * self.region.counts_as for name, mw in most_mw.items()}
        offers, most = [], dict.fromkeys((bid.offer.name for bid in self.bids), 0.0)
        for bid in self.bids:
            sold_mw = awarded_mw.get(bid.uid, 0.0) * self.region.counts_as if bid.hour == hour else 0.0
            block_mw = min(sold_mw, left_mw.get(bid.resource, math.inf))
            left_mw[bid.resource] = left_mw.get(bid.resource, math.inf) - block_mw
            offers.append(replace(bid.offer, low_mw=block_mw, steps=_above(bid.offer.steps, block_mw)))
        for bid, offer in zip(self.bids, offers, strict=True):
            if bid.hour == hour and bid.uid in awarded_mw:
                more_mw = min(offer.high_mw - offer.low_mw, left_mw[bid.resource])
                left_mw[bid.resource] -= more_mw
                most[offer.name] = offer.low_mw + more_mw
        return offers, most

    def _called(self, made: Cleared, plants: Cleared, awarded_mw: Mapping[str, float], missed_mw: float) -> Called:
        called: dict[tuple[str, str], float] = {}
        for bid in self.bids:
            if bid.uid in awarded_mw:
                mw = float(made.power_mw[self._market.row[bid.offer.name]]) / self.region.counts_as
                called[bid.resource, bid.product] = called.get((bid.resource, bid.product), 0.0) + mw
        row = self.region.row
        return Called(called, float(made.price[row]), float(plants.price[row]), missed_mw, made.gave_way())


@dataclass(frozen=True, slots=True)
class Called:
    """Five minutes as dispatched.

    Attributes:
        mw: What is called of each resource and product (MW of ours).
        price: At our bus ($/MWh).
        without: The price there without us: the same plants are on, and what we give is given by them.
        missed_mw: What we had been called for and did not give (MW of ours).
        gave_way: What could not be met, in words.
    """

    mw: dict[tuple[str, str], float]
    price: float
    without: float
    missed_mw: float
    gave_way: tuple[str, ...]


def _offer(bid: ads.Bid, region: Region) -> Offer:
    return Offer(f"bid {bid.bid_uid}", BUS, tuple((region.counts_as * one.mw, one.price) for one in bid.segments))


def _above(steps: tuple[tuple[float, float], ...], block_mw: float) -> tuple[tuple[float, float], ...]:
    """Return what is left of steps above a block that takes the cheapest of them, as many as before.

    >>> _above(((10.0, 20.0), (5.0, 30.0)), 12.0)
    ((0.0, 20.0), (3.0, 30.0))
    """
    found = []
    for mw, price in steps:
        taken_mw = min(mw, block_mw)
        found.append((mw - taken_mw, price))
        block_mw -= taken_mw
    return tuple(found)
