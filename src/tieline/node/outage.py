"""What a server can't record or keep just now, and for how long that has been so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tieline.times import SECOND_NS

if TYPE_CHECKING:
    from tieline.node.runtime import Node


@dataclass(frozen=True, slots=True)
class Outage:
    """Why nothing can be recorded, and how many readings are lost and why; each empty where that is not so.

    With `has_failed` only a restart brings the journal back; with `is_full` its disk has no room. `lasted_ns` and
    `unkept_ns` say for how long each has been so (ns).
    """

    journal: str = ""
    has_failed: bool = False
    is_full: bool = False
    lasted_ns: int = 0
    unkept: str = ""
    unkept_ns: int = 0


NONE = Outage()
"""All is recorded and kept."""


def outage_of(node: Node) -> Outage:
    """Return what a node can't record or keep now."""
    failed, group = node.desk.failed, node.group
    unkept_s = asyncio.get_running_loop().time() - node.unkept_s if node.unkept else 0.0
    lasted_ns, unkept_ns = (round(each_s * node.speed * SECOND_NS) for each_s in (group.down_for_s(), unkept_s))
    return Outage(failed or group.down, bool(failed), group.is_full, lasted_ns, node.unkept, unkept_ns)
