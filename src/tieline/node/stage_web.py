"""What a stage tells the console beyond its node: the feeder's model and flow, the forecast, the gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from tieline.node.read_fleet import GridReading
from tieline.node.reader import Sources
from tieline.node.stage import Stage
from tieline.plan.forecast import like_days
from tieline.simulate.iso.prices import ZONE, prices_of
from tieline.times import HOUR_NS, market_day


def stage_sources(stage: Stage, speed: float = 1.0, setting: str = "DEMO") -> Sources:
    """Return the sources of a stage's console."""
    day = market_day(stage.day, ZONE)
    past = [stage.day - timedelta(days=back) for back in range(5, 0, -1)]
    hourly = like_days(np.concatenate([list(prices_of("HB_NORTH", d).values())[:24] for d in past]), 24)
    forecast = {day.start_ns + k * HOUR_NS: float(price) for k, price in enumerate(hourly)}

    kinds = stage.territory.model_of_feeder.tolist()
    models = {name: stage.territory.models[k] for name, k in zip(stage.territory.feeders, kinds, strict=True)}

    def gate() -> int | None:
        now_ns = stage.node.clock.now_ns()
        gates = (stage.iso.gate_ns(stage.day + timedelta(days=ahead)) for ahead in range(3))
        return next((gate_ns for gate_ns in gates if gate_ns > now_ns), None)

    return Sources(
        utility="Tieline demo territory", setting=setting, zone=ZONE.key, speed=speed, models=models,
        grid=lambda: stage_grid(stage), forecast=lambda: forecast, gate_ns=gate,
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
