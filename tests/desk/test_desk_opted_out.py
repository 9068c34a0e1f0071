"""Under a limit on a feeder an owner's opt-out is the last thing that is used."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS

RATED_W, MARGIN_FRAC = 5_000.0, groups.MARGIN_FRAC
ROWS = np.arange(6, dtype=np.int32)


def batteries(out: int, gives_w: float) -> Stage1:
    """Six batteries of which some opted out and stand by, and the others give what they are called for."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 6))
    stage.state.opted_out[:out] = True
    stage.state.fleet.power_w[out:] = gives_w
    return stage


@given(st.integers(1, 5), st.floats(0.0, RATED_W), st.floats(-29_000.0, 29_000.0), st.sampled_from([1.0, -1.0]))
def test_nobody_who_opted_out_is_pressed_while_a_neighbour_could_still_give_way(
    out: int, gives_w: float, limit_w: float, side: float
) -> None:
    """A limit on what is fed in (side 1) presses to charge, one on what is drawn (side -1) presses to give."""
    stage = batteries(out, side * gives_w)
    ends = (-9e9, limit_w) if side > 0 else (-limit_w, 9e9)
    low, high = groups.caps(stage.state, ROWS, *ends, stage.clock.ns)
    caps_w = high if side > 0 else -low
    if (caps_w[:out] < -1.0).any():
        assert caps_w[out:] == pytest.approx(np.full(6 - out, -RATED_W)), "all others are at their least"
    margin_w = MARGIN_FRAC * min(6 * RATED_W, abs(limit_w))
    assert caps_w.sum() == pytest.approx(limit_w - margin_w, abs=1.0), "and the limit is kept as before"


def test_a_battery_whose_owner_opted_out_stands_by_while_called_neighbours_charge_for_a_limit() -> None:
    async def play() -> tuple[list[float], list[float]]:
        stage = batteries(0, 4_000.0)
        stage.state.limiter.system_w = stage.state.limiter.feeder_w[:] = np.inf
        out = stage.ask("owner", Level.OWNER_NEED, "r0", ClaimKind.GATE, quantity=Quantity.CONNECT)
        await stage.desk.ask(out)
        stage.state.fleet.power_w[0] = 0.0
        told = []
        for version, high_w in ((1, -10_000.0), (2, -27_000.0)):
            limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-9e9, high=high_w,
                              version=version, end_ns=stage.clock.ns + HOUR_NS)  # fmt: skip
            await stage.desk.ask(limit)
            await stage.desk.settle()
            told.append(stage.devices.high_w.tolist())
        return told[0], told[1]

    soft, hard = asyncio.run(play())
    assert soft[0] == pytest.approx(0.0)
    assert sum(soft) == pytest.approx(-10_000.0, rel=0.02)
    assert hard[1:] == pytest.approx([-RATED_W] * 5)
    assert hard[0] == pytest.approx(-2_000.0, rel=0.15), "where they can't keep it, it helps"
