"""The messages of the service: header, request and reply around one payload. MW, $/MWh and local offsets, as it speaks.

Every field is an element, in the order of the market's schema; what is None or empty is left out. What a payload has
beyond these fields is passed over when it is read: the service grows, and its new elements are optional.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=4000)]
Instant = Annotated[datetime, Meta(tz=True)]
Mw = Annotated[float, Meta(ge=-1e6, le=1e6)]
Price = Annotated[float, Meta(ge=-999_999, le=999_999)]
BidId = Annotated[str, Meta(min_length=2, max_length=12, pattern="^[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]$")]
MOST_ROWS = 20_000


def _wire_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


class Element(Struct, frozen=True, kw_only=True, rename=_wire_name):
    """One element; its children are its fields."""


# --- the envelope of the service --------------------------------------------------------------------------------------


class ReplayDetection(Element, frozen=True, kw_only=True, rename="pascal"):
    """What makes a message one of its kind."""

    nonce: Name
    created: Name


class Header(Element, frozen=True, kw_only=True, rename="pascal"):
    """What is asked or told, of what, and by whom."""

    verb: Name
    noun: Name
    replay_detection: ReplayDetection
    revision: Text = "2.0"
    source: Name
    user_id: Text | None = field(name="UserID", default=None)
    message_id: Text | None = field(name="MessageID", default=None)


class Request(Element, frozen=True, kw_only=True, rename="pascal"):
    """What qualifies a question."""

    market_type: Literal["DAM", "RTM", "HRUC", "DRUC", "SCED"] | None = None
    trading_date: date | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None
    ids: Annotated[tuple[Name, ...], Meta(max_length=MOST_ROWS)] = field(name="ID", default=())


class Reply(Element, frozen=True, kw_only=True, rename="pascal"):
    """How it went: OK, ERROR or FATAL, with words."""

    reply_code: Name
    errors: Annotated[tuple[Text, ...], Meta(max_length=1000)] = field(name="Error", default=())
    timestamp: Instant | None = None
    ids: Annotated[tuple[Name, ...], Meta(max_length=MOST_ROWS)] = field(name="ID", default=())


class Problem(Element, frozen=True, kw_only=True):
    """What is wrong with one row, or worth knowing of it."""

    severity: Literal["ERROR", "WARNING", "INFORMATIVE"] | None = None
    area: Text | None = None
    interval: Text | None = None
    text: Text = ""


# --- offers and plans -------------------------------------------------------------------------------------------------


class Row(Element, frozen=True, kw_only=True):
    """What every bid, offer and schedule begins with. `mrid` is the market's own key of it."""

    start_time: Instant | None = None
    end_time: Instant | None = None
    mrid: Name | None = field(name="mRID", default=None)
    external_id: Text | None = None
    market_type: Text | None = None
    status: Name | None = None
    errors: Annotated[tuple[Problem, ...], Meta(max_length=1000)] = field(name="error", default=())


class CurvePoint(Element, frozen=True, kw_only=True):
    """So much (MW) at this price."""

    xvalue: Mw
    y1value: Price


class PriceCurve(Element, frozen=True, kw_only=True):
    """An offer curve over an interval: FIXED (all or nothing), VARIABLE (up to), or a CURVE of 2 to 10 points."""

    start_time: Instant
    end_time: Instant
    curve_style: Literal["FIXED", "VARIABLE", "CURVE"] | None = None
    points: Annotated[tuple[CurvePoint, ...], Meta(min_length=1, max_length=10)] = field(name="CurveData")


class EnergyOnlyOffer(Row, frozen=True, kw_only=True):
    """Energy of the day ahead at a settlement point, from no resource in particular."""

    expiration_time: Instant | None = None
    sp: Name | None = None
    bid_id: BidId | None = field(name="bidID", default=None)
    curves: Annotated[tuple[PriceCurve, ...], Meta(max_length=25)] = field(name="EnergyOfferCurve", default=())


class StartupCost(Element, frozen=True, kw_only=True):
    """What a start costs ($)."""

    start_time: Instant
    end_time: Instant
    hot: Price | None = None
    intermediate: Price | None = None
    cold: Price | None = None


class MinimumEnergy(Element, frozen=True, kw_only=True):
    """What energy at the least output costs ($/MWh)."""

    start_time: Instant
    end_time: Instant
    cost: Price


class ThreePartOffer(Row, frozen=True, kw_only=True):
    """Start, least output and energy of one resource."""

    expiration_time: Instant | None = None
    resource: Name | None = None
    startup: Annotated[tuple[StartupCost, ...], Meta(max_length=25)] = field(name="StartupCost", default=())
    minimum: Annotated[tuple[MinimumEnergy, ...], Meta(max_length=25)] = field(name="MinimumEnergy", default=())
    curves: Annotated[tuple[PriceCurve, ...], Meta(max_length=25)] = field(name="EnergyOfferCurve", default=())


class OnLineReserves(Element, frozen=True, kw_only=True):
    """One block of reserves by what is on line: MW, and a price for each service that it may serve."""

    xvalue: Mw
    regup: Price | None = field(name="REGUP", default=None)
    rrs: Price | None = field(name="RRS", default=None)
    rrspf: Price | None = field(name="RRSPF", default=None)
    rrsff: Price | None = field(name="RRSFF", default=None)
    rrsuf: Price | None = field(name="RRSUF", default=None)
    onns: Price | None = field(name="ONNS", default=None)
    ecrs: Price | None = field(name="ECRS", default=None)
    block: Name = "1"


class OffLineNonSpin(Element, frozen=True, kw_only=True):
    """One block of reserves by what can be called within half an hour."""

    xvalue: Mw
    offns: Price | None = field(name="OFFNS", default=None)
    offec: Price | None = field(name="OFFEC", default=None)
    ecrs: Price | None = field(name="ECRS", default=None)
    block: Name = "1"


class AsPriceCurve(Element, frozen=True, kw_only=True):
    """Blocks of one kind of reserve over an interval."""

    start_time: Instant
    end_time: Instant
    on_line: Annotated[tuple[OnLineReserves, ...], Meta(max_length=5)] = field(name="OnLineReserves", default=())
    off_line: Annotated[tuple[OffLineNonSpin, ...], Meta(max_length=5)] = field(name="OffLineNonSpin", default=())


class AsOffer(Row, frozen=True, kw_only=True):
    """A reserve of one resource, a load's among them."""

    expiration_time: Instant | None = None
    resource: Name | None = None
    as_type: Name | None = None
    curves: Annotated[tuple[AsPriceCurve, ...], Meta(max_length=25)] = field(name="ASPriceCurve", default=())


class ResourceStatus(Element, frozen=True, kw_only=True):
    """In which mode a resource will be: ONL is a load resource that is there, OUTL one that is not."""

    start_time: Instant
    end_time: Instant
    operating_mode: Name


class Limits(Element, frozen=True, kw_only=True):
    """Between what a resource can be held (MW): sustained, and in an emergency."""

    start_time: Instant
    end_time: Instant
    hsl: Mw
    lsl: Mw
    hel: Mw
    lel: Mw


class Cop(Row, frozen=True, kw_only=True):
    """The current operating plan of one resource, hour by hour; the newest stands."""

    resource: Name | None = None
    modes: Annotated[tuple[ResourceStatus, ...], Meta(max_length=200)] = field(name="ResourceStatus", default=())
    limits: Annotated[tuple[Limits, ...], Meta(max_length=200)] = field(name="Limits", default=())


class BidSet(Element, frozen=True, kw_only=True):
    """Rows of one kind for one trading date."""

    trading_date: date
    submit_time: Instant | None = None
    plans: Annotated[tuple[Cop, ...], Meta(max_length=MOST_ROWS)] = field(name="COP", default=())
    three_part: Annotated[tuple[ThreePartOffer, ...], Meta(max_length=MOST_ROWS)] = field(
        name="ThreePartOffer", default=()
    )
    reserves: Annotated[tuple[AsOffer, ...], Meta(max_length=MOST_ROWS)] = field(name="ASOffer", default=())
    energy_only: Annotated[tuple[EnergyOnlyOffer, ...], Meta(max_length=MOST_ROWS)] = field(
        name="EnergyOnlyOffer", default=()
    )

    @property
    def rows(self) -> tuple[Cop | ThreePartOffer | AsOffer | EnergyOnlyOffer, ...]:
        """All rows, of whichever kind."""
        return (*self.plans, *self.three_part, *self.reserves, *self.energy_only)


def bid_set(day: date, rows: Iterable[Cop | ThreePartOffer | AsOffer | EnergyOnlyOffer]) -> BidSet:
    """Return rows as a bid set, which is valid where they are of one kind."""
    every = tuple(rows)
    return BidSet(
        trading_date=day,
        plans=tuple(row for row in every if isinstance(row, Cop)),
        three_part=tuple(row for row in every if isinstance(row, ThreePartOffer)),
        reserves=tuple(row for row in every if isinstance(row, AsOffer)),
        energy_only=tuple(row for row in every if isinstance(row, EnergyOnlyOffer)),
    )


# --- what the market says ---------------------------------------------------------------------------------------------


class _Award(Element, frozen=True, kw_only=True):
    qse: Name
    start_time: Instant
    end_time: Instant
    trading_date: date
    market_type: Text | None = None


class AwardedEnergyOnlyOffer(_Award, frozen=True, kw_only=True):
    """What an energy-only offer won."""

    awarded_mwh: Mw = field(name="awardedMWh")
    spp: Price | None = None
    bid_id: Name
    sp: Name


class AwardedEnergyOffer(_Award, frozen=True, kw_only=True):
    """What a three-part offer won; its price is that of its settlement point."""

    resource: Name
    awarded_mwh: Mw = field(name="awardedMWh")


class AwardedAs(_Award, frozen=True, kw_only=True):
    """What an offer of reserve won, block by block, each with its clearing price."""

    resource: Name
    as_type: Name
    blocks: Annotated[tuple[AsPriceCurve, ...], Meta(min_length=1, max_length=100)] = field(name="awardedMW")


class AwardSet(Element, frozen=True, kw_only=True):
    """The awards of a trading date."""

    trading_date: date
    market_type: Text | None = None
    reserves: Annotated[tuple[AwardedAs, ...], Meta(max_length=MOST_ROWS)] = field(name="AwardedAS", default=())
    three_part: Annotated[tuple[AwardedEnergyOffer, ...], Meta(max_length=MOST_ROWS)] = field(
        name="AwardedEnergyOffer", default=()
    )
    energy_only: Annotated[tuple[AwardedEnergyOnlyOffer, ...], Meta(max_length=MOST_ROWS)] = field(
        name="AwardedEnergyOnlyOffer", default=()
    )


class Spp(Element, frozen=True, kw_only=True):
    """The price of one settlement point from an instant on."""

    time: Instant
    ending: Instant | None = None
    value1: Price | None = None
    sp: Name


class Spps(Element, frozen=True, kw_only=True):
    """Settlement point prices."""

    rows: Annotated[tuple[Spp, ...], Meta(max_length=MOST_ROWS)] = field(name="SPP", default=())


class VdiDetails(Element, frozen=True, kw_only=True):
    """What an instruction is: its kind, from when to when, and to which level (MW)."""

    ercot_operator_name: Annotated[str, Meta(min_length=1, max_length=32)]
    instruction_type: Annotated[str, Meta(min_length=1, max_length=10)]
    current_opr_level: Mw | None = None
    current_state: Text | None = None
    notification_time: Instant
    initiation_time: Instant | None = None
    completion_time: Instant | None = None
    vdi_ref_num: Annotated[str, Meta(min_length=1, max_length=15)]
    other_information: Text | None = None
    final_opr_level: Mw | None = None
    final_state: Text | None = None


class Vdi(Element, frozen=True, kw_only=True):
    """A verbal dispatch instruction; sent back it is acknowledged."""

    mrid: Name | None = field(name="mRID", default=None)
    external_id: Text | None = None
    status: Name | None = None
    errors: Annotated[tuple[Problem, ...], Meta(max_length=1000)] = field(name="error", default=())
    resource: Name | None = None
    details: VdiDetails = field(name="Details")


class Vdis(Element, frozen=True, kw_only=True):
    """Instructions that are not acknowledged yet."""

    rows: Annotated[tuple[Vdi, ...], Meta(max_length=MOST_ROWS)] = field(name="VDI", default=())


class Event(Element, frozen=True, kw_only=True):
    """A notice or an alert."""

    qse: Name
    id: Name = field(name="ID")
    type: Text
    priority: Literal["High", "Medium", "Low"]
    source: Text
    issued: Instant
    expiration: Instant | None = None
    summary: Text
    details: Text | None = None


Payload = BidSet | AwardSet | Spps | Vdis | Event
TAGS: dict[str, type[Payload]] = {
    "BidSet": BidSet, "AwardSet": AwardSet, "SPPs": Spps, "VDIs": Vdis, "Event": Event,
}  # fmt: skip


class Asked(Struct, frozen=True, kw_only=True):
    """A RequestMessage."""

    header: Header
    request: Request | None = None
    payload: Payload | None = None


class Told(Struct, frozen=True, kw_only=True):
    """A ResponseMessage: an answer, or what a notification holds. `faults`: rows of it that could not be read."""

    header: Header
    reply: Reply | None = None
    payload: Payload | None = None
    faults: tuple[tuple[str, str], ...] = ()
    """(what the row says its reference is, or empty; which rule it breaks)."""
