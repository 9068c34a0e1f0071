"""Rules of products other than energy, as data: versions with the days on which they hold, their source and certainty.

A row of `rules/products.toml` is one version of one rule; the day that is settled chooses it. Lines of all products
have one shape, so that a statement is the sum of its lines whatever was sold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.market.rule_rows import require_span
from tieline.market.settlement import CENT, Basis, is_excused, money, shortfall_causes
from tieline.plan.apportion import apportion, whole_weights

ZERO = Decimal(0)


class Dated(Struct, frozen=True, forbid_unknown_fields=True, tag_field="form", kw_only=True):
    """What every rule has: name, version, where it comes from, how sure that is, and when it holds."""

    id: str
    version: str
    source: str
    certainty: str
    zone: str
    currency: str = "USD"
    effective_from: str = ""
    effective_to: str = ""

    def holds_on(self, day: date) -> bool:
        """Return whether the rule holds on a local day; an end that is not given is not tested."""
        told = day.isoformat()
        return (not self.effective_from or self.effective_from <= told) and (
            not self.effective_to or told <= self.effective_to
        )


class BalancingRatio(Dated, frozen=True, tag="balancing-ratio", kw_only=True):
    """Pay for performance: what is above or below the balancing ratio's part of the obligation, at one rate."""

    rate_per_mwh: Decimal


class NetCone(Dated, frozen=True, tag="net-cone", kw_only=True):
    """A shortfall charge at net CONE x `days` / `hours` per MWh; `excuses` are causes that it does not count."""

    days: int
    hours: int
    measured_by: Literal["actual", "firm-service-level"]
    excuses: tuple[str, ...] = ()


class Step(Struct, frozen=True, forbid_unknown_fields=True, rename={"least": "from"}):
    """A step of a ladder: from which ratio, and its share `flat + slope x ratio`."""

    least: Decimal | None = None
    flat: Decimal = ZERO
    slope: Decimal = ZERO


class Ladder(Dated, frozen=True, tag="ladder", kw_only=True):
    """A pay table by the ratio of delivered over nominated."""

    steps: tuple[Step, ...]
    least_ratio: Decimal


class Regulation(Dated, frozen=True, tag="regulation", kw_only=True):
    """How a response is scored against its signal; times in seconds."""

    sample_s: int
    window_s: int
    lag_most_s: int
    lag_free_s: int
    qualify_frac: float


class FrequencyCurve(Dated, frozen=True, tag="frequency-curve", kw_only=True):
    """What share of a reserve a frequency calls for: points of (deviation, share), none inside the dead band."""

    nominal_hz: float
    dead_band_mhz: float
    curve: tuple[tuple[float, float], ...]


class SetPoint(Dated, frozen=True, tag="set-point", kw_only=True):
    """A reserve that follows a set-point; what it was within the activation time is still good."""

    full_activation_s: int


class NetBenefits(Dated, frozen=True, tag="net-benefits", kw_only=True):
    """The test whether demand response lowers what load pays by more than it costs; `zones`: each RTO's clock."""

    zones: dict[str, str]


ProductRule = BalancingRatio | NetCone | Ladder | Regulation | FrequencyCurve | SetPoint | NetBenefits
Form = TypeVar("Form", bound=Dated)


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[ProductRule, ...]


@cache
def product_rules() -> tuple[ProductRule, ...]:
    """Return every version of every product rule, as the table has them."""
    text = (files("tieline.market") / "rules" / "products.toml").read_text(encoding="utf-8")
    return parse_products(text)


def parse_products(text: str) -> tuple[ProductRule, ...]:
    """Return the rules of a table.

    Raises:
        ConfigError: A row is not a rule, a day is none, two versions of one rule hold on one day, a ladder's steps or
            a curve's points don't rise, or an excuse is no known cause; the row is named.
    """
    try:
        found = msgspec.convert(tomllib.loads(text), _Table).rule
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"products.toml: {error}") from error
    spans: dict[str, list[tuple[str, str, str]]] = {}
    for rule in found:
        where = f"products.toml: {rule.id} {rule.version}"
        require_span(where, rule.effective_from, rule.effective_to)
        first, last = rule.effective_from or "0000", rule.effective_to or "9999"
        for other, begin, end in spans.get(rule.id, ()):
            if begin <= last and first <= end:
                raise ConfigError(f"{where}: effective_from = {first}: version {other} holds from {begin} to {end}")
        spans.setdefault(rule.id, []).append((rule.version, first, last))
        _require_rising(where, rule)
        for cause in rule.excuses if isinstance(rule, NetCone) else ():
            if cause not in shortfall_causes():
                raise ConfigError(f"{where}: excuses = {cause!r}: give one of {', '.join(shortfall_causes())}")
    return found


def _require_rising(where: str, rule: ProductRule) -> None:
    if isinstance(rule, Ladder):
        froms = [step.least for step in rule.steps]
        known = [least for least in froms[1:] if least is not None]
        if not froms or froms[0] is not None or len(known) < len(froms) - 1 or known != sorted(set(known)):
            raise ConfigError(f"{where}: steps: give the lowest without `from`, then rising ones")
    if isinstance(rule, FrequencyCurve):
        at = [point[0] for point in rule.curve]
        if len(at) < 2 or at != sorted(set(at)):
            raise ConfigError(f"{where}: curve: give two or more points with rising deviations")


def rule_of(name: str, form: type[Form], day: date) -> Form:
    """Return the version of a rule that holds on a local day.

    Raises:
        ConfigError: There is no such rule of that form, or none of its versions holds on the day.
    """
    mine = [rule for rule in product_rules() if isinstance(rule, form)]
    versions = [rule for rule in mine if rule.id == name]
    if not versions:
        names = ", ".join(sorted({rule.id for rule in mine}))
        raise ConfigError(f"product rule {name!r} is unknown: give one of {names}")
    holds = next((rule for rule in versions if rule.holds_on(day)), None)
    if holds is None:
        spans = "; ".join(f"{r.version}: {r.effective_from or '...'} to {r.effective_to or '...'}" for r in versions)
        raise ConfigError(f"product rule {name!r} is not in force on {day}: its versions hold {spans}")
    return holds


def zone_of(name: str, form: type[Form]) -> str:
    """Return the zone on whose clock a rule's days are counted. Raises ConfigError naming those that exist."""
    found = next((rule.zone for rule in product_rules() if isinstance(rule, form) and rule.id == name), None)
    return found if found is not None else rule_of(name, form, date.max).zone


def currency_of(name: str) -> str:
    """Return the currency of a rule's own market (ISO 4217); US dollars for a name that is no product's rule."""
    return next((rule.currency for rule in product_rules() if rule.id == name), "USD")


def exact(value: float | str | Decimal) -> Decimal:
    """Return a number as the decimal that it was written as. Raises ValueError where it is not finite.

    >>> exact(0.72) * exact(10.0)
    Decimal('7.20')
    """
    made = Decimal(str(value))
    if not made.is_finite():
        raise ValueError(f"{value}: give a finite number")
    return made


class ProductLine(Struct, frozen=True):
    """One line of a product's statement: how much of what at which price, and why where it fell short."""

    id: str
    kind: str
    resource: str
    start_ns: int
    end_ns: int
    quantity: Decimal
    unit: str
    price: Decimal
    amount: Decimal
    basis: Basis
    cause: str = ""
    excused: bool = False


def line_of(
    basis: Basis,
    kind: str,
    resource: str,
    over: tuple[int, int],
    quantity: Decimal,
    unit: str,
    price: Decimal,
    cause: str = "",
) -> ProductLine:
    """Return a line whose amount is quantity x price, rounded to the cent once, half to even."""
    name = derive("line", basis.statement, basis.rule_version, resource, kind, over[0], cause)
    return ProductLine(
        name, kind, resource, over[0], over[1], quantity, unit, price, money(quantity * price), basis, cause,
        bool(cause) and is_excused(cause),
    )  # fmt: skip


def split_line(line: ProductLine, causes: Mapping[str, float]) -> list[ProductLine]:
    """Return a line split by cause in proportion to weights; quantities and cents add up to the line's own.

    Args:
        line: What lacks.
        causes: How much of the lack each explains, in any one unit; no cause at all is `underperformed`.
    """
    named = {name: weight for name, weight in sorted(causes.items()) if weight > 0} or {"underperformed": 1.0}
    weights = whole_weights(list(named.values()))
    grain = Decimal(1).scaleb(-9)
    parts = apportion(int((line.quantity / grain).to_integral_value()), weights)
    cents = apportion(int(line.amount / CENT), weights)
    return [
        msgspec.structs.replace(
            line, id=derive("line", line.id, name), quantity=units * grain, amount=share * CENT, cause=name,
            excused=is_excused(name),
        )
        for name, units, share in zip(named, parts, cents, strict=True)
    ]  # fmt: skip


def total_of(lines: Sequence[ProductLine]) -> Decimal:
    """Return what lines come to."""
    return sum((line.amount for line in lines), Decimal("0.00"))
