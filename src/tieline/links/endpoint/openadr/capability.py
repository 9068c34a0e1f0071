"""Capability envelopes as OpenADR reports that who reads all of a VTN may read: what groups can be called for.

Theory of operation. A program and a standing event of the desk's own, with a target that no VEN is granted, so that
only business logic sees them. On the event stands a report for each group and length of notice, the newest alone, in
memory like all reports. Its intervals are lengths: each begins where the notice is over and lasts as long as the power
can be held. UP_ and DOWN_REGULATION_AVAILABLE are the standard's; what it has no word for is of private types: the firm
part with its confidence, energy, how long it takes to get there, and what comes back afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tieline.desk.capability_views import CapabilityView, HeldView, NoticedView
from tieline.links.endpoint.openadr.payloads import kw
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.times import SECOND_NS, Clock, iso

PROGRAM = TARGET = "tieline-capability"
EVENT = "capability"
UNITS = {"REGULATION_AVAILABLE": "KW", "FIRM": "KW", "ENERGY": "KWH", "RAMP": "SECONDS", "REBOUND": "KWH"}
"""What is said of each direction, by what its payload type ends with, and in which unit."""
Thing = dict[str, Any]


class CapabilityReports:
    """Keeps a VTN's reports of capability."""

    def __init__(self, vtn: Vtn, clock: Clock) -> None:
        self._vtn, self._clock, self._event = vtn, clock, ""

    async def start(self) -> None:
        """Make the program and the standing event, or find them from before."""
        book = self._vtn.book
        program = book.named("programs", PROGRAM)
        if program is None:
            said: Thing = {"programName": PROGRAM, "targets": [TARGET]}
            program = await self._vtn.publish("programs", msgspec.json.encode(said))
        event = next((each for each in book.below("events", program["id"]) if each.get("eventName") == EVENT), None)
        if event is None:
            # Not P9999Y, the standard's for ever: an independent client adds it to the start, and fails.
            period = {"start": iso(self._clock.now_ns()), "duration": "P1000Y"}
            said = {
                "programID": program["id"], "eventName": EVENT, "targets": [TARGET], "intervals": [],
                "intervalPeriod": period, "reportDescriptors": [{"payloadType": f"{way}_{part}", "units": UNITS[part]}
                                                                for way in ("UP", "DOWN") for part in UNITS],
            }  # fmt: skip
            event = await self._vtn.publish("events", msgspec.json.encode(said))
        self._event = event["id"]

    def tell(self, views: Sequence[CapabilityView]) -> None:
        """Let what groups can be called for be read in place of what was told of them before."""
        for view in views:
            for up, down in zip(view.up, view.down, strict=True):
                self._vtn.report(msgspec.json.encode(report_of(self._event, view, up, down)))


def report_of(event: str, view: CapabilityView, up: NoticedView, down: NoticedView) -> Thing:
    """Return the report of one group with so much notice: an interval a length, (kW, kWh, s)."""
    begins_ns = view.now_ns + round(up.notice_s * SECOND_NS)
    intervals = [
        {
            "id": at, "intervalPeriod": {"start": iso(begins_ns), "duration": f"PT{held.lasts_s:.12g}S"},
            "payloads": [*_payloads("UP", up, held), *_payloads("DOWN", down, other)],
        }
        for at, (held, other) in enumerate(zip(up.held, down.held, strict=True))
    ]  # fmt: skip
    descriptors = [
        {
            "objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": f"{way}_{part}", "readingType": "FORECAST",
            "units": unit, **({"confidence": round(100 * view.confidence_frac)} if part == "FIRM" else {}),
        }
        for way in ("UP", "DOWN") for part, unit in UNITS.items()
    ]  # fmt: skip
    said = {"resourceName": view.resource, "intervals": intervals}
    return {
        "eventID": event, "clientName": "tieline", "reportName": f"{view.resource} at {up.notice_s:g} s notice",
        "payloadDescriptors": descriptors, "resources": [said],
    }  # fmt: skip


def _payloads(way: str, noticed: NoticedView, held: HeldView) -> list[Thing]:
    """Return what is said of one direction and length; what is not known, or has no end, is left out."""
    said = {
        "REGULATION_AVAILABLE": kw(held.power_w), "FIRM": kw(held.firm_w), "RAMP": noticed.ramped_s,
        "ENERGY": None if noticed.energy_wh is None else noticed.energy_wh / 1e3, "REBOUND": held.rebound_wh / 1e3,
    }  # fmt: skip
    return [{"type": f"{way}_{part}", "values": [value]} for part, value in said.items() if value is not None]
