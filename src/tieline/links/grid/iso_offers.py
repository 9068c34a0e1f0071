"""Offers of ours as bids of the ISO's dispatch web service: an hour each, by its own names and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from tieline.desk.ports import Offer
from tieline.desk.trading import LEAST_STEP_W, MOST_STEP_W
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, iso
from tieline.wire.ads import messages as ads
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.hours import hour_of

W_PER_MW = 1e6


def bid_of(offer: Offer, pools: Mapping[str, str], zone: ZoneInfo) -> ads.Bid | Refusal:
    """Return the bid that says an offer to the ISO, or why there is none.

    Args:
        offer: Ours.
        pools: What the ISO calls our pools.
        zone: The market's, by which it names hours.
    """
    if offer.pool not in pools:
        return Refusal("unknown pool", "pool", offer.pool)
    if offer.end_ns - offer.start_ns != HOUR_NS:
        return Refusal("an offer covers one hour", "end_ns", iso(offer.end_ns), iso(offer.start_ns + HOUR_NS))
    prices = [segment.price_per_mwh for segment in offer.segments]
    if prices != sorted(prices) or not prices or len(prices) > 10:
        return Refusal("a curve has 1 to 10 steps of rising prices", "segments", str(prices))
    powers_w = [segment.power_w for segment in offer.segments]
    if any(not LEAST_STEP_W <= power_w <= MOST_STEP_W for power_w in powers_w):
        limit = f"{LEAST_STEP_W:g} to {MOST_STEP_W:g} W"
        return Refusal("a step offers power", "power_w", str(powers_w), limit)
    try:
        day, hour_ending, repeated = hour_of(offer.start_ns, zone)
    except Malformed as error:
        return Refusal(str(error), "start_ns", iso(offer.start_ns))
    segments = tuple(ads.BidSegment(s.power_w / W_PER_MW, s.price_per_mwh) for s in offer.segments)
    resource = pools[offer.pool]
    return ads.Bid(offer.id, resource, offer.product, day, hour_ending, repeated, segments)


def answers_of(made: Sequence[ads.Bid | Refusal], said: ads.BidResults) -> list[Refusal | None]:
    """Return what became of each offer: why there is no bid of it, or what the ISO said to that; None: it is taken."""
    results = {result.bid_uid: result for result in said.results}
    answers: list[Refusal | None] = []
    for each in made:
        if isinstance(each, Refusal):
            answers.append(each)
        elif (result := results.get(each.bid_uid)) is None:
            answers.append(Refusal("the ISO said nothing of this bid", "bidUID", each.bid_uid))
        else:
            taken = result.status == "SUBMITTED"
            answers.append(None if taken else Refusal(result.reason or "rejected", "bidUID", each.bid_uid))
    return answers
