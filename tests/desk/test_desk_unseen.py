"""Who is lost after it took its call goes on by its lease: nobody is called for it, and nothing of it is claimed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from test_desk_declares import HOUR

from tieline.desk.cycle import Cycle, PoolDesk
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.ports import Award, Instruction
from tieline.desk.unseen import goes_on_w
from tieline.fleet.columns import KIND_CODE
from tieline.resource.identity import Kind
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS

AWARD_W, RATED_W = 12_000.0, 5_000.0


@dataclass
class Seen:
    """What a desk and its devices did, a minute each."""

    true_w: np.ndarray
    leased: np.ndarray
    share_w: np.ndarray
    missed: bool
    tracked: list[IntervalTracked]


class Stores(Stage1):
    """Six stores of 5 kW that owe 12 kW, of which the first can be lost; they rest when nobody commands them."""

    def __init__(self, side: float = 1.0, award_w: float = AWARD_W) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * 6))
        self.state.fleet.energy_available_wh[:] = 5_000.0
        rows = self.state.fleet.leaves("pool-1")
        self.pool = PoolDesk("pool-1", rows, np.zeros(6), np.ones(6, np.bool_), np.zeros(6))
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, side * award_w, 50.0)
        self.clock.ns = HOUR
        self.lost = self.deaf = self.broken = False
        self.devices.hears = self.in_reach

    def in_reach(self, count: int) -> np.ndarray:
        """Say which rows of the last batch it reaches."""
        return ~((self.devices.batches[-1].rows == 0) & (self.lost or self.deaf))

    def true_w(self) -> np.ndarray:
        """Return what each gives: what it was told last, until its own timer ends."""
        held = np.where(self.devices.until_ns > self.clock.ns, np.nan_to_num(self.devices.target_w), 0.0)
        held[0] *= not self.broken
        return held

    async def play(self, minutes: int, lost: range) -> Seen:
        """Beat for some minutes, in some of which the first is lost."""
        found: list[tuple[np.ndarray, bool, np.ndarray]] = []
        fleet = self.state.fleet
        for minute in range(minutes):
            self.lost = minute in lost
            seen = np.arange(6) >= int(self.lost)
            fleet.power_w[seen], fleet.taken_at_ns[seen] = self.true_w()[seen], self.clock.ns
            fleet.quality[:] = np.where(seen, 0, int(Quality.COMM_LOST))
            await self.cycle.beat(self.clock.ns)
            await self.desk.flush()
            self.clock.ns += MINUTE_NS
            found.append((self.true_w(), bool(self.devices.until_ns[0] > self.clock.ns), self.pool.share_w.copy()))
        tracked = [f for r in self.journal.records if isinstance(f := from_record(r), IntervalTracked)]
        true_w, leased, share_w = (np.array(each) for each in zip(*found, strict=True))
        return Seen(true_w, leased, share_w, bool((self.state.missed_until_ns > 0).any()), tracked)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_nobody_is_called_for_one_that_took_its_call_and_goes_on_by_its_lease(side: float) -> None:
    seen = asyncio.run(Stores(side).play(26, range(7, 12)))
    assert seen.true_w.sum(axis=1) == pytest.approx(np.full(26, side * AWARD_W), rel=0.01)
    assert abs(seen.true_w[-1, 0]) == pytest.approx(RATED_W), "and as it comes back it goes on"
    assert not seen.missed


def test_what_is_given_unseen_is_no_delivery_and_teaches_nobody_to_give_more() -> None:
    """It is lost for the five minutes of an interval and one beyond."""
    seen = asyncio.run(Stores().play(26, range(6, 12)))
    counted = {round((each.start_ns - HOUR) / MINUTE_NS): each for each in seen.tracked}
    unseen, after = counted[5], counted[15]
    assert unseen.delivered_w == pytest.approx(AWARD_W - RATED_W, rel=0.01), "no meter said more"
    assert unseen.causes == pytest.approx({"offline": RATED_W}, rel=0.01)
    assert after.delivered_w == pytest.approx(AWARD_W, rel=0.01) and after.causes == {}


def test_others_are_called_for_a_lost_one_as_soon_as_its_lease_is_over() -> None:
    seen = asyncio.run(Stores().play(40, range(4, 40)))
    assert seen.leased[:10].all() and not seen.leased[30:].any()
    over = int(np.argmin(seen.leased))
    sum_w = seen.true_w.sum(axis=1)
    assert sum_w[:over] == pytest.approx(np.full(over, AWARD_W), rel=0.01)
    assert sum_w[over + 1 :] == pytest.approx(np.full(39 - over, AWARD_W), rel=0.01)
    assert seen.true_w[-1, 0] == 0.0


def test_others_are_called_at_once_for_one_that_was_silent_as_it_was_called() -> None:
    stage = Stores()
    stage.deaf = True
    seen = asyncio.run(stage.play(8, range(1, 8)))
    assert seen.true_w[2:].sum(axis=1) == pytest.approx(np.full(6, AWARD_W), rel=0.01)
    assert (seen.share_w[1:, 0] == 0.0).all()


def test_others_are_called_at_once_for_one_that_did_not_follow_as_it_was_last_seen() -> None:
    stage = Stores()
    stage.broken = True
    seen = asyncio.run(stage.play(8, range(2, 8)))
    assert seen.true_w[3:].sum(axis=1) == pytest.approx(np.full(5, AWARD_W), rel=0.01)


def test_a_lost_store_is_counted_on_for_no_longer_than_its_energy_lasts() -> None:
    """500 Wh are six minutes of 5 kW, from when it was seen last."""

    async def play() -> list[float]:
        stage = Stores()
        await stage.play(3, range(0))
        fleet, pool, last_ns = stage.state.fleet, stage.pool, int(stage.state.fleet.taken_at_ns[0])
        fleet.quality[0], fleet.energy_available_wh[0] = int(Quality.COMM_LOST), 500.0
        return [
            goes_on_w(stage.state, pool.pool, pool.rows, pool.eligible, pool.share_w, last_ns + minutes * MINUTE_NS)[0]
            for minutes in (1, 5, 7)
        ]

    assert asyncio.run(play()) == [RATED_W, RATED_W, 0.0]


def test_of_one_that_may_have_heard_that_it_was_let_go_nothing_is_counted_on() -> None:
    """The award ends as it is lost, and another begins before its lease is over."""
    stage = Stores()
    stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + 5 * MINUTE_NS, AWARD_W, 50.0)
    stage.state.awards["b"] = Award("b", "o", "pool-1", "ENERGY", HOUR + 8 * MINUTE_NS, HOUR + HOUR_NS, AWARD_W, 50.0)
    seen = asyncio.run(stage.play(14, range(3, 14)))
    assert seen.share_w[4, 0] == pytest.approx(RATED_W)
    assert (seen.share_w[9:, 0] == 0.0).all()
    assert seen.share_w[9:].sum(axis=1) == pytest.approx(np.full(5, AWARD_W), rel=0.01)


def test_of_a_thermostat_less_is_counted_on_the_longer_it_is_lost_and_it_is_told_no_less() -> None:
    """Its room may call it back: half of it counts after ten minutes, and others give the rest."""
    stage = Stores()
    stage.state.fleet.kinds[0] = KIND_CODE[Kind.THERMOSTAT]
    seen = asyncio.run(stage.play(16, range(5, 16)))
    gone = np.arange(1, 12)
    assert seen.share_w[5:, 0] == pytest.approx(np.full(11, RATED_W)), "its claim stays as it is"
    others_w = seen.share_w[5:, 1:].sum(axis=1)
    assert others_w == pytest.approx(AWARD_W - RATED_W * 0.5 ** (gone / 10.0), abs=60.0)
    told_w = [float(b.target_w[b.rows == 0][0]) for b in stage.devices.batches if (b.rows == 0).any()]
    assert set(told_w) == {RATED_W}


@pytest.mark.parametrize(
    ("told_w", "asked_w", "others_w"),
    [
        (25_000.0, 25_000.0, 23_000.0),  # all that it was told of: it knows of nothing that is out of sight
        (25_000.0, 24_600.0, 23_000.0),  # and as near to that as its steps are
        (30_000.0, 20_000.0, 15_000.0),  # less than it was told of, of its own
        (23_500.0, 20_000.0, 19_500.0),  # in part
    ],
)
def test_what_a_market_asks_less_as_less_was_declared_is_not_taken_off_once_more(
    told_w: float, asked_w: float, others_w: float
) -> None:
    """An award of 28 kW, of which the lost one goes on giving 5."""

    async def play() -> Seen:
        stage = Stores(award_w=28_000.0)
        await stage.play(4, range(0))
        start_ns = HOUR + 5 * MINUTE_NS
        stage.clock.ns, stage.state.declared["pool-1"] = start_ns, ((HOUR, (told_w, 0.0)),)
        call = Instruction("i", "b", "pool-1", "ENERGY", start_ns, start_ns + 5 * MINUTE_NS, asked_w, 50.0, 1)
        stage.state.instructions["pool-1", "ENERGY"] = {"i": call}
        return await stage.play(3, range(3))

    seen = asyncio.run(play())
    assert seen.share_w[:, 1:].sum(axis=1) == pytest.approx(np.full(3, others_w), abs=30.0)
    assert seen.true_w[1:].sum(axis=1) == pytest.approx(np.full(2, others_w + RATED_W), abs=30.0)
