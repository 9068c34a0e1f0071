"""The messages of the dispatch service, both ways. Powers in MW and hours local, as an ISO speaks; never ours.

Scalars travel as attributes, messages within messages as child elements named after their type.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta, Struct

Uid = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=2000)]
Instant = Annotated[datetime, Meta(tz=True)]
Mw = Annotated[float, Meta(ge=-1e6, le=1e6)]
Price = Annotated[float, Meta(ge=-1e6, le=1e6)]
HourEnding = Annotated[int, Meta(ge=1, le=24)]


def _wire_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join({"uid": "UID", "id": "ID"}.get(word, word.title()) for word in rest)


class Message(Struct, frozen=True, forbid_unknown_fields=True, rename=_wire_name):
    """One element: its tag is the name of its class."""


# --- the batch --------------------------------------------------------------------------------------------------------


class Segment(Message, frozen=True):
    """Hold this power over [startTime, endTime). The start may lie within a market interval: ramps take time."""

    start_time: Instant
    end_time: Instant
    mw: Mw


class Instruction(Message, frozen=True):
    """What one resource is to do for one product."""

    instruction_uid: Uid
    resource: Uid
    product: Uid
    price: Price
    segments: Annotated[tuple[Segment, ...], Meta(min_length=1, max_length=288)]


class DispatchBatch(Message, frozen=True):
    """A batch; a higher revisionNo supersedes lower ones for the times that they share."""

    batch_uid: Uid
    market_id: Uid
    batch_status: Uid
    batch_sent: Instant
    batch_expires: Instant
    batch_type: Uid
    start_time: Instant
    dispatch_mode: Uid
    binding_flag: bool
    revision_no: Annotated[int, Meta(ge=0, le=2**53)]
    instructions: Annotated[tuple[Instruction, ...], Meta(max_length=10_000)] = ()


# --- calls and their answers ------------------------------------------------------------------------------------------


class GetDispatchBatchesSinceUID(Message, frozen=True):
    """Ask for the batches after one; `-1` for all that are held."""

    last_uid: Uid


class BatchHeader(Message, frozen=True):
    """One batch in a list."""

    batch_uid: Uid
    batch_sent: Instant
    batch_type: Uid


class DispatchBatches(Message, frozen=True):
    """The batches after the one named, in the ISO's order, and its clock."""

    server_time: Instant
    batches: Annotated[tuple[BatchHeader, ...], Meta(max_length=10_000)] = ()


class GetDispatchBatch(Message, frozen=True):
    """Ask for one batch."""

    batch_uid: Uid


class PackedBatch(Message, frozen=True):
    """One batch as base64(gzip(XML))."""

    batch_uid: Uid
    payload: str


class ValidateDispatchBatch(Message, frozen=True):
    """Say that a batch was received whole."""

    batch_uid: Uid


class Reply(Message, frozen=True):
    """What we say to one instruction: ACCEPT, or DECLINE and why."""

    instruction_uid: Uid
    response: Annotated[str, Meta(pattern="^(ACCEPT|DECLINE)$")]
    reason: Text = ""


class RespondDispatchBatch(Message, frozen=True):
    """Accept or decline the instructions of a batch; `reason` where the batch as a whole could not be read."""

    batch_uid: Uid
    reason: Text = ""
    replies: tuple[Reply, ...] = ()


class Acknowledged(Message, frozen=True):
    """Taken."""

    uid: Uid
    status: Uid = "OK"


class GetBatchStatus(Message, frozen=True):
    """Ask what became of a batch."""

    batch_uid: Uid


class BatchStatus(Message, frozen=True):
    """What became of a batch: PENDING, RECEIVED, ANSWERED, EXPIRED, SUPERSEDED."""

    batch_uid: Uid
    status: Uid


class GetTrajectoryData(Message, frozen=True):
    """Ask what the ISO expects of a resource over a time."""

    resource: Uid
    start_time: Instant
    end_time: Instant


class Waypoint(Message, frozen=True):
    """The power expected at an instant."""

    at_time: Instant
    mw: Mw


class Trajectory(Message, frozen=True):
    """What the ISO expects of a resource, oldest first."""

    resource: Uid
    waypoints: tuple[Waypoint, ...] = ()


class BidSegment(Message, frozen=True):
    """One step of a curve: up to this much more power at this price."""

    mw: Annotated[float, Meta(gt=0, le=1e6)]
    price: Price


class Bid(Message, frozen=True):
    """An offer curve for one hour of a market day."""

    bid_uid: Uid
    resource: Uid
    product: Uid
    market_date: date
    hour_ending: HourEnding
    repeated_hour: bool = False
    segments: Annotated[tuple[BidSegment, ...], Meta(min_length=1, max_length=10)] = ()


class SubmitBids(Message, frozen=True):
    """Offer before the gate; a bid of the same UID replaces the earlier."""

    bids: Annotated[tuple[Bid, ...], Meta(max_length=10_000)]


class BidResult(Message, frozen=True):
    """What became of one bid: SUBMITTED or REJECTED, and why."""

    bid_uid: Uid
    status: Annotated[str, Meta(pattern="^(SUBMITTED|REJECTED)$")]
    reason: Text = ""


class BidResults(Message, frozen=True):
    """One result a bid, in their order."""

    results: tuple[BidResult, ...] = ()


class GetAwards(Message, frozen=True):
    """Ask for the awards of a market day."""

    market_date: date


class AwardRow(Message, frozen=True):
    """What one bid won in one hour, at the clearing price."""

    award_uid: Uid
    bid_uid: Uid
    resource: Uid
    product: Uid
    market_date: date
    hour_ending: HourEnding
    repeated_hour: bool
    mw: Mw
    price: Price


class AwardRows(Message, frozen=True):
    """The awards of a market day; `cleared` tells an empty answer from one that is not there yet."""

    market_date: date
    cleared: bool
    awards: Annotated[tuple[AwardRow, ...], Meta(max_length=100_000)] = ()


class RedeclareAvailability(Message, frozen=True):
    """Say what a resource can do from an instant on."""

    resource: Uid
    from_time: Instant
    up_mw: Mw
    down_mw: Mw
    reason: Text = ""


class SubmitTelemetry(Message, frozen=True):
    """Say what a resource does now."""

    resource: Uid
    at_time: Instant
    mw: Mw


class InBandError(Message, frozen=True):
    """An error that comes with HTTP 200."""

    code: Uid
    message: Text


CALLS: tuple[type[Message], ...] = (
    GetDispatchBatchesSinceUID,
    GetDispatchBatch,
    ValidateDispatchBatch,
    RespondDispatchBatch,
    GetBatchStatus,
    GetTrajectoryData,
    SubmitBids,
    GetAwards,
    RedeclareAvailability,
    SubmitTelemetry,
)
ANSWERS: tuple[type[Message], ...] = (
    DispatchBatches,
    PackedBatch,
    Acknowledged,
    BatchStatus,
    Trajectory,
    BidResults,
    AwardRows,
)
