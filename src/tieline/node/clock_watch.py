"""Sees the system's clock step, says so in the journal, and makes what is in force fit the new time.

Theory of operation. Absolute instants are everybody's: markets, leases and readings are in UTC, so a step of the clock
is followed, never smoothed. A monotonic clock beside it tells a step from the passing of time. Claims and commands end
at their instant: a step forward ends them early, to the safe side; after one back a command would hold for longer than
a lease (R3), so those in force are sent anew. Versions grow all the same, and the age at which readings are deleted
goes by whichever of the two clocks makes them younger.
"""

from __future__ import annotations

import asyncio

import structlog

from tieline.desk.entry import Entry
from tieline.desk.facts import Audited
from tieline.ids import derive
from tieline.node.runtime import Node
from tieline.times import SECOND_NS, iso

_log = structlog.get_logger("tieline.node")
STEP_NS = 2 * SECOND_NS
"""Slewing by an NTP client stays far below this between two beats (500 ppm of a minute are 30 ms)."""


class ClockWatch:
    """Compares the node's clock with the loop's monotonic one at each beat."""

    def __init__(self, node: Node) -> None:
        """Begin to watch now."""
        self._node = node
        self._seen = self._both()
        if self._seen[0] < node.state.claims.latest_ns - STEP_NS:  # set back while no server ran
            node.state.claims.set_back(self._seen[0])
        node.after_beat.append(self.look)

    def _both(self) -> tuple[int, int]:
        return self._node.clock.now_ns(), round(asyncio.get_running_loop().time() * SECOND_NS)

    async def look(self) -> None:
        """Record a step since the last look, and settle every device anew after one back."""
        (was_ns, was_mono_ns), (now_ns, mono_ns) = self._seen, self._both()
        self._seen = now_ns, mono_ns
        step_ns = (now_ns - was_ns) - (mono_ns - was_mono_ns)
        if abs(step_ns) < STEP_NS:
            return
        node = self._node
        if step_ns < 0:
            node.state.claims.set_back(now_ns)
        told = f"the clock stepped by {step_ns / SECOND_NS:+.1f} s to {iso(now_ns)}"
        _log.warning("clock stepped", by_s=round(step_ns / SECOND_NS, 1), to=iso(now_ns))
        fact = Audited("server", "clock", "stepped", told)
        await node.desk.commit([Entry(derive("clock-step", was_ns, now_ns, mono_ns), fact, "clock")])
        await node.desk.settle()
