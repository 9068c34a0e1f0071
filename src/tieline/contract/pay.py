"""What owners get: the pool's money shared by contribution, exact to the cent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from msgspec import Struct

from tieline.plan.apportion import Ints, apportion, apportion_column, whole_weights

CENT = Decimal("0.01")
NOTHING = Decimal("0.00")


class PoolShares(Struct, frozen=True):
    """Who gets what of a pool's money; the three add up to it.

    `undistributed` is what was earned while nobody delivered: it belongs to the owners and is carried to their next
    statement, never to the operator.
    """

    operator: Decimal
    owners: dict[str, Decimal]
    undistributed: Decimal = NOTHING

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.operator + sum(self.owners.values(), NOTHING) + self.undistributed


def owner_shares(
    revenue: Decimal, penalties: Decimal, operator_frac: Decimal, kwh: Mapping[str, Decimal | float]
) -> PoolShares:
    """Return the shares of revenue less penalties, which add up to it to the cent.

    The operator's share is rounded half to even; the rest goes to the owners in proportion to delivered energy
    (negative counts as none) by largest remainders, ties to the owner named first. A loss stays with the operator:
    sharing it by delivery would charge those most who delivered most.

    Raises:
        ValueError: `operator_frac` is not from 0 to 1, or an energy is not finite.

    >>> owner_shares(Decimal("100"), Decimal(0), Decimal(0), {"a": 1, "b": 1, "c": 1}).owners["a"]
    Decimal('33.34')
    """
    _require_frac(operator_frac)
    if bad := next((owner for owner, amount in kwh.items() if not Decimal(str(amount)).is_finite()), None):
        raise ValueError(f"kwh of {bad}: {kwh[bad]}: give a finite energy; missing meter data counts as 0")
    total = (revenue - penalties).quantize(CENT, ROUND_HALF_EVEN)
    if total <= 0:
        return PoolShares(total, dict.fromkeys(kwh, NOTHING))
    operator = (total * operator_frac).quantize(CENT, ROUND_HALF_EVEN)
    pool_cents = int((total - operator) / CENT)
    weights = whole_weights(list(kwh.values()))
    if not any(weights):
        return PoolShares(operator, dict.fromkeys(kwh, NOTHING), total - operator)
    cents = apportion(pool_cents, weights)
    return PoolShares(operator, {owner: share * CENT for owner, share in zip(kwh, cents, strict=True)})


def owner_cents(
    revenue: Decimal, penalties: Decimal, operator_frac: Decimal, milliwatt_hours: Ints
) -> tuple[Decimal, Ints, Decimal]:
    """Return the same for a column of owners: the operator's share, each owner's cents, and what is undistributed.

    Args:
        revenue: What was earned.
        penalties: What it cost to fall short.
        operator_frac: The operator's part, 0 to 1.
        milliwatt_hours: What each owner delivered, whole; shape (n,). Below 0 counts as none.

    Raises:
        ValueError: `operator_frac` is not from 0 to 1.

    >>> owner_cents(Decimal("100"), Decimal(0), Decimal(0), np.array([1, 1, 1]))[1].tolist()
    [3334, 3333, 3333]
    """
    _require_frac(operator_frac)
    none = np.zeros(len(milliwatt_hours), np.int64)
    total = (revenue - penalties).quantize(CENT, ROUND_HALF_EVEN)
    if total <= 0:
        return total, none, NOTHING
    operator = (total * operator_frac).quantize(CENT, ROUND_HALF_EVEN)
    weights = np.maximum(milliwatt_hours, 0)
    if not weights.any():
        return operator, none, total - operator
    return operator, apportion_column(int((total - operator) / CENT), weights), NOTHING


def _require_frac(operator_frac: Decimal) -> None:
    if not 0 <= operator_frac <= 1:
        raise ValueError(f"operator_frac {operator_frac}: give 0 to 1")
