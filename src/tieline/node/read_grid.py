"""A feeder's one-line: its buses, branches, broken limits, and the limits that are in force on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.counted_loads import told_rule
from tieline.desk.desk_views import (
    AskedLimit,
    BranchView,
    BusView,
    FeederView,
    ViolationView,
)
from tieline.desk.scopes import key_of_ask
from tieline.desk.state import DeskState
from tieline.desk.views import FeederRow
from tieline.grid.feeder import FeederModel, layout
from tieline.node.read_control import WORDS
from tieline.node.read_fleet import GridReading, Order, feeder_limited
from tieline.node.read_resource import _group_asks, number
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Purpose
from tieline.times import FOREVER_NS


def feeder_view(
    state: DeskState,
    order: Order,
    row: FeederRow,
    model: FeederModel | None,
    grid: GridReading | None,
    mode: str,
    now_ns: int,
) -> FeederView:
    """Return a feeder's one-line; without a model or a power flow only its figures and limits."""
    rows = state.fleet.leaves(row.feeder) if state.fleet.holds(row.feeder) else np.zeros(0, np.int32)  # unassigned
    asked, known = _asked(state, order, row.feeder, now_ns)
    asks = _group_asks(state, rows, now_ns, known)
    limits = tuple(view for view in asks if view.kind == "limit" and view.start_ns <= now_ns)
    if model is None or grid is None:
        return FeederView(row.feeder, state.revision, now_ns, mode, row, None, None, (), (), (), limits, asked)
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
        asked,
    )  # fmt: skip


def _asked(state: DeskState, order: Order, feeder: str, now_ns: int) -> tuple[tuple[AskedLimit, ...], frozenset[str]]:
    """Return the limits in force on a feeder or its generation, tightest first, and the claims that hold them."""
    found, claims = list[AskedLimit](), set[str]()
    place = order.names.index(feeder)
    # Caps that moved are claims of another id than those that the ask became.
    shares = {key_of_ask(batch): (batch, alive) for batch, alive in state.claims.batches() if alive.any()}
    for key, live in state.asks.items():
        ask = live.ask
        is_giving = feeder_limited(state, order, ask.resource) == place
        if ask.kind is not ClaimKind.LIMIT or ask.quantity is not Quantity.P or not ask.start_ns <= now_ns < ask.end_ns:
            continue
        if ask.resource != feeder and not is_giving:
            continue
        batch, alive = shares.get(key, (None, np.zeros(0, np.bool_)))
        claims.add(live.claims if batch is None else batch.id)
        low_w, high_w = (
            (None, None) if batch is None else (number(batch.low[alive].sum()), number(batch.high[alive].sum()))
        )
        found.append(
            AskedLimit(
                ask.resource, "generation" if is_giving else "net power", int(ask.level), WORDS[ask.level], ask.source,
                number(ask.low), number(ask.high), live.start_ns, None if ask.end_ns == FOREVER_NS else ask.end_ns,
                ask.because, live.record, len(state.fleet.leaves(ask.resource)), low_w, high_w,
                told_rule(state, ask, now_ns),
            )
        )  # fmt: skip
    found.sort(key=lambda limit: (math.inf if limit.high_w is None else limit.high_w, limit.level, limit.resource))
    return tuple(found), frozenset(claims)


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
            der_w[int(tail)] = float(np.nansum(fleet.known_power_w(mine)))
            devices[int(tail)] = len(mine)
    return der_w, devices
