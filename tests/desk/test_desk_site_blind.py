"""A limit on a site's connection whose meters are read once a minute: the worst is assumed, and both ends hold (R17)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

MIXED = [Kind.BATTERY, Kind.PV, Kind.EV_CHARGER, Kind.WATER_HEATER]


def at_site(kinds: list[Kind]) -> Stage1:
    """Devices behind one connection."""
    plain = fleet_of(kinds)
    parents = {**plain.parents, Purpose.SITE: np.full(len(kinds), len(plain.groups), np.int32)}
    made = [*plain.groups, Group("site-1", Kind.SITE, Purpose.SITE, -1)]
    return Stage1(
        Fleet(
            plain.ids, plain.kinds, plain.max_inject_w, plain.max_absorb_w, plain.energy_wh, plain.default_w,
            plain.safe_w, made, parents,
        )
    )  # fmt: skip


def sums_w(
    kinds: list[Kind], free_w: list[float], low_w: float, high_w: float, minutes: int, *, tells: bool = False
) -> list[float]:
    """Return what a site gives (W), minute by minute: its devices do what they would by themselves within their caps.

    A meter is read once a minute, and looked at ten seconds before and half a minute after. Chargers that tell
    (`tells`) say with each reading what more their cars would take.
    """
    found: list[float] = []

    async def play() -> None:
        stage = at_site(kinds)
        devices, fleet, free = stage.devices, stage.state.fleet, np.array(free_w)
        fleet.power_w[:] = stage.state.base_w[:] = free
        end_ns = stage.clock.ns + 2 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "site-1", ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=end_ns)
        )
        for half in range(2 * minutes):
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            stage.clock.ns += 30 * SECOND_NS
            power_w = np.clip(free, devices.low_w, devices.high_w)
            if half % 2:
                fleet.power_w[:], fleet.taken_at_ns[:] = power_w, stage.clock.ns - 20 * SECOND_NS
                if tells:
                    cars = fleet.kinds == KIND_CODE[Kind.EV_CHARGER]
                    fleet.available_down_w[cars] = np.maximum(power_w - free, 0.0)[cars]
                found.append(float(power_w.sum()))

    asyncio.run(play())
    return found


def test_a_site_that_is_read_once_a_minute_keeps_both_ends_of_its_limit() -> None:
    sums = sums_w(MIXED, [3_000.0, 5_000.0, -5_000.0, -5_000.0], -4_000.0, 1_500.0, 12)
    assert all(-4_000.0 <= power_w <= 1_500.0 for power_w in sums[3:]), sums


@pytest.mark.parametrize(
    ("kinds", "free_w", "low_w"),
    [
        ([Kind.EV_CHARGER] * 2, [-5_000.0] * 2, -6_000.0),
        ([Kind.BATTERY, Kind.WATER_HEATER, Kind.WATER_HEATER], [-4_000.0, -5_000.0, -5_000.0], -9_500.0),
        ([Kind.BATTERY, Kind.EV_CHARGER, Kind.INTERRUPTIBLE_LOAD], [-4_000.0, -5_000.0, -5_000.0], -8_000.0),
    ],
)
def test_an_import_limit_on_a_site_that_is_read_once_a_minute_is_used_and_switches_nobody_to_and_fro(
    kinds: list[Kind], free_w: list[float], low_w: float
) -> None:
    sums = sums_w(kinds, free_w, low_w, 1e6, 12)
    assert all(low_w <= power_w <= 0.8 * low_w for power_w in sums[3:]), sums


@pytest.mark.parametrize(
    ("kinds", "free_w", "low_w", "high_w", "least_w"),
    [
        ([Kind.EV_CHARGER] * 4, [-5_000.0, 0.0, 0.0, 0.0], -5_500.0, 1e6, 4_500.0),
        ([Kind.EV_CHARGER] * 4, [-5_000.0, -5_000.0, 0.0, 0.0], -9_000.0, 1e6, 8_000.0),
        ([Kind.EV_CHARGER, Kind.WATER_HEATER, Kind.BATTERY], [-5_000.0, -5_000.0, 0.0], -12_000.0, 1e6, 9_900.0),
        ([Kind.PV, Kind.PV, Kind.BATTERY], [4_000.0, 300.0, 0.0], -1e6, 3_500.0, 3_200.0),
    ],
)
def test_who_was_heard_to_do_nothing_holds_no_room_of_a_site_that_is_read_once_a_minute(
    kinds: list[Kind], free_w: list[float], low_w: float, high_w: float, least_w: float
) -> None:
    sums = sums_w(kinds, free_w, low_w, high_w, 30, tells=True)
    assert all(low_w <= power_w <= high_w for power_w in sums[3:]), sums
    assert np.mean(np.abs(sums[6:])) >= least_w, sums


KINDS = st.sampled_from([Kind.BATTERY, Kind.PV, Kind.CHP, Kind.EV_CHARGER, Kind.WATER_HEATER, Kind.HYBRID_SITE])


# What a store draws too much, and a plant doesn't use; caps that are off by little where no margin is; and by 1 W.
DRAWS = [(Kind.HYBRID_SITE, -0.3), (Kind.EV_CHARGER, 0.0), (Kind.PV, 0.0)]
LITTLE = [(Kind.HYBRID_SITE, -0.3), (Kind.CHP, 0.087), (Kind.WATER_HEATER, -0.755), (Kind.HYBRID_SITE, 0.932)]
LEAST = [(Kind.WATER_HEATER, -0.001), (Kind.PV, 0.0), (Kind.BATTERY, -0.001), (Kind.EV_CHARGER, -0.001)]
STORES = [(Kind.BATTERY, -0.93), (Kind.HYBRID_SITE, -0.93), (Kind.PV, 0.0), (Kind.WATER_HEATER, 0.0)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.floats(-1, 1)), min_size=2, max_size=6),
    st.integers(-12, 0), st.integers(0, 12),
)  # fmt: skip
@example(DRAWS, 0, 0)
@example(LITTLE, 0, 0)
@example(LEAST, 0, 0)
@example(STORES, 0, 0)
def test_whatever_is_behind_a_connection_that_is_read_once_a_minute_both_ends_hold(drawn, low_kw, high_kw) -> None:
    kinds = [kind for kind, _ in drawn]
    plain = fleet_of(kinds)
    free_w = np.clip([5_000.0 * part for _, part in drawn], -plain.max_absorb_w, plain.max_inject_w)
    sums = sums_w(kinds, free_w.tolist(), 1e3 * low_kw, 1e3 * high_kw, 8)
    assert all(1e3 * low_kw - 1.0 <= power_w <= 1e3 * high_kw + 1.0 for power_w in sums[3:]), sums
