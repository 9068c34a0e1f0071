"""What a server's start needs of its folder, checked in one place: `serve` refuses by it, and `doctor` reports it.

Nothing here binds a port, connects or writes: all that it finds can be mended before a start is tried. A link's own
check names a fault as the link knows it; here it is told by where it stands in the settings.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from tieline.console.auth.oidc import OidcSettings
from tieline.console.auth.oidc_login import is_safe
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.links.device.modbus.link import ModbusSettings, parse_address
from tieline.links.device.modbus.link import check as check_modbus
from tieline.links.device.mqtt.contract import Bound, contract_of
from tieline.links.device.mqtt.link import MqttDevice, MqttSettings, hello, tls_of
from tieline.links.device.mqtt.link import check as check_mqtt
from tieline.links.endpoint.openadr.access import SCOPES
from tieline.links.endpoint.openadr.callbacks import read_origins
from tieline.links.endpoint.openadr.settings import EndPointName
from tieline.links.endpoint.openadr.settings import OpenAdrSettings as EndPoints
from tieline.links.grid.dnp3.binding import MAX_ADDRESS, Binding, Group, check_binding
from tieline.links.grid.iso_settings import IsoSettings, check_iso
from tieline.node.config import LOOPBACK, ConsoleTls, Settings
from tieline.node.contracting import contract_checks
from tieline.node.link_settings import (
    Dnp3Settings,
    IsoLink,
    LinkSettings,
    ModbusLinkSettings,
    MqttLinkSettings,
    OpenAdrSettings,
    TlsSettings,
    check_known,
    check_links,
    check_profile,
)
from tieline.node.market_links import listeners as market_listeners
from tieline.node.market_links import seal_of, setting_checks
from tieline.node.principals import principals_of
from tieline.node.trade_settings import check_fleet
from tieline.resource.identity import Rating
from tieline.rim.certificates import Files, check_validity, load_pair, server_context
from tieline.times import Clock

FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
MOST_EVENTS, MOST_KEEP_ALIVE_S = 1_000_000, 86_400
Check = Callable[[], object]


def faults(checks: Iterator[Check]) -> list[str]:
    """Return what each check finds, in words; none: all hold."""
    found = []
    for check in checks:
        try:
            check()
        except ConfigError as error:
            found.append(str(error))
    return found


def require_startable(settings: Settings, folder: Path, fleet: Fleet, port: int | None = None) -> None:
    """Refuse what a server can't start with; `port` takes the place of the console's own.

    A link whose files alone can't be used is left out by the start, and told of: see `broken_files`.

    Raises:
        ConfigError: The first fault, and how many more `tieline doctor` will name.
    """
    checks = (
        console_checks(settings, folder), contract_checks(settings, folder, fleet),
        link_checks(settings, folder, fleet, port),
    )  # fmt: skip
    found = [fault for each in checks for fault in faults(each)]
    if found:
        more = f" (and {len(found) - 1} more: see `tieline doctor --data {folder}`)" if found[1:] else ""
        raise ConfigError(found[0] + more)


def console_checks(settings: Settings, folder: Path) -> Iterator[Check]:
    """Yield the checks of what the console needs: its certificate, and the secret that a provider knows us by."""
    tls, oidc = settings.tls, settings.oidc
    if tls is not None:
        yield lambda: console_context(folder, tls)
    if oidc is not None:
        yield lambda: _safe(oidc.issuer, "$.oidc.issuer")
        yield lambda: _safe(oidc.redirect_uri, "$.oidc.redirect_uri")
    if oidc is not None and oidc.client_secret_file:
        yield lambda: _readable(folder / oidc.client_secret_file, "$.oidc.client_secret_file")


def _safe(url: str, path: str) -> None:
    if not is_safe(url):
        raise ConfigError(f"{path} = {url!r}: give https, or http to this machine alone: a secret passes there")


def link_checks(settings: Settings, folder: Path, fleet: Fleet, port: int | None = None) -> Iterator[Check]:
    """Yield the checks of pools, limits and links (tables read already) against the registry and each other."""
    links = settings.links
    yield lambda: check_fleet(settings.pools, settings.limits, fleet)
    yield lambda: check_links(links, fleet, principals_of(settings))
    for at, peer in enumerate(settings.peers):
        for k, resource in enumerate(peer.resources):
            yield partial(check_known, fleet, resource, f"$.peers[{at}].resources[{k}]")
    yield lambda: _check_ports(settings, port)
    for at, outstation in enumerate(links.dnp3):
        yield partial(_check_dnp3, outstation, fleet, f"$.links.dnp3[{at}]")
    for at, iso in enumerate(links.iso):
        yield partial(_check_iso, iso, f"$.links.iso[{at}]")
    for check, theirs, path in setting_checks(links, settings.pools):
        yield partial(_told_by, check, {theirs: path})
    for at, vtn in enumerate(links.openadr):
        yield partial(_check_openadr, vtn, f"$.links.openadr[{at}]")
    yield lambda: _check_addresses(links)
    for at, modbus in enumerate(links.modbus):
        yield partial(_check_modbus, modbus, fleet, f"$.links.modbus[{at}]")
    for at, mqtt in enumerate(links.mqtt):
        yield partial(_check_mqtt, mqtt, fleet, folder, f"$.links.mqtt[{at}]")


def file_checks(links: LinkSettings, folder: Path, fleet: Fleet, clock: Clock) -> Iterator[tuple[str, Check]]:
    """Yield the name of each link, and the check of the files that it needs: certificates, keys, passwords.

    Apart from the settings: a file is put in its place and renewed by others, at other times. One that can't be used
    keeps its own link from starting, and no other.
    """
    for at, outstation in enumerate(links.dnp3):
        yield outstation.name, partial(_check_tls, outstation.tls, folder, f"$.links.dnp3[{at}]")
    for at, iso in enumerate(links.iso):
        yield iso.name, partial(_check_tls, iso.tls, folder, f"$.links.iso[{at}]", clock)
    for at, market in enumerate(links.ews):
        yield market.name, partial(_check_tls, market.tls, folder, f"$.links.ews[{at}]", clock)
        yield market.name, partial(seal_of, market, folder, f"$.links.ews[{at}]")
    for at, vtn in enumerate(links.openadr):
        yield vtn.name, partial(_check_tls, vtn.tls, folder, f"$.links.openadr[{at}]")
    for at, mqtt in enumerate(links.mqtt):
        yield mqtt.name, partial(_check_mqtt_files, mqtt, fleet, folder, f"$.links.mqtt[{at}]")


def broken_files(links: LinkSettings, folder: Path, fleet: Fleet, clock: Clock) -> dict[str, str]:
    """Return what is wrong with the files of each link that can't start for that, by its name."""
    found: dict[str, str] = {}
    for name, check in file_checks(links, folder, fleet, clock):
        for said in faults(iter([check])):
            found.setdefault(name, said)
    return found


# --- the console ------------------------------------------------------------------------------------------------------


def console_context(folder: Path, tls: ConsoleTls) -> ssl.SSLContext:
    """Return the console's TLS context. Raises ConfigError for files that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in ("certificate", "key"):
        _readable(folder / getattr(tls, name), f"$.tls.{name}")
    _told_by(lambda: load_pair(context, folder / tls.certificate, folder / tls.key), {}, "$.tls: ")
    return context


def oidc_of(settings: Settings, folder: Path) -> OidcSettings | None:
    """Return the identity provider with its secret's file looked for in the data folder, as every other file is."""
    oidc = settings.oidc
    if oidc is None or not oidc.client_secret_file:
        return oidc
    return replace(oidc, client_secret_file=str(folder / oidc.client_secret_file))


def _readable(path: Path, where: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where} = {str(path)!r}: {error.strerror}: give a file that can be read") from None


def _check_host(host: str, path: str) -> None:
    if not host or not host.isprintable() or " " in host:
        raise ConfigError(f"{path} = {host!r}: give an address or name of this machine, 0.0.0.0 for all of its own")


def _check_ports(settings: Settings, port: int | None) -> None:
    """Refuse two listeners of one port: the second would find it taken by the first, whoever else runs."""
    links = settings.links
    taken: list[tuple[str, int, str]] = [(settings.host, settings.port if port is None else port, "$.port")]
    listeners = [(one.host, one.port, f"$.links.dnp3[{at}].port") for at, one in enumerate(links.dnp3)]
    listeners += [(one.host, one.port, f"$.links.openadr[{at}].port") for at, one in enumerate(links.openadr)]
    listeners += market_listeners(links)
    _check_host(settings.host, "$.host")
    for host, wanted, path in listeners:
        _check_host(host, path.removesuffix("port") + "host")
        if not 0 <= wanted <= 65_535:
            raise ConfigError(f"{path} = {wanted}: give 0 to 65535")
        for near, other, where in taken:
            if wanted == other != 0 and (host == near or {host, near} & {"0.0.0.0", "::", ""}):
                raise ConfigError(f"{path} = {wanted}: is that of {where} already: give each listener its own")
        taken.append((host, wanted, path))


# --- towards the grid -------------------------------------------------------------------------------------------------


def binding_of(settings: Dnp3Settings, fleet: Fleet) -> Binding:
    """Return the point map of an outstation; sizes are the registry's."""
    groups = tuple(
        Group(group.resource, group.at, *_size_w(fleet, group.resource), group.level_target, group.level_limit)
        for group in settings.groups
        if fleet.holds(group.resource)  # one that is unknown is `check_links`' to name
    )
    return Binding(
        settings.address, groups, settings.masters, settings.host, settings.port, settings.keep_alive_s,
        events=settings.events,
    )  # fmt: skip


def _size_w(fleet: Fleet, name: str) -> tuple[float, float]:
    rows = fleet.leaves(name)
    return float(fleet.max_inject_w[rows].sum()), float(fleet.max_absorb_w[rows].sum())


def _check_dnp3(settings: Dnp3Settings, fleet: Fleet, path: str) -> None:
    if not 0 <= settings.address <= MAX_ADDRESS:
        raise ConfigError(f"{path}.address = {settings.address}: give 0 to {MAX_ADDRESS}")
    if not 0 < settings.keep_alive_s <= MOST_KEEP_ALIVE_S:
        raise ConfigError(f"{path}.keep_alive_s = {settings.keep_alive_s:g}: give above 0 to {MOST_KEEP_ALIVE_S}")
    if not 1 <= settings.events <= MOST_EVENTS:
        raise ConfigError(f"{path}.events = {settings.events}: give 1 to {MOST_EVENTS}")
    _told_by(lambda: check_binding(binding_of(settings, fleet)), {"$.peers": f"{path}.masters", "$": path})
    for at, master in enumerate(settings.masters):
        where = f"{path}.masters[{at}].certificate"
        if settings.tls is None and master.certificate:
            raise ConfigError(f"{where} = {master.certificate!r}: shows itself over TLS alone: give {path}.tls")
        if settings.tls is not None and FINGERPRINT.fullmatch(master.certificate) is None:
            # The authority would admit all that it ever signed: without a pinned one no connection is this master's.
            raise ConfigError(f"{where} = {master.certificate!r}: give sha256: and 64 hex digits, or leave tls out")


def iso_settings_of(settings: IsoLink) -> IsoSettings:
    """Return how the ISO is reached."""
    return IsoSettings(settings.url, settings.zone, settings.pools, settings.poll_s, settings.awards_s)


def _check_iso(settings: IsoLink, path: str) -> None:
    _told_by(lambda: check_iso(iso_settings_of(settings)), {"$.iso": path})
    if settings.tls is None and urlsplit(settings.url).scheme != "http":
        raise ConfigError(f"{path}.url = {settings.url!r}: an ISO is reached with a client certificate: give tls")


# --- towards end-points and devices -----------------------------------------------------------------------------------


def end_points_of(settings: OpenAdrSettings, fleet: Fleet) -> EndPoints:
    """Return who speaks for each row: the client of its resource."""
    speaks = {client.resource or client.id: client.id for client in settings.clients}
    switched = frozenset(settings.switched)
    known = {fleet.row(name): name for name in settings.resources if fleet.holds(name)}
    of = {row: EndPointName(name, speaks.get(name, ""), is_switched=name in switched) for row, name in known.items()}
    return EndPoints(of, private_states=settings.private_states, private_informing=settings.private_informing)


def _check_openadr(settings: OpenAdrSettings, path: str) -> None:
    if settings.tls is None and settings.host not in LOOPBACK:
        raise ConfigError(f"{path}.host = {settings.host!r}: tokens go over TLS or loopback alone: give {path}.tls")
    _told_by(lambda: read_origins(settings.callbacks), {}, f"{path}.callbacks: ")
    names = [client.id for client in settings.clients]
    for at, client in enumerate(settings.clients):
        where = f"{path}.clients[{at}]"
        if names.count(client.id) > 1:
            raise ConfigError(f"{where}.id = {client.id!r}: stands there twice: give each client a name of its own")
        if unknown := sorted(set(client.scopes) - SCOPES):
            raise ConfigError(f"{where}.scopes: {unknown[0]!r} is none: give some of {', '.join(sorted(SCOPES))}")
        if client.certificate and settings.tls is None:
            raise ConfigError(
                f"{where}.certificate = {client.certificate!r}: shows itself over TLS alone: give {path}.tls"
            )
        if client.certificate and FINGERPRINT.fullmatch(client.certificate) is None:
            raise ConfigError(f"{where}.certificate = {client.certificate!r}: give sha256: and 64 hex digits")


def modbus_settings_of(settings: ModbusLinkSettings, fleet: Fleet) -> ModbusSettings:
    """Return how a Modbus link's devices are reached, by row."""
    units = {fleet.row(name): unit for name, unit in settings.devices.items() if fleet.holds(name)}
    return ModbusSettings(
        {row: unit.address for row, unit in units.items()},
        {row: float(fleet.max_inject_w[row]) for row in units},
        settings.poll_s,
        settings.timeout_s,
        {row: float(fleet.max_absorb_w[row]) for row in units},
        {row: unit.profile for row, unit in units.items()},
        settings.in_flight,
        settings.grace_s,
        settings.writes,
    )


def _check_modbus(settings: ModbusLinkSettings, fleet: Fleet, path: str) -> None:
    for name, unit in settings.devices.items():
        check_profile(fleet, name, unit.profile, "sunspec", f"{path}.devices.{name}")
        unit.check(f"{path}.devices.{name}")
    _told_by(lambda: check_modbus(modbus_settings_of(settings, fleet)), {"$.modbus": path})


def _check_addresses(links: LinkSettings) -> None:
    """Refuse two resources at one address: each would write over what the other was told."""
    taken: dict[tuple[str, int, int], str] = {}
    for at, modbus in enumerate(links.modbus):
        for name, unit in modbus.devices.items():
            path = f"$.links.modbus[{at}].devices.{name}"
            try:
                address = parse_address(unit.address)
            except ConfigError:
                continue  # `_check_modbus` names it
            if address in taken:
                raise ConfigError(f"{path}.address = {unit.address!r}: is that of {taken[address]} already")
            taken[address] = path


def mqtt_settings_of(settings: MqttLinkSettings, fleet: Fleet, folder: Path) -> MqttSettings:
    """Return how a broker and its devices are reached, by row."""
    units = {fleet.row(name): unit for name, unit in settings.devices.items() if fleet.holds(name)}
    devices = {
        row: MqttDevice(
            unit.device, unit.profile, Rating(float(fleet.max_inject_w[row]), float(fleet.max_absorb_w[row]))
        )
        for row, unit in units.items()
    }
    files = (settings.password_file, settings.tls_authority, settings.tls_certificate, settings.tls_key)
    password_file, authority, certificate, key = (None if f is None else str(folder / f) for f in files)
    return MqttSettings(
        settings.host, settings.port, devices, settings.contract, settings.prefix, settings.client_id, settings.user,
        password_file, authority, certificate, key, settings.keep_alive_s, settings.ack_s, settings.stale_s,
        settings.rate_per_s,
    )  # fmt: skip


def _check_mqtt(settings: MqttLinkSettings, fleet: Fleet, folder: Path, path: str) -> None:
    _told_by(partial(check_mqtt, mqtt_settings_of(settings, fleet, folder)), _mqtt_names(path))
    _told_by(lambda: contract_of(settings.contract), {}, f"{path}.contract: ")
    for name, unit in settings.devices.items():
        where = f"{path}.devices.{name}"
        check_profile(fleet, name, unit.profile, "mqtt", where)
        unit.check(where)
        words = {"mqtt device": f"{where}.device =", "mqtt prefix": f"{path}.prefix ="}
        _told_by(partial(Bound, contract_of(settings.contract), settings.prefix, unit.device), words)


def _check_mqtt_files(settings: MqttLinkSettings, fleet: Fleet, folder: Path, path: str) -> None:
    how = mqtt_settings_of(settings, fleet, folder)
    for name in ("tls_authority", "tls_certificate", "tls_key", "password_file"):
        if (file := getattr(settings, name)) is not None:
            _readable(folder / file, f"{path}.{name}")
    for check in (hello, tls_of):
        _told_by(partial(check, how), _mqtt_names(path))


def _mqtt_names(path: str) -> dict[str, str]:
    ours = {f"$.mqtt.{name}": f"{path}.tls_{name}" for name in ("authority", "certificate", "key")}
    return {**ours, "$.mqtt": path}


# --- small things -----------------------------------------------------------------------------------------------------


def _check_tls(tls: TlsSettings | None, folder: Path, path: str, clock: Clock | None = None) -> None:
    """Hold a link's files against what TLS takes; with a clock, whether our own certificate is valid now too."""
    if tls is None:
        return
    files = files_of(tls, folder)
    for name in ("certificate", "key", "authority"):
        _readable(getattr(files, name), f"{path}.tls.{name}")
    if clock is not None:
        _told_by(partial(check_validity, files.certificate, clock), {}, f"{path}.tls: ")
    _told_by(partial(server_context, files), {}, f"{path}.tls: ")


def files_of(tls: TlsSettings, folder: Path) -> Files:
    """Return where a link's certificate, key and authority are."""
    return Files(folder / tls.certificate, folder / tls.key, folder / tls.authority)


def _told_by(check: Check, names: Mapping[str, str], before: str = "") -> None:
    """Run a check, and tell its fault by our path: `names` are what the link calls a setting, longest first."""
    try:
        check()
    except ConfigError as error:
        text = str(error)
        if names:
            either = "|".join(re.escape(name) for name in names)
            text = re.sub(f"(?:{either})(?![a-z])", lambda found: names[found[0]], text)
        raise ConfigError(before + text) from None
