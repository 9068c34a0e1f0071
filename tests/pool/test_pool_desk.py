"""A pool's decisions: availability, opportunity cost, charging between awards, causes of what is lacking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import charging, tracking
from tieline.desk.apply import apply
from tieline.desk.offering import curve, day_ahead_offers, water_price
from tieline.desk.ports import Award
from tieline.desk.redispatch import allocate, headroom, lost_headroom
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Ledger
from tieline.pool.availability import by_group
from tieline.resource.identity import Kind, Purpose
from tieline.times import HOUR_NS, MINUTE_NS, Interval

NIGHT = 1_660_003_200 // 86_400 * 24 * HOUR_NS
PRICE = {NIGHT + h * HOUR_NS: 20.0 + 15 * abs(h - 3) for h in range(24)}


def pool_of(kinds: list[Kind], soc: float = 0.5) -> DeskState:
    n = len(kinds)
    codes = np.array([KIND_CODE[kind] for kind in kinds], np.uint8)
    stores = np.isin(codes, [KIND_CODE[Kind.BATTERY]])
    fleet = Fleet(
        [f"d{k}" for k in range(n)], codes, np.where(stores, 5e3, 0.0), np.full(n, 5e3), np.where(stores, 1e4, 0.0),
        np.zeros(n), np.zeros(n), [Group("pool-1", Kind.POOL, Purpose.POOL, -1)], {Purpose.POOL: np.zeros(n, np.int32)},
    )  # fmt: skip
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    fleet.quality[:] = 0
    fleet.column("power_w")[:] = 0.0
    fleet.column("available_up_w")[:] = 5e3
    fleet.column("available_down_w")[:] = 5e3
    fleet.column("soc_frac")[:] = np.where(stores, soc, np.nan)
    fleet.column("energy_available_wh")[:] = np.where(stores, max(soc - 0.1, 0) * 1e4 * 0.95, np.nan)
    return state


def holds(state: DeskState, rows: np.ndarray, share: np.ndarray) -> tracking.Holds:
    return tracking.Holds.of(state, rows, share, NIGHT)


def awarded(state: DeskState, hour: int, power_w: float, price: float = 300.0) -> None:
    start = NIGHT + hour * HOUR_NS
    state.awards[f"a{hour}"] = Award(f"a{hour}", "o", "pool-1", "ENERGY", start, start + HOUR_NS, power_w, price)


def planned(state: DeskState, rows: np.ndarray) -> np.ndarray:
    for entry in charging.decide_schedule(state, "pool-1", rows, PRICE, NIGHT):
        apply(state, entry.id, entry.fact, NIGHT)
    made = state.schedules["pool-1"]
    power = np.zeros((len(rows), made.steps))
    power[np.searchsorted(rows, made.rows.array())] = made.power_w.array().reshape(-1, made.steps)
    return power


def test_stores_are_filled_in_the_cheap_hours_for_what_the_awards_take() -> None:
    state, rows = pool_of([Kind.BATTERY] * 20), np.arange(20, dtype=np.int32)
    for hour in (16, 17, 18):
        awarded(state, hour, 60e3)
    power = planned(state, rows)
    taken_wh = -power.sum(axis=1) * 0.5
    room_wh = (charging.FULL_FRAC - 0.5) * 1e4 / charging.ONE_WAY_FRAC
    # Each owes 3 kW for three hours, 9,474 Wh inside, holds 4,000 and has room for 4,800.
    assert taken_wh == pytest.approx(np.full(20, room_wh), rel=1e-3)
    busy = np.flatnonzero(power.sum(axis=0) < -1)
    assert busy.min() >= 4
    assert busy.max() <= 9, "within an hour of the cheapest"
    assert len(busy) > 2, "like stores are spread over like hours"


def test_nothing_is_charged_in_an_awarded_hour_nor_without_an_award() -> None:
    state, rows = pool_of([Kind.BATTERY] * 3), np.arange(3, dtype=np.int32)
    assert charging.decide_schedule(state, "pool-1", rows, PRICE, NIGHT) == []
    for hour in (2, 3, 4, 20):
        awarded(state, hour, 1e3)
    assert (planned(state, rows)[:, 4:10] == 0).all()


def test_a_schedule_becomes_one_batch_of_claims_a_step_and_again_none() -> None:
    state, rows = pool_of([Kind.BATTERY] * 4), np.arange(4, dtype=np.int32)
    awarded(state, 17, 20e3)
    power = planned(state, rows)
    assert charging.decide_schedule(state, "pool-1", rows, PRICE, NIGHT) == []
    step = int(np.argmin(power.sum(axis=0)))
    now = NIGHT + step * charging.STEP_NS + 3 * MINUTE_NS
    (entry,) = charging.decide_charging(state, "pool-1", now)
    apply(state, entry.id, entry.fact, now)
    assert charging.decide_charging(state, "pool-1", now + MINUTE_NS) == []
    settled = state.claims.arbitrate(now, rows)
    takes = power[:, step] < -charging.LEAST_W
    assert settled.target_w[takes] == pytest.approx(power[takes, step], abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 0.97))
def test_no_store_is_planned_over_its_rating_or_its_size(seed: int, soc: float) -> None:
    rng = np.random.default_rng(seed)
    state, rows = pool_of([Kind.BATTERY] * 5, soc), np.arange(5, dtype=np.int32)
    for hour in rng.choice(np.arange(4, 24), 4, replace=False).tolist():
        awarded(state, hour, float(rng.uniform(1e3, 5e4)), float(rng.uniform(-10, 500)))
    power, _ = charging.plan(state, rows, list(state.awards.values()), PRICE, NIGHT)
    assert (power <= 0).all()
    assert (power >= -5e3 - 1e-6).all()


def test_the_noise_of_a_row_depends_on_nothing_but_the_row() -> None:
    many, one = charging.noise(np.arange(100, dtype=np.int32), 8), charging.noise(np.array([7], np.int32), 8)
    assert (many[7] == one[0]).all()
    assert 0.4 < many.mean() < 0.6
    assert len(np.unique(many)) == 800


def test_a_store_asks_what_its_energy_would_earn_in_the_best_hour_it_gives_up() -> None:
    price = np.array([400.0, 300.0, 200.0, 100.0])
    full = water_price(price, np.array([1e4, 3e4]), np.array([1e4, 1e4]))
    # One hour's worth of energy: selling it in the first hour gives up 300. Three hours' worth: it gives up 100.
    assert full[0] >= 300.0
    assert full[1] == pytest.approx(100.0, abs=30.0)
    assert full[1] < full[0]


def test_an_offer_never_sells_a_store_below_its_opportunity_cost_and_keeps_its_margin() -> None:
    price = np.array([30.0] * 14 + [400.0, 380.0, 360.0, 340.0] + [200.0] * 6)
    power, energy, cost = np.full(40, 5e3), np.full(40, 1e4), np.full(40, 35.0)
    offers = day_ahead_offers("p", "ENERGY", Interval(0, 24 * HOUR_NS), price, power, energy, cost, 4)
    assert [offer.start_ns // HOUR_NS for offer in offers] == [14, 15, 16, 17]
    offered_wh = sum(segment.power_w for offer in offers for segment in offer.segments)
    assert offered_wh <= 40 * 1e4 * 0.75
    assert min(segment.price_per_mwh for offer in offers for segment in offer.segments) >= 200.0


@given(st.lists(st.tuples(st.floats(0, 5e4), st.floats(1, 500)), max_size=30))
def test_an_offer_curve_rises_and_never_offers_more_than_there_is(rows: list) -> None:
    power, cost = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    segments = curve(power, cost)
    prices = [segment.price_per_mwh for segment in segments]
    assert prices == sorted(prices)
    assert sum(segment.power_w for segment in segments) <= power.sum() + 1e-6


def test_what_took_headroom_away_is_named_and_the_causes_add_up_to_the_lack() -> None:
    state, rows = pool_of([Kind.BATTERY] * 4), np.arange(4, dtype=np.int32)
    state.opted_out[0] = True
    state.missed_until_ns[1] = NIGHT + HOUR_NS
    eligible = np.ones(4, np.bool_)
    lost = lost_headroom(state, rows, eligible, 1.0, 1 / 12, NIGHT)
    assert lost == {"dno_limit": 0.0, "own_limit": 0.0, "opt_out": 5e3, "offline": 0.0, "unresponsive": 5e3}
    share = np.array([0.0, 0.0, 5e3, 5e3])
    gave = np.array([0.0, 0.0, 5e3, 4e3])
    found = tracking.causes(state, rows, share, gave, 16e3, lost, 1.0, holds(state, rows, share))
    assert found == {"underperformed": 1e3, "opt_out": 5e3, "unresponsive": 5e3, "unavailable": 5e3}


@given(st.floats(1.5, 1e6), st.lists(st.floats(0, 2e5), min_size=4, max_size=4))
def test_causes_add_up_whatever_was_lost(lacking: float, lost: list) -> None:
    state, rows = pool_of([Kind.BATTERY] * 2), np.arange(2, dtype=np.int32)
    named = dict(zip(("dno_limit", "opt_out", "offline", "unresponsive"), lost, strict=True))
    share = np.full(2, 3e3)
    found = tracking.causes(state, rows, share, np.zeros(2), lacking, named, 1.0, holds(state, rows, share))
    assert sum(found.values()) == pytest.approx(lacking, rel=1e-9)


def test_a_load_that_pays_back_a_call_counts_against_the_pool() -> None:
    state, rows = pool_of([Kind.THERMOSTAT] * 2), np.arange(2, dtype=np.int32)
    state.base_w[:] = -1_000.0
    state.fleet.column("power_w")[:] = [-3_000.0, -3_000.0]
    state.rebounds_until_ns[0] = NIGHT + tracking.REBOUND_NS
    counted = tracking.counted_w(state, rows, np.zeros(2), 1.0, NIGHT)
    assert counted.tolist() == [-2_000.0, 0.0]
    found = tracking.causes(state, rows, np.zeros(2), counted, 2e3, {}, 1.0, holds(state, rows, np.zeros(2)))
    assert found == {"rebound": 2_000.0}


def test_a_miss_is_reallocated_to_others() -> None:
    state, rows = pool_of([Kind.BATTERY] * 3), np.arange(3, dtype=np.int32)
    price = np.array([1.0, 2.0, 3.0])
    first = allocate(headroom(state, rows, np.ones(3, np.bool_), price, 0.1, NIGHT), 5e3)
    state.missed_until_ns[0] = NIGHT + HOUR_NS
    serves = state.missed_until_ns[rows] <= NIGHT
    second = allocate(headroom(state, rows, serves, price, 0.1, NIGHT), 5e3)
    assert first.share_w.tolist() == [5e3, 0.0, 0.0]
    assert second.share_w.tolist() == [0.0, 5e3, 0.0]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans(), st.integers(-1, 3)), min_size=1, max_size=50))
def test_groups_sum_to_the_pool(rows: list) -> None:
    up, may = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    group = np.array([r[2] for r in rows], np.int32)
    found = by_group(up, up * 2, may, group, 4)
    assert found.up_w.sum() == pytest.approx(up[may & (group >= 0)].sum())
    assert found.down_w == pytest.approx(found.up_w * 2)
    assert found.resources.sum() == (may & (group >= 0)).sum()


def test_a_cars_base_fades_while_it_is_held_back() -> None:
    from tieline.desk.base import FINITE_S, learn
    from tieline.resource.batch import Readings
    from tieline.resource.point import code

    for few in (1, 40):
        state = pool_of([Kind.EV_CHARGER] * few)
        state.base_w[:] = -7_000.0
        state.fleet.taken_at_ns[:] = NIGHT
        state.rebounds_until_ns[:] = NIGHT + 2 * HOUR_NS
        state.commands.valid_until_ns[:] = NIGHT + 2 * HOUR_NS
        state.commands.target_w[:] = 0.0
        rows = np.arange(few, dtype=np.int32)
        when = np.full(few, NIGHT + 30 * MINUTE_NS, np.int64)
        points, good = np.full(few, code("power_w"), np.uint16), np.zeros(few, np.uint32)
        learn(state, Readings(rows, points, np.zeros(few), good, when, when, "t"), NIGHT + 30 * MINUTE_NS)
        tau_s = FINITE_S[KIND_CODE[Kind.EV_CHARGER]]
        assert state.base_w == pytest.approx(np.full(few, -7_000.0 * np.exp(-1_800.0 / tau_s)))
