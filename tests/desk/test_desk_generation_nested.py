"""A limit on what a feeder generates beside limits on net power that have its stores draw: no taking makes giving good."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from nest_stage import MAKES, SUB, Nest

from sampled import some


@pytest.mark.parametrize("seed", some(range(40), 16))
def test_what_a_feeder_generates_stays_within_its_limit_whatever_another_has_its_stores_draw(seed: int) -> None:
    """Told to draw by the substation's limit, a store let the roofs give that much beyond theirs: by up to 1.2 kW."""

    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        nest.state.counted = frozenset()
        gives_w = {group: float(np.maximum(nest.wish_w[nest.state.fleet.leaves(group)], 0.0).sum())
                   for group in (MAKES, SUB)}  # fmt: skip
        await nest.limits({name: (-np.inf, 100.0 * drawn.randint(0, int(w / 100))) for name, w in gives_w.items()})
        for _ in range(16):
            await nest.play(1)
            assert nest.above_w() <= 1.0, {group: nest.net_of_w(group) for group in nest.ends}

    asyncio.run(play())


@pytest.mark.parametrize("seed", [29, 41, 44])
def test_where_nothing_may_feed_in_nobody_does_though_another_limit_has_stores_draw(seed: int) -> None:
    """Crews work there: 57 to 150 W were fed in, at every other beat."""

    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        nest.state.counted = frozenset()
        fleet = nest.state.fleet
        draws_w = float(fleet.max_absorb_w[fleet.max_inject_w > 0.0].sum())
        await nest.limits({MAKES: (-np.inf, 0.0), SUB: (-np.inf, -100.0 * drawn.randint(0, int(draws_w / 100)))})
        for _ in range(14):
            await nest.play(1)
            assert nest.net_of_w(MAKES) <= 1.0, nest.does_w

    asyncio.run(play())
