"""Offers that people and their programs make: held against limits, put to the desk, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from tieline.desk.awards import PROGRAM_OF, UNAWARDED
from tieline.desk.ports import Offer, Segment
from tieline.desk.state import DeskState
from tieline.fleet.ledger import SLOT_NS
from tieline.market.award import price_dispute
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, HOUR_NS, iso

MOST_OFFERS, MOST_SEGMENTS = 500, 10
MOST_PRICE = 20_000.0
LEAST_STEP_W, MOST_STEP_W = 1.0, 1e12
"""What a step of a curve may offer: powers of less than 1 W apart are one to us, and the wire's megawatts end there."""
AHEAD_NS = 8 * DAY_NS
HELD = "held"


class AskSegment(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a supply curve: so much more power (W) at this price ($/MWh)."""

    power_w: float
    price_per_mwh: float


class AskOffer(Struct, frozen=True, forbid_unknown_fields=True):
    """An offer of one hour of a pool: `id` is the sender's own, so that sending it twice has one effect."""

    id: str
    pool: str
    start_ns: int
    end_ns: int
    segments: list[AskSegment]
    product: str = "ENERGY"


class OfferView(Struct, frozen=True):
    """An offer and what became of it.

    `state` is `held` (the market has not answered yet), `offered`, `awarded`, `unawarded` (its day was cleared without
    it: what it held is free), `refused` or `lapsed`; of a refusal the field, value and limit are named, and who holds
    the capacity. `disputed` says why the price of its award is an error; empty: it is none.
    """

    id: str
    pool: str
    product: str
    start_ns: int
    end_ns: int
    segments: tuple[Segment, ...]
    state: str
    award: str = ""
    awarded_w: float | None = None
    price_per_mwh: float | None = None
    reason: str = ""
    field: str = ""
    value: str = ""
    limit: str = ""
    holder: str = ""
    rule: str = ""
    disputed: str = ""


class OfferReason(Struct, frozen=True):
    """Why an offer (`id`) is as it is; money is of its hour, means are over prices and over who will be there.

    `expected_price` is what the hour is expected to cost (per MWh), `sold_w` what is expected to clear of the offer and
    `revenue` what that earns; `lacks_w` is what is expected to lack of it, `penalty` what buying that back costs with
    its penalty. `marginal_cost` (per MWh) is what its dearest watt costs to give, a store's energy at what it would
    earn elsewhere. `clears_frac` is how often any of it clears, `there_frac` how often all of it is there, and `room_w`
    the most that could be offered then.
    """

    id: str
    expected_price: float
    sold_w: float
    revenue: float
    lacks_w: float
    penalty: float
    marginal_cost: float
    clears_frac: float
    there_frac: float
    room_w: float


class Proposal(Struct, frozen=True):
    """Offers of a pool's dearest hours of a market day, as they can be sent; `why` says why there are none.

    `reasons` has one row an offer, where they are made as curves.
    """

    pool: str
    day: str
    offers: tuple[AskOffer, ...]
    why: str = ""
    reasons: tuple[OfferReason, ...] = ()


class LoadForecastView(Struct, frozen=True):
    """What the devices of a kind are foretold to draw on a day (W, a mean and the quantiles of 5 and 95 % by hour).

    It was known since `known_at_ns` and never changed after; `readings_until_ns` is up to when readings were looked at.
    `model` spoke as it had the least error of late; `wape` is what each was worth, `skill` how much better than the
    same day a week ago what was spoken was, `coverage_90` what the band held: of the newest, None for older ones.
    """

    pool: str
    kind: str
    day: str
    known_at_ns: int
    readings_until_ns: int
    model: str
    starts_ns: tuple[int, ...]
    mean_w: tuple[float, ...]
    low_w: tuple[float | None, ...]
    high_w: tuple[float | None, ...]
    skill: float | None = None
    wape: dict[str, float | None] = {}
    coverage_90: float | None = None


def offer_of(ask: AskOffer) -> Offer:
    """Return the offer that an ask means."""
    segments = tuple(Segment(one.power_w, one.price_per_mwh) for one in ask.segments)
    return Offer(ask.id, ask.pool, ask.product, ask.start_ns, ask.end_ns, segments)


def ask_of(offer: Offer) -> AskOffer:
    """Return the ask that would make an offer."""
    steps = [AskSegment(segment.power_w, segment.price_per_mwh) for segment in offer.segments]
    return AskOffer(offer.id, offer.pool, offer.start_ns, offer.end_ns, steps, offer.product)


def refusal_of(state: DeskState, ask: AskOffer, pools: Mapping[str, object], now_ns: int) -> Refusal | None:
    """Return why an offer can't be made at all, or None; whether its capacity is free, the reservation book says."""
    if not 1 <= len(ask.id) <= 64 or not ask.id.isprintable():
        return Refusal("an offer has an id", "id", ask.id[:64], "1 to 64 printable characters")
    known = state.offers.get(ask.id)
    if known is not None:
        same = known == offer_of(ask)
        return None if same else Refusal("another offer has this id", "id", ask.id, "an id of its own", holder=ask.id)
    if ask.pool not in pools:
        return Refusal("no such pool", "pool", ask.pool[:64], f"one of {', '.join(sorted(pools)) or '(none)'}")
    if ask.product not in PROGRAM_OF:
        return Refusal("no such product", "product", ask.product[:64], f"one of {', '.join(PROGRAM_OF)}")
    return _untimely(ask, now_ns) or _no_curve(ask)


def _untimely(ask: AskOffer, now_ns: int) -> Refusal | None:
    if ask.start_ns % SLOT_NS or ask.end_ns - ask.start_ns != HOUR_NS:
        given = f"{_told(ask.start_ns)} to {_told(ask.end_ns)}"
        return Refusal("an offer covers one hour", "start_ns, end_ns", given, "one hour from a five-minute mark on")
    if not now_ns < ask.start_ns <= now_ns + AHEAD_NS:
        limit = f"after {iso(now_ns)}, within 8 days"
        return Refusal("the hour has begun, or is too far ahead", "start_ns", _told(ask.start_ns), limit)
    return None


def _told(instant_ns: int) -> str:
    """Return an instant as people read it; what lies beyond all calendars as the number that it is."""
    return iso(instant_ns) if abs(instant_ns) < 2**62 else f"{instant_ns} ns"


def _no_curve(ask: AskOffer) -> Refusal | None:
    if not 1 <= len(ask.segments) <= MOST_SEGMENTS:
        return Refusal("a curve has steps", "segments", str(len(ask.segments)), f"1 to {MOST_SEGMENTS}")
    before = -MOST_PRICE
    for at, one in enumerate(ask.segments):
        if not LEAST_STEP_W <= one.power_w <= MOST_STEP_W:
            limit = f"{LEAST_STEP_W:g} to {MOST_STEP_W:g} W"
            return Refusal("a step offers power", f"segments[{at}].power_w", f"{one.power_w:g}", limit)
        if not before <= one.price_per_mwh <= MOST_PRICE:
            limit = f"{before:g} to {MOST_PRICE:g} $/MWh: a curve rises"
            return Refusal("not a price of a curve", f"segments[{at}].price_per_mwh", f"{one.price_per_mwh:g}", limit)
        before = one.price_per_mwh
    return None


def view_of(state: DeskState, offer: Offer, now_ns: int, refusal: Refusal | None = None) -> OfferView:
    """Return an offer as the API shows it; `refusal` where it was refused before it became one of ours."""
    award = next((one for one in state.awards.values() if one.offer == offer.id), None)
    refusal = refusal or state.offer_answers.get(offer.id)
    word = HELD
    if refusal is not None:
        word = "refused"
    elif award is not None:
        word = "awarded"
    elif offer.id in state.unawarded:
        word = "unawarded"
    elif offer.end_ns <= now_ns:
        word = "lapsed"
    elif offer.id in state.offer_answers:
        word = "offered"
    view = OfferView(offer.id, offer.pool, offer.product, offer.start_ns, offer.end_ns, offer.segments, word)
    if award is not None:
        view = structs.replace(
            view, award=award.id, awarded_w=award.power_w, price_per_mwh=award.price_per_mwh,
            disputed=str(price_dispute(award, offer) or ""),
        )  # fmt: skip
    if word == "unawarded":
        view = structs.replace(view, reason=UNAWARDED)
    if refusal is not None:
        view = structs.replace(
            view, reason=refusal.reason, field=refusal.field, value=refusal.value, limit=refusal.limit,
            holder=refusal.holder, rule=refusal.rule,
        )  # fmt: skip
    return view
