"""Under a group's limit an owner who opted out is called upon before anybody is pushed beyond a limit of its own."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.desk.ports import Granted
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


class Street(Stage1):
    """Batteries at rest on one feeder, that do within the minute what they are told."""

    def __init__(self, count: int) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * count, per_feeder=count))
        fleet = self.state.fleet
        fleet.energy_available_wh[:] = 1e5
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = np.inf

    async def held(self, resource: str, level: Level, low_w: float, high_w: float) -> None:
        limit = self.ask(
            "owner" if level is Level.OWNER_NEED else "dso", level, resource, ClaimKind.LIMIT, source=f"s:{resource}", low=float(low_w), high=float(high_w),
            end_ns=self.clock.ns + HOUR_NS,
        )  # fmt: skip
        assert isinstance(await self.desk.ask(limit), Granted)

    async def minutes(self, count: int) -> np.ndarray:
        """Let minutes pass; return what each may give at most in every one (W), shape (count, n)."""
        seen, rows = [], np.arange(len(self.state.fleet), dtype=np.int32)
        for _ in range(count):
            fleet = self.state.fleet
            fleet.taken_at_ns[:] = self.clock.ns
            fleet.available_up_w[:] = fleet.max_inject_w - fleet.power_w
            fleet.available_down_w[:] = fleet.max_absorb_w + fleet.power_w
            await self.desk.commit(groups.decide_regulation(self.state, self.clock.ns))
            await self.desk.settle()
            settled = self.state.claims.arbitrate(self.clock.ns, rows)
            fleet.power_w[:] = does_w = np.clip(fleet.power_w, settled.low_w, settled.high_w)
            seen.append(does_w)
            self.clock.ns += MINUTE_NS
        return np.array(seen)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_a_feeder_must_draw_or_give_an_opted_out_store_does_and_none_goes_beyond_its_owners_limit(
    side: float,
) -> None:
    async def main() -> None:
        stage = Street(3)
        size_w = stage.state.fleet.max_absorb_w[0]
        stage.state.opted_out[0] = True
        await stage.held("r1", Level.OWNER_NEED, -0.1 * size_w, 0.1 * size_w)
        ends = sorted((-side * 3.0 * size_w, -side * 1.3 * size_w))
        await stage.held("feeder-1", Level.ENVELOPE, *ends)
        for does_w in await stage.minutes(6):
            assert abs(does_w[1]) <= 0.1 * size_w + 1.0
            assert side * does_w.sum() <= -1.3 * size_w + 1.0
        assert side * does_w[0] <= -0.19 * size_w

    asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([None, 0.0, 0.1, 0.5]), st.sampled_from([-1.0, -0.3, 0.0, 0.3, 1.0])),
        min_size=2, max_size=6,
    ),
    st.floats(0.05, 0.95), st.sampled_from([1.0, -1.0]),
)  # fmt: skip
def test_nobody_is_beyond_a_limit_of_its_own_while_any_other_has_room(
    stores: list[tuple[bool, float | None, float]], part: float, side: float
) -> None:
    async def main() -> None:
        stage = Street(len(stores))
        size_w, own_w = float(stage.state.fleet.max_absorb_w[0]), np.full(len(stores), np.inf)
        for row, (is_out, own, starts) in enumerate(stores):
            stage.state.opted_out[row] = is_out
            if own is not None:
                own_w[row] = own * size_w
                await stage.held(f"r{row}", Level.OWNER_NEED, -own_w[row], own_w[row])
            stage.state.fleet.power_w[row] = starts * min(own_w[row], size_w)
        most_w = part * size_w * len(stores)
        ends = sorted((-side * size_w * len(stores), -side * most_w))
        await stage.held("feeder-1", Level.ENVELOPE, *ends)
        for does_w in await stage.minutes(4):
            draws_w = -side * does_w
            assert draws_w.sum() >= most_w - 1.0
            if (draws_w > own_w + 1.0).any():
                assert (draws_w >= np.minimum(own_w, size_w) - 1.0).all(), draws_w

    asyncio.run(main())
