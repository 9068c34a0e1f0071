"""What a plan of a mixed pool says: schedules by kind, what is proven, prices by band, and what gave way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan.pool_words import GaveWay

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MixedPlan:
    """A schedule that every device can follow, and what is proven of it; powers in W, positive into the grid.

    `stores_w`, `gensets_w`, `contracts_w` and `heaters_w` are shape (n, T) of each kind, `stored_wh` what stores hold
    and `heated_wh` what heaters hold after each step. `net_w` (T,) is the pool's power with its base, `feeder_w` (F, T)
    what each feeder's devices and those of the feeders below it do. `cost` counts energy, wear, fuel, starts, calls,
    adders and slack; `slack_cost` and `adder_cost` are parts of it. No schedule costs less than `bound` (bounds of
    devices that gave way as they did); `gap` is the difference and `gap_frac` its share of the cost. `price_per_wh`
    (T,) is what one more Wh asked of the pool would cost, `feeder_price_per_wh` (F, T) what a feeder's band adds to
    that: above 0 where it could give no more, below 0 where it could draw no more. Both are those that prove the
    bound. `gave_way` says in words what could not be kept.
    """

    stores_w: Floats
    gensets_w: Floats
    contracts_w: Floats
    heaters_w: Floats
    stored_wh: Floats
    heated_wh: Floats
    net_w: Floats
    feeder_w: Floats
    cost: float
    slack_cost: float
    adder_cost: float
    bound: float
    gap: float
    gap_frac: float
    price_per_wh: Floats
    feeder_price_per_wh: Floats
    gave_way: tuple[GaveWay, ...]
    rounds: int
    passes: int


def device_words(kind: str, off: Floats, met: float, says: str) -> tuple[GaveWay, ...]:
    """Return which devices of a kind gave way by more than `met`, in the words of `says` (with {n} and {off}).

    Args:
        off: By how much; shape (n,), in what `says` names.
    """
    return tuple(
        GaveWay(kind, None, 0, 0, float(off[n]), float(off[n]), 0.0, says.format(n=int(n), off=f"{off[n]:.6g}"))
        for n in np.flatnonzero(off > met)
    )  # fmt: skip
