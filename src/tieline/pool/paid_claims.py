"""What the statements of a book were paid for: no kWh of a meter twice for a service, whoever buys it.

A version that stands claims each interval of its meters in which it pays for something gained: two-settlement pays all
that was delivered, so nothing of it is left for another (`market.settlement.claimable_kw` is 0). A later version claims
anew in place of the one before; what was taken back by agreement claims nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tieline.contract.pay import NOTHING
from tieline.market.services import may_be_paid_beside
from tieline.market.settlement import DAY_AHEAD
from tieline.pool.settled import Settled
from tieline.pool.statement_facts import Issued
from tieline.resource.claim import Refusal
from tieline.times import iso

ENERGY = "energy"


@dataclass(frozen=True, slots=True)
class Paid:
    """For which service a statement pays, and the meters of its file ("": one without a name)."""

    service: str = ENERGY
    meters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """What one meter gained over [start, end) that a statement pays for; of a registration as one: all its meters."""

    meter: str
    start_ns: int
    end_ns: int
    kwh: float


def held_by(settled: Settled, meters: Sequence[str]) -> list[Held]:
    """Return what a settled event pays for, by meter and interval; what lies outside of its awards is not paid."""
    sold = [(line.start_ns, line.end_ns) for line in settled.lines if line.kind == DAY_AHEAD]
    found = []
    for part in settled.parts:
        names = (part.meter,) if part.meter or not meters else meters
        for step in part.steps:
            end_ns = step.start_ns + settled.step_ns
            if step.gained_kwh > 0 and any(step.start_ns < last and first < end_ns for first, last in sold):
                found += [Held(name, step.start_ns, end_ns, step.gained_kwh) for name in names]
    return found


def paid_twice(settled: Settled, paid: Paid, others: Iterable[Issued]) -> Refusal | None:
    """Return what another statement that stands was paid for already, as a refusal, or None.

    Args:
        settled: The event that is to be paid.
        paid: For which service, and whose meters.
        others: The versions that stand of all other events.
    """
    mine: dict[str, list[Held]] = {}
    for one in held_by(settled, paid.meters):
        mine.setdefault(one.meter, []).append(one)
    for other in others:
        its = other.settled
        if may_be_paid_beside(paid.service, other.service):
            continue
        if its.start_ns >= settled.end_ns or settled.start_ns >= its.end_ns:
            continue
        for held in held_by(its, other.meters):
            for one in mine.get(held.meter, ()):
                if held.start_ns < one.end_ns and one.start_ns < held.end_ns:
                    who = f"meter {one.meter}" if one.meter else "a meter without a name"
                    return Refusal(
                        f"{held.kwh:g} kWh of {who} were paid to {its.program} by {its.market} for {other.service}",
                        "start", iso(max(one.start_ns, held.start_ns)),
                        "leave the meter out, or take that statement back first (settle it again, or adjust it to 0)",
                        other.statement, "claims-ledger",
                    )  # fmt: skip
    return None


def is_taken_back(newest: Issued, agreed: Decimal) -> bool:
    """Return whether all that an event was paid was taken back by agreement, so that its kWh are free again."""
    return newest.settled.total != NOTHING and newest.settled.total == -agreed
