"""What a program event would do to the feeders: limits on paper, and a power flow with the event in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from tieline.desk.desk_views import EventPreview, FeederEffect
from tieline.desk.event_split import shares
from tieline.desk.screens import ComposeEvent
from tieline.desk.state import DeskState
from tieline.node.read_fleet import GridReading, Order, known_sum, limits_on_groups

Grid = Mapping[str, GridReading]
WhatIf = Callable[[NDArray[np.float64]], Grid]
MOST_EFFECTS = 12


def with_effects(
    state: DeskState,
    view: EventPreview,
    wish: ComposeEvent,
    order: Order,
    grid: Grid,
    what_if: WhatIf | None,
    now_ns: int,
) -> EventPreview:
    """Return a preview with the feeders it touches, worst first.

    Args:
        state: What the desk knows.
        view: The preview so far.
        wish: The event.
        order: Which feeder each row belongs to.
        grid: The last power flow of each feeder, which stands for now where there is no model.
        what_if: Gives the power flow with so much more power at each row (W); None: there is no model.
        now_ns: Now.
    """
    found_shares = shares(state, wish.group, wish.power_w, now_ns, wish.end_ns)
    rows = found_shares.rows
    added_w = np.zeros(len(state.fleet))
    # From where each device stands to where the event puts it.
    added_w[rows] = found_shares.target_w - state.fleet.power_or_0_w(rows)
    # Both as things stand now: beside a flow of a minute ago an event would seem to do what the minute did.
    before, after = (
        (what_if(np.zeros_like(added_w)), what_if(added_w)) if what_if is not None and len(rows) else (grid, {})
    )
    limits = limits_on_groups(state, now_ns)
    touched = np.bincount(order.group_of[rows], minlength=len(order.names))
    found = []
    for at in np.flatnonzero(touched).tolist():
        name = order.names[at]
        mine = order.rows[order.first[at] : order.first[at + 1]]
        power_w = known_sum(state.fleet.known_power_w(mine))
        then_w = None if power_w is None else power_w + float(added_w[mine].sum())
        high_w = limits.get(name, (None, None))[1]
        is_over = high_w is not None and then_w is not None and then_w > high_w + 1_000.0
        now, then = _worst(before.get(name)), _worst(after.get(name))
        found.append(
            FeederEffect(
                name, int(touched[at]), power_w, then_w, high_w, is_over,
                now[0], then[0], now[1], then[1], now[2], then[2],
            )
        )  # fmt: skip
    found.sort(key=lambda e: (-e.broken_after, not e.is_over, -(e.loading_after_frac or 0.0), e.feeder))
    return structs.replace(view, effects=tuple(found[:MOST_EFFECTS]))


def _worst(reading: GridReading | None) -> tuple[float | None, float | None, int]:
    """Return loading (1 = limit), lowest voltage (pu) and broken limits of a feeder; None without a power flow."""
    if reading is None:
        return None, None, 0
    lows, _, loads = reading.flow.worst()
    return float(loads[0]), float(lows[0]), len(reading.violations)
