"""A territory gives its award by a schedule whose gap stands on the market desk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from living_stage import live

from sampled import some
from tieline.desk.facts import AwardPlanned, CommandsIssued, from_record
from tieline.desk.ports import Award
from tieline.node.award_planner import AwardPlanner
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.stage import POOL, Stage
from tieline.node.stage_web import stage_sources
from tieline.simulate.loop import VirtualClock
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

AWARD_W = 20_000.0


def awarded(stage: Stage, start_ns: int, hours: int) -> None:
    """Give the pool an award for so many hours."""
    for at in range(hours):
        start = start_ns + at * HOUR_NS
        award = Award(f"a{at}", "o", POOL, "ENERGY", start, start + HOUR_NS, AWARD_W, 90.0)
        stage.node.state.awards[award.id] = award


def test_an_award_is_given_by_a_schedule_and_the_market_desk_shows_its_gap(tmp_path: Path) -> None:
    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(600)
        start_ns = -(-clock.now_ns() // (15 * MINUTE_NS)) * 15 * MINUTE_NS + 15 * MINUTE_NS
        awarded(stage, start_ns, 2)
        reader = NodeReader(stage.node, stage_sources(stage))
        assert reader.market().schedule is None
        await asyncio.sleep((start_ns - clock.now_ns()) / 1e9 + 1_500)
        pool, view = stage.node.cycle.pools[POOL], reader.market().schedule
        assert view is not None and view.gap_frac < 1e-4 and view.bound <= view.cost
        assert view.steps[0].start_ns <= clock.now_ns() < view.steps[-1].end_ns
        assert all(step.award_w == AWARD_W for step in view.steps)
        made = [
            fact for r in stage.node.journal.of_kind("AwardPlanned") if isinstance(fact := from_record(r), AwardPlanned)
        ]
        assert len(made) >= 3, "before it begins, as it begins, and a quarter of an hour later"
        assert pool.planned is not None and len(pool.planned.rows)
        assert abs(float(pool.share_w.sum()) - AWARD_W) < 0.3 * AWARD_W
        stores = np.isin(pool.rows, pool.planned.rows)
        asked_w = pool.planned.of(pool.rows, clock.now_ns())
        assert asked_w is not None and asked_w[stores].sum() > 1_000.0
        near = np.abs(pool.share_w - asked_w)[stores] < 0.05 * asked_w[stores] + 50.0
        assert near.mean() > 0.7, "most stores give what the schedule says"

    live(tmp_path, scene, "heatwave", 300)


def test_beside_the_beat_the_same_schedule_is_made(tmp_path: Path) -> None:
    """On the wall's time a thread makes it, and the beat goes on meanwhile."""

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(600)
        node = stage.node
        awarded(stage, clock.now_ns() // HOUR_NS * HOUR_NS, 2)
        await node.beat()
        within = node.state.award_plans[POOL]
        node.cycle.pools[POOL].planned = None
        beside = AwardPlanner(node, [POOL])
        await beside.look()
        assert beside.making is not None
        await beside.making
        again = node.state.award_plans[POOL]
        assert again.gap_frac < 1e-4 and abs(again.cost - within.cost) < 0.02 * within.cost

    live(tmp_path, scene, "heatwave", 100)


def test_where_no_schedule_can_be_made_the_award_is_given_by_merit(tmp_path: Path) -> None:
    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(600)
        pool = stage.node.cycle.pools[POOL]
        kept, pool.price = pool.price, np.full(len(pool.price), np.inf)  # what no program can weigh
        awarded(stage, clock.now_ns() // HOUR_NS * HOUR_NS, 2)
        await stage.node.beat()
        assert pool.planned is None and POOL not in stage.node.state.award_plans
        assert float(pool.share_w.sum()) > 0.5 * AWARD_W
        pool.price = kept
        await stage.node.beat()
        assert pool.planned is not None

    live(tmp_path, scene, "heatwave", 100)


@pytest.mark.parametrize("seed", some([1, 2, 3]))
def test_at_the_steps_of_awards_a_store_is_told_once_and_not_again_before_it_could_follow(
    seed: int, tmp_path: Path
) -> None:
    """Awards of half an hour each; each quarter of an hour the schedule is made anew."""
    steps_w = np.random.default_rng(seed).uniform(0.4, 1.6, 3) * AWARD_W

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(600)
        step_ns = 30 * MINUTE_NS
        start_ns = -(-clock.now_ns() // step_ns) * step_ns + step_ns
        for at, power_w in enumerate(steps_w.tolist()):
            begins_ns = start_ns + at * step_ns
            award = Award(f"a{at}", "o", POOL, "ENERGY", begins_ns, begins_ns + step_ns, power_w, 90.0)
            stage.node.state.awards[award.id] = award
        await asyncio.sleep((start_ns - clock.now_ns()) / SECOND_NS + len(steps_w) * 1_800)
        stores, last_ns = stage.node.state.fleet.energy_wh > 0, np.zeros(len(stage.node.state.fleet), np.int64)
        least_ns, told = HOUR_NS, 0
        for record in stage.node.journal.of_kind("CommandsIssued"):
            fact = from_record(record)
            assert isinstance(fact, CommandsIssued)
            rows = fact.rows.array()
            rows = rows[stores[rows]]
            if fact.issued_ns >= start_ns and len(rows):
                told += len(rows)
                least_ns = min(least_ns, int((fact.issued_ns - last_ns[rows]).min()))
            last_ns[rows] = fact.issued_ns
        assert told > 20, "else nothing is shown"
        assert least_ns >= 30 * SECOND_NS

    live(tmp_path, scene, "heatwave", 100)
