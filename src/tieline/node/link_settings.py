"""Settings of the links of a server, by resource id; `node.links` turns them into rows and starts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from tieline.device.profile import profile_of, profile_over, profiles
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.links.device.modbus.link import parse_address
from tieline.links.endpoint.openadr.access import check_client
from tieline.links.endpoint.openadr.book import DESK
from tieline.links.grid.dnp3.binding import Peer as Dnp3Peer
from tieline.links.grid.ews_settings import EwsPool
from tieline.resource.identity import Kind


class TlsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files: our certificate, its key, and the authority that vouches for the other side."""

    certificate: str
    key: str
    authority: str


class Dnp3Group(Struct, frozen=True, forbid_unknown_fields=True):
    """A pool or feeder that an outstation shows; its points begin at index `at`, its size is the registry's."""

    resource: str
    at: int
    level_target: str = "UTILITY"
    level_limit: str = "ENVELOPE"


class Dnp3Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """A DNP3 outstation: its link address, where it listens, what it shows, and its masters."""

    address: int
    groups: tuple[Dnp3Group, ...]
    masters: tuple[Dnp3Peer, ...]
    name: str = "dnp3"
    host: str = "127.0.0.1"
    port: int = 20000
    keep_alive_s: float = 60.0
    events: int = 1000
    tls: TlsSettings | None = None


class IsoLink(Struct, frozen=True, forbid_unknown_fields=True):
    """An ISO's dispatch web service, and what it calls our pools."""

    url: str
    zone: str
    pools: dict[str, str]
    name: str = "iso"
    poll_s: float = 5.0
    awards_s: float = 60.0
    tls: TlsSettings | None = None


class EwsLink(Struct, frozen=True, forbid_unknown_fields=True):
    """A market's signed web service in the manner of ERCOT's EWS, and what it calls us and our pools.

    `market` is the common name that the market signs as. `listen_port`: where its notices come in; none: it is only
    asked. `declined`: what becomes of an instruction that we don't follow. `answers` that are not signed are believed
    over TLS alone where that is said here; `takes_sha1`: signatures with SHA-1 count, ours are made with `signs_with`.
    """

    url: str
    zone: str
    qse: str
    pools: dict[str, EwsPool]
    tls: TlsSettings
    name: str = "ews"
    market: str = "ERCOT"
    user_id: str = ""
    poll_s: float = 10.0
    awards_s: float = 60.0
    accept_s: float = 20.0
    declined: Literal["unacknowledged", "answered"] = "unacknowledged"
    answers: Literal["signed", "tls"] = "signed"
    signs_with: Literal["sha256", "sha512", "sha1"] = "sha256"
    takes_sha1: bool = False
    listen_host: str = "127.0.0.1"
    listen_port: int | None = None


class OasisLink(Struct, frozen=True, forbid_unknown_fields=True):
    """A service of price reports in the manner of CAISO's OASIS, and which node each price zone of ours is there."""

    url: str
    zone: str
    nodes: dict[str, str]
    name: str = "oasis"
    markets: tuple[Literal["day_ahead", "real_time"], ...] = ("day_ahead", "real_time")
    form: Literal["csv", "xml"] = "csv"
    version: int = 1
    poll_s: float = 300.0
    spacing_s: float = 6.0
    look_back_h: float = 24.0


class OpenAdrClient(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that may ask our VTN for tokens; `tieline credential` makes id, secret and digest.

    It speaks for one resource at most: `resource`, or that of its own name. `certificate` pins the machine that it runs
    on, as `sha256:<hex>`: its secret and its tokens count over that certificate alone. Without one, over any of the
    authority.
    """

    id: str
    secret_sha256: str
    resource: str = ""
    certificate: str = ""
    scopes: tuple[str, ...] = ("read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens")


class OpenAdrSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenADR 3.1 VTN, its clients, and the resources that are dispatched by its events.

    `switched` are those of them that can be on or off alone: a limit lets them run wholly or not at all. `callbacks`
    are the origins that webhooks may be sent to, as `https://ven.example:8443/`; none: no webhooks.
    `private_states` are operating states that its clients may report beside those of the standard; `private_informing`
    are payload types beside the standard's by which events of its clients may inform the VENs of `resources`: no device
    acts on them. `capability_of` are devices, pools and feeders of which it tells what they can be called for, as
    reports that a client with the scope `read_all` may read.
    """

    clients: tuple[OpenAdrClient, ...]
    resources: tuple[str, ...] = ()
    switched: tuple[str, ...] = ()
    name: str = "openadr"
    host: str = "127.0.0.1"
    port: int = 8081
    callbacks: tuple[str, ...] = ()
    private_states: tuple[str, ...] = ()
    private_informing: tuple[str, ...] = ()
    capability_of: tuple[str, ...] = ()
    tls: TlsSettings | None = None


class ModbusUnit(Struct, frozen=True, forbid_unknown_fields=True):
    """A SunSpec device: `host:port/unit`, and its profile."""

    address: str
    profile: str = "battery_inverter"

    def check(self, path: str) -> None:
        """Refuse an address or profile that can't be. Raises ConfigError naming where it stands and what would do."""
        self.check_address(path)
        _check_unit(path, "profile", self.profile, partial(profile_over, wire="sunspec"))

    def check_address(self, path: str) -> None:
        """Refuse an address that can't be: all that is known of a unit without the registry. Raises like `check`."""
        _check_unit(path, "address", self.address, parse_address)


class ModbusLinkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """SunSpec devices over Modbus TCP, named in `devices` or in a CSV `table` (columns id, address, profile)."""

    devices: dict[str, ModbusUnit] = {}
    table: str | None = None
    name: str = "modbus"
    poll_s: float = 60.0
    timeout_s: float = 3.0
    in_flight: int = 16
    grace_s: float = 10.0
    writes: Literal["block", "steps"] = "block"

    @property
    def switched(self) -> tuple[str, ...]:
        """The devices that can be on or off alone."""
        return _switched(self.devices)


class MqttUnit(Struct, frozen=True, forbid_unknown_fields=True):
    """A device behind a broker: its name in the topics, and its profile."""

    device: str
    profile: str

    def check(self, path: str) -> None:
        """Refuse a profile that there isn't. Raises ConfigError naming where it stands and which there are."""
        _check_unit(path, "profile", self.profile, partial(profile_over, wire="mqtt"))


class MqttLinkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Devices behind an MQTT broker, named in `devices` or in a CSV `table` (columns id, device, profile).

    `client_id` left out: one of the data folder's own, which stays the same. No two clients of a broker may have one.
    """

    host: str
    port: int = 1883
    devices: dict[str, MqttUnit] = {}
    table: str | None = None
    name: str = "mqtt"
    contract: str = "zigbee2mqtt"
    prefix: str = "zigbee2mqtt"
    client_id: str = ""
    user: str | None = None
    password_file: str | None = None
    tls_authority: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    keep_alive_s: int = 60
    ack_s: float = 10.0
    stale_s: float = 900.0
    rate_per_s: float = 50.0

    @property
    def switched(self) -> tuple[str, ...]:
        """The devices that can be on or off alone."""
        return _switched(self.devices)


class LinkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All links of a server."""

    dnp3: tuple[Dnp3Settings, ...] = ()
    iso: tuple[IsoLink, ...] = ()
    ews: tuple[EwsLink, ...] = ()
    oasis: tuple[OasisLink, ...] = ()
    openadr: tuple[OpenAdrSettings, ...] = ()
    modbus: tuple[ModbusLinkSettings, ...] = ()
    mqtt: tuple[MqttLinkSettings, ...] = ()


def least_times_s(devices: Mapping[str, ModbusUnit | MqttUnit]) -> dict[str, float]:
    """Return the least time of each device that is on or off alone, as its profile has it (s); others are left out."""
    found = {}
    for name, unit in devices.items():
        profile = profile_of(unit.profile)
        least_s = max(profile.hold.min_on_s, profile.hold.min_off_s)
        if profile.is_switched and least_s > 0.0:
            found[name] = least_s
    return found


def _switched(devices: Mapping[str, ModbusUnit | MqttUnit]) -> tuple[str, ...]:
    return tuple(name for name, unit in devices.items() if profile_of(unit.profile).is_switched)


def _check_unit(path: str, key: str, value: str, read: Callable[[str], object]) -> None:
    try:
        read(value)
    except ConfigError as error:
        limit = str(error).partition(": ")[2]
        raise ConfigError(f"{path}.{key} = {value!r}: {limit}") from None


def check_zone(zone: str, path: str) -> None:
    """Refuse what is no time zone. Raises ConfigError naming the path and the value."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"zone {zone!r} at {path}: give an IANA zone such as America/Chicago") from None


def check_links(links: LinkSettings, fleet: Fleet, principals: Mapping[str, object]) -> None:
    """Refuse links that name what the registry or the peers don't know, one device twice, or two by one client id.

    Raises:
        ConfigError: Naming the path, the value and what would do.
    """
    names = [link.name for kind in links.__struct_fields__ for link in getattr(links, kind)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"$.links: two links are named {name!r}: give each a name of its own")
    if (count := len(links.iso) + len(links.ews)) > 1:
        raise ConfigError(f"$.links.{'iso' if links.iso else 'ews'}: {count} services: a server answers to one ISO")
    taken: dict[str, str] = {}
    for at, outstation in enumerate(links.dnp3):
        for k, group in enumerate(outstation.groups):
            check_known(fleet, group.resource, f"$.links.dnp3[{at}].groups[{k}].resource")
        for k, master in enumerate(outstation.masters):
            if master.name not in principals:
                path = f"$.links.dnp3[{at}].masters[{k}].name"
                raise ConfigError(f"{path} = {master.name!r}: give it a [[peers]] entry with its ceiling")
    pools = {group.id for group in fleet.groups_of(Kind.POOL)}
    markets = [(f"$.links.{kind}", one) for kind in ("iso", "ews") for one in getattr(links, kind)]
    for at, iso in enumerate(links.iso):
        check_zone(iso.zone, f"$.links.iso[{at}].zone")
    for path, market in markets:
        for pool in market.pools:
            if pool not in pools:
                have = ", ".join(sorted(pools)) or "(the registry has none)"
                raise ConfigError(f"{path}.pools: {pool!r} is no pool: give one of {have}")
    for at, vtn in enumerate(links.openadr):
        for k, client in enumerate(vtn.clients):
            check_client(client.id, client.secret_sha256, f"$.links.openadr[{at}].clients[{k}]")
            if client.id == DESK:
                path = f"$.links.openadr[{at}].clients[{k}].id = {client.id!r}"
                raise ConfigError(f"{path}: the desk itself writes under this name: give the client another")
        for name in vtn.resources:
            _one_writer(fleet, name, f"$.links.openadr[{at}].resources", taken)
            spoken_for = [client for client in vtn.clients if name == (client.resource or client.id)]
            if len(spoken_for) != 1:
                path = f"$.links.openadr[{at}].clients"
                raise ConfigError(f"{path}: {len(spoken_for)} speak for {name!r}: give one with `resource = {name!r}`")
        for name in vtn.capability_of:
            check_known(fleet, name, f"$.links.openadr[{at}].capability_of")
        for name in vtn.switched:
            if name not in vtn.resources:
                path = f"$.links.openadr[{at}].switched"
                raise ConfigError(f"{path}: {name!r} is none of its resources: give some of those, or leave it out")
    for at, modbus in enumerate(links.modbus):
        for name in modbus.devices:
            _one_writer(fleet, name, f"$.links.modbus[{at}].devices", taken)
    for at, mqtt in enumerate(links.mqtt):
        for name in mqtt.devices:
            _one_writer(fleet, name, f"$.links.mqtt[{at}].devices", taken)
    _check_client_ids(links.mqtt)


def count_links(links: LinkSettings) -> str:
    """Return how many links of each kind there are, in words."""
    counts = {word: len(getattr(links, word)) for word in links.__struct_fields__}
    found = [f"{count} {word}" for word, count in counts.items() if count]
    return ", ".join(found) or "none: this server speaks to nobody but its console"


def check_known(fleet: Fleet, name: str, path: str) -> None:
    """Refuse a name that the registry does not have. Raises ConfigError naming the path."""
    try:
        fleet.kind_of(name)
    except KeyError:
        raise ConfigError(f"{path}: {name!r} is not in the registry: `tieline import` it first") from None


def check_profile(fleet: Fleet, name: str, profile: str, over: Literal["sunspec", "mqtt"], path: str) -> None:
    """Refuse a profile that is none, not told over this link, or not of what the registry says that the resource is.

    A heater that is taken for a battery's inverter would be sold for what it can't do, and told what it does not know.
    To be asked before the unit's own check, which knows of no registry and would name profiles that don't fit.

    Raises:
        ConfigError: Naming the path, the profile, and those that would do.
    """
    if not fleet.holds(name):
        return  # named by `check_links`
    kind = fleet.kind_of(name)
    fitting = [each.name for each in profiles().values() if over in each.over and kind in each.serves]
    if profile in fitting:
        return
    known = "" if profile in profiles() else "there is no such profile, and "
    fault = f"{path}.profile = {profile!r}: {known}{name!r} is {kind.value} in the registry"
    if not fitting:
        raise ConfigError(f"{fault}, and no profile over {over} serves that: leave it out here")
    raise ConfigError(f"{fault}: give {' or '.join(fitting)}")


def _check_client_ids(links: Sequence[MqttLinkSettings]) -> None:
    """Refuse two links by one client id at one broker: each would end the other's session (MQTT 3.1.1, 3.1.4)."""
    taken: dict[tuple[str, int, str], str] = {}
    for at, link in enumerate(links):
        key = link.host.casefold(), link.port, link.client_id
        if link.client_id and key in taken:
            said = (
                f"$.links.mqtt[{at}].client_id = {link.client_id!r}: is that of {taken[key]} at {link.host}:{link.port}"
            )
            raise ConfigError(f"{said} already: give each link an id of its own, or leave it out")
        taken[key] = f"$.links.mqtt[{at}]"


def _one_writer(fleet: Fleet, name: str, path: str, taken: dict[str, str]) -> None:
    check_known(fleet, name, path)
    if name in taken:
        raise ConfigError(f"{path}: {name!r} is bound at {taken[name]} already: a resource has one writer")
    taken[name] = path
