"""Operating envelopes as events that a VEN has beforehand: an event a set, with an interval for each of its own.

Theory of operation. A command tells a VEN its limits for the next minutes. An envelope is known for hours, and a VEN
that has it keeps within it also while nobody is heard. So it is an event of its own beside the command's, with
IMPORT_ and EXPORT_CAPACITY_LIMIT for each interval that is to come; a VEN takes the limits of both. Which events are
there is read from the VTN's book, which a restart finds as it was: what is wanted and not there is published, what is
there and not wanted is withdrawn, so that telling it again has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tieline.desk.operating import Foretold
from tieline.links.endpoint.openadr.payloads import told
from tieline.times import SECOND_NS, iso

Thing = dict[str, Any]
PREFIX = "envelope "
_NO_TARGET = float("nan")


def is_foretold(event: Mapping[str, Any]) -> bool:
    """Return whether an event of the desk's tells an envelope, and so outlives the commands beside it."""
    return str(event.get("eventName") or "").startswith(PREFIX)


def event_of(envelope: Foretold, program: str, ven: str, priority: int) -> Thing:
    """Return an envelope as an event for a VEN: import and export limits (kW) of each interval, under its own time."""
    intervals, units = list[Thing](), dict[str, Thing]()
    for at, (start_ns, end_ns, low_w, high_w) in enumerate(envelope.steps):
        payloads, descriptors = told(_NO_TARGET, low_w, high_w)
        units |= {each["payloadType"]: each for each in descriptors}
        period = {"start": iso(start_ns), "duration": _seconds(end_ns - start_ns)}
        intervals.append({"id": at, "intervalPeriod": period, "payloads": payloads})
    first_ns, last_ns = envelope.steps[0][0], envelope.steps[-1][1]
    return {
        "programID": program, "eventName": PREFIX + envelope.name, "priority": priority, "targets": [ven],
        "payloadDescriptors": list(units.values()),
        "intervalPeriod": {"start": iso(first_ns), "duration": _seconds(last_ns - first_ns)}, "intervals": intervals,
    }  # fmt: skip


def changes(
    known: Iterable[Mapping[str, Any]], wanted: Sequence[Foretold], is_ours: Callable[[str], bool]
) -> tuple[list[Foretold], list[str]]:
    """Return which envelopes have no event yet, and the ids of events that are wanted no more.

    Args:
        known: The events of one VEN.
        wanted: What it is to know.
        is_ours: Says of an event's id whether the desk made it.
    """
    ours = {str(event["eventName"]): str(event["id"]) for event in known if is_foretold(event) and is_ours(event["id"])}
    names = {PREFIX + one.name for one in wanted}
    return (
        [one for one in wanted if PREFIX + one.name not in ours],
        [event for name, event in ours.items() if name not in names],
    )


def _seconds(length_ns: int) -> str:
    return f"PT{round(length_ns / SECOND_NS, 3):.12g}S"
