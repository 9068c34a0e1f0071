"""What a payload is measured in: what its event or report says, else what they stand under says.

OpenADR 3.1.0 Definition: the descriptors of a program are the context of all payloads of its events and reports, where
those have none of their own. A report stands under what its event asked for (`reportDescriptors`), and that under the
program. It is settled for each payload type and each field: an event that describes its price alone, or names a type
without a unit, leaves the unit of its setpoint to its program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Thing = dict[str, Any]
POWERS = ("DISPATCH_SETPOINT", "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT")
"""The payloads of events that are powers, and that VENs of ours follow."""
_OF_EVENTS, _OF_REPORTS = "EVENT_PAYLOAD_DESCRIPTOR", "REPORT_PAYLOAD_DESCRIPTOR"


def said_units(descriptors: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the units by payload type, where descriptors say any.

    >>> said_units([{"payloadType": "PRICE", "units": "KWH"}, {"payloadType": "DEMAND"}])
    {'PRICE': 'KWH'}
    """
    return _said(descriptors or (), "units")


def program_units(program: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the units that a program gives the payloads of its events, by payload type."""
    return _said(_below(program, _OF_REPORTS), "units")


def event_words(event: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what an event's payloads mean by its own word, as {"units": ..., "currency": ...}, by payload type."""
    return {field: _said(event.get("payloadDescriptors") or (), field) for field in ("units", "currency")}


def program_words(program: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what the payloads of its events mean by a program's word, in the form of `event_words`."""
    return {field: _said(_below(program, _OF_REPORTS), field) for field in ("units", "currency")}


def report_words(
    report: Mapping[str, Any], event: Mapping[str, Any] | None, program: Mapping[str, Any] | None
) -> Thing:
    """Return what a report's payloads mean, as {"units": ..., "readingType": ...}, each by payload type.

    Where one level says two things of a type, both stand there, as "W or KW": which is meant is not known.
    """
    return {
        field: {
            **_said(_below(program, _OF_EVENTS), field),
            **_said((event or {}).get("reportDescriptors") or (), field),
            **_said(report.get("payloadDescriptors") or (), field),
        }
        for field in ("units", "readingType")
    }


def lacks_units(event: Mapping[str, Any]) -> bool:
    """Return whether an event asks for a power and doesn't say in what."""
    known = said_units(event.get("payloadDescriptors"))
    asked = {pay["type"] for each in event.get("intervals") or () for pay in each["payloads"]}
    return any(name in asked and name not in known for name in POWERS)


def _below(program: Mapping[str, Any] | None, other: str) -> list[Mapping[str, Any]]:
    """Return a program's descriptors but for those that are of the other kind by their own word."""
    return [each for each in (program or {}).get("payloadDescriptors") or () if each.get("objectType") != other]


def _said(descriptors: Iterable[Mapping[str, Any]], field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in descriptors:
        name, value = each["payloadType"], each.get(field)
        if value:
            before = found.get(name, value)
            found[name] = value if before.upper() == value.upper() else f"{before} or {value}"
    return found
