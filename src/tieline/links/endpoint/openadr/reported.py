"""What a report may say: the standard's payloads have values that they can't have, and a report with one is refused.

A body over HTTP has somebody to refuse to, unlike a device's own wire, so nothing that can't be is taken and marked:
the whole report is refused, by the path, the value and what would do, and none of it is followed or kept. Payload types
that are not the standard's, and resources that nobody here bound, are the sender's own business (Definition 3.1.0,
"private" enumerations): they are kept as they came, and the answer says that nobody here reads them. A state of a
resource that is bound here is one of the standard's, or one that the link was set to take: "a VTN and clients may agree
on additional values" (Definition 3.1.0, Private Strings), and a word that nobody agreed on is a slip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tieline.links.endpoint.openadr.payloads import STATES, W_OF, WH_OF
from tieline.links.endpoint.openadr.units import report_words
from tieline.resource.point import points
from tieline.wire.openadr3.objects import Descriptor, Interval, ObjectError, Report, ValuesMap, shown

RatedOf = Callable[[str], float | None]
"""Of a resource's name: what it is rated (W, 0 where that isn't known) if its sender speaks for it here, else None."""
RATED_TIMES = 10.0
"""No device gives or takes ten times what it is rated; a slip of units (W for kW) is a factor of a thousand."""
LEAST_RATED_W = 1_000.0
_SLACK = 1e-6  # what rounding on the way may add at an end: 100.0001 % is full
_MOST = 1e18
_PERCENT = ("PERCENT", "PERCENTAGE")


class _Quantity(Struct, frozen=True):
    """What a payload type of the standard measures; `is_size`: it has no direction, and is 0 or more."""

    unit: str
    is_size: bool = False


_POWER, _POWER_SIZE, _ENERGY, _ENERGY_SIZE = (_Quantity(u, s) for u in ("W", "Wh") for s in (False, True))
_NUMBER, _LEVEL, _SHARE, _WORD = (_Quantity(unit) for unit in ("", "0-3", "%", "word"))
# Definition 3.1.0, report payload types. SETPOINT is "determined by application": a power only where its units say so.
STANDARD = {
    "READING": _NUMBER, "USAGE": _ENERGY, "DEMAND": _POWER, "SETPOINT": _POWER, "DELTA_USAGE": _ENERGY,
    "BASELINE": _NUMBER, "OPERATING_STATE": _WORD, "UP_REGULATION_AVAILABLE": _POWER_SIZE,
    "DOWN_REGULATION_AVAILABLE": _POWER_SIZE, "REGULATION_SETPOINT": _POWER, "STORAGE_USABLE_CAPACITY": _ENERGY_SIZE,
    "STORAGE_CHARGE_LEVEL": _SHARE, "STORAGE_MAX_DISCHARGE_POWER": _POWER_SIZE, "STORAGE_MAX_CHARGE_POWER": _POWER_SIZE,
    "SIMPLE_LEVEL": _LEVEL, "USAGE_FORECAST": _ENERGY, "STORAGE_DISPATCH_FORECAST": _ENERGY,
    "LOAD_SHED_DELTA_AVAILABLE": _POWER, "GENERATION_DELTA_AVAILABLE": _POWER, "DATA_QUALITY": _WORD,
    "IMPORT_RESERVATION_CAPACITY": _POWER_SIZE, "EXPORT_RESERVATION_CAPACITY": _POWER_SIZE,
    "IMPORT_RESERVATION_FEE": _NUMBER, "EXPORT_RESERVATION_FEE": _NUMBER,
}  # fmt: skip
QUALITIES = ("OK", "MISSING", "ESTIMATED", "BAD")
_READ = ("DEMAND", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE")


def check_report(
    report: Report,
    rated_of: RatedOf,
    private_states: Sequence[str] = (),
    event: Mapping[str, Any] | None = None,
    program: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a report that says what can't be.

    Args:
        report: As it came.
        rated_of: Whom it may speak for.
        private_states: Operating states beside the standard's that were agreed on.
        event: What it is on, as it is kept: the units of what it gives none.
        program: That of the event, likewise.

    Raises:
        ObjectError: A value is no number, or beyond what its quantity, or a device of its rating, can be; a word is
            none of its enumeration; a unit is none of what the payload measures; one payload type has two units. Path,
            value and limit are named.
    """
    words = {"OPERATING_STATE": (*STATES, *private_states), "DATA_QUALITY": QUALITIES}
    own = units_of(report.payloadDescriptors or ())
    meant = report_words(msgspec.to_builtins(report), event, program)["units"]
    for r, resource in enumerate(report.resources):
        rated_w = rated_of(resource.resourceName)
        if rated_w is not None:
            _check_units(own, meant)
        for i, interval in enumerate(resource.intervals):
            for p, payload in enumerate(interval.payloads):
                if payload.type in STANDARD:
                    path = f"$.resources[{r}].intervals[{i}].payloads[{p}].values"
                    units = meant.get(payload.type)
                    if rated_w is not None and payload.type in words:
                        _check_word(payload, path, words[payload.type], _is_missing(interval))
                    else:
                        _check_values(payload, path, units, rated_w, _is_missing(interval))


def private_in(report: Report, rated_of: RatedOf) -> str:
    """Return what of a report nobody here reads, in words for its sender; empty where there is nothing of that kind."""
    found: dict[str, None] = {}
    for resource in report.resources:
        if rated_of(resource.resourceName) is None:
            found[f"resource {_plain(resource.resourceName)} is bound to no device here that you speak for"] = None
        for interval in resource.intervals:
            for payload in interval.payloads:
                if payload.type not in STANDARD:
                    found[f"payload type {_plain(payload.type)} is private"] = None
    if not found:
        return ""
    said = list(found)[:5] + ([f"{len(found) - 5} more"] if len(found) > 5 else [])
    return "kept, and read by nobody here: " + "; ".join(said)


def _plain(name: str) -> str:
    """Return a name as a header may carry it (RFC 9110, 5.5)."""
    return repr(name[:40].encode("ascii", "backslashreplace").decode())


def _is_missing(interval: Interval) -> bool:
    """Return whether an interval says that its data is not there: then a payload may be empty."""
    return any(p.type == "DATA_QUALITY" and p.values and p.values[0] in ("MISSING", "BAD") for p in interval.payloads)


def units_of(descriptors: Sequence[Descriptor]) -> dict[str, tuple[int, str | None]]:
    """Return the units by payload type, and which descriptor says so. Raises ObjectError where two differ."""
    found: dict[str, tuple[int, str | None]] = {}
    for at, each in enumerate(descriptors):
        _, units = found.setdefault(each.payloadType, (at, each.units))
        if (units or "KW").upper() != (each.units or "KW").upper():
            path = f"$.payloadDescriptors[{at}].units"
            raise refusal(path, each.units, f"the units of {each.payloadType} once: {units} stands before it")
    return found


def _check_units(own: Mapping[str, tuple[int, str | None]], meant: Mapping[str, str]) -> None:
    """Refuse units of what we read that are none of it; what SETPOINT is in other units is not read."""
    for name in (*_READ, "STORAGE_CHARGE_LEVEL"):
        at, said = own.get(name, (0, None))
        units = meant.get(name)
        known = _PERCENT if name == "STORAGE_CHARGE_LEVEL" else tuple(W_OF)
        if units and units.upper() not in known:
            path = f"$.payloadDescriptors[{at}].units" if said else "$.payloadDescriptors"
            raise refusal(path, units, f"one of {', '.join(known)}")


def _check_word(payload: ValuesMap, path: str, known: Sequence[str], is_missing: bool) -> None:
    limit = f"a word, one of {', '.join(known)}"
    if not payload.values and not is_missing:
        raise refusal(path, payload.values, limit)
    for at, value in enumerate(payload.values):
        if not isinstance(value, str) or value not in known:
            raise refusal(f"{path}[{at}]", value, limit)


def _check_values(payload: ValuesMap, path: str, units: str | None, rated_w: float | None, is_missing: bool) -> None:
    quantity = STANDARD[payload.type]
    if payload.type == "SETPOINT" and (units or "KW").upper() not in W_OF:
        return
    low, high, says = _ends(quantity, units, rated_w)
    kind = "a word" if quantity is _WORD else f"a number, {low:.12g} to {high:.12g}{says}"
    if not payload.values and not is_missing:
        raise refusal(path, payload.values, kind)
    for at, value in enumerate(payload.values):
        if quantity is _WORD:
            is_good = isinstance(value, str) and 0 < len(value) <= 128
        else:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least, most = low - _SLACK * max(abs(low), 1.0), high + _SLACK * max(abs(high), 1.0)
            is_good = is_number and least <= value <= most  # type: ignore[operator]
        if not is_good:
            raise refusal(f"{path}[{at}]", value, kind)


def _ends(quantity: _Quantity, units: str | None, rated_w: float | None) -> tuple[float, float, str]:
    """Return the least and the most that a quantity can be in its units, and what to say of them."""
    low, high, says = -_MOST, _MOST, f" {units}" if units else ""
    if quantity is _SHARE:
        low, high, says = 0.0, 100.0, " PERCENT"
    elif quantity is _LEVEL:
        low, high = 0.0, 3.0
    elif quantity.unit == "W":
        factor = W_OF.get((units or "KW").upper())
        if factor is not None:
            most_w = points()["power_w"].ends[1]
            if rated_w:
                most_w = min(most_w, RATED_TIMES * max(rated_w, LEAST_RATED_W))
                says = f" {units or 'KW'}: {RATED_TIMES:g} times what the device is rated"
            else:
                says = f" {units or 'KW'}"
            low, high = -most_w / factor, most_w / factor
    elif quantity.unit == "Wh":
        factor = WH_OF.get((units or "KWH").upper(), 1.0)
        low, high = -_MOST / factor, _MOST / factor
    return (0.0 if quantity.is_size else low), high, says


def refusal(field: str, value: Any, limit: str) -> ObjectError:
    as_json = {"x": value.x, "y": value.y} if isinstance(value, Struct) else value  # type: ignore[attr-defined]
    return ObjectError(f"{field} = {shown(as_json)}: give {limit}", field, shown(as_json), f"give {limit}")
