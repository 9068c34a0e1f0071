"""What a contract pays an owner beside his share: per kWh gained, per call, and what it charges for a lack.

Each is a line of its own, rounded to the cent once. A lack by a cause that the table excuses is never charged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from tieline.market.settlement import money

if TYPE_CHECKING:
    from tieline.pool.settled import Part

PER_KWH, PER_CALL, SHORTFALL, PER_MISS = "pay_per_kwh", "pay_per_call", "shortfall", "penalty_per_call"
NOTHING = Decimal("0.00")
GRAIN_KWH = 6
"""Energies by which money is shared are rounded to the milliwatt-hour, so that their last bits decide nothing."""


class OwnerTerms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of one version of a contract's terms concerns one event (money in the book's currency)."""

    contract: str
    version: int
    share_frac: Decimal
    per_kwh: Decimal = NOTHING
    per_call: Decimal = NOTHING
    penalty_per_kwh: Decimal = NOTHING
    penalty_per_call: Decimal = NOTHING


class PayLine(Struct, frozen=True):
    """One line of pay or of a lack; a charge is negative."""

    kind: str
    meter: str
    kwh: float
    amount: Decimal
    cause: str = ""


def pay_lines(parts: Sequence[Part], terms: OwnerTerms | None, excused: Collection[str]) -> list[PayLine]:
    """Return the lines of one owner's meters; without terms a lack costs nothing, and nothing else is paid.

    `excused` are the causes that were excused when it was settled: a table that changes later changes no statement.
    """
    found: list[PayLine] = []
    if terms is not None and terms.per_kwh:
        gained = max(round(sum(part.gained_kwh for part in parts), GRAIN_KWH), 0.0)
        found.append(PayLine(PER_KWH, "", gained, money(terms.per_kwh * Decimal(str(gained)))))
    if terms is not None and terms.per_call:
        found.append(PayLine(PER_CALL, "", 0.0, money(terms.per_call)))
    has_missed = False
    for part in parts:
        for cause, kwh in sorted(part.lacks_kwh.items()):
            lacking = round(kwh, GRAIN_KWH)
            is_charged = terms is not None and cause not in excused
            has_missed = has_missed or (is_charged and lacking > 0)
            charge = money(terms.penalty_per_kwh * Decimal(str(lacking))) if terms and is_charged else NOTHING
            found.append(PayLine(SHORTFALL, part.meter, -lacking, NOTHING - charge, cause))
    if terms is not None and terms.penalty_per_call and has_missed:
        found.append(PayLine(PER_MISS, "", 0.0, NOTHING - money(terms.penalty_per_call)))
    return found
