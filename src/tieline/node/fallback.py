"""Which devices still do what they were told after their command ran out: looked at along a story, not at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.node.stage import Stage
from tieline.times import FOREVER_NS, MINUTE_NS, SECOND_NS

Instants = NDArray[np.int64]
GRACE_NS = 10 * MINUTE_NS
"""So long the watchdog has to let go of a device whose own timer lies, once it is in reach."""
HARM_W = 2_000.0
"""One that stands at its base does no harm, and can't be told from one that obeys."""


@dataclass(slots=True)
class Fallback:
    """What was seen of commands that ran out: on which rows, on whose timer lies, on which that have none."""

    looks: int = 0
    over: set[int] = field(default_factory=set)
    liars: set[int] = field(default_factory=set)
    timeless: set[int] = field(default_factory=set)
    harm: set[int] = field(default_factory=set)
    """Rows that held on beyond the grace."""
    lost_ns: Instants = field(default_factory=lambda: np.zeros(0, np.int64))
    """When each row was last seen out of reach: nobody could let go of it then."""

    def look(self, stage: Stage) -> None:
        """Note what stands now."""
        link, now_ns = stage.link, stage.node.clock.now_ns()
        # A plug has no timer: what it was told ends when our command does, and it is for us to take it back.
        timeless = link.until_ns >= FOREVER_NS
        ends_ns = np.where(timeless, stage.node.state.commands.valid_until_ns, link.until_ns)
        over = (ends_ns > 0) & (ends_ns + 5 * SECOND_NS < now_ns)
        if len(self.lost_ns) != len(ends_ns):
            self.lost_ns = np.zeros(len(ends_ns), np.int64)
        self.lost_ns[link.is_lost] = now_ns
        had_time = np.maximum(ends_ns, self.lost_ns) + GRACE_NS < now_ns
        holds = over & np.isfinite(link.told(now_ns)[0]) & had_time
        harm = holds & (np.abs(stage.world.power_w - stage.node.state.base_w) > HARM_W)
        self.looks += 1
        for rows, mask in (
            (self.over, over), (self.liars, over & link.no_timer), (self.timeless, over & timeless), (self.harm, harm),
        ):  # fmt: skip
            rows.update(np.flatnonzero(mask).tolist())
