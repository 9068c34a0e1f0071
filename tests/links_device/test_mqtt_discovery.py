"""Devices that announce themselves are found with the contract that fits; plugs by other makers are data."""

import asyncio
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_room import Log
from test_mqtt_interop import MOSQUITTO, PUB, mosquitto, run

from tieline.errors import ConfigError, PeerError
from tieline.links.device.mqtt.contract import Bound, contract_of, parse_contract
from tieline.links.device.mqtt.discovery import FoundDevice, discover, read_announcement, sort
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.identity import Rating
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.times import SECOND_NS
from tieline.wire.mqtt.packets import Connect, Publish

# The shape of documents that gateways publish, as the pages on MQTT discovery of Home Assistant and of each maker say.
PLUG = {
    "state_topic": "zigbee2mqtt/cellar/pump", "command_topic": "zigbee2mqtt/cellar/pump/set", "payload_on": "ON",
    "device": {"identifiers": ["zigbee2mqtt_0x01"], "name": "pump", "manufacturer": "Innr", "model": "SP 240"},
}  # fmt: skip
ROOM = {
    "temperature_state_topic": "zigbee2mqtt/room", "device": {"identifiers": "zigbee2mqtt_0x02", "name": "room"},
    "temperature_command_topic": "zigbee2mqtt/room/set/occupied_cooling_setpoint",
}  # fmt: skip
SHORT = {"~": "washer/", "stat_t": "stat/~POWER", "cmd_t": "cmnd/washer/POWER", "dev": {"ids": ["A1"], "mf": "Sonoff"}}
ENTITIES = {
    "homeassistant/switch/0x01/switch/config": PLUG,
    "homeassistant/sensor/0x01/power/config": {"state_topic": "zigbee2mqtt/cellar/pump", "device": PLUG["device"]},
    "homeassistant/climate/0x02/climate/config": ROOM,
    "homeassistant/switch/A1/config": SHORT,
    "homeassistant/camera/X/config": {"topic": "x", "device": {"identifiers": ["cam"], "name": "door"}},
}


def expected() -> list[FoundDevice]:
    return [
        FoundDevice("A1", "Sonoff", "", "tasmota", "tasmota", "washer", ["switch"], ("plug", "water_heater")),
        FoundDevice("door", "", "", "", "", "", ["camera"], ()),
        FoundDevice("pump", "Innr", "SP 240", "zigbee2mqtt", "zigbee2mqtt", "cellar/pump", ["sensor", "switch"],
                    ("plug", "water_heater")),
        FoundDevice("room", "", "", "zigbee2mqtt", "zigbee2mqtt", "room", ["climate"],
                    ("thermostat_cooling", "thermostat_heating")),
    ]  # fmt: skip


def test_announcements_become_devices_with_the_contract_that_fits() -> None:
    said = [read_announcement(topic, json.dumps(document).encode()) for topic, document in sorted(ENTITIES.items())]
    assert sort([one for one in said if one is not None]) == expected()


def test_an_announcement_taken_back_is_none() -> None:
    assert read_announcement("homeassistant/switch/A1/config", b"") is None


@given(st.text(max_size=40), st.one_of(st.binary(max_size=200), st.from_type(dict).map(repr).map(str.encode)))
def test_any_topic_and_bytes_are_an_announcement_or_the_declared_error(topic: str, payload: bytes) -> None:
    for where in (topic, "homeassistant/switch/A1/config"):
        try:
            read_announcement(where, payload)
        except PeerError as error:
            assert where in str(error)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PLUG, "~", "dev", "x"]), inner, max_size=4)))  # fmt: skip
def test_any_document_is_an_announcement_or_the_declared_error(document: object) -> None:
    try:
        read_announcement("homeassistant/switch/A1/config", json.dumps(document).encode())
    except PeerError:
        pass


def test_a_broker_is_scanned_and_a_crooked_announcement_hides_no_other() -> None:
    async def main(loop: VirtualLoop) -> list[FoundDevice]:
        broker = MqttBroker()
        await broker.start(port=1883)
        gateway = MqttClient(Connect("gateway", True, 60, None, None), lambda message: None)
        await gateway.open("127.0.0.1", 1883)
        for topic, document in ENTITIES.items():
            gateway.publish(topic, json.dumps(document).encode(), retain=True)
        gateway.publish("homeassistant/switch/B/config", b"{", retain=True)
        await asyncio.sleep(1)
        return await discover(MqttSettings("127.0.0.1", 1883, {}))

    assert run_virtual(main) == expected()


@pytest.mark.interop
@pytest.mark.skipif(not (MOSQUITTO and PUB), reason="mosquitto and mosquitto-clients are not installed")
def test_retained_announcements_are_found_on_mosquitto(tmp_path: Path) -> None:
    async def main() -> list[FoundDevice]:
        async with mosquitto(tmp_path, "allow_anonymous true") as port:
            for topic, document in ENTITIES.items():
                await run(str(PUB), "-p", str(port), "-r", "-t", topic, "-m", json.dumps(document))
            return await discover(MqttSettings("127.0.0.1", port, {}), seconds=1.0)

    assert asyncio.run(main()) == expected()


@pytest.mark.parametrize(
    ("contract", "state", "told"),
    [
        (
            "tasmota",
            [
                ("stat/washer/POWER", b"ON"),
                ("tele/washer/SENSOR", b'{"ENERGY":{"Total":3.185,"Power":1500,"Voltage":231,"Current":6.5}}'),
            ],
            ("cmnd/washer/POWER", b"OFF"),
        ),
        (
            "shelly_gen2",
            [
                (
                    "washer/status/switch:0",
                    b'{"id":0,"output":true,"apower":1500,"voltage":231,"current":6.5,"aenergy":{"total":3185}}',
                )
            ],
            ("washer/command/switch:0", b"off"),
        ),
    ],
)
def test_plugs_of_other_makers_are_read_and_told_by_their_own_topics(contract: str, state: list, told: tuple) -> None:
    bound = Bound(contract_of(contract), "unused", "washer")
    values: dict[str, float] = {}
    for topic, payload in state:
        assert topic in bound.topics
        values |= bound.read(topic, payload).values
    assert values == {
        "is_on": 1.0, "power_w": -1500.0, "voltage_v": 231.0, "current_a": 6.5, "energy_imported_wh": 3185.0,
    }  # fmt: skip
    assert bound.write({"is_on": 0.0}) == [told]


def test_half_a_pair_of_words_is_refused_by_its_path() -> None:
    text = 'says = "x"\nstate = "{device}"\n[fields.is_on]\nfield = "s"\non = "1"\noff = "0"\ntold_on = "go"\n'
    with pytest.raises(ConfigError, match=r"\$\.fields\.is_on\.told_on"):
        parse_contract("x", text)


def test_a_tasmota_plug_rests_when_told_and_is_seen_to() -> None:
    """The plug is played by a client that knows nothing of our contracts: it answers on stat/ what comes on cmnd/."""

    async def main(loop: VirtualLoop) -> list[Stage]:
        clock, log, broker = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log(), MqttBroker()
        await broker.start(port=1883)

        def obey(message: Publish) -> None:
            plug.publish("stat/washer/POWER", message.payload)
            watts = b"1500" if message.payload == b"ON" else b"0"
            plug.publish("tele/washer/SENSOR", b'{"ENERGY":{"Power":' + watts + b"}}")

        plug = MqttClient(Connect("washer", True, 60, None, None), obey)
        await plug.open("127.0.0.1", 1883)
        await plug.subscribe(["cmnd/washer/POWER"])
        plug.publish("tele/washer/LWT", b"Online", retain=True)
        device = MqttDevice("washer", "plug", Rating(max_absorb_w=2_000.0))
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = MqttSettings("127.0.0.1", 1883, {3: device}, contract="tasmota")
            link = MqttLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(2)
            obey(Publish("cmnd/washer/POWER", b"ON"))
            await asyncio.sleep(2)
            now, one = clock.now_ns(), np.ones(1)
            batch = CommandBatch(
                "c1", np.array([3], np.int32), 0 * one, -math.inf * one, math.inf * one, 0 * one, now, now,
                now + 600 * SECOND_NS, 1, 1, (),
            )  # fmt: skip
            await link.send(batch)
            await asyncio.sleep(30)
            assert log.last(3, "power_w")[0] == 0.0
            link.stop()
        return log.stages["c1", 3]

    assert run_virtual(main)[-1] is Stage.DONE
