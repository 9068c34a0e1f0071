"""The devices of a stage that speak a real device protocol: the first batteries, as SunSpec units behind gateways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.device.sunspec_models import model
from tieline.links.endpoint.openadr.access import Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.node.runtime import Node
from tieline.node.ven_owners import VenOwners
from tieline.resource.identity import Rating
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit
from tieline.simulate.mqtt_world import WorldSwitch
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.simulate.territory import Territory
from tieline.simulate.world import World
from tieline.site.plan import FailSafe, Hold, Owner
from tieline.times import Clock


@dataclass(frozen=True, slots=True)
class Wired:
    """How many devices of a stage speak a protocol of their own: SunSpec units, VENs, and plugs behind MQTT."""

    units: int
    vens: int
    plugs: int


FEW, MANY = Wired(24, 8, 8), Wired(240, 24, 60)
"""On virtual time a day of a thousand devices is to take seconds; over real sockets hundreds of them are the point."""
KEPT_S = 86_400.0
"""The age of a connection that rests is that of the wall clock, which a story on virtual time must not see."""
MOST_FOR_MANY = 120.0
"""Up to this speed once a second is often enough for hundreds of devices; faster, a few tell as often as they must."""
OLDEST_S = 120.0
"""How old telemetry of a sound device may grow (s of the clock): at three minutes the desk takes it for lost."""
UNITS_A_GATEWAY = 8
SUNSPEC = (1, 701, 702, 703, 704, 713)


def told_every_s(speed: float) -> float:
    """Return how often a device tells (s of the loop): every minute of the clock, or once a second where that is more.

    >>> [told_every_s(speed) for speed in (1.0, 60.0, 240.0)]
    [60.0, 1.0, 0.5]
    """
    return min(max(60.0 / speed, 1.0), OLDEST_S / speed)


@dataclass
class StoreBody:
    """One store of the world as a device's body."""

    world: World
    controls: ColumnsLink
    row: int
    at: int

    def read(self) -> Mapping[str, float]:
        """Return what the store measures now."""
        store = self.world.storage
        return {
            "power_w": float(self.world.power_w[self.row]),
            "soc_frac": float(store.soc_frac[self.at]),
            "energy_available_wh": store.available_wh_of(self.at),
        }

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        """Obey a command until its timer runs out."""
        self.controls.target_w[self.row] = target_w
        self.controls.high_w[self.row] = high_w
        self.controls.low_w[self.row] = -math.inf
        self.controls.until_ns[self.row] = until_ns


async def raise_modbus(
    territory: Territory,
    world: World,
    controls: ColumnsLink,
    rows: NDArray[np.int32],
    node: Node,
    clock: Clock,
    supervisor: Supervisor,
    rng: np.random.Generator,
    speed: float,
) -> ModbusLink:
    """Put stores behind SunSpec gateways, and bind them to a Modbus link of the desk."""
    models = {number: model(number) for number in SUNSPEC}
    addresses: dict[int, str] = {}
    for first in range(0, len(rows), UNITS_A_GATEWAY):
        units: dict[int, SunSpecDevice] = {}
        for unit, row in enumerate(rows[first : first + UNITS_A_GATEWAY].tolist(), 1):
            at = int(np.flatnonzero(world.stores == row)[0])
            body = StoreBody(world, controls, row, at)
            energy_wh = float(territory.fleet.energy_wh[row])
            units[unit] = SunSpecDevice(body, float(territory.rated_w[row]), energy_wh, models, clock)
        server = SunSpecServer(units)
        await server.start()
        addresses |= {int(rows[first + unit - 1]): f"127.0.0.1:{server.port}/{unit}" for unit in units}
    ratings = {row: float(territory.rated_w[row]) for row in addresses}
    settings = ModbusSettings(addresses, ratings, poll_s=told_every_s(speed))
    link = ModbusLink(settings, node.desk, clock, supervisor, rng, speed=speed)
    node.desk.bind(link, "modbus", addresses)
    link.start()
    return link


@dataclass
class WorldDevice:
    """One device of the world behind an end-point."""

    world: World
    controls: ColumnsLink
    row: int

    def read(self) -> dict[str, float]:
        """Return what it does and can do now."""
        row = self.row
        return {
            "power_w": float(self.world.power_w[row]),
            "available_up_w": float(self.world.up_w[row]),
            "available_down_w": float(self.world.down_w[row]),
        }

    def hold(self, hold: Hold, until_ns: int) -> None:
        """Do what the end-point decided."""
        self.controls.target_w[self.row] = hold.target_w
        self.controls.low_w[self.row], self.controls.high_w[self.row] = hold.bounds.low_w, hold.bounds.high_w
        self.controls.until_ns[self.row] = until_ns


async def raise_mqtt(
    territory: Territory,
    world: World,
    controls: ColumnsLink,
    rows: NDArray[np.int32],
    node: Node,
    clock: Clock,
    supervisor: Supervisor,
    rng: np.random.Generator,
    speed: float,
) -> MqttLink:
    """Put water heaters behind plugs of an MQTT gateway, and bind them to an MQTT link of the desk."""
    broker = MqttBroker()
    await broker.start()
    names = {int(row): territory.fleet.id_of(int(row)) for row in rows}
    units = [MqttUnit(name, WorldSwitch(world.power_w, controls, row)) for row, name in names.items()]
    MqttDevices(units, supervisor, "127.0.0.1", broker.port, every_s=told_every_s(speed)).start()
    devices = {
        row: MqttDevice(name, "water_heater", Rating(max_absorb_w=float(territory.rated_w[row])))
        for row, name in names.items()
    }
    link = MqttLink(MqttSettings("127.0.0.1", broker.port, devices), node.desk, clock, supervisor, rng, speed=speed)
    node.desk.bind(link, "mqtt", names)
    link.start()
    return link


async def raise_openadr(
    territory: Territory,
    world: World,
    controls: ColumnsLink,
    rows: NDArray[np.int32],
    node: Node,
    clock: Clock,
    supervisor: Supervisor,
    rng: np.random.Generator,
    speed: float,
) -> OpenAdrLink:
    """Start the VTN and a VEN at each of some end-points, and bind their devices to an OpenADR link of the desk."""
    names = {int(row): territory.fleet.id_of(int(row)) for row in rows}
    secrets = {name: rng.bytes(24).hex() for name in names.values()}
    scopes = frozenset({"read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens"})
    clients = {name: Client(name, secret_digest(secret), scopes) for name, secret in secrets.items()}
    http = HttpClient(keep_s=KEPT_S)
    supervisor.at_end(http.aclose)
    book = Book(node.group, clock)
    book.restore(node.journal)
    tokens = Tokens(clients, rng.bytes(32), clock)
    vtn = Vtn(
        book, tokens, supervisor, http, ("http://127.0.0.1:*",), clock, np.random.default_rng(rng.integers(2**31))
    )
    server = await serve_asgi(vtn.app, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    who = {row: EndPointName(name, name) for row, name in names.items()}
    # The world moves once a minute, and a hybrid site's devices with it: only then can a setpoint be seen.
    answer_s, lost_s = max(60.0, 10.0 * speed), max(600.0, 30.0 * speed)
    waits = OpenAdrSettings(who, answer_s=answer_s, settle_s=180.0, lost_s=lost_s)
    link = OpenAdrLink(waits, vtn, node.desk, clock, supervisor, speed=speed)
    link.rated_w = node.state.fleet.rated_w_of
    await link.start()
    node.desk.bind(link, "openadr", names)
    VenOwners(node, link)
    for row, name in names.items():
        bounds = Bounds(-float(territory.fleet.max_absorb_w[row]), float(territory.fleet.max_inject_w[row]))
        poll_s, report_s = max(600.0 / speed, 2.0), min(max(120.0 / speed, 1.0), OLDEST_S / speed)
        safe = FailSafe(trip_s=max(120.0, 3.0 * report_s * speed))
        settings = VenSettings(url, name, name, secrets[name], poll_s, report_s, max(30.0 / speed, 0.2), fail_safe=safe)
        own = np.random.default_rng(rng.integers(2**31))
        # Each end-point is a machine of its own: in one pool every call would look through everybody's connections.
        its = HttpClient(keep_s=KEPT_S)
        supervisor.at_end(its.aclose)
        ven = Ven(settings, WorldDevice(world, controls, row), Owner(bounds), its, clock, own, speed)
        supervisor.keep(f"ven {name}", ven.run)
    return link
