"""Our offers and plans as rows of the market's bid sets: MW in tenths, $/MWh in cents, hours on the market's clock.

A curve of the market is a line through points, ours are steps. A step's rise lies in the last tenth of a megawatt of
the step before it, so that no part of an offer is ever sold for less than it asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tieline.desk.ports import Offer
from tieline.desk.ports import Segment as Step
from tieline.links.grid.ews_settings import EwsPool
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, from_ns, hour_start_ns, iso, market_day
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.hours import hour_of
from tieline.wire.ews import messages as ews
from tieline.wire.ews.mrid import Rowed, bid_id_of, hour_suffix, mrid

W_PER_MW = 1e6
TENTH_W = 1e5
MOST_STEPS = 5
"""A curve has ten points, and a step takes two of them; a reserve has five blocks."""
RESERVES = {"NSPIN": "Off-Non-Spin", "ECRS": "REGUP-RRS-ONNS", "RRS": "REGUP-RRS-ONNS"}
"""What the market calls an offer of each reserve of ours; prices stand under OFFNS, ECRS and RRSUF."""


@dataclass(frozen=True, slots=True)
class Sold:
    """One offer as the market has it: its row, its trading date, and its key with the hour."""

    offer: Offer
    row: Rowed
    day: date
    key: str


def sold_as(offer: Offer, pools: Mapping[str, EwsPool], qse: str, zone: ZoneInfo) -> Sold | Refusal:
    """Return an offer as a row of the market, or why it can't be one."""
    pool = pools.get(offer.pool)
    if pool is None:
        return Refusal("unknown pool", "pool", offer.pool)
    if offer.end_ns - offer.start_ns != HOUR_NS:
        return Refusal("an offer covers one hour", "end_ns", iso(offer.end_ns), iso(offer.start_ns + HOUR_NS))
    refusal = _step_refusal(offer.segments)
    if refusal is not None:
        return refusal
    try:
        day, hour_ending, repeated = hour_of(offer.start_ns, zone)
    except Malformed as error:
        return Refusal(str(error), "start_ns", iso(offer.start_ns))
    span = {"start_time": from_ns(offer.start_ns).astimezone(zone), "end_time": from_ns(offer.end_ns).astimezone(zone)}
    expires = from_ns(market_day(day, zone).start_ns).astimezone(zone)
    head = {**span, "market_type": "DAM", "external_id": offer.id[:60], "expiration_time": expires}
    row = _row(offer, pool, span, head)
    if isinstance(row, Refusal):
        return row
    return Sold(offer, row, day, f"{mrid(qse, day, row)}.{hour_suffix(hour_ending, repeated)}")


def _row(offer: Offer, pool: EwsPool, span: dict[str, Any], head: dict[str, Any]) -> Rowed | Refusal:
    if offer.product == "ENERGY" and pool.energy == "energy-only":
        curve = (_curve(offer.segments, span),)
        return ews.EnergyOnlyOffer(**head, sp=pool.settlement_point, bid_id=bid_id_of(offer.id), curves=curve)
    if offer.product == "ENERGY":
        return ews.ThreePartOffer(
            **head, resource=pool.resource, curves=(_curve(offer.segments, span),),
            startup=(ews.StartupCost(**span, hot=0.0, intermediate=0.0, cold=0.0),),
            minimum=(ews.MinimumEnergy(**span, cost=0.0),),
        )  # fmt: skip
    kind = RESERVES.get(offer.product)
    if kind is None:
        return Refusal("not a product of this market", "product", offer.product, f"ENERGY, {', '.join(RESERVES)}")
    return ews.AsOffer(
        **head, resource=pool.resource, as_type=kind, curves=(_blocks(offer.product, offer.segments, span),)
    )


def _step_refusal(steps: Sequence[Step]) -> Refusal | None:
    prices = [step.price_per_mwh for step in steps]
    if prices != sorted(prices) or not 1 <= len(prices) <= MOST_STEPS:
        return Refusal(f"a curve has 1 to {MOST_STEPS} steps of rising prices", "segments", str(prices))
    for step in steps:
        tenths, cents = step.power_w / TENTH_W, step.price_per_mwh * 100
        if not 0 < step.power_w <= 1e10 or abs(tenths - round(tenths)) > 1e-6 or round(tenths) < 1:
            return Refusal("a step is whole tenths of a megawatt", "power_w", f"{step.power_w:g}", f"{TENTH_W:g} W")
        if not abs(step.price_per_mwh) < 1e6 or abs(cents - round(cents)) > 1e-6:
            return Refusal("a price is whole cents", "price_per_mwh", f"{step.price_per_mwh:g}", "0.01 $/MWh")
    return None


def _curve(steps: Sequence[Step], span: dict[str, Any]) -> ews.PriceCurve:
    if len(steps) == 1:
        point = ews.CurvePoint(xvalue=_mw(steps[0].power_w), y1value=steps[0].price_per_mwh)
        return ews.PriceCurve(**span, curve_style="VARIABLE", points=(point,))
    points, upto_w = [ews.CurvePoint(xvalue=0.0, y1value=steps[0].price_per_mwh)], 0.0
    for at, step in enumerate(steps):
        upto_w += step.power_w
        is_last = at == len(steps) - 1
        flat_to_w = upto_w if is_last else upto_w - TENTH_W
        # A step of a tenth of a megawatt is all rise: the point where it begins is there already.
        if _mw(flat_to_w) > points[-1].xvalue:
            points.append(ews.CurvePoint(xvalue=_mw(flat_to_w), y1value=step.price_per_mwh))
        if not is_last:
            points.append(ews.CurvePoint(xvalue=_mw(upto_w), y1value=steps[at + 1].price_per_mwh))
    return ews.PriceCurve(**span, curve_style="CURVE", points=tuple(points))


def _blocks(product: str, steps: Sequence[Step], span: dict[str, Any]) -> ews.AsPriceCurve:
    if product == "NSPIN":
        off = (
            ews.OffLineNonSpin(xvalue=_mw(step.power_w), offns=step.price_per_mwh, block=str(at))
            for at, step in enumerate(steps, 1)
        )
        return ews.AsPriceCurve(**span, off_line=tuple(off))
    word = "ecrs" if product == "ECRS" else "rrsuf"
    on = (
        ews.OnLineReserves(xvalue=_mw(step.power_w), block=str(at), **{word: step.price_per_mwh})
        for at, step in enumerate(steps, 1)
    )
    return ews.AsPriceCurve(**span, on_line=tuple(on))


def plans_of(pool: EwsPool, up_w: float, now_ns: int, lead_s: float, zone: ZoneInfo) -> list[ews.BidSet]:
    """Return what a pool can give as plans of its resource: from the first hour still open to the end of tomorrow.

    Rounded down to tenths of a megawatt. A plan says nothing of power downward, as the market's limits are not below 0.
    """
    open_ns = hour_start_ns(now_ns + int(lead_s * 1e9) + HOUR_NS - 1, zone)
    today = from_ns(now_ns).astimezone(zone).date()
    high = _mw(max(up_w, 0.0) // TENTH_W * TENTH_W)
    generates = pool.energy == "three-part"
    mode = ("ON" if generates else "ONL") if high > 0 else ("OUT" if generates else "OUTL")
    made = []
    for day in (today, today + timedelta(days=1)):
        over = market_day(day, zone)
        start_ns = max(over.start_ns, open_ns)
        if start_ns >= over.end_ns:
            continue
        span: dict[str, Any] = {
            "start_time": from_ns(start_ns).astimezone(zone),
            "end_time": from_ns(over.end_ns).astimezone(zone),
        }
        plan = ews.Cop(
            **span, resource=pool.resource, modes=(ews.ResourceStatus(**span, operating_mode=mode),),
            limits=(ews.Limits(**span, hsl=high, lsl=0.0, hel=high, lel=0.0),),
        )  # fmt: skip
        made.append(ews.BidSet(trading_date=day, plans=(plan,)))
    return made


def _mw(power_w: float) -> float:
    return round(power_w / W_PER_MW, 1)
