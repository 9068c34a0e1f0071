"""A plug behind a broker that keeps no limit is named, whether it says yes or nothing, as long as it has a meter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.ports import Ask
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Ledger
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node, replayed
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.command import Stage
from tieline.resource.identity import Kind, Purpose, Rating
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttFault, MqttUnit, PlugBody
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, SECOND_NS

PLUGS, RATED_W, LOOK_S, MINUTES = 6, 2_000.0, 5, 25
NEVER, TOOK = "Beyond a limit that it never confirmed: plug-0", "Beyond a limit that it took: plug-0"


class UnmeteredUnit(MqttUnit):
    """It tells no power."""

    def state(self) -> dict[str, object]:
        return {key: value for key, value in super().state().items() if key != "power"}


def fleet() -> Fleet:
    groups = [
        Group("sub-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1),
        Group("feeder-1", Kind.FEEDER, Purpose.ELECTRICAL, 0),
    ]
    return Fleet(
        [f"plug-{n}" for n in range(PLUGS)], np.full(PLUGS, KIND_CODE[Kind.SHIFTABLE_LOAD], np.uint8), np.zeros(PLUGS),
        np.full(PLUGS, RATED_W), np.zeros(PLUGS), np.zeros(PLUGS), np.zeros(PLUGS), groups,
        {Purpose.ELECTRICAL: np.ones(PLUGS, np.int32)},
    )  # fmt: skip


def looked(
    folder: Path, fault: MqttFault, mends_s: float = 1e9, has_meter: bool = True, next_fault: MqttFault | None = None
) -> tuple[list[list[str]], set[Stage]]:
    """Return the titles of the alarms of devices every five seconds while a limit holds, and the stages of `plug-0`.

    All draw as it comes. `plug-0` has a fault until it is mended, `plug-1` may have one; the others do as they are told.
    """

    async def main(loop: VirtualLoop) -> tuple[list[list[str]], set[Stage]]:
        clock, broker, plugs, titles, stages = (
            VirtualClock(loop, 1_700_000_000 * SECOND_NS),
            MqttBroker(),
            fleet(),
            [],
            set(),
        )
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            made = MqttUnit if has_meter else UnmeteredUnit
            units = [
                made("plug-0", PlugBody(RATED_W), fault=fault),
                MqttUnit("plug-1", PlugBody(RATED_W), fault=next_fault or MqttFault()),
                *(MqttUnit(f"plug-{n}", PlugBody(RATED_W)) for n in range(2, PLUGS)),
            ]
            MqttDevices(units, supervisor, "127.0.0.1", 1883).start()
            await asyncio.sleep(1)
            journal = SqliteJournal(folder / "journal.db")
            state = replayed(plugs, Ledger(), journal)
            people = {"dno": Principal("dno", Level.ENVELOPE, frozenset({"feeder-1"}))}
            node = Node(state, journal, clock, supervisor, people, {})
            devices = {n: MqttDevice(f"plug-{n}", "plug", Rating(max_absorb_w=RATED_W)) for n in range(PLUGS)}
            link = MqttLink(
                MqttSettings("127.0.0.1", 1883, devices), node.desk, clock, supervisor, np.random.default_rng(2)
            )
            node.desk.bind(link, "mqtt", {n: f"plug-{n}" for n in range(PLUGS)})
            link.start()
            node.start()
            reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
            await asyncio.sleep(90)
            now_ns = clock.now_ns()
            limit = Ask(
                "dno",
                "dno",
                "works",
                Level.ENVELOPE,
                "feeder-1",
                Quantity.P,
                ClaimKind.LIMIT,
                1,
                now_ns,
                now_ns + HOUR_NS,
                -1_000.0,
                1e6,
            )
            assert not isinstance(await node.desk.ask(limit), Refusal)
            for look in range(MINUTES * 60 // LOOK_S):
                if look * LOOK_S == mends_s:
                    fault.ignores = fault.only_says = False
                await asyncio.sleep(LOOK_S)
                titles.append([alarm.title for alarm in reader.alarms() if alarm.subject.startswith("plug-")])
                stages.add(Stage(int(state.commands.stage[0])))
            link.stop()
            await node.group.drained()
        journal.close()
        return titles, stages

    return run_virtual(main)


@pytest.mark.parametrize(("fault", "title"), [(MqttFault(ignores=True), NEVER), (MqttFault(only_says=True), TOOK)])
def test_a_plug_that_ignores_a_limit_is_named_within_minutes_and_for_as_long_as_it_does(
    tmp_path: Path, fault: MqttFault, title: str
) -> None:
    titles, stages = looked(tmp_path, fault)
    assert Stage.UNCONFIRMED in stages
    first = next(at for at, found in enumerate(titles) if found)
    assert first * LOOK_S <= 480
    assert titles[first:] == [[title]] * (len(titles) - first), "without a break, however often it is told again"


def test_of_two_plugs_each_is_named_for_what_it_does_however_often_it_is_told_again(tmp_path: Path) -> None:
    titles, _ = looked(tmp_path, MqttFault(ignores=True), next_fault=MqttFault(only_says=True))
    later = titles[600 // LOOK_S :]
    assert later == [[NEVER, TOOK.replace("plug-0", "plug-1")]] * len(later)


def test_a_plug_that_obeys_at_last_is_named_no_longer(tmp_path: Path) -> None:
    titles, _ = looked(tmp_path, MqttFault(ignores=True), mends_s=900.0)
    assert titles[890 // LOOK_S] == [NEVER]
    assert titles[1_200 // LOOK_S :] == [[]] * (len(titles) - 1_200 // LOOK_S)


def test_a_plug_without_a_meter_is_named_by_nobody_as_nothing_tells_what_it_draws(tmp_path: Path) -> None:
    titles, stages = looked(tmp_path, MqttFault(ignores=True), has_meter=False)
    assert Stage.UNCONFIRMED in stages and titles == [[]] * len(titles)
