"""Programs of demand response in one utility, as data: what calls them, how often, how gently, and what they pay.

Ten types, told apart by `type`. Each has what a program manager and an owner ask about; what belongs to one type alone
stands in its class; what a single field can't say is checked in `programs`. Units end names; hours of the day are
local, half-open.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tieline.contract.strict import Count, Frac, Hours, Name, Seconds, Watts
from tieline.resource.identity import Kind

Hour = Annotated[int, Meta(ge=0, le=24)]
Celsius = Annotated[float, Meta(ge=-60, le=60)]
Money = Decimal
MOST_MONEY = Decimal(100_000)
SIGNED = frozenset({"above_per_mwh", "floor_per_kwh", "cap_per_kwh"})
"""Prices that may lie below 0; all other money is paid or charged by the sign of its name."""
OPT_OUT_S = 60
"""A voluntary call lets go within a minute of the owner's word (design of one resource, section 7)."""
RELEASE_S = (1_800, 3_600)
"""Heat that is let go comes back at random over 30 to 60 minutes, and by stages (same section)."""


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Weather(_Part, frozen=True, tag_field="by", tag="weather"):
    """Calls when the day's forecast maximum reaches `above_c`, or its minimum falls to `below_c`."""

    above_c: Celsius | None = None
    below_c: Celsius | None = None


class Price(_Part, frozen=True, tag_field="by", tag="price"):
    """Calls when the market clears at this price or above."""

    above_per_mwh: Decimal


class Load(_Part, frozen=True, tag_field="by", tag="load"):
    """Calls when the system's forecast reaches a share of its planned peak."""

    above_frac_of_peak: Annotated[float, Meta(gt=0, le=2)]


class Alert(_Part, frozen=True, tag_field="by", tag="alert"):
    """Calls when the operator declares one of these stages, in its own words."""

    stages: Annotated[tuple[str, ...], Meta(min_length=1)]


class Limit(_Part, frozen=True, tag_field="by", tag="limit"):
    """Calls when a network element exceeds a share of its rating."""

    above_frac_of_rating: Annotated[float, Meta(gt=0, le=2)]


class Operator(_Part, frozen=True, tag_field="by", tag="operator"):
    """A person may call it, for the reasons that are listed."""

    reasons: Annotated[tuple[str, ...], Meta(min_length=1)]


Trigger = Weather | Price | Load | Alert | Limit | Operator


class Window(_Part, frozen=True):
    """When a program may be called: local hours, days of the week (0 Monday) and months."""

    first_hour: Hour = 0
    last_hour: Hour = 24
    weekdays: Annotated[tuple[Annotated[int, Meta(ge=0, le=6)], ...], Meta(min_length=1)] = (0, 1, 2, 3, 4, 5, 6)
    months: Annotated[tuple[Annotated[int, Meta(ge=1, le=12)], ...], Meta(min_length=1)] = tuple(range(1, 13))
    on_holidays: bool = True


class Budget(_Part, frozen=True):
    """How often and how long one participant may be called; None is no bound. A season is `season_months` long."""

    hours_a_call: Hours
    least_hours_a_call: Hours = 0
    calls_a_day: Count | None = None
    calls_a_month: Count | None = None
    calls_a_season: Count | None = None
    hours_a_month: Hours | None = None
    hours_a_season: Hours | None = None
    days_in_a_row: Count | None = None
    season_from_month: Annotated[int, Meta(ge=1, le=12)] = 1


class Rotation(_Part, frozen=True):
    """Who is called where not all are: the least called first, in so many groups; `most_gini` is when it is unfair."""

    groups: Annotated[int, Meta(ge=1, le=1_000)] = 1
    most_gini: Frac = 0.25


class Snapback(_Part, frozen=True):
    """How what was held back comes again: at random over `release_s`, in `stages`, at most so much above the usual."""

    release_s: Seconds
    stages: Annotated[int, Meta(ge=1, le=100)]
    most_rise_frac: Frac


class Precondition(_Part, frozen=True):
    """Heat or cold that is stored before a call: so many kelvin for so long, and not without the owner's consent."""

    by_k: Annotated[float, Meta(gt=0, le=5)]
    lead_s: Annotated[int, Meta(gt=0, le=6 * 3_600)]


class OptOut(_Part, frozen=True):
    """Whether an owner may leave a call, how fast that is obeyed, and how often it is free (None: always)."""

    is_allowed: bool
    effective_s: Seconds = OPT_OUT_S
    free_a_season: Count | None = None
    penalty_per_kwh: Money = Decimal(0)


class Incentive(_Part, frozen=True):
    """What is paid (`amount` in the program's currency) and for what."""

    per: Literal["enrolment", "season", "month", "call", "kwh", "kw_month", "kw_season", "kwh_exported"]
    amount: Money
    needs_no_opt_out: bool = False


class Review(_Part, frozen=True):
    """The distribution utility's review: how many days it has, and on what grounds it may say no."""

    days: Annotated[int, Meta(ge=1, le=365)]
    grounds: tuple[str, ...] = ("capacity", "double_counting", "interconnection", "metering", "safety")


class Program(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What every program has. `ours` names the fields whose values are our own samples, not the published ones."""

    id: Name
    version: str
    source: str
    certainty: Literal["V", "K", "sample"]
    ours: tuple[str, ...] = ()
    says: str = ""
    jurisdiction: str
    zone: str
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    eligibility: str
    market: Name
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    effective_from: date
    effective_to: date | None = None
    triggers: tuple[Trigger, ...] = ()
    notice_s: Seconds = 0
    windows: tuple[Window, ...] = ()
    budget: Budget | None = None
    rotation: Rotation = Rotation()
    opt_out: OptOut = OptOut(is_allowed=True)
    incentives: tuple[Incentive, ...] = ()
    dual: Literal["never", "increment"] = "never"
    excludes: tuple[Name, ...] = ()
    review: Review | None = None
    minimum: Name | None = None

    @property
    def is_called(self) -> bool:
        """Whether it has calls, with a budget of them; a tariff that always holds has none."""
        return not isinstance(self, DynamicPrice)

    def holds_on(self, day: date) -> bool:
        """Return whether this version holds on a local day; the end is the first day on which it doesn't."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)


class DirectLoadControl(Program, frozen=True, kw_only=True, tag="direct-load-control"):
    """The utility switches: a duty cycle of which at most `off_frac` is off, no stretch longer than `longest_off_s`."""

    off_frac: Frac
    longest_off_s: Annotated[int, Meta(gt=0, le=86_400)]
    snapback: Snapback


class BringYourOwnThermostat(Program, frozen=True, kw_only=True, tag="bring-your-own-thermostat"):
    """The owner's thermostat is set back by at most `setback_k`, never past the comfort bounds of the contract."""

    setback_k: Annotated[float, Meta(gt=0, le=5)]
    snapback: Snapback
    precondition: Precondition | None = None


class PeakTimeRebate(Program, frozen=True, kw_only=True, tag="peak-time-rebate"):
    """Energy below the baseline is paid; nobody pays for missing it."""

    baseline: Name


class CriticalPeakPrice(Program, frozen=True, kw_only=True, tag="critical-peak-price"):
    """A few hours a year cost `adder_per_kwh` more, all others `credit_per_kwh` less."""

    adder_per_kwh: Money
    credit_per_kwh: Money
    bill_protection_months: Annotated[int, Meta(ge=0, le=36)] = 0


class DynamicPrice(Program, frozen=True, kw_only=True, tag="dynamic-price"):
    """A price each interval from a market's, with a floor and a cap per kWh."""

    price: Literal["day-ahead", "real-time"]
    interval_s: Literal[300, 900, 1_800, 3_600]
    floor_per_kwh: Decimal
    cap_per_kwh: Decimal


class CapacityBidding(Program, frozen=True, kw_only=True, tag="capacity-bidding"):
    """Capacity is nominated by the month, at least `least_nomination_w`; delivery is paid by a ladder of shares."""

    least_nomination_w: Watts
    nominated_days_before: Annotated[int, Meta(ge=0, le=60)]
    ladder: Name
    baseline: Name


class BaseInterruptible(Program, frozen=True, kw_only=True, tag="base-interruptible"):
    """Load goes down to a firm service level; what is drawn above it in a call is charged."""

    least_reduction_w: Watts
    least_reduction_frac: Frac
    excess_per_kwh: Money


class Emergency(Program, frozen=True, kw_only=True, tag="emergency"):
    """Voluntary help in an emergency, paid by energy, never penalised; never counted in planning."""

    baseline: Name
    is_planned_for: Literal[False] = False


class ExportBattery(Program, frozen=True, kw_only=True, tag="export-battery"):
    """Batteries give into the house and the grid, never below the owner's reserve."""

    least_reserve_frac: Frac
    may_export: bool
    most_cycles_a_season: Count
    measured_by: Literal["inverter", "meter"]


class FlexibleConnection(Program, frozen=True, kw_only=True, tag="flexible-connection"):
    """A connection whose part above the firm level may be curtailed, in a stated order, for stated hours a year."""

    firm_frac: Frac
    order: Literal["last-in-first-out", "pro-rata", "technical-best"]
    most_curtailed_hours: Hours
    fallback_frac: Frac


AnyProgram = (
    DirectLoadControl
    | BringYourOwnThermostat
    | PeakTimeRebate
    | CriticalPeakPrice
    | DynamicPrice
    | CapacityBidding
    | BaseInterruptible
    | Emergency
    | ExportBattery
    | FlexibleConnection
)
NOT_VOLUNTARY = (BaseInterruptible, FlexibleConnection, CapacityBidding)
"""Where leaving a call is a breach with a price, not an opt-out."""
