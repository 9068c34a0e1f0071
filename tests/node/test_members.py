"""In which order the devices of a group are told: a list leads to what is wrong, the grid keeps its places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.node import read_fleet
from tieline.node.read_fleet import FAILED, LIMITED, NORMAL, OUT, SLOW, STALE, UNKNOWN
from tieline.simulate.territory import build

COUNT = 120
GRAVEST_FIRST = [FAILED, SLOW, STALE, UNKNOWN, OUT, LIMITED, NORMAL]
FLEET = build(COUNT, np.random.default_rng(1)).fleet
STATE = DeskState.empty(FLEET, ClaimBook(FLEET), Ledger())
ORDER = read_fleet.order_of(FLEET)


def in_pages(cells: np.ndarray, group: str, size: int) -> list:
    rows = read_fleet.worst_first(FLEET, read_fleet.rows_of(FLEET, ORDER, group), cells)
    return [one for at in range(0, COUNT, size) for one in read_fleet.members_of(STATE, rows[at : at + size], cells, 0)]


@given(st.lists(st.integers(0, 6), min_size=COUNT, max_size=COUNT), st.integers(1, COUNT))
def test_a_group_is_listed_gravest_first_and_its_pages_hold_each_device_once(states: list[int], size: int) -> None:
    cells = np.array(states, np.uint8)
    for group in (ORDER.names[0], "pool-1"):
        members = in_pages(cells, group, size)
        assert sorted(m.resource for m in members) == sorted(FLEET.id_of(int(r)) for r in FLEET.leaves(group))
        gravity = [GRAVEST_FIRST.index(member.state) for member in members]
        assert gravity == sorted(gravity)
        assert all(cells[FLEET.row(member.resource)] == member.state for member in members)


def test_of_one_state_those_that_move_most_of_their_rating_are_listed_first() -> None:
    cells, rated_w = np.zeros(COUNT, np.uint8), np.maximum(FLEET.max_inject_w, FLEET.max_absorb_w)
    FLEET.power_w[:] = np.random.default_rng(2).uniform(-1.0, 1.0, COUNT) * rated_w
    rows = read_fleet.worst_first(FLEET, read_fleet.rows_of(FLEET, ORDER, "pool-1"), cells)
    loading = np.abs(FLEET.power_w[rows]) / np.maximum(rated_w[rows], 1.0)
    assert (np.diff(loading) <= 1 / 255).all()


def test_a_group_that_is_not_there_has_no_devices() -> None:
    with pytest.raises(KeyError, match="nothing"):
        read_fleet.rows_of(FLEET, ORDER, "nothing")
