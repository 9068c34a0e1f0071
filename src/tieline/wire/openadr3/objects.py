"""The objects of OpenADR 3.1 as a business logic or a VEN sends them; what is wrong in them is refused by path.

Names are the standard's own (OpenADR 3.1.0 Definition, section "Information model"). A body is bounded in depth by its
types, its numbers are finite, and a name that stands twice in it is refused, as two readers could take two meanings.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tieline.wire.openadr3.times import TimeError, instant_ns, seconds_of

Name = Annotated[str, Meta(min_length=1, max_length=128)]
ObjectId = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]*$")]
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Url = Annotated[str, Meta(pattern="^https?://", min_length=2, max_length=8000)]
OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")
# 3.0.1 named operations by HTTP verb, and clients of 3.1 still do: both words are taken as the same wish.
VERBS = {"POST": "CREATE", "GET": "READ", "PUT": "UPDATE", "DELETE": "DELETE"}


class ObjectError(ValueError):
    """A body that is no such object; the text names the path."""


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """A point of a curve."""

    x: float
    y: float


class ValuesMap(Struct, frozen=True, forbid_unknown_fields=True):
    """A named list of values."""

    type: Name
    values: list[Whole | float | str | bool | Point]


class IntervalPeriod(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When: a start, a duration and a spread of starts."""

    start: str | None = None
    duration: str | None = None
    randomizeStart: str | None = None


class Interval(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One interval of an event or report."""

    id: Annotated[int, Meta(ge=-(2**31), lt=2**31)]
    payloads: list[ValuesMap]
    intervalPeriod: IntervalPeriod | None = None


class Description(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a program is described."""

    URL: Annotated[str, Meta(min_length=2, max_length=8000)]


class Descriptor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the values of a payload mean: of an event (units, currency) or of a report (units, how it was read)."""

    payloadType: Name
    objectType: str | None = None
    units: Name | None = None
    currency: str | None = None
    readingType: Name | None = None
    accuracy: float | None = None
    confidence: Annotated[int, Meta(ge=0, le=100)] | None = None


class ReportDescriptor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A report that is asked for."""

    payloadType: Name
    readingType: Name | None = None
    units: Name | None = None
    targets: list[Name] | None = None
    aggregate: bool = False
    startInterval: Whole = -1
    numIntervals: Whole = -1
    historical: bool = True
    frequency: Whole = -1
    repeat: Whole = 1
    reportIntervals: str = "INTERVALS"


class _Made(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What the VTN fills in; a client that sends back what it read may leave it there, and it counts for nothing."""

    id: str | None = None
    createdDateTime: str | None = None
    modificationDateTime: str | None = None
    objectType: str | None = None


class Program(_Made, frozen=True, kw_only=True):
    """What events belong to."""

    programName: Name
    intervalPeriod: IntervalPeriod | None = None
    programDescriptions: list[Description] | None = None
    payloadDescriptors: list[Descriptor] | None = None
    targets: list[Name] | None = None
    attributes: list[ValuesMap] | None = None


class Event(_Made, frozen=True, kw_only=True):
    """What is asked of VENs."""

    programID: ObjectId
    intervals: list[Interval] | None = None
    eventName: str | None = None
    duration: str | None = None
    priority: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    targets: list[Name] | None = None
    reportDescriptors: list[ReportDescriptor] | None = None
    payloadDescriptors: list[Descriptor] | None = None
    intervalPeriod: IntervalPeriod | None = None


class ReportResource(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a report says of one resource."""

    resourceName: Name
    intervals: list[Interval]
    intervalPeriod: IntervalPeriod | None = None


class Report(_Made, frozen=True, kw_only=True):
    """What a VEN says."""

    eventID: ObjectId
    clientName: Name
    resources: list[ReportResource]
    programID: ObjectId | None = None
    reportName: str | None = None
    payloadDescriptors: list[Descriptor] | None = None
    clientID: Name | None = None


class Ven(_Made, frozen=True, kw_only=True):
    """A VEN as it registers itself, or business logic registers it."""

    venName: Name
    targets: list[Name] | None = None
    attributes: list[ValuesMap] | None = None
    clientID: Name | None = None


class Resource(_Made, frozen=True, kw_only=True):
    """A device or load behind a VEN."""

    resourceName: Name
    venID: ObjectId
    targets: list[Name] | None = None
    attributes: list[ValuesMap] | None = None
    clientID: Name | None = None


class Operation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a subscription is told of, and where."""

    objects: list[str]
    operations: list[str]
    callbackUrl: Url
    bearerToken: Annotated[str, Meta(max_length=4096, pattern=r"^[\x21-\x7e]*$")] | None = None


class Subscription(_Made, frozen=True, kw_only=True):
    """A wish to be told."""

    clientName: Name
    objectOperations: list[Operation]
    programID: ObjectId | None = None
    targets: list[Name] | None = None
    clientID: Name | None = None


TYPES = {
    "programs": "PROGRAM",
    "events": "EVENT",
    "reports": "REPORT",
    "vens": "VEN",
    "resources": "RESOURCE",
    "subscriptions": "SUBSCRIPTION",
}
KINDS: dict[str, type[Struct]] = {
    "programs": Program,
    "events": Event,
    "reports": Report,
    "vens": Ven,
    "resources": Resource,
    "subscriptions": Subscription,
}
REQUESTS = {
    "vens": ("VEN_VEN_REQUEST", "BL_VEN_REQUEST"),
    "resources": ("VEN_RESOURCE_REQUEST", "BL_RESOURCE_REQUEST"),
}


def read_object(kind: str, body: bytes) -> Struct:
    """Return the object in a body.

    Raises:
        ObjectError: It is none, or an interval or duration in it is not ISO 8601; the path is named.
    """
    try:
        found = msgspec.convert(read_json(body), KINDS[kind])
    except (msgspec.ValidationError, OverflowError) as error:
        raise ObjectError(str(error)) from None
    try:
        _check(found, "$")
    except TimeError as error:
        raise ObjectError(str(error)) from None
    return found


def read_json(body: bytes) -> Any:
    """Return a JSON document. Raises ObjectError for NaN, infinities, a name given twice, or nesting without end."""
    try:
        return json.loads(body, object_pairs_hook=_once, parse_constant=_never, parse_float=_finite, parse_int=_short)
    except ObjectError:
        raise
    except (ValueError, RecursionError) as error:
        raise ObjectError(f"not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8259, 4: what a name that stands twice means is undefined; one reader's limit would be another's target.
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in [before for before, _ in pairs[:at]])
        raise ObjectError(f"{twice[:40]!r} stands twice in one object")
    return found


def _never(word: str) -> Any:
    raise ObjectError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ObjectError(f"{text[:40]} is beyond what a number may be")
    return value


def _short(text: str) -> int:
    if len(text) > 20:  # reading digits is quadratic, and 64 bits have 19
        raise ObjectError(f"{text[:40]} has too many digits")
    return int(text)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _check(value: Any, path: str) -> None:
    if isinstance(value, IntervalPeriod):
        if value.start is not None:
            instant_ns(value.start, f"{path}.start")
        seconds_of(value.duration or "PT0S", f"{path}.duration")
        seconds_of(value.randomizeStart or "PT0S", f"{path}.randomizeStart")
    elif isinstance(value, Struct):
        if isinstance(value, Event) and value.duration is not None:
            seconds_of(value.duration, f"{path}.duration")
        if isinstance(value, Operation):
            _check_operation(value, path)
        for name in value.__struct_fields__:
            item = getattr(value, name)
            if item.__class__ not in _PLAIN:  # of a report's sixty fields most are words and numbers
                _check(item, f"{path}.{name}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            if item.__class__ not in _PLAIN:
                _check(item, f"{path}[{at}]")


def _check_operation(value: Operation, path: str) -> None:
    for name, words, known in (
        ("objects", value.objects, tuple(TYPES.values())),
        ("operations", value.operations, OPERATIONS + tuple(VERBS)),
    ):
        if not words or not set(words) <= set(known):
            raise ObjectError(f"{path}.{name} = {words!r}: give some of {', '.join(dict.fromkeys(known))}")
