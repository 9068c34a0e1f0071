"""What a pool of many kinds can promise: the power of all that may serve, and how long its stores last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.booking import Capacity, Stores
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.resource.identity import Kind

Rows = NDArray[np.int32]


def capacity_of(fleet: Fleet, rows: Rows) -> Capacity:
    """Return what the rows of a pool that may serve can promise together.

    Power both ways is what they can swing. Of what lasts upward sun is no part: it gives what it gives.
    """
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    most_w, held_wh = float(inject_w.sum() + absorb_w.sum()), fleet.energy_wh[rows]
    has_store = (held_wh > 0) & (inject_w > 0)  # a car or a tank that gives nothing back can wait as long as a load
    is_sun = fleet.kinds[rows] == KIND_CODE[Kind.PV]
    other_up_w = float(np.where(has_store | is_sun, 0.0, inject_w + absorb_w).sum())
    other_down_w = float(np.where(has_store, 0.0, inject_w + absorb_w).sum())
    give_w, take_w = float(inject_w[has_store].sum()), float(absorb_w[has_store].sum())
    if not has_store.any():
        return Capacity(most_w, most_w)
    stores = Stores(float(held_wh[has_store].sum()), give_w, take_w, other_up_w, other_down_w)
    return Capacity(most_w, most_w, stores=stores)
