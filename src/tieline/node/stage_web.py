"""What a stage tells the console beyond its node: the feeder's model and flow, the forecast, the gate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.node.market_days import expected_from, next_gate
from tieline.node.read_fleet import GridReading
from tieline.node.reader import Sources
from tieline.node.stage import Stage
from tieline.simulate.iso.prices import ZONE


def stage_sources(stage: Stage, speed: float = 1.0, setting: str = "DEMO") -> Sources:
    """Return the sources of a stage's console."""
    kinds = stage.territory.model_of_feeder.tolist()
    models = {name: stage.territory.models[k] for name, k in zip(stage.territory.feeders, kinds, strict=True)}

    return Sources(
        utility="Tieline demo territory", setting=setting, zone=ZONE.key, speed=speed, models=models,
        grid=lambda: stage_grid(stage), forecast=lambda: expected_from(stage.node.clock.now_ns(), stage.iso),
        gate_ns=lambda: next_gate(stage),
        what_if=lambda added_w: stage_grid(stage, added_w),
    )  # fmt: skip


def stage_grid(stage: Stage, added_w: NDArray[np.float64] | None = None) -> Mapping[str, GridReading]:
    """Return the power flow of every feeder of a stage, as the world last solved it.

    `added_w` asks what would be with so much more power at each device (W); nothing where a feeder would collapse.
    """
    world, territory = stage.world, stage.territory
    now_ns = stage.node.clock.now_ns()
    grid = world.grid if added_w is None else world.grid_with(added_w, now_ns)
    if grid is None or world.network is None:
        return {}
    site_w = world.site_w(added_w)
    found: dict[str, GridReading] = {}
    for at, name in enumerate(territory.feeders):
        solver, flow = world.network.flow_of(grid, at)
        mine = world.network.sites(at)
        found[name] = GridReading(flow, solver.violations(flow), territory.bus_of_site[mine], site_w[mine])
    return found
