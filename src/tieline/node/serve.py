"""`tieline serve`: a server on a data folder: its registry, its journal, its settings, its console."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from tieline.desk.engine_calls import decide_runs
from tieline.desk.entry import Entry
from tieline.desk.facts import Audited
from tieline.desk.pool_desk import PoolDesk
from tieline.ids import derive
from tieline.node.aside_start import left_aside
from tieline.node.award_planner import AwardPlanner
from tieline.node.certificates import certificates_told
from tieline.node.clear_text import in_the_clear
from tieline.node.clock_watch import ClockWatch
from tieline.node.config import Settings, load_config
from tieline.node.contracting import agreements_of, bind, book_path, next_change_ns, told_at_start
from tieline.node.enrolment_book import BookWatch
from tieline.node.forgotten import forgotten
from tieline.node.journals import end_noted, journal_to_read, journal_to_write
from tieline.node.kept_readings import KeptReadings
from tieline.node.known_rules import unruled
from tieline.node.last_readings import take_last
from tieline.node.learnt import Learnt
from tieline.node.link_settings import check_links
from tieline.node.links import listening, raise_links, with_tables
from tieline.node.load_forecasts import LoadForecasts
from tieline.node.participating import Participation
from tieline.node.principals import principals_of
from tieline.node.rebuilt import engines_of, enrolments_of, law_of, ledger_of, members_of
from tieline.node.runtime import Node, replayed
from tieline.node.starting import console_context, oidc_of, require_startable
from tieline.node.trade_settings import apply_limits, check_fleet, narrow_moves
from tieline.node.trader import NodeTrader, terms_of
from tieline.node.web import serve_console
from tieline.pool.merit import merit_price
from tieline.resource.identity import Kind
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.aside import Aside
from tieline.store.journal import JournalDamaged, StoreDown
from tieline.store.lock import FolderLock
from tieline.store.narrow import narrow
from tieline.store.segment import Segment, damage_of, damage_says, faults_of
from tieline.store.series import Historian, Wal, hour_faults
from tieline.times import DAY_NS, SECOND_NS, Clock


def node_of(
    folder: Path,
    settings: Settings,
    supervisor: Supervisor,
    executor: ThreadPoolExecutor | None,
    clock: Clock | None = None,
) -> Node:
    """Return the node of a data folder, its state rebuilt from the journal; its clock is the system's unless given."""
    fleet = registry.load(folder / "registry.bin")
    agreed = agreements_of(settings, folder, fleet)
    law = law_of(settings, agreed)
    members = members_of(fleet, law)
    pools = {
        name: PoolDesk(name, rows, merit_price(fleet.kinds[rows]), may_serve, np.zeros(len(rows)))
        for name, (rows, may_serve) in members.items()
    }
    journal = journal_to_write(folder, settings.journal)
    principals = principals_of(settings)
    check_links(settings.links, fleet, principals)  # for those who make a node without a server's start
    check_fleet(settings.pools, settings.limits, fleet)
    state = replayed(fleet, ledger_of(fleet, members), journal)
    apply_limits(settings.limits, state)
    state.ahead_ns = round(settings.readings.ahead_s * SECOND_NS)
    state.enrolments, state.engines = enrolments_of(fleet, law), engines_of(settings, fleet, law)
    clock = clock or SystemClock()
    bind(state, agreed, clock.now_ns())
    node = Node(state, journal, clock, supervisor, principals, pools, 1.0, executor)
    node.group.aside = Aside(folder, lambda: journal.end)
    node.group.aside_executor = None if executor is None else ThreadPoolExecutor(1, "aside")
    node.event_programs = settings.event_programs
    node.after_beat.append(partial(keep_hours, node))
    node.desk.admission = Participation(settings.pools, pools, fleet)
    node.next_due.append(lambda now_ns: next_change_ns(state))
    node.published = [*pools, *(group.id for group in fleet.groups_of(Kind.FEEDER))]
    return node


async def keep_hours(node: Node) -> None:
    """Record what backup engines began and ended to run."""
    await node.desk.commit(decide_runs(node.state, node.clock.now_ns()))


def trader_of(node: Node, settings: Settings, kept: KeptReadings) -> NodeTrader:
    """Return who trades for the pools of a node; a pool's market day is that of the ISO that it is bound to."""
    zones = {pool: iso.zone for iso in settings.links.iso for pool in iso.pools}
    trader = NodeTrader(node, terms_of(list(node.cycle.pools), settings.zone, settings.pools, zones), kept)
    if isinstance(node.desk.admission, Participation):
        trader.participation = node.desk.admission
    node.on_kept.append(trader.days.heard)
    return trader


def narrow_files(folder: Path, say: Callable[[str], None]) -> None:
    """Narrow what stands in a folder wider than it is made today, and say so."""
    if found := narrow(folder):
        named = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        say(f"other accounts could read {len(found)} files, and can't now: {named}{', ...' if found[5:] else ''}")


async def note_end(node: Node, say: Callable[[str], None]) -> None:
    """Say what is wrong with the journal's end, and record it: the next commit would cover a head that is missing."""
    fault = node.journal.end_fault()
    if fault:
        say(f"warning: {fault}")
        await node.desk.commit([end_noted(fault)])
    elif node.journal.last_seq:  # who was killed between a commit and its note left the head behind
        node.journal.keep_head()


async def look_over(node: Node, folder: Path, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """Look at the journal's end and at what was not taken into it now, and at the whole chain beside what follows."""
    await note_end(node, say)
    await node.desk.commit(left_aside(folder, say))
    supervisor.spawn(check_chain(node, folder, say), "chain of records")


async def note_forgotten(node: Node, say: Callable[[str], None]) -> None:
    """Say which acts waited for a second person as the last server ended, and record it: they are to be asked again."""
    found = forgotten(node.journal, node.clock.now_ns())
    for _, says in found:
        say(f"note: {says}")
    await node.desk.commit([entry for entry, _ in found])


async def check_chain(node: Node, folder: Path, say: Callable[[str], None]) -> None:
    """Hold every record against the chain of hashes, beside the server's work; a changed one is said and recorded.

    Beside it, as a long journal takes minutes: whoever may write its file could forge the chain as well, so that this
    finds mishaps and not that person (SECURITY.md), and a start need not wait for it.
    """

    loop = asyncio.get_running_loop()
    found: asyncio.Future[int | None] = loop.create_future()

    def tell(changed: int | None) -> None:
        if not found.done():
            found.set_result(changed)

    def look() -> None:
        changed = None
        with contextlib.suppress(StoreDown):
            journal = journal_to_read(folder)
            try:
                changed = journal.verify()
            except JournalDamaged as damaged:
                changed = damaged.seq
            journal.close()
        with contextlib.suppress(RuntimeError):  # the server ended meanwhile, and its loop with it
            loop.call_soon_threadsafe(tell, changed)

    # A thread of its own that nobody waits for: a server that is told to end does not read its journal to the last.
    threading.Thread(target=look, name="chain", daemon=True).start()
    changed = await found
    if changed is not None:
        fault = f"record {changed} was changed after it was written: run `tieline doctor`, put a backup back"
        say(f"warning: {fault}")
        fact = Audited("server", "start", "found", fault)
        await node.desk.commit([Entry(derive("chain-fault", fault), fact, "journal")])


async def look_over_readings(node: Node, folder: Path, say: Callable[[str], None]) -> None:
    """Look for damaged files of readings beside the server's work; they are said and recorded.

    The newest segment was open when the last server ended: that its end is torn is what a power cut leaves.
    """
    readings = folder / "readings"
    newest = max(readings.glob("*.arrows"), default=None)

    def look(path: Path) -> Segment | None:
        found = damage_of(path)
        if found is None or found.holes or path != newest:
            return found
        say(f"note: {damage_says(path, found)}")
        return None

    def find() -> list[str]:
        return [*faults_of(readings, look), *hour_faults(folder / "historian")]

    faults = await asyncio.get_running_loop().run_in_executor(None, find)
    for fault in faults:
        say(f"warning: {fault}")
    facts = [(derive("readings-fault", fault), Audited("server", "start", "found", fault)) for fault in faults]
    await node.desk.commit([Entry(name, fact, "readings") for name, fact in facts])


def opened(folder: Path, say: Callable[[str], None]) -> tuple[Wal, Historian]:
    """Return the log and the historian of a folder; what is found damaged while they work is said."""
    return Wal(folder / "readings"), Historian(folder / "historian", lambda says: say(f"warning: {says}"))


def taken_up(node: Node, folder: Path, wal: Wal, historian: Historian, say: Callable[[str], None]) -> Learnt:
    """Take up what was learnt of devices and what they said last before the last server ended."""
    learnt = Learnt(folder / "learnt.bin", node.state, say)
    learnt.take()
    take_last(node.state, wal, historian, node.clock.now_ns())
    learnt.hold_base(node.clock.now_ns())
    learnt.note_lost()
    return learnt


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done, or SIGTERM or SIGHUP asks for an orderly end; a second ends the process at once.

    SIGHUP comes as the terminal goes. Who started us with it ignored (`nohup`) wants us to outlive that.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_told = False
    told_by = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]

    def end() -> None:
        nonlocal is_told
        is_told = True
        for each in told_by:
            loop.remove_signal_handler(each)
        if task is not None:
            task.cancel()

    if threading.current_thread() is threading.main_thread():  # Python hands signals to no other
        for each in told_by:
            loop.add_signal_handler(each, end)
    try:
        await work
    except asyncio.CancelledError:
        if not is_told:
            raise


def startable(folder: Path, port: int | None) -> Settings:
    """Return the settings of a folder that a server can start on. Raises ConfigError naming each fault."""
    settings = load_config(folder / "tieline.toml")
    settings = replace(settings, links=with_tables(settings.links, folder))
    require_startable(settings, folder, registry.load(folder / "registry.bin"), port)
    return settings


LONG_BYTES = 32 * 1024 * 1024
"""A journal of so much takes seconds to replay."""


def _bytes_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def warnings_of(settings: Settings, node: Node) -> list[str]:
    """Return what of the settings keeps no server from starting, and is most likely not meant."""
    narrow = narrow_moves(settings.limits, node.state.fleet)
    return [*narrow, *unruled(settings, node.state.agreed), *in_the_clear(settings)]


async def serve(
    folder: Path,
    port: int | None,
    say: Callable[[str], None],
    wall_s: float | None = None,
    clock: Clock | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> None:
    """Serve a data folder until cancelled, or for so many seconds; `clock` None: by the machine's own.

    `say` gets what is to be known of what was started, `tell` what the start is at just now.
    """
    from tieline.node.reader import Sources

    settings = startable(folder, port)
    lock = FolderLock(folder)
    narrow_files(folder, say)
    executor, beside = ThreadPoolExecutor(1, "journal"), ThreadPoolExecutor(1, "readings")
    keep_ns = None if settings.readings.keep_days is None else settings.readings.keep_days * DAY_NS
    try:
        async with Supervisor(np.random.default_rng()) as supervisor:
            if (much := _bytes_of(folder / "journal.db")) >= LONG_BYTES:
                tell(f"replaying {much / 1e6:,.0f} MB of records")
            node = node_of(folder, settings, supervisor, executor, clock)
            say(f"{len(node.state.fleet):,} devices, {node.journal.last_seq:,} records replayed")
            if contracts := told_at_start(node.state):
                say(contracts)
            for warning in warnings_of(settings, node):
                say(f"warning: {warning}")
            await look_over(node, folder, supervisor, say)
            await note_forgotten(node, say)
            await BookWatch(node, book_path(settings, folder), say).begin()
            supervisor.spawn(look_over_readings(node, folder, say), "readings on disk")
            wal, historian = opened(folder, say)
            learnt = taken_up(node, folder, wal, historian, say)
            intake = node.keep_readings(wal, historian, beside, keep_ns)
            learnt.keep(node, beside)
            kept = KeptReadings(wal, historian, beside, node.state.fleet)
            trader = trader_of(node, settings, kept)
            links = await raise_links(settings.links, folder, node, supervisor, np.random.default_rng(), trader)
            for line in links.says:
                say(line)
            held = certificates_told(settings, folder, links.says, node.clock.now_ns(), say)
            AwardPlanner(node, trader.by_schedule())
            trader.loads = LoadForecasts(node, kept, trader.terms, folder / "forecasts")
            ClockWatch(node)
            tell("loading compiled code: a first start makes it, some seconds more")
            node.start(tells=True)
            supervisor.keep("settlement", trader.days.run)
            sources = Sources(settings.name, "LIVE", settings.zone, forecast=trader.forecast, certificates=held)
            where = settings.port if port is None else port
            tls = None if settings.tls is None else console_context(folder, settings.tls)
            console = await listening(
                serve_console(
                    node,
                    settings.host,
                    where,
                    sources=sources,
                    intake=intake,
                    trader=trader,
                    tls=tls,
                    oidc=oidc_of(settings, folder),
                    say=say,
                ),
                "--port" if port is not None else "$.port",
                settings.host,
                where,
            )
            try:
                await (asyncio.sleep(wall_s) if wall_s is not None else asyncio.Event().wait())
            finally:
                await node.end()
                await links.stop()
                await console.stop()
    finally:
        executor.shutdown()
        beside.shutdown()
        lock.release()
