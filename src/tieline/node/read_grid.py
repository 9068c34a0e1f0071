"""A feeder's one-line: its buses, branches, broken limits, and the limits that are in force on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.desk_views import (
    BranchView,
    BusView,
    FeederView,
    ViolationView,
)
from tieline.desk.state import DeskState
from tieline.desk.views import FeederRow
from tieline.grid.feeder import FeederModel, layout
from tieline.node.read_fleet import GridReading
from tieline.node.read_resource import _group_asks
from tieline.resource.identity import Purpose


def feeder_view(
    state: DeskState, row: FeederRow, model: FeederModel | None, grid: GridReading | None, mode: str, now_ns: int
) -> FeederView:
    """Return a feeder's one-line; without a model or a power flow only its figures and limits."""
    rows = state.fleet.leaves(row.feeder) if state.fleet.holds(row.feeder) else np.zeros(0, np.int32)  # unassigned
    asks = _group_asks(state, rows, now_ns)
    limits = tuple(view for view in asks if view.kind == "limit" and view.start_ns <= now_ns)
    if model is None or grid is None:
        return FeederView(row.feeder, state.revision, now_ns, mode, row, None, None, (), (), (), limits)
    x, y = layout(model)
    count = len(model.bus_v)
    net_w = np.bincount(grid.site_bus, grid.site_w, count)
    der_w, devices = _at_buses(state, row.feeder, count)
    buses = tuple(
        BusView(
            bus, float(x[bus]), float(y[bus]), float(grid.flow.voltage_pu[0, bus]), float(der_w[bus]),
            float(net_w[bus]), int(devices[bus]),
        )
        for bus in range(count)
    )  # fmt: skip
    branches = [
        BranchView(
            f"line {k}", "line", int(model.line_from[k]), int(model.line_to[k]), float(grid.flow.line_frac[0, k])
        )
        for k in range(len(model.line_from))
    ]
    branches += [
        BranchView(f"transformer {k}" if k else "transformer", "transformer", int(one), int(two), load)
        for k, (one, two) in enumerate(zip(model.trafo_from, model.trafo_to, strict=True))
        for load in (float(grid.flow.trafo_frac[0]),)
    ]
    broken = tuple(ViolationView(v.place, v.what, v.value, v.limit) for v in grid.violations)
    return FeederView(
        row.feeder, state.revision, now_ns, mode, row, float(model.min_pu[model.load_bus].max()),
        float(model.max_pu[model.load_bus].min()), buses, tuple(branches), broken, limits,
    )  # fmt: skip


def _at_buses(state: DeskState, feeder: str, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return DER power (W) and device count at each bus, by the bus groups of the fleet (`bus-FF-BBB`)."""
    fleet = state.fleet
    rows = fleet.leaves(feeder)
    parent = fleet.parents[Purpose.ELECTRICAL][rows]
    der_w, devices = np.zeros(count), np.zeros(count, np.int64)
    for group in np.unique(parent):
        tail = fleet.groups[int(group)].id.rpartition("-")[2] if group >= 0 else ""
        if tail.isdigit() and int(tail) < count:
            mine = rows[parent == group]
            der_w[int(tail)] = float(np.nansum(fleet.power_w[mine]))
            devices[int(tail)] = len(mine)
    return der_w, devices
