"""The adapters that stand the contract suite."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from harness import Harness, RecordingIntake

from tieline.desk.ports import LinkHealth
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.device.sunspec_models import model
from tieline.resource.identity import Rating
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

RATED_W = 5_000.0


class _Store:
    """A battery without losses that obeys until its timer is over."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._target_w, self._until_ns = clock, math.nan, 0
        self.told: list[float] = []

    def read(self) -> dict[str, float]:
        holds = self._clock.now_ns() < self._until_ns and not math.isnan(self._target_w)
        power_w = self._target_w if holds else 0.0
        return {"power_w": power_w, "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        changed = not (target_w == self._target_w or (math.isnan(target_w) and math.isnan(self._target_w)))
        self._target_w, self._until_ns = target_w, until_ns
        if changed and not math.isnan(target_w):
            self.told.append(target_w)


class ModbusHarness:
    """SunSpec over Modbus TCP."""

    row, target_w, other_w, refuses_natively = 7, -3_000.0, 2_000.0, True
    answer_s, poll_s, lost_s = 3.0, 10.0, 1.0
    bad_settings = [
        ({"poll_s": 0}, r"\$\.modbus\.poll_s"),
        ({"adresses": {}}, "adresses"),
        ({"addresses": {"7": "nowhere"}}, "nowhere"),
    ]

    async def start(
        self, loop: VirtualLoop, clock: VirtualClock, supervisor: Supervisor, intake: RecordingIntake
    ) -> ModbusLink:
        self._body = _Store(clock)
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        self._device = SunSpecDevice(self._body, RATED_W, 10_000.0, models, clock)
        self._server = SunSpecServer({1: self._device})
        await self._server.start(port=502)
        settings = self.settle({})
        self._link = ModbusLink(settings, intake, clock, supervisor, np.random.default_rng(2))
        self._link.start()
        return self._link

    def settle(self, settings: dict[str, object]) -> ModbusSettings:
        document = {"addresses": {"7": "127.0.0.1:502/1"}, "max_inject_w": {"7": RATED_W}, "poll_s": 10.0, **settings}
        return msgspec.convert(document, ModbusSettings, strict=False)

    def check(self, settings: object, clock: VirtualClock, supervisor: Supervisor) -> None:
        ModbusLink(settings, RecordingIntake(), clock, supervisor, np.random.default_rng(2))

    def stop(self) -> None:
        self._link.stop()

    def health(self) -> LinkHealth:
        return self._link.health()

    def effects(self) -> list[float]:
        return self._body.told

    def power_w(self) -> float:
        return self._body.read()["power_w"]

    async def drop(self) -> None:
        self._server.stop()
        self._server.drop()

    async def restore(self) -> None:
        await self._server.start(port=502)

    def delay(self, seconds: float) -> None:
        self._device.late_s = seconds

    def silence(self, is_silent: bool) -> None:
        self._device.is_silent = is_silent

    def refuse(self) -> None:
        self._device.refuses = True

    def ignore(self) -> None:
        self._device.ignores = True


class _Plug(PlugBody):
    """A plug that notes each change."""

    def __init__(self) -> None:
        super().__init__(2_000.0)
        self.told: list[float] = []

    def set(self, name: str, value: float) -> None:
        super().set(name, value)
        self.told.append(self.read()["power_w"])


class MqttHarness:
    """A plug over MQTT."""

    row, target_w, other_w, refuses_natively = 7, 0.0, -2_000.0, False  # MQTT 3.1.1 has no way for a device to say no
    answer_s, poll_s, lost_s = 20.0, 30.0, 1.0
    bad_settings = [
        ({"rate_per_s": 0}, r"\$\.mqtt\.rate_per_s"),
        ({"rate": 5}, "rate"),
        ({"contract": "carrier-pigeon"}, "carrier-pigeon"),
    ]

    async def start(
        self, loop: VirtualLoop, clock: VirtualClock, supervisor: Supervisor, intake: RecordingIntake
    ) -> MqttLink:
        self._body = _Plug()
        self._unit = MqttUnit("plug", self._body)
        self._broker = MqttBroker()
        await self._broker.start(port=1883)
        self._devices = MqttDevices([self._unit], supervisor, "127.0.0.1", 1883, every_s=self.poll_s)
        self._devices.start()
        self._link = MqttLink(self.settle({}), intake, clock, supervisor, np.random.default_rng(2))
        self._link.start()
        return self._link

    def settle(self, settings: dict[str, object]) -> MqttSettings:
        plug = {"device": "plug", "profile": "plug", "rating": {"max_absorb_w": 2_000.0}}
        document = {"host": "127.0.0.1", "port": 1883, "devices": {"7": plug}, **settings}
        return msgspec.convert(document, MqttSettings, strict=False)

    def check(self, settings: object, clock: VirtualClock, supervisor: Supervisor) -> None:
        MqttLink(settings, RecordingIntake(), clock, supervisor, np.random.default_rng(2))

    def stop(self) -> None:
        self._link.stop()

    def health(self) -> LinkHealth:
        return self._link.health()

    def effects(self) -> list[float]:
        return self._body.told

    def power_w(self) -> float:
        return self._body.read()["power_w"]

    async def drop(self) -> None:
        self._broker.stop()

    async def restore(self) -> None:
        await self._broker.start(port=1883)

    def delay(self, seconds: float) -> None:
        self._unit.fault.late_s = seconds

    def silence(self, is_silent: bool) -> None:
        self._unit.fault.is_silent = is_silent

    def refuse(self) -> None:
        raise NotImplementedError

    def ignore(self) -> None:
        self._unit.fault.only_says = True


HARNESSES: dict[str, Callable[[], Harness]] = {"modbus": ModbusHarness, "mqtt": MqttHarness}
assert MqttDevice("x", "plug", Rating())  # the document above is this type
