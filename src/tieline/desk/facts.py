"""The facts that the desk records: what was decided, asked, answered and learnt. Never a measurement.

A fact is a frozen struct; `to_record` gives it an id derived from its inputs and its causes, and `from_record` gives it
back. Facts about many rows are columns packed as bytes, so that a dispatch of a million rows is one record.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tieline.contract.enrolment import ProgramEnrolment
from tieline.desk.engine_facts import EngineStarted as EngineStarted
from tieline.desk.engine_facts import EngineStopped as EngineStopped
from tieline.desk.envelope_facts import EnvelopesTaken as EnvelopesTaken
from tieline.desk.envelope_facts import EnvelopesWithdrawn as EnvelopesWithdrawn
from tieline.desk.fact import Fact as Fact
from tieline.desk.inverter_facts import CurvesKept as CurvesKept
from tieline.desk.inverter_facts import SettingsStood as SettingsStood
from tieline.desk.inverter_facts import SettingsTaken as SettingsTaken
from tieline.desk.inverter_facts import SettingsWithdrawn as SettingsWithdrawn
from tieline.desk.market_facts import AvailabilityDeclared as AvailabilityDeclared
from tieline.desk.market_facts import AwardPlanned as AwardPlanned
from tieline.desk.market_facts import AwardTaken as AwardTaken
from tieline.desk.market_facts import BatchChanged as BatchChanged
from tieline.desk.market_facts import BatchTaken as BatchTaken
from tieline.desk.market_facts import BatchUnread as BatchUnread
from tieline.desk.market_facts import IntervalTracked as IntervalTracked
from tieline.desk.market_facts import LineSettled as LineSettled
from tieline.desk.market_facts import OfferAnswered as OfferAnswered
from tieline.desk.market_facts import OfferMade as OfferMade
from tieline.desk.market_facts import OfferUnawarded as OfferUnawarded
from tieline.desk.market_facts import PositionChanged as PositionChanged
from tieline.desk.market_facts import PricesTaken as PricesTaken
from tieline.desk.market_facts import ScheduleMade as ScheduleMade
from tieline.desk.market_facts import SettlementRefused as SettlementRefused
from tieline.desk.market_facts import StatementMade as StatementMade
from tieline.desk.packed import Causes, Packed, Shortened
from tieline.desk.ports import Ask
from tieline.errors import InvariantError
from tieline.flow.record import Record, recorded
from tieline.resource.claim import Refusal
from tieline.resource.identity import Resource


class ResourceEnrolled(Fact, frozen=True):
    """A resource was added or changed."""

    resource: Resource
    rule: str = ""


class FleetLoaded(Fact, frozen=True):
    """The registry was read: so many resources with this digest."""

    count: int
    digest: str


class AskGranted(Fact, frozen=True):
    """A wish from a northbound interface was admitted and became a claim."""

    ask: Ask
    claim: str


class AskRefused(Fact, frozen=True):
    """A wish was refused."""

    ask: Ask
    refusal: Refusal


class AskWithdrawn(Fact, frozen=True):
    """A source took its claim back."""

    source: str
    program: str
    resource: str
    quantity: str
    frame: str
    why: str


class AskLapsed(Fact, frozen=True):
    """Nobody renewed or withdrew a claim, and its lease ended at `end_ns`, or its association fell silent by then."""

    source: str
    program: str
    resource: str
    quantity: str
    end_ns: int


class ClaimsPlaced(Fact, frozen=True):
    """One decision placed a claim on each of many rows."""

    batch: str
    source: str
    principal: str
    program: str
    level: int
    primacy: int
    quantity: str
    kind: str
    because: str
    version: int
    created_ns: int
    start_ns: int
    end_ns: int
    rows: Packed
    low: Packed
    high: Packed
    value: Packed
    reservation: str | None = None
    scope: str = ""
    randomise_s: float = 0.0


class ClaimsEnded(Fact, frozen=True):
    """Claims ended, all for one reason; `rows` None means on every row they stood."""

    source: str
    program: str
    quantity: str
    why: str
    because: str
    rows: Packed | None = None
    scope: str = ""


class CommandsIssued(Fact, frozen=True, omit_defaults=True):
    """Commands go out, one a row; nobody sends them before this is durable."""

    batch: str
    rows: Packed
    target_w: Packed
    low_w: Packed
    high_w: Packed
    revert_w: Packed
    issued_ns: int
    valid_from_ns: int
    valid_until_ns: int
    epoch: int
    seq: int
    causes: Causes | None = None


class CommandsReported(Fact, frozen=True):
    """How far commands of a batch have come."""

    batch: str
    link: str
    rows: Packed
    stage: Packed
    at_ns: Packed
    reject: Packed
    observed_w: Packed
    native: tuple[str, ...]
    frames: tuple[str, ...]


class SetpointsKept(Fact, frozen=True):
    """What owners have set (degC; a switch 1: on, 0: off), and what we may have written over it: before it is sent."""

    link: str
    rows: Packed
    own_c: Packed
    ours: tuple[tuple[float, ...], ...]


class ControlsKept(Fact, frozen=True):
    """What owners have set in SunSpec controls, in registers of model 704 (none: nothing): before it is written over.

    `marked`: such a device was seen to keep the timer that all of ours bears, by which the two are told apart. `owed`:
    it may be written over by now, and is to be given back (None, in records of before: all are).
    """

    link: str
    rows: Packed
    power: tuple[tuple[int, ...], ...]
    limit: tuple[tuple[int, ...], ...]
    marked: Packed
    owed: Packed | None = None


class ReleaseStaged(Fact, frozen=True, omit_defaults=True):
    """Rows that are let go keep their command until their turn (ns; 0: no turn is set any more)."""

    rows: Packed
    at_ns: Packed
    causes: Causes | None = None


class CapacityReserved(Fact, frozen=True):
    """A pool's capacity was reserved for a product, or the second sale of it refused; `event`: the call it is for."""

    reservation: str
    resource: str
    product: str
    start_ns: int
    end_ns: int
    up_w: float
    down_w: float
    energy_wh: float
    refusal: Refusal | None = None
    holds_until_ns: int = 0
    event: str = ""


class CapacityDerated(Fact, frozen=True):
    """Authorities above the market left a pool so much to promise (W) over an interval; which promises fall short."""

    pool: str
    cause: str
    up_w: float
    down_w: float
    start_ns: int
    end_ns: int
    short: tuple[Shortened, ...]


class EventChanged(Fact, frozen=True):
    """A program event took a step in its life."""

    event: str
    state: str
    by: str
    body: dict[str, Any] = {}


class EventTracked(Fact, frozen=True):
    """What a program event asked and got over one interval, and why it fell short (W, by cause).

    `rows` are the devices that gave of it, and `row_w` what each gave (W): no market is told that as its own as well.
    `called` are all that it called and `called_w` what each for (W, means), and `late_w` what of that each had no time
    to give yet: by these whom it calls is judged. None, where it was too short for that.
    """

    event: str
    start_ns: int
    end_ns: int
    asked_w: float
    delivered_w: float
    causes: dict[str, float]
    readings: int
    rows: Packed | None = None
    row_w: Packed | None = None
    called: Packed | None = None
    called_w: Packed | None = None
    late_w: Packed | None = None


class AlarmChanged(Fact, frozen=True):
    """Somebody acknowledged an alarm; that one comes and goes follows from what is measured, and is no record."""

    alarm: str
    state: str
    by: str
    body: dict[str, Any] = {}


class AuthorityChanged(Fact, frozen=True):
    """Who has the desk's authority, or the mode of a feeder, or the kill switch, changed."""

    what: str
    value: str
    by: str


class ConsentChanged(Fact, frozen=True):
    """An owner took the consent of a contract back for some products, or gave a new one.

    `evidence`: the hashes of the consents that were taken back, or of what proves the new one.
    """

    contract: str
    products: tuple[str, ...]
    is_given: bool
    evidence: tuple[str, ...]
    by: str
    because: str


class EnrolmentsTaken(Fact, frozen=True):
    """What of the book of enrolments is other than the desk had taken before: new or changed ones, and ids gone.

    `is_asked` no: no book is asked from now on.
    """

    changed: tuple[ProgramEnrolment, ...]
    gone: tuple[str, ...] = ()
    is_asked: bool = True


class Audited(Fact, frozen=True):
    """Somebody did something at a screen or through the API."""

    who: str
    action: str
    outcome: str
    detail: str = ""


FACTS: tuple[type[Fact], ...] = tuple(Fact.__subclasses__())
OTHERS = ("AccountChanged", "OpenAdrObject", "SessionChanged")
"""Kinds that are not the desk's: accounts, what the VTN keeps for its clients, and who is signed in."""
KINDS: tuple[str, ...] = tuple(sorted([*(fact.__name__ for fact in FACTS), *OTHERS]))
"""All kinds of record that a journal holds."""

_DECODERS = {fact.__name__: msgspec.msgpack.Decoder(fact) for fact in FACTS}


def to_record(fact: Fact, record_id: str, subject: str, now_ns: int, caused_by: tuple[str, ...]) -> Record:
    """Return the fact as a record of the journal. Raises Unrecordable where no record can hold it."""
    return recorded(record_id, type(fact).__name__, subject, now_ns, caused_by, fact)


def from_record(record: Record) -> Fact | None:
    """Return the fact in a record, or None where the record is not the desk's (a link's or the console's own).

    Raises:
        InvariantError: The body is not what its kind says.
    """
    decoder = _DECODERS.get(record.kind)
    try:
        return None if decoder is None else decoder.decode(record.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvariantError(
            f"record {record.seq} ({record.kind} {record.id}) was changed: {error}: see `tieline doctor`"
        ) from error
