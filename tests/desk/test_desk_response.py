"""Not responding is said of devices that can and don't: never of those that have nothing left to give."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampled import some
from tieline.desk.response import FORGETS_NS, MISS_AFTER_NS, SECONDS_TO_REACH, STRIKES, judge, unresponsive
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Ledger
from tieline.node.read_fleet import SLOW, states
from tieline.node.reader import NodeReader
from tieline.node.stage import raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.story import Story
from tieline.node.timing import living
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

START_NS = 1_660_000_000_000_000_000
ROW = np.zeros(1, np.int32)


def _desk(kind: Kind) -> DeskState:
    one = np.array([3_000.0])
    fleet = Fleet(
        ["d"], np.array([KIND_CODE[kind]], np.uint8), one, one.copy(), np.zeros(1), np.zeros(1), np.zeros(1), [], {}
    )
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    state.base_w[:] = -3_000.0
    fleet.column("power_w")[:] = -3_000.0
    fleet.quality[:] = 0
    fleet.taken_at_ns[:] = START_NS
    return state


def _call(state: DeskState, at_ns: int, room_w: float, target_w: float, stage: Stage = Stage.DONE) -> np.ndarray:
    """Call the row, let it stand still for longer than its kind needs, and judge it each minute; then let it go."""
    state.commands.target_w[:], state.commands.stage[:], state.commands.at_ns[:] = target_w, stage, at_ns
    state.fleet.column("available_up_w")[:] = room_w
    share_w = np.array([target_w - float(state.base_w[0])])
    missed = np.zeros(1, np.bool_)
    for minute in range(40):
        missed |= judge(state, ROW, share_w, at_ns + minute * MINUTE_NS)
    judge(state, ROW, np.zeros(1), at_ns + 41 * MINUTE_NS)
    return missed


@given(st.sampled_from(list(Kind)), st.floats(0, 700), st.integers(1, 5))
def test_who_has_no_room_by_its_own_word_is_left_out_but_never_said_not_to_respond(kind, room_w, calls):
    state = _desk(kind)
    for call in range(calls):
        assert _call(state, START_NS + call * HOUR_NS, room_w, 0.0).all()
    assert not unresponsive(state.responses, START_NS + calls * HOUR_NS).any()


@given(st.sampled_from(list(Kind)), st.integers(0, 4))
def test_two_calls_with_room_and_no_movement_make_it_unresponsive_until_it_follows_once(kind, calls):
    state = _desk(kind)
    for call in range(calls):
        _call(state, START_NS + call * HOUR_NS, 3_000.0, 0.0)
    now_ns = START_NS + calls * HOUR_NS
    assert unresponsive(state.responses, now_ns).any() == (calls >= 2)
    state.fleet.column("power_w")[:] = 0.0
    _call(state, now_ns, 0.0, 0.0)
    assert not unresponsive(state.responses, now_ns + HOUR_NS).any()


@given(st.sampled_from(list(Kind)), st.integers(0, 60), st.integers(0, 2))
def test_who_is_called_by_a_command_that_stands_for_long_has_time_from_his_call_on(kind, held_minutes, late_minutes):
    """A load that a limit holds off runs on by its own timer, and goes off a moment after the market counts on it."""
    state = _desk(kind)
    state.commands.target_w[:], state.commands.stage[:], state.commands.at_ns[:] = 0.0, Stage.DONE, START_NS
    for call in range(3):
        called_ns = START_NS + (call + 1) * HOUR_NS + held_minutes * MINUTE_NS
        state.fleet.column("power_w")[:], state.fleet.column("available_up_w")[:] = -3_000.0, 0.0
        judge(state, ROW, np.zeros(1), called_ns)
        state.fleet.column("available_up_w")[:] = 3_000.0
        for minute in range(1, late_minutes + 1):
            assert not judge(state, ROW, np.array([3_000.0]), called_ns + minute * MINUTE_NS).any()
        state.fleet.column("power_w")[:], state.fleet.column("available_up_w")[:] = 0.0, 0.0
        assert not judge(state, ROW, np.array([3_000.0]), called_ns + 3 * MINUTE_NS).any()
        judge(state, ROW, np.zeros(1), called_ns + 4 * MINUTE_NS)
    assert not state.responses.strikes.any()


@given(
    st.sampled_from([kind for kind, soon_s in SECONDS_TO_REACH.items() if 60.0 <= soon_s <= 300.0]), st.integers(1, 59)
)
def test_what_a_link_read_back_before_a_kind_can_have_given_is_no_miss(kind, seconds):
    state = _desk(kind)
    state.commands.target_w[:], state.commands.stage[:] = 0.0, Stage.UNCONFIRMED
    state.commands.observed_w[:], state.fleet.column("available_up_w")[:] = -3_000.0, 3_000.0
    soon_ns = int(SECONDS_TO_REACH[kind]) * SECOND_NS
    for call in range(2):
        called_ns = state.commands.at_ns[0] = START_NS + call * HOUR_NS
        judge(state, ROW, np.zeros(1), called_ns)
        assert not judge(state, ROW, np.array([3_000.0]), called_ns + seconds * SECOND_NS).any()
        assert not state.responses.strikes.any()
    assert judge(state, ROW, np.array([3_000.0]), called_ns + soon_ns).all() and state.responses.strikes.any()


def _judged(kind: Kind, stage: Stage, minutes: int, gives_frac: float) -> bool:
    """Whether a row that is called for all that it has is left out so many minutes after its command."""
    state = _desk(kind)
    state.commands.target_w[:], state.commands.stage[:], state.commands.at_ns[:] = 0.0, stage, START_NS
    state.commands.observed_w[:] = -3_000.0
    state.fleet.column("power_w")[:] = -3_000.0 * (1.0 - gives_frac)
    return bool(judge(state, ROW, np.array([3_000.0]), START_NS + minutes * MINUTE_NS)[0])


@given(st.sampled_from(list(Kind)), st.integers(1, 60))
def test_who_gives_what_it_is_called_for_is_never_left_out_whatever_its_link_read_back(kind, minutes):
    assert not _judged(kind, Stage.UNCONFIRMED, minutes, 1.0)


@given(st.sampled_from([Kind.CHP, Kind.BIOMASS, Kind.BACKUP_GENERATOR, Kind.PROCESS_LINE]), st.integers(0, 30))
def test_an_engine_that_warms_up_is_no_miss_and_one_that_stands_still_is(kind, minutes):
    rises = min(minutes * 60.0 / SECONDS_TO_REACH[kind], 1.0)
    for stage in (Stage.EXECUTING, Stage.UNCONFIRMED):
        assert not _judged(kind, stage, minutes, rises)
        assert _judged(kind, stage, minutes, 0.0) == (minutes > 3)


@pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.SENT, Stage.REJECTED, Stage.EXPIRED, Stage.CANCELLED])
def test_who_never_took_the_command_is_not_said_to_ignore_it(stage: Stage) -> None:
    state = _desk(Kind.BATTERY)
    for call in range(4):
        _call(state, START_NS + call * HOUR_NS, 3_000.0, 0.0, stage)
    assert not unresponsive(state.responses, START_NS + 4 * HOUR_NS).any()


def test_a_switched_load_can_come_no_nearer_to_half_its_power() -> None:
    for kind, is_struck in ((Kind.THERMOSTAT, False), (Kind.WATER_HEATER, False), (Kind.BATTERY, True)):
        state = _desk(kind)
        for call in range(3):
            _call(state, START_NS + call * HOUR_NS, 3_000.0, -1_600.0)
        assert unresponsive(state.responses, START_NS + 3 * HOUR_NS).any() == is_struck


def test_what_was_seen_is_forgotten_after_a_day_without_a_call() -> None:
    state = _desk(Kind.BATTERY)
    for call in range(STRIKES):
        _call(state, START_NS + call * HOUR_NS, 3_000.0, 0.0)
    assert unresponsive(state.responses, START_NS + STRIKES * HOUR_NS).any()
    assert not unresponsive(state.responses, START_NS + STRIKES * HOUR_NS + FORGETS_NS).any()
    assert MISS_AFTER_NS < HOUR_NS
    _call(state, START_NS + 2 * FORGETS_NS, 3_000.0, 0.0)  # once more, long after: that is one, not three
    assert not unresponsive(state.responses, START_NS + 2 * FORGETS_NS + HOUR_NS).any()


@pytest.mark.long
@pytest.mark.parametrize(("name", "devices"), some([("comms-loss", 200), ("comms-loss", 500), ("heatwave", 500)]))
def test_what_stands_as_not_responding_is_what_the_world_makes_so(name: str, devices: int, tmp_path: Path) -> None:
    """Against the world's truth at every beat: only devices that ignore, or that forgot what they were told."""
    loop = VirtualLoop()
    found, false, missed = set[int](), set[int](), set[int]()

    async def play() -> None:
        what = scenario(name)
        when = living(date.fromisoformat(what.day), 5 * HOUR_NS)
        clock = VirtualClock(loop, when.opens_ns)
        supervisor = Supervisor(np.random.default_rng(5))
        stage = await raise_stage(what, devices, 1, clock, supervisor, tmp_path)
        NodeReader(stage.node, stage_sources(stage))
        guilty = stage.link.ignores | stage.link.unsteady

        async def look() -> None:
            state, now_ns = stage.node.state, clock.now_ns()
            slow = states(state, stage.node.cycle.pools, now_ns) == SLOW
            missed.update(np.flatnonzero(state.missed_until_ns > now_ns).tolist())
            found.update(np.flatnonzero(slow & stage.link.ignores).tolist())
            false.update(np.flatnonzero(slow & ~guilty).tolist())

        stage.node.after_beat.append(look)
        await Story(stage, when, lambda line: None).play()
        await supervisor.stop()

    loop.run_until_complete(play())
    assert false == set()
    assert found
    assert len(missed) > 10 * len(found)  # as many stood still by right, and were called "not responding" before
