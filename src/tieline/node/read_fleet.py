"""What the fleet looks like: a state and a loading for each device, feeder by feeder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.alarms import FLEET
from tieline.desk.disobedience import beyond
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.response import is_nearest, unresponsive
from tieline.desk.state import DeskState
from tieline.desk.views import FeederRow, FleetGrid, FleetGroup, Member
from tieline.fleet.columns import KINDS, Fleet
from tieline.grid.powerflow import Flow, Violation
from tieline.node.read_reached import steps_reached
from tieline.resource.command import Stage
from tieline.resource.identity import Kind, Purpose
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

NORMAL, LIMITED, SLOW, FAILED, STALE, OUT, UNKNOWN = range(7)
_GRAVITY = np.argsort([FAILED, SLOW, STALE, UNKNOWN, OUT, LIMITED, NORMAL])
"""Place of each state, the gravest 0."""
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class GridReading:
    """One feeder's state from a power flow: flow of one scenario, site buses and net site power (W)."""

    flow: Flow
    violations: list[Violation]
    site_bus: NDArray[np.int32]
    site_w: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """The order of the grid's cells: rows sorted by feeder, and where each feeder begins."""

    names: list[str]
    group_of: Rows
    rows: Rows
    first: NDArray[np.int64]


def order_of(fleet: Fleet) -> Order:
    """Return the cell order; devices without a feeder stand under `unassigned`."""
    feeders = fleet.groups_of(Kind.FEEDER)
    group_of = np.full(len(fleet), len(feeders), np.int32)
    for at, feeder in enumerate(feeders):
        group_of[fleet.leaves(feeder.id)] = at
    names = [feeder.id for feeder in feeders]
    if (group_of == len(feeders)).any():
        names.append("unassigned")
    rows = np.argsort(group_of, kind="stable").astype(np.int32)
    first = np.searchsorted(group_of[rows], np.arange(len(names) + 1))
    return Order(names, group_of, rows, first.astype(np.int64))


def states(state: DeskState, pools: Mapping[str, PoolDesk], now_ns: int, *, by_meter: bool = True) -> NDArray[np.uint8]:
    """Return the cell state of each row; the gravest that holds.

    `by_meter`: a command without an answer is no failure where the meter shows it. Alarms count such all the same: that
    answers are lost is told though devices obey.
    """
    fleet, commands = state.fleet, state.commands
    cells = np.zeros(len(fleet), np.uint8)
    in_force = commands.valid_until_ns > now_ns
    cells[in_force & (commands.high_w < fleet.power_w + 1.0) & (commands.high_w < fleet.max_inject_w)] = LIMITED
    failed = in_force & np.isin(commands.stage, (int(Stage.REJECTED), int(Stage.UNCONFIRMED)))
    rows = np.flatnonzero(failed).astype(np.int32)
    # Who comes back in turn does so soon, whatever it does meanwhile: a limit that still holds is looked at below.
    rows = rows[~is_nearest(state, rows) & (state.release_at_ns[rows] <= now_ns)]
    if by_meter:
        *_, is_verified = steps_reached(state, rows, now_ns)
        rows = rows[~is_verified]
    cells[rows] = FAILED
    cells[beyond(state, np.arange(len(fleet), dtype=np.int32), now_ns)] = FAILED
    cells[unresponsive(state.responses, now_ns)] = SLOW
    cells[(fleet.quality & int(UNFIT_FOR_DISPATCH)) != 0] = STALE
    cells[state.opted_out] = OUT
    cells[fleet.taken_at_ns == 0] = UNKNOWN
    return cells


def grid_of(state: DeskState, order: Order, cells: NDArray[np.uint8], now_ns: int) -> FleetGrid:
    """Return the fleet grid."""
    loading = _loading(state.fleet)
    counts = np.bincount(order.group_of.astype(np.int64) * 8 + cells, minlength=8 * len(order.names)).reshape(-1, 8)
    groups = tuple(
        FleetGroup(
            name, int(order.first[at]), int(order.first[at + 1] - order.first[at]),
            int(counts[at, SLOW:].sum() - counts[at, OUT]), tuple(counts[at, :7].tolist()),
        )
        for at, name in enumerate(order.names)
    )  # fmt: skip
    return FleetGrid(state.revision, now_ns, groups, cells[order.rows].tobytes(), loading[order.rows].tobytes())


def _loading(fleet: Fleet) -> NDArray[np.uint8]:
    rated_w = np.maximum(np.maximum(fleet.max_inject_w, fleet.max_absorb_w), 1.0)
    return np.clip(np.abs(np.nan_to_num(fleet.power_w)) / rated_w * 255.0, 0, 255).astype(np.uint8)


def rows_of(fleet: Fleet, order: Order, group: str) -> Rows:
    """Return the devices of a group, those of a feeder in grid order. Raises KeyError where there is no such group."""
    if group not in order.names:
        return fleet.leaves(group)
    place = order.names.index(group)
    return order.rows[order.first[place] : order.first[place + 1]]


def worst_first(fleet: Fleet, rows: Rows, cells: NDArray[np.uint8]) -> Rows:
    """Return rows by gravity as the grid paints them, of one state those first that move most of their rating."""
    key = _GRAVITY[cells[rows]].astype(np.uint16) * 256 + (255 - _loading(fleet)[rows])
    return rows[np.argsort(key, kind="stable")]


def members_of(state: DeskState, rows: Rows, cells: NDArray[np.uint8], now_ns: int) -> list[Member]:
    """Return devices as a list shows them, in the order of their rows."""
    fleet, found = state.fleet, list[Member]()
    for row in rows.tolist():
        power_w, taken_ns = float(fleet.power_w[row]), int(fleet.taken_at_ns[row])
        age_s = (now_ns - taken_ns) / SECOND_NS if taken_ns else None
        kind = KINDS[fleet.kinds[row]].value
        found.append(Member(fleet.id_of(row), kind, int(cells[row]), None if power_w != power_w else power_w, age_s))
    return found


def feeder_rows(
    state: DeskState, order: Order, cells: NDArray[np.uint8], grid: Mapping[str, GridReading], now_ns: int
) -> list[FeederRow]:
    """Return the feeders, worst first: broken limits, then abnormal devices."""
    limits = limits_on_groups(state, now_ns)
    giving = _giving_limits(state, order, limits)
    found = [
        _feeder_row(state, order, cells, grid.get(name), at, limits, giving.get(at))
        for at, name in enumerate(order.names)
    ]
    return sorted(found, key=lambda row: (-row.violations, not _is_limited(row), -row.abnormal, row.feeder))


def _is_limited(row: FeederRow) -> bool:
    return row.limit_high_w is not None or row.limit_given_w is not None


def _giving_limits(
    state: DeskState, order: Order, limits: Mapping[str, tuple[float | None, float | None]]
) -> dict[int, float]:
    """Return the tightest limit (W) on what the devices of a feeder give, by the feeder's place in the order."""
    found: dict[int, float] = {}
    for group, (_, high_w) in limits.items():
        if high_w is not None and (at := feeder_limited(state, order, group)) is not None:
            found[at] = min(high_w, found.get(at, high_w))
    return found


def feeder_limited(state: DeskState, order: Order, group: str) -> int | None:
    """Return the place of the feeder whose generation a group is, or None where it is no such group."""
    fleet = state.fleet
    if not fleet.holds(group) or fleet.kind_of(group) is not Kind.GENERATION:
        return None
    places = np.unique(order.group_of[fleet.leaves(group)])
    return int(places[0]) if len(places) == 1 else None


def limits_on_groups(state: DeskState, now_ns: int) -> dict[str, tuple[float | None, float | None]]:
    """Return the limits in force on each group as asked (W; None: open).

    A limit is a lease: the desk keeps the ask until a beat notes that it lapsed, but it binds nobody after its end.
    """
    found: dict[str, tuple[float | None, float | None]] = {}
    for live in state.asks.values():
        ask = live.ask
        holds = ask.start_ns <= now_ns < ask.end_ns
        if holds and ask.kind.value == "limit" and ask.quantity.value == "P":
            low, high = found.get(ask.resource, (None, None))
            low = _tighter(low, ask.low, max)
            high = _tighter(high, ask.high, min)
            found[ask.resource] = (low, high)
    return found


def _tighter(held: float | None, new: float, pick: object) -> float | None:
    if abs(new) == float("inf"):
        return held
    chosen: float = new if held is None else pick(held, new)  # type: ignore[operator]
    return chosen


def _feeder_row(
    state: DeskState,
    order: Order,
    cells: NDArray[np.uint8],
    grid: GridReading | None,
    at: int,
    limits: Mapping[str, tuple[float | None, float | None]],
    limit_given_w: float | None,
) -> FeederRow:
    name = order.names[at]
    rows = order.rows[order.first[at] : order.first[at + 1]]
    low_w, high_w = limits.get(name, (None, None))
    bad = int(np.isin(cells[rows], (SLOW, FAILED, STALE, UNKNOWN)).sum())
    measured_w = state.fleet.known_power_w(rows)
    power_w = known_sum(measured_w)
    low_pu = high_pu = loading = None
    broken = 0
    if grid is not None:
        lows, highs, loads = grid.flow.worst()
        low_pu, high_pu, loading, broken = float(lows[0]), float(highs[0]), float(loads[0]), len(grid.violations)
    given = given_w(measured_w)
    return FeederRow(
        name, len(rows), power_w, bad, low_w, high_w, low_pu, high_pu, loading, broken, given, limit_given_w
    )  # fmt: skip


def above_all(fleet: Fleet, named: str) -> str:
    """Return the group over all feeders: the one named, else the only substation, else `FLEET`."""
    if fleet.holds(named):
        return named
    substations = fleet.groups_of(Kind.SUBSTATION)
    return substations[0].id if len(substations) == 1 else FLEET


def known_sum(values: NDArray[np.float64]) -> float | None:
    """Return the sum of what is known, None where nothing is: unknown is never 0."""
    known = np.isfinite(values)
    return float(values[known].sum()) if known.any() else None


def given_w(values: NDArray[np.float64]) -> float | None:
    """Return the sum of what is given (W), what is taken left out; None where nothing is known."""
    known = np.isfinite(values)
    return float(np.maximum(values[known], 0.0).sum()) if known.any() else None


def purposes(fleet: Fleet) -> list[Purpose]:
    """Return the purposes for which devices have parents."""
    return [purpose for purpose in Purpose if purpose in fleet.parents]
