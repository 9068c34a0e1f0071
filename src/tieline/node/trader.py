"""What traders and their programs do at a node: offers to its market, prices in, settled days out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.desk import prices as price_book
from tieline.desk.agreed import ENERGY
from tieline.desk.desk_views import DayView, StatementView
from tieline.desk.hedging import OPEN, Gives, Hedge, hedged_offers, load_errors, reason_of, there_frac
from tieline.desk.offerable import cut
from tieline.desk.offering import by_load, day_ahead_offers, what_it_gives
from tieline.desk.opt_out_rates import OptOutView, opt_out_rates, views_of
from tieline.desk.ports import Award, Offer
from tieline.desk.price_cases import day_cases
from tieline.desk.prices import SendPrices, TakenPrices
from tieline.desk.trading import (
    HELD,
    MOST_OFFERS,
    AskOffer,
    LoadForecastView,
    OfferView,
    Proposal,
    ask_of,
    offer_of,
    refusal_of,
    view_of,
)
from tieline.errors import LinkDown, PeerError
from tieline.market.participation import Model
from tieline.node import read_market
from tieline.node.kept_readings import KeptReadings
from tieline.node.load_forecasts import LoadForecasts
from tieline.node.participating import Participation
from tieline.node.runtime import Node
from tieline.node.settlement_days import RUNNING, SETTLED, Key, SettlementDays, Standing, Terms
from tieline.node.trade_settings import BY_CURVE, BY_SCHEDULE, PoolSettings
from tieline.pool.merit import merit_price
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, HOUR_NS, from_ns, hour_start_ns, market_day

SHOWN_NS = 8 * DAY_NS
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def terms_of(
    pools: Sequence[str], zone: str, settings: Mapping[str, PoolSettings], zones: Mapping[str, str]
) -> dict[str, Terms]:
    """Return the terms of each pool: its settings, and its market's zone (the utility's, where none)."""
    return {
        pool: Terms(settings.get(pool, PoolSettings()), ZoneInfo(zones.get(pool, zone))) for pool in pools
    }  # fmt: skip


class NodeTrader:
    """Implements `desk.screens.Trader` over a node."""

    def __init__(self, node: Node, terms: Mapping[str, Terms], kept: KeptReadings | None = None) -> None:
        """Make a trader; `kept` is where readings are, None: nowhere, so that no day is settled here."""
        self.node, self.terms = node, terms
        self.participation: Participation | None = None
        self.days = SettlementDays(node, kept, terms)
        self.loads: LoadForecasts | None = None
        self._hours: list[int] = []
        node.load_frac.update({pool: partial(self._load_frac_at, pool) for pool in terms})
        node.after_beat.append(self._each_hour)

    async def _each_hour(self) -> None:
        now_ns = self.node.clock.now_ns()
        hours = [hour_start_ns(now_ns, terms.zone) for terms in self.terms.values()]
        if hours != self._hours:
            self._hours = hours
            self._expect()

    def _expect(self) -> None:
        """Let each pool expect what the prices of its zone let expect; where none came in, nothing is changed."""
        now_ns = self.node.clock.now_ns()
        for pool, terms in self.terms.items():
            expected = price_book.forecast(self.node.state, terms.settings.price_zone, terms.zone, now_ns)
            if expected and pool in self.node.cycle.pools:
                self.node.cycle.pools[pool].forecast = expected

    def by_schedule(self) -> list[str]:
        """Return the pools whose awards are given by a schedule."""
        return [pool for pool, terms in self.terms.items() if terms.settings.dispatch == BY_SCHEDULE]

    def forecast(self) -> Mapping[int, float]:
        """Return what the first pool's hours are expected to cost ($/MWh), for the market desk."""
        first = next(iter(self.node.cycle.pools.values()), None)
        return {} if first is None else first.forecast

    # --- offers -------------------------------------------------------------------------------------------------------

    async def offer(self, asks: Sequence[AskOffer]) -> list[OfferView]:
        """Hold, record and submit offers; one view a row. A row that says what one before it does has no effect."""
        state, now_ns = self.node.state, self.node.clock.now_ns()
        refused: dict[int, Refusal] = {}
        first: dict[str, int] = {}
        for at, ask in enumerate(asks):
            refusal = self._refusal(ask, len(asks), now_ns)
            if refusal is None and ask != asks[first.setdefault(ask.id, at)]:
                refusal = Refusal("an id is there twice", "id", ask.id, "an id of its own")
            if refusal is not None:
                refused[at] = refusal
        news = [at for at, ask in enumerate(asks) if first.get(ask.id) == at]
        answered = state.offer_answers.keys() | state.unawarded.keys()
        good = [at for at in news if at not in refused and asks[at].id not in answered]
        unheard, answers = "", list[Refusal | None]()
        try:
            answers = await self.node.desk.offer([offer_of(asks[at]) for at in good])
        except (LinkDown, PeerError) as error:
            # Held all the same, but for what the book refuses: sent again it is submitted again.
            answers = [self.node.desk.decide_offer(offer_of(asks[at]))[1][0] for at in good]
            if any(no is None and asks[at].id not in state.offers for at, no in zip(good, answers, strict=True)):
                raise  # it was not the market that is silent: nothing was recorded
            unheard = f"the market did not answer, send it again: {error}"
        refused |= {at: refusal for at, refusal in zip(good, answers, strict=True) if refusal is not None}
        # The same row again is answered as its first is, as it would be in a body of its own.
        shown = {at: refused.get(at, refused.get(first.get(ask.id, at))) for at, ask in enumerate(asks)}
        views = [view_of(state, offer_of(ask), now_ns, shown[at]) for at, ask in enumerate(asks)]
        return [replace(view, reason=unheard) if view.state == HELD and unheard else view for view in views]

    def _refusal(self, ask: AskOffer, count: int, now_ns: int) -> Refusal | None:
        if count > MOST_OFFERS:
            return Refusal("too many offers at once", "offers", str(count), f"at most {MOST_OFFERS}")
        if self.node.desk.market is None:
            return Refusal("no market to offer to", "pool", ask.pool[:64], "a pool of [[links.iso]]")
        refusal = refusal_of(self.node.state, ask, self.node.cycle.pools, now_ns)
        if refusal is not None or ask.id in self.node.state.offers:  # known: the desk holds it anew before it leaves
            return refusal
        admission = self.node.desk.admission
        return None if admission is None else admission.refusal(offer_of(ask), now_ns)

    def offers(self, pool: str) -> list[OfferView]:
        """Return the offers of a pool (empty: all) of the last and the next days, by hour."""
        state, now_ns = self.node.state, self.node.clock.now_ns()
        mine = [o for o in state.offers.values() if pool in ("", o.pool) and abs(o.start_ns - now_ns) < SHOWN_NS]
        return [view_of(state, offer, now_ns) for offer in sorted(mine, key=lambda o: (o.start_ns, o.id))]

    def proposal(self, pool: str, day: str, hours: int) -> Proposal | Refusal:
        """Return offers of the dearest hours to come of a market day (empty: tomorrow) of a pool (empty: the first)."""
        node, now_ns = self.node, self.node.clock.now_ns()
        pool = pool or next(iter(node.cycle.pools), "")
        desk, terms = node.cycle.pools.get(pool), self.terms.get(pool)
        if desk is None or terms is None:
            return Refusal("no such pool", "pool", pool[:64], f"one of {', '.join(node.cycle.pools) or '(none)'}")
        try:
            wanted = date.fromisoformat(day) if day else self.days.day_of(pool, now_ns) + timedelta(days=1)
        except ValueError:
            return Refusal("not a day", "day", day[:64], "such as 2022-08-17")
        over = market_day(wanted, terms.zone)
        cases = day_cases(node.state, terms.settings.price_zone, terms.zone, now_ns, wanted)
        to_come = over.start_ns + HOUR_NS * np.arange(len(cases.expected)) > now_ns
        if not to_come.any() or not np.isfinite(cases.expected[to_come]).all():
            zone = terms.settings.price_zone
            why = f"no price is expected: give today or tomorrow, and a whole day of prices of {zone}"
            return Proposal(pool, wanted.isoformat(), (), why)
        price = np.where(to_come, cases.expected, -np.inf)
        gives, risk = self._gives(pool, wanted), terms.settings.risk
        hedges: Mapping[str, Hedge] = {}
        if terms.settings.offers == BY_CURVE:
            made, hedges = hedged_offers(
                pool, "ENERGY", over, cases, price, gives, hours, partial(self._model_at, pool), risk
            )
        else:
            made = day_ahead_offers(
                pool, "ENERGY", over, price, gives.power_w, gives.energy_wh, gives.cost, hours, gives.frac
            )
        why = "" if made else "no hour is dearer than what its devices ask, or they have less than 10 kW to give"
        offers, refused, left_w = self._admitted(made, now_ns)
        why = refused if refused and not offers else why
        reasons = (reason_of(one, hedges[one.id], risk, left_w[one.id]) for one in offers if one.id in hedges)
        return Proposal(pool, wanted.isoformat(), tuple(map(ask_of, offers)), why, tuple(reasons))

    def _model_at(self, pool: str, at_ns: int) -> Model:
        """Return what the market of a pool takes at an instant; `OPEN` where that is not told."""
        found = self.participation.model_of(pool, at_ns) if self.participation is not None else None
        return OPEN if found is None else found

    def _gives(self, pool: str, day: date) -> Gives:
        """Return what the rows of the fleet can give for a pool on a day."""
        fleet, state = self.node.state.fleet, self.node.state
        power_w, energy_wh = what_it_gives(fleet, self._may_serve(pool))
        off = {} if self.loads is None else self.loads.error_frac(pool, day)
        errors, zone = load_errors(off), self.terms[pool].zone
        opened_ns = market_day(day, zone).start_ns
        rates = opt_out_rates(state, zone, self.node.clock.now_ns()).of_hour()

        def there(hour: int) -> Floats:
            return there_frac(state, rates[:, from_ns(opened_ns + hour * HOUR_NS).astimezone(zone).hour])

        return Gives(
            power_w, energy_wh, merit_price(fleet.kinds), there, self._by_load(pool, day, power_w),
            lambda hour: errors[min(hour, len(errors) - 1), fleet.kinds],
        )  # fmt: skip

    def opt_outs(self, pool: str) -> list[OptOutView] | Refusal:
        """Return how often owners of each kind of a pool's (empty: the first) devices opt out of calls."""
        pool = pool or next(iter(self.node.cycle.pools), "")
        desk, terms = self.node.cycle.pools.get(pool), self.terms.get(pool)
        if desk is None or terms is None:
            known = ", ".join(self.node.cycle.pools) or "(none)"
            return Refusal("no such pool", "pool", pool[:64], f"one of {known}")
        rates = opt_out_rates(self.node.state, terms.zone, self.node.clock.now_ns())
        return views_of(rates, self.node.state.fleet.kinds[desk.rows])

    def _may_serve(self, pool: str) -> Mask:
        """Return which rows of the fleet a pool may offer."""
        desk, state = self.node.cycle.pools[pool], self.node.state
        may_serve = np.zeros(len(state.fleet), np.bool_)
        may_serve[desk.rows] = desk.eligible & state.agrees(ENERGY, desk.rows)
        return may_serve

    def _by_load(self, pool: str, day: date, power_w: Floats) -> Callable[[int], Floats] | None:
        """Return what part of its power each row can give in an hour of a day, or None where no load is foretold."""
        drawn_w = {} if self.loads is None else self.loads.drawn_w(pool, day)
        fleet = self.node.state.fleet
        parts = by_load(fleet, power_w, drawn_w)
        return (lambda hour: parts[min(hour, len(parts) - 1), fleet.kinds]) if drawn_w else None

    def _load_frac_at(self, pool: str, at_ns: int) -> Floats | None:
        """Return what part of what it typically gives each row can give at an instant; None: no load is foretold."""
        day = self.days.day_of(pool, at_ns)
        gives_w, _ = what_it_gives(self.node.state.fleet, self._may_serve(pool))
        frac = self._by_load(pool, day, gives_w)
        return None if frac is None else frac((at_ns - market_day(day, self.terms[pool].zone).start_ns) // HOUR_NS)

    async def load_forecasts(self, pool: str, at_ns: int | None) -> list[LoadForecastView]:
        """Return what was known at an instant (None: now) of the loads of a pool (empty: all), from its day on."""
        return [] if self.loads is None else await self.loads.known(pool, at_ns)

    def _admitted(self, offers: Sequence[Offer], now_ns: int) -> tuple[list[Offer], str, dict[str, float]]:
        """Return offers as they would be taken, cut to what is foreseen for their hours beside those before them and to
        what the pool's market takes, why others are left out, and what could be offered at most of each (W)."""
        admission, found, why, left_w = self.node.desk.admission, list[Offer](), "", dict[str, float]()
        for offer in offers:
            left_w[offer.id] = self.node.offerable.left_w(offer, now_ns, found)
            made = cut(offer, left_w[offer.id])
            if made is None:
                why = "nothing is left of what its devices can be counted on to give in those hours"
                continue
            made = made if admission is None else admission.fitted(made)
            refusal = None if made is None or admission is None else admission.refusal(made, now_ns)
            if made is not None and refusal is None:
                found.append(made)
            else:
                why = "less than the market's least offer, or dearer than its cap" if refusal is None else str(refusal)
        return found, why, left_w

    # --- prices -------------------------------------------------------------------------------------------------------

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices | Refusal:
        """Take prices of a zone, durable when it returns."""
        zones: dict[str, list[ZoneInfo]] = {}
        for terms in self.terms.values():
            zones.setdefault(terms.settings.price_zone, []).append(terms.zone)
        entries, answer = price_book.decide_prices(self.node.state, sent, zones, by, self.node.clock.now_ns())
        await self.node.desk.commit(entries)
        if entries:
            self._expect()
            self.days.changed_since(min(sent.start_ns))
        return answer

    # --- settled days -------------------------------------------------------------------------------------------------

    def settlements(self, pool: str) -> list[DayView]:
        """Return the award days of a pool (empty: all), the newest first."""
        statements = read_market.settlement_view(self.node.state, self.node.journal, 0).statements
        days = self.days.days()
        mine = sorted((key for key in days if pool in ("", key[0])), key=lambda key: (key[1], key[0]), reverse=True)
        return [self._day(key, days[key], statements) for key in mine]

    def _day(self, key: Key, awards: Sequence[Award], statements: Sequence[StatementView]) -> DayView:
        pool, day = key
        mine = [s for s in statements if s.pool == pool and self.days.day_of(pool, s.start_ns) == day]
        # Nobody watches the days of a demonstration here: it settles them itself, and its statements tell.
        standing = self.days.standing.get(key, Standing(SETTLED if mine else RUNNING))
        awarded_wh = math.fsum(a.power_w * (a.end_ns - a.start_ns) / HOUR_NS for a in awards)
        return DayView(
            pool, day.isoformat(), min(a.start_ns for a in awards), max(a.end_ns for a in awards), standing.state,
            len(awards), awarded_wh, standing.missing, standing.waits_until_ns,
            tuple(sorted(mine, key=lambda s: s.version)),
        )  # fmt: skip
