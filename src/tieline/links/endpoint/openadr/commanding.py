"""Which events command and which inform.

What informs is listed, and all else commands: a payload type of somebody's own may make a device do anything, and an
interval without payloads lets it run by itself, which ends what it was asked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# OpenADR 3.1.0 Definition, table 1 (event enumerations), read for what each has a resource do. An alert describes, in
# words for people, what the grid or the weather does; a subscription and a reservation say what a customer has bought.
COMMANDS = frozenset({
    "SIMPLE", "CHARGE_STATE_SETPOINT", "DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE", "DISPATCH_INSTRUCTION",
    "CONTROL_SETPOINT", "CONTROL_LEVEL_OFFSET", "CONTROL_LEVEL_OFFSET_PERCENT", "CURVE", "OLS",
    "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT", "CTA2045_REBOOT", "CTA2045_SET_OVERRIDE_STATUS",
})  # fmt: skip
"""Payload types of the standard that have a resource do something."""
INFORMS = frozenset({
    "PRICE", "PRICE_ALTERNATE", "EXPORT_PRICE", "GHG",
    *(f"{way}_CAPACITY_{what}" for way in ("IMPORT", "EXPORT")
      for what in ("SUBSCRIPTION", "RESERVATION", "RESERVATION_FEE", "AVAILABLE", "AVAILABLE_PRICE")),
    *(f"ALERT_{what}" for what in ("GRID_EMERGENCY", "BLACK_START", "POSSIBLE_OUTAGE", "FLEX_ALERT", "FIRE", "FREEZING",
                                   "WIND", "TSUNAMI", "AIR_QUALITY", "OTHER")),
})  # fmt: skip
"""Payload types of the standard that say how things are, and leave to each what it makes of that."""


def commanding(event: Mapping[str, Any], informs: frozenset[str] = INFORMS) -> str | None:
    """Return what in an event commands, in words; None where it informs alone.

    >>> commanding({"intervals": [{"payloads": [{"type": "PRICE"}, {"type": "SIMPLE"}]}]})
    'SIMPLE'
    >>> commanding({"intervals": [{"payloads": []}]})
    'an interval without payloads'
    """
    for interval in event.get("intervals") or ():
        if not interval["payloads"]:
            return "an interval without payloads"
        for payload in interval["payloads"]:
            if payload["type"] not in informs:
                return str(payload["type"])
    return None
