"""What isn't known is said to be unknown, what is over is gone, and what needs a person alarms: on a node of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.alarms import abnormal_counts, device_alarms
from tieline.desk.screens import AskLimit
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.node.config import load_config, write_example
from tieline.node.operator import NodeOperator
from tieline.node.read_reached import steps_reached
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.resource.identity import Kind, Purpose
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.times import HOUR_NS, MINUTE_NS

START_NS = 1_700_000_000 * 10**9
UNHEARD, STALE, FAILED, SLOW = 6, 4, 3, 2


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


def _fleet(feeders: int, each: int) -> Fleet:
    count = feeders * each
    groups = [Group("sub-9", Kind.SUBSTATION, Purpose.ELECTRICAL, -1)]
    groups += [Group(f"feeder-{n + 1:02d}", Kind.FEEDER, Purpose.ELECTRICAL, 0) for n in range(feeders)]
    groups.append(Group("pool-1", Kind.POOL, Purpose.POOL, -1))
    return Fleet(
        [f"battery-{n}" for n in range(count)], np.full(count, KIND_CODE[Kind.BATTERY], np.uint8),
        np.full(count, 5e3), np.full(count, 5e3), np.full(count, 1e4), np.zeros(count), np.zeros(count), groups,
        {
            Purpose.ELECTRICAL: (1 + np.arange(count) // each).astype(np.int32),
            Purpose.POOL: np.full(count, len(groups) - 1, np.int32),
        },
    )  # fmt: skip


def on_node(
    folder: Path, fleet: Fleet, act: Callable[[Node, NodeReader, NodeOperator, HandClock], Awaitable[None]]
) -> None:
    """Do something on the node of a data folder whose devices were never heard."""
    write_example(folder / "tieline.toml")
    registry.save(fleet, folder / "registry.bin")

    async def main() -> None:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node, clock = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None), HandClock()
            node.clock = node.desk._clock = clock
            reader = NodeReader(node, Sources(), node.journal.reader())
            await act(node, reader, NodeOperator(node, reader), clock)

    asyncio.run(main())


async def _hear(node: Node, power_w: float) -> None:
    await asyncio.sleep(0.01)  # a view is kept for 2 us a device of the loop's time
    fleet = node.state.fleet
    fleet.power_w[:], fleet.quality[:], fleet.taken_at_ns[:] = power_w, 0, node.clock.now_ns()


def test_a_fleet_that_was_never_heard_is_unknown_and_alarms_at_once(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        view = reader.overview()
        assert (view.reporting, view.net_w, view.delivered_w, view.available_up_w, view.violations) == (0,) + (
            None,
        ) * 4
        assert [row.power_w for row in view.feeders] == [None] * 6
        (alarm,) = reader.alarms()
        assert (alarm.subject, alarm.count, alarm.priority, alarm.since_ns) == ("sub-9", 300, 1, START_NS)
        assert alarm.title
        assert alarm.consequence
        assert alarm.action
        assert alarm.respond_s > 0
        await _hear(node, 1_000.0)
        clock.ns += MINUTE_NS
        assert reader.alarms() == []
        assert reader.overview().net_w == pytest.approx(300_000.0)

    on_node(tmp_path, _fleet(6, 50), act)


def test_devices_without_a_feeder_alarm_too_and_their_screen_opens(tmp_path: Path) -> None:
    fleet = _fleet(1, 40)
    fleet.parents[Purpose.ELECTRICAL][:] = -1

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        (alarm,) = reader.alarms()
        assert (alarm.subject, alarm.count, alarm.link) == ("unassigned", 40, "/feeder/unassigned")
        assert reader.feeder("unassigned").row.power_w is None

    on_node(tmp_path, fleet, act)


def test_an_operators_limit_is_gone_from_every_screen_when_its_lease_ends(tmp_path: Path) -> None:
    """300 kW stand against a limit of 100 kW for an hour: shown until its last moment, alarmed once it had to be obeyed."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 3_000.0)
        granted = await operator.limit("feeder-01", AskLimit(-100e3, 100e3, 60, "works"), "ann")
        assert not isinstance(granted, Refusal)
        for minute, holds in ((1, True), (7, True), (59, True), (60, False), (61, False), (300, False)):
            clock.ns = START_NS + minute * MINUTE_NS
            await _hear(node, 3_000.0)
            row = next(row for row in reader.overview().feeders if row.feeder == "feeder-01")
            view = reader.feeder("feeder-01")
            over = [alarm for alarm in reader.alarms() if alarm.title.startswith("Over its limit")]
            assert (row.limit_high_w, view.row.limit_high_w) == ((100e3, 100e3) if holds else (None, None)), minute
            assert bool(view.asked) is holds, minute
            assert bool(over) is (holds and minute > 5), minute
            assert view.limits == (), "what was asked for the feeder is told once, as it was asked"

    on_node(tmp_path, _fleet(2, 100), act)


@pytest.mark.parametrize(("state", "count"), [(SLOW, 72), (FAILED, 72), (UNHEARD, 120), (STALE, 120)])
def test_trouble_that_lies_thin_over_many_feeders_is_one_alarm_of_the_substation(state: int, count: int) -> None:
    """Of 2,000 devices on 20 feeders, so many that no feeder has a tenth of its own in trouble."""
    cells = np.zeros(2_000, np.uint8)
    cells[np.arange(count) * (2_000 // count)] = state
    group_of = np.repeat(np.arange(20, dtype=np.int32), 100)
    names = [f"feeder-{n:02d}" for n in range(20)]
    (alarm,) = device_alarms(names, abnormal_counts(cells, group_of, 20), "sub-9", {}, 7)
    assert (alarm.subject, alarm.count, alarm.link) == ("sub-9", count, "/resource/sub-9")


def test_a_few_of_many_are_events_and_no_alarm() -> None:
    cells = np.zeros(2_000, np.uint8)
    cells[[3, 400, 800, 1_200]] = FAILED
    cells[[5, 401, 801, 1_201, 1_301]] = SLOW
    counts = abnormal_counts(cells, np.repeat(np.arange(20, dtype=np.int32), 100), 20)
    assert device_alarms([f"feeder-{n:02d}" for n in range(20)], counts, "sub-9", {}, 7) == []


def test_each_state_of_a_command_holds_within_the_one_before(tmp_path: Path) -> None:
    """All stages, at target and away from it, fit and unfit: never more acknowledged than delivered, and so on."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        rng, state = np.random.default_rng(3), node.state
        count = len(state.fleet)
        await _hear(node, 0.0)
        commands = state.commands
        commands.batch[:], commands.valid_until_ns[:] = 0, clock.ns + HOUR_NS
        commands.stage[:] = rng.choice([int(stage) for stage in Stage], count)
        commands.target_w[:] = np.where(rng.random(count) < 0.3, np.nan, 2_000.0)
        state.fleet.power_w[:] = rng.choice([0.0, 2_000.0, np.nan], count)
        state.fleet.quality[rng.random(count) < 0.1] = 0xFFFF
        steps = steps_reached(state, np.arange(count, dtype=np.int32), clock.ns)
        for before, after in itertools.pairwise(steps):
            assert not (after & ~before).any()
        told = list(reader.resource("feeder-01").stages.values())
        assert told == sorted(told, reverse=True)
        assert steps[3].sum() > 20
        # What never left its desk proves nothing, wherever the device stands.
        assert not steps[0][commands.stage == Stage.QUEUED].any()

    on_node(tmp_path, _fleet(2, 200), act)
