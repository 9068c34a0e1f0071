"""Routes of traders: offers to the market, prices of a zone, and the days that were settled."""

from __future__ import annotations

from tieline.console.auth.roles import Action
from tieline.console.problems import Problem, good
from tieline.console.table import Call, Route
from tieline.desk.desk_views import DayView
from tieline.desk.opt_out_rates import OptOutView
from tieline.desk.prices import SendPrices, TakenPrices
from tieline.desk.screens import Trader
from tieline.desk.trading import HELD, AskOffer, LoadForecastView, OfferView, Proposal


def _trader(call: Call) -> Trader:
    if call.desk.trader is None:
        raise Problem(503, "nothing is traded here")
    return call.desk.trader


async def _offer(call: Call) -> list[OfferView]:
    """Put offers to the desk; one that stands alone and is refused is answered by a problem."""
    body: AskOffer | list[AskOffer] = call.body
    asks = body if isinstance(body, list) else [body]
    if not asks:
        raise Problem(422, "no offer was sent", field="body", value="[]", limit="1 to 500 offers")
    views = await _trader(call).offer(asks)
    first = views[0]
    if not isinstance(body, list) and first.reason:
        raise Problem(
            503 if first.state == HELD else 409, first.reason, field=first.field, value=first.value, limit=first.limit,
            holder=first.holder, rule=first.rule,
        )  # fmt: skip
    return views


async def _offers(call: Call) -> list[OfferView]:
    return _trader(call).offers(call.text("pool", 200))


async def _proposal(call: Call) -> Proposal:
    pool, day = call.text("pool", 200), call.text("day", 10)
    answer: Proposal = good(_trader(call).proposal(pool, day, call.number("hours", 6, 1, 25)))
    return answer


async def _prices(call: Call) -> TakenPrices:
    answer: TakenPrices = good(await _trader(call).prices(call.body, call.name))
    return answer


async def _forecasts(call: Call) -> list[LoadForecastView]:
    asked = call.asked_of(("at", "as_of"))
    return await _trader(call).load_forecasts(call.text("pool", 200), None if asked is None else asked[1])


async def _opt_outs(call: Call) -> list[OptOutView]:
    answer: list[OptOutView] = good(_trader(call).opt_outs(call.text("pool", 200)))
    return answer


async def _settlements(call: Call) -> list[DayView]:
    return _trader(call).settlements(call.text("pool", 200))


_A = "/api/v1"
_POOL = (("pool", "Only this pool"),)

TRADING_ROUTES: tuple[Route, ...] = (
    Route(
        "GET", f"{_A}/offers", Action.SEE_MARKET, _offers, "Offers of 8 days either way, and what became of each",
        list[OfferView], query=_POOL,
    ),
    Route(
        "POST", f"{_A}/offers", Action.OFFER, _offer, "Offer hours of a pool; an id twice has one effect",
        list[OfferView], AskOffer | list[AskOffer],
    ),
    Route(
        "GET", f"{_A}/offers/proposal", Action.OFFER, _proposal, "Offers of the dearest hours, to look at and send",
        Proposal, query=(("pool", "Left out: the first"), ("day", "Left out: tomorrow"), ("hours", "1 to 25")),
    ),
    Route(
        "GET", f"{_A}/forecasts", Action.SEE_MARKET, _forecasts, "Loads foretold of today and tomorrow, their worth",
        list[LoadForecastView], query=(*_POOL, ("at", "What was known at this instant; left out: now")),
    ),
    Route(
        "GET", f"{_A}/opt-outs", Action.SEE_MARKET, _opt_outs, "How often owners opt out of calls, by kind and hour",
        list[OptOutView], query=(("pool", "Left out: the first"),),
    ),
    Route(
        "POST", f"{_A}/prices", Action.SEND_PRICES, _prices, "Send prices of a zone; durable when it answers",
        TakenPrices, SendPrices,
    ),
    Route(
        "GET", f"{_A}/settlements", Action.SEE_MONEY, _settlements, "Award days: what each came to, or what it lacks",
        list[DayView], query=_POOL,
    ),
)  # fmt: skip
