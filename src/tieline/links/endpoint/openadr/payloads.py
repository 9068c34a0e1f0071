"""OpenADR's payloads and our powers: here alone signs turn and units change.

OpenADR counts from the load's side: DISPATCH_SETPOINT is "the absolute amount of consumption by a resource",
IMPORT_CAPACITY_LIMIT the most that a site may take (Definition 3.1.0, table 1). Ours is positive into the grid, in W.
Values are rounded to the microwatt, so that what is written and read again is the same number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tieline.errors import PeerError
from tieline.links.endpoint.openadr.units import POWERS, said_units
from tieline.resource.quality import Quality
from tieline.resource.setpoint import Bounds
from tieline.site.plan import LEAST_PRIORITY, Owner, Plan, Step
from tieline.times import SECOND_NS, iso
from tieline.wire.openadr3.times import LAST_NS, Span, TimeError, instant_ns, randomize_s, seconds_of, timeline

Thing = dict[str, Any]
_NO_UNITS: Mapping[str, str] = {}
W_OF = {"W": 1.0, "KW": 1e3, "MW": 1e6, "GW": 1e9}
WH_OF = {"WH": 1.0, "KWH": 1e3, "MWH": 1e6}
READ = (*POWERS, "SIMPLE")
MOST_STEPS = 20_000
MOST_W = 1e12
NOTED = ("CREATE", "UPDATE", "DELETE")
# A report's payload, the point it becomes, its sign, and the unit it has where no descriptor says another.
_POWER_POINTS = {
    "DEMAND": ("power_w", -1.0),
    "SETPOINT": ("target_w", -1.0),
    "UP_REGULATION_AVAILABLE": ("available_up_w", 1.0),
    "DOWN_REGULATION_AVAILABLE": ("available_down_w", 1.0),
}
_QUALITIES = {
    "OK": Quality.GOOD,
    "ESTIMATED": Quality.ESTIMATED,
    "BAD": Quality.INVALID,
    "MISSING": Quality.NOT_TOPICAL,
}
QUALITY_WORDS = {
    Quality.GOOD: "OK",
    Quality.ESTIMATED: "ESTIMATED",
    Quality.INVALID: "BAD",
    Quality.COMM_LOST: "MISSING",
}
STATES = (
    "NORMAL", "ERROR", "IDLE_NORMAL", "RUNNING_NORMAL", "RUNNING_CURTAILED", "RUNNING_HEIGHTENED", "IDLE_CURTAILED",
    "SGD_ERROR_CONDITION", "IDLE_HEIGHTENED", "IDLE_OPTED_OUT", "RUNNING_OPTED_OUT",
)  # fmt: skip
"""Operating states of the standard (Definition 3.1.0, Table 4)."""
OPTED_OUT = ("RUNNING_OPTED_OUT", "IDLE_OPTED_OUT")
FAULTS = ("ERROR", "SGD_ERROR_CONDITION")


def kw(power_w: float) -> float:
    """Return kW."""
    return power_w / 1e3


def watts(value: float, units: str | None, path: str) -> float:
    """Return W of a value in its units (KW where none are given). Raises PeerError for units that are no power."""
    factor = W_OF.get((units or "KW").upper())
    if factor is None:
        raise PeerError(f"{path}: units {units!r}: give one of {', '.join(W_OF)}")
    if not abs(value * factor) <= MOST_W:
        raise PeerError(f"{path}: {value:g} {units or 'KW'}: give -1e+12 to 1e+12 W")
    found = round(value * factor, 6)
    if not math.isfinite(found):
        raise PeerError(f"{path} = {value!r}: give a finite power")
    return found


# --- events, as we send them ----------------------------------------------------------------------------------------


def told(target_w: float, low_w: float, high_w: float) -> tuple[list[Thing], list[Thing]]:
    """Return the payloads that say a target within bounds (W; what is not finite is left out), and descriptors."""
    payloads: list[Thing] = []
    if math.isfinite(target_w):
        payloads.append({"type": "DISPATCH_SETPOINT", "values": [kw(-target_w)]})
    if math.isfinite(low_w):
        payloads.append({"type": "IMPORT_CAPACITY_LIMIT", "values": [kw(-low_w)]})
    if math.isfinite(high_w):
        payloads.append({"type": "EXPORT_CAPACITY_LIMIT", "values": [kw(high_w)]})
    units = [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": payload["type"], "units": "KW"}
        for payload in payloads
    ]
    return payloads, units


# --- events, as a VEN reads them ------------------------------------------------------------------------------------


def stamp_of(event: Mapping[str, Any]) -> tuple[int, int]:
    """Return the fence (epoch, seq) that our VTN writes as `dispatch EPOCH.SEQ` into an event's name; else (0, 0)."""
    word, _, text = str(event.get("eventName") or "").partition(" ")
    epoch, _, seq = text.partition(".")
    is_fence = word == "dispatch" and epoch.isdecimal() and seq.isdecimal() and len(text) < 40 and text.isascii()
    return (int(epoch), int(seq)) if is_fence else (0, 0)


def read_plan(
    event: Mapping[str, Any], owner: Owner, now_ns: int, shift_ns: int = 0, above: Mapping[str, str] = _NO_UNITS
) -> Plan:
    """Return the plan in an event.

    Args:
        event: As the VTN shows it.
        owner: Whose SIMPLE levels count.
        now_ns: When it was first seen: what "now" means in it.
        shift_ns: What `randomizeStart` came to.
        above: The units that its program gives, by payload type, for what the event itself gives none.

    Raises:
        PeerError: A value, unit or program in it can't be; what else it holds is not followed either.
    """
    program = event.get("programID")
    # The fence is kept for each program: an event of none could neither be fenced nor be told from another's.
    if not isinstance(program, str) or not program:
        raise PeerError(f"event {event['id']}: programID = {str(program)[:40]!r}: give the id of its program")
    units = {**above, **said_units(event.get("payloadDescriptors"))}
    steps: list[Step] = []
    for span in timeline(event, now_ns, shift_ns):
        steps += _steps(span, units, owner)
        if len(steps) > MOST_STEPS:
            raise PeerError(f"event {event['id']}: more than {MOST_STEPS} steps")
    epoch, seq = stamp_of(event)
    made_ns = instant_ns(event.get("modificationDateTime") or "0001-01-01") or 0
    priority = event.get("priority")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int) or priority < 0):
        raise PeerError(f"event {event['id']}: priority = {str(priority)[:40]!r}: give a whole number, 0 or more")
    priority = LEAST_PRIORITY if priority is None else min(priority, LEAST_PRIORITY)
    return Plan(event["id"], program, tuple(steps), epoch, seq, priority, made_ns)


def _steps(span: Span, units: Mapping[str, str], owner: Owner) -> list[Step]:
    """Return the steps of one interval: several values of a payload divide it evenly (User Guide 7.3)."""
    said = {payload["type"]: payload["values"] for payload in span.payloads if payload["type"] in READ}
    if not said:
        # An interval that asks nothing of power is still an answer: it lets the device run by itself.
        if span.payloads:
            return []
        return [Step(span.start_ns, span.end_ns, math.nan, Bounds(-math.inf, math.inf))]
    parts = max(len(values) for values in said.values())
    if not all(values and parts % len(values) == 0 for values in said.values()):
        raise PeerError("values of one interval that do not divide it evenly")
    width_ns = (span.end_ns - span.start_ns) // parts
    found = []
    for part in range(parts):
        here = {kind: values[part * len(values) // parts] for kind, values in said.items()}
        end_ns = span.end_ns if part == parts - 1 else span.start_ns + (part + 1) * width_ns
        found.append(_step(span.start_ns + part * width_ns, end_ns, here, units, owner))
    return found


def _step(start_ns: int, end_ns: int, here: Mapping[str, Any], units: Mapping[str, str], owner: Owner) -> Step:
    target_w, low_w, high_w = math.nan, -math.inf, math.inf
    for kind, value in here.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise PeerError(f"{kind} = {str(value)[:40]!r}: a number is asked for")
        if kind == "SIMPLE":
            low_w = max(low_w, owner.bounds.low_w * owner.simple_frac[_level(value)])
            continue
        power_w = watts(value, units.get(kind), kind)
        if kind == "DISPATCH_SETPOINT":
            target_w = -power_w
        elif kind == "IMPORT_CAPACITY_LIMIT":
            low_w = max(low_w, -power_w)
        else:
            high_w = min(high_w, power_w)
    if low_w > high_w:
        raise PeerError(f"limits that leave no power: at least {low_w:g} W, at most {high_w:g} W")
    return Step(start_ns, end_ns, target_w, Bounds(low_w, high_w))


def _level(value: float) -> int:
    if value not in (0, 1, 2, 3):
        raise PeerError(f"SIMPLE = {value!r}: give 0, 1, 2 or 3")
    return int(value)


# --- reports ----------------------------------------------------------------------------------------------------------


def report_payloads(values: Mapping[str, float], quality: Quality) -> tuple[list[Thing], list[Thing]]:
    """Return the payloads and descriptors that say measured values by point, and how good they are."""
    payloads: list[Thing] = []
    descriptors: list[Thing] = []
    for name, (key, sign) in _POWER_POINTS.items():
        if key in values and math.isfinite(values[key]):
            payloads.append({"type": name, "values": [sign * kw(values[key])]})
            descriptors.append(_descriptor(name, "KW"))
    if math.isfinite(values.get("soc_frac", math.nan)):
        payloads.append({"type": "STORAGE_CHARGE_LEVEL", "values": [100.0 * values["soc_frac"]]})
        descriptors.append(_descriptor("STORAGE_CHARGE_LEVEL", "PERCENT"))
    if math.isfinite(values.get("energy_imported_wh", math.nan)):
        payloads.append({"type": "READING", "values": [values["energy_imported_wh"] / 1e3]})
        descriptors.append(_descriptor("READING", "KWH"))
    payloads.append({"type": "DATA_QUALITY", "values": [QUALITY_WORDS.get(quality, "BAD")]})
    return payloads, descriptors


def report_body(event: str, ven: str, name: str, values: Mapping[str, float], state: str, now_ns: int) -> Thing:
    """Return a report of a VEN on an event: of its one resource, which has its name, with an operating state."""
    payloads, descriptors = report_payloads(values, Quality.GOOD)
    payloads.append({"type": "OPERATING_STATE", "values": [state]})
    said = {
        "resourceName": ven, "intervalPeriod": {"start": iso(now_ns), "duration": "PT0S"},
        "intervals": [{"id": 0, "payloads": payloads}],
    }  # fmt: skip
    return {
        "eventID": event, "clientName": ven, "reportName": name, "payloadDescriptors": descriptors, "resources": [said],
    }  # fmt: skip


def _descriptor(name: str, units: str) -> Thing:
    kind = "REPORT_PAYLOAD_DESCRIPTOR"
    return {"objectType": kind, "payloadType": name, "readingType": "DIRECT_READ", "units": units}


def read_values(payloads: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> tuple[dict[str, float], Quality]:
    """Return measured values by point (SI, our sign) and their quality. Raises PeerError for a unit that can't be."""
    found: dict[str, float] = {}
    quality = Quality.GOOD
    for payload in payloads:
        name, values = payload["type"], payload["values"]
        value = values[0] if values else None
        if name == "DATA_QUALITY":
            quality |= _QUALITIES.get(str(value), Quality.QUESTIONABLE)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        elif name == "SETPOINT" and (units.get(name) or "KW").upper() not in W_OF:
            continue  # "payload values are determined by application": a temperature, say
        elif name in _POWER_POINTS:
            key, sign = _POWER_POINTS[name]
            found[key] = sign * watts(value, units.get(name), name)
        elif name == "STORAGE_CHARGE_LEVEL":
            found["soc_frac"] = min(max(value / 100.0, 0.0), 1.0)
        elif name == "READING" and (units.get(name) or "").upper() in WH_OF:
            energy_wh = value * WH_OF[str(units[name]).upper()]
            if not math.isfinite(energy_wh):
                raise PeerError(f"{name} = {value!r}: give a finite energy")
            found["energy_imported_wh"] = energy_wh
    return found, quality


def without(said: Thing, kinds: Iterable[str]) -> Thing:
    """Return what a report says of a resource without payloads of some types: what is foretold was not measured."""
    left_out = frozenset(kinds)
    if not left_out:
        return said
    intervals = [
        {**each, "payloads": [p for p in each["payloads"] if p["type"] not in left_out]} for each in said["intervals"]
    ]
    return {**said, "intervals": intervals}


def taken_ns(said: Mapping[str, Any], now_ns: int) -> list[int]:
    """Return when each interval of a resource's report was measured, as its sender's clock has it: at its start.

    That may be in the future, or before anything that is kept: see `Readings.in_time`, the rule of all links.

    An interval without a start of its own follows the one before it, as those of events do (User Guide 7.3); where
    none before it says how long it lasts, all begin with the report's own start, and else now.
    """
    default = said.get("intervalPeriod") or {}
    told = default.get("start")
    next_ns = instant_ns(told) if told else None
    found = []
    for interval in said["intervals"]:
        own = interval.get("intervalPeriod") or {}
        if own.get("start") is not None:
            own_ns = instant_ns(own["start"])
            next_ns = next_ns if own_ns is None else own_ns
        found.append(now_ns if next_ns is None else max(next_ns, 1))  # 0 is no instant, and 1970 a clock that is wrong
        if next_ns is not None:
            lasts_s = seconds_of(own.get("duration") or default.get("duration") or "PT0S")
            next_ns += min(round(lasts_s * SECOND_NS), LAST_NS - next_ns)
    return found


def spread_ns(event: Mapping[str, Any], at: float) -> int:
    """Return by how many ns `randomizeStart` moves an event's start, for a draw `at` from -1 to 1."""
    return round(at * min(randomize_s(event), 86_400.0) * SECOND_NS)


def noted_event(said: object) -> tuple[str, Thing] | None:
    """Return what a notification tells of an event, as (operation, event); None where it doesn't tell that.

    It carries the object that was changed (OpenADR 3.1 Definition, notifications), so that nothing need be fetched.
    """
    if not isinstance(said, dict) or said.get("objectType") != "EVENT":
        return None
    operation, event = said.get("operation"), said.get("object")
    if operation not in NOTED or not isinstance(event, dict) or not isinstance(event.get("id"), str):
        return None
    return str(operation), event


def with_notes(known: Mapping[str, Thing], notes: Iterable[tuple[str, Thing]]) -> dict[str, Thing]:
    """Return the events that are known once notifications, (operation, event) in their order, are taken in.

    >>> with_notes({}, [("CREATE", {"id": "e"}), ("DELETE", {"id": "e"}), ("CREATE", {"id": "f"})])
    {'f': {'id': 'f'}}
    """
    events = dict(known)
    for operation, event in notes:
        if operation == "DELETE":
            events.pop(event["id"], None)
        # One that waited is older than what was fetched meanwhile.
        elif event["id"] not in events or _made_ns(event) >= _made_ns(events[event["id"]]):
            events[event["id"]] = event
    return events


def _made_ns(event: Thing) -> int:
    try:
        return instant_ns(event.get("modificationDateTime") or "0001-01-01") or 0
    except (TimeError, TypeError, AttributeError):
        return 0
