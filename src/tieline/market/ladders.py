"""Ladders: capacity paid by a table of delivered over nominated, as retail capacity programs do."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tieline.market.product import Ladder, ProductLine, exact, line_of, split_line
from tieline.market.settlement import Basis

CAPACITY, SHORTFALL = "capacity", "shortfall"


class Nomination(Struct, frozen=True):
    """What was nominated at which price (per kW and period), and what was delivered of it (None: no reading)."""

    resource: str
    start_ns: int
    end_ns: int
    nominated_kw: Decimal
    delivered_kw: Decimal | None
    price_per_kw: Decimal
    causes: dict[str, float] = {}

    @property
    def ratio(self) -> Decimal:
        """Delivered over nominated; nothing read is nothing delivered."""
        return Decimal(0) if self.delivered_kw is None else self.delivered_kw / self.nominated_kw


def pay_share(rule: Ladder, ratio: Decimal) -> Decimal:
    """Return the share of the full payment at a ratio of delivered over nominated; below 0 is a penalty.

    A step begins at its ratio, that included.

    >>> from datetime import date
    >>> from tieline.market.product import rule_of
    >>> rule = rule_of("us-ca-capacity-bidding", Ladder, date(2024, 7, 1))
    >>> [str(pay_share(rule, Decimal(ratio))) for ratio in ("1.2", "0.8", "0.7", "0.55")]
    ['1.05', '0.8', '0.35', '-0.05']
    """
    held = max(ratio, rule.least_ratio)
    step = [each for each in rule.steps if each.least is None or each.least <= held][-1]
    made = step.flat + step.slope * held
    return made.normalize() if made else Decimal(0)


def ladder_lines(rule: Ladder, basis: Basis, asked: Nomination) -> list[ProductLine]:
    """Return the full payment of a nomination and, where the ladder pays otherwise, what it adds or takes by cause.

    The two are cut so that they come to `nominated x price x share`, rounded to the cent once.
    """
    over, price = (asked.start_ns, asked.end_ns), asked.price_per_kw
    full = line_of(basis, CAPACITY, asked.resource, over, asked.nominated_kw, "kW", price)
    right = line_of(
        basis, CAPACITY, asked.resource, over, asked.nominated_kw * pay_share(rule, asked.ratio), "kW", price
    )
    differs = right.amount - full.amount
    if not differs and right.quantity == full.quantity:
        return [full]
    kind = CAPACITY if differs >= 0 else SHORTFALL
    rest = line_of(basis, f"{kind}_ladder", asked.resource, over, right.quantity - full.quantity, "kW", price)
    rest = _with_amount(rest, differs)
    if kind == CAPACITY:
        return [full, rest]
    causes = {"no_meter_data": 1.0} if asked.delivered_kw is None else _of_lack(asked)
    return [full, *split_line(rest, causes)]


def _with_amount(line: ProductLine, amount: Decimal) -> ProductLine:
    return ProductLine(
        line.id, line.kind, line.resource, line.start_ns, line.end_ns, line.quantity, line.unit, line.price, amount,
        line.basis,
    )  # fmt: skip


def _of_lack(asked: Nomination) -> dict[str, float]:
    """Return the causes of what was not delivered (kW), filled up to it."""
    lacking = float(asked.nominated_kw - exact(asked.delivered_kw or 0))
    known = {name: kw for name, kw in asked.causes.items() if kw > 0}
    rest = lacking - sum(known.values())
    return {**known, "underperformed": known.get("underperformed", 0.0) + rest} if rest > 1e-6 else known
