"""The last power flow of a world: solved at once, or elsewhere while the world goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.grid.envelope import Sweep
from tieline.grid.network import GridNetwork, GridState

Floats = NDArray[np.float64]
Swept = tuple[int, Floats, Floats, Floats, Floats | None, float | None]
"""A feeder that is to be swept, and with what: see `tieline.grid.envelope.sweep`."""


class Solving(Protocol):
    """Solves the grid elsewhere, one instant after another (`grid_aside`)."""

    def begin(
        self, site_w: Floats, site_var: Floats, native_w: Sequence[Floats],
        upper_w: Floats | None, upper_native_w: Floats | None, /,
    ) -> None:  # fmt: skip
        """Begin to solve one instant; see `GridNetwork.solve`."""
        ...

    def found(self) -> GridState | None:
        """Return what was begun last, once it is solved; None: a feeder would collapse."""
        ...

    def sweeping(self, sweeps: Sequence[Swept], /) -> Callable[[], list[Sweep]]:
        """Begin to sweep feeders, and return who has their sweeps once they are done."""
        ...


class Solved:
    """What the last power flow found. Who asks while one is being solved elsewhere waits for it."""

    def __init__(self, site_pu: Floats | None = None) -> None:
        """Begin without a power flow: `site_pu` stands (pu; None: every voltage is nominal)."""
        self._grid: GridState | None = None
        self._site_pu, self._collapsed = site_pu, 0
        self._aside: Solving | None = None
        self._waits_for: Solving | None = None

    def solve(
        self, network: GridNetwork, site_w: Floats, site_var: Floats, native_w: Sequence[Floats],
        upper_w: Floats | None, upper_native_w: Floats | None,
    ) -> None:  # fmt: skip
        """Solve one instant, or begin to; see `GridNetwork.solve`. Where a feeder would collapse the last one stands:
        nothing in a story may end the world, and protection would have opened."""
        given = site_w, site_var, native_w, upper_w, upper_native_w
        self._wait()
        if self._aside is not None:
            self._aside.begin(*given)
            self._waits_for = self._aside
            return
        try:
            self._take(network.solve(*given))
        except Infeasible:
            self._take(None)

    def aside(self, aside: Solving) -> None:
        """Have somebody else solve from now on."""
        self._wait()
        self._aside = aside

    def sweeping(self, sweeps: Sequence[Swept]) -> Callable[[], list[Sweep]] | None:
        """Begin to sweep feeders, and return who has their sweeps once they are done; None: nobody is there to."""
        self._wait()
        return None if self._aside is None or not sweeps else self._aside.sweeping(sweeps)

    def stand(self, site_pu: Floats | None) -> None:
        """Let each site stand at a voltage (pu; None: nominal), whatever a power flow found, until the next one."""
        self._wait()
        self._site_pu = site_pu

    def _wait(self) -> None:
        aside, self._waits_for = self._waits_for, None
        if aside is not None:
            self._take(aside.found())

    def _take(self, grid: GridState | None) -> None:
        if grid is None:
            self._collapsed += 1
        else:
            self._grid, self._site_pu = grid, grid.site_pu

    @property
    def grid(self) -> GridState | None:
        """The last power flow (None: none yet)."""
        self._wait()
        return self._grid

    @property
    def site_pu(self) -> Floats | None:
        """The voltage of each site that it left (pu; None: all are nominal); shape (sites,)."""
        self._wait()
        return self._site_pu

    @property
    def collapsed(self) -> int:
        """At how many instants a feeder would have collapsed."""
        self._wait()
        return self._collapsed
