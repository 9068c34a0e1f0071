"""Streams that freeze: nothing arrives any more, in either direction, and nobody is told."""

import asyncio

import numpy as np
from mqtt_room import PLUG, Log, settings
from test_device_scale import Still

from tieline.desk.ports import Session
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttLink
from tieline.links.device.sunspec_models import model
from tieline.resource.quality import Quality
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.network import Network
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS
from tieline.wire.mqtt.packets import ConnAck, Connect, SubAck, Subscribe, Will, octets
from tieline.wire.mqtt.reading import PacketReader


class Freezing:
    """A path that carries until it is frozen, and from then on nothing."""

    def __init__(self) -> None:
        self.is_frozen = False

    def delay_s(self, now_s: float, size: int) -> float:
        return float("inf") if self.is_frozen else 0.001


def network() -> tuple[Network, list[Freezing]]:
    paths: list[Freezing] = []

    def route(host: str, port: int) -> Freezing:
        paths.append(Freezing())
        return paths[-1]

    return Network(route), paths


def test_a_frozen_modbus_stream_is_cut_and_a_fresh_one_carries_on() -> None:
    net, paths = network()

    async def main(loop: VirtualLoop) -> tuple:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        server = SunSpecServer({1: SunSpecDevice(Still(), 5_000.0, 10_000.0, models, clock)})
        await server.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            given = ModbusSettings({PLUG: "127.0.0.1:502/1"}, {}, poll_s=10.0)
            link = ModbusLink(given, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(15)
            paths[0].is_frozen = True
            await asyncio.sleep(200)
            lost = max(Quality(int(q)) for readings in log.readings_ for q in readings.quality)
            return lost, log.last(PLUG, "power_w")[1], link.health().session, len(paths)

    assert run_virtual(main, net) == (Quality.COMM_LOST, Quality.GOOD, Session.LIVE, 2)


def test_a_broker_that_falls_silent_is_given_up_after_one_and_a_half_keep_alives() -> None:
    class Deaf(asyncio.Protocol):
        """Welcomes, grants, and says nothing more."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.transport, self.reader = transport, PacketReader()

        def data_received(self, data: bytes) -> None:
            for packet in self.reader.feed(data):
                if isinstance(packet, Connect):
                    self.transport.write(octets(ConnAck(0)))
                elif isinstance(packet, Subscribe):
                    self.transport.write(octets(SubAck(packet.packet_id, (1,) * len(packet.filters))))

    async def main(loop: VirtualLoop) -> list:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        await loop.create_server(Deaf, "127.0.0.1", 1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            link = MqttLink(settings(keep_alive_s=20), log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(29)
            early = [health.session for health in log.healths]
            await asyncio.sleep(13)
            link.stop()
            return [Session.DOWN in early, Session.DOWN in [health.session for health in log.healths]]

    assert run_virtual(main) == [False, True]


def test_a_link_finds_its_broker_again_after_the_stream_froze() -> None:
    net, paths = network()

    async def main(loop: VirtualLoop) -> tuple:
        clock, log = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Log()
        broker = MqttBroker()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            MqttDevices([MqttUnit("plug", PlugBody(2_000.0))], supervisor, "127.0.0.1", 1883).start()
            await asyncio.sleep(1)
            link = MqttLink(settings(keep_alive_s=20), log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(5)
            paths[1].is_frozen = True
            await asyncio.sleep(165)
            link.stop()
            lost = [health.session for health in log.healths]
            return Session.DOWN in lost, link.health().session, log.last(PLUG, "power_w")[1]

    assert run_virtual(main, net) == (True, Session.LIVE, Quality.GOOD)


def test_the_broker_speaks_the_will_of_a_client_that_says_nothing() -> None:
    async def main(loop: VirtualLoop) -> list:
        broker, heard = MqttBroker(), []
        await broker.start(port=1883)
        watcher = MqttClient(Connect("w", keep_alive_s=10), lambda m: heard.append((loop.time(), m.topic, m.payload)))
        await watcher.open("127.0.0.1", 1883)
        await watcher.subscribe(["#"])
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", 1883)
        transport.write(octets(Connect("c", keep_alive_s=10, will=Will("gateway/state", b"offline", 1))))
        await asyncio.sleep(60)
        assert list(broker.sessions) == ["w"]  # which pings, and lives
        return [(round(at_s), topic, payload) for at_s, topic, payload in heard]

    assert run_virtual(main) == [(15, "gateway/state", b"offline")]
