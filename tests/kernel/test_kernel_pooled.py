"""A pool's stores must last for what is promised in a row: no kWh is sold twice, whatever the power allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Capacity, Ledger, Stores
from tieline.fleet.pooled import capacity_of, from_rest
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS, iso

START_NS = 1_700_006_400_000_000_000 // HOUR_NS * HOUR_NS


def pool() -> Capacity:
    """Twenty batteries of 5 kW and 10 kWh, four heaters of 4.5 kW, nine plants of 4 kW, a car that can't give back."""
    kinds = [Kind.BATTERY] * 20 + [Kind.WATER_HEATER] * 4 + [Kind.PV] * 9 + [Kind.EV_CHARGER]
    inject_w = np.array([5_000.0] * 20 + [0.0] * 4 + [4_000.0] * 9 + [0.0])
    absorb_w = np.array([5_000.0] * 20 + [4_500.0] * 4 + [0.0] * 9 + [7_000.0])
    energy_wh = np.array([10_000.0] * 20 + [0.0] * 13 + [60_000.0])
    codes = np.array([KIND_CODE[kind] for kind in kinds], np.uint8)
    none = np.zeros(len(kinds))
    names = [f"r{k}" for k in range(len(kinds))]
    fleet = Fleet(names, codes, inject_w, absorb_w, energy_wh, none, none.copy(), [], {})
    return capacity_of(fleet, np.arange(len(kinds), dtype=np.int32))


def sell(ledger: Ledger, hour: float, hours: float, up_w: float, down_w: float = 0.0, product: str = "") -> str:
    """Ask for a promise and book it; return why not, or nothing."""
    start_ns, end_ns = START_NS + round(hour * HOUR_NS), START_NS + round((hour + hours) * HOUR_NS)
    why = ledger.check("pool", product, start_ns, end_ns, up_w, down_w, now_ns=START_NS)
    if why is None:
        ledger.reserve(f"b{len(ledger.bookings)}", "pool", product, start_ns, end_ns, up_w, down_w)
    return str(why or "")


def test_what_can_give_back_is_a_store_and_sun_can_be_called_to_no_more() -> None:
    assert pool() == Capacity(125_000.0, 161_000.0, stores=Stores(200_000.0, 100_000.0, 100_000.0, 25_000.0, 61_000.0))


def told(kind: Kind, inject_w: int, absorb_w: int, uncalled_w: int, target_w: int) -> int:
    """What a device does that is told a target (W), by its kind and by what it does uncalled; watts, whole.

    Nobody makes the sun shine, so a plant gives no more than uncalled; an engine gives or stands; an interruptible load
    draws no more than it does uncalled.
    """
    within_w = min(max(target_w, -absorb_w), inject_w)
    if kind is Kind.PV:
        return min(max(within_w, 0), uncalled_w)
    if kind in (Kind.BIOMASS, Kind.BACKUP_GENERATOR, Kind.CHP):
        return max(within_w, 0)
    return max(within_w, uncalled_w) if kind is Kind.INTERRUPTIBLE_LOAD else within_w


def uncalled(kind: Kind, inject_w: int, absorb_w: int, is_store: bool) -> range:
    """What a device may be doing when nobody calls it: stores and engines rest, sun and loads are anywhere."""
    rests = is_store or kind in (Kind.BIOMASS, Kind.BACKUP_GENERATOR, Kind.CHP)
    return range(1) if rests else range(0 if kind is Kind.PV else -absorb_w, inject_w + 1)


def moved(device: tuple[Kind, int, int, bool], low_w: int, high_w: int) -> tuple[int, int]:
    """The most that calls move a device up and down within limits, by trying whatever it may do and be told."""
    kind, inject_w, absorb_w, holds = device
    found = [0, 0]
    for own_w in uncalled(kind, inject_w, absorb_w, holds and inject_w > 0):
        limited_w = told(kind, inject_w, absorb_w, own_w, min(max(own_w, low_w), high_w))
        for target_w in range(low_w, high_w + 1):
            by_w = told(kind, inject_w, absorb_w, own_w, target_w) - limited_w
            found = [max(found[0], by_w), max(found[1], -by_w)]
    return found[0], found[1]


RATED = st.integers(0, 4)
DEVICES = st.one_of(
    st.tuples(st.sampled_from([Kind.BATTERY, Kind.HYBRID_SITE]), st.integers(1, 4), RATED, st.just(True)),
    st.tuples(st.sampled_from([Kind.PV, Kind.BIOMASS, Kind.CHP, Kind.BACKUP_GENERATOR]), RATED, st.just(0), st.just(False)),
    st.tuples(st.sampled_from([Kind.WATER_HEATER, Kind.INTERRUPTIBLE_LOAD]), st.just(0), RATED, st.just(False)),
    st.tuples(st.just(Kind.EV_CHARGER), st.just(0), RATED, st.just(True)),
    st.tuples(st.just(Kind.EV_CHARGER), RATED, RATED, st.just(False)),
)  # fmt: skip


def fleet_of(drawn: list[tuple[Kind, int, int, bool]]) -> Fleet:
    codes = np.array([KIND_CODE[kind] for kind, *_ in drawn], np.uint8)
    inject_w, absorb_w, holds = (np.array([each[k] for each in drawn], np.float64) for k in (1, 2, 3))
    none = np.zeros(len(drawn))
    return Fleet([f"r{k}" for k in range(len(drawn))], codes, inject_w, absorb_w, holds * 10, none, none.copy(), [], {})


@given(st.lists(st.tuples(DEVICES, st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=5))
def test_a_pool_promises_what_the_best_plan_delivers_beside_what_it_does_uncalled(drawn: list) -> None:
    """By trying every whole watt that each may do uncalled, and every one that it can be told within its limits."""
    fleet, rows = fleet_of([device for device, _, _ in drawn]), np.arange(len(drawn), dtype=np.int32)
    found = capacity_of(fleet, rows)
    free = [moved(device, -5, 5) for device, _, _ in drawn]
    assert (found.up_w, found.down_w) == tuple(np.sum(free, axis=0))
    low, high = ([pick(one, other) for _, one, other in drawn] for pick in (min, max))
    within = [moved(device, low[k], high[k]) for k, (device, _, _) in enumerate(drawn)]
    up_w, down_w = from_rest(fleet, rows, np.array(low, np.float64), np.array(high, np.float64))
    assert list(zip(up_w, down_w, strict=True)) == within


def test_hours_in_a_row_are_sold_until_the_stores_are_empty_and_again_once_they_can_be_full() -> None:
    ledger = Ledger({"pool": pool()})
    assert sell(ledger, 0, 1, 125_000.0) == ""  # 100 kWh of the stores, and what lasts
    assert sell(ledger, 1, 1, 125_000.0) == ""
    why = sell(ledger, 2, 1, 30_000.0)
    assert "what is promised in a row needs more energy than the stores hold" in why
    assert "the stores' 200000 Wh are used up at " + iso(START_NS + 2 * HOUR_NS + 5 * MINUTE_NS) in why
    assert sell(ledger, 2, 1, 25_000.0) == "", "what lasts without the stores can be promised on"
    assert sell(ledger, 5, 2, 125_000.0) == "", "two hours at rest fill them again"
    assert "used up" in sell(ledger, 3, 1, 125_000.0), "and what lies between takes from what is promised later"


def test_a_second_sale_across_classes_counts_and_names_the_holder() -> None:
    ledger = Ledger({"pool": pool()}, share_classes={"ENERGY": "energy", "SPIN": "spin"})
    assert sell(ledger, 0, 2, 115_000.0, product="ENERGY") == ""
    assert sell(ledger, 0, 2, 10_000.0, product="SPIN") == ""
    assert "used up" in (why := sell(ledger, 2, 1, 26_000.0, product="SPIN"))
    assert "ENERGY (b0)" in why


def test_downward_calls_fill_what_upward_ones_empty() -> None:
    ledger = Ledger({"pool": pool()})
    assert sell(ledger, 0, 2, 0.0, 161_000.0) == ""
    assert "used up" in sell(ledger, 2, 1, 0.0, 62_000.0)
    assert sell(ledger, 2, 1, 125_000.0) == "", "upward is another matter"


def test_who_sold_the_other_way_is_not_named_as_in_the_way_of_the_stores() -> None:
    ledger = Ledger({"pool": pool()})
    assert sell(ledger, 0, 1, 125_000.0) == ""
    why = sell(ledger, 4, 4, 0.0, 161_000.0)
    assert "used up" in why and "b0" not in why


def test_a_pool_without_stores_promises_for_as_long_as_it_likes() -> None:
    ledger = Ledger({"pool": Capacity(5_000.0, 5_000.0)})
    assert sell(ledger, 0, 100, 5_000.0) == ""


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 6), st.floats(0, 90_000), st.floats(0, 90_000)),
        min_size=1, max_size=12,
    ),
    st.floats(1_000, 100_000), st.floats(0, 50_000), st.floats(0, 50_000), st.floats(0, 30_000), st.floats(0, 30_000),
)  # fmt: skip
def test_what_was_promised_can_be_called_all_at_once_minute_by_minute(
    wishes: list[tuple[int, int, float, float]],
    full_wh: float,
    give_w: float,
    take_w: float,
    up_w: float,
    down_w: float,
) -> None:
    """An oracle of its own: one store from full to empty, called for all that was booked, filled when nobody calls."""
    ledger = Ledger({"pool": Capacity(1e6, 1e6, stores=Stores(full_wh, give_w, take_w, up_w, down_w))})
    for half, halves, asked_up_w, asked_down_w in wishes:
        sell(ledger, half / 2, halves / 2, asked_up_w, asked_down_w)
    for side, lasting_w, back_w in (("up_w", up_w, take_w), ("down_w", down_w, give_w)):
        left_wh = full_wh
        for minute in range(20 * 60):
            at_ns = START_NS + minute * MINUTE_NS
            called_w = sum(
                getattr(b, side) for b in ledger.bookings.values() if b.first <= at_ns // (5 * MINUTE_NS) < b.last
            )
            if called_w > lasting_w:
                left_wh -= (called_w - lasting_w) / 60
            else:
                left_wh = min(full_wh, left_wh + min(back_w, lasting_w - called_w if called_w > 0 else back_w) / 60)
            assert left_wh >= -1e-3 * full_wh
            if left_wh < 0:
                left_wh = 0.0


def test_a_refusal_by_energy_names_side_value_and_limit() -> None:
    ledger = Ledger({"pool": pool()})
    sell(ledger, 0, 2, 125_000.0)
    why = ledger.check("pool", "", START_NS + 2 * HOUR_NS, START_NS + 3 * HOUR_NS, 60_000.0, 0.0, now_ns=START_NS)
    assert why is not None
    assert (why.field, why.value) == ("up_w", "60000")
    assert pytest.approx(200_000.0) == float(why.limit.split("' ")[1].split(" Wh")[0])
