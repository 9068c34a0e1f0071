"""What a limit lets devices do more is told as their answers come, however little it is, and never before (R16)."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.desk.dispatch import CHANGE_W
from tieline.desk.nested import MARGIN_FRAC
from tieline.resource.claim import ClaimKind
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

DRAWS_W = 2_000.0
"""What each battery charges by itself."""


async def beat(stage: Stage1) -> None:
    await stage.desk.flush()
    await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
    await stage.desk.settle()


def follow(stage: Stage1) -> None:
    """Let every battery stand where its caps let it, and its meter say so."""
    devices, state = stage.devices, stage.state
    state.fleet.power_w[:] = np.clip(-DRAWS_W, devices.low_w, devices.high_w)
    state.fleet.taken_at_ns[:] = stage.clock.ns


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 12),
    st.floats(200.0, 1_800.0),
    st.lists(st.floats(-700.0, 700.0) | st.floats(-60.0, 60.0), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_each_step_is_told_once_the_answers_are_in_and_no_growth_before(
    count: int, first_w: float, steps_w: list[float], seed: int
) -> None:
    async def play() -> None:
        stage, rng, told = Stage1(fleet_of([Kind.BATTERY] * count)), np.random.default_rng(seed), list[bool]()
        state, devices = stage.state, stage.devices
        state.base_w[:] = state.fleet.power_w[:] = -DRAWS_W
        stage.desk.on_answers = told.append
        draws_w = first_w
        for step_w in (0.0, *steps_w):
            draws_w = float(np.clip(draws_w + step_w, 100.0, 1_900.0))
            limit_w, stage.clock.ns = count * draws_w, stage.clock.ns + SECOND_NS
            held_w = -float(np.minimum(state.commands.leased_low_w, state.commands.low_w).clip(-5_000.0).sum())
            devices.answers = lambda n: rng.random(n) < 0.5
            ask = stage.ask(
                "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-limit_w, end_ns=stage.clock.ns + HOUR_NS
            )
            await stage.desk.ask(ask)
            await beat(stage)
            lets_w = -float(np.minimum(devices.low_w, state.commands.leased_low_w.clip(-5_000.0)).sum())
            assert lets_w <= max(limit_w, held_w) + 1e-6, "the caps that may hold add up to more than they did"
            follow(stage)
            waits = np.flatnonzero(state.commands.stage < Stage.ACCEPTED)
            told.clear()
            for row in rng.permutation(waits):
                batch = next(one for one in reversed(devices.batches) if row in one.rows)
                devices.report(batch.take(batch.rows == row), Stage.ACCEPTED)
            if told:
                assert told[-1], "the last answer was not told as the last"
                assert not any(told[:-1])
                devices.answers = lambda n: np.ones(n, np.bool_)
                await beat(stage)
                follow(stage)
            assert -float(devices.low_w.sum()) <= limit_w + 1e-6
            least_w = limit_w * (1.0 - MARGIN_FRAC) - 2.0 * count * CHANGE_W
            assert -float(devices.low_w.sum()) >= least_w, f"step {step_w} to {draws_w}"

    asyncio.run(play())


def test_an_answer_that_came_since_the_last_flush_is_not_waited_for_in_vain() -> None:
    """A device answers after a beat took up what had been answered, and before that beat shares out the limit."""

    async def play() -> list[bool]:
        stage, told = Stage1(fleet_of([Kind.BATTERY] * 4)), list[bool]()
        stage.state.base_w[:] = stage.state.fleet.power_w[:] = -DRAWS_W
        stage.desk.on_answers = told.append
        stage.devices.answers = lambda n: np.zeros(n, np.bool_)
        for draws_w in (1_000.0, 1_050.0):
            stage.clock.ns += SECOND_NS
            low_w, end_ns = -4.0 * draws_w, stage.clock.ns + HOUR_NS
            limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, end_ns=end_ns)
            await stage.desk.ask(limit)
            for batch in stage.devices.batches:
                stage.devices.report(batch, Stage.ACCEPTED)
            entries = groups.decide_regulation(stage.state, stage.clock.ns)
            stage.desk.look_for_answers()
            await stage.desk.commit(entries)
            await stage.desk.settle()
        return told

    assert asyncio.run(play()) == [True]
