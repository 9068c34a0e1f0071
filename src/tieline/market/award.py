"""What an award must be to bind us: the one answer to an offer of ours, of its pool and product and within it.

Whatever else comes from a market as an award is refused by name: it makes no obligation and reserves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from tieline.resource.claim import Refusal
from tieline.times import iso

TOLERANCE_W = 1.0
"""A watt: MW with three decimals and W by segment do not round alike."""
HALF_A_CENT = 0.005
"""A market tells prices in whole cents; what rounds to the same cent is the same price."""
ENERGY = "ENERGY"


class Part(Protocol):
    """One step of what was offered."""

    @property
    def power_w(self) -> float:
        """How much (W)."""
        ...

    @property
    def price_per_mwh(self) -> float:
        """At what price ($/MWh)."""
        ...


class Bound(Protocol):
    """What both bind: a pool's product over an interval."""

    @property
    def pool(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...


class Offered(Bound, Protocol):
    """What we offered."""

    @property
    def segments(self) -> Sequence[Part]: ...


class Awarded(Bound, Protocol):
    """What the market says that we got."""

    @property
    def id(self) -> str: ...
    @property
    def offer(self) -> str: ...
    @property
    def power_w(self) -> float: ...
    @property
    def price_per_mwh(self) -> float: ...


def offered_price(offer: Offered, power_w: float) -> float | None:
    """Return the price of the step of an offer in which a power ends ($/MWh); None: it ends in none, or has no price.

    Up to a watt beyond a step still ends in it. A step without a finite price asks none: it is given at any.
    """
    if not abs(power_w) > TOLERANCE_W:
        return None
    upto_w = 0.0
    for part in offer.segments:
        upto_w += abs(part.power_w)
        if abs(power_w) <= upto_w + TOLERANCE_W:
            return part.price_per_mwh if math.isfinite(part.price_per_mwh) else None
    return None


def price_dispute(award: Awarded, offer: Offered | None) -> Refusal | None:
    """Return why the price of an award that binds us is an error of the market's; None: it is not.

    Who offers is awarded up to where his curve crosses the clearing price, and never for less than that; energy that is
    taken (power below 0) is bid for, and never costs more. A day-ahead award binds all the same: its price is disputed.
    """
    wanted = None if offer is None else offered_price(offer, award.power_w)
    if wanted is None:
        return None
    is_bid = award.product == ENERGY and award.power_w < 0
    worse = award.price_per_mwh - wanted if is_bid else wanted - award.price_per_mwh
    if not worse > HALF_A_CENT + 1e-9:
        return None
    reason = "the award costs more than was bid" if is_bid else "the award is priced below the offer"
    of = f"at {abs(award.power_w) / 1e3:.1f} kW of offer {award.offer[:64]}"
    limit = f"{wanted:.2f} $/MWh or {'less' if is_bid else 'more'} {of}"
    return Refusal(reason, "price_per_mwh", f"{award.price_per_mwh:.2f}", limit)


def award_refusal(award: Awarded, offer: Offered | None, earlier: Iterable[Awarded] = ()) -> Refusal | None:
    """Return why an award does not bind us; None: it does.

    Args:
        award: What came.
        offer: The offer that it names; None: there is none.
        earlier: Awards that were taken before, of any offer.
    """
    if offer is None:
        return Refusal("an award for an offer that we never made", "offer", award.offer, "one of our offers")
    if (offer.pool, offer.product) != (award.pool, award.product):
        given, limit = f"{award.pool}/{award.product}", f"{offer.pool}/{offer.product}"
        return Refusal("the award is for another pool or product", "pool", given, limit)
    if not award.start_ns < award.end_ns or award.start_ns < offer.start_ns or award.end_ns > offer.end_ns:
        given, limit = f"{iso(award.start_ns)}/{iso(award.end_ns)}", f"{iso(offer.start_ns)}/{iso(offer.end_ns)}"
        return Refusal("the award lies outside the offer's interval", "interval", given, limit)
    if not math.isfinite(award.price_per_mwh):
        return Refusal("the award has no price", "price_per_mwh", f"{award.price_per_mwh:g}", "a finite number")
    offered_w = math.fsum(part.power_w for part in offer.segments)
    if not math.isfinite(award.power_w) or abs(award.power_w) > abs(offered_w) + TOLERANCE_W:
        return Refusal("more was awarded than offered", "power_w", f"{award.power_w:.0f}", f"{offered_w:.0f}")
    if award.power_w * offered_w < 0:
        limit = f"0 to {offered_w:.0f}"
        return Refusal("the award is the other way than the offer", "power_w", f"{award.power_w:.0f}", limit)
    for one in earlier:
        overlaps = one.start_ns < award.end_ns and award.start_ns < one.end_ns
        if one.offer == award.offer and one.id != award.id and overlaps:
            span = f"{iso(one.start_ns)}/{iso(one.end_ns)}"
            return Refusal("the offer has an award already", "offer", award.offer, f"one award of {span}", one.id)
    return None
