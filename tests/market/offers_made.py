"""Offers that each participation model takes, made from its own figures, for tests to spoil one thing at a time."""

from tieline.market.gates import closes_ns, opens_ns
from tieline.market.offer import Behind, MarketOffer, Step
from tieline.market.participation import Market, Model, markets
from tieline.times import HOUR_NS, parse_iso

MODELS = [(market, model) for market in markets().values() for model in market.model]
NAMES = [f"{model.id}-{model.version}" for _, model in MODELS]
NOON = {"2024.1": "2025-02-12T12:00:00+00:00", "2025.1": "2025-08-13T12:00:00+00:00"}


def delivered(market: Market, model: Model) -> tuple[int, int]:
    """Return an interval that the model can be offered for."""
    at = parse_iso(NOON.get(model.version, NOON["2024.1"]))
    day = market.day_of(model, at)
    slots = market.intervals(model, day)
    if not slots:
        return at, at + HOUR_NS
    one = slots[len(slots) // 2]
    return one.start_ns, one.end_ns


def good(market: Market, model: Model) -> tuple[MarketOffer, int]:
    """Return an offer of one step that breaks no rule, and an instant at which its gate is open."""
    start_ns, end_ns = delivered(market, model)
    power_w = max(model.watts("min_mw") or 1e6, 1e5)
    price = max(model.number("price_floor") or 10.0, 10.0)
    behind = Behind(
        least_w=model.watts("member_least_kw") or 1e3,
        most_w=model.watts("member_most_kw") or 1e6,
        telemetry_s=model.number("telemetry_s") or 4.0,
        energy_wh=power_w * (model.number("sustain_min") or 60.0) / 60.0,
        shared=() if model.shared is None else model.shared.value,
    )
    offer = MarketOffer(
        "offer-1", model.id, start_ns, end_ns, (Step(power_w, price),), model.directions.value[0],
        model.curve.value[0], behind=behind,
    )  # fmt: skip
    now_ns = start_ns - HOUR_NS
    if model.gates:
        gate = market.gate_of(model.gates[0])
        now_ns = closes_ns(market, model, gate, start_ns) - 1
        opens = opens_ns(market, model, gate, start_ns)
        assert opens is None or opens <= now_ns
    return offer, now_ns
