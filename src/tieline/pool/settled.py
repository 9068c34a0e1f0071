"""What an event came to, whole: lines, each meter's baseline with its days, shares, and what all of it was made from.

It is a value: encoded, the same inputs give the same bytes, which is how a re-run is held against what was issued.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from msgspec import Struct

from tieline.contract.pay import CENT, PoolShares, owner_shares
from tieline.market.settlement import DAY_AHEAD, Basis, Line
from tieline.pool.owner_pay import GRAIN_KWH, OwnerTerms, pay_lines

NOTHING = Decimal("0.00")


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One interval of an event: baseline and meter (kWh; None: no reading), and what was gained (kWh, signed)."""

    start_ns: int
    baseline_kwh: float
    actual_kwh: float | None
    gained_kwh: float


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One meter (or a registration as one: no name), who it belongs to, and how its baseline came about.

    `committed_kwh` is its part of what was sold, `lacks_kwh` what it gave less than that, by cause.
    """

    meter: str
    owner: str
    customer: str = ""
    feeder: str = ""
    days: tuple[str, ...]
    weights: tuple[float, ...]
    excluded: tuple[tuple[str, str], ...]
    factor: float
    addend: float
    is_capped: bool
    input_hash: str
    flags: tuple[str, ...]
    steps: tuple[Step, ...]
    adjustment_kwh: float
    rebound_kwh: float
    committed_kwh: float
    lacks_kwh: dict[str, float]

    @property
    def gained_kwh(self) -> float:
        """What it gained in all, signed."""
        return round(sum(step.gained_kwh for step in self.steps), GRAIN_KWH)

    @property
    def baseline_kwh(self) -> float:
        """Its baseline over the event."""
        return sum(step.baseline_kwh for step in self.steps)


class Settled(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event settled: for whom, by which rule (whole, as data), from which files, and everything that it came to.

    `files` has the hash of each file by its role; `causes_hash` that of the table of causes.
    """

    program: str
    market: str
    operator: str
    currency: str
    zone: str
    start_ns: int
    end_ns: int
    step_ns: int
    level: Literal["meter", "registration", "resource"]
    rule: dict[str, Any]
    causes_hash: str
    files: dict[str, str]
    basis: Basis
    operator_frac: Decimal
    lines: tuple[Line, ...]
    parts: tuple[Part, ...]
    flags: tuple[str, ...]
    excused: tuple[str, ...] = ()
    """Causes that the table excused when it was settled."""
    terms: dict[str, OwnerTerms] = {}
    """What contracts say of each owner's share and pay; an owner without is paid by `operator_frac` alone."""
    as_read: tuple[str, ...] = ()
    """Rows of its files that were doubted and, as somebody said, taken as they stand."""

    @property
    def total(self) -> Decimal:
        """Sum of its lines."""
        return sum((line.amount for line in self.lines), NOTHING)

    @property
    def committed_kwh(self) -> float:
        """What was sold day-ahead."""
        return sum(line.energy_wh for line in self.lines if line.kind == DAY_AHEAD) / 1e3

    @property
    def delivered_kwh(self) -> float:
        """What the meters gained in all, signed."""
        return sum(part.gained_kwh for part in self.parts)

    def owner_kwh(self) -> dict[str, float]:
        """Return what each owner's meters gained together, signed; a registration as one has no owners."""
        found: dict[str, float] = {}
        for part in self.parts:
            if part.owner:
                found[part.owner] = round(found.get(part.owner, 0.0) + part.gained_kwh, GRAIN_KWH)
        return found

    def by_owner(self) -> dict[str, list[Part]]:
        """Return each owner's meters."""
        found: dict[str, list[Part]] = {}
        for part in self.parts:
            if part.owner:
                found.setdefault(part.owner, []).append(part)
        return found

    def shares_of(self, total: Decimal) -> PoolShares:
        """Return who gets what of a total, by what each owner gained here and what his contract says.

        A contract's share is taken of what the owner's energy earned; what it pays beside that is the operator's to
        give, and what it charges the operator's to have.
        """
        if not self.terms:
            return owner_shares(total, NOTHING, self.operator_frac, self.owner_kwh())
        whole = owner_shares(total, NOTHING, Decimal(0), self.owner_kwh())
        undistributed = whole.undistributed - (whole.undistributed * self.operator_frac).quantize(CENT, ROUND_HALF_EVEN)
        owners = {}
        for owner, parts in self.by_owner().items():
            terms = self.terms.get(owner)
            frac = terms.share_frac if terms else 1 - self.operator_frac
            pay = sum((line.amount for line in pay_lines(parts, terms, self.excused)), NOTHING)
            owners[owner] = (whole.owners[owner] * frac).quantize(CENT, ROUND_HALF_EVEN) + pay
        operator = total - sum(owners.values(), NOTHING) - undistributed
        return PoolShares(operator, owners, undistributed)
