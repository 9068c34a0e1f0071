"""How far a device can move, and how far one that is not heard may: what a group's limit counts it at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.authority import passing_w
from tieline.desk.disobedience import ignored
from tieline.desk.state import DeskState
from tieline.fleet.able import SUSTAIN_H, stored_wh, takes_wh
from tieline.fleet.columns import KINDS
from tieline.resource.hold import SWITCHED
from tieline.resource.identity import Kind

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
_GIVES_WAY = np.array([kind in SWITCHED or kind is Kind.EV_CHARGER for kind in KINDS])


def reach_w(state: DeskState, rows: Rows) -> tuple[Floats, Floats]:
    """Return how little each row can draw, and how little it can give, now (W, below 0: it does the contrary).

    By its rating, by what it says that it can move, and by what its store has to give, or room to take, for five
    minutes: an empty battery is no help to a feeder that draws too much, nor is the part of a load that can't be cut. A
    car's need and a room's comfort give way to a limit, so what those say is passed over. Behind the kill switch nobody
    reaches further than what may be sent to him.
    """
    fleet, (passes_low_w, passes_high_w) = state.fleet, passing_w(state, rows)
    now_w = fleet.power_or_0_w(rows)
    gives_way = _GIVES_WAY[fleet.kinds[rows]]
    stores, held_wh = fleet.max_inject_w[rows] > 0.0, stored_wh(fleet, rows)
    stores &= ~gives_way & (fleet.energy_wh[rows] > 0.0) & np.isfinite(held_wh)
    energies = np.maximum(held_wh, 0.0), takes_wh(fleet, rows)
    gives_w, takes_w = (np.where(stores, wh / SUSTAIN_H, np.inf) for wh in energies)
    up_w, down_w = fleet.available_up_w[rows], fleet.available_down_w[rows]
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    up_w = np.where(gives_way | np.isnan(up_w), np.inf, up_w)
    down_w = np.where(gives_way | np.isnan(down_w), np.inf, down_w)
    return (
        np.maximum.reduce([-inject_w, -now_w - up_w, -gives_w, -passes_high_w]),
        np.maximum.reduce([-absorb_w, now_w - down_w, -takes_w, passes_low_w]),
    )


def worst_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return the most (W) that a leaf may give, and draw, which was not heard just now: all that its caps let it."""
    fleet, last = state.fleet, state.commands
    alive = last.valid_until_ns[rows] > now_ns
    gives_w, draws_w = (
        np.where(alive, told_w, np.inf) for told_w in (last.leased_high_w[rows], -last.leased_low_w[rows])
    )
    return np.minimum(gives_w, fleet.max_inject_w[rows]), np.minimum(draws_w, fleet.max_absorb_w[rows])


def by_itself_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return the least and most (W) that a leaf that can't be reached may be at: its leased cap, or its default.

    Or where the command leaves it that it took last, for as long as that holds: a later one it may not have heard. So
    one that is called, or pressed by a limit, and lost before it is let go goes on.
    """
    fleet, last, default_w = state.fleet, state.commands, state.fleet.default_w[rows]
    alive = last.valid_until_ns[rows] > now_ns
    target_w = np.where(np.isfinite(last.target_w[rows]), last.target_w[rows], default_w)
    low_w, high_w = last.leased_low_w[rows], last.leased_high_w[rows]
    low_w = np.where(low_w > -fleet.max_absorb_w[rows], low_w, target_w)
    high_w = np.where(high_w < fleet.max_inject_w[rows], high_w, target_w)
    low_w, high_w = np.where(alive, low_w, default_w), np.where(alive, high_w, default_w)
    took_w = np.where(np.isfinite(last.leased_w[rows]), last.leased_w[rows], default_w)
    took_w = np.minimum(np.maximum(took_w, last.took_low_w[rows]), last.took_high_w[rows])
    took_w = np.where(last.leased_until_ns[rows] > now_ns, took_w, default_w)
    return np.minimum.reduce([low_w, default_w, took_w]), np.maximum.reduce([high_w, default_w, took_w])


def unheard_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return the most (W, 0 or more) that each of rows may give, and draw, if it can't be reached."""
    inject_w, absorb_w = state.fleet.max_inject_w[rows], state.fleet.max_absorb_w[rows]
    base_w = state.base_w[rows]
    alone_low_w, alone_high_w = by_itself_w(state, rows, now_ns)
    ignores, ignores_low = ignored(state, rows, now_ns)
    # A cap holds as long as the command that it came with; who knows of none, or keeps none, does as it likes.
    last, over = state.commands, state.commands.leased_until_ns[rows] <= now_ns
    free_low = over | ignores_low | (last.leased_low_w[rows] <= -absorb_w)
    free_high = over | ignores | (last.leased_high_w[rows] >= inject_w)
    most_w = np.maximum(np.where(free_high, np.maximum(alone_high_w, base_w), alone_high_w), 0.0)
    least_w = np.maximum(-np.where(free_low, np.minimum(alone_low_w, base_w), alone_low_w), 0.0)
    return most_w, least_w
