"""Raises the links of a server from its settings: masters, ISO, end-points and devices, each over its real protocol."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from tieline.desk.state import LAPSED, TOOK, DeskState
from tieline.errors import ConfigError
from tieline.links.device.modbus.curves import JournaledCurves
from tieline.links.device.modbus.link import ModbusLink
from tieline.links.device.modbus.owner import KeptControls
from tieline.links.device.mqtt.link import MqttLink
from tieline.links.device.mqtt.setpoints import KeptSetpoints
from tieline.links.endpoint.openadr.access import Client, Tokens
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.capability import CapabilityReports
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.listen import serve_vtn
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.iso_web import IsoWeb
from tieline.links.grid.oasis_web import PriceInlet
from tieline.node.broker_id import client_id_of
from tieline.node.capability_told import tell_capability
from tieline.node.left_out import LeftOut
from tieline.node.link_settings import (
    Dnp3Settings,
    IsoLink,
    LinkSettings,
    ModbusLinkSettings,
    ModbusUnit,
    MqttLinkSettings,
    MqttUnit,
    OpenAdrSettings,
)
from tieline.node.market_links import polls_of, raise_ews, raise_oasis
from tieline.node.on_or_off import take_least_times
from tieline.node.runtime import Node
from tieline.node.starting import (
    binding_of,
    broken_files,
    end_points_of,
    files_of,
    iso_settings_of,
    modbus_settings_of,
    mqtt_settings_of,
)
from tieline.node.ven_owners import VenOwners
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.certificates import client_context, server_context
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.times import DAY_NS

Stop = Callable[[], Awaitable[None]]
UNTAKEN = frozenset((int(Stage.REJECTED), int(Stage.EXPIRED), int(Stage.CANCELLED)))
"""Stages of a command that its device never had."""
T = TypeVar("T")
U = TypeVar("U", ModbusUnit, MqttUnit)


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
    settings: LinkSettings,
    folder: Path,
    node: Node,
    supervisor: Supervisor,
    rng: np.random.Generator,
    prices: PriceInlet | None = None,
) -> Links:
    """Start every link of the settings on a node; paths are taken from the data folder; `prices` takes what is read.

    A link whose certificate, key or password can't be used is left out: it is listed as down with the fault, which the
    operator is told of, and the others start.

    Raises:
        ConfigError: A port that is taken, named; all else was refused by `require_startable`.
    """
    links = Links()
    take_least_times(settings, node.state.fleet)
    settings = _leave_out(settings, folder, node, links)
    for outstation in settings.dnp3:
        await _raise_dnp3(outstation, folder, node, supervisor, links)
    for iso in settings.iso:
        _raise_iso(iso, folder, node, supervisor, rng, links)
    for market in settings.ews:
        made = raise_ews(market, folder, node, supervisor, rng)
        says, stops = await listening(made, f"$.links.ews {market.name}", market.listen_host, market.listen_port or 0)
        links.says += says
        links.stops += stops
    for reader in settings.oasis:
        if prices is None:
            raise ConfigError("$.links.oasis: nobody here takes prices: leave it out")
        told, stop = raise_oasis(reader, node, prices, supervisor, rng)
        links.says.append(told)
        links.stops.append(stop)
    for vtn in settings.openadr:
        await _raise_openadr(vtn, folder, node, supervisor, rng, links)
    for modbus in settings.modbus:
        _raise_modbus(modbus, node, supervisor, rng, links)
    for mqtt in settings.mqtt:
        _raise_mqtt(mqtt, folder, node, supervisor, rng, links)
    return links


def _leave_out(settings: LinkSettings, folder: Path, node: Node, links: Links) -> LinkSettings:
    """Put a stand-in at the place of each link whose files can't be used, and return the settings of the others."""
    fleet = node.state.fleet
    broken = broken_files(settings, folder, fleet, node.clock)
    for kind in settings.__struct_fields__:
        mine, protocol = getattr(settings, kind), "iso_web" if kind == "iso" else kind
        for link in (one for one in mine if one.name in broken):
            switched = frozenset(fleet.row(name) for name in getattr(link, "switched", ()))
            made = LeftOut(link.name, protocol, broken[link.name], node.desk, node.clock, switched)
            held = getattr(link, "resources", ()) or getattr(link, "devices", ())
            if held:
                node.desk.bind(made, protocol, {fleet.row(name): name for name in held})
            node.desk.health(made.health())
            links.says.append(f"warning: {link.name} is left out: {broken[link.name]}; mend it and start again")
        settings = replace(settings, **{kind: tuple(one for one in mine if one.name not in broken)})
    return settings


# --- towards the grid -------------------------------------------------------------------------------------------------


async def _raise_dnp3(settings: Dnp3Settings, folder: Path, node: Node, supervisor: Supervisor, links: Links) -> None:
    fleet = node.state.fleet
    binding = binding_of(settings, fleet)
    tls = None if settings.tls is None else server_context(files_of(settings.tls, folder))
    made = Dnp3Outstation(binding, node.desk, node.clock, supervisor, node.desk, tls, settings.name)
    await listening(made.start(), f"$.links.dnp3 {settings.name}", settings.host, settings.port)
    lapsed = (ended.ask for ended in node.state.ended.values() if ended.why == LAPSED)
    made.take_up([*lapsed, *(live.ask for live in node.state.asks.values())])
    node.published = list(dict.fromkeys([*node.published, *(group.resource for group in binding.groups)]))
    node.publishers.append(made)
    links.stops.append(made.stop)
    links.says.append(_says(settings.name, "DNP3 outstation", settings.host, made.port, tls is not None))


def _raise_iso(
    settings: IsoLink, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    tls = None if settings.tls is None else client_context(files_of(settings.tls, folder), node.clock)
    client = HttpClient(tls)
    made = IsoWeb(iso_settings_of(settings), client, node.desk, node.clock, rng, node.desk, settings.name)
    node.desk.market = made
    node.desk.health(made.health())  # DOWN until it is heard: a link that never comes up is listed, and alarms
    links.stops.append(polls_of(made, client, supervisor))
    links.says.append(f"{settings.name}: ISO dispatch web service at {settings.url}")


# --- towards end-points and devices -----------------------------------------------------------------------------------


async def _raise_openadr(
    settings: OpenAdrSettings, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    clients = {
        client.id: Client(client.id, client.secret_sha256, frozenset(client.scopes), client.certificate)
        for client in settings.clients
    }
    http = HttpClient()
    supervisor.at_end(http.aclose)  # what is sent to callbacks is sent by tasks of its own
    book = Book(node.group, node.clock)
    book.restore(node.journal)
    # A fresh key at each start: tokens live an hour, and a client whose token is refused asks for another.
    tokens = Tokens(clients, os.urandom(32), node.clock)
    vtn = Vtn(book, tokens, supervisor, http, settings.callbacks, node.clock, rng)
    vtn.is_device = node.state.fleet.holds
    end_points = end_points_of(settings, node.state.fleet)
    link = OpenAdrLink(end_points, vtn, node.desk, node.clock, supervisor, settings.name)
    # Before anybody is answered: the program and the VENs are the desk's, and whom it commands is known from the first.
    await link.start()
    files = None if settings.tls is None else files_of(settings.tls, folder)
    # Where one client has no pin, any certificate of the authority may be its own: the door is the authority's then.
    pinned = {client.certificate for client in settings.clients}
    pinned = set() if "" in pinned else pinned
    made = serve_vtn(vtn.app, settings.host, settings.port, files, pinned)
    server = await listening(made, f"$.links.openadr {settings.name}", settings.host, settings.port)
    rows = {row: end_point.ven for row, end_point in end_points.end_points.items()}
    if settings.capability_of:
        reports = CapabilityReports(vtn, node.clock)
        await reports.start()
        supervisor.keep(
            f"capability over {settings.name}", partial(tell_capability, node, reports, settings.capability_of)
        )
    link.rated_w = node.state.fleet.rated_w_of
    node.desk.bind(link, "openadr", rows)
    VenOwners(node, link)

    async def stop() -> None:
        server.close()
        link.stop()

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
    how = modbus_settings_of(settings, node.state.fleet)
    controls = KeptControls(settings.name, node.group, node.clock, supervisor.spawn)
    controls.restore(node.journal)
    curves = JournaledCurves(settings.name, node.group, node.clock, supervisor.spawn)
    curves.restore(node.journal)
    made = ModbusLink(how, node.desk, node.clock, supervisor, rng, settings.name, controls=controls, curves=curves)
    node.desk.bind(made, "modbus", how.addresses)
    for batch in remembered(node.state, list(how.addresses), node.clock.now_ns()):
        told = node.state.commands
        rows, is_done = batch.rows, told.stage[batch.rows] == int(Stage.DONE)
        made.remember(batch, told.held_w[rows], is_done, told.made_w[rows])
    made.doubt(row for row in how.addresses if not is_known_free(node.state, row))
    node.desk.health(made.health())
    made.start()
    links.says.append(f"{settings.name}: {len(how.addresses)} SunSpec devices over Modbus TCP")


def remembered(state: DeskState, rows: list[int], now_ns: int) -> list[CommandBatch]:
    """Return what rows were told before this start and said they do, as a command each: some may do so still.

    So it is with one that a limit alone holds, whatever became of its last renewal, and with what one that can't hold
    its command made of that. What ran out more than a day ago is left out, as is what let a device run by itself.
    """
    told, fleet, found = state.commands, state.fleet, []
    for row in rows:
        bounded = told.low_w[row] > -fleet.max_absorb_w[row] or told.high_w[row] < fleet.max_inject_w[row]
        did = told.stage[row] == int(Stage.DONE) or np.isfinite([told.held_w[row], told.made_w[row]]).any()
        is_done = told.batch[row] >= 0 and did and told.valid_until_ns[row] > now_ns - DAY_NS
        if is_done and (bounded or np.isfinite(told.target_w[row])):
            found.append(_last_of(state, row))
    return found


def is_known_free(state: DeskState, row: int) -> bool:
    """Return whether a row was never told anything, or was last let go and said so."""
    told, fleet = state.commands, state.fleet
    bounded = told.low_w[row] > -fleet.max_absorb_w[row] or told.high_w[row] < fleet.max_inject_w[row]
    is_release = not bounded and not np.isfinite(told.target_w[row])
    return bool(told.batch[row] < 0 or (is_release and told.stage[row] == int(Stage.DONE)))


def unended(state: DeskState, rows: list[int], may_hold: Callable[[int], bool]) -> list[CommandBatch]:
    """Return what rows were told before this start and may do still, as a command each: no timer of theirs ends it.

    So it stands however long ago it ran out. What a row refused, or was never sent, is left out unless it may hold an
    older one by what its link kept; so is what let a device run by itself.
    """
    told, fleet = state.commands, state.fleet
    found = []
    for row in rows:
        bounded = told.low_w[row] > -fleet.max_absorb_w[row] or told.high_w[row] < fleet.max_inject_w[row]
        was_told = told.batch[row] >= 0 and (bounded or np.isfinite(told.target_w[row]))
        if was_told and (int(told.stage[row]) not in UNTAKEN or may_hold(row)):
            found.append(_last_of(state, row))
    return found


def _last_of(state: DeskState, row: int) -> CommandBatch:
    """Return the last command of a row."""
    told, at = state.commands, np.array([row], np.int32)
    return CommandBatch(
        state.command_batches[int(told.batch[row])], at, told.target_w[at], told.low_w[at], told.high_w[at],
        state.fleet.default_w[at], int(told.at_ns[row]), int(told.at_ns[row]), int(told.valid_until_ns[row]),
        state.epoch, state.seq, (),
    )  # fmt: skip


def _raise_mqtt(
    settings: MqttLinkSettings, folder: Path, node: Node, supervisor: Supervisor, rng: np.random.Generator, links: Links
) -> None:
    how = mqtt_settings_of(settings, node.state.fleet, folder)
    how = replace(how, client_id=settings.client_id or client_id_of(folder, settings.name))
    setpoints = KeptSetpoints(settings.name, node.group, node.clock, supervisor.spawn)
    setpoints.restore(node.journal)
    made = MqttLink(how, node.desk, node.clock, supervisor, rng, settings.name, setpoints=setpoints)
    node.desk.bind(made, "mqtt", {row: device.device for row, device in how.devices.items()})
    node.desk.health(made.health())
    for batch in unended(node.state, list(how.devices), lambda row: bool(setpoints.at(row).ours)):
        made.remember(batch, node.state.commands.answers(batch.rows) == TOOK)
    made.start()
    links.says.append(f"{settings.name}: {len(how.devices)} devices behind {settings.host}:{settings.port}")


# --- small things -----------------------------------------------------------------------------------------------------


def with_tables(settings: LinkSettings, folder: Path) -> LinkSettings:
    """Return the settings with the devices of their tables among `devices`. Raises ConfigError as `read_units` does."""
    modbus = tuple(
        replace(link, devices=link.devices | _table(link.table, ModbusUnit, folder, f"$.links.modbus[{at}].table"))
        for at, link in enumerate(settings.modbus)
    )
    mqtt = tuple(
        replace(link, devices=link.devices | _table(link.table, MqttUnit, folder, f"$.links.mqtt[{at}].table"))
        for at, link in enumerate(settings.mqtt)
    )
    return replace(settings, modbus=modbus, mqtt=mqtt)


def _table(table: str | None, of: type[U], folder: Path, where: str) -> dict[str, U]:
    if table is None:
        return {}
    if not (folder / table).is_file():
        raise ConfigError(f"{where} = {table!r}: give a CSV file in {folder}")
    return read_units(folder / table, of)


def read_units(path: Path, of: type[U]) -> dict[str, U]:
    """Return the devices of a CSV table by id.

    Raises:
        ConfigError: A row at fault: named with its row, field and what is wrong.
    """
    found: dict[str, U] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            name = (row.pop("id", "") or "").strip()
            if not name or name in found:
                raise ConfigError(f"{path}: row {number}: id = {name!r}: give each device an id of its own")
            try:
                unit = found[name] = msgspec.convert({key: value for key, value in row.items() if value}, of)
            except (msgspec.ValidationError, TypeError) as error:
                raise ConfigError(f"{path}: row {number}: {error}") from None
            if isinstance(unit, ModbusUnit):  # profiles wait for the registry, which says what a device is
                unit.check_address(f"{path}: row {number}: {name}")
    return found


async def listening(start: Awaitable[T], path: str, host: str, port: int) -> T:
    """Return what listens once it does. Raises ConfigError naming the setting where the port can't be had."""
    try:
        return await start
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):  # who was to read that it listens is gone: no fault of a port
            raise
        limit = "give a free port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "give an address of ours"
        raise ConfigError(f"{path}: {host}:{port}: {error.strerror or error}: {limit}") from None


def _says(name: str, what: str, host: str, port: int, is_tls: bool) -> str:
    return f"{name}: {what} on {host}:{port}{' (TLS, client certificates)' if is_tls else ''}"
