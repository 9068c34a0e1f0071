"""The owners of a stage's devices: what they feel is what they ask of the desk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from tieline.desk.ports import Ask
from tieline.node.stage import POOL, Stage
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.simulate.datasets import second_of_day
from tieline.simulate.owners import Owners
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

STAYS_OUT_NS = 4 * HOUR_NS
CALLED_W = 200.0


def keep_owners(stage: Stage, seed: int) -> Owners:
    """Let the owners decide after each beat, on devices that are called; returns them."""
    owners = Owners(stage.world, np.random.default_rng([seed, 41]))
    stage.node.after_beat.append(_decider(stage, owners))
    return owners


def _decider(stage: Stage, owners: Owners) -> Callable[[], Awaitable[None]]:
    last_ns = stage.node.clock.now_ns()

    async def decide() -> None:
        nonlocal last_ns
        now_ns = stage.node.clock.now_ns()
        if now_ns - last_ns < MINUTE_NS:
            return
        seconds, last_ns = (now_ns - last_ns) / SECOND_NS, now_ns
        called = np.abs(stage.node.cycle.pools[POOL].share_w) > CALLED_W
        for row in owners.step(second_of_day(now_ns), seconds, called).tolist():
            resource = stage.territory.fleet.id_of(row)
            await stage.node.desk.ask(
                Ask(
                    "owner:" + resource, "owner", "discomfort", Level.OWNER_NEED, resource, Quantity.CONNECT,
                    ClaimKind.GATE, 1, now_ns, now_ns + STAYS_OUT_NS, because="the owner felt it and opted out",
                )
            )  # fmt: skip

    return decide


def owners_report(stage: Stage, owners: Owners) -> dict[str, Any]:
    """Return how many opted out, of what, and what they felt beside all who were called."""
    fleet, rows = stage.territory.fleet, np.flatnonzero(owners.is_out)
    kinds: dict[str, int] = {}
    for row in rows.tolist():
        kind = fleet.kind_of(fleet.id_of(row)).value
        kinds[kind] = kinds.get(kind, 0) + 1
    felt, called = owners.felt_by_out, owners.felt_by_called
    return {
        "opted_out": len(rows), "by_kind": kinds,
        "discomfort_of_those": round(float(np.mean(felt)), 4) if felt else None,
        "discomfort_of_all_called": round(float(np.mean(called)), 4) if called else None,
    }  # fmt: skip
