"""Topic names and filters: which filter takes which name (MQTT 3.1.1, section 4.7)."""

from __future__ import annotations

from tieline.wire.mqtt.packets import PacketError


def check_filter(text: str) -> str:
    """Return the filter. Raises PacketError where its wildcards stand wrong (4.7.1)."""
    levels = text.split("/")
    if not text or "\0" in text:
        raise PacketError(f"filter {text!r}: empty, or with a NUL")
    for at, level in enumerate(levels):
        if "#" in level and (level != "#" or at != len(levels) - 1):
            raise PacketError(f"filter {text!r}: # stands alone, as the last level")
        if "+" in level and level != "+":
            raise PacketError(f"filter {text!r}: + stands alone in its level")
    return text


def matches(filter_: str, topic: str) -> bool:
    """Return whether a filter takes a topic.

    >>> matches("site/+/power", "site/7/power"), matches("site/#", "site"), matches("#", "$SYS/load")
    (True, True, False)
    """
    wanted, given = filter_.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("#", "+"):
        return False  # 4.7.2
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(given) or (level != "+" and level != given[at]):
            return False
    return len(wanted) == len(given)
