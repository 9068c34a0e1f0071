"""How much room a feeder has for its devices, as the DNO finds it: by power flow, from what all of them do now."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tieline.grid.envelope import Envelope, Sweep, sweep
from tieline.node.stage import Stage
from tieline.simulate.solved import Swept

KEEPS_FRAC = 0.95
"""A DNO limits to a little below the rating, as the base load moves on."""
EASES_TO = 0.9
"""And widens a limit no further than to this."""
REACHES = 1.5
"""Where nothing breaks half beyond what devices draw, room is looked for up to so many times a limit on it."""
Key = tuple[int, bool, bytes, bytes, bytes, float, float | None]


class Rooms:
    """Looks for room on the feeders of a stage.

    What was solved last is kept: at one look a relief asks whether its limit can move and whether it can end, of the
    same feeder in the same state, and wants to keep more in hand for the one than for the other.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._last: tuple[Key, Sweep, float] | None = None
        self._begun: list[Key] = []
        self._sweeps: Callable[[], list[Sweep]] | None = None

    def begin(self, wanted: Iterable[tuple[int, bool, float]]) -> None:
        """Begin to look for room as `room` will on feeders, drawing or giving, under limits (W), where somebody else
        solves the grid.

        Who asks for it has it so while nothing there has moved since; else, and what else is asked, it is found anew.
        """
        begun = []
        for at, imports, bound_w in wanted:
            begun.append(self._given(at, imports, None))
            if imports and _end_w(begun[-1][1]) > REACHES * bound_w:
                begun.append(self._given(at, imports, REACHES * bound_w))
        self._begun = [key for key, _ in begun]
        self._sweeps = self._stage.world.solved.sweeping([swept for _, swept in begun])

    def envelope(
        self, at: int, imports: bool, keeps: float = KEEPS_FRAC, reach_w: float | None = None
    ) -> tuple[Envelope, float]:
        """Return how far the devices of a feeder may go now, drawing or giving, and how far was looked (W).

        That is half beyond what they do, or to `reach_w` where this is farther: all of them by the same factor.
        """
        found, end_w = self._swept(at, imports, reach_w)
        return found.within(keeps), end_w

    def _swept(self, at: int, imports: bool, reach_w: float | None) -> tuple[Sweep, float]:
        key, swept = self._given(at, imports, reach_w)
        if self._last is None or self._last[0] != key:
            if self._sweeps is not None and key in self._begun:
                found = self._sweeps()[self._begun.index(key)]
            else:
                network = self._stage.world.network
                assert network is not None
                found = sweep(network.solver_of(at), *swept[1:])
            self._last = key, found, _end_w(swept)
        return self._last[1:]

    def _given(self, at: int, imports: bool, reach_w: float | None) -> tuple[Key, Swept]:
        """Return what is to be swept, and what tells it from anything else that is."""
        world, territory = self._stage.world, self._stage.territory
        assert world.network is not None and world.grid is not None
        flow = world.network.flow_of(world.grid, at)[1]
        sites = world.network.sites(at)
        device_w = np.bincount(territory.site_of, world.power_w, len(territory.feeder_of_site))[sites].astype(
            np.float64
        )
        base_w: NDArray[np.float64] = -world.base_load_w[sites]
        source_pu = float(flow.voltage_pu[0, world.network.solver_of(at).model.source])
        model = int(territory.model_of_feeder[at])
        native_w = world.native_w(model)[int((territory.model_of_feeder[:at] == model).sum())]
        key = at, imports, device_w.tobytes(), base_w.tobytes(), native_w.tobytes(), source_pu, reach_w
        toward_w = np.minimum(device_w, 0.0) if imports else np.maximum(device_w, 0.0)
        room_w = 0.5 * toward_w + (-1.0 if imports else 1.0)
        if reach_w is not None:
            room_w *= max(1.0, (reach_w - float(device_w.sum())) / float(room_w.sum()))
        return key, (at, base_w, device_w, room_w, native_w, source_pu)

    def room(self, at: int, imports: bool, bound_w: float, keeps: float = KEEPS_FRAC) -> float:
        """Return how far the devices of a feeder may go from under a limit (W), or to where that was looked for.

        That nothing breaks says that there is more room than was looked at, not that there is none. What is given is
        not looked for beyond half more than now: with the sun that is behind a cloud, what listens to nobody comes
        back, too.
        """
        found, end_w = self.envelope(at, imports, keeps)
        bound = found.low_w if imports else found.high_w
        if np.isfinite(bound):
            return float(np.ceil(bound) if imports else np.floor(bound))
        if imports and end_w > REACHES * bound_w:
            farther, farther_w = self.envelope(at, imports, keeps, REACHES * bound_w)
            if not np.isfinite(farther.low_w):
                end_w = farther_w
            elif farther.low_w < end_w:  # else it has no solution so far out, which says nothing of nearer
                end_w = farther.low_w
        return float(np.trunc(end_w))


def _end_w(swept: Swept) -> float:
    """Return how far the devices of a feeder go at the far end of its sweep, together (W)."""
    return float((swept[2] + swept[3]).sum())
