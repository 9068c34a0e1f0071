"""Whose command was lost is called again soon; who heard it and stood still is left out for a quarter of an hour."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.counting import note_misses
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.ledger import Ledger
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.quality import Quality
from tieline.times import MINUTE_NS, SECOND_NS

START_NS = 1_660_000_000_000_000_000


@given(
    stage=st.sampled_from([Stage.UNCONFIRMED, Stage.DONE, Stage.ACCEPTED, Stage.REJECTED, Stage.SENT]),
    is_answered=st.booleans(),
    is_heard=st.booleans(),
    seconds=st.integers(0, 600),
)
def test_who_reports_and_may_not_have_heard_its_command_is_left_out_for_a_minute_others_for_fifteen(
    stage: Stage, is_answered: bool, is_heard: bool, seconds: int
) -> None:
    one = np.array([5_000.0])
    names, kinds = ["bat-1"], np.array([KIND_CODE[Kind.BATTERY]], np.uint8)
    fleet = Fleet(names, kinds, one, one.copy(), np.zeros(1), np.zeros(1), np.zeros(1), [], {})
    state, rows = DeskState.empty(fleet, ClaimBook(fleet), Ledger()), np.zeros(1, np.int32)
    fleet.column("power_w")[:] = 0.0
    fleet.quality[:] = 0 if is_heard else int(Quality.NOT_TOPICAL)
    fleet.taken_at_ns[:] = START_NS
    told = state.commands
    told.target_w[:], told.stage[:], told.at_ns[:] = 4_000.0, stage, START_NS
    told.observed_w[:] = 0.0 if is_answered else np.nan
    now_ns = START_NS + seconds * SECOND_NS
    note_misses(state, PoolDesk("pool", rows, np.zeros(1), np.ones(1, np.bool_), np.array([4_000.0])), now_ns)
    left_ns = int(state.missed_until_ns[0]) - now_ns
    if state.missed_until_ns[0] == 0:
        assert seconds <= 180
        return
    is_lost = stage is Stage.UNCONFIRMED and not is_answered and is_heard
    assert left_ns == (MINUTE_NS if is_lost else 15 * MINUTE_NS)
    assert state.responses.missed_ns[0] == now_ns, "and it is known since when"


def test_who_loses_one_command_after_another_is_left_out_for_longer_up_to_eight_minutes() -> None:
    one = np.array([5_000.0])
    fleet = Fleet(["bat-1"], np.array([KIND_CODE[Kind.BATTERY]], np.uint8), one, one.copy(), *np.zeros((3, 1)), [], {})
    state, rows = DeskState.empty(fleet, ClaimBook(fleet), Ledger()), np.zeros(1, np.int32)
    fleet.column("power_w")[:], fleet.quality[:], told, now_ns = 0.0, 0, state.commands, START_NS
    told.target_w[:], told.stage[:], told.observed_w[:] = 4_000.0, Stage.UNCONFIRMED, np.nan
    lasted = []
    for rests_ns in (0, 0, 0, 0, 0, 16 * MINUTE_NS):
        fleet.taken_at_ns[:] = told.at_ns[:] = now_ns = now_ns + rests_ns
        now_ns += 10 * MINUTE_NS  # it had time
        note_misses(state, PoolDesk("pool", rows, np.zeros(1), np.ones(1, np.bool_), np.array([4_000.0])), now_ns)
        lasted.append((int(state.missed_until_ns[0]) - now_ns) / MINUTE_NS)
        now_ns = int(state.missed_until_ns[0])
    assert lasted == [1, 2, 4, 8, 8, 1], "and after a quarter of an hour without a loss it begins anew"
