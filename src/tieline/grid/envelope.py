"""The operating envelope of a feeder's devices: how far they may go together before a limit of the grid breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.grid.powerflow import FeederFlow

Floats = NDArray[np.float64]
STEPS = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    """Least and greatest power that the devices may have together (W; inf: not bound), and what binds."""

    low_w: float
    high_w: float
    binds: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """A feeder solved at places along the way that its devices could go, from standing still to as far as they could.

    `power_w`: all devices together at each place (W), shape (places,); `loading`: the highest of a place (1: the
    rating), `voltage_ok`: whether every voltage of a place is within its limits. None of it where the feeder has no
    solution at the far end.
    """

    power_w: Floats
    loading: Floats
    voltage_ok: NDArray[np.bool_]
    rises: bool

    def within(self, most: float = 1.0) -> Envelope:
        """Return how far the devices may move where such a loading is still allowed.

        The farthest place that breaks nothing is the bound: nearer ones may break the opposite limit, which moving
        this way relieves. If even the present breaks a limit, the bound lies on this side of it; if nothing helps, it
        is where the devices stand still.
        """
        if not len(self.power_w):
            return Envelope(0.0, 0.0, "the feeder has no solution at the far end")
        loading_ok = self.loading <= most
        fits = np.flatnonzero(self.voltage_ok & loading_ok)
        last = int(fits[-1]) if len(fits) else 0
        if last == STEPS - 1:
            return Envelope(-np.inf, np.inf, "nothing")
        bound_w = float(self.power_w[last])
        binds = "loading" if not loading_ok[last + 1] else "voltage"
        return Envelope(-np.inf, bound_w, binds) if self.rises else Envelope(bound_w, np.inf, binds)


def sweep(
    solver: FeederFlow,
    base_w: Floats,
    device_w: Floats,
    room_w: Floats,
    native_w: Floats | None = None,
    source_pu: float | None = None,
) -> Sweep:
    """Solve a feeder at 64 places, every device having moved by the same share of its room at each.

    Args:
        solver: The feeder.
        base_w: What each site draws or gives without its devices (W, positive into the grid); shape (sites,).
        device_w: What the devices at each site do now (W); shape (sites,).
        room_w: How far they could move at most (W; all of one sign); shape (sites,).
        native_w: What the plants give that listen to nobody (W).
        source_pu: Voltage of the upstream grid (pu).

    Raises:
        ValueError: `room_w` has both signs.
    """
    if room_w.min(initial=0.0) < 0.0 < room_w.max(initial=0.0):
        raise ValueError("room_w has both signs: give how far the devices could rise, or how far they could fall")
    rises = bool(room_w.sum() >= 0)
    # From as far back as the devices can go (standing still) to as far as they could go.
    back_w = np.where(device_w > 0, -device_w, 0.0) if rises else np.where(device_w < 0, -device_w, 0.0)
    share = np.linspace(0.0, 1.0, STEPS)[:, None]
    places_w = device_w + back_w + share * (room_w - back_w)
    natives = None if native_w is None else np.tile(native_w, (STEPS, 1))
    source = None if source_pu is None else np.full(STEPS, source_pu)
    site_w = base_w + places_w
    reactive = np.where(base_w < 0, solver.model.load_tan * base_w, 0.0)
    try:
        flow = solver.solve(site_w, np.tile(reactive, (STEPS, 1)), natives, source)
    except Infeasible:
        return Sweep(np.zeros(0), np.zeros(0), np.zeros(0, np.bool_), rises)
    low, high = solver.model.min_pu, solver.model.max_pu
    voltage_ok = np.all((flow.voltage_pu >= low) & (flow.voltage_pu <= high), axis=1).astype(np.bool_)
    loading = np.maximum(flow.line_frac.max(axis=1), flow.trafo_frac)
    return Sweep(places_w.sum(axis=1), loading, voltage_ok, rises)
