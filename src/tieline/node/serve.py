"""`tieline serve`: a server on a data folder: its registry, its journal, its settings, its console."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.contract.eligibility import enrol
from tieline.desk.cycle import PoolDesk
from tieline.errors import ConfigError
from tieline.fleet.columns import FUELS, KINDS, Fleet
from tieline.fleet.ledger import Capacity, Ledger
from tieline.node.config import ConsoleTls, Settings, load_config
from tieline.node.kept_readings import KeptReadings
from tieline.node.link_settings import check_links
from tieline.node.links import raise_links, with_tables
from tieline.node.runtime import Node, replayed
from tieline.node.trade_settings import apply_limits, check_fleet
from tieline.node.trader import NodeTrader, terms_of
from tieline.node.web import serve_console
from tieline.pool.merit import merit_price
from tieline.resource.admission import Principal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.journal import FolderLock, SqliteJournal
from tieline.store.series import Historian, Wal
from tieline.times import Clock

PROGRAMS = ("energy", "capacity", "demand_response", "ancillary")


def node_of(
    folder: Path,
    settings: Settings,
    supervisor: Supervisor,
    executor: ThreadPoolExecutor | None,
    clock: Clock | None = None,
) -> Node:
    """Return the node of a data folder, its state rebuilt from the journal."""
    fleet = registry.load(folder / "registry.bin")
    ledger = Ledger()
    pools = {group.id: _pool(fleet, group.id, settings.jurisdiction) for group in fleet.groups_of(Kind.POOL)}
    for name, pool in pools.items():
        rows = pool.rows[pool.eligible]
        up_w = float(fleet.max_inject_w[rows].sum() + fleet.max_absorb_w[rows].sum())
        ledger.set_capacity(name, Capacity(up_w, up_w))
    journal = SqliteJournal(folder / "journal.db")
    principals = principals_of(settings)
    check_links(settings.links, fleet, principals)
    state = replayed(fleet, ledger, journal)
    kinds, fuels = kinds_and_fuels(fleet)
    check_fleet(settings.pools, settings.limits, fleet)
    apply_limits(settings.limits, state)
    state.enrolments = {p: enrol(kinds, fuels, settings.jurisdiction, p) for p in PROGRAMS}
    node = Node(state, journal, clock or SystemClock(), supervisor, principals, pools, 1.0, executor)
    node.published = [*pools, *(group.id for group in fleet.groups_of(Kind.FEEDER))]
    return node


PEOPLE = {
    "owner": Principal("owner", Level.OWNER_NEED),
    "operator": Principal("operator", Level.GRID_EMERGENCY, is_person=True),
    "dispatcher": Principal("dispatcher", Level.UTILITY, is_person=True),
    "program_manager": Principal("program_manager", Level.PROGRAM, is_person=True),
}
"""Those in whose name the console asks; a peer of the settings with the same name takes the place of one."""


def principals_of(settings: Settings) -> dict[str, Principal]:
    """Return who may claim: the console's people, and the peers of the settings."""
    found = dict(PEOPLE)
    for peer in settings.peers:
        resources = frozenset(peer.resources)
        found[peer.name] = Principal(peer.name, Level[peer.ceiling], resources, max_power_w=peer.max_power_w)
    return found


def _pool(fleet: Fleet, name: str, jurisdiction: str) -> PoolDesk:
    rows = fleet.leaves(name)
    kinds, fuels = kinds_and_fuels(fleet)
    eligible = enrol(kinds[rows], fuels[rows], jurisdiction, "energy").may_serve
    return PoolDesk(name, rows, merit_price(fleet.kinds[rows]), eligible, np.zeros(len(rows)))


def kinds_and_fuels(fleet: Fleet) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return kind and fuel of each row as the words that eligibility's rules use."""
    return np.array([kind.value for kind in KINDS])[fleet.kinds], np.array(FUELS)[fleet.fuels]


def trader_of(node: Node, settings: Settings, kept: KeptReadings) -> NodeTrader:
    """Return who trades for the pools of a node; a pool's market day is that of the ISO that it is bound to."""
    zones = {pool: iso.zone for iso in settings.links.iso for pool in iso.pools}
    trader = NodeTrader(node, terms_of(list(node.cycle.pools), settings.zone, settings.pools, zones), kept)
    node.on_kept.append(trader.days.heard)
    return trader


def console_context(folder: Path, tls: ConsoleTls) -> ssl.SSLContext:
    """Return the console's TLS context. Raises ConfigError for files that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(folder / tls.certificate, folder / tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"$.tls: {folder / tls.certificate}, {folder / tls.key}: {error}") from None
    return context


async def serve(
    folder: Path,
    port: int | None,
    say: Callable[[str], None],
    wall_s: float | None = None,
    clock: Clock | None = None,
) -> None:
    """Serve a data folder until cancelled, or for so many seconds; `clock` None: by the machine's own."""
    from tieline.node.reader import Sources

    settings = load_config(folder / "tieline.toml")
    settings = replace(settings, links=with_tables(settings.links, folder))
    lock = FolderLock(folder)
    executor = ThreadPoolExecutor(1, "journal")
    try:
        async with Supervisor(np.random.default_rng()) as supervisor:
            node = node_of(folder, settings, supervisor, executor, clock or SystemClock())
            say(f"{len(node.state.fleet):,} devices, {node.journal.last_seq:,} records replayed")
            wal, historian = Wal(folder / "readings"), Historian(folder / "historian")
            intake = node.keep_readings(wal, historian)
            trader = trader_of(node, settings, KeptReadings(wal, historian, executor))
            links = await raise_links(settings.links, folder, node, supervisor, np.random.default_rng())
            for line in links.says:
                say(line)
            node.start()
            supervisor.keep("settlement", trader.days.run)
            sources = Sources(
                utility=settings.name, setting="LIVE", zone=settings.zone, forecast=trader.forecast
            )  # fmt: skip
            where = settings.port if port is None else port
            tls = None if settings.tls is None else console_context(folder, settings.tls)
            console = await serve_console(
                node,
                settings.host,
                where,
                sources=sources,
                intake=intake,
                trader=trader,
                tls=tls,
                oidc=settings.oidc,
                say=say,
            )
            try:
                await (asyncio.sleep(wall_s) if wall_s is not None else asyncio.Event().wait())
            finally:
                await links.stop()
                await console.stop()
    finally:
        executor.shutdown()
        lock.release()
