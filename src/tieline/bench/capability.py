"""How long a request for the capability envelopes of a whole fleet takes, and how much of it holds up the beat."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.desk.envelopes import able, noticed
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Rows
from tieline.fleet.ledger import Ledger
from tieline.resource.identity import Kind
from tieline.simulate.territory import build

BAR = 0.100
UNIT = "s"
WHAT = "envelopes of each feeder of 10,000 devices (5 lengths, 3 notices, up and down), as the API answers: median"
LASTS_S, NOTICES_S, TURNS = (300.0, 900.0, 3_600.0, 7_200.0, 14_400.0), (60.0, 600.0, 86_400.0), 15


def reference(count: int, seed: int) -> DeskState:
    """Return a territory's desk whose devices were all just heard: at work at random, stores half full on average."""
    rng = np.random.default_rng(seed)
    fleet = build(count, rng).fleet
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    fleet.quality[:], fleet.taken_at_ns[:] = 0, 1
    fleet.power_w[:] = rng.uniform(-fleet.max_absorb_w, fleet.max_inject_w)
    fleet.energy_available_wh[:] = rng.random(count) * fleet.energy_wh
    state.base_w[:], state.reach_frac[:] = fleet.power_w, rng.uniform(0.9, 1.0, count)
    return state


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Time the columns (on the loop) and the sums (beside it), by feeder and of the pool as a whole."""
    state = reference(1_000 if quick else 10_000, seed)
    fleet = state.fleet
    feeders = [fleet.leaves(group.id) for group in fleet.groups_of(Kind.FEEDER)]
    whole_s, loop_s = _timed(state, feeders)
    pool_s, _ = _timed(state, [fleet.leaves("pool-1")])
    progress(f"{len(fleet):,} devices, {len(feeders)} feeders: {1e3 * whole_s:.1f} ms, on the loop {1e3 * loop_s:.1f}")
    return {
        "value": round(whole_s, 5), "ok": max(whole_s, pool_s) <= BAR, "devices": len(fleet), "feeders": len(feeders),
        "on_the_loop_s": round(loop_s, 5), "pool_s": round(pool_s, 5),
    }  # fmt: skip


def _timed(state: DeskState, members: list[Rows]) -> tuple[float, float]:
    """Return the medians of all that a request takes, and of the part between two beats (s)."""
    took, on_loop = [], []
    for _ in range(TURNS):
        began = time.perf_counter()
        can = able(state, np.arange(len(state.fleet), dtype=np.int32), LASTS_S, 2)
        on_loop.append(time.perf_counter() - began)
        found = can.of_groups(members, NOTICES_S)
        views = [(noticed(found["up"], k), noticed(found["down"], k)) for k in range(len(members))]
        took.append(time.perf_counter() - began)
        assert len(views) == len(members)
    return float(np.median(took)), float(np.median(on_loop))
