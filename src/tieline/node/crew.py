"""The crew at the works: whoever was told 0 W and feeds in all the same is isolated by hand.

A command that is ignored holds nobody, and behind a live-line crew nothing may feed in. What the crew knows is what the
desk's operator reads: the alarm of devices that took a limit and stand beyond it. He calls the crew, which opens the
isolator (EN 50110-1, 6.2: every source is made sure of).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.node.read_own_way import takes_and_ignores
from tieline.node.stage import Stage
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS, iso

CALLED_NS = 2 * MINUTE_NS
"""The alarm must last for a minute, and the call and the way to the isolator take another."""


@dataclass
class Disobeyed:
    """A device that feeds in under a limit of 0 W: how much (W), and when its isolator was opened (0: not yet)."""

    resource: str
    power_w: float
    found_ns: int
    isolated_ns: int = 0

    def told(self) -> dict[str, Any]:
        """Return it for a report."""
        isolated = iso(self.isolated_ns) if self.isolated_ns else None
        return {
            "resource": self.resource, "power_w": round(self.power_w, 1), "found": iso(self.found_ns),
            "isolated": isolated,
        }  # fmt: skip


class Crew:
    """Looks at the desk's alarm after every beat, while it is at work."""

    def __init__(self, stage: Stage, note: Callable[[str], None]) -> None:
        """Make a crew that is not at work yet; `note` is told what it does."""
        self.disobeyed: dict[int, Disobeyed] = {}
        self._stage, self._note = stage, note
        self._rows = np.zeros(0, np.int32)
        self._gives = set[int]()

    def begin(self, rows: NDArray[np.int32]) -> None:
        """Begin to work behind these devices, of which none may feed in."""
        self._rows = rows
        self._stage.node.after_beat.append(self._look)

    def end(self) -> None:
        """Close all isolators again, and go."""
        self._rows = self._rows[:0]
        self._stage.link.rejoin()

    async def _look(self) -> None:
        if len(self._rows):
            self._find()
            self._open()

    def _find(self) -> None:
        state, now_ns = self._stage.node.state, self._stage.node.clock.now_ns()
        heard = (state.fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0
        gives = takes_and_ignores(state, now_ns) & heard & (state.commands.high_w <= 0.0) & (state.fleet.power_w > 0.0)
        gives &= ~self._stage.link.is_isolated
        self._gives = set(self._rows[gives[self._rows]].tolist())
        for row in sorted(self._gives):
            power_w = float(state.fleet.power_w[row])
            found = self.disobeyed.setdefault(row, Disobeyed(state.fleet.id_of(row), power_w, now_ns))
            found.power_w = max(found.power_w, power_w)

    def _open(self) -> None:
        """Open the isolator of who was found so long ago and is seen to feed in still, as the crew is there."""
        now_ns = self._stage.node.clock.now_ns()
        for row, found in self.disobeyed.items():
            if not found.isolated_ns and row in self._gives and now_ns - found.found_ns >= CALLED_NS:
                found.isolated_ns = now_ns
                self._stage.link.isolate(np.array([row], np.int32))
                gives = f"{found.resource} took the limit and gives {found.power_w / 1e3:.1f} kW"
                self._note(f"{gives}: the crew opens its isolator")
