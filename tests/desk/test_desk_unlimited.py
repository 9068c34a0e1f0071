"""What a group would do without its limit: told to who must know whether the limit can end."""

from __future__ import annotations

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.ports import Award
from tieline.desk.unlimited import Uncalled, alone_w, unlimited_w
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS

HOME = [Kind.PV, Kind.EV_CHARGER, Kind.WATER_HEATER, Kind.BATTERY]
KINDS = [Kind.PV, Kind.PV, Kind.BATTERY, Kind.WATER_HEATER, Kind.WATER_HEATER]
ROWS = np.arange(len(KINDS), dtype=np.int32)


def limited() -> Stage1:
    """Two plants at their cap of 1 kW, a battery called up to its cap of 2 kW, a tank that heats and one that may."""
    stage = Stage1(fleet_of(KINDS))
    fleet, last = stage.state.fleet, stage.state.commands
    fleet.quality[:] = 0
    fleet.power_w[:] = [1_000.0, 1_000.0, 2_000.0, -5_000.0, 0.0]
    fleet.available_up_w[:] = [3_000.0, np.nan, 2_500.0, 5_000.0, 0.0]
    stage.state.base_w[:] = [1_500.0, 1_200.0, 0.0, -2_500.0, -2_500.0]
    last.valid_until_ns[:] = stage.clock.ns + HOUR_NS
    last.high_w[:] = [1_000.0, 1_000.0, 2_000.0, 0.0, 0.0]
    last.low_w[:], last.target_w[2] = -5_000.0, 2_000.0
    return stage


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9), unique=True))
def test_what_one_would_do_without_a_limit_is_the_same_whoever_is_asked_about_with_it(
    seed: int, some: list[int]
) -> None:
    stage, rng = Stage1(fleet_of(KINDS + HOME + [Kind.THERMOSTAT])), np.random.default_rng(seed)
    state, last, now_ns, none = stage.state, stage.state.commands, stage.clock.ns, np.array([np.nan])

    def drawn(*of: float) -> np.ndarray:
        return rng.choice(np.array([*of, *rng.uniform(-5e3, 5e3, 3)]), 10)

    state.fleet.quality[:] = rng.choice(np.array([0, 0, 0, 2**32 - 1], np.uint32), 10)
    for column in (state.fleet.power_w, state.fleet.available_up_w, state.fleet.available_down_w, last.target_w):
        column[:] = drawn(0.0, *none)
    state.base_w[:], last.low_w[:], last.high_w[:] = drawn(0.0), drawn(-5e3, 0.0), drawn(0.0, 5e3)
    for column in (last.valid_until_ns, last.since_ns, state.release_at_ns, state.idle_ns, state.charges.seen_ns):
        column[:] = now_ns + rng.integers(-10, 10, 10) * 60 * 10**9
    rows, everyone = np.array(some, np.int32), np.arange(10, dtype=np.int32)
    for mine, of_all in zip(alone_w(state, rows, now_ns), alone_w(state, everyone, now_ns), strict=True):
        assert mine.tobytes() == of_all[rows].tobytes()
    known = Uncalled(state, now_ns)  # and found once for all groups that are shown it is the same for each
    for mine, of_all in zip(alone_w(state, rows, now_ns), alone_w(state, rows, now_ns, known), strict=True):
        assert mine.tobytes() == of_all.tobytes()
    for ends in ((-np.inf, 0.0), (-1.0, np.inf), (-1.0, 1.0)):
        assert unlimited_w(state, rows, *ends, now_ns, known) == unlimited_w(state, rows, *ends, now_ns)


def test_held_plants_count_at_the_sun_that_they_tell_and_called_stores_at_all_that_they_can() -> None:
    stage = limited()
    # 4 kW of sun told, 1.2 kW of base where nothing is told, 4.5 kW of the battery, less the 5 kW that are drawn.
    assert unlimited_w(stage.state, ROWS, -np.inf, 4_000.0, stage.clock.ns) == pytest.approx(4_700.0)


def test_what_may_yet_be_drawn_makes_no_room_for_what_feeds_in() -> None:
    stage = limited()
    before_w = unlimited_w(stage.state, ROWS, -np.inf, 4_000.0, stage.clock.ns)
    stage.state.base_w[4] = -5_000.0
    assert unlimited_w(stage.state, ROWS, -np.inf, 4_000.0, stage.clock.ns) == before_w


def test_under_an_import_limit_what_could_feed_in_makes_no_room_for_what_draws() -> None:
    stage = limited()
    fleet, last = stage.state.fleet, stage.state.commands
    last.high_w[:], last.target_w[2] = 5_000.0, np.nan
    fleet.power_w[2] = 0.0
    told_w = unlimited_w(stage.state, ROWS, -6_000.0, np.inf, stage.clock.ns)
    fleet.available_up_w[:3] = 5_000.0
    assert unlimited_w(stage.state, ROWS, -6_000.0, np.inf, stage.clock.ns) == told_w
    assert told_w <= 2_000.0 - 5_000.0, "both plants give 1 kW, and the tank that heats goes on"


def test_a_store_held_at_its_cap_counts_at_all_that_it_can_give_while_an_award_asks_for_power_or_will_soon() -> None:
    """The battery is held to draw 500 W and not called, as the limit leaves it nothing to give."""
    stage = limited()
    state, now_ns = stage.state, stage.clock.ns
    state.fleet.power_w[2], state.commands.high_w[2], state.commands.target_w[2] = -500.0, -500.0, np.nan
    state.fleet.available_up_w[2] = 5_500.0
    at_rest_w = unlimited_w(state, ROWS, -np.inf, 4_000.0, now_ns)
    for start_ns, counts in ((now_ns - HOUR_NS // 2, True), (now_ns + HOUR_NS // 4, True), (now_ns + HOUR_NS, False)):
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, 9_000.0, 50.0)
        gain_w = unlimited_w(state, ROWS, -np.inf, 4_000.0, now_ns) - at_rest_w
        assert gain_w == pytest.approx(5_000.0 if counts else 0.0)


def test_loads_that_a_limit_holds_off_count_at_their_size_as_they_would_all_begin_at_once() -> None:
    stage = limited()
    state, now_ns = stage.state, stage.clock.ns
    state.commands.high_w[:], state.commands.target_w[:] = 5_000.0, np.nan
    state.fleet.power_w[:3] = 0.0
    before_w = unlimited_w(state, ROWS, -6_000.0, np.inf, now_ns)
    state.commands.low_w[4] = 0.0  # a tank of 5 kW that ran half of the time is held off
    assert before_w - unlimited_w(state, ROWS, -6_000.0, np.inf, now_ns) == pytest.approx(5_000.0)


def test_a_called_load_that_a_limit_holds_off_counts_as_one_that_would_run() -> None:
    """Called to stop and held off at once: the call may end first, and then it begins with the others."""
    stage = limited()
    state, now_ns = stage.state, stage.clock.ns
    state.commands.high_w[:], state.commands.target_w[:] = 5_000.0, np.nan
    state.fleet.power_w[:3] = 0.0
    state.commands.low_w[4] = 0.0
    uncalled_w = unlimited_w(state, ROWS, -6_000.0, np.inf, now_ns)
    state.commands.target_w[4] = 0.0
    assert unlimited_w(state, ROWS, -6_000.0, np.inf, now_ns) == uncalled_w


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("made_w", [0.0, 500.0, 3_000.0, 5_000.0])
def test_what_the_limit_itself_makes_a_store_do_is_not_taken_for_its_own(made_w: float, side: float) -> None:
    """Loads of 7 kW and batteries at rest that must charge for an upper limit; or plants and such that must give."""
    kinds = [Kind.BATTERY, Kind.WATER_HEATER, Kind.WATER_HEATER] if side > 0 else [Kind.BATTERY, Kind.PV, Kind.PV]
    stage = Stage1(fleet_of(kinds))
    state, last, rows = stage.state, stage.state.commands, np.arange(3, dtype=np.int32)
    state.fleet.quality[:], state.base_w[:] = 0, [0.0, -side * 3_500.0, -side * 3_500.0]
    state.fleet.power_w[:] = [-side * made_w, -side * 3_500.0, -side * 3_500.0]
    last.valid_until_ns[:] = stage.clock.ns + HOUR_NS
    last.low_w[:], last.high_w[:] = -5_000.0, 5_000.0
    (last.high_w if side > 0 else last.low_w)[0] = -side * made_w
    ends = (-np.inf, -6_000.0) if side > 0 else (6_000.0, np.inf)
    assert unlimited_w(state, rows, *ends, stage.clock.ns) == pytest.approx(-side * 7_000.0)
    # What it does by itself, as its owner has it charge, goes on without the limit.
    state.base_w[0] = -side * made_w
    assert unlimited_w(state, rows, *ends, stage.clock.ns) == pytest.approx(-side * (7_000.0 + made_w))


def home(held: bool) -> Stage1:
    """Sun of 4 kW, a car of 7 kW and a heater of 3 kW, all held at 900 W of sun or off where `held`; a store at rest."""
    stage = Stage1(fleet_of(HOME, rating_w=7_000.0))
    state, fleet, last = stage.state, stage.state.fleet, stage.state.commands
    fleet.quality[:], fleet.max_absorb_w[2] = 0, 3_000.0
    state.base_w[:] = [4_000.0, -7_000.0, -3_000.0, 0.0]
    fleet.power_w[:] = [900.0, 0.0, 0.0, 0.0] if held else state.base_w
    last.valid_until_ns[:] = stage.clock.ns + HOUR_NS
    last.low_w[:], last.high_w[:] = -fleet.max_absorb_w, fleet.max_inject_w
    if held:
        last.low_w[1:], last.high_w[:] = 0.0, [900.0, 0.0, 0.0, 0.0]
    return stage


@pytest.mark.parametrize("is_staged", [False, True])
@pytest.mark.parametrize("ends", [(-np.inf, np.inf), (2_000.0, 6_000.0), (-4_000.0, 2_000.0), (-14_000.0, 13_000.0)])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [0], [1], [2], [0, 2]])
def test_what_devices_do_by_themselves_is_told_whoever_of_them_what_was_told_holds_yet(
    kept: list[int], ends: tuple[float, float], is_staged: bool
) -> None:
    """With a limit at both ends, and with one that is over whose commands stand, as behind the kill switch."""
    stage, held = home(False), home(True)
    state, last = stage.state, stage.state.commands
    for mine, others in (
        (state.fleet.power_w, held.state.fleet.power_w), (last.low_w, held.state.commands.low_w),
        (last.high_w, held.state.commands.high_w),
    ):  # fmt: skip
        mine[kept] = others[kept]
    if is_staged and np.isinf(ends[0]):
        state.release_at_ns[kept] = stage.clock.ns + HOUR_NS
    assert unlimited_w(state, np.arange(4, dtype=np.int32), *ends, stage.clock.ns) == pytest.approx(-6_000.0)
    last.valid_until_ns[:] = stage.clock.ns
    does_w = float(state.fleet.power_w.sum())
    assert unlimited_w(state, np.arange(4, dtype=np.int32), -np.inf, np.inf, stage.clock.ns) == pytest.approx(does_w)


@pytest.mark.parametrize("draws_w", [0.0, 2_000.0, 5_000.0])
def test_a_car_that_an_import_limit_holds_down_or_off_counts_at_what_it_took_before(draws_w: float) -> None:
    stage = home(False)
    state = stage.state
    state.fleet.power_w[1], state.commands.low_w[1] = -draws_w, -draws_w
    told_w = unlimited_w(state, np.arange(4, dtype=np.int32), -6_000.0, np.inf, stage.clock.ns)
    assert told_w == pytest.approx(4_000.0 - 7_000.0 - 3_000.0)
