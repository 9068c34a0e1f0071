"""What devices measure is published within seconds, whether the desk has something to decide or not."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import numpy as np

from tieline.desk.ports import Snapshot
from tieline.node.runtime import STARTS_S, TELLS_S
from tieline.node.stage import raise_stage, scenario
from tieline.node.timing import living
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS


class Seen:
    """A control room that notes what it is shown."""

    name = "seen"

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    async def publish(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


def test_a_change_between_two_beats_is_published_within_five_seconds_and_never_an_older_view_after_a_newer(
    tmp_path: Path,
) -> None:
    what = scenario("cloud")
    when = living(date.fromisoformat(what.day), 2 * HOUR_NS)
    shown, seen = list[tuple[int, float]](), Seen()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path)
            node, fleet = stage.node, stage.node.state.fleet
            node.publishers.append(seen)
            node.start(tells=True)
            await asyncio.sleep(90)
            # A few seconds after a beat the plant that gives most tells that it stopped.
            now_ns = clock.now_ns()
            await asyncio.sleep((MINUTE_NS - now_ns % MINUTE_NS) / SECOND_NS + 7.0)
            told_ns, plants = clock.now_ns(), stage.territory.by_kind[Kind.PV]
            rows = plants[[np.nan_to_num(fleet.power_w[plants]).argmax()]]
            gave_w, feeder = float(fleet.power_w[rows[0]]), stage.territory.feeders[stage.territory.feeder_of[rows[0]]]
            one = np.ones(1, np.int64)
            node.desk.readings(
                Readings(
                    rows, np.array([code("power_w")], np.uint16), np.zeros(1),
                    np.zeros(1, np.uint32), told_ns * one, told_ns * one, "test",
                )
            )  # fmt: skip
            await asyncio.sleep(TELLS_S + 1.0)
            shown.extend(
                (snapshot.at_ns - told_ns, view.values["power_w"].value)
                for snapshot in seen.snapshots
                for view in snapshot.groups
                if view.resource == feeder
            )
            assert gave_w > 500.0

    run_virtual(main)
    before_w = [power_w for at_ns, power_w in shown if at_ns < 0][-1]
    after_w = [power_w for at_ns, power_w in shown if at_ns >= 0]
    assert after_w and before_w - after_w[0] > 400.0
    assert [at_ns for at_ns, _ in shown] == sorted(at_ns for at_ns, _ in shown)


def test_the_first_beat_comes_seconds_after_a_start_and_not_at_the_minutes_mark(tmp_path: Path) -> None:
    """A limit that ended while no server ran must not hold a device for up to a minute more."""
    what = scenario("cloud")
    when = living(date.fromisoformat(what.day), 2 * HOUR_NS)
    beats_s = list[float]()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns + 10 * SECOND_NS)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path)
            began_ns = clock.now_ns()

            async def beaten() -> None:
                beats_s.append((clock.now_ns() - began_ns) / SECOND_NS)

            stage.node.after_beat.append(beaten)
            stage.node.start(tells=True)
            await asyncio.sleep(30)

    run_virtual(main)
    assert [at_s for at_s in beats_s if STARTS_S <= at_s <= STARTS_S + 1.0], beats_s
