"""Limits that share devices and follow each other within a second: no meter has shown what the last one changed."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, with_sites

from sampled import some
from tieline.desk.cycle import Cycle
from tieline.desk.ports import Granted
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

KINDS = [
    Kind.BATTERY, Kind.PV, Kind.EV_CHARGER, Kind.EV_CHARGER, Kind.EV_CHARGER, Kind.BATTERY, Kind.PV,
]  # fmt: skip
SITES = [0, 0, 0, 1, 1, 2, 2]
FREE_W = np.array([3e3, 5e3, -7.2e3, -7.2e3, -7.2e3, -3e3, 3e3])
RATINGS = {Kind.BATTERY: (5_000, 5_000), Kind.PV: (6_000, 0), Kind.EV_CHARGER: (0, 7_200)}
METERS_S, BEAT_S, END_S = 10.0, 60.0, 240.0


def rated() -> Stage1:
    stage = with_sites(KINDS, SITES)
    for row, kind in enumerate(KINDS):
        stage.state.fleet.max_inject_w[row], stage.state.fleet.max_absorb_w[row] = RATINGS[kind]
    return stage


def played(limits: list[tuple[float, str, float, float]], beats_s: list[float]) -> list[tuple[float, np.ndarray]]:
    """When the desk decided (s), and what each device does from then on (W).

    `limits`: when each comes, on whom, and its ends. `beats_s`: when the desk beats beside that and each minute, as it
    does where other groups' limits come. All meters are read every ten seconds.
    """
    stage = rated()
    desk, fleet, devices, start_ns = stage.desk, stage.state.fleet, stage.devices, stage.clock.ns
    is_car, found = fleet.kinds == KIND_CODE[Kind.EV_CHARGER], []
    fleet.power_w[:] = stage.state.base_w[:] = FREE_W

    def does_w() -> np.ndarray:
        within_w = np.clip(FREE_W, devices.low_w, devices.high_w)
        return np.where(is_car & (within_w > -LEAST_CHARGE_W), 0.0, within_w)

    async def play() -> None:
        cycle = Cycle(desk, {})
        minutes_s, meters_s = np.arange(0.0, END_S, BEAT_S), np.arange(0.0, END_S, METERS_S)
        events = [(at_s, 0, (group, low_w, high_w)) for at_s, group, low_w, high_w in limits]
        events += [(float(at_s), 1, None) for at_s in (*beats_s, *minutes_s)]
        events += [(float(at_s), 2, None) for at_s in meters_s]
        for at_s, order, limit in sorted(events, key=lambda event: event[:2]):
            stage.clock.ns = start_ns + int(at_s * SECOND_NS)
            if order == 2:
                fleet.power_w[:], fleet.taken_at_ns[:] = does_w(), stage.clock.ns
                continue
            if limit is not None:
                group, low_w, high_w = limit
                ask = stage.ask(
                    "dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=start_ns + HOUR_NS
                )
                assert isinstance(await desk.ask(ask), Granted)
            await cycle.beat(stage.clock.ns)
            await desk.flush()
            found.append((at_s, does_w()))

    asyncio.run(play())
    return found


@pytest.mark.parametrize("low_w", [-3_000.0, -4_000.0, -5_000.0, -6_000.0])
@pytest.mark.parametrize("high_w", some([2_500.0, 4_000.0, 3_000.0, 5_000.0], 2))
def test_as_a_feeders_limit_is_tightened_neither_it_nor_a_homes_own_is_left_beyond_an_end(low_w, high_w) -> None:
    """The car that is cut for the feeder carried what the home's store gives: that gives less in the same beat."""
    tightened_s = 99.05
    limits = [
        (13.0, "site-0", -4_000.0, 1_500.0), (21.0, "feeder-1", -8_000.0, 12_000.0),
        (tightened_s, "feeder-1", low_w, high_w),
    ]  # fmt: skip
    for at_s, does_w in played(limits, [tightened_s + 0.08, tightened_s + 0.16, tightened_s + 0.24]):
        if at_s >= 13.0:
            assert -4_000.0 <= does_w[:3].sum() <= 1_500.0, (at_s, does_w.round())
        if at_s >= tightened_s:
            assert low_w - 1.0 <= does_w.sum() <= high_w + 1.0, (at_s, does_w.round())
