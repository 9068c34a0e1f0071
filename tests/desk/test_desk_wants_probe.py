"""What a load that is held down by its cap is thought to want: a step more than it draws, and no more than it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.state import DeskState
from tieline.desk.wants import FOLLOWS_NS, PROBES_FRAC, wants
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE
from tieline.fleet.ledger import Ledger
from tieline.resource.identity import Kind
from tieline.simulate.territory import build
from tieline.times import HOUR_NS, SECOND_NS

NOW_NS = 1_700_000_000 * SECOND_NS
FLEET = build(400, np.random.default_rng(1)).fleet
LOADS = np.flatnonzero(
    ~DeskState.empty(FLEET, ClaimBook(FLEET), Ledger()).is_switched
    & (FLEET.energy_wh == 0) & (FLEET.max_absorb_w > 500.0) & (FLEET.kinds != KIND_CODE[Kind.EV_CHARGER])
)  # fmt: skip
STORES = np.flatnonzero(FLEET.energy_wh > 0)


def wanted(row: int, draw_frac: float, cap_frac: float, since_ns: int = HOUR_NS) -> tuple[float, float]:
    """Return what a row wants, and its size (W), drawing and capped at shares of that."""
    state, rows = DeskState.empty(FLEET, ClaimBook(FLEET), Ledger()), np.array([row], np.int32)
    size_w = float(FLEET.max_absorb_w[row])
    state.base_w[row] = 0.0
    state.commands.low_w[row], state.commands.target_w[row] = -cap_frac * size_w, np.nan
    state.commands.valid_until_ns[row], state.commands.since_ns[row] = NOW_NS + HOUR_NS, NOW_NS - since_ns
    return float(wants(state, rows, np.array([draw_frac * size_w]), NOW_NS)[0][0]), size_w


def test_a_load_at_its_cap_wants_a_fifth_of_its_size_more() -> None:
    want_w, size_w = wanted(int(LOADS[0]), 0.5, 0.5)
    assert want_w == pytest.approx((0.5 + PROBES_FRAC) * size_w)


def test_a_store_at_its_cap_wants_what_it_draws_and_is_not_probed() -> None:
    want_w, size_w = wanted(int(STORES[0]), 0.5, 0.5)
    assert want_w == pytest.approx(0.5 * size_w)


def test_a_load_below_its_cap_wants_its_cap_while_that_is_fresh_and_then_what_it_draws() -> None:
    fresh_w, size_w = wanted(int(LOADS[0]), 0.2, 0.6, FOLLOWS_NS - SECOND_NS)
    old_w, _ = wanted(int(LOADS[0]), 0.2, 0.6, FOLLOWS_NS + SECOND_NS)
    assert (fresh_w, old_w) == (pytest.approx(0.6 * size_w), pytest.approx(0.2 * size_w))


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.99))
def test_nobody_is_thought_to_want_more_than_he_can_draw_nor_less_than_he_draws(draw: float, cap: float) -> None:
    want_w, size_w = wanted(int(LOADS[0]), draw, cap)
    assert draw * size_w - 1e-6 <= want_w <= size_w + 1e-6
