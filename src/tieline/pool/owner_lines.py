"""An owner's lines of an event: what each meter's part of the money is, and what each gave too little, by cause.

The owner's amount is the pool's share by delivered energy; it is apportioned to the owner's meters by what each gained,
so that lines are the share to the cent. Owners are charged nothing for a lack: what it cost the pool is in the share.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tieline.contract.pay import CENT, NOTHING
from tieline.ids import derive
from tieline.market.settlement import is_excused
from tieline.plan.apportion import apportion, whole_weights
from tieline.pool.settled import GRAIN_KWH, Part
from tieline.pool.statement_facts import Issued

SHARE, SHORTFALL = "share", "shortfall"


class OwnerLine(Struct, frozen=True):
    """One line: a meter's share of the money, or energy that it lacked, by cause (amount 0)."""

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
    mine: dict[str, list[Part]] = {}
    for part in settled.parts:
        if part.owner:
            mine.setdefault(part.owner, []).append(part)
    return {owner: _of_owner(issued.statement, owner, parts, amounts[owner]) for owner, parts in mine.items()}


def _of_owner(statement: str, owner: str, parts: Sequence[Part], amount: Decimal) -> list[OwnerLine]:
    cents = apportion(int(amount / CENT), whole_weights([part.gained_kwh for part in parts]))
    lines = [
        OwnerLine(derive("line", statement, owner, part.meter), SHARE, part.meter, part.gained_kwh, each * CENT)
        for part, each in zip(parts, cents, strict=True)
    ]
    for part in parts:
        for cause, kwh in sorted(part.lacks_kwh.items()):
            name = derive("line", statement, owner, part.meter, cause)
            lacking = -round(kwh, GRAIN_KWH)
            lines.append(OwnerLine(name, SHORTFALL, part.meter, lacking, NOTHING, cause, is_excused(cause)))
    return lines
