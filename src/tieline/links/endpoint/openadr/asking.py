"""What an event may ask: one whose values its payload types can't have is refused, as a report is (`reported`).

The types and ends are the standard's (OpenADR 3.1.0, event-interval-payloads.schema.yaml), with two differences:
several values divide an interval (User Guide 7.3), where that schema has one; and a setpoint may be below 0, as what a
store gives back is. A limit may not. Intervals may be missing, or none (3.1.0: of an event `programID` alone is
required): such an event asks for reports. Payload types that are not the standard's are between those who use them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tieline.errors import PeerError
from tieline.links.endpoint.openadr.payloads import MOST_STEPS, MOST_W, READ, W_OF, read_plan
from tieline.links.endpoint.openadr.reported import refusal, units_of
from tieline.links.endpoint.openadr.units import POWERS, program_units, said_units
from tieline.resource.setpoint import Bounds
from tieline.site.plan import Owner
from tieline.wire.openadr3.objects import Descriptor, Event, Interval, ObjectError, Point, Program, ValuesMap
from tieline.wire.openadr3.times import TimeError, ends_ns

Thing = dict[str, Any]
_ANYBODY = Owner(Bounds(-1.0, 1.0))


class _Asked(Struct, frozen=True):
    """What the values of a payload type are: numbers from `low` to `high`, `is_whole` ones alone, or another type."""

    low: float = -math.inf
    high: float = math.inf
    is_whole: bool = False
    type: type = float


_NUMBER, _SIZE, _SWITCH, _FRAC = _Asked(), _Asked(0.0), _Asked(0, 1, is_whole=True), _Asked(0.0, 1.0)
_WORD, _POINT = _Asked(type=str), _Asked(type=Point)
STANDARD = {
    "SIMPLE": _Asked(0, 3, is_whole=True), "PRICE": _NUMBER, "PRICE_ALTERNATE": _NUMBER,
    "CHARGE_STATE_SETPOINT": _SIZE, "DISPATCH_SETPOINT": _NUMBER, "DISPATCH_SETPOINT_RELATIVE": _NUMBER,
    "DISPATCH_INSTRUCTION": _WORD, "CONTROL_LEVEL_OFFSET": _Asked(-10, 10, is_whole=True),
    "CONTROL_LEVEL_OFFSET_PERCENT": _NUMBER, "EXPORT_PRICE": _NUMBER, "GHG": _SIZE, "CURVE": _POINT, "OLS": _FRAC,
    "IMPORT_CAPACITY_SUBSCRIPTION": _SIZE, "IMPORT_CAPACITY_RESERVATION": _SIZE,
    "IMPORT_CAPACITY_RESERVATION_FEE": _NUMBER, "IMPORT_CAPACITY_AVAILABLE": _NUMBER,
    "IMPORT_CAPACITY_AVAILABLE_PRICE": _NUMBER, "EXPORT_CAPACITY_SUBSCRIPTION": _NUMBER,
    "EXPORT_CAPACITY_RESERVATION": _SIZE, "EXPORT_CAPACITY_RESERVATION_FEE": _NUMBER,
    "EXPORT_CAPACITY_AVAILABLE": _NUMBER, "EXPORT_CAPACITY_AVAILABLE_PRICE": _NUMBER, "IMPORT_CAPACITY_LIMIT": _SIZE,
    "EXPORT_CAPACITY_LIMIT": _SIZE, "ALERT_GRID_EMERGENCY": _WORD, "ALERT_BLACK_START": _WORD,
    "ALERT_POSSIBLE_OUTAGE": _WORD, "ALERT_FLEX_ALERT": _WORD, "ALERT_FIRE": _WORD, "ALERT_FREEZING": _WORD,
    "ALERT_WIND": _WORD, "ALERT_TSUNAMI": _WORD, "ALERT_AIR_QUALITY": _WORD, "ALERT_OTHER": _WORD,
    "CTA2045_REBOOT": _SWITCH, "CTA2045_SET_OVERRIDE_STATUS": _SWITCH,
}  # fmt: skip


def check_event(event: Event, now_ns: int, program: Mapping[str, Any] | None = None) -> None:
    """Refuse an event that says what can't be, or what no VEN of ours could follow.

    Args:
        event: As it came.
        now_ns: What "now" means in it.
        program: Its program as it is kept: the units of what the event gives none.

    Raises:
        ObjectError: A value is none of its payload type; a power's unit is none; what VENs follow stands twice in an
            interval, or its values don't divide it evenly; there are too many steps. Path, value and limit are named.
    """
    _check_descriptors(event.payloadDescriptors or ())
    above = program_units(program)
    units = {**above, **said_units(msgspec.to_builtins(event.payloadDescriptors or ()))}
    for i, interval in enumerate(event.intervals or ()):
        for p, payload in enumerate(interval.payloads):
            if payload.type in STANDARD:
                _check_values(payload, f"$.intervals[{i}].payloads[{p}].values", units.get(payload.type))
        _check_parts(interval, f"$.intervals[{i}].payloads")
    _check_plan(event, now_ns, above)


def check_program(program: Program, events: Iterable[Thing], now_ns: int) -> None:
    """Refuse a program that gives a power no unit of power, or under which an event would ask what can't be.

    Args:
        program: As it came.
        events: Its events as they are kept; those that are over are passed over.
        now_ns: What "now" means in them.

    Raises:
        ObjectError: As said; path, value and limit are named, and the event.
    """
    descriptors = program.payloadDescriptors or ()
    _check_descriptors(descriptors)
    kept = msgspec.to_builtins(program)
    for event in events:
        if ends_ns(event, now_ns) > now_ns:
            try:
                check_event(msgspec.convert(event, Event), now_ns, kept)
            except ObjectError as error:
                said = f"units under which event {event['id']} can be, or change it first: {error}"
                raise refusal("$.payloadDescriptors", msgspec.to_builtins(descriptors), said) from None


def _check_descriptors(descriptors: Sequence[Descriptor]) -> None:
    """Refuse two units of one type, and units of a power that are none."""
    described = units_of(descriptors)
    for name in POWERS:
        at, units = described.get(name, (0, None))
        if units and units.upper() not in W_OF:
            raise refusal(f"$.payloadDescriptors[{at}].units", units, f"one of {', '.join(W_OF)}")


def _check_values(payload: ValuesMap, path: str, units: str | None) -> None:
    asked = STANDARD[payload.type]
    low, high, says = asked.low, asked.high, ""
    if payload.type in POWERS:
        if units and units.upper() not in W_OF:
            raise refusal(path, units, f"units of its own: its program says {units}")
        factor, says = W_OF[(units or "KW").upper()], f" {units or 'KW'}"
        low, high = max(low, -MOST_W / factor), MOST_W / factor
    if not payload.values:
        raise refusal(path, payload.values, _limit(asked, low, high, says))
    for at, value in enumerate(payload.values):
        if not _is_good(value, asked, low, high):
            raise refusal(f"{path}[{at}]", value, _limit(asked, low, high, says))


def _is_good(value: Any, asked: _Asked, low: float, high: float) -> bool:
    if asked.type is not float:
        return isinstance(value, asked.type) and value != ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return low <= value <= high and not (asked.is_whole and value != int(value))


def _limit(asked: _Asked, low: float, high: float, says: str) -> str:
    if asked.type is not float:
        return "a word" if asked.type is str else "a point, with x and y"
    kind = "a whole number" if asked.is_whole else "a number"
    if math.isinf(high):
        return kind if math.isinf(low) else f"{kind}, {low:.12g} or more{says}"
    return f"{kind}, {low:.12g} to {high:.12g}{says}"


def _check_parts(interval: Interval, path: str) -> None:
    """Refuse what VENs follow if it stands twice in an interval, or several values don't divide it evenly."""
    seen: dict[str, int] = {}
    for p, payload in enumerate(interval.payloads):
        if payload.type in READ:
            if payload.type in seen:
                raise refusal(f"{path}[{p}].type", payload.type, f"{payload.type} once in an interval")
            seen[payload.type] = p
    parts = max((len(interval.payloads[p].values) for p in seen.values()), default=0)
    for p in seen.values():
        count = len(interval.payloads[p].values)
        if parts % count:
            limit = f"a number of values that divides the interval as the {parts} beside them do"
            raise refusal(f"{path}[{p}].values", interval.payloads[p].values, limit)


def _check_plan(event: Event, now_ns: int, above: Mapping[str, str]) -> None:
    """Refuse what is left that a VEN of ours can't read: by its own reading of it."""
    said: Mapping[str, Any] = {**msgspec.to_builtins(event), "id": "", "modificationDateTime": None}
    try:
        read_plan(said, _ANYBODY, now_ns, above=above)
    except (PeerError, TimeError) as error:
        counts: Sequence[int] = [len(each.payloads) for each in event.intervals or ()]
        limit = f"give at most {MOST_STEPS} steps that can be followed: {error}"
        raise ObjectError(f"$.intervals: {limit}", "$.intervals", f"{len(counts)} intervals", limit) from None
