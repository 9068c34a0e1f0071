"""What a pool can still add or take, by how soon it is there and by what a product asks for.

A kilowatt counts for a product where its device moves soon enough and holds long enough: `headroom` spreads stored
energy over the hold, and what the pool gives already is taken off, so that nothing is offered twice on a screen.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tieline.desk.pool_desk import PoolDesk
from tieline.desk.redispatch import headroom, serving
from tieline.desk.response import seconds_to_reach
from tieline.desk.state import DeskState
from tieline.desk.views import Reach
from tieline.fleet.columns import Floats

MINUTES = (1, 5, 10, 30)


class Product(Struct, frozen=True):
    """What a market product asks of a kilowatt: there within `reach_s`, held for `hold_s`."""

    key: str
    says: str
    reach_s: float
    hold_s: float


PRODUCTS = (
    Product("energy", "Energy, 5-minute dispatch", 300.0, 3_600.0),
    Product("reserve-10", "10-minute reserve", 600.0, 3_600.0),
    Product("reserve-30", "30-minute reserve", 1_800.0, 7_200.0),
)
"""Energy dispatched each 5 minutes, and the two contingency reserves named by their minutes that most ISOs buy."""


def reach_of(state: DeskState, pool: PoolDesk, now_ns: int) -> tuple[Reach, ...]:
    """Return what a pool can still add and take for each product, and within each of `MINUTES` (W)."""
    soon_s = seconds_to_reach(state, pool.rows)
    held: dict[float, tuple[Floats, Floats]] = {}
    found = []
    for product in PRODUCTS:
        if product.hold_s not in held:
            held[product.hold_s] = _free(state, pool, product.hold_s / 3_600.0, now_ns)
        up_w, down_w = held[product.hold_s]
        # Summed over all rows, so that rounding can't make more minutes give less.
        within = [soon_s <= min(60.0 * minute, product.reach_s) for minute in MINUTES]
        found.append(
            Reach(
                product.key, product.says, product.reach_s, product.hold_s, MINUTES,
                tuple(float((up_w * mask).sum()) for mask in within),
                tuple(float((down_w * mask).sum()) for mask in within),
            )
        )  # fmt: skip
    return tuple(found)


class Available(Struct, frozen=True):
    """What a screen offers of a pool (W): fields as in `Overview`."""

    reach: tuple[Reach, ...] = ()
    up_w: float | None = None
    down_w: float | None = None
    is_stopped: bool = False
    unstopped_up_w: float | None = None
    unstopped_down_w: float | None = None


def available_of(state: DeskState, pool: PoolDesk | None, now_ns: int) -> Available:
    """Return what a pool has still to give; behind the kill switch nothing, as the market is told."""
    if pool is None:
        return Available()
    heard = bool((state.fleet.taken_at_ns[pool.rows] > 0).any())
    reach = reach_of(state, pool, now_ns) if heard else ()
    up_w, down_w = (reach[0].up_w[1], reach[0].down_w[1]) if reach else (None, None)
    if not state.is_killed:
        return Available(reach, up_w, down_w)
    none_w = (0.0,) * len(MINUTES)
    return Available(
        tuple(replace(row, up_w=none_w, down_w=none_w) for row in reach), 0.0, 0.0, True, up_w, down_w
    )  # fmt: skip


def _free(state: DeskState, pool: PoolDesk, hours: float, now_ns: int) -> tuple[Floats, Floats]:
    serves = serving(state, pool.rows, pool.eligible, now_ns)
    room = headroom(state, pool.rows, serves, pool.price, hours, now_ns)
    up_w = np.where(room.may_serve, np.maximum(room.up_w - pool.share_w, 0.0), 0.0)
    down_w = np.where(room.may_serve, np.maximum(room.down_w + pool.share_w, 0.0), 0.0)
    return up_w, down_w
