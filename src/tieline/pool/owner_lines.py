"""An owner's lines of an event: what each meter's part of the money is, and what each gave too little, by cause.

The owner's amount is the pool's share by delivered energy; it is apportioned to the owner's meters by what each gained,
so that lines are the share to the cent. What a contract pays or charges beside it has lines of its own; without
one a lack costs an owner nothing, as what it cost the pool is in the share.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tieline.contract.pay import CENT, NOTHING
from tieline.ids import derive
from tieline.plan.apportion import apportion, whole_weights
from tieline.pool.owner_pay import pay_lines
from tieline.pool.settled import Part
from tieline.pool.statement_facts import Issued

SHARE = "share"


class OwnerLine(Struct, frozen=True):
    """One line: a meter's share of the money, a contract's pay, or energy that was lacking, by cause."""

    id: str
    kind: str
    meter: str
    kwh: float
    amount: Decimal
    cause: str = ""
    excused: bool = False


def owner_lines(issued: Issued) -> dict[str, list[OwnerLine]]:
    """Return the lines of each owner in a version, by owner."""
    settled = issued.settled
    amounts = settled.shares_of(settled.total).owners
    return {owner: _of_owner(issued, owner, parts, amounts[owner]) for owner, parts in settled.by_owner().items()}


def _of_owner(issued: Issued, owner: str, parts: Sequence[Part], amount: Decimal) -> list[OwnerLine]:
    statement, settled = issued.statement, issued.settled
    pay = pay_lines(parts, settled.terms.get(owner), settled.excused)
    shared = amount - sum((line.amount for line in pay), NOTHING)
    cents = apportion(int(shared / CENT), whole_weights([part.gained_kwh for part in parts]))
    lines = [
        OwnerLine(derive("line", statement, owner, part.meter), SHARE, part.meter, part.gained_kwh, each * CENT)
        for part, each in zip(parts, cents, strict=True)
    ]
    for line in pay:
        name = derive("line", statement, owner, line.meter, line.kind, line.cause)
        excused = line.cause in settled.excused
        lines.append(OwnerLine(name, line.kind, line.meter, line.kwh, line.amount, line.cause, excused))
    return lines
