"""What is said to be likely of an award is what comes of it, as often as it says: against a world that knows the truth.

Before, it was the award times 0.9 to 1.05, or what was delivered of late: it said so of an award that a pool could meet
by half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cycling_stage import HOUR
from likely_stage import Case, Promised, play

from sampled import some
from tieline.desk.offerable import Offerable
from tieline.desk.ports import Offer, Segment
from tieline.node.read_commitments import EACH_NS, Commitments
from tieline.node.read_market import Tracked
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS

SOON, LATER = [-5.0, 2.0], [20.0, 40.0]


def empty(seed: int) -> list[Case]:
    """Five stores beside three plugs hold enough for a part of the hour."""
    stored_wh = float(np.random.default_rng(seed).uniform(500.0, 3_500.0))
    pool = Promised(seed, 0, 3, 5, stored_wh)
    pool.award(18_000.0)
    return play("stores run empty", seed, pool, SOON + LATER, {})


def in_a_row(seed: int) -> list[Case]:
    """What stores hold is for two awards, and hardly enough for both."""
    rng = np.random.default_rng(seed)
    pool = Promised(seed, 0, 3, 5, float(rng.uniform(3_000.0, 6_000.0)))
    pool.award(15_000.0)
    pool.award(15_000.0 * float(rng.uniform(0.5, 1.2)), 60, 60, name="b")
    return play("two in a row", seed, pool, [-10.0, 20.0, 70.0], {})


def houses(seed: int) -> list[Case]:
    """Twenty thermostats cycle as they like, and are called in turn."""
    pool = Promised(seed, 20, 3, 1, 9_000.0)
    pool.award(12_000.0 * float(np.random.default_rng(seed).uniform(0.7, 1.6)))
    return play("houses", seed, pool, SOON + LATER, {})


def _half(seed: int, name: str, act: Callable) -> list[Case]:
    pool = Promised(seed, 8, 6, 6, 12_000.0)
    pool.award(34_000.0 * float(np.random.default_rng(seed).uniform(0.8, 1.2)))
    return play(name, seed, pool, SOON + LATER, {-20.0: act})


def out_of_reach(seed: int) -> list[Case]:
    """Half of the devices are lost a quarter of an hour before."""
    return _half(seed, "half out of reach", lambda pool: pool.lose(0.5))


def opted_out(seed: int) -> list[Case]:
    """Half of the owners opt out a quarter of an hour before."""
    return _half(seed, "half opted out", lambda pool: pool.opt_out(0.5))


def limited(seed: int) -> list[Case]:
    """A feeder with all stores may give 8 kW."""
    pool = Promised(seed, 4, 6, 8, 12_000.0)
    pool.award(30_000.0 * float(np.random.default_rng(seed).uniform(0.8, 1.2)))
    return play("a feeder's limit", seed, pool, SOON + LATER, {-6.0: lambda q: q.limit("feeder-2", -1e6, 8_000.0, 90)})


def plenty(seed: int) -> list[Case]:
    """It can do three times as much."""
    pool = Promised(seed, 10, 6, 10, 12_000.0)
    pool.award(15_000.0 * float(np.random.default_rng(seed).uniform(0.8, 1.2)))
    return play("plenty", seed, pool, SOON + LATER, {})


PARTS, WHOLE = (empty, out_of_reach, opted_out, limited), (in_a_row, houses, plenty)


@cache
def lived(scene: Callable[[int], list[Case]], seed: int) -> list[Case]:
    return scene(seed)


def errors(cases: list[Case]) -> tuple[float, float]:
    """By how much what was likely was off what came, as a share of the award: now, and by the middle of the old rule."""
    now = [abs(case.told.likely_w - case.came_w) / case.award_w for case in cases]
    old = [abs(0.975 * case.award_w - case.came_w) / case.award_w for case in cases]
    return float(np.mean(now)), float(np.mean(old))


@pytest.mark.parametrize("scene", some(PARTS, 2))
def test_of_a_pool_that_can_meet_a_part_that_part_is_likely(scene: Callable[[int], list[Case]]) -> None:
    cases = lived(scene, 2)
    off, before = errors(cases)
    assert off < 0.1 and off < 0.4 * before, (off, before)
    assert all(case.told.lacks_w for case in cases), "why it lacks is told"
    assert max(case.told.likely_w / case.award_w for case in cases) < 0.95


@pytest.mark.parametrize("scene", some(WHOLE, 2))
def test_of_a_pool_that_can_meet_it_the_award_is_likely(scene: Callable[[int], list[Case]]) -> None:
    cases = lived(scene, 2)
    assert errors(cases)[0] < 0.07
    assert min(case.told.likely_w / case.award_w for case in cases) > 0.9


@pytest.mark.parametrize("seed", some([3, 5, 6]))
def test_what_may_be_offered_of_the_next_hour_is_given_in_it_though_ratings_and_this_moment_say_far_more(
    seed: int,
) -> None:
    """Houses that could all be off at this moment can't be for an hour; and stores hold less than their power for it."""
    rng = np.random.default_rng(seed)
    stored_wh = float(rng.uniform(500.0, 4_000.0))
    pool = Promised(seed, int(rng.integers(8, 20)), int(rng.integers(1, 6)), int(rng.integers(1, 4)), stored_wh)
    hour = Offer("x", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, (Segment(1.0, 50.0),))

    async def scene() -> float:
        await pool.until(-30)
        most_w = Offerable(pool.state, {"pool-1": pool.pool}, {}).most_w(hour, pool.clock.ns)
        assert most_w < 0.8 * pool.pool.available[0]
        pool.award(most_w)
        await pool.until(66)
        return most_w

    most_w = asyncio.run(scene())
    assert pool.true_wh() > 0.93 * most_w
    assert pool.state.fleet.max_absorb_w.sum() > 2.0 * most_w


def test_of_a_large_pool_it_is_made_piece_by_piece_and_comes_to_the_same(tmp_path: Path) -> None:
    pool = Promised(7, 4, 6, 6, 5_000.0)
    for hour in range(3):
        pool.award(15_000.0 + 4_000.0 * hour, 60 * hour + 30 * (hour == 2), 60, name=f"a{hour}")
    asyncio.run(pool.until(-30))
    journal = SqliteJournal(tmp_path / "journal.db")
    tracked = Tracked(journal, lambda: journal.last_seq)
    state, now_ns, wait_ns = pool.state, pool.clock.ns, len(pool.pool.rows) * EACH_NS
    whole = Commitments(tracked).of(state, pool.pool, now_ns, 1, None)
    by_pieces = Commitments(tracked, many=0)
    shown = [by_pieces.of(state, pool.pool, now_ns + turn * wait_ns, 1, None) for turn in range(9)]
    assert by_pieces.of(state, pool.pool, now_ns + 9 * wait_ns - 1, 1, None) == shown[-1], "no sooner"
    known = [sum(each.likely_w is not None for each in one) for one in shown]
    assert known[0] == 0 and known == sorted(known) and max(np.diff(known)) == 1 and known[-1] == 3
    assert [(each.start_ns, each.power_w) for each in shown[0]] == [(each.start_ns, each.power_w) for each in whole]
    assert shown[-1] == whole
    journal.close()


@pytest.mark.long
def test_what_is_said_of_90_of_100_cases_holds_in_about_so_many() -> None:
    scenes, seeds = (*PARTS, *WHOLE), range(1, 6)
    cases = [case for scene in scenes for seed in seeds for case in lived(scene, seed)]
    within = [case.told.low_w <= case.came_w <= case.told.high_w for case in cases]
    old = [0.9 * case.award_w <= case.came_w <= 1.05 * case.award_w for case in cases]
    off, before = errors(cases)
    print(f"{len(cases)} cases: within {np.mean(within):.3f} (before {np.mean(old):.3f}), off {off:.3f} ({before:.3f})")
    for scene in scenes:
        mine = [case for seed in seeds for case in lived(scene, seed)]
        held = np.mean([case.told.low_w <= case.came_w <= case.told.high_w for case in mine])
        was = np.mean([0.9 * case.award_w <= case.came_w <= 1.05 * case.award_w for case in mine])
        wide = np.mean([(case.told.high_w - case.told.low_w) / case.award_w for case in mine])
        now, then = errors(mine)
        print(f"{mine[0].scene}: off {now:.3f} ({then:.3f}), within {held:.2f} ({was:.2f}), wide {wide:.2f}")
    assert 0.85 <= np.mean(within) <= 0.97
    assert off < 0.06 and before > 0.15
