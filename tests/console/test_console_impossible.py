"""A power that a device can't have counts in no sum that a person reads or a limit goes by; whose it was is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from test_console_unknown import HandClock, _fleet, on_node

from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.times import HOUR_NS, MINUTE_NS, floor_ns

FEEDERS, EACH = 6, 5
MOST_W = 1.2 * 5_000.0 + 500.0
"""A fifth and 500 W beyond what each of the batteries is rated (docs/do/readings.md)."""
POWERS_W = (-5_000.0, -1.0, 0.0, 4_999.0, MOST_W, MOST_W + 1.0, -MOST_W - 1.0, 1e9, -1e9, 2e12)


async def told(node: Node, clock: HandClock, power_w: np.ndarray) -> None:
    """Have every device tell a power (W; NaN: it says nothing)."""
    await asyncio.sleep(0.01)  # a view is kept for 2 us a device of the loop's time
    rows = np.flatnonzero(np.isfinite(power_w)).astype(np.int32)
    codes, at_ns = np.full(len(rows), code("power_w"), np.uint16), np.full(len(rows), clock.ns, np.int64)
    node.desk.readings(Readings(rows, codes, power_w[rows], np.zeros(len(rows), np.uint32), at_ns, at_ns, "meters"))


def sum_of(power_w: np.ndarray) -> float | None:
    """Return what can be true of some powers (W) added up; None where none of them can."""
    true = np.abs(power_w) <= MOST_W
    return float(power_w[true].sum()) if true.any() else None


def near(value: float | None) -> object:
    return None if value is None else pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_no_sum_counts_what_a_device_can_not_have_and_the_hour_names_it(tmp_path: Path, seed: int) -> None:
    rng, count = np.random.default_rng(seed), FEEDERS * EACH
    sums, bases, whose = list[float](), list[float](), set[int]()

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        fleet, pool = node.state.fleet, node.cycle.pools["pool-1"]
        clock.ns = floor_ns(clock.ns, HOUR_NS) + MINUTE_NS
        for _ in range(5):
            clock.ns += MINUTE_NS
            power_w = rng.choice(POWERS_W, count)
            power_w[:EACH] = 1e9  # of all behind one feeder
            await told(node, clock, power_w)
            node.state.base_w[:] = rng.normal(0.0, 1e3, count)
            true = np.abs(power_w) <= MOST_W
            whose.update(np.flatnonzero(~true).tolist())
            sums.append(power_w[true].sum())
            bases.append(node.state.base_w[true].sum())
            reader.hours.sample(node.state, pool, clock.ns)
            view = reader.overview()
            assert view.net_w == near(sum_of(power_w))
            for row in view.feeders:
                mine = power_w[fleet.leaves(row.feeder)]
                assert row.power_w == near(sum_of(mine)), row.feeder
                assert row.given_w == near(None if row.power_w is None else sum_of(np.where(mine < 0.0, 0.0, mine)))
                page = reader.resource(row.feeder)
                assert page.scada.power_w == near(sum_of(mine))
                base_w = node.state.base_w[fleet.leaves(row.feeder)][np.abs(mine) <= MOST_W].sum()
                moved_w = None if row.power_w is None else row.power_w - base_w
                assert page.market.delivered_w == near(moved_w)
                for part in page.parts:
                    assert part.power_w == near(sum_of(power_w[fleet.leaves(part.id)]))
            assert {row.feeder: row.power_w for row in view.feeders}["feeder-01"] is None
        (hour,) = [hour for hour in reader.market().hours if hour.start_ns <= clock.ns < hour.end_ns]
        assert (hour.telemetry_w, hour.baseline_w) == (near(float(np.mean(sums))), near(float(np.mean(bases))))
        named = ", ".join(f"battery-{row}" for row in range(EACH))  # those of the feeder of which none can be true
        more = f" and {len(whose) - EACH} more"
        assert hour.left_out == f"readings beyond what their devices are rated for were left out: {named}{more}"
        # On its own page a device shows what it says, and what is held against it.
        own = reader.resource("battery-0").scada
        assert own.power_w == 1e9 and "out of range" in own.quality

    on_node(tmp_path, _fleet(FEEDERS, EACH), act)


def test_an_hour_in_which_all_could_be_true_leaves_nothing_out(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await told(node, clock, np.full(FEEDERS * EACH, MOST_W))
        reader.hours.sample(node.state, node.cycle.pools["pool-1"], clock.ns)
        (hour,) = [hour for hour in reader.market().hours if hour.start_ns <= clock.ns < hour.end_ns]
        assert (hour.telemetry_w, hour.left_out) == (near(FEEDERS * EACH * MOST_W), "")

    on_node(tmp_path, _fleet(FEEDERS, EACH), act)


def test_no_group_is_said_to_be_over_its_limit_by_what_a_device_can_not_have(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await operator.limit("feeder-02", AskLimit(-20_000.0, 20_000.0, 60, "a hot day"), "ann")
        for _ in range(10):
            clock.ns += MINUTE_NS
            power_w = np.full(FEEDERS * EACH, 100.0)
            power_w[EACH] = 1e9
            await told(node, clock, power_w)
            assert [alarm.title for alarm in reader.alarms() if "Over its limit" in alarm.title] == []
        clock.ns += MINUTE_NS
        power_w[EACH : 2 * EACH] = [1e9, 6_000.0, 6_000.0, 6_000.0, 6_000.0]
        for _ in range(10):
            clock.ns += MINUTE_NS
            await told(node, clock, power_w)
            titles = [alarm.title for alarm in reader.alarms()]
        assert "Over its limit by 4.0 kW" in titles, titles

    on_node(tmp_path, _fleet(FEEDERS, EACH), act)


def caps(
    folder: Path, said_w: float, ends_w: tuple[float, float], wish_w: np.ndarray, is_two: bool
) -> list[np.ndarray]:
    """Return the caps (W), low and high, that a limit leaves to the devices of a feeder in each of some beats.

    All but the first, or the first two, do what they wish within their caps, and say so; those say `said_w`.
    """
    found: list[np.ndarray] = []

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        rows = np.arange(EACH, dtype=np.int32)
        node.state.fleet.column("soc_frac")[:] = 0.5
        node.state.fleet.available_up_w[:] = node.state.fleet.available_down_w[:] = 5_000.0
        await told(node, clock, wish_w)
        await node.beat()
        await operator.limit("feeder-01", AskLimit(*ends_w, 60, "a hot day"), "ann")
        for _ in range(4):
            clock.ns += MINUTE_NS
            settled = node.state.claims.arbitrate(clock.ns, rows)
            power_w = np.clip(wish_w, settled.low_w, settled.high_w)
            power_w[: 1 + is_two] = said_w
            await told(node, clock, power_w)
            await node.beat()
            settled = node.state.claims.arbitrate(clock.ns, rows)
            found.append(np.stack([settled.low_w, settled.high_w]))

    folder.mkdir()
    on_node(folder, _fleet(1, EACH), act)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_what_can_not_be_true_is_the_same_to_a_limit_whatever_it_is(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends_w = (-float(rng.integers(1, 15)) * 1e3, float(rng.integers(1, 15)) * 1e3)
    wish_w = rng.uniform(-5_000.0, 5_000.0, EACH)
    said = (MOST_W + 1.0, -MOST_W - 1.0, 1e9, -1e9)
    first, *others = [caps(tmp_path / f"{n}", said_w, ends_w, wish_w, seed % 2 == 1) for n, said_w in enumerate(said)]
    for said_w, other in zip(said[1:], others, strict=True):
        for n, (was, found) in enumerate(zip(first, other, strict=True)):
            np.testing.assert_allclose(found, was, atol=1e-6, err_msg=f"{said_w} W in beat {n}, limit {ends_w}")
            low_w, high_w = found.sum(axis=1)
            assert ends_w[0] <= low_w and high_w <= ends_w[1], "all together are left no more than the limit"
