"""How far power can rise and fall from now, as it is shown: never beyond what holds it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of, with_generation, with_sites
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.desk.redispatch import headroom
from tieline.fleet.able import SUSTAIN_H
from tieline.fleet.grouped import Groups
from tieline.node.read_resource import resource_view
from tieline.node.snapshot import snapshot_of
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS

BATTERIES = [Kind.BATTERY, Kind.BATTERY]
SHOWN = ("power_w", "available_up_w", "available_down_w", "limit_low_w", "limit_high_w")


def stage_of(power_w: list[float], stage: Stage1 | None = None) -> Stage1:
    """Devices of 5 kW at given powers that tell how far their nameplate alone lets them move."""
    stage = stage or Stage1(fleet_of([Kind.BATTERY] * len(power_w)))
    fleet = stage.state.fleet
    fleet.power_w[:] = power_w
    fleet.column("soc_frac")[:] = 0.5
    fleet.available_up_w[:] = fleet.max_inject_w - fleet.power_w
    fleet.available_down_w[:] = fleet.power_w + fleet.max_absorb_w
    return stage


def limit(stage: Stage1, resource: str, low_w: float, high_w: float, level: Level = Level.ENVELOPE) -> None:
    """Put a limit of two hours into force, and share it out by a beat of the desk."""
    who, end_ns = "owner" if level is Level.OWNER_NEED else "dso", stage.clock.ns + 2 * HOUR_NS
    ask = stage.ask(who, level, resource, ClaimKind.LIMIT, low=low_w, high=high_w, program=resource, end_ns=end_ns)

    async def beat() -> None:
        assert not isinstance(await stage.desk.ask(ask), Refusal)
        await stage.desk.settle()
        await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
        await stage.desk.settle()

    asyncio.run(beat())


def shown(stage: Stage1, resource: str) -> dict[str, float]:
    """What a control room reads of a group."""
    (view,) = snapshot_of(stage.state, Groups(stage.state.fleet, [resource]), stage.clock.ns).groups
    return {key: view.values[key].value for key in SHOWN}


def page(stage: Stage1, resource: str) -> tuple[float | None, float | None]:
    """What the API and the console show of a device or group: up and down."""
    side = resource_view(stage.state, {}, resource, {}, stage.clock.ns).scada
    return side.available_up_w, side.available_down_w


def test_a_group_rises_no_further_than_its_export_limit_and_falls_as_far_as_its_devices_can() -> None:
    stage = stage_of([495.0])
    limit(stage, "feeder-1", -5_000.0, 500.0)
    seen = shown(stage, "feeder-1")
    assert seen["available_up_w"] == pytest.approx(seen["limit_high_w"] - 495.0, abs=1e-6)
    assert seen["available_down_w"] == pytest.approx(5_495.0)
    assert page(stage, "feeder-1") == pytest.approx((seen["available_up_w"], 5_495.0))


def test_a_group_falls_no_further_than_its_import_limit_and_rises_as_far_as_its_devices_can() -> None:
    stage = stage_of([-300.0, -100.0])
    limit(stage, "feeder-1", -500.0, 10_000.0)
    seen = shown(stage, "feeder-1")
    assert seen["available_down_w"] == pytest.approx(-400.0 - seen["limit_low_w"])
    assert 0.0 < seen["available_down_w"] <= 100.0
    assert seen["available_up_w"] == pytest.approx(10_400.0)


def test_a_device_that_may_do_nothing_has_nothing_available_wherever_it_is_shown() -> None:
    stage = stage_of([0.0])
    limit(stage, "r0", 0.0, 0.0)
    assert page(stage, "r0") == (0.0, 0.0)
    assert page(stage, "feeder-1") == (0.0, 0.0)
    assert shown(stage, "feeder-1")["available_up_w"] == shown(stage, "feeder-1")["available_down_w"] == 0.0


def test_what_its_owner_bounds_is_not_available() -> None:
    stage = stage_of([0.0, 0.0])
    limit(stage, "r0", -1_000.0, 200.0, Level.OWNER_NEED)
    assert page(stage, "r0") == pytest.approx((200.0, 1_000.0))
    assert shown(stage, "feeder-1")["available_up_w"] == pytest.approx(5_200.0)
    assert shown(stage, "feeder-1")["available_down_w"] == pytest.approx(6_000.0)


def test_an_owner_who_opted_out_counts_within_the_limits_as_a_limit_moves_his_device_too() -> None:
    stage = stage_of([0.0, 0.0])
    stage.state.opted_out[:] = True
    limit(stage, "feeder-1", -1_000.0, 500.0)
    seen = shown(stage, "feeder-1")
    assert 0.0 < seen["available_up_w"] <= 500.0
    assert 0.0 < seen["available_down_w"] <= 1_000.0
    assert page(stage, "feeder-1") == pytest.approx((seen["available_up_w"], seen["available_down_w"]))


def test_behind_the_kill_switch_only_what_passes_it_is_available() -> None:
    stage = stage_of([2_000.0, 0.0])
    stage.state.authority["kill"] = "on"
    # The safe power is 0 W: who gives 2 kW may be told less, down to as far on the other side; who rests, nothing.
    assert page(stage, "r0") == pytest.approx((0.0, 4_000.0))
    assert page(stage, "r1") == (0.0, 0.0)
    seen = shown(stage, "feeder-1")
    assert (seen["available_up_w"], seen["available_down_w"]) == pytest.approx((0.0, 4_000.0))


@pytest.mark.parametrize("inner_is_first", [True, False])
def test_limits_of_groups_within_groups_all_hold(inner_is_first: bool) -> None:
    stage = stage_of([0.0] * 4, Stage1(fleet_of([Kind.BATTERY] * 4, per_feeder=2)))
    limits = [("feeder-1", 300.0), ("sub-1", 2_000.0)]
    for name, high_w in limits if inner_is_first else limits[::-1]:
        limit(stage, name, -high_w, high_w)
    inner, outer, other = (shown(stage, name) for name in ("feeder-1", "sub-1", "feeder-2"))
    for key in ("available_up_w", "available_down_w"):
        assert 0.0 < inner[key] <= 300.0
        end_w = outer["limit_low_w" if key == "available_down_w" else "limit_high_w"]
        assert 300.0 < outer[key] <= abs(end_w) <= 2_000.0 and outer[key] == pytest.approx(abs(end_w))
        assert inner[key] + other[key] == pytest.approx(outer[key])
        assert sum(page(stage, f"r{n}")[key == "available_down_w"] or 0.0 for n in range(4)) == pytest.approx(
            outer[key]
        )


def test_a_group_beyond_the_caps_that_were_shared_out_still_counts_by_its_own_limit() -> None:
    """What a neighbour took meanwhile is in the meters, and not yet in the caps."""
    stage = stage_of([0.0, 0.0])
    limit(stage, "feeder-1", -10_000.0, 1_000.0)
    stage.state.fleet.power_w[0] = 800.0
    seen = shown(stage, "feeder-1")
    assert seen["power_w"] + seen["available_up_w"] <= 1_000.0 + 1e-6
    assert page(stage, "feeder-1")[0] == pytest.approx(seen["available_up_w"])
    assert (page(stage, "r1")[0] or 0.0) <= 200.0


def test_a_limit_on_what_is_given_leaves_what_is_taken_free() -> None:
    stage = stage_of([0.0, 100.0], with_generation(BATTERIES))
    stage.state.fleet.power_w[0] = -2_000.0
    stage.state.fleet.available_up_w[0], stage.state.fleet.available_down_w[0] = 7_000.0, 3_000.0
    limit(stage, "feeder-1-generation", -10_000.0, 600.0)
    up_w, down_w = page(stage, "feeder-1")
    assert 2_000.0 <= (up_w or 0.0) <= 2_500.0, "the store may stop charging, and 500 W more may be given"
    assert down_w == pytest.approx(3_000.0 + 5_100.0)


def test_a_limit_of_a_site_holds_its_devices() -> None:
    stage = stage_of([0.0, 0.0], with_sites(BATTERIES, [0, 1]))
    limit(stage, "site-0", -400.0, 400.0)
    assert (page(stage, "r0")[0] or 0.0) <= 400.0 and (page(stage, "r0")[1] or 0.0) <= 400.0
    assert page(stage, "r1") == (5_000.0, 5_000.0)


def test_what_no_device_told_and_nothing_tells_stays_unknown() -> None:
    stage = stage_of([0.0])
    fleet = stage.state.fleet
    fleet.power_w[:] = fleet.available_up_w[:] = fleet.available_down_w[:] = np.nan
    assert page(stage, "r0") == (None, None)


POWERS = st.lists(st.floats(-5_000.0, 5_000.0), min_size=6, max_size=6)
ENDS = st.tuples(st.floats(-9_000.0, 0.0), st.floats(0.0, 9_000.0))


@settings(max_examples=60, deadline=None)
@given(POWERS, POWERS, ENDS, ENDS, st.booleans())
def test_nothing_shown_leads_beyond_a_limit_that_holds(
    before_w: list[float], now_w: list[float], inner: tuple[float, float], outer: tuple[float, float], killed: bool
) -> None:
    kinds = [Kind.BATTERY, Kind.WATER_HEATER, Kind.PV] * 2
    stage = Stage1(fleet_of(kinds, per_feeder=3))
    fleet = stage.state.fleet
    stage_of(np.clip(before_w, -fleet.max_absorb_w, fleet.max_inject_w).tolist(), stage)
    limit(stage, "feeder-1", *inner)
    limit(stage, "sub-1", *outer)
    stage_of(np.clip(now_w, -fleet.max_absorb_w, fleet.max_inject_w).tolist(), stage)
    stage.state.authority["kill"] = "on" if killed else "off"
    for name, ends in (("feeder-1", inner), ("feeder-2", (-np.inf, np.inf)), ("sub-1", outer)):
        seen = shown(stage, name)
        assert seen["available_up_w"] >= 0.0 and seen["available_down_w"] >= 0.0
        low_w, high_w = max(seen["limit_low_w"], ends[0]), min(seen["limit_high_w"], ends[1])
        assert seen["available_up_w"] <= max(high_w - seen["power_w"], 0.0) + 1e-6 or seen["limit_low_w"] > high_w
        assert seen["available_down_w"] <= max(seen["power_w"] - low_w, 0.0) + 1e-6 or seen["limit_low_w"] > high_w
        assert page(stage, name) == pytest.approx((seen["available_up_w"], seen["available_down_w"]))


def test_what_is_declared_and_offered_is_within_a_limit_for_as_long_as_it_lasts() -> None:
    stage = stage_of([0.0, 0.0])
    limit(stage, "feeder-1", -10_000.0, 500.0)
    state, rows, now_ns = stage.state, np.arange(2, dtype=np.int32), stage.clock.ns
    everyone = np.ones(2, np.bool_)
    for at_ns, most_w in ((now_ns, 500.0), (now_ns + HOUR_NS, 500.0), (now_ns + 3 * HOUR_NS, 10_000.0)):
        room = headroom(state, rows, everyone, np.zeros(2), SUSTAIN_H, at_ns)
        assert 0.0 < float(room.up_w.sum()) <= most_w
        assert float(room.up_w.sum()) > 0.9 * most_w
