"""The adapters that stand the contract suite."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from harness import Harness, RecordingIntake

from tieline.desk.ports import LinkHealth
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.device.sunspec_models import model
from tieline.links.endpoint.openadr.access import Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.settings import OpenAdrSettings
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.resource.identity import Rating
from tieline.resource.setpoint import Bounds
from tieline.rim.http import Answer, HttpClient, TimedOut
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Backoff, Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.site.plan import Hold, Owner
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal

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


class _Site:
    """A device behind an end-point that notes each power that it is told."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.obeys = True
        self._target_w = math.nan

    def read(self) -> dict[str, float]:
        return {"power_w": 0.0 if math.isnan(self._target_w) else self._target_w}

    def hold(self, hold: Hold, until_ns: int) -> None:
        changed = not (hold.target_w == self._target_w or (math.isnan(hold.target_w) and math.isnan(self._target_w)))
        if not self.obeys or not changed:
            return
        self._target_w = hold.target_w
        if not math.isnan(hold.target_w):
            self.told.append(hold.target_w)


class _Wire(HttpClient):
    """The VEN's own way to its VTN, which can be late, or swallow what is said."""

    late_s, is_silent = 0.0, False

    async def call(self, method: str, url: str, **how: Any) -> Answer:
        if self.is_silent:
            await asyncio.sleep(30.0)
            raise TimedOut("no answer")
        await asyncio.sleep(self.late_s)
        return await super().call(method, url, **how)


class OpenAdrHarness:
    """Our VTN and a VEN, over HTTP."""

    row, target_w, other_w, refuses_natively = 7, -3_000.0, 2_000.0, True
    answer_s, poll_s, lost_s = 60.0, 20.0, 61.0
    bad_settings = [
        ({"answer_s": 0}, r"\$\.openadr\.answer_s"),
        ({"endpoints": {}}, "endpoints"),
        ({"end_points": {"7": {"ven": "", "client": "site-7"}}}, r"\$\.openadr\.end_points\.7\.ven"),
    ]

    async def start(
        self, loop: VirtualLoop, clock: VirtualClock, supervisor: Supervisor, intake: RecordingIntake
    ) -> OpenAdrLink:
        self._clock, self._supervisor, self._wire = clock, supervisor, _Wire()
        self._vtn = self._make_vtn(clock, supervisor)
        self._server = await serve_asgi(self._vtn.app, "127.0.0.1", 8080)
        self._link = OpenAdrLink(self.settle({}), self._vtn, intake, clock, supervisor)
        await self._link.start()
        self._site, self._owner = _Site(), Owner(Bounds(-RATED_W, RATED_W))
        self._raise_ven()
        return self._link

    def _make_vtn(self, clock: VirtualClock, supervisor: Supervisor) -> Vtn:
        scopes = frozenset({"read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens"})
        clients = {"site-7": Client("site-7", secret_digest("secret"), scopes)}
        book = Book(GroupCommit(SqliteJournal(Path(":memory:")), supervisor.spawn), clock)
        rng = np.random.default_rng(3)
        tokens, http = Tokens(clients, b"k" * 32, clock), HttpClient()
        return Vtn(book, tokens, supervisor, http, ("http://127.0.0.1:*",), clock, rng)

    def _raise_ven(self) -> None:
        settings = VenSettings(
            "http://127.0.0.1:8080", "site-7", "site-7", "secret", 60.0, self.poll_s, answer_s=40.0
        )  # fmt: skip
        self._ven = Ven(settings, self._site, self._owner, self._wire, self._clock, np.random.default_rng(4))
        self._task = self._supervisor.keep("ven", self._ven.run, Backoff(1.0, 5.0))

    def settle(self, settings: dict[str, object]) -> OpenAdrSettings:
        end_points = {"7": {"ven": "site-7", "client": "site-7"}}
        document = {"end_points": end_points, "lost_s": 60.0, "answer_s": self.answer_s, **settings}
        return msgspec.convert(document, OpenAdrSettings, strict=False)

    def check(self, settings: object, clock: VirtualClock, supervisor: Supervisor) -> None:
        OpenAdrLink(settings, self._make_vtn(clock, supervisor), RecordingIntake(), clock, supervisor)

    def stop(self) -> None:
        self._link.stop()
        self._ven.stop()

    def health(self) -> LinkHealth:
        return self._link.health()

    def effects(self) -> list[float]:
        return self._site.told

    def power_w(self) -> float:
        return self._site.read()["power_w"]

    async def drop(self) -> None:
        self._task.cancel()
        self._ven.stop()

    async def restore(self) -> None:
        self._raise_ven()

    def delay(self, seconds: float) -> None:
        self._wire.late_s = seconds

    def silence(self, is_silent: bool) -> None:
        self._wire.is_silent = is_silent

    def refuse(self) -> None:
        self._owner = Owner(self._owner.bounds, takes_part=False)
        self._ven.owner = self._owner

    def ignore(self) -> None:
        self._site.obeys = False


HARNESSES: dict[str, Callable[[], Harness]] = {
    "modbus": ModbusHarness,
    "mqtt": MqttHarness,
    "openadr": OpenAdrHarness,
}
assert MqttDevice("x", "plug", Rating())  # the document above is this type
