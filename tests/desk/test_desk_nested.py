"""Limits on groups that share devices are kept together within a beat: a site behind a limited feeder, and the feeder."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, with_sites
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.cycle import Cycle
from tieline.desk.ports import Granted
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS


def sums_w(
    stage: Stage1,
    free_w: np.ndarray,
    limits: list[tuple[int, str, float, float]],
    looks: int,
    later: dict[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Return what each device does (W) after each beat and half a minute before it; shape (looks, devices).

    `limits`: at which look a limit comes, on whom, and its ends. `later`: from which look on devices would do something
    else than `free_w`. A charger charges with what a car needs at least, or not. A meter is heard five seconds before
    each beat.
    """
    found = []
    is_car = stage.state.fleet.kinds == KIND_CODE[Kind.EV_CHARGER]

    async def play() -> None:
        cycle, fleet, devices = Cycle(stage.desk, {}), stage.state.fleet, stage.devices
        fleet.power_w[:] = stage.state.base_w[:] = would_w = free_w
        end_ns = stage.clock.ns + 4 * HOUR_NS
        for look in range(looks):
            for at, group, low_w, high_w in limits:
                if at == look:
                    ask = stage.ask(
                        "dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=end_ns
                    )
                    assert isinstance(await stage.desk.ask(ask), Granted)
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            would_w = (later or {}).get(look, would_w)
            does_w = np.clip(would_w, devices.low_w, devices.high_w)
            found.append(np.where(is_car & (does_w > -LEAST_CHARGE_W), 0.0, does_w))
            stage.clock.ns += 25 * SECOND_NS
            fleet.power_w[:], fleet.taken_at_ns[:] = found[-1], stage.clock.ns
            stage.clock.ns += 5 * SECOND_NS

    asyncio.run(play())
    return np.array(found)


HOME = [Kind.BATTERY, Kind.PV, Kind.EV_CHARGER]


def test_a_limit_on_the_feeder_leaves_a_site_within_its_own_at_once() -> None:
    """The car carries what the roof gives; as the feeder's limit cuts the car, the roof must give less too."""
    kinds = [*HOME, Kind.WATER_HEATER, Kind.EV_CHARGER]
    stage = with_sites(kinds, [0, 0, 0, 1, 1])
    free_w = np.array([1_500.0, 4_500.0, -5_000.0, -5_000.0, -5_000.0])
    does_w = sums_w(stage, free_w, [(0, "site-0", -4_000.0, 1_500.0), (6, "feeder-1", -1_500.0, 12_000.0)], 20)
    sites_w = does_w[:, :3].sum(axis=1)
    assert (sites_w[2:] <= 1_500.0).all(), sites_w
    assert (does_w[6:].sum(axis=1) >= -1_500.0 - 1.0).all(), does_w.sum(axis=1)


def test_a_home_that_stands_at_its_export_limit_goes_on_with_its_car_while_others_suffice() -> None:
    """What the car draws less the roof must give less: the feeder gains nothing, and the sun is lost."""
    stage = with_sites([*HOME, Kind.EV_CHARGER, Kind.EV_CHARGER], [0, 0, 0, 1, 1])
    free_w = np.array([1_500.0, 4_500.0, -5_000.0, -5_000.0, -5_000.0])
    does_w = sums_w(stage, free_w, [(0, "site-0", -4_000.0, 1_500.0), (6, "feeder-1", -6_000.0, 1e6)], 30)
    assert (does_w[6:, :3].sum(axis=1) <= 1_500.0).all(), does_w[:, :3].sum(axis=1)
    assert (does_w[6:].sum(axis=1) >= -6_000.0).all(), does_w.sum(axis=1)
    assert (does_w[6:, 1] >= 3_500.0).all(), does_w[:, 1]
    assert (does_w[6:, 2] <= -3_500.0).all(), does_w[:, 2]


def homes_of_one_feeder() -> Stage1:
    """Two homes with limits of their own, two cars, a charger without a car, a heater, and a third home, as rated."""
    kinds = [
        *HOME, Kind.PV, Kind.EV_CHARGER, Kind.BATTERY, Kind.EV_CHARGER, Kind.EV_CHARGER, Kind.EV_CHARGER,
        Kind.WATER_HEATER, Kind.BATTERY, Kind.PV,
    ]  # fmt: skip
    stage = with_sites(kinds, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4])
    ratings = {
        Kind.BATTERY: (5_000, 5_000),
        Kind.PV: (6_000, 0),
        Kind.EV_CHARGER: (0, 7_200),
        Kind.WATER_HEATER: (0, 3_000),
    }
    for row, kind in enumerate(kinds):
        stage.state.fleet.max_inject_w[row], stage.state.fleet.max_absorb_w[row] = ratings[kind]
    return stage


OF_ONE_FEEDER_W = np.array([3e3, 5e3, -7.2e3, 5e3, -3.6e3, 0.0, -7.2e3, -7.2e3, 0.0, -3e3, -3e3, 3e3])
AT_HOME = [(0, "site-0", -4_000.0, 1_500.0), (0, "site-1", -6_000.0, 1_400.0)]
ROOFS, CARS = [1, 3, 11], [2, 4]


def test_homes_that_give_by_themselves_keep_their_sun_and_most_of_their_cars_power_under_a_feeders_limit() -> None:
    limits = [*AT_HOME, (6, "feeder-1", -8_000.0, 12_000.0)]
    does_w = sums_w(homes_of_one_feeder(), OF_ONE_FEEDER_W, limits, 30)
    assert (does_w[7:].sum(axis=1) >= -8_000.0).all(), does_w.sum(axis=1)
    assert (does_w[7:, :3].sum(axis=1) <= 1_500.0).all() and (does_w[7:, 3:6].sum(axis=1) <= 1_400.0).all()
    assert (does_w[20:, ROOFS] >= 0.85 * OF_ONE_FEEDER_W[ROOFS]).all(), does_w[-1]
    assert (does_w[20:, CARS] <= 0.8 * OF_ONE_FEEDER_W[CARS]).all(), does_w[-1]


def test_a_home_gets_its_sun_and_power_back_as_the_feeders_limit_is_widened() -> None:
    limits = [*AT_HOME, (6, "feeder-1", -5_000.0, 12_000.0), (14, "feeder-1", -30_000.0, 12_000.0)]
    does_w = sums_w(homes_of_one_feeder(), OF_ONE_FEEDER_W, limits, 40)
    assert (does_w[7:14].sum(axis=1) >= -5_000.0).all(), does_w.sum(axis=1)
    assert (does_w[30:, ROOFS] >= 0.8 * OF_ONE_FEEDER_W[ROOFS]).all(), does_w[-1]
    assert (does_w[30:, CARS] <= 0.8 * OF_ONE_FEEDER_W[CARS]).all(), does_w[-1]


def test_a_car_that_comes_under_two_full_limits_is_let_charge_in_its_turn() -> None:
    stage = with_sites([*HOME, Kind.EV_CHARGER, Kind.EV_CHARGER, Kind.EV_CHARGER], [0, 0, 0, 1, 1, 2])
    free_w = np.array([3_000.0, 5_000.0, -5_000.0, -5_000.0, -5_000.0, 0.0])
    comes_w = free_w - [0.0, 0.0, 0.0, 0.0, 0.0, 5_000.0]
    limits = [(0, "site-0", -4_000.0, 1_500.0), (6, "feeder-1", -8_000.0, 1e6)]
    does_w = sums_w(stage, free_w, limits, 60, {12: comes_w})
    assert (does_w[7:].sum(axis=1) >= -8_000.0).all(), does_w.sum(axis=1)
    assert does_w[:, 5].min() <= -LEAST_CHARGE_W, does_w[:, 5]


KINDS = st.sampled_from([Kind.BATTERY, Kind.PV, Kind.EV_CHARGER, Kind.WATER_HEATER])
PART = st.floats(0.2, 1.0)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(PART, PART, PART), st.lists(st.tuples(KINDS, st.floats(-1, 1)), max_size=5),
    st.integers(1, 6), st.integers(1, 6), st.integers(2, 9), st.booleans(),
)  # fmt: skip
def test_whatever_shares_a_feeder_a_home_and_the_feeder_keep_their_limits_from_the_first_beat_on(
    home, others, home_kw, home_low_kw, feeder_kw, feeder_first
) -> None:
    """A home whose roof feeds its car, and what else is on the feeder; either limit comes first."""
    kinds = [*HOME, *(kind for kind, _ in others)]
    stage = with_sites(kinds, [0] * len(HOME) + [1] * len(others))
    fleet = stage.state.fleet
    parts = [home[0], home[1], -home[2], *(part for _, part in others)]
    free_w = np.clip(5_000.0 * np.array(parts), -fleet.max_absorb_w, fleet.max_inject_w)
    low_w, high_w, feeder_w = -1e3 * home_low_kw, 1e3 * home_kw, -1e3 * feeder_kw
    first, later = (6, 0) if feeder_first else (0, 6)
    does_w = sums_w(stage, free_w, [(first, "site-0", low_w, high_w), (later, "feeder-1", feeder_w, 1e6)], 14)
    home_w = does_w[7:, : len(HOME)].sum(axis=1)
    assert (home_w <= high_w + 25.0).all(), (home_w, high_w)
    assert (home_w >= low_w - 25.0).all(), (home_w, low_w)
    assert (does_w[7:].sum(axis=1) >= feeder_w - 25.0).all(), (does_w.sum(axis=1), feeder_w)


def test_limits_of_two_homes_that_share_nothing_are_kept_beside_each_other() -> None:
    stage = with_sites([*HOME, *HOME], [0, 0, 0, 1, 1, 1])
    free_w = np.array([0.0, 4_000.0, -5_000.0] * 2)
    does_w = sums_w(stage, free_w, [(0, "site-0", -4_000.0, 1_500.0), (0, "site-1", -2_000.0, 1_500.0)], 6)
    assert (does_w[3:, :3].sum(axis=1) >= -4_000.0).all() and (does_w[3:, 3:].sum(axis=1) >= -2_000.0).all()


def test_a_feeder_that_feeds_in_too_much_is_no_reason_for_a_home_to_draw_too_much() -> None:
    """The feeder cuts the roof that the home's store lives on: other stores charge then, not that one on and on."""
    kinds = [*HOME, Kind.WATER_HEATER, *HOME, Kind.PV, Kind.EV_CHARGER]
    stage = with_sites(kinds, [0, 0, 0, 0, 1, 1, 1, 2, 2])
    free_w = np.array([-3_593.0, 3_555.0, 0.0, -5_000.0, -677.0, 4_930.0, 0.0, 4_611.0, 0.0])
    does_w = sums_w(stage, free_w, [(0, "site-0", -890.0, 5_881.0), (3, "feeder-1", -13_245.0, 2_376.0)], 6)
    assert (does_w[3:, :4].sum(axis=1) >= -890.0).all(), does_w[:, :4].sum(axis=1)
    assert (does_w[3:].sum(axis=1) <= 2_376.0).all(), does_w.sum(axis=1)


def test_a_third_limit_over_the_same_devices_is_kept_beside_two_others() -> None:
    kinds = [*HOME, Kind.EV_CHARGER, Kind.BATTERY, *HOME, Kind.WATER_HEATER, Kind.BATTERY, Kind.BATTERY, Kind.PV]
    stage = with_sites(kinds, [0] * 5 + [1] * 4 + [2] * 3)
    free_w = np.array(
        [-3_648.0, 4_282.0, -2_538.0, 0.0, -4_816.0, 1_881.0, 4_490.0, -4_916.0, 0.0, 3_247.0, 389.0, 1_903.0]
    )
    limits = [(0, "feeder-1", -20_152.0, 12_828.0), (3, "pool-1", -2_526.0, 1_678.0), (6, "site-0", -3_941.0, 5_749.0)]
    does_w = sums_w(stage, free_w, limits, 10)
    whole_w = does_w[3:].sum(axis=1)
    assert (whole_w >= -2_526.0).all() and (whole_w <= 1_678.0).all(), whole_w
    assert (does_w[6:, :5].sum(axis=1) >= -3_941.0).all(), does_w[:, :5].sum(axis=1)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.tuples(PART, PART, PART, st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from(HOME), st.floats(-1, 1)), max_size=4), st.integers(2, 9),
    st.booleans(),
)  # fmt: skip
def test_homes_keep_both_their_ends_from_the_beat_on_that_their_feeders_limit_comes_in(
    homes, others, feeder_kw, imports
):
    """All at rest would keep every limit, so each can be kept."""
    kinds = HOME * len(homes) + [kind for kind, _ in others]
    stage = with_sites(kinds, [n for n in range(len(homes)) for _ in HOME] + [len(homes)] * len(others))
    fleet = stage.state.fleet
    parts = [part for store, roof, car, *_ in homes for part in (store, roof, -car)] + [part for _, part in others]
    free_w = np.clip(5_000.0 * np.array(parts), -fleet.max_absorb_w, fleet.max_inject_w)
    limits = [(0, f"site-{n}", -1e3 * low_kw, 1e3 * high_kw) for n, (*_, low_kw, high_kw) in enumerate(homes)]
    ends = (-1e3 * feeder_kw, 1e6) if imports else (-1e6, 1e3 * feeder_kw)
    does_w = sums_w(stage, free_w, [*limits, (6, "feeder-1", *ends)], 9)[6:]
    for n, (_, _, low_w, high_w) in enumerate(limits):
        home_w = does_w[:, 3 * n : 3 * n + 3].sum(axis=1)
        assert (home_w >= low_w - 25.0).all() and (home_w <= high_w + 25.0).all(), (n, home_w, low_w, high_w)
    sums = does_w.sum(axis=1)
    assert (sums >= ends[0] - 25.0).all() and (sums <= ends[1] + 25.0).all(), (sums, ends)
