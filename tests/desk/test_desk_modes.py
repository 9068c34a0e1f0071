"""A feeder's mode is obeyed: Disabled and Manual hold machines out, limits and the grid's operator always pass."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st
from test_desk_events import COUNT, START, Programs

from tieline.desk import events
from tieline.desk.desk_views import EventPreview
from tieline.desk.modes import FeederMode, barred, decide_mode, mode_of
from tieline.desk.people import TwoPeople
from tieline.desk.programs import EventState
from tieline.desk.redispatch import allocate, headroom, lost_headroom, serving
from tieline.desk.screens import ComposeEvent
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

FIRST = np.arange(5, dtype=np.int32)
LEVELS = st.sampled_from([Level.ENVELOPE, Level.RELIABILITY, Level.UTILITY, Level.MARKET, Level.PROGRAM, Level.PRICE])
WHO = {Level.ENVELOPE: "dso", Level.RELIABILITY: "iso", Level.UTILITY: "dso"}


async def _set(stage: Stage1, mode: str, feeder: str = "feeder-1", because: str = "works") -> Refusal | None:
    entries, refusal = decide_mode(stage.state, feeder, mode, because, "ada", stage.clock.ns)
    await stage.desk.commit(entries)
    return refusal


def _stage() -> Stage1:
    return Stage1(fleet_of([Kind.BATTERY] * 10, per_feeder=5))


def _targets(stage: Stage1) -> np.ndarray:
    settled = stage.state.claims.arbitrate(stage.clock.ns, np.arange(10, dtype=np.int32))
    return np.where(settled.winner >= 0, settled.target_w, np.nan)


@given(LEVELS, st.sampled_from(list(FeederMode)), st.booleans())
def test_a_target_reaches_a_feeder_only_at_a_level_that_its_mode_lets_through(level, mode, set_first):
    """Whether the mode was set before the ask or after it makes no difference; the other feeder never notices."""

    async def main() -> None:
        stage = _stage()
        if set_first:
            await _set(stage, mode)
        ask = stage.ask(WHO.get(level, "market"), level, "pool-1", value=10_000.0)
        await stage.desk.ask(ask)
        if not set_first:
            await _set(stage, mode)
        target_w = _targets(stage)
        lets = level <= Level.UTILITY or mode is FeederMode.AUTOMATIC
        assert np.isfinite(target_w[FIRST]).all() == lets
        assert np.isnan(target_w[FIRST]).all() != lets
        assert np.isfinite(target_w[5:]).all()

    asyncio.run(main())


@given(st.sampled_from(list(FeederMode)))
def test_a_limit_of_any_level_holds_in_every_mode(mode):
    async def main() -> None:
        stage = _stage()
        await _set(stage, mode)
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", ClaimKind.LIMIT, low=-1_000.0, high=500.0))
        settled = stage.state.claims.arbitrate(stage.clock.ns, np.zeros(1, np.int32))
        assert (settled.low_w[0], settled.high_w[0]) == (-1_000.0, 500.0)

    asyncio.run(main())


def test_what_disabled_held_out_holds_again_and_why_names_the_gate() -> None:
    async def main() -> None:
        stage = _stage()
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=700.0))
        await _set(stage, "Disabled")
        told = stage.state.claims.explain(0, stage.clock.ns)
        assert told.setpoint.by is None
        assert "gate" in told.losers[0].why
        gate = next(claim for claim in stage.state.claims.claims_on(0) if claim.kind is ClaimKind.GATE)
        assert gate.because == "feeder-1 is Disabled: works (ada)"
        stage.clock.ns += MINUTE_NS
        await _set(stage, "Automatic")
        assert stage.state.claims.explain(0, stage.clock.ns).setpoint.target_w == 700.0

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["Disabled", "Manual"])
def test_an_ask_that_could_move_no_device_is_refused_with_the_feeder_named(mode: str) -> None:
    async def main() -> None:
        stage = _stage()
        await _set(stage, mode)
        answer = await stage.desk.ask(stage.ask("market", Level.MARKET, "feeder-1", value=700.0))
        assert isinstance(answer, Refusal)
        assert (answer.field, answer.value, answer.holder) == ("level", "7", "feeder-1")
        assert answer.reason == f"the feeder is {mode}"

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["Disabled", "Manual"])
def test_the_market_splits_over_the_other_feeder_and_the_lack_is_named(mode: str) -> None:
    async def main() -> None:
        stage, rows = Programs(), np.arange(COUNT, dtype=np.int32)
        await _set(stage, mode)
        serves = serving(stage.state, rows, np.ones(COUNT, np.bool_), START)
        split = allocate(headroom(stage.state, rows, serves, np.ones(COUNT), 0.1, START), 40_000.0)
        assert not split.share_w[FIRST].any()
        assert split.feasible_w == pytest.approx(25_000.0)
        lost = lost_headroom(stage.state, rows, np.ones(COUNT, np.bool_), 1.0, 0.1, START)
        assert lost["feeder_mode"] == pytest.approx(25_000.0)

    asyncio.run(main())


def test_an_event_of_people_runs_on_a_manual_feeder_and_not_on_a_disabled_one() -> None:
    async def main() -> None:
        for mode, called in (("Automatic", 10), ("Manual", 10), ("Disabled", 5)):
            stage = Programs()
            await _set(stage, mode)
            wish = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 20_000.0)
            view = events.preview(stage.state, wish, stage.clock.ns)
            assert isinstance(view, EventPreview)
            assert (view.devices, view.held_out) == (called, COUNT - called)
            event = await stage.compose(20_000.0)
            await stage.step(event.id, EventState.SUBMITTED, "ada")
            await stage.step(event.id, EventState.APPROVED)
            stage.clock.ns = START
            await stage.desk.commit(events.due(stage.state, START))
            assert np.isfinite(_targets(stage)).sum() == called
            refused = await stage.compose(5_000.0, "feeder-1", START, START + HOUR_NS)
            assert isinstance(refused, Refusal) == (mode == "Disabled")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("feeder", "mode", "because", "field"),
    [("feeder-9", "Manual", "x", "feeder"), ("pool-1", "Manual", "x", "feeder"), ("r0", "Manual", "x", "feeder"),
     ("feeder-1", "manual", "x", "mode"), ("feeder-1", "Manual", " ", "because"),
     ("feeder-1", "Manual", "x" * 401, "because")],
)  # fmt: skip
def test_a_mode_that_can_not_be_names_field_value_and_limit(feeder: str, mode: str, because: str, field: str) -> None:
    async def main() -> None:
        stage = _stage()
        refusal = await _set(stage, mode, feeder, because)
        assert refusal is not None
        assert refusal.field == field
        assert refusal.limit
        assert not barred(stage.state).any()

    asyncio.run(main())


def test_a_mode_and_its_gate_survive_a_restart() -> None:
    async def main() -> None:
        stage = _stage()
        await _set(stage, "Disabled")
        again = stage.replayed(Ledger())
        assert mode_of(again, "feeder-1") is FeederMode.DISABLED
        assert again.claims.digest() == stage.state.claims.digest()
        assert barred(again).tolist() == [True] * 5 + [False] * 5

    asyncio.run(main())


@pytest.mark.parametrize(("by", "sets"), [("ada", False), ("ada with ada", False), ("ada with bo", True)])
def test_the_mode_of_a_large_feeder_is_set_by_two_people_whichever_way_it_goes(by: str, sets: bool) -> None:
    stage = _stage()
    stage.state.two_people = TwoPeople(devices=5)
    for mode in (FeederMode.DISABLED, FeederMode.MANUAL):
        entries, refusal = decide_mode(stage.state, "feeder-1", mode, "works", by, stage.clock.ns)
        assert bool(entries) is sets
        assert (refusal is None) is sets
        if refusal is not None:
            assert (refusal.field, refusal.rule) == ("people", "two people")
    stage.state.two_people = TwoPeople(devices=6)
    assert decide_mode(stage.state, "feeder-1", FeederMode.DISABLED, "works", "ada", stage.clock.ns)[1] is None
