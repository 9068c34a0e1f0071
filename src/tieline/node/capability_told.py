"""What groups can be called for, told by a VTN to who reads all of it, anew every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tieline.desk.capability_views import AskCapability
from tieline.links.endpoint.openadr.capability import CapabilityReports
from tieline.node import read_capability
from tieline.node.runtime import STARTS_S, Node

EVERY_S, SHARE = 60.0, 0.05
"""Told anew so often, unless that takes more than this share of the time (s of the wall's clock)."""
LASTS_S = (300.0, 900.0, 3_600.0, 14_400.0)
NOTICES_S = (60.0, 600.0)


async def tell_capability(node: Node, reports: CapabilityReports, names: Sequence[str]) -> None:
    """Tell it for as long as the node runs; first once links have heard their devices."""
    await asyncio.sleep(STARTS_S / node.speed)
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        for name in names:
            asked = AskCapability(LASTS_S, NOTICES_S, name)
            with suppress(KeyError):  # all that it had was taken out of the registry
                reports.tell(await read_capability.of(node.state, node.cycle.pools, asked, node.clock.now_ns()))
        await asyncio.sleep(max(EVERY_S / node.speed, (loop.time() - began_s) / SHARE))
