"""What is published of groups: by columns as by each group's own rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.state import DeskState
from tieline.fleet.able import able_w
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE
from tieline.fleet.grouped import Groups
from tieline.fleet.ledger import Ledger
from tieline.node.snapshot import snapshot_of, worst_of
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH, Quality
from tieline.simulate.territory import GENERATION, build
from tieline.times import SECOND_NS

NOW_NS = 1_660_000_000 * SECOND_NS
FLAGS = [0, 0, 0, int(Quality.COMM_LOST), int(Quality.OUT_OF_RANGE), int(Quality.NOT_TOPICAL)]


def lived(seed: int) -> DeskState:
    """Return a desk whose devices were heard, commanded and opted out at random."""
    rng = np.random.default_rng(seed)
    fleet = build(300, rng).fleet
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    count = len(fleet)
    fleet.power_w[:] = np.where(rng.random(count) < 0.1, np.nan, rng.normal(0.0, 5e3, count))
    fleet.quality[:] = rng.choice(FLAGS, count) if rng.random() < 0.8 else int(Quality.COMM_LOST)
    fleet.taken_at_ns[:] = NOW_NS - rng.integers(0, 600, count) * SECOND_NS
    fleet.column("soc_frac")[:] = np.where(rng.random(count) < 0.3, np.nan, rng.random(count))
    fleet.available_up_w[:] = np.where(rng.random(count) < 0.5, np.nan, 1e3 * rng.random(count))
    state.base_w[:] = rng.normal(0.0, 2e3, count)
    state.opted_out[:] = rng.random(count) < 0.1
    state.commands.target_w[:] = np.where(rng.random(count) < 0.5, np.nan, rng.normal(0.0, 3e3, count))
    state.commands.valid_until_ns[:] = NOW_NS + rng.integers(-60, 60, count) * SECOND_NS
    state.claims.is_local[:] = rng.random(count) < 0.02
    return state


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_each_group_shows_what_its_own_rows_say(seed: int) -> None:
    state = lived(seed)
    fleet = state.fleet
    sites = [group.id for group in fleet.groups if group.id.startswith("site-")]  # most of one device, some of none
    names = ["pool-1", "feeder-01", "feeder-01" + GENERATION, "substation-1", *sites]
    everyone = np.arange(len(fleet), dtype=np.int32)
    low_w, high_w = state.claims.bounds_above(everyone, Level.MARKET, NOW_NS)
    for view in snapshot_of(state, Groups(fleet, names), NOW_NS).groups:
        rows = fleet.leaves(view.resource)
        shown = {key: measured.value for key, measured in view.values.items()}
        quality, taken_ns, fit = worst_of(fleet, rows, NOW_NS)
        assert {(m.quality, m.taken_at_ns) for m in view.values.values()} == {(quality | Quality.CALCULATED, taken_ns)}
        live = (state.commands.valid_until_ns[rows] > NOW_NS) & np.isfinite(state.commands.target_w[rows])
        power_w = [
            0.0
            if fleet.quality[row] & int(Quality.OUT_OF_RANGE) or np.isnan(fleet.power_w[row])
            else fleet.power_w[row]
            for row in rows
        ]
        heard = ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & np.isfinite(fleet.power_w[rows])
        # Nobody limits them: who is heard does what he is read at, the others their base within their ratings.
        alone_w = np.where(heard, fleet.power_w[rows], np.clip(state.base_w[rows], low_w[rows], high_w[rows]))
        now_w, (up_w, down_w) = np.array(power_w), able_w(fleet, rows)
        up_w = np.minimum(up_w, np.maximum(high_w[rows] - now_w, 0.0))
        down_w = np.minimum(down_w, np.maximum(now_w - low_w[rows], 0.0))
        full = [r for r in rows if fleet.energy_wh[r] > 0 and np.isfinite(fleet.column("soc_frac")[r])]
        held_wh = sum(fleet.column("soc_frac")[r] * fleet.energy_wh[r] for r in full)
        expected = {
            "power_w": sum(power_w), "unlimited_w": sum(power_w), "base_w": state.base_w[rows].sum(),
            "available_up_w": min(up_w.sum(), max(high_w[rows].sum() - now_w.sum(), 0.0)),
            "available_down_w": min(down_w.sum(), max(now_w.sum() - low_w[rows].sum(), 0.0)), "limit_low_w": low_w[rows].sum(),
            "limit_high_w": high_w[rows].sum(), "resource_count": len(rows), "resources_total": len(rows),
            "target_w": np.where(live, state.commands.target_w[rows], alone_w).sum(),
            "resources_reporting": fit, "opt_outs": state.opted_out[rows].sum(), "is_connected": fit > 0,
            "soc_frac": held_wh / sum(fleet.energy_wh[r] for r in full) if full else 0.0,
            "is_local": state.claims.is_local[rows].any(),
        }  # fmt: skip
        assert shown == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-9, abs=1e-6)


def test_groups_are_laid_out_anew_where_a_program_has_other_members() -> None:
    state = lived(1)
    fleet = state.fleet
    groups = Groups(fleet, ["pool-1", "feeder-01"])
    assert groups.are(fleet, ["pool-1", "feeder-01"])
    assert not groups.are(fleet, ["pool-1"])
    fleet._leaves.pop(fleet._group_at["feeder-01"])  # as an enrolment does
    assert not groups.are(fleet, ["pool-1", "feeder-01"])


def test_what_nobody_asks_for_is_what_devices_do_and_no_more_than_their_limits_let_them() -> None:
    """One draws 2 kW and its base is not known yet; one, a car, is held to 1.5 kW, and one called to 400 W."""
    state = lived(1)
    fleet, last, rows = state.fleet, state.commands, state.fleet.leaves("feeder-01")
    fleet.quality[:], fleet.power_w[:], state.base_w[:] = 0, 0.0, 0.0
    last.valid_until_ns[:], last.target_w[:] = NOW_NS + 60 * SECOND_NS, np.nan
    last.low_w[:], last.high_w[:] = -fleet.max_absorb_w, fleet.max_inject_w
    one, two, three = rows[np.argsort(-fleet.max_absorb_w[rows])[:3]]
    fleet.power_w[[one, two, three]] = -2_000.0, -1_500.0, -500.0
    state.base_w[two] = -2_000.0
    last.low_w[two], last.target_w[three] = -1_500.0, -400.0
    (view,) = snapshot_of(state, Groups(fleet, ["feeder-01"]), NOW_NS).groups
    assert view.values["target_w"].value == pytest.approx(-2_000.0 - 1_500.0 - 400.0)
    assert fleet.kinds[two] == KIND_CODE[Kind.EV_CHARGER]
    fleet.power_w[two], last.low_w[two] = 0.0, -1_000.0
    (view,) = snapshot_of(state, Groups(fleet, ["feeder-01"]), NOW_NS).groups
    assert view.values["target_w"].value == pytest.approx(-2_000.0 - 400.0), "less than six amperes is nothing to a car"
