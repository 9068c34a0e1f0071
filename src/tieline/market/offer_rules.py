"""The one validator before any offer leaves: what a participation model takes, a pure function of offer and instant.

One function a rule, in the order in which faults are told. `market.offer_columns` is the same for many offers at once;
a property test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tieline.errors import ConfigError
from tieline.market.gates import closes_ns, opens_ns
from tieline.market.offer import (
    FIGURES,
    MOST_POWER_W,
    MOST_PRICE,
    RULES,
    SLACK_PRICE,
    SLACK_W,
    Checked,
    MarketOffer,
    sign_of,
)
from tieline.market.participation import Gate, Market, Model, model_at
from tieline.resource.claim import Refusal
from tieline.times import iso


@dataclass(frozen=True, slots=True)
class _Case:
    market: Market
    model: Model
    gate: Gate | None
    offer: MarketOffer
    now_ns: int | None


Found = Refusal | None
Rule = Callable[[_Case], Found]


def check_offer(offer: MarketOffer, now_ns: int | None) -> Checked:
    """Return the faults of an offer by the version of its model that holds on its market day.

    Args:
        offer: What would leave.
        now_ns: The instant; None: gates are not tested.

    Raises:
        ConfigError: There is no such model or gate, or no version of it holds on the day.
    """
    market, model = model_at(offer.model, offer.start_ns)
    return check_with(market, model, offer, now_ns)


def check_with(market: Market, model: Model, offer: MarketOffer, now_ns: int | None) -> Checked:
    """Return the faults of an offer by one version of a model. Raises ConfigError where the model has no such gate."""
    case = _Case(market, model, gate_for(market, model, offer.gate), offer, now_ns)
    faults, untested = [], []
    skipped = _skipped(offer)
    for rule in RULES:
        if rule in skipped:
            continue
        if _is_open(case, rule):
            untested.append(rule)
        elif (found := _CHECKS[rule](case)) is not None:
            faults.append(found)
    return Checked(tuple(faults), tuple(untested))


def gate_for(market: Market, model: Model, name: str) -> Gate | None:
    """Return a gate of a model (empty: its first); None where the model has none.

    Raises:
        ConfigError: The model has no gate of that name.
    """
    if not name and not model.gates:
        return None
    wanted = name or model.gates[0]
    if wanted not in model.gates:
        raise ConfigError(f"gate {name!r} of {model.id} is unknown: give one of {', '.join(model.gates) or '(none)'}")
    return market.gate_of(wanted)


def open_gate(market: Market, model: Model, start_ns: int, now_ns: int) -> str:
    """Return the first gate of a model that takes offers for an instant now; where none does, the last to close.

    Empty where the model has no gates.
    """
    closing = {name: closes_ns(market, model, market.gate_of(name), start_ns) for name in model.gates}
    for name, until_ns in closing.items():
        from_ns = opens_ns(market, model, market.gate_of(name), start_ns)
        if now_ns < until_ns and (from_ns is None or now_ns >= from_ns):
            return name
    return max(closing, key=lambda name: closing[name], default="")


def _skipped(offer: MarketOffer) -> set[str]:
    """Return the rules that mean nothing where power or price is no number: that one fault is told, not its echoes."""
    skipped = set[str]()
    if not offer.steps:
        skipped |= {"power", "price"}
    if not offer.steps or not all(_is_power(step.power_w) for step in offer.steps):
        skipped |= {"increment", "minimum", "maximum", "sustain"}
    if not offer.steps or not all(_is_price(step.price) for step in offer.steps):
        skipped |= {"tick", "floor", "cap", "rising"}
    return skipped


def _is_power(power_w: float) -> bool:
    return 0.0 < power_w <= MOST_POWER_W


def _is_price(price: float) -> bool:
    return abs(price) <= MOST_PRICE


def _is_open(case: _Case, rule: str) -> bool:
    """Return whether a rule can't be tested: no figure, or nothing said that it could be held against."""
    model, behind = case.model, case.offer.behind
    if rule in ("power", "price"):
        return False
    if rule in ("gate", "opens"):
        return case.gate is None or case.now_ns is None or (rule == "opens" and case.gate.opens is None)
    if getattr(model, FIGURES[rule]) is None:
        return True
    said = {
        "sustain": behind.energy_wh, "telemetry": behind.telemetry_s, "member-least": behind.least_w,
        "member-most": behind.most_w, "shared": behind.shared,
    }  # fmt: skip
    return rule in said and said[rule] is None


def _refusal(case: _Case, rule: str, reason: str, field: str, value: str, limit: str) -> Refusal:
    return Refusal(reason, field, value, limit, rule=f"{case.model.id}/{rule}")


# --- when -------------------------------------------------------------------------------------------------------------


def _interval(case: _Case) -> Found:
    market, model, offer = case.market, case.model, case.offer
    day = market.day_of(model, offer.start_ns)
    slots = market.intervals(model, day)
    if any((one.start_ns, one.end_ns) == (offer.start_ns, offer.end_ns) for one in slots):
        return None
    near = [one for one in slots if one.start_ns <= offer.start_ns < one.end_ns]
    limit = f"{iso(near[0].start_ns)}/{iso(near[0].end_ns)}, an interval of {model.number('interval_min'):g} minutes"
    given = f"{iso(offer.start_ns)}/{iso(offer.end_ns)}"
    return _refusal(case, "interval", "an offer is of one interval of the market", "start, end", given, limit)


def _opens(case: _Case) -> Found:
    assert case.gate is not None and case.now_ns is not None
    from_ns = opens_ns(case.market, case.model, case.gate, case.offer.start_ns)
    if from_ns is None or case.now_ns >= from_ns:
        return None
    return _refusal(case, "opens", f"{case.gate.id} has not opened", "now", iso(case.now_ns), f"from {iso(from_ns)}")


def _gate(case: _Case) -> Found:
    assert case.gate is not None and case.now_ns is not None
    until_ns = closes_ns(case.market, case.model, case.gate, case.offer.start_ns)
    if case.now_ns < until_ns:
        return None
    return _refusal(case, "gate", f"{case.gate.id} has closed", "now", iso(case.now_ns), f"before {iso(until_ns)}")


# --- what form --------------------------------------------------------------------------------------------------------


def _direction(case: _Case) -> Found:
    known = case.model.directions.value
    if case.offer.direction in known:
        return None
    why = "the product is symmetric: one power, both ways" if known == ("both",) else "not a direction of the product"
    return _refusal(case, "direction", why, "direction", case.offer.direction, " or ".join(known))


def _form(case: _Case) -> Found:
    known = case.model.curve.value
    # One step is a curve of any form.
    if case.offer.curve in known or len(case.offer.steps) == 1:
        return None
    return _refusal(case, "form", "not a form of the product", "curve", case.offer.curve, " or ".join(known))


def _points(case: _Case) -> Found:
    most, count = int(case.model.number("points_most") or 1), len(case.offer.steps)
    if 1 <= count <= most:
        return None
    return _refusal(case, "points", "a curve has steps", "steps", str(count), f"1 to {most}")


# --- how much ---------------------------------------------------------------------------------------------------------


def _power(case: _Case) -> Found:
    for at, step in enumerate(case.offer.steps):
        if not _is_power(step.power_w):
            limit = f"over 0 to {MOST_POWER_W:g} W"
            return _refusal(case, "power", "a step offers power", f"steps[{at}].power_w", f"{step.power_w:g}", limit)
    return None


def off_by(value: float, unit: float) -> float:
    """Return how far a value is from the nearest whole multiple of a unit."""
    return abs(value - round(value / unit) * unit)


def _increment(case: _Case) -> Found:
    unit_w = case.model.watts("step_mw") or 1.0
    for at, step in enumerate(case.offer.steps):
        if off_by(step.power_w, unit_w) > SLACK_W:
            limit = f"whole multiples of {unit_w:.0f} W"
            field = f"steps[{at}].power_w"
            return _refusal(case, "increment", "not a power of the market's grain", field, f"{step.power_w:g}", limit)
    return None


def _minimum(case: _Case) -> Found:
    least_w, power_w = case.model.watts("min_mw") or 0.0, case.offer.power_w
    if power_w >= least_w - SLACK_W:
        return None
    return _refusal(
        case, "minimum", "less than the least offer", "power_w", f"{power_w:.0f}", f"{least_w:.0f} W or more"
    )


def _maximum(case: _Case) -> Found:
    most_w, power_w = case.model.watts("max_mw") or math.inf, case.offer.power_w
    if power_w <= most_w + SLACK_W:
        return None
    return _refusal(
        case, "maximum", "more than the largest offer", "power_w", f"{power_w:.0f}", f"{most_w:.0f} W at most"
    )


# --- at what price ----------------------------------------------------------------------------------------------------


def _each_price(case: _Case, rule: str, reason: str, limit: str, is_bad: Callable[[float], bool]) -> Found:
    for at, step in enumerate(case.offer.steps):
        if is_bad(step.price):
            return _refusal(case, rule, reason, f"steps[{at}].price", f"{step.price:g}", limit)
    return None


def _price(case: _Case) -> Found:
    return _each_price(
        case, "price", "not a price", f"a number up to {MOST_PRICE:g}", lambda price: not _is_price(price)
    )


def _tick(case: _Case) -> Found:
    unit = case.model.number("price_tick") or 1.0
    reason, limit = "not a price of the market's grain", f"whole multiples of {unit:g}"
    return _each_price(case, "tick", reason, limit, lambda price: off_by(price, unit) > SLACK_PRICE)


def _floor(case: _Case) -> Found:
    least = case.model.number("price_floor") or 0.0
    return _each_price(
        case, "floor", "below the price floor", f"{least:g} {case.market.currency} or more", lambda price: price < least
    )


def _cap(case: _Case) -> Found:
    most = case.model.number("price_cap") or 0.0
    return _each_price(
        case, "cap", "above the price cap", f"{most:g} {case.market.currency} at most", lambda price: price > most
    )


def _rising(case: _Case) -> Found:
    assert case.model.prices is not None
    is_strict, sign = "strictly-rising" in case.model.prices.value, sign_of(case.model, case.offer.direction)
    steps = case.offer.steps
    for at in range(1, len(steps)):
        gained = sign * (steps[at].price - steps[at - 1].price)
        if gained < 0 or (is_strict and gained == 0):
            word = "above" if is_strict else "no lower than"
            word = word if sign > 0 else ("below" if is_strict else "no higher than")
            limit = f"{word} {steps[at - 1].price:g}, the step before"
            reason = "prices must rise" if sign > 0 else "prices of power taken must fall"
            return _refusal(case, "rising", reason, f"steps[{at}].price", f"{steps[at].price:g}", limit)
    return None


# --- who stands behind it ---------------------------------------------------------------------------------------------


def _sustain(case: _Case) -> Found:
    minutes, held_wh = case.model.number("sustain_min") or 0.0, case.offer.behind.energy_wh or 0.0
    needed_wh = case.offer.power_w * minutes / 60.0
    if held_wh >= needed_wh - SLACK_W:
        return None
    limit = f"{needed_wh:.0f} Wh or more: {minutes:g} minutes of all that is offered"
    return _refusal(case, "sustain", "too little energy stands behind it", "behind.energy_wh", f"{held_wh:.0f}", limit)


def _telemetry(case: _Case) -> Found:
    most_s, given_s = case.model.number("telemetry_s") or 0.0, case.offer.behind.telemetry_s or 0.0
    from_w = case.model.watts("telemetry_from_mw")
    if given_s <= most_s or (from_w is not None and case.offer.power_w < from_w - SLACK_W):
        return None
    limit = f"every {most_s:g} s or faster"
    return _refusal(case, "telemetry", "telemetry is too slow", "behind.telemetry_s", f"{given_s:g}", limit)


def _member_least(case: _Case) -> Found:
    least_w, given_w = case.model.watts("member_least_kw") or 0.0, case.offer.behind.least_w or 0.0
    if given_w >= least_w:
        return None
    limit = f"{least_w:.0f} W or more"
    return _refusal(case, "member-least", "a member is too small", "behind.least_w", f"{given_w:.0f}", limit)


def _member_most(case: _Case) -> Found:
    most_w, given_w = case.model.watts("member_most_kw") or math.inf, case.offer.behind.most_w or 0.0
    if given_w <= most_w:
        return None
    limit = f"{most_w:.0f} W at most"
    return _refusal(case, "member-most", "a member is too large", "behind.most_w", f"{given_w:.0f}", limit)


def _shared(case: _Case) -> Found:
    assert case.model.shared is not None and case.offer.behind.shared is not None
    lacking = [word for word in case.model.shared.value if word not in case.offer.behind.shared]
    if not lacking:
        return None
    given = ", ".join(case.offer.behind.shared) or "(nothing)"
    limit = ", ".join(case.model.shared.value)
    return _refusal(case, "shared", f"members must share their {lacking[0]}", "behind.shared", given, limit)


_CHECKS: dict[str, Rule] = {
    "interval": _interval, "opens": _opens, "gate": _gate, "direction": _direction, "form": _form, "points": _points,
    "power": _power, "increment": _increment, "minimum": _minimum, "maximum": _maximum, "price": _price,
    "tick": _tick, "floor": _floor, "cap": _cap, "rising": _rising, "sustain": _sustain, "telemetry": _telemetry,
    "member-least": _member_least, "member-most": _member_most, "shared": _shared,
}  # fmt: skip
