"""What owners get: the pool's money shared by contribution, exact to the cent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

CENT = Decimal("0.01")


def owner_shares(
    revenue: Decimal, penalties: Decimal, operator_frac: Decimal, kwh: Mapping[str, Decimal | float]
) -> tuple[Decimal, dict[str, Decimal]]:
    """Return the operator's share and each owner's, which add up to revenue less penalties to the cent.

    The operator's share is rounded half to even; the rest is shared in proportion to delivered energy (negative
    counts as none) by largest remainders, ties to the owner named first. A loss is shared the same way.

    >>> owner_shares(Decimal("100"), Decimal(0), Decimal(0), {"a": 1, "b": 1, "c": 1})[1]["a"]
    Decimal('33.34')
    """
    total = (revenue - penalties).quantize(CENT, ROUND_HALF_EVEN)
    operator = (total * operator_frac).quantize(CENT, ROUND_HALF_EVEN)
    cents = int((total - operator) / CENT)
    weights = {owner: max(Decimal(str(amount)), Decimal(0)) for owner, amount in kwh.items()}
    mass = sum(weights.values(), Decimal(0))
    if mass == 0:
        return total, dict.fromkeys(weights, Decimal("0.00"))
    sign, cents = (1, cents) if cents >= 0 else (-1, -cents)
    exact = {owner: cents * weight / mass for owner, weight in weights.items()}
    whole = {owner: int(amount) for owner, amount in exact.items()}
    left = cents - sum(whole.values())
    order = sorted(exact, key=lambda owner: whole[owner] - exact[owner])  # stable: ties to who is named first
    for owner in order[:left]:
        whole[owner] += 1
    return operator, {owner: sign * amount * CENT for owner, amount in whole.items()}
