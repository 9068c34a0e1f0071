"""Readings taken one by one and in columns: the same columns after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk import base
from tieline.desk.state import UNHEARD, DeskState
from tieline.fleet import columns
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Ledger
from tieline.resource.batch import Readings
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import SECOND_NS

KINDS = (Kind.THERMOSTAT, Kind.BATTERY, Kind.WATER_HEATER, Kind.PV)
readings = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["power_w", "reactive_var"]), st.floats(-9e3, 9e3), st.integers(1, 300)
    ),
    min_size=1,
    max_size=8,
    unique_by=(lambda drawn: drawn[:2]),
)


def a_state() -> DeskState:
    full, none = np.full(4, 5_000.0), np.zeros(4)
    kinds = np.array([KIND_CODE[kind] for kind in KINDS], np.uint8)
    fleet = Fleet([f"r{row}" for row in range(4)], kinds, full, full, none, none, none, [], {})
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    state.commands.valid_until_ns[1] = 2**62
    state.commands.target_w[1] = 700.0
    state.commands.valid_until_ns[3] = 2**62
    return state


def batch(drawn: list[tuple[int, str, float, int]]) -> Readings:
    rows, keys, values, seconds = zip(*drawn, strict=True)
    taken = np.array(seconds, np.int64) * SECOND_NS
    flags = np.arange(len(rows), dtype=np.uint32)
    points = np.array([code(key) for key in keys], np.uint16)
    return Readings(np.array(rows, np.int32), points, np.array(values), flags, taken, taken + 7, "test")


def after(few: int, batches: list[Readings]) -> tuple[DeskState, int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "FEW", few)
        patch.setattr(base, "FEW", few)
        state = a_state()
        for one in batches:
            base.learn(state, one, int(one.received_at_ns.max()))
    return state, state.fleet.late


@given(st.lists(readings, min_size=1, max_size=5))
def test_a_handful_of_readings_leaves_what_the_columns_leave(drawn: list[list[tuple[int, str, float, int]]]) -> None:
    batches = [batch(one) for one in drawn]
    (one_by_one, late), (in_columns, as_late) = after(16, batches), after(0, batches)
    assert late == as_late
    for key in ("power_w", "reactive_var"):
        np.testing.assert_array_equal(one_by_one.fleet.column(key), in_columns.fleet.column(key))
    for name in ("quality", "taken_at_ns", "received_at_ns"):
        np.testing.assert_array_equal(getattr(one_by_one.fleet, name), getattr(in_columns.fleet, name))
    np.testing.assert_allclose(one_by_one.base_w, in_columns.base_w, rtol=1e-12, atol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(allow_nan=False)), min_size=1, max_size=8))
def test_what_a_device_says_beyond_its_quantity_is_marked_and_trusted_by_nobody(drawn: list[tuple[int, float]]) -> None:
    told = batch([(row, key, value, 5) for row, value in drawn for key in ("power_w", "soc_frac")])
    marked = told.in_range()
    power = told.points == code("power_w")
    beyond = np.where(power, np.abs(told.values) > 1e12 + 1e-6, np.abs(told.values - 0.5) > 0.5 + 1e-6)
    assert (
        ((marked.quality & Quality.OUT_OF_RANGE) != 0) == (beyond | ((told.quality & Quality.OUT_OF_RANGE) != 0))
    ).all()
    for few in (0, 16):
        fleet = after(few, [marked])[0].fleet
        soc = fleet.column("soc_frac")
        assert ((soc >= -1e-6) & (soc <= 1 + 1e-6) | np.isnan(soc)).all()
        assert (((fleet.quality & Quality.OUT_OF_RANGE) != 0) == (np.abs(fleet.power_w) > 1e12 + 1e-6)).all()


@given(st.integers(0, 2**32 - 1))
def test_a_handful_of_what_the_sun_drives_leaves_to_the_bit_what_the_columns_leave(seed: int) -> None:
    """Plants and hybrid sites, called, limited, refusing, unheard or free, that tell their sun or don't."""
    left = []
    for few in (16, 0):
        rng = np.random.default_rng(seed)
        state = a_state()
        fleet, last = state.fleet, state.commands
        fleet.kinds[:] = rng.choice([KIND_CODE[Kind.PV], KIND_CODE[Kind.HYBRID_SITE]], 4)
        last.valid_until_ns[:] = rng.choice([0, 2**62], 4)
        last.target_w[:] = rng.choice([np.nan, 0.0, 700.0], 4)
        last.high_w[:] = rng.choice([np.inf, 500.0], 4)
        last.stage[:] = rng.choice([int(stage) for stage in Stage], 4)
        last.since_ns[:] = rng.integers(0, 60, 4) * SECOND_NS
        last.leased_w[:], last.leased_until_ns[:] = last.target_w, rng.choice([0, 2**62], 4)
        state.rebounds_until_ns[:] = rng.choice([0, 2**62], 4)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns, "FEW", few)
            patch.setattr(base, "FEW", few)
            for second in range(1, 60, 7):
                rows = rng.permutation(4)[: int(rng.integers(1, 5))].tolist()
                told = [(row, "power_w", float(rng.choice([0.0, 480.0, 650.0, 700.0, 900.0])), second) for row in rows]
                told += [(row, "available_up_w", float(rng.choice([0.0, 40.0, 300.0])), second) for row in rows[::2]]
                base.learn(state, replace(batch(told), quality=np.zeros(len(told), np.uint32)), second * SECOND_NS)
        left.append((state.base_w.copy(), state.suns.tells.copy(), state.suns.is_known.copy()))
    for one_by_one, in_columns in zip(*left, strict=True):
        np.testing.assert_array_equal(one_by_one, in_columns)


@given(st.integers(0, 2**32 - 1))
def test_one_row_that_may_not_have_heard_that_it_was_let_go_is_found_as_among_many(seed: int) -> None:
    rng, state, rows = np.random.default_rng(seed), a_state(), np.arange(4, dtype=np.int32)
    last, fleet = state.commands, state.fleet
    last.stage[:] = rng.choice(sorted(UNHEARD), 4)
    for column in (last.target_w, last.observed_w, last.leased_w):
        column[:] = rng.choice([np.nan, 0.0, -700.0, 3_000.0], 4)
    last.low_w[:] = rng.choice([-np.inf, 0.0], 4, p=[0.8, 0.2])
    last.high_w[:] = np.where(rng.random(4) < 0.8, np.inf, fleet.max_inject_w / 2)
    power_w = rng.choice([np.nan, 0.0, 149.0, 151.0, -640.0, 2_800.0], 4)
    one_by_one = [base._holds_on_one(state, row, int(last.stage[row]), float(power_w[row])) for row in range(4)]
    assert one_by_one == base.holds_on(state, rows, power_w).tolist()


@given(st.lists(st.tuples(st.floats(width=64), st.booleans()), min_size=4, max_size=4))
def test_power_that_nobody_knows_counts_at_nothing_and_any_other_at_what_it_is(told: list[tuple[float, bool]]) -> None:
    fleet = a_state().fleet
    for row, (power_w, is_wrong) in enumerate(told):
        fleet.power_w[row] = power_w
        # What is beyond all that a power can be is marked as it comes in.
        fleet.quality[row] = int(Quality.OUT_OF_RANGE) if is_wrong or np.isinf(power_w) else 0
    for rows in (None, np.array([2, 0], np.int32)):
        found_w = fleet.power_or_0_w(rows)
        assert found_w.tobytes() == np.nan_to_num(fleet.known_power_w(rows)).tobytes()
        assert not np.shares_memory(found_w, fleet.power_w)


IS_LOCAL = st.tuples(st.integers(0, 3), st.sampled_from(["is_local", "power_w"]), st.sampled_from([0.0, 0.5, 1.0]))


@given(
    st.lists(st.tuples(IS_LOCAL, st.booleans()), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_a_handful_tells_of_a_hand_at_a_device_as_a_table_does(
    drawn: list[tuple[tuple[int, str, float], bool]], was: list[bool]
) -> None:
    state, told = a_state(), batch([(*one, 5) for one, _ in drawn])
    state.claims.is_local[:] = was
    flags = np.where([is_wrong for _, is_wrong in drawn], int(Quality.OUT_OF_RANGE), 0).astype(np.uint32)
    told, found = replace(told, quality=flags), []
    for few in (16, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "FEW", few)
            found.append(base.tells_of_a_hand(state, told))
    assert found[0] is found[1]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5), st.booleans())
def test_the_first_mask_that_is_true_decides(drawn: list[list[bool]], are_whole: bool) -> None:
    masks, numbers = [np.array(mask) for mask in drawn], range(1, len(drawn) + 1)
    values = list(numbers) if are_whole else [np.arange(3) + 0.5 * number for number in numbers]
    found, expected = columns.first_true(masks, values, 0), np.select(masks, values, 0)
    assert found.dtype == expected.dtype and found.tolist() == expected.tolist()
