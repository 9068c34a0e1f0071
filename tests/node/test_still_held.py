"""A device that holds on to what it was told, though it was let go: it is told again, and named for as long as it does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.ports import Ask
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Ledger
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.node.read_resource import in_control, resource_view
from tieline.node.read_trace import told_of
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node, replayed
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind, Purpose, Rating
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody, RoomBody
from tieline.store.journal import SqliteJournal
from tieline.times import SECOND_NS

RATED_W, OWN_C, LOOK_S, LASTS_S = 2_000.0, 23.0, 5, 120
KINDS = {"room": Kind.THERMOSTAT, "plug": Kind.INTERRUPTIBLE_LOAD, "heater": Kind.WATER_HEATER}
PROFILES = {"room": "thermostat_cooling", "plug": "plug", "heater": "water_heater"}
OTHERS = 7
NAMED = "Holds what was taken back: {}"


@dataclass
class Seen:
    """What was seen every `LOOK_S` after the limit was over: alarms, words, and what the devices held."""

    titles: list[list[str]] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    overview: list[dict[str, int]] = field(default_factory=list)
    is_own: list[bool] = field(default_factory=list)
    is_said: list[bool] = field(default_factory=list)


def fleet() -> Fleet:
    names = [*KINDS, *(f"other-{n}" for n in range(OTHERS))]
    kinds = [KIND_CODE[kind] for kind in KINDS.values()] + [KIND_CODE[Kind.INTERRUPTIBLE_LOAD]] * OTHERS
    count, none = len(names), np.zeros((5, len(names)))
    groups = [
        Group("sub-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1),
        Group("feeder-1", Kind.FEEDER, Purpose.ELECTRICAL, 0),
    ]
    return Fleet(
        names, np.array(kinds, np.uint8), none[0], np.full(count, RATED_W), *none[1:4], groups,
        {Purpose.ELECTRICAL: np.ones(count, np.int32)},
    )  # fmt: skip


def seen(folder: Path, name: str, fault: str, for_s: float, looks_s: float) -> Seen:
    """Return what is seen of one device that has a fault while a limit on it ends, and for so long after that."""

    async def main(loop: VirtualLoop) -> Seen:
        clock, broker, found = VirtualClock(loop, 1_700_000_000 * SECOND_NS), MqttBroker(), Seen()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            units = {
                "room": MqttUnit("room", RoomBody(clock, RATED_W, OWN_C, 35.0), "cool"),
                **{one: MqttUnit(one, PlugBody(RATED_W)) for one in fleet().ids if one != "room"},
            }
            MqttDevices(list(units.values()), supervisor, "127.0.0.1", 1883, every_s=10.0).start()
            await asyncio.sleep(1)
            journal = SqliteJournal(folder / "journal.db")
            state = replayed(fleet(), Ledger(), journal)
            node = Node(
                state, journal, clock, supervisor, {"dno": Principal("dno", Level.ENVELOPE, frozenset({name}))}, {}
            )
            rating = Rating(max_absorb_w=RATED_W)
            devices = {
                row: MqttDevice(one, PROFILES.get(one, "plug"), rating) for row, one in enumerate(state.fleet.ids)
            }
            how = MqttSettings("127.0.0.1", 1883, devices)
            link = MqttLink(how, node.desk, clock, supervisor, np.random.default_rng(2))
            node.desk.bind(link, "mqtt", dict(enumerate(state.fleet.ids)))
            link.start()
            node.start()
            reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
            await asyncio.sleep(90)
            now_ns = clock.now_ns()
            limit = Ask(
                "dno", "dno", "works", Level.ENVELOPE, name, Quantity.P, ClaimKind.LIMIT, 1, now_ns,
                now_ns + LASTS_S * SECOND_NS, 0.0, 1e6,
            )  # fmt: skip
            assert not isinstance(await node.desk.ask(limit), Refusal)
            await asyncio.sleep(LASTS_S - 5.0)
            setattr(units[name].fault, fault, True)
            await asyncio.sleep(5.0)
            for look in range(int(looks_s / LOOK_S)):
                if look * LOOK_S >= for_s:
                    setattr(units[name].fault, fault, False)
                await asyncio.sleep(LOOK_S)
                body = units[name].body.read()
                now_ns = clock.now_ns()
                found.titles.append([alarm.title for alarm in reader.alarms()])
                found.controls.append(resource_view(state, {}, name, {}, now_ns).controls)
                found.overview.append(in_control(state, now_ns))
                found.is_said.append(bool(told_of(state, journal, [], name, now_ns)["unreleased"]))
                found.is_own.append(body["setpoint_c"] == OWN_C if name == "room" else body["is_on"] == 1.0)
            link.stop()
            await node.group.drained()
        journal.close()
        return found

    return run_virtual(main)


@pytest.mark.parametrize("name", list(KINDS))
def test_who_does_not_let_go_is_named_without_a_break_until_it_does(tmp_path: Path, name: str) -> None:
    found = seen(tmp_path, name, "ignores", for_s=1_800.0, looks_s=2_700.0)
    first, mended = next(at for at, titles in enumerate(found.titles) if titles), 1_800 // LOOK_S
    assert first * LOOK_S <= 480
    assert found.titles[first:mended] == [[NAMED.format(name)]] * (mended - first)
    ends = next(at for at in range(mended, len(found.titles)) if found.is_own[at])
    assert (ends - mended) * LOOK_S <= 240, "the desk tells it so again every few minutes"
    assert found.titles[ends + 2 :] == [[]] * (len(found.titles) - ends - 2)


@pytest.mark.parametrize("name", list(KINDS))
def test_nobody_says_of_who_does_not_let_go_that_it_runs_freely(tmp_path: Path, name: str) -> None:
    found = seen(tmp_path, name, "ignores", for_s=900.0, looks_s=1_500.0)
    later = range(60 // LOOK_S, 900 // LOOK_S)
    assert not [found.controls[at] for at in later if "runs freely" in found.controls[at]]
    assert all(found.is_said[at] for at in later)
    assert {found.overview[at]["runs freely"] for at in later} == {len(KINDS) + OTHERS - 1}
    assert "runs freely" in found.controls[-1] and not found.is_said[-1]


@pytest.mark.parametrize("name", list(KINDS))
def test_who_hears_nothing_for_less_than_a_minute_has_its_own_back_within_another_and_calls_nobody(
    tmp_path: Path, name: str
) -> None:
    found = seen(tmp_path, name, "is_deaf", for_s=51.0, looks_s=600.0)
    assert found.is_own[111 // LOOK_S]
    assert found.titles == [[]] * len(found.titles)
