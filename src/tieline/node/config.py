"""Settings of a server: one TOML file, every key known, every fault named by its path."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tieline.console.auth.oidc import OidcSettings
from tieline.contract.engine_permit import OrderInForce, Permit
from tieline.errors import ConfigError
from tieline.ids import NAME, is_name
from tieline.node.link_settings import LinkSettings, check_zone
from tieline.node.named_path import named_in
from tieline.node.trade_settings import LimitSettings, PoolSettings, check_limits, check_pools
from tieline.resource.batch import AHEAD_NS
from tieline.resource.level import Level
from tieline.rim.texts import text_in
from tieline.store.narrow import opener
from tieline.times import SECOND_NS


class PeerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One northbound principal: up to which level it may claim, of which resources (empty: all)."""

    name: str
    ceiling: str = "UTILITY"
    resources: tuple[str, ...] = ()
    max_power_w: float = 1e12


class ConsoleTls(Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files of the console's certificate and key; people sign in with a password or their provider."""

    certificate: str
    key: str


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the records are kept. `url` is `postgresql://user@host:port/database`; none: SQLite in the data folder.

    A password stands in `password_file` or in the environment (TIELINE_JOURNAL_PASSWORD), never in the URL.
    """

    url: str = ""
    password_file: str | None = None


class ReadingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How many days the hourly files of readings are kept (none: for ever); the journal is never deleted.

    A reading whose time is still to come is kept with the time it came; where that is more than `ahead_s` seconds off,
    the device's clock is wrong and the reading is questionable.
    """

    keep_days: int | None = None
    ahead_s: float = AHEAD_NS / SECOND_NS


class ContractSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Contracts with owners (TOML, in the data folder), and the programs whose hours and budgets count (none: ours).

    `without` says whether markets and programs may call a device that has no contract: `refuse` or `serve`.
    `enrolments` is the book of enrolments (JSON, in the data folder): where one is named, a program's events call only
    devices that are enrolled in it.
    """

    file: str
    programs: str | None = None
    enrolments: str | None = None
    without: Literal["refuse", "serve"] = "refuse"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a server.

    `event_programs` are the programs that people call events under, beside `demand_response` and those of the
    contracts: an event of any other is refused. `permits` and `orders` are what lets backup engines be called.
    """

    name: str = "tieline"
    zone: str = "UTC"
    jurisdiction: str = "US"
    event_programs: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    tls: ConsoleTls | None = None
    peers: tuple[PeerSettings, ...] = ()
    pools: dict[str, PoolSettings] = {}
    limits: LimitSettings = LimitSettings()
    links: LinkSettings = LinkSettings()
    oidc: OidcSettings | None = None
    journal: JournalSettings = JournalSettings()
    readings: ReadingSettings = ReadingSettings()
    contracts: ContractSettings | None = None
    permits: tuple[Permit, ...] = ()
    orders: tuple[OrderInForce, ...] = ()


_EXAMPLE = """# Settings of a Tieline server. Unknown keys are refused with their path.
name = "my-utility"
zone = "America/Chicago"
jurisdiction = "US-TX"
host = "127.0.0.1"
port = 8080
# event_programs = ["Peak relief"]      # people call events under these, demand_response and the contracts' programs

# Who may claim, up to which level (a lower level is stronger), of which resources (none named: all).
[[peers]]
name = "operator"
ceiling = "GRID_EMERGENCY"

# The records stand in journal.db in this folder; or, with `pip install 'tieline[postgres]'`, in a database.
# [journal]
# url = "postgresql://tieline@db.my-utility.example/tieline"
# password_file = "journal.password"     # or TIELINE_JOURNAL_PASSWORD in the environment
#
# [readings]
# keep_days = 400                        # older hours of readings are deleted; left out: kept for ever
# ahead_s = 30.0                         # a reading from further ahead than this is questionable

# Links: each table below starts one. A relative path counts from this folder; a secret never stands here.
#
# [[peers]]
# name = "dno"
# ceiling = "ENVELOPE"
# resources = ["feeder-1"]
#
# [[links.dnp3]]                      # a control room calls here
# address = 10
# port = 20000
# groups = [{ resource = "feeder-1", at = 0 }]
# masters = [{ name = "dno", address = 1, may_read = ["feeder-1"], may_operate = ["feeder-1"], ceiling = "ENVELOPE" }]
# # tls = { certificate = "dnp3.pem", key = "dnp3.key", authority = "dno-ca.pem" }  # certificate of each master
#
# [[links.iso]]                       # an ISO's dispatch web service
# url = "https://iso.example/dispatch"
# zone = "America/Chicago"
# pools = { pool-1 = "TIELINE_1" }
# tls = { certificate = "iso.pem", key = "iso.key", authority = "iso-ca.pem" }
#
# [[links.ews]]                       # or a market over signed SOAP, in the manner of ERCOT's EWS
# url = "https://market.example/ews"
# zone = "America/Chicago"
# qse = "QTIELINE"
# pools = { pool-1 = { resource = "TIELINE_1", settlement_point = "LZ_NORTH" } }
# tls = { certificate = "qse.pem", key = "qse.key", authority = "market-ca.pem" }
#
# [[links.oasis]]                     # price reports in the manner of CAISO's OASIS: price zone = node
# url = "https://prices.example/oasisapi/SingleZip"
# zone = "America/Los_Angeles"
# nodes = { system = "TH_NP15_GEN-APND" }
#
# [[links.openadr]]                   # a VTN for end-points; `tieline credential ven-1` makes a client
# port = 8081
# resources = ["site-battery-1"]
# clients = [{ id = "ven-1", secret_sha256 = "...", resource = "site-battery-1" }]
#
# [[links.modbus]]                    # SunSpec devices; many of them: table = "modbus.csv" with id,address,profile
# devices = { battery-1 = { address = "10.0.0.5:502/1", profile = "battery_inverter" } }
#
# [[links.mqtt]]                      # thermostats and plugs behind a broker
# host = "127.0.0.1"
# devices = { heater-1 = { device = "heater-1", profile = "water_heater" } }
# client_id = "desk-1"                # left out: one of this folder's own

# How each pool is settled, and of which price zone it is; what is left out stands as here.
# [pools.pool-1]
# price_zone = "system"               # what POST /api/v1/prices calls it
# load_rule = "caiso-10-in-10"        # baseline of loads
# generator_rule = "caiso-meter-generator-output"
# operator_frac = 0.2                 # of what is earned; the rest is the owners'
# readings_wait_h = 72.0              # so long a day waits for readings that lack
# dispatch = "schedule"               # awards are given by a schedule over all that is sold; or by "merit"
#
# Contracts with owners: who may be called for what, how often, and what is kept back (docs/do/contracts.md).
# [contracts]
# file = "contracts.toml"
# programs = "programs.toml"           # their hours, notice and budgets; left out: Tieline's own samples
# enrolments = "book.json"             # programs call only who is enrolled in them (docs/do/enrol.md)
# without = "refuse"                   # devices without a contract are not called; or "serve"
#
# Backup engines are called by an emergency program's event alone, where a rule names them: under an executive order
# that is in force, and within the hours of their air permit (docs/do/eligible.md).
# [[permits]]
# id = "air-permit-17"
# version = "2026"
# source = "permit to operate, condition 4"
# resources = ["genset-1"]
# limits = [{ uses = ["emergency", "maintenance", "readiness", "non_emergency"], hours = 200.0 }]
#
# [[orders]]
# id = "order-1"
# source = "executive order of the governor"
# jurisdiction = "US-CA"
# starts = 2026-08-01T00:00:00-07:00
# ends = 2026-11-01T00:00:00-07:00
#
# Limits of the desk itself, whoever asks.
# [limits]
# fleet_move_w = 2e6                  # most that all commands of any 60 s may move together
# feeder_move_w = { feeder-1 = 5e5 }
# loads = { feeder-1 = "counted" }    # beneath its upper end loads count as they draw; "may_stop": for nothing
# site_stale_s = 10                   # so old a reading counts at most behind a site's connection
# two_people = { devices = 1000, fleet_frac = 0.1, least_devices = 250 }
# ramp_frac_per_min = { battery = 0.5 }

# People may sign in with an OpenID Connect provider beside local accounts (authorization code with PKCE).
# [oidc]
# issuer = "https://id.my-utility.example"
# client_id = "tieline"
# redirect_uri = "https://desk.my-utility.example/oidc/callback"
# roles_claim = "groups"
# role_of = { "grid-operators" = "operator", "traders" = "trader" }
"""


def write_example(path: Path, journal_url: str = "") -> None:
    """Write settings to begin with; `journal_url` names the database of the records (empty: a file)."""
    table = f"[journal]\nurl = {json.dumps(journal_url)}\n#" if journal_url else "# [journal]"
    with open(path, "w", encoding="utf-8", opener=opener) as file:
        file.write(_EXAMPLE.replace("# [journal]", table))


MOST_DAYS = 36_500
MOST_LETTERS = 80
MOST_TOLD = 20
_TABLES = "a key belongs to the last [table] above it: the server's own stand above the first"
MOST_AHEAD_S = 3_600.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def load_config(path: Path) -> Settings:
    """Return the settings of a file.

    Raises:
        ConfigError: No file, no TOML, an unknown key, or a value outside its limits: named by path.
    """
    raw: Any = {}
    try:
        raw = tomllib.loads(text_in(path))
        _require_finite(raw, path)
        settings = msgspec.convert(raw, Settings)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no settings: run `tieline init {path.parent}`") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_placed(named_in(raw, str(error), Settings))}") from None
    except ValueError as error:  # no TOML, or a whole number of more digits than Python reads
        raise ConfigError(f"{path}: {error}") from None
    if not 0 <= settings.port <= 65_535:
        raise ConfigError(f"{path}: port {settings.port} at $.port: give 0 to 65535")
    _check_record(path, settings)
    if settings.oidc is not None and not settings.oidc.redirect_uri.endswith("/oidc/callback"):
        value = settings.oidc.redirect_uri
        raise ConfigError(f"{path}: redirect_uri {value!r} at $.oidc.redirect_uri: give https://HOST/oidc/callback")
    check_zone(settings.zone, f"$.zone of {path}")
    check_pools(settings.pools, path)
    check_limits(settings.limits, path)
    for at, program in enumerate(settings.event_programs):
        if program != program.strip() or not 0 < len(program) <= MOST_LETTERS or not program.isprintable():
            what = f"1 to {MOST_LETTERS} printable characters, no space at either end"
            raise ConfigError(f"{path}: program {program[:80]!r} at $.event_programs[{at}]: give {what}")
    names = [peer.name for peer in settings.peers]
    for at, peer in enumerate(settings.peers):
        if not is_name(peer.name):
            raise ConfigError(f"{path}: name {peer.name!r} at $.peers[{at}].name: give {NAME}")
        if names.count(peer.name) > 1:
            raise ConfigError(f"{path}: name {peer.name!r} at $.peers[{at}].name: give each peer a name of its own")
        if not peer.max_power_w > 0:
            raise ConfigError(f"{path}: max_power_w {peer.max_power_w:g} at $.peers[{at}].max_power_w: give over 0 W")
        if peer.ceiling not in Level.__members__:
            words = ", ".join(Level.__members__)
            raise ConfigError(f"{path}: ceiling {peer.ceiling!r} at $.peers[{at}].ceiling: give one of {words}")
    if settings.host not in LOOPBACK and settings.tls is None:
        raise ConfigError(
            f"{path}: host {settings.host!r} at $.host: the console is reached from elsewhere by TLS alone: "
            "give [tls] with certificate and key, or 127.0.0.1"
        )
    return settings


def _require_finite(raw: Any, path: Path) -> None:
    """Refuse numbers that are none. No rule of a range finds a NaN, nor infinity where it has no upper end."""
    if found := list(_not_finite(raw)):
        raise ConfigError(f"{path}: " + "; ".join(found[:MOST_TOLD]))


def _not_finite(value: Any, path: str = "$") -> Iterator[str]:
    """Yield each number within a document that is infinite, none, or of over 64 bits (TOML 1.0.0, Integer).

    >>> list(_not_finite({"port": 1, "links": [{"poll_s": float("inf")}]}))
    ['inf at $.links[0].poll_s: give a finite number']
    """
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _not_finite(one, f"{path}.{key}")
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _not_finite(one, f"{path}[{at}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{value} at {path}: give a finite number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield f"{str(value)[:20]}... at {path}: give a whole number of at most 64 bits"


def _placed(text: str) -> str:
    """Return msgspec's words with the path where the fault is; with TOML's rule for keys, where one is in no place.

    >>> _placed("Object contains unknown field `colour` - at `$.peers[...]`").partition(" - at ")[2]
    "`$.peers[...]` (a key belongs to the last [table] above it: the server's own stand above the first)"
    """
    if "`$" not in text:
        return f"{text} - at `$`"
    # What somebody adds at the end of the file he means for the server; TOML 1.0.0, "Table", gives it to the last one.
    is_lost = "unknown field `" in text
    return text + (f" ({_TABLES})" if is_lost else "")


def _check_record(path: Path, settings: Settings) -> None:
    """Raise ConfigError where journal or readings are set as they can't be; no error shows a URL, lest a password."""
    url, days = settings.journal.url, settings.readings.keep_days
    if url:
        from tieline.store.postgres import Place

        try:
            place = Place(url)
        except ConfigError as error:
            raise ConfigError(f"{path}: $.journal.url: {error}") from None
        if place.has_password:
            raise ConfigError(
                f"{path}: $.journal.url holds a password: give it in $.journal.password_file or "
                "TIELINE_JOURNAL_PASSWORD, and change it"
            )
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"{path}: keep_days {days} at $.readings.keep_days: give 1 to {MOST_DAYS}")
    if not 0.0 <= (ahead_s := settings.readings.ahead_s) <= MOST_AHEAD_S:
        raise ConfigError(f"{path}: ahead_s {ahead_s:g} at $.readings.ahead_s: give 0 to {MOST_AHEAD_S:g}")
