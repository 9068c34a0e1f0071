"""What the emulated ISO says of a bid by a participation model: the first rule that the bid breaks, in words."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from tieline.errors import ConfigError
from tieline.market.offer import MarketOffer, Step
from tieline.market.offer_rules import check_with
from tieline.market.participation import model_at
from tieline.wire.ads import messages as ads
from tieline.wire.ads.hours import hour_ns


def rejection(bid: ads.Bid, model_name: str, zone: ZoneInfo) -> str:
    """Return why a bid is rejected; empty: it isn't.

    The emulator's own gate is tested elsewhere, as a day of its story may have an auction of its own.

    Args:
        bid: What a participant submits; its hour is one of the market day.
        model_name: A participation model.
        zone: On whose clock hours are counted.
    """
    start_ns, end_ns = hour_ns(bid.market_date, bid.hour_ending, bid.repeated_hour, zone)
    try:
        market, model = model_at(model_name, start_ns)
    except ConfigError as error:
        return str(error)
    if bid.product != model.product:
        return f"{model.id}/product: not the product; product = {bid.product}; limit {model.product}"
    steps = tuple(Step(round(one.mw * 1e6, 3), one.price) for one in bid.segments)
    offer = MarketOffer(bid.bid_uid, model.id, start_ns, end_ns, steps)
    faults = check_with(market, model, offer, None).refusals
    return f"{faults[0].rule}: {faults[0]}" if faults else ""
