"""What events under a program mean by it alone: a change of the program leaves that as the events were taken.

OpenADR 3.1.0 Definition: the descriptors of a program are the context of all payloads of its events and reports that
have none of their own (see `units`). The standard lets a program be changed at any time and says nothing of the events
that stand under it; a unit changed from W to MW would ask each of them for a million times as much, though nobody
touched an event. So such a change is refused while one stands. What the change would say for the first time, of
payloads that no standing event has, is free, and so is another word for the same (KW where nothing was said).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from tieline.links.endpoint.openadr.reported import STANDARD, refusal
from tieline.links.endpoint.openadr.units import POWERS, event_words, program_words, report_words
from tieline.wire.openadr3.objects import Descriptor, ObjectError, Program
from tieline.wire.openadr3.times import ends_ns

Thing = dict[str, Any]
_UNSAID = {"W": "KW", "Wh": "KWH"}
"""What a power and an energy are in where nobody says any units."""


class AnotherMeaning(ObjectError):
    """A change of a program that gives an event under it another meaning."""


class _Word(NamedTuple):
    """One thing that may be said of a payload type: its units, its currency, or how it is read."""

    payload_type: str
    field: str
    is_report: bool


def check_meaning(old: Thing, new: Program, events: Iterable[tuple[Thing, Sequence[Thing]]], now_ns: int) -> None:
    """Refuse a changed program that gives an event which is not over, or what is reported on it, another meaning.

    Args:
        old: The program as it is kept.
        new: As it came.
        events: Its events as they are kept, each with the reports on it; those that are over are passed over.
        now_ns: What "now" means in them.

    Raises:
        AnotherMeaning: As said; the path and the value of what differs are named, and the event in the way.
    """
    changed = msgspec.to_builtins(new)
    if (old.get("payloadDescriptors") or []) == (changed.get("payloadDescriptors") or []):
        return
    for event, reports in events:
        if ends_ns(event, now_ns) <= now_ns:
            continue
        was, becomes = _meant(event, reports, old), _meant(event, reports, changed)
        for word, said in was.items():
            if said.upper() != becomes[word].upper():
                raise _another(new.payloadDescriptors or (), word, said, str(event["id"]))


def _meant(event: Thing, reports: Sequence[Thing], program: Thing) -> dict[_Word, str]:
    """Return what an event and the reports on it leave to a program, and what that says; "": nothing."""
    asked = {pay["type"] for each in event.get("intervals") or () for pay in each["payloads"]}
    own = event_words(event)
    found = {
        _Word(name, field, is_report=False): above.get(name, _unsaid(name, field))
        for field, above in program_words(program).items()
        for name in sorted(asked - own[field].keys())
    }
    wished = {each["payloadType"] for each in event.get("reportDescriptors") or ()}
    own = report_words({}, event, None)
    for field, above in report_words({}, None, program).items():
        told = {name for report in reports for name in _told(report) - report_words(report, None, None)[field].keys()}
        for name in sorted((wished | told) - own[field].keys()):
            found[_Word(name, field, is_report=True)] = above.get(name, _unsaid(name, field))
    return found


def _told(report: Thing) -> set[str]:
    """Return the payload types in a report."""
    intervals = (interval for resource in report["resources"] for interval in resource["intervals"])
    return {pay["type"] for interval in intervals for pay in interval["payloads"]}


def _unsaid(payload_type: str, field: str) -> str:
    """Return what holds of a payload where nobody says it."""
    if field != "units":
        return ""
    if payload_type in POWERS:
        return _UNSAID["W"]
    known = STANDARD.get(payload_type)
    return "" if known is None else _UNSAID.get(known.unit, "")


def _another(descriptors: Sequence[Descriptor], word: _Word, was: str, event: str) -> AnotherMeaning:
    """Return what refuses a program: where it says what differs, and what the event was taken with."""
    other = "EVENT_PAYLOAD_DESCRIPTOR" if word.is_report else "REPORT_PAYLOAD_DESCRIPTOR"
    path, value = "$.payloadDescriptors", msgspec.to_builtins(descriptors)
    for at, each in enumerate(descriptors):
        if each.payloadType == word.payload_type and each.objectType != other:
            path, value = f"$.payloadDescriptors[{at}].{word.field}", getattr(each, word.field)
            break
    kept = f"the {word.field} {was}" if was else f"no {word.field}"
    of = f"reports of {word.payload_type}" if word.is_report else f"a {word.payload_type}"
    limit = (
        f"{kept}, as event {event} was taken with {of} in these, or give that event {word.field} of its own, or end "
        "it, first"
    )
    error = refusal(path, value, limit)
    return AnotherMeaning(str(error), error.field, error.value, error.limit)
