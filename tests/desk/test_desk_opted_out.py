"""Under a limit on a feeder an owner's opt-out is the last thing that is used."""

from __future__ import annotations

import asyncio
from itertools import permutations

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk import groups
from tieline.fleet.ledger import Ledger
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


def test_a_device_is_out_for_as_long_as_any_opt_out_bars_it_its_own_or_that_of_a_group() -> None:
    """Out by its feeder, at the console and at its end-point: whichever is taken back, the others stand, and bar it."""
    words = (("owner:feeder-1", "feeder-1"), ("owner:r0", "r0"), ("ven:r0", "r0"))

    async def play(order: tuple[int, ...]) -> tuple[list[list[bool]], list[list[bool]], list[bool]]:
        stage = batteries(0, 0.0)
        flags, gates = [], []
        for _ in range(2):  # said twice is said once
            for source, resource in words:
                stage.clock.ns += 1
                gate = {"source": source, "quantity": Quantity.CONNECT, "end_ns": stage.clock.ns + HOUR_NS}
                await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, resource, ClaimKind.GATE, **gate))
        for at in order:
            await stage.desk.withdraw(words[at][0], "p", words[at][1], Quantity.CONNECT, "f")
            flags.append(stage.state.opted_out.tolist())
            gates.append((stage.state.claims.arbitrate(stage.clock.ns, ROWS).barred >= 0).tolist())
        return flags, gates, stage.replayed(Ledger()).opted_out.tolist()

    for order in permutations(range(3)):
        flags, gates, replayed = asyncio.run(play(order))
        assert flags == gates
        assert flags[-1] == replayed == [False] * 6
        assert [row[0] for row in flags] == [True, True, False]
