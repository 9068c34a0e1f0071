"""The ports of the desk: what it asks of the rim, and what the rim may ask of it.

Two roles: an **Acquirer** (client, master, subscriber) brings readings and carries commands; a **Publisher** (server,
outstation) shows one snapshot and takes asks. A link implements the small protocols here that it can do, no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.resource.selects import SELECT_S


class Session(IntEnum):
    """How alive a link is. On DOWN every bound point becomes COMM_LOST with its last source time."""

    DOWN = 0
    LINK = 1
    ASSOCIATED = 2
    SYNCING = 3
    LIVE = 4
    DEGRADED = 5


class LinkHealth(Struct, frozen=True):
    """What an operator wants to know of a link; `awaits`: it listens, and nobody has called since it began to."""

    name: str
    protocol: str
    session: Session
    since_ns: int
    peers: int = 0
    sent: int = 0
    received: int = 0
    refused: int = 0
    errors: int = 0
    last_error: str = ""
    awaits: bool = False


# --- what the desk asks of an acquirer ------------------------------------------------------------------------------


class Intake(Protocol):
    """Where acquirers bring what they hear; the desk implements it. Never blocks: coalesces and flags instead."""

    def readings(self, readings: Readings) -> None:
        """Take measurements."""
        ...

    def reports(self, reports: CommandReports) -> None:
        """Take the progress of commands."""
        ...

    def health(self, health: LinkHealth) -> None:
        """Take a change of a link's session."""
        ...


class CommandLink(Protocol):
    """Carries commands down to devices or end-points; progress comes back through the `Intake`.

    One that can tell its devices more than active power and whether they may connect says so by an attribute
    `carries: frozenset[Quantity]`; asks for what no link carries are refused.

    `switched` are the rows that it can tell no more than on or off: they get all of their size as a cap, or none,
    whatever their kind. Those of a kind that is always so (a thermostat, a water heater) need not be among them.
    """

    name: str
    switched: frozenset[int]

    async def send(self, batch: CommandBatch) -> None:
        """Start to carry out the rows of the batch that are bound to this link. Returns when they are handed over.

        The same batch id twice has one effect. An expired command is reported EXPIRED, never sent. No retry of an
        operate whose answer did not come: it is read back and reported UNCONFIRMED or DONE.
        """
        ...


class LastHop(Protocol):
    """Asked by links that queue, just before they write a command; the desk implements it.

    Such a link has an attribute `last_hop: LastHop | None`, which the desk sets when it binds the link's rows. A
    command that may not leave ends CANCELLED (or REJECTED, where a part of it is out already) with BLOCKED.
    """

    def passes(self, batch: CommandBatch) -> NDArray[np.bool_]:
        """Return which rows of the batch may leave at this instant; all, unless the kill switch is pressed."""
        ...


# --- what a publisher shows, and takes ------------------------------------------------------------------------------


class Measured(Struct, frozen=True):
    """One value as every interface shows it: the same value, quality and time."""

    value: float
    quality: Quality
    taken_at_ns: int


class GroupView(Struct, frozen=True):
    """One published resource (a pool or a feeder group): its points by key of `points.toml`."""

    resource: str
    name: str
    values: dict[str, Measured]


class Snapshot(Struct, frozen=True):
    """What all publishers show at one revision."""

    revision: int
    at_ns: int
    groups: tuple[GroupView, ...]


class Publisher(Protocol):
    """Shows one snapshot to the peers of a protocol."""

    name: str

    async def publish(self, snapshot: Snapshot) -> None:
        """Show this snapshot from now on."""
        ...


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """A wish as it came in, before admission. `resource` may be a leaf or a group; the desk splits it.

    `version` grows with each wish of the same (source, program, resource, quantity). `tagged_ns` is the sender's own
    time tag where the protocol has one. `native` is the protocol's own words or bytes, kept for the trace; `frame` is
    the id of the message that carried it. A DELTA names the reservation that it draws on; `people` stand behind an ask
    of a person, two where it is a dangerous one; its end lets devices go at random within `randomise_s`.
    """

    source: str
    principal: str
    program: str
    level: Level
    resource: str
    quantity: Quantity
    kind: ClaimKind
    version: int
    start_ns: int
    end_ns: int
    low: float = float("-inf")
    high: float = float("inf")
    value: float = 0.0
    primacy: int = 0
    because: str = ""
    tagged_ns: int | None = None
    native: str = ""
    frame: str = ""
    reservation_id: str | None = None
    people: tuple[str, ...] = ()
    randomise_s: float = 0.0


class Granted(Struct, frozen=True):
    """An accepted ask: its claim, and the revision from which every read shows it. Words (each empty: nothing) of what
    it replaces, of being beyond ratings, that it stood already, that draws make no room, that nobody is seen."""

    claim: str
    revision: int
    replaces: str = ""
    unmet: str = ""
    stands: str = ""
    loads: str = ""
    unseen: str = ""


class Inlet(Protocol):
    """Where northbound links bring asks; the desk implements it. The answer is durable before it is returned."""

    async def ask(self, ask: Ask) -> Granted | Refusal:
        """Admit or refuse one wish."""
        ...

    async def refuse(self, ask: Ask, refusal: Refusal) -> None:
        """Record a refusal that a link gave by itself, by its access list or limits."""
        ...

    async def withdraw(
        self, source: str, program: str, resource: str, quantity: Quantity, frame: str, why: str = "withdrawn"
    ) -> bool:
        """Cancel the live claim of a source; the next valid claim holds again. Returns whether there was one."""
        ...


class Selecting(Inlet, Protocol):
    """An inlet for interfaces whose peers select before they operate (R13); the desk implements it."""

    def select(
        self, source: str, resource: str, quantity: Quantity, level: Level, lease_s: float = SELECT_S
    ) -> Refusal | None:
        """Give a source the exclusive lease on what it is about to operate, or say who holds it."""
        ...

    def deselect(self, source: str) -> int:
        """Free all that a source had selected, and return how many that were."""
        ...


# --- market -----------------------------------------------------------------------------------------------------------


class Segment(Struct, frozen=True):
    """One step of an offer curve: up to this much more power (W) at this price ($/MWh)."""

    power_w: float
    price_per_mwh: float


class Offer(Struct, frozen=True):
    """What we bid for one hour (or other market interval): a curve of rising prices."""

    id: str
    pool: str
    product: str
    start_ns: int
    end_ns: int
    segments: tuple[Segment, ...]


class Award(Struct, frozen=True):
    """What we got: power (W) over an interval at a clearing price."""

    id: str
    offer: str
    pool: str
    product: str
    start_ns: int
    end_ns: int
    power_w: float
    price_per_mwh: float


class Instruction(Struct, frozen=True):
    """One real-time dispatch: hold this power (W above baseline, positive into the grid) over the interval.

    `whole`: the ISO's instruction of which it is a piece, where that came in several; they are followed all or none.
    """

    id: str
    batch: str
    pool: str
    product: str
    start_ns: int
    end_ns: int
    power_w: float
    price_per_mwh: float
    revision: int
    whole: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """What decides between two for one time: the revision, and of one revision the later batch by its UID."""
        return self.revision, number(self.batch)


def number(uid: str) -> int:
    """Return a batch UID as the number that orders it; -1 for one that is none."""
    # 18 digits fit 63 bits; a UID that is no number orders before all that are.
    return int(uid) if uid.isascii() and uid.isdigit() and len(uid) <= 18 else -1


class DispatchBatch(Struct, frozen=True):
    """A batch of instructions as the ISO sent it. A later one with a higher revision supersedes an earlier."""

    uid: str
    sent_ns: int
    received_ns: int
    expires_ns: int
    instructions: tuple[Instruction, ...]
    frame: str
    native: str = ""
    link: str = "iso"  # what a record says of neither came by the only market link there was
    protocol: str = "iso_web"
    is_mended: bool = False  # sent anew under its UID, and nothing of it was taken before


class BatchAnswer(Struct, frozen=True):
    """What we tell the ISO of a batch: accepted, or declined and why, one for each instruction."""

    uid: str
    accepted: tuple[str, ...]
    declined: tuple[tuple[str, Refusal], ...]


class MarketInlet(Protocol):
    """Where market links bring awards and dispatch; the desk implements it. Durable before it answers."""

    async def awards(self, awards: Sequence[Award], frame: str) -> list[Refusal | None]:
        """Take day-ahead awards, each matched to our offer; one answer a row."""
        ...

    async def unawarded(self, pools: Sequence[str], start_ns: int, end_ns: int) -> list[str]:
        """Return our offers of pools that begin within an interval and have no award, refusal or `cleared` yet.

        Asked before the market is: what is offered while it answers is none of what it cleared.
        """
        ...

    async def cleared(self, offers: Sequence[str], frame: str) -> None:
        """Take that the market cleared without these offers; said again it has one effect."""
        ...

    async def dispatch(self, batch: DispatchBatch) -> BatchAnswer:
        """Take a batch; the same twice has one effect and one answer. A mended one is answered afresh."""
        ...

    async def corrected(self, uid: str, refusal: Refusal, frame: str, link: str = "", end_ns: int = 0) -> None:
        """Take that a batch reads otherwise than when it was answered; what was answered stands."""
        ...

    async def unread(self, uid: str, refusal: Refusal, link: str, end_ns: int = 0) -> bool:
        """Take that a link can't read a batch, or instructions of it, and declined them; return whether that is news.

        Args:
            uid: Of the batch; where it can't be read either, its place in what was read.
            refusal: What can't be read, and why.
            link: Its name.
            end_ns: When what was asked is over; 0: it can't be told.
        """
        ...

    async def answered(self, uid: str) -> BatchAnswer | None:
        """Return what was answered to a batch before, in this run or an earlier one; None: it never came here."""
        ...

    async def as_taken(self, uid: str) -> str:
        """Return a batch as it came first, in its protocol's own words (`native`); empty: that is not kept."""

    async def last_batch_uid(self) -> str:
        """Return the uid after which the ISO should be asked for more (`-1` at the start)."""
        ...


class MarketLink(Protocol):
    """Carries our side of the market's business to the ISO."""

    name: str

    async def submit(self, offers: Sequence[Offer]) -> list[Refusal | None]:
        """Submit offers before the gate; one answer a row."""
        ...

    async def declare(self, pool: str, available_up_w: float, available_down_w: float, reason: str) -> None:
        """Re-declare what the pool can do from now on."""
        ...


class Admission(Protocol):
    """Holds offers against what their market takes, before they leave."""

    def refusal(self, offer: Offer, now_ns: int) -> Refusal | None:
        """Return the rule that an offer breaks; None: it may leave."""
        ...

    def fitted(self, offer: Offer) -> Offer | None:
        """Return an offer in its market's grain, points and prices; None: nothing of it is taken."""
        ...


class Foresight(Protocol):
    """Says how much of a pool may be offered for an hour."""

    def most_w(self, offer: Offer, now_ns: int) -> float:
        """Return the most that may be promised of a pool in all, upwards, in an offer's hour (W)."""
        ...


class Directory(Protocol):
    """Finds rows and resources for links; the desk implements it."""

    def row(self, resource: str) -> int:
        """Return the fleet row of a resource. Raises KeyError where there is none."""
        ...

    def resource(self, row: int) -> str:
        """Return the id of the resource in a row."""
        ...

    def addresses(self, protocol: str) -> Mapping[int, str]:
        """Return the address of every row bound to a protocol (row -> address text)."""
        ...
