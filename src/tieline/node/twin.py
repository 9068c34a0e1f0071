"""The same world left alone: what every device would have done had nobody asked anything of it.

Only a simulation has such a twin. It is copied from the world at a story's opening, with the state of its random
stream, and moves by the same steps at the same voltages; where nobody commands anything the two stay the same bit for
bit. So what a pool truly gave is known here, and a baseline, the desk's own base or a telemetered figure can be held
against it. It solves no power flow of its own, which would cost as much again as the world's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KINDS
from tieline.node.metering import Meters
from tieline.simulate.world import World
from tieline.times import MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
STEP_NS = 5 * MINUTE_NS


@dataclass(eq=False)
class Gap:
    """Of one interval: mean power of the meters left alone, and of what the pool's rows truly gave, by kind (W)."""

    meters_w: Floats
    counted_w: Floats
    uncounted_w: float = 0.0


class Leaving(Protocol):
    """A world that nobody commands, beside one that is commanded: here, or in a process of its own (`twin_aside`)."""

    def step(self, now_ns: int, seconds: float, commanded: World, counts: Mask) -> None:
        """Move to where the commanded world has just been moved, and note how far the two lie apart.

        Args:
            now_ns: End of the step.
            seconds: Its length (s).
            commanded: The world that went before.
            counts: Rows whose power the desk counts as the pool's delivery; shape (n,).
        """
        ...

    def power_w(self) -> Floats:
        """Return what each device does there (W); shape (n,)."""
        ...

    def gaps(self) -> Mapping[int, Gap]:
        """Return how far the two lay apart in each interval, by its start (ns)."""
        ...


class Twin:
    """A `Leaving` in line."""

    def __init__(self, world: World, meters: Meters) -> None:
        self._meters, self._pool = meters, meters.loads | meters.generators
        self.world = world.apart()
        count = len(world.power_w)
        self._free = np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)
        self._gaps: dict[int, Gap] = {}

    def step(self, now_ns: int, seconds: float, commanded: World, counts: Mask) -> None:
        """See `Leaving.step`."""
        self.move(now_ns, seconds, commanded.seen_pu, commanded.power_w, counts)

    def move(self, now_ns: int, seconds: float, seen_pu: Floats | None, power_w: Floats, counts: Mask) -> None:
        """Move, given the voltage of each site that the commanded world's step saw, and the power that it left."""
        self.world.site_pu = seen_pu
        self.world.step(now_ns, seconds, *self._free)
        start_ns = (now_ns - 1) // STEP_NS * STEP_NS
        gap = self._gaps.setdefault(start_ns, Gap(np.zeros(3), np.zeros(len(KINDS))))
        share = seconds * SECOND_NS / STEP_NS
        gap.meters_w += self._meters.read(self.world) * share
        gave_w = power_w - self.world.power_w
        kinds, mine = self.world.territory.fleet.kinds, counts & self._pool
        gap.counted_w += np.bincount(kinds[mine], gave_w[mine], len(KINDS)) * share
        gap.uncounted_w += float(gave_w[~counts & self._pool].sum()) * share

    def power_w(self) -> Floats:
        """See `Leaving.power_w`."""
        return self.world.power_w

    def gaps(self) -> Mapping[int, Gap]:
        """See `Leaving.gaps`."""
        return self._gaps
