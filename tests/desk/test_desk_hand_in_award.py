"""Whom his owner moves by hand in an award gives what his meter says, and nothing that our timers presume of him."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import AWARD_W, FREE_W, HEATER, OTHER_HEATER, Hour

from tieline.desk.cycle import Cycle
from tieline.times import SECOND_NS

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
        self.pool.share_w, self.pool.obligation, self.pool.tally, self.pool.holds = (
            np.zeros(len(FREE_W)),
            None,
            None,
            None,
        )
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
