"""The ports of the console: what it may read and do. The node implements both; the console knows nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tieline.desk.capability_views import AskCapability, CapabilityView
from tieline.desk.contract_views import ContractView
from tieline.desk.desk_views import (
    AuditView,
    DayView,
    EventPreview,
    FeederView,
    Found,
    KeptSpan,
    MarketView,
    MessageView,
    SettlementView,
    TraceView,
    WhyView,
)
from tieline.desk.event_views import EventProgram, EventView
from tieline.desk.inverters import SettingsView
from tieline.desk.operating import EnvelopesView
from tieline.desk.opt_out_rates import OptOutView
from tieline.desk.ports import Granted
from tieline.desk.prices import SendPrices, TakenPrices
from tieline.desk.resource_views import OwnerMoney, ResourceView
from tieline.desk.trading import AskOffer, LoadForecastView, OfferView, Proposal
from tieline.desk.views import AlarmView, FleetGrid, LinkView, Member, Overview, Series, Shell, SuppressedAlarm
from tieline.grid.envelope_file import EnvelopeSet
from tieline.grid.inverter_settings import SettingsSet
from tieline.resource.claim import Refusal

KEY, ONCE = "Idempotency-Key", "idempotency"
"""The header by which a sender names a call that is to be done once, and the rule that refuses it for another."""


class ComposeEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a program that somebody wants: a reduction is positive (W)."""

    program: str
    group: str
    start_ns: int
    end_ns: int
    power_w: float
    strategy: str = "share"
    why: str = ""


class ExtendEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """So many minutes more for an event that is scheduled or runs."""

    minutes: int


class OwnerLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits that an owner sets on his own device (W, positive into the grid); they hold until he takes them back."""

    low_w: float
    high_w: float


class AskLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit that an operator wants on a resource for so long (W; both ends are needed)."""

    low_w: float
    high_w: float
    minutes: int
    because: str


class SetMode(Struct, frozen=True, forbid_unknown_fields=True):
    """The mode that a feeder is to have, and why: Disabled, Manual or Automatic."""

    mode: str
    because: str


class Columns(Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of one point, one a row: resource ids, values (SI), when (UTC ns), quality bits (left out: good)."""

    point: str
    resource: list[str]
    value: list[float]
    taken_at_ns: list[int]
    quality: list[int] | None = None


class Ingested(Struct, frozen=True):
    """How many rows were taken, and which were not: (row, why)."""

    taken: int
    refused: tuple[tuple[int, str], ...] = ()


class Intake(Protocol):
    """Where readings are sent."""

    async def accept(self, body: bytes, scope: frozenset[str] = frozenset()) -> Ingested | Refusal:
        """Take a JSON body of `Columns`, durable when it returns; only of the resources in `scope` (empty: all)."""
        ...


class Trader(Protocol):
    """What a trader does and sees beside the screens."""

    async def offer(self, asks: Sequence[AskOffer]) -> list[OfferView]:
        """Hold, record and submit offers; one view a row, refused ones with field, value, limit and holder."""
        ...

    def offers(self, pool: str) -> list[OfferView]:
        """Return the offers of a pool (empty: all) of the last and the next days, by hour."""
        ...

    def proposal(self, pool: str, day: str, hours: int) -> Proposal | Refusal:
        """Return offers of a pool's dearest hours of a day (empty: tomorrow) that can be sent as they are."""
        ...

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices | Refusal:
        """Take prices of a zone; the same prices twice have one effect."""
        ...

    async def load_forecasts(self, pool: str, at_ns: int | None) -> list[LoadForecastView]:
        """Return what was known at an instant (None: now) of the loads of a pool (empty: all), from its day on."""
        ...

    def opt_outs(self, pool: str) -> list[OptOutView] | Refusal:
        """Return how often owners of each kind of a pool's (empty: the first) devices opt out of calls."""
        ...

    def settlements(self, pool: str) -> list[DayView]:
        """Return the award days of a pool (empty: all), the newest first, with what each lacks or came to."""
        ...


class Reader(Protocol):
    """What can be seen. Each call returns a view made whole at one revision; KeyError where there is no such thing."""

    def shell(self) -> Shell:
        """Return what stands on every page."""
        ...

    def needs_two(self, devices: int) -> str:
        """Return why an act on so many devices needs a second person; empty: it needs none."""
        ...

    def overview(self) -> Overview:
        """Return the first screen."""
        ...

    def series(self) -> Series:
        """Return the last day of instructed and delivered power, a sample a minute."""
        ...

    def fleet(self) -> FleetGrid:
        """Return the cells of the whole fleet."""
        ...

    def members(self, group: str, at: int, count: int, order: str = "worst") -> list[Member]:
        """Return devices [at, at + count) of a group: the `worst` first, or in the order of the `grid`'s cells."""
        ...

    def resource(self, resource: str) -> ResourceView:
        """Return one resource in both views."""
        ...

    async def caught_up(self) -> None:
        """Return once the records hold what the state does, or after a second where they are away."""
        ...

    async def capability(self, asked: AskCapability) -> list[CapabilityView]:
        """Return what a resource, or each pool or feeder, can be called for; KeyError where there is no such one."""
        ...

    def trace(self, record: str) -> TraceView:
        """Return what led to a record and what followed."""
        ...

    def why(self, resource: str) -> WhyView:
        """Return who controls a resource now, and the trace of what is in force on it."""
        ...

    def feeder(self, feeder: str) -> FeederView:
        """Return a feeder's one-line."""
        ...

    def events(self) -> list[EventView]:
        """Return program events, the newest first."""
        ...

    def preview(self, event: ComposeEvent) -> EventPreview | Refusal:
        """Return what an event would do; nothing happens."""
        ...

    def market(self) -> MarketView:
        """Return the market desk."""
        ...

    def suppressed(self) -> list[SuppressedAlarm]:
        """Return the alarms that are found and not shown, and why."""
        ...

    def alarms(self) -> list[AlarmView]:
        """Return the standing alarms, worst first."""
        ...

    def settlement(self) -> SettlementView:
        """Return statements and tracked intervals."""
        ...

    async def audit(self, before_seq: int, count: int, kind: str, each: bool, check: bool) -> AuditView:
        """Return acts before a number (0: the newest), renewals rolled up; or `each` record, of a kind (empty: all).

        `check` verifies the chain.
        """
        ...

    def links(self) -> list[LinkView]:
        """Return the health of each link."""
        ...

    def kept(self) -> KeptSpan:
        """Return from when until when past instants can be shown."""
        ...

    async def at(self, at_ns: int) -> Reader | Refusal:
        """Return the reader of a past instant: every view as it was known then."""
        ...

    def messages(self, protocol: str, count: int) -> list[MessageView]:
        """Return the newest messages that carried decisions, of a protocol (empty: all), newest first."""
        ...

    def contracts(self, resource: str, devices: frozenset[str] | None, at: int, count: int) -> list[ContractView]:
        """Return contracts [at, at + count) of a device or group (empty: all); only on some devices (None: on any)."""
        ...

    def is_under(self, contract: str, devices: frozenset[str]) -> bool:
        """Return whether all devices of a contract are among some."""
        ...

    def devices_of(self, scope: frozenset[str]) -> frozenset[str]:
        """Return the devices that a scope means by now: those that it names, and all behind each site that it names."""
        ...

    def is_site_of(self, resource: str, devices: frozenset[str]) -> bool:
        """Return whether a resource is a site with devices, all of them among some."""
        ...

    def earned(self, resource: str) -> list[OwnerMoney]:
        """Return what a device's owner has earned, the newest statement first."""
        ...

    def envelopes(self) -> list[EnvelopesView]:
        """Return the newest operating envelopes of each feeder."""
        ...

    def search(self, text: str, count: int) -> list[Found]:
        """Return what matches a text."""
        ...


class Operator(Protocol):
    """What can be done. Every act is recorded with who did it before its answer is returned."""

    def programs(self) -> list[EventProgram]:
        """Return under which programs events may be called."""
        ...

    async def compose(self, event: ComposeEvent, by: str, key: str = "") -> EventView | Refusal:
        """Compose an event; sent again by the same person with the same `key` (empty: none) it is the same event."""
        ...

    async def advance(self, event: str, to: str, by: str) -> EventView | Refusal:
        """Move an event one step: Submitted, Approved, Denied, Canceled."""
        ...

    async def extend(self, event: str, minutes: int, by: str) -> EventView | Refusal:
        """Let an event last longer."""
        ...

    async def owner_limit(self, resource: str, ask: OwnerLimit | None, by: str) -> Granted | Refusal | None:
        """Limit a device for its owner; None takes the limit back."""
        ...

    async def acknowledge(self, alarm: str, by: str) -> Refusal | None:
        """Acknowledge an alarm."""
        ...

    async def limit(self, resource: str, ask: AskLimit, by: str) -> Granted | Refusal:
        """Limit a resource."""
        ...

    async def release(self, resource: str, by: str) -> bool | Refusal:
        """Take the operator's limit back, and return whether there was one."""
        ...

    async def take_envelopes(self, made: EnvelopeSet, by: str) -> EnvelopesView | Refusal:
        """Take a feeder's operating envelopes, all or nothing."""
        ...

    async def withdraw_envelopes(self, feeder: str, by: str) -> bool:
        """Take a feeder's operating envelopes back, and return whether there were any."""
        ...

    async def send_settings(self, made: SettingsSet, by: str) -> SettingsView | Refusal:
        """Send a feeder's inverter settings, all or nothing."""
        ...

    async def withdraw_settings(self, feeder: str, by: str) -> bool:
        """Take a feeder's inverter settings back, and return whether there were any."""
        ...

    def inverter_settings(self) -> list[SettingsView]:
        """Return the newest inverter settings of each feeder."""
        ...

    def settings_touch(self, made: SettingsSet) -> int:
        """Return how many devices a set of inverter settings is about."""
        ...

    def envelopes_touch(self, made: EnvelopeSet) -> int:
        """Return how many devices a set of operating envelopes is about."""
        ...

    async def opt(self, resource: str, out: bool, by: str) -> Granted | Refusal | None:
        """Take a device, or all behind a site of one owner, out for its owner, or back in."""
        ...

    async def consent(
        self, contract: str, products: tuple[str, ...], evidence: str | None, by: str, because: str
    ) -> Refusal | None:
        """Take consent to products of a contract back (none: to all), or with evidence give it anew."""
        ...

    async def kill(self, pressed: bool, by: str) -> Refusal | None:
        """Press the kill switch, or with two people release it: pressed, only commands in the safe direction pass."""
        ...

    async def set_mode(self, feeder: str, mode: str, because: str, by: str) -> Refusal | None:
        """Set who may move a feeder's devices: Disabled, Manual or Automatic."""
        ...

    async def audited(self, by: str, action: str, subject: str, outcome: str, body: dict[str, str]) -> None:
        """Record that somebody did or tried something."""
        ...
