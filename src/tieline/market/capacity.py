"""Capacity: what an obligation demands of a scarce interval, what was given, and the pay or charge for the difference.

ISO New England pays `(actual - BR x CSO) x PPR x dt`, either way, and excuses nobody. PJM charges a shortfall
`max(0, commitment x BR - actual)` at `net CONE x 365 / 30` per MWh, less what its rules excuse. A firm service level is
measured as `PLC - load x loss factor` against `PLC - FSL x loss factor`.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tieline.market.product import (
    ZERO,
    BalancingRatio,
    NetCone,
    ProductLine,
    exact,
    line_of,
    split_line,
)
from tieline.market.settlement import Basis, split_lack

HOUR = Decimal(3_600_000_000_000)
PERFORMANCE, SHORTFALL, EXCUSED = "performance", "shortfall", "excused_shortfall"


class Obligation(Struct, frozen=True):
    """One resource in one scarce interval (MW).

    `actual_mw` is None where no meter says what was given: that counts as nothing. `causes` are MW of a lack by cause.
    """

    resource: str
    start_ns: int
    end_ns: int
    commitment_mw: Decimal
    balancing_ratio: Decimal
    actual_mw: Decimal | None
    causes: dict[str, float] = {}

    @property
    def hours(self) -> Decimal:
        """How long it lasts (h)."""
        return Decimal(self.end_ns - self.start_ns) / HOUR

    @property
    def expected_mw(self) -> Decimal:
        """What it demands: the balancing ratio's part of the commitment."""
        return self.commitment_mw * self.balancing_ratio

    @property
    def over_mw(self) -> Decimal:
        """What was given beyond it; below 0 is a lack."""
        return (ZERO if self.actual_mw is None else self.actual_mw) - self.expected_mw

    def lacking(self) -> dict[str, float]:
        """Return the causes of a lack (MW), which add up to it; without a reading all of it is `no_meter_data`."""
        if self.actual_mw is None:
            return {"no_meter_data": float(-self.over_mw)}
        return split_lack(float(-self.over_mw), self.causes, "underperformed")


def pay_for_performance(rule: BalancingRatio, basis: Basis, asked: Obligation) -> list[ProductLine]:
    """Return the line of one interval, or one a cause where it fell short: `(actual - BR x CSO) x PPR x dt`."""
    over = (asked.start_ns, asked.end_ns)
    kind = PERFORMANCE if asked.over_mw >= 0 else SHORTFALL
    line = line_of(basis, kind, asked.resource, over, asked.over_mw * asked.hours, "MWh", rule.rate_per_mwh)
    return [line] if asked.over_mw >= 0 else split_line(line, asked.lacking())


def shortfall_rate(rule: NetCone, net_cone_per_mw_day: Decimal) -> Decimal:
    """Return PJM's charge per MWh of shortfall: net CONE x 365 / 30; a five-minute interval pays a twelfth an MW.

    >>> from datetime import date
    >>> from tieline.market.product import rule_of
    >>> shortfall_rate(rule_of("pjm-capacity-shortfall", NetCone, date(2024, 7, 1)), Decimal("300"))
    Decimal('3650')
    """
    return net_cone_per_mw_day * rule.days / rule.hours


def shortfall_charge(rule: NetCone, basis: Basis, asked: Obligation, net_cone_per_mw_day: Decimal) -> list[ProductLine]:
    """Return the charge lines of one interval, one a cause: `max(0, commitment x BR - actual)` at the rate, no bonus.

    What the rule excuses stands on the statement with its energy and costs nothing.
    """
    over, rate = (asked.start_ns, asked.end_ns), shortfall_rate(rule, net_cone_per_mw_day)
    if asked.over_mw >= 0:
        return [line_of(basis, PERFORMANCE, asked.resource, over, asked.over_mw * asked.hours, "MWh", ZERO)]
    causes = asked.lacking()
    free = {name: mw for name, mw in causes.items() if name in rule.excuses}
    counted = {name: mw for name, mw in causes.items() if name not in rule.excuses}
    # What is counted is the lack less what is excused: floats of causes never decide how much is charged in all.
    free_mw = min(sum((exact(mw) for mw in free.values()), ZERO), -asked.over_mw) if counted else -asked.over_mw
    found: list[ProductLine] = []
    if free:
        excused = line_of(basis, EXCUSED, asked.resource, over, -free_mw * asked.hours, "MWh", ZERO)
        found += split_line(excused, free)
    if counted:
        lack = (asked.over_mw + free_mw) * asked.hours
        found += split_line(line_of(basis, SHORTFALL, asked.resource, over, lack, "MWh", rate), counted)
    return found


class FirmLevel(Struct, frozen=True):
    """A firm service level: peak load contribution, the level at the meter, losses to transmission, and the load."""

    peak_load_kw: Decimal
    firm_kw: Decimal
    loss_factor: Decimal
    load_kw: Decimal | None

    @property
    def nominated_mw(self) -> Decimal:
        """What was nominated: `(PLC - FSL x loss factor)`."""
        return (self.peak_load_kw - self.firm_kw * self.loss_factor) / 1000

    @property
    def delivered_mw(self) -> Decimal | None:
        """What was delivered: `(PLC - load x loss factor)`; None without a reading.

        >>> FirmLevel(Decimal(90), Decimal(55), Decimal("1.031"), Decimal(48)).delivered_mw
        Decimal('0.040512')
        """
        return None if self.load_kw is None else (self.peak_load_kw - self.load_kw * self.loss_factor) / 1000
