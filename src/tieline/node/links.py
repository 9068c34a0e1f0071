"""Raises the links of a server from its settings: masters, ISO, end-points and devices, each over its real protocol."""

from __future__ import annotations

import csv
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.links.endpoint.openadr.access import Client, Tokens
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.listen import serve_vtn
from tieline.links.endpoint.openadr.settings import EndPointName
from tieline.links.endpoint.openadr.settings import OpenAdrSettings as EndPoints
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.links.grid.dnp3.binding import Binding, Group
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.iso_web import IsoSettings, IsoWeb
from tieline.node.link_settings import (
    Dnp3Settings,
    IsoLink,
    LinkSettings,
    ModbusLinkSettings,
    ModbusUnit,
    MqttLinkSettings,
    MqttUnit,
    OpenAdrSettings,
    TlsSettings,
)
from tieline.node.runtime import Node
from tieline.resource.identity import Rating
from tieline.rim.certificates import Files, client_context, server_context
from tieline.rim.supervise import Supervisor

Stop = Callable[[], Awaitable[None]]
T = TypeVar("T")
U = TypeVar("U", bound=Struct)


@dataclass
class Links:
    """What was raised: a line about each for the operator, and how each is stopped."""

    says: list[str] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)

    async def stop(self) -> None:
        """Stop listening, the last raised first."""
        for stop in reversed(self.stops):
            await stop()


async def raise_links(
    settings: LinkSettings, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator
) -> Links:
    """Start every link of the settings on a node; paths are taken from the data folder.

    Raises:
        ConfigError: A setting, table, certificate or port that can't be used, named.
    """
    links = Links()
    for outstation in settings.dnp3:
        await _raise_dnp3(outstation, folder, node, supervisor, links)
    for iso in settings.iso:
        _raise_iso(iso, folder, node, supervisor, rng, links)
    for vtn in settings.openadr:
        await _raise_openadr(vtn, folder, node, supervisor, rng, links)
    for modbus in settings.modbus:
        _raise_modbus(modbus, node, supervisor, rng, links)
    for mqtt in settings.mqtt:
        _raise_mqtt(mqtt, folder, node, supervisor, rng, links)
    return links


# --- towards the grid -------------------------------------------------------------------------------------------------


async def _raise_dnp3(settings: Dnp3Settings, folder: Path, node: Node, supervisor: Supervisor, links: Links) -> None:
    fleet = node.state.fleet
    groups = tuple(
        Group(group.resource, group.at, *_size_w(fleet, group.resource), group.level_target, group.level_limit)
        for group in settings.groups
    )
    binding = Binding(
        settings.address, groups, settings.masters, settings.host, settings.port, settings.keep_alive_s,
        events=settings.events,
    )  # fmt: skip
    tls = None if settings.tls is None else server_context(_files(settings.tls, folder))
    made = Dnp3Outstation(binding, node.desk, node.clock, supervisor, node.desk, tls, settings.name)
    await _listening(made.start(), f"$.links.dnp3 {settings.name}", settings.host, settings.port)
    node.published = list(dict.fromkeys([*node.published, *(group.resource for group in groups)]))
    node.publishers.append(made)
    links.stops.append(made.stop)
    links.says.append(_says(settings.name, "DNP3 outstation", settings.host, made.port, tls is not None))


def _size_w(fleet: Fleet, name: str) -> tuple[float, float]:
    rows = fleet.leaves(name)
    return float(fleet.max_inject_w[rows].sum()), float(fleet.max_absorb_w[rows].sum())


def _raise_iso(
    settings: IsoLink, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    verify: ssl.SSLContext | bool = True
    if settings.tls is not None:
        verify = client_context(_files(settings.tls, folder), node.clock)
    elif not settings.url.startswith("http://127.0.0.1"):
        raise ConfigError(f"$.links.iso.url = {settings.url!r}: an ISO is reached with a client certificate: give tls")
    client = httpx.AsyncClient(timeout=30.0, verify=verify)
    how = IsoSettings(settings.url, settings.zone, settings.pools, settings.poll_s, settings.awards_s)
    made = IsoWeb(how, client, node.desk, node.clock, rng, node.desk, settings.name)
    node.desk.market = made
    node.desk.health(made.health())  # DOWN until it is heard: a link that never comes up is listed, and alarms
    supervisor.keep(settings.name, made.run)
    links.stops.append(client.aclose)
    links.says.append(f"{settings.name}: ISO dispatch web service at {settings.url}")


# --- towards end-points and devices -----------------------------------------------------------------------------------


async def _raise_openadr(
    settings: OpenAdrSettings, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    clients = {
        client.id: Client(client.id, client.secret_sha256, frozenset(client.scopes)) for client in settings.clients
    }
    http = httpx.AsyncClient(timeout=30.0)
    book = Book(node.group, node.clock)
    book.restore(node.journal)
    # A fresh key at each start: tokens live an hour, and a client whose token is refused asks for another.
    tokens = Tokens(clients, os.urandom(32), node.clock)
    vtn = Vtn(book, tokens, supervisor, http, settings.callbacks, node.clock, rng)
    files = None if settings.tls is None else _files(settings.tls, folder)
    pinned = {client.certificate for client in settings.clients if client.certificate}
    made = serve_vtn(vtn.app, settings.host, settings.port, files, pinned)
    server = await _listening(made, f"$.links.openadr {settings.name}", settings.host, settings.port)
    rows = {node.state.fleet.row(name): name for name in settings.resources}
    speaks = {client.resource or client.id: client.id for client in settings.clients}
    who = {row: EndPointName(name, speaks[name]) for row, name in rows.items()}
    link = OpenAdrLink(EndPoints(who), vtn, node.desk, node.clock, supervisor, settings.name)
    await link.start()
    node.desk.bind(link, "openadr", rows)

    async def stop() -> None:
        server.close()
        link.stop()
        await http.aclose()

    links.stops.append(stop)
    port = server.sockets[0].getsockname()[1]
    links.says.append(_says(settings.name, "OpenADR 3.1 VTN", settings.host, port, files is not None))


def _raise_modbus(
    settings: ModbusLinkSettings,
    node: Node,
    supervisor: Supervisor,
    rng: np.random.Generator,
    links: Links,
) -> None:
    fleet = node.state.fleet
    units = {fleet.row(name): unit for name, unit in settings.devices.items()}
    addresses = {row: unit.address for row, unit in units.items()}
    how = ModbusSettings(
        addresses,
        {row: float(fleet.max_inject_w[row]) for row in units},
        settings.poll_s,
        settings.timeout_s,
        {row: float(fleet.max_absorb_w[row]) for row in units},
        {row: unit.profile for row, unit in units.items()},
        settings.in_flight,
        settings.grace_s,
        settings.writes,
    )
    made = ModbusLink(how, node.desk, node.clock, supervisor, rng, settings.name)
    node.desk.bind(made, "modbus", addresses)
    node.desk.health(made.health())
    made.start()
    links.says.append(f"{settings.name}: {len(units)} SunSpec devices over Modbus TCP")


def _raise_mqtt(
    settings: MqttLinkSettings, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    fleet = node.state.fleet
    units = {fleet.row(name): unit for name, unit in settings.devices.items()}
    devices = {
        row: MqttDevice(
            unit.device, unit.profile, Rating(float(fleet.max_inject_w[row]), float(fleet.max_absorb_w[row]))
        )
        for row, unit in units.items()
    }
    files = (settings.password_file, settings.tls_authority, settings.tls_certificate, settings.tls_key)
    password_file, authority, certificate, key = (None if f is None else str(folder / f) for f in files)
    how = MqttSettings(
        settings.host, settings.port, devices, settings.contract, settings.prefix, settings.client_id, settings.user,
        password_file, authority, certificate, key, settings.keep_alive_s, settings.ack_s, settings.stale_s,
        settings.rate_per_s,
    )  # fmt: skip
    made = MqttLink(how, node.desk, node.clock, supervisor, rng, settings.name)
    node.desk.bind(made, "mqtt", {row: device.device for row, device in devices.items()})
    node.desk.health(made.health())
    made.start()
    links.says.append(f"{settings.name}: {len(units)} devices behind {settings.host}:{settings.port}")


# --- small things -----------------------------------------------------------------------------------------------------


def with_tables(settings: LinkSettings, folder: Path) -> LinkSettings:
    """Return the settings with the devices of their tables among `devices`. Raises ConfigError as `read_units` does."""
    modbus = tuple(
        replace(link, devices=link.devices | _table(link.table, ModbusUnit, folder)) for link in settings.modbus
    )
    mqtt = tuple(replace(link, devices=link.devices | _table(link.table, MqttUnit, folder)) for link in settings.mqtt)
    return replace(settings, modbus=modbus, mqtt=mqtt)


def check_files(settings: LinkSettings, folder: Path) -> None:
    """Refuse certificates and keys that can't be used. Raises ConfigError naming the file."""
    used = [link.tls for link in settings.dnp3] + [link.tls for link in settings.iso]
    used += [link.tls for link in settings.openadr]
    for tls in used:
        if tls is not None:
            server_context(_files(tls, folder))


def _table(table: str | None, of: type[U], folder: Path) -> dict[str, U]:
    return {} if table is None else read_units(folder / table, of)


def read_units(path: Path, of: type[U]) -> dict[str, U]:
    """Return the devices of a CSV table by id.

    Raises:
        ConfigError: No such file, or a row at fault: named with its row, field and what is wrong.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file")
    found: dict[str, U] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            name = (row.pop("id", "") or "").strip()
            if not name or name in found:
                raise ConfigError(f"{path}: row {number}: id = {name!r}: give each device an id of its own")
            try:
                found[name] = msgspec.convert({key: value for key, value in row.items() if value}, of)
            except (msgspec.ValidationError, TypeError) as error:
                raise ConfigError(f"{path}: row {number}: {error}") from None
    return found


def _files(tls: TlsSettings, folder: Path) -> Files:
    return Files(folder / tls.certificate, folder / tls.key, folder / tls.authority)


async def _listening(start: Awaitable[T], path: str, host: str, port: int) -> T:
    try:
        return await start
    except OSError as error:
        raise ConfigError(f"{path}: {host}:{port}: {error.strerror or error}: give a free port") from None


def _says(name: str, what: str, host: str, port: int, is_tls: bool) -> str:
    return f"{name}: {what} on {host}:{port}{' (TLS, client certificates)' if is_tls else ''}"
