"""What lacks for want of energy lacks as late as it can, and houses give in turn what together they can."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likely_stage import Promised

from tieline.desk.foreseen import HOUSE, foreseen
from tieline.desk.likely import STEP_S, _lacks_w
from tieline.fleet.capability import HOUR_S, lacks_wh
from tieline.times import HOUR_NS

HOURS = STEP_S / HOUR_S
ROWS = st.lists(
    st.tuples(st.just(0.0) | st.floats(1.0, 5e3), st.floats(0.0, 4e3) | st.just(np.inf), st.booleans()),
    min_size=1,
    max_size=12,
)
WANTED = st.lists(st.floats(0.0, 3e4), min_size=1, max_size=90)


def columns(rows: list[tuple[float, float, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    power_w, energy_wh, stores = (np.array(column) for column in zip(*rows, strict=True))
    return power_w, energy_wh, stores.astype(np.bool_) & np.isfinite(energy_wh)


@given(ROWS, WANTED)
def test_all_that_lacks_is_the_least_that_must_and_no_step_lacks_more_than_it_asks(
    rows: list[tuple[float, float, bool]], wanted: list[float]
) -> None:
    power_w, energy_wh, stores = columns(rows)
    wanted_w = np.array(wanted)
    for evenly in (stores, stores & False):
        short_w, empty_w = _lacks_w(wanted_w, power_w, energy_wh, evenly)
        whole_wh = float((short_w + empty_w).sum()) * HOURS
        assert whole_wh == pytest.approx(lacks_wh(wanted_w, STEP_S, power_w, energy_wh), rel=1e-6, abs=1e-3)
        assert (short_w >= 0.0).all() and (empty_w >= -1e-9).all()
        assert (short_w + empty_w <= wanted_w + 1e-6).all()


@given(ROWS, WANTED)
def test_while_anything_lacks_for_want_of_energy_all_that_is_asked_of_it_lacks_until_the_end(
    rows: list[tuple[float, float, bool]], wanted: list[float]
) -> None:
    """An hour that runs gives all it can though the third from now will lack."""
    power_w, energy_wh, stores = columns(rows)
    wanted_w, endless_w = np.array(wanted), float(power_w[np.isinf(energy_wh)].sum())
    short_w, empty_w = _lacks_w(wanted_w, power_w, energy_wh, stores & False)
    asked_w = np.maximum(wanted_w - short_w - endless_w, 0.0)
    lacking = np.flatnonzero(empty_w > 1e-3)
    if len(lacking):
        after = slice(int(lacking[0]) + 1, None)
        assert empty_w[after] == pytest.approx(asked_w[after], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_houses_give_in_turn_together_what_those_can_that_run_now_for_as_long_as_all_of_them_last(seed: int) -> None:
    """One that rests now is called as another has grown warm: what it has is no less there for that."""
    pool = Promised(seed, thermostats=80, plugs=0, stores=0, stored_wh=0.0)
    asyncio.run(pool.until(-20.0))
    state, fleet = pool.state, pool.state.fleet
    state.base_w[::3] = 0.0
    now_ns = pool.clock.ns
    seen = foreseen(state, pool.pool, now_ns, now_ns + 3 * HOUR_NS, now_ns)
    house = fleet.kinds[pool.pool.rows] == HOUSE
    assert house.all() and seen.power_w.sum() == pytest.approx(seen.now_w.sum())
    rests = seen.now_w == 0.0
    assert rests.any() and not rests.all() and (seen.power_w > 0.0).all()
    lasts_h = seen.energy_wh / np.maximum(seen.power_w, 1e-9)
    assert lasts_h == pytest.approx(lasts_h.mean()), "none is left over when the others have nothing more"
    assert (seen.power_w <= fleet.max_absorb_w[pool.pool.rows] + 1e-6).all()
