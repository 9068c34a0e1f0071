"""Trades the market days of a stage: offers made before each gate, and a statement once each day is over.

Theory of operation. The story's day and every day after it are offered by the same code (`offers_of`): the dearest
hours by a forecast from days that are known at the gate. A territory that lives on has an auction on each eve. Ten
minutes before its gate the day is offered; a market that doesn't answer is asked again until the gate, as what is held
for an offer is held once. Ten minutes after midnight the day before is settled. The prices are data and end with the
last day of it (`last_day`): from then on nothing is offered, and that is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from operator import mul
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tieline.desk.offering import TYPICAL_SHARE, day_ahead_offers
from tieline.desk.ports import Offer
from tieline.errors import LinkDown, PeerError
from tieline.node.settling import day_of, settle
from tieline.node.stage import POOL, PRODUCT, Stage
from tieline.plan.forecast import like_days
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.iso.prices import ZONE, last_day, prices_of
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, market_day

Floats = NDArray[np.float64]
POINT = "HB_NORTH"
OFFER_HOURS, HOURS, LIKE_DAYS = 6, 24, 5
STORED_FRAC = 0.8
"""How full a store is taken to be on the day: the desk fills it in the cheap hours before its award."""
BEFORE_GATE_NS, AGAIN_NS, LEAST_AGAIN_NS = 10 * MINUTE_NS, MINUTE_NS, 10 * SECOND_NS
AFTER_DAY_NS = 10 * MINUTE_NS
"""How long after midnight a day is settled: its last interval must have been tracked and metered."""


@cache
def expected(day: date) -> Mapping[int, float]:
    """Return the forecast price of each hour of a market day by its start ($/MWh); empty beyond the data's end.

    From the five days before it, as known at its gate. A day of 23 or 25 hours is forecast by its first 23 or 24.
    """
    if day > last_day(POINT):
        return MappingProxyType({})
    past = np.full((LIKE_DAYS, HOURS), np.nan)
    for at, back in enumerate(range(LIKE_DAYS, 0, -1)):
        known = list(prices_of(POINT, day - timedelta(days=back)).values())[:HOURS]
        past[at, : len(known)] = known
    over = market_day(day, ZONE)
    hours = range(over.start_ns, over.end_ns, HOUR_NS)
    return MappingProxyType(dict(zip(hours, like_days(past.ravel(), HOURS).tolist(), strict=False)))


def expected_of(day: date, iso: IsoMarket | None = None) -> Mapping[int, float]:
    """Return the forecast of a market day ($/MWh by hour start): by an ISO's own days before, or those of the data."""
    if day > last_day(POINT):
        return MappingProxyType({})
    own = iso.foreseen(day) if iso is not None else None
    return expected(day) if own is None else own


def expected_from(instant_ns: int, iso: IsoMarket | None = None) -> dict[int, float]:
    """Return the forecast of the market day that an instant lies in, and of the next ($/MWh by hour start)."""
    today = day_of(instant_ns)
    return {**expected_of(today, iso), **expected_of(today + timedelta(days=1), iso)}


def next_gate(stage: Stage) -> int | None:
    """Return when the next gate closes; None: no day is left whose prices are known."""
    now_ns = stage.node.clock.now_ns()
    today = day_of(now_ns)
    days = (today + timedelta(days=ahead) for ahead in range(3))
    gates = (stage.iso.gate_ns(day) for day in days if day <= last_day(POINT))
    return next((gate_ns for gate_ns in gates if gate_ns > now_ns), None)


def offers_of(stage: Stage, day: date, sold_from_ns: int) -> list[Offer]:
    """Return offers of the dearest hours of a market day that begin at `sold_from_ns` or later.

    They are cut to what the pool can be counted on to give then. The pool is told what its hours are expected to cost:
    by that it charges its stores for the awards.
    """
    fleet, pool = stage.territory.fleet, stage.node.cycle.pools[POOL]
    over = market_day(day, ZONE)
    price = expected_of(day, stage.iso)
    now_ns = stage.node.clock.now_ns()
    pool.forecast = {at: cost for at, cost in pool.forecast.items() if at + HOUR_NS > now_ns} | dict(price)
    power_w = np.where(stage.eligible, _typical_up(stage), 0.0)
    energy_wh = np.where(fleet.energy_wh > 0, 0.0, np.inf)
    rows = np.concatenate([stage.world.rows[k] for k in (Kind.BATTERY, Kind.MECHANICAL_STORAGE, Kind.HYBRID_SITE)])
    energy_wh[rows] = STORED_FRAC * fleet.energy_wh[rows]
    worth = np.array([cost if at >= sold_from_ns else -np.inf for at, cost in price.items()])
    found = list[Offer]()
    for offer in day_ahead_offers(POOL, PRODUCT, over, worth, power_w, energy_wh, pool.price, OFFER_HOURS):
        made = stage.node.offerable.fitted(offer, now_ns, found)
        if made is not None:
            found.append(made)
    return found


def _typical_up(stage: Stage) -> Floats:
    """Return what each row can be expected to give at the dear hours (W): ratings of stores, part of the loads'."""
    fleet, rows = stage.territory.fleet, stage.world.rows
    typical = np.zeros(len(fleet))
    for kind, share in TYPICAL_SHARE.items():
        typical[rows[kind]] = share * stage.territory.rated_w[rows[kind]]
    return typical


async def offered(stage: Stage, day: date, offers: Sequence[Offer]) -> list[Refusal | None]:
    """Offer for a market day, again while its gate is open and the market does not answer; one answer a row.

    What is held for an offer is held once, however often it is made.

    Raises:
        LinkDown: The gate came first, or was closed already.
        PeerError: The gate came first.
    """
    gate_ns, clock = stage.iso.gate_ns(day), stage.node.clock
    while (left_ns := gate_ns - clock.now_ns()) > 0:
        try:
            return await stage.node.desk.offer(offers)
        except (LinkDown, PeerError):
            again_ns = min(AGAIN_NS, max(left_ns // 8, LEAST_AGAIN_NS))
            if left_ns <= again_ns:
                raise
            await stage.sleep(again_ns / SECOND_NS)
    raise LinkDown("the desk came too late")


def offers_told(offers: Sequence[Offer], of: str = "") -> str:
    """Return in words how much energy was offered in how many hours, and at what power; `of`: of which day."""
    if not offers:
        return f"offered nothing{of}"
    power_w = [sum(step.power_w for step in offer.segments) for offer in offers]
    hours = [(offer.end_ns - offer.start_ns) / HOUR_NS for offer in offers]
    energy_wh, count = sum(map(mul, power_w, hours)), sum(hours)
    least, most = (f"{each(power_w) / 1e6:.2f}" for each in (min, max))
    said = most if least == most else f"{least} to {most}"
    return f"offered {energy_wh / 1e6:.2f} MWh in {count:g} hour{'' if count == 1 else 's'}{of}, {said} MW"


class MarketDays:
    """Offers each day after the story's before its gate, and settles each day that is over, the story's first."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self.stage, self._say = stage, say
        self.offers_next, self.settles_next = stage.day + timedelta(days=1), stage.day

    def start(self) -> None:
        """Begin; what breaks is begun anew with the day that it broke at."""
        self.stage.node.supervisor.keep("offers", self.offer_days)
        self.stage.node.supervisor.keep("statements", self.settle_days)

    async def offer_days(self) -> None:
        """Offer day after day, each before its gate."""
        stage, last = self.stage, last_day(POINT)
        while self.offers_next <= last:
            await self._until(stage.iso.gate_ns(self.offers_next) - BEFORE_GATE_NS)
            await self._offer(self.offers_next)
            self.offers_next += timedelta(days=1)
        self._say(f"prices are known until {last}: nothing is offered for {self.offers_next} or later")
        await asyncio.Event().wait()  # nothing is left to do, and whoever keeps this would begin it anew

    async def _offer(self, day: date) -> None:
        offers = offers_of(self.stage, day, market_day(day, ZONE).start_ns)
        try:
            answers = await offered(self.stage, day, offers)
        except (LinkDown, PeerError) as error:
            self._say(f"nothing offered for {day}: {error}")
            return
        good = [offer for offer, refusal in zip(offers, answers, strict=True) if refusal is None]
        refused = [str(refusal) for refusal in answers if refusal is not None]
        last = f"; {len(refused)} refused: {refused[0]}" if refused else ""
        self._say(f"{offers_told(good, f' of {day}')}{last}")

    async def settle_days(self) -> None:
        """Settle day after day, each once it is over."""
        while True:
            day = self.settles_next
            await self._until(market_day(day, ZONE).end_ns + AFTER_DAY_NS)
            statement = await settle(self.stage, day)
            if isinstance(statement, Refusal):
                self._say(f"{day} not settled: {statement}")
            elif statement is not None:
                self._say(f"{day} settled: {statement.total} USD, {len(statement.shares.owners)} owners")
            self.settles_next = day + timedelta(days=1)

    async def _until(self, instant_ns: int) -> None:
        while (wait_ns := instant_ns - self.stage.node.clock.now_ns()) > 0:
            await self.stage.sleep(wait_ns / SECOND_NS)
