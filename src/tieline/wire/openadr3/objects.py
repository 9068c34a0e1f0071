"""The objects of OpenADR 3.1 as a business logic or a VEN sends them; what is wrong in them is refused by path.

Names are the standard's own (OpenADR 3.1.0 Definition, section "Information model"). A body is bounded in depth by its
types, its numbers are finite, and a name that stands twice in it is refused, as two readers could take two meanings.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tieline.wire.openadr3.times import TimeError, instant_ns, seconds_of

Name = Annotated[str, Meta(min_length=1, max_length=128)]
ObjectId = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]*$")]
MOST_WHOLE = 2**53
Whole = Annotated[int, Meta(ge=-MOST_WHOLE, le=MOST_WHOLE)]
Url = Annotated[str, Meta(pattern="^https?://", min_length=2, max_length=8000)]
OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")
# 3.0.1 named operations by HTTP verb, and clients of 3.1 still do: both words are taken as the same wish.
VERBS = {"POST": "CREATE", "GET": "READ", "PUT": "UPDATE", "DELETE": "DELETE"}


class ObjectError(ValueError):
    """A body that is no such object; the text names the path.

    Where one thing in it is wrong, `field` is its path, `value` what stands there (as JSON, cut short) and `limit` what
    would do; else all three are empty.
    """

    def __init__(self, said: str, field: str = "", value: str = "", limit: str = "") -> None:
        super().__init__(said)
        self.field, self.value, self.limit = field, value, limit


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
    said = read_json(body)
    try:
        found = msgspec.convert(said, KINDS[kind])
    except (msgspec.ValidationError, OverflowError) as error:
        limit, _, path = str(error).partition(" - at `")
        field = path.rstrip("`")
        raise ObjectError(str(error), field, shown(_at(said, field)), limit) from None
    try:
        _check(found, "$")
    except TimeError as error:
        raise ObjectError(str(error), error.field, shown(error.value), error.limit) from None
    return found


def shown(value: Any) -> str:
    """Return a value as JSON for a text, cut short."""
    return value.text if isinstance(value, _NoNumber) else json.dumps(value, ensure_ascii=False)[:40]


class _NoNumber:
    """What stands in a body as a number and can't be one, until its path is known."""

    def __init__(self, text: str, limit: str) -> None:
        self.text, self.limit = text[:40], limit


def read_json(body: bytes) -> Any:
    """Return a JSON document. Raises ObjectError for NaN, infinities, a name given twice, or nesting without end."""
    wrong: list[_NoNumber] = []

    def no_number(text: str, limit: str) -> Any:
        wrong.append(_NoNumber(text, limit))
        return wrong[-1]

    def never(text: str) -> Any:
        return no_number(text, "is no JSON number")

    def finite(text: str) -> Any:
        value = float(text)
        return value if math.isfinite(value) else no_number(text, "is beyond what a number may be")

    def short(text: str) -> Any:
        # Reading digits is quadratic; and RFC 8259, 6: whole numbers beyond 2**53 are not read alike by all.
        value = None if len(text) > 20 else int(text)
        if value is None or abs(value) > MOST_WHOLE:
            return no_number(text, f"has too many digits for a whole number: at most {MOST_WHOLE}")
        return value

    try:
        found = json.loads(body, object_pairs_hook=_once, parse_constant=never, parse_float=finite, parse_int=short)
        path = _path_of(found, wrong[0], "$") if wrong else ""
    except ObjectError:
        raise
    except (ValueError, RecursionError) as error:
        raise ObjectError(f"not JSON: {error}") from None
    if wrong:
        raise ObjectError(f"{path}: {wrong[0].text} {wrong[0].limit}", path, wrong[0].text, wrong[0].limit)
    if b"\\u" in body and _has_half(found):
        # RFC 8259, 8.2: what becomes of half a surrogate pair is unpredictable; no UTF-8 can carry it on.
        raise ObjectError("a string has half a character (a lone surrogate, \\ud800 to \\udfff): give it whole")
    return found


def _has_half(said: Any) -> bool:
    if isinstance(said, str):
        return any("\ud800" <= each <= "\udfff" for each in said)
    items = [*said, *said.values()] if isinstance(said, dict) else said if isinstance(said, list) else ()
    return any(_has_half(each) for each in items)


def _path_of(said: Any, sought: _NoNumber, path: str) -> str:
    """Return where a number stands that is none; empty where it is not beneath."""
    if said is sought:
        return path
    items = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    below = (_path_of(item, sought, f"{path}[{at}]" if isinstance(at, int) else f"{path}.{at}") for at, item in items)
    return next((found for found in below if found), "")


_STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")


def _at(said: Any, path: str) -> Any:
    """Return what stands at a path; None where it leads nowhere."""
    for at, name in _STEP.findall(path):
        try:
            said = said[int(at)] if at else said[name]
        except (KeyError, IndexError, TypeError):
            return None
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8259, 4: what a name that stands twice means is undefined; one reader's limit would be another's target.
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in [before for before, _ in pairs[:at]])
        raise ObjectError(f"{twice[:40]!r} stands twice in one object")
    return found


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _check(value: Any, path: str) -> None:
    if isinstance(value, IntervalPeriod):
        if value.start is not None:
            instant_ns(value.start, f"{path}.start")
        for name in ("duration", "randomizeStart"):
            if getattr(value, name) is not None:
                seconds_of(getattr(value, name), f"{path}.{name}")
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
