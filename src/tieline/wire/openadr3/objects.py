"""The objects of OpenADR 3.1 as a business logic or a VEN sends them; what is wrong in them is refused by path.

Names are the standard's own (OpenADR 3.1.0 Definition, section "Information model").
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=128)]
SECOND_NS = 1_000_000_000
FOREVER_S = 9999 * 365 * 86_400
_DURATION = re.compile(
    r"^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
)


class ObjectError(ValueError):
    """A body that is no such object; the text names the path."""


class ValuesMap(Struct, frozen=True, forbid_unknown_fields=True):
    """A named list of values."""

    type: Name
    values: list[float | str | bool | dict[str, Any]]


class IntervalPeriod(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When: a start, a duration and a spread of starts."""

    start: str
    duration: str | None = None
    randomizeStart: str | None = None


class Interval(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One interval of an event or report."""

    id: int
    payloads: list[ValuesMap]
    intervalPeriod: IntervalPeriod | None = None


class Program(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What events belong to."""

    programName: Name
    objectType: str | None = None
    intervalPeriod: IntervalPeriod | None = None
    programDescriptions: list[dict[str, Any]] | None = None
    payloadDescriptors: list[dict[str, Any]] | None = None
    targets: list[str] | None = None
    attributes: list[ValuesMap] | None = None


class Event(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked of VENs."""

    programID: Name
    intervals: list[Interval] | None = None
    objectType: str | None = None
    eventName: str | None = None
    duration: str | None = None
    priority: Annotated[int, Meta(ge=0)] | None = None
    targets: list[str] | None = None
    reportDescriptors: list[dict[str, Any]] | None = None
    payloadDescriptors: list[dict[str, Any]] | None = None
    intervalPeriod: IntervalPeriod | None = None


class ReportResource(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a report says of one resource."""

    resourceName: Name
    intervals: list[Interval]
    intervalPeriod: IntervalPeriod | None = None


class Report(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a VEN says."""

    eventID: Name
    clientName: Name
    resources: list[ReportResource]
    objectType: str | None = None
    programID: str | None = None
    reportName: str | None = None
    payloadDescriptors: list[dict[str, Any]] | None = None


class Ven(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A VEN as it registers itself, or business logic registers it."""

    venName: Name
    objectType: str | None = None
    targets: list[str] | None = None
    attributes: list[ValuesMap] | None = None
    clientID: str | None = None


class Resource(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A device or load behind a VEN."""

    resourceName: Name
    venID: str | None = None
    objectType: str | None = None
    targets: list[str] | None = None
    attributes: list[ValuesMap] | None = None
    clientID: str | None = None


class Operation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a subscription is told of, and where."""

    objects: list[str]
    operations: list[str]
    callbackUrl: Annotated[str, Meta(pattern=r"^https?://", max_length=512)]
    bearerToken: str | None = None


class Subscription(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wish to be told."""

    clientName: Name
    objectOperations: list[Operation]
    objectType: str | None = None
    programID: str | None = None
    targets: list[str] | None = None


KINDS: dict[str, type[Struct]] = {
    "programs": Program,
    "events": Event,
    "reports": Report,
    "vens": Ven,
    "resources": Resource,
    "subscriptions": Subscription,
}
UNIQUE = {"programs": "programName", "vens": "venName"}


def read_object(kind: str, body: bytes) -> Struct:
    """Return the object in a body.

    Raises:
        ObjectError: It is none, or an interval or duration in it is not ISO 8601; the path is named.
    """
    try:
        found = msgspec.json.decode(body, type=KINDS[kind])
    except msgspec.MsgspecError as error:
        raise ObjectError(str(error)) from None
    _check(found, "$")
    return found


def _check(value: Any, path: str) -> None:
    if isinstance(value, IntervalPeriod):
        instant_ns(value.start, f"{path}.start")
        seconds_of(value.duration or "PT0S", f"{path}.duration")
        seconds_of(value.randomizeStart or "PT0S", f"{path}.randomizeStart")
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            _check(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _check(item, f"{path}[{at}]")


def seconds_of(text: str, path: str = "$") -> float:
    """Return an ISO 8601 duration in seconds; P9999Y means without end."""
    match = _DURATION.match(text)
    if match is None or text in ("P", "PT"):
        raise ObjectError(f"{text!r} at {path}: give an ISO 8601 duration such as PT15M")
    years, months, weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    whole_days = 365 * years + 30 * months + 7 * weeks + days
    return min(whole_days * 86_400 + hours * 3600 + minutes * 60 + seconds, float(FOREVER_S))


def instant_ns(text: str, path: str = "$") -> int | None:
    """Return an ISO 8601 instant as UTC ns; None for 0001-01-01, which means now."""
    if text.startswith(("0001-01-01", "0000-00-00")):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ObjectError(f"{text!r} at {path}: give ISO 8601 with an offset, such as 2026-01-01T00:00:00Z") from None
    if instant.tzinfo is None:
        raise ObjectError(f"{text!r} at {path}: give an offset, such as {text}Z")
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND_NS + delta.microseconds * 1_000
