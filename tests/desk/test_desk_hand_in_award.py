"""Whom his owner moves by hand in an award gives what his meter says, and nothing that our timers presume of him."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import AWARD_W, FREE_W, HEATER, HOUR, OTHER_HEATER, Hour
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.cycle import Cycle
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.lost import fill, fill_net
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Granted
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

LEAST_S = 600.0
"""So long a heater's own timer keeps it off."""


class Moved(Hour):
    """Heaters are called with the batteries; somebody turns some of them on again."""

    def __init__(self) -> None:
        super().__init__((1, 1), by_schedule=False)
        self.state.fleet.min_hold_s[[HEATER, OTHER_HEATER]] = LEAST_S
        self.pool.price[[HEATER, OTHER_HEATER]] = 0.0
        self.by_hand = np.zeros(len(FREE_W), np.bool_)

    def turn_on(self, rows: list[int]) -> None:
        self.by_hand[rows] = True

    def obey(self) -> None:
        super().obey()
        self.power_w = np.where(self.by_hand, FREE_W, self.power_w)

    def read(self, rows: np.ndarray) -> None:
        super().read(rows)
        if hasattr(self, "by_hand"):
            self.state.fleet.column("is_local")[rows] = self.by_hand[rows]
            self.state.fleet.available_up_w[rows & self.by_hand] = 0.0

    def restart(self) -> None:
        """Have another server take the journal up; what was measured last is known."""
        self.state.claims.set_local(np.zeros(len(FREE_W), np.bool_))
        was = self.pool
        self.pool = PoolDesk(was.pool, was.rows, was.price, was.eligible, np.zeros(len(FREE_W)))
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})


@pytest.mark.parametrize("is_restarted", [False, True], ids=["while it runs", "before a start"])
def test_others_stand_in_at_the_next_beat_for_who_was_turned_on_by_hand_in_his_least_time(is_restarted: bool) -> None:
    async def play() -> Moved:
        stage = Moved()
        await stage.until(130)
        assert stage.given_w[-1] == pytest.approx(AWARD_W, rel=0.02)
        assert (np.abs(stage.pool.share_w[[HEATER, OTHER_HEATER]]) > 1.0).all(), "both are called"
        stage.turn_on([HEATER])
        if is_restarted:
            stage.restart()
        await stage.until(180 + 5)
        return stage

    stage = asyncio.run(play())
    holds = stage.state.claims.holds
    assert holds.until_ns[HEATER] > stage.clock.ns + 60 * SECOND_NS, "its timer says that it is off"
    assert stage.given_w[-1] == pytest.approx(AWARD_W, rel=0.02)


BATTERIES = [0, 1, 2, 6]


class Short(Moved):
    """Four batteries of 5 kW may serve 12 kW: without one they can, without two they can't."""

    def __init__(self) -> None:
        super().__init__()
        self.pool.eligible[:] = np.isin(np.arange(len(FREE_W)), BATTERIES)

    async def opt_out(self, row: int) -> None:
        gate = {"quantity": Quantity.CONNECT, "end_ns": HOUR + HOUR_NS}
        asked = self.stage.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, **gate)
        assert isinstance(await self.desk.ask(asked), Granted)

    @property
    def causes(self) -> list[dict[str, float]]:
        records = self.stage.journal.records
        return [fact.causes for r in records if isinstance(fact := from_record(r), IntervalTracked)]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["while it runs", "before a start"])
@pytest.mark.parametrize("is_hand_first", [False, True], ids=["opt-out first", "hand first"])
def test_a_lack_is_put_to_who_goes_as_it_begins_and_not_to_who_was_made_up_for(
    is_hand_first: bool, is_restarted: bool
) -> None:
    async def play() -> Short:
        stage = Short()

        async def out() -> None:
            await stage.opt_out(0)

        async def hand() -> None:
            stage.turn_on([1])

        first, then = (hand, out) if is_hand_first else (out, hand)
        await stage.until(30)
        await first()
        await stage.until(290)
        assert stage.given_w[-1] == pytest.approx(AWARD_W, rel=0.02), "the others make up for one"
        await then()
        if is_restarted:
            stage.restart()
        await stage.until(670)
        return stage

    causes = asyncio.run(play()).causes[-1]
    lacks_w = AWARD_W - 10_000.0
    assert causes == pytest.approx({"opt_out" if is_hand_first else "foreign_control": lacks_w}, rel=0.05)


def test_what_lacks_as_heaters_were_let_go_too_short_a_time_ago_is_put_to_their_own_timers() -> None:
    async def play() -> Short:
        stage = Short()
        stage.pool.eligible[:] = np.isin(np.arange(len(FREE_W)), [HEATER, OTHER_HEATER])
        await stage.instruct(6_000.0)
        await stage.until(700)
        await stage.instruct(0.0)
        await stage.until(880)
        await stage.instruct(6_000.0)
        await stage.until(1_270)
        return stage

    stage = asyncio.run(play())
    causes = stage.causes[-1]
    assert set(causes) == {"own_limit"} and causes["own_limit"] > 1_000.0, stage.causes


LOSSES = st.dictionaries(st.sampled_from(["dno_limit", "opt_out", "foreign_control", "offline"]), st.floats(0.0, 9e3))


@given(st.floats(0.0, 3e4), LOSSES, LOSSES)
def test_a_lack_is_told_whole_of_nobody_more_than_it_took_and_first_of_who_was_not_made_up_for(
    lacking_w: float, lost_w: dict[str, float], made_up_w: dict[str, float]
) -> None:
    found = fill_net(lacking_w, lost_w, made_up_w, "unavailable")
    assert sum(found.values()) == pytest.approx(lacking_w, abs=1e-6)
    assert all(found.get(name, 0.0) <= watts + 1e-6 for name, watts in lost_w.items())
    fresh_w = {name: max(watts - made_up_w.get(name, 0.0), 0.0) for name, watts in lost_w.items()}
    if sum(fresh_w.values()) >= lacking_w:
        assert all(found.get(name, 0.0) <= watts + 1e-6 for name, watts in fresh_w.items())
    assert fill_net(lacking_w, lost_w, {}, "unavailable") == pytest.approx(fill(lacking_w, lost_w, "unavailable"))
