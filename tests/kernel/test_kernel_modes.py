"""Modes in one-hot groups, apparent power, and the life of a command: scalar and columns say the same."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.apply import MAY_FOLLOW
from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.modes import fit_apparent
from tieline.resource.arbitrate import REMOTE_LEVELS
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import NEXT, TERMINAL, Stage, follows
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.mode import DEFAULT_MODE, Mode, ModeGroup, group_of, mode_of, settle_modes
from tieline.resource.mode import fit_apparent as fit_one

ROWS = 4


def fleet_of(count: int) -> Fleet:
    full, none = np.full(count, 5_000.0), np.zeros(count)
    kinds = np.full(count, KIND_CODE[Kind.BATTERY], np.uint8)
    return Fleet([f"r{n}" for n in range(count)], kinds, full, full, none, none, none, [], {})


def batch(n: int, level: Level, quantity: Quantity, kind: ClaimKind, value: np.ndarray, **what: object) -> ClaimBatch:
    count = len(value)
    base = {
        "id": f"b{n:02d}", "source": f"s{n}", "principal": "p", "program": "g", "level": level, "primacy": 0,
        "quantity": quantity, "kind": kind, "because": "test", "source_version": 1, "created_ns": n, "start_ns": 0,
        "end_ns": 100, "rows": np.arange(count, dtype=np.int32), "low": np.full(count, -np.inf),
        "high": np.full(count, np.inf), "value": value,
    }  # fmt: skip
    return ClaimBatch(**{**base, **what})


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10), st.lists(st.sampled_from(list(Mode)), min_size=ROWS, max_size=ROWS), st.integers(0, 2)
        ),
        max_size=8,
    ),
    st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
)
def test_of_each_group_exactly_one_mode_is_in_force_and_columns_agree(drawn: list, local: list) -> None:
    book = ClaimBook(fleet_of(ROWS))
    book.set_local(np.array(local))
    for n, (level, modes, primacy) in enumerate(drawn):
        value = np.array([float(mode) for mode in modes])
        book.place(batch(n, Level(level), Quantity.MODE, ClaimKind.MODE, value, primacy=primacy))
    found = book.modes(1)
    assert set(found) == set(ModeGroup)
    for row in range(ROWS):
        live = [c for c in book.claims_on(row) if not (local[row] and c.level in REMOTE_LEVELS)]
        scalar = settle_modes(live)
        for group, (mode, by) in found.items():
            assert group_of(Mode(int(mode[row]))) is group
            assert mode[row] == scalar[group].mode
            names = book.batch_ids(by[row : row + 1])
            assert (f"{names[0]}/r{row}" if names else None) == scalar[group].by
            best = min((c for c in live if mode_of(c.value) and group_of(Mode(int(c.value))) is group),
                       key=lambda c: (c.level, c.primacy, -c.created_ns), default=None)  # fmt: skip
            assert scalar[group].mode == (DEFAULT_MODE[group] if best is None else best.value)


def test_a_limit_on_active_power_and_a_reactive_mode_never_touch_each_other() -> None:
    book = ClaimBook(fleet_of(1))
    book.place(
        batch(0, Level.ENVELOPE, Quantity.P, ClaimKind.LIMIT, np.zeros(1), low=np.array([-1.0]), high=np.array([9.0]))
    )
    before = book.arbitrate(1, np.zeros(1, np.int32))
    book.place(batch(1, Level.GRID_EMERGENCY, Quantity.MODE, ClaimKind.MODE, np.array([float(Mode.VOLT_VAR)])))
    after = book.arbitrate(1, np.zeros(1, np.int32))
    assert (after.low_w[0], after.high_w[0]) == (before.low_w[0], before.high_w[0]) == (-1.0, 9.0)
    assert book.modes(1)[ModeGroup.REACTIVE][0][0] == Mode.VOLT_VAR
    assert book.modes(1)[ModeGroup.FREQUENCY_DROOP][0][0] == Mode.DROOP_ON


POWER = st.floats(-8e3, 8e3)


@given(st.lists(st.tuples(POWER, POWER, st.floats(1.0, 7e3), st.booleans()), min_size=1, max_size=12))
def test_apparent_power_is_kept_by_the_one_without_priority_alone(drawn: list) -> None:
    active, reactive, most, q_first = (np.array(x) for x in zip(*drawn, strict=True))
    new_w, new_var, lost = fit_apparent(active, reactive, most, q_first.astype(bool))
    for k, (p, q, va, first) in enumerate(drawn):
        one = fit_one(p, q, va, first)
        assert (new_w[k], new_var[k], bool(lost[k])) == (
            pytest.approx(one.active_w), pytest.approx(one.reactive_var), bool(one.loser),
        )  # fmt: skip
        assert math.hypot(one.active_w, one.reactive_var) <= va * (1 + 1e-9)
        kept, asked = (one.reactive_var, q) if first else (one.active_w, p)
        assert kept == pytest.approx(asked) or abs(kept) == pytest.approx(va), "priority gives way to the rating alone"
        assert bool(one.loser) == (math.hypot(p, q) > va)
        assert one.active_w * p >= 0, "nothing changes its direction"
        assert one.reactive_var * q >= 0


def test_the_loser_of_apparent_power_is_reported_by_the_resources_own_priority() -> None:
    fleet = fleet_of(2)
    fleet.q_priority[:] = [False, True]
    book = ClaimBook(fleet)
    book.place(batch(0, Level.MARKET, Quantity.P, ClaimKind.SET, np.full(2, 4_000.0)))
    book.place(batch(1, Level.UTILITY, Quantity.Q, ClaimKind.SET, np.full(2, 4_000.0)))
    active, reactive, lost = book.powers(1, np.arange(2, dtype=np.int32))
    assert active.target_w.tolist() == [4_000.0, 3_000.0]
    assert reactive.target_w.tolist() == [3_000.0, 4_000.0]
    assert lost.all()


# --- the life of a command --------------------------------------------------------------------------------------------


def paths(before: Stage, after: Stage) -> bool:
    """Whether the table leads from one stage to another through stages that are not terminal, by trying all paths."""
    middle = [s for s in Stage if s not in TERMINAL and s not in (before, after)]
    for length in range(len(middle) + 1):
        for through in itertools.permutations(middle, length):
            chain = [before, *through, after]
            if all(b in NEXT[a] for a, b in itertools.pairwise(chain)):
                return True
    return False


@pytest.mark.parametrize("before", Stage)
def test_a_report_is_believed_exactly_where_the_table_leads(before: Stage) -> None:
    for after in Stage:
        assert follows(after, before) == paths(before, after) == MAY_FOLLOW[before, after]


def test_an_end_is_an_end_except_that_the_watchdog_may_take_back_a_done() -> None:
    for stage in TERMINAL:
        reachable = {after for after in Stage if follows(after, stage)}
        assert reachable == ({Stage.UNCONFIRMED} if stage is Stage.DONE else set())
    assert {stage for stage in Stage if not NEXT[stage]} == TERMINAL - {Stage.DONE}
    assert all(any(follows(end, stage) for end in TERMINAL) for stage in Stage if stage not in TERMINAL)
    assert not follows(Stage.EXPIRED, Stage.SENT), "what left can't expire unsent"
