"""What a stage tells the console beyond its node: the feeder's model and flow, the forecast, the gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.node.read_fleet import GridReading
from tieline.node.reader import Sources
from tieline.node.stage import Stage
from tieline.plan.forecast import like_days
from tieline.simulate.iso.prices import ZONE, prices_of
from tieline.times import HOUR_NS, market_day, to_ns


def stage_sources(stage: Stage, speed: float = 1.0, setting: str = "DEMO") -> Sources:
    """Return the sources of a stage's console."""
    day = market_day(stage.day, ZONE)
    past = [stage.day - timedelta(days=back) for back in range(5, 0, -1)]
    hourly = like_days(np.concatenate([list(prices_of("HB_NORTH", d).values())[:24] for d in past]), 24)
    forecast = {day.start_ns + k * HOUR_NS: float(price) for k, price in enumerate(hourly)}
    gate_ns = to_ns(datetime.combine(stage.day - timedelta(days=1), time(23), tzinfo=ZONE))

    def gate() -> int | None:
        now_ns = stage.node.clock.now_ns()
        return gate_ns if now_ns < gate_ns else gate_ns + 24 * HOUR_NS

    return Sources(
        utility="Tieline demo territory", setting=setting, zone=ZONE.key, speed=speed, model=stage.flow.model,
        grid=lambda: stage_grid(stage), forecast=lambda: forecast, gate_ns=gate,
        what_if=lambda added_w: stage_grid(stage, added_w),
    )  # fmt: skip


def stage_grid(stage: Stage, added_w: NDArray[np.float64] | None = None) -> Mapping[str, GridReading]:
    """Return the power flow of every feeder of a stage now; none where a feeder has no solution.

    `added_w` asks what would be with so much more power at each device (W).
    """
    territory = stage.territory
    count = len(territory.feeders)
    site_w = stage.world.site_w()
    if added_w is not None:
        site_w = site_w + np.bincount(territory.site_of, added_w, len(site_w))
    by_feeder = site_w.reshape(count, -1)
    buses = territory.bus_of_site.reshape(count, -1)
    try:
        flow = stage.flow.solve(by_feeder)
    except Infeasible:
        return {}
    found: dict[str, GridReading] = {}
    for k, name in enumerate(territory.feeders):
        one = type(flow)(flow.voltage_pu[k : k + 1], flow.line_frac[k : k + 1], flow.trafo_frac[k : k + 1])
        found[name] = GridReading(one, stage.flow.violations(one), buses[k], by_feeder[k])
    return found
