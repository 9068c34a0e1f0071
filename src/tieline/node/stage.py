"""The stage of a demonstration: a territory, its ISO, its control room, its devices, and a desk among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.contract.eligibility import Enrolment, enrol
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.tracking import counted_rows
from tieline.errors import LinkDown
from tieline.fleet.columns import KINDS
from tieline.fleet.ledger import Ledger
from tieline.fleet.pooled import capacity_of
from tieline.links.device.modbus.link import ModbusLink
from tieline.links.device.mqtt.link import MqttLink
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.grid.dnp3.binding import MAX_INDEX, Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.iso_web import IsoWeb
from tieline.node.asked import IsoKind, require_scenario
from tieline.node.asked import require_devices as require_devices
from tieline.node.award_planner import AwardPlanner
from tieline.node.metering import Meters
from tieline.node.past import Metering, Past, warm_up
from tieline.node.runtime import Node, replayed
from tieline.node.stage_devices import FEW, MANY, MOST_FOR_MANY, raise_modbus, raise_mqtt, raise_openadr
from tieline.node.stage_iso import POLL_S as POLL_S
from tieline.node.stage_iso import raise_iso
from tieline.node.twin import Leaving
from tieline.pool.merit import merit_price
from tieline.resource.admission import Principal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.rim.supervise import Supervisor
from tieline.simulate.faults import DEVICE_FAULTS
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.iso.faults import FaultMenu
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.iso.prices import ZONE
from tieline.simulate.loop import VirtualLoop
from tieline.simulate.scada import Scada
from tieline.simulate.sky import Climate
from tieline.simulate.territory import GENERATION, Territory, build
from tieline.simulate.world import World
from tieline.store.journal import SqliteJournal
from tieline.times import MINUTE_NS, SECOND_NS, Clock, to_ns

Floats = NDArray[np.float64]
POOL, PRODUCT = "pool-1", "ENERGY"
OUTSTATION, DNO_ADDRESS = 10, 1
SPAN = 20
"""How many indices of the outstation each group has for itself."""
MOST_SHOWN = (MAX_INDEX + 1 - SPAN) // (2 * SPAN)
"""So many feeders, each with its generation, fit into the index space of one DNP3 outstation beside the pool."""
STEP_S = 60
PROGRAMS = ("energy", "demand_response", "ancillary")


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """What kind of day it is."""

    name: str
    day: str
    climate: Climate
    iso: FaultMenu


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(
            "heatwave", "2022-08-17", Climate(hotter_c=6.0),
            FaultMenu(duplicate=0.1, reorder=0.05, supersede=0.03, malformed=0.01),
        ),
        Scenario(
            "cloud", "2022-08-10", Climate(sunshine_frac=0.6, later_days=6),
            FaultMenu(duplicate=0.1, reorder=0.05, expire=0.02),
        ),
        Scenario(
            "comms-loss", "2022-08-16", Climate(hotter_c=2.0),
            FaultMenu(duplicate=0.15, reorder=0.1, busy=0.03, in_band=0.02),
        ),
    )
}  # fmt: skip


def scenario(name: str) -> Scenario:
    """Return a scenario. Raises ConfigError naming those that exist."""
    require_scenario(name)
    return SCENARIOS[name]


@dataclass
class Stage:
    """All that stands on the stage; nothing of it is a stand-in for another part of itself."""

    scenario: Scenario
    territory: Territory
    world: World
    node: Node
    link: ColumnsLink
    modbus: ModbusLink
    openadr: OpenAdrLink
    mqtt: MqttLink
    iso: IsoMarket
    iso_link: IsoWeb
    outstation: Dnp3Outstation
    scada: Scada
    meters: Meters
    past: Metering
    refused_rows: dict[str, int]
    eligible: NDArray[np.bool_]
    opens_ns: int
    day: date
    metered: dict[int, Floats]
    feeder_trail: list[tuple[int, Floats]]
    speed: float = 1.0
    twin: Leaving | None = None
    watched: NDArray[np.int32] | None = None
    watch_trail: list[tuple[int, Floats, NDArray[np.int64]]] = field(default_factory=list)
    """Of rows that are watched, each minute: when, power (W), and until when those out of reach act by own timers."""
    history: tuple[NDArray[np.int64], Floats] | None = None

    async def past_w(self) -> tuple[NDArray[np.int64], Floats]:
        """Return what the meters saw in the days before the opening: starts (ns), and W; shapes (n,) and (n, 3)."""
        if self.history is None:
            self.history = await asyncio.get_running_loop().run_in_executor(None, self.past.metered)
        return self.history

    async def sleep(self, seconds: float) -> None:
        """Sleep so many seconds of the stage's clock."""
        await asyncio.sleep(seconds / self.speed)

    def power_now_w(self, row: int) -> float:
        """Return what a device's meter shows at this instant (W): the world stands at its last whole minute."""
        now_ns, world = self.node.clock.now_ns(), self.world
        since_s = (now_ns - self.opens_ns) % (STEP_S * SECOND_NS) / SECOND_NS
        if since_s < 1.0:
            return float(world.power_w[row])
        moved = world.apart()
        moved.step(now_ns, since_s, *self.link.told(now_ns))
        return float(moved.power_w[row])

    def group_at(self, group: str) -> int:
        """Return where the points of a feeder, or of its generation, begin on the DNP3 outstation.

        Raises:
            LinkDown: The outstation doesn't show it: no master reaches it.
        """
        feeder = group.removesuffix(GENERATION)
        shown = shown_of(self.territory)
        if feeder not in shown:
            raise LinkDown(f"{feeder} is not on the outstation: {shown_words(self.territory)}")
        after = len(shown) if feeder != group else 0
        return SPAN * (1 + after + shown.index(feeder))


def shown_of(territory: Territory) -> list[str]:
    """Return the feeders that the outstation shows and lets a control room limit: as many as its index space holds."""
    return territory.feeders[:MOST_SHOWN]


def shown_words(territory: Territory) -> str:
    """Return what the outstation shows of a territory, for whoever starts one; empty where that is all."""
    shown, count = len(shown_of(territory)), len(territory.feeders)
    if shown == count:
        return ""
    return f"it shows {shown:,} of {count:,} feeders, as many as DNP3's 65,536 indices hold; no master sees the others"


def begins_ns(day: date) -> int:
    """Return when a demonstration of a market day begins: 22:30 of the day before, half an hour before the gate."""
    return to_ns(datetime.combine(day - timedelta(days=1), time(22, 30), tzinfo=ZONE))


async def raise_stage(
    what: Scenario,
    devices: int,
    seed: int,
    clock: Clock,
    supervisor: Supervisor,
    folder: Path,
    speed: float = 1.0,
    story_ns: int = 0,
    is_thrown_away: bool = False,
    iso: IsoKind = "prices",
) -> Stage:
    """Build everything and connect it over the running loop's network (memory or sockets).

    `speed` is how many seconds of the clock pass in one of the loop's. A story that opens on the market day itself has
    an intraday auction: its gate is four minutes after the opening (twenty over sockets), or two after our first bid
    (fifteen) where that is later, and it clears a minute later. It opens at `story_ns`, or as the clock shows now where
    that is later. `iso` says who clears: real prices, or a case with others' offers. Of a folder that is thrown away as
    the story ends no commit waits for the disk: nobody could read there what a power cut left.
    """
    require_devices(devices)
    day = date.fromisoformat(what.day)
    streams = [np.random.default_rng([seed, n]) for n in range(8)]
    territory = build(devices, streams[0], POOL)
    world = World(territory, streams[1], what.climate)
    opens_ns = clock.now_ns()
    kinds = np.array([kind.value for kind in KINDS])[territory.fleet.kinds]
    enrolments = {p: enrol(kinds, territory.fuel, territory.jurisdiction, p) for p in PROGRAMS}
    eligible, refused = enrolments["energy"].may_serve, enrolments["energy"].refused
    meters = Meters.of(territory, eligible)
    warm_up(world, opens_ns)
    loop = asyncio.get_running_loop()
    is_virtual = isinstance(loop, VirtualLoop)
    node = _node(territory, enrolments, eligible, clock, supervisor, folder, speed, is_virtual, is_thrown_away)
    rows = np.arange(devices, dtype=np.int32)
    counts = FEW if is_virtual or speed > MOST_FOR_MANY else MANY
    wired = territory.by_kind[Kind.BATTERY][: counts.units]
    hybrids = territory.by_kind[Kind.HYBRID_SITE][: counts.vens]
    heaters = territory.by_kind[Kind.WATER_HEATER][: counts.plugs]
    loose = np.setdiff1d(rows, np.concatenate([wired, hybrids, heaters])).astype(np.int32)

    def later(seconds: float, act: Callable[[], None]) -> object:
        return loop.call_later(seconds / speed, act)

    link = ColumnsLink(world, loose, node.desk, clock, later, DEVICE_FAULTS[what.name], streams[2])
    node.desk.bind(link, "columns", {int(row): territory.fleet.id_of(int(row)) for row in loose})
    modbus = await raise_modbus(territory, world, link, wired, node, clock, supervisor, streams[4], speed)
    mqtt = await raise_mqtt(territory, world, link, heaters, node, clock, supervisor, streams[6], speed)
    openadr = await raise_openadr(territory, world, link, hybrids, node, clock, supervisor, streams[5], speed)
    keys = None if is_virtual else folder / "certificates"
    market, iso_link = await raise_iso(
        what, iso, clock, streams[3], seed, node, POOL, supervisor, speed, keys, story_ns
    )
    outstation, scada = await _raise_dnp3(territory, node, clock, supervisor, speed)
    stage = Stage(
        what, territory, world, node, link, modbus, openadr, mqtt, market, iso_link, outstation, scada,
        meters, Metering(Past(devices, seed, what.climate, opens_ns)), refused, eligible, opens_ns, day, {}, [], speed,
    )  # fmt: skip
    node.before_beat.append(_mover(stage))
    supervisor.at_end(stage.past.end)
    return stage


def _node(
    territory: Territory,
    enrolments: dict[str, Enrolment],
    eligible: NDArray[np.bool_],
    clock: Clock,
    supervisor: Supervisor,
    folder: Path,
    speed: float,
    is_virtual: bool,
    is_thrown_away: bool,
) -> Node:
    """Return the node of a territory: its journal's state, one pool of all that may serve, and what it publishes."""
    fleet, ledger = territory.fleet, Ledger()
    ledger.set_capacity(POOL, capacity_of(fleet, np.flatnonzero(eligible).astype(np.int32)))
    journal = SqliteJournal(folder / "journal.db", is_thrown_away=is_thrown_away)
    state = replayed(fleet, ledger, journal)
    state.enrolments = enrolments
    rows_of = fleet.leaves(POOL)
    pool = PoolDesk(POOL, rows_of, merit_price(fleet.kinds), eligible, np.zeros(len(fleet)))
    pool.feeder_of, pool.feeders = territory.feeder_of[rows_of], tuple(territory.feeders)
    executor = None if is_virtual else ThreadPoolExecutor(1, "journal")
    node = Node(state, journal, clock, supervisor, _principals(territory), {POOL: pool}, speed, executor)
    node.event_programs = ("Peak relief",)
    node.published = [POOL, *(shown := shown_of(territory)), *(feeder + GENERATION for feeder in shown)]
    AwardPlanner(node, [POOL], is_virtual=is_virtual)
    return node


def _mover(stage: Stage) -> Callable[[], None]:
    """Return what moves the world up to now, a minute a step, and lets its devices tell before each beat."""
    last_ns, pool = stage.node.clock.now_ns(), stage.node.cycle.pools[POOL]

    def move() -> None:
        nonlocal last_ns
        now_ns = stage.node.clock.now_ns()
        while now_ns - last_ns >= STEP_S * SECOND_NS:
            last_ns += STEP_S * SECOND_NS
            stage.world.step(last_ns, float(STEP_S), *stage.link.told(last_ns))
            start_ns = (last_ns - 1) // (5 * MINUTE_NS) * 5 * MINUTE_NS
            seen_w = stage.meters.read(stage.world) * (STEP_S / 300.0)
            stage.metered[start_ns] = stage.metered[start_ns] + seen_w if start_ns in stage.metered else seen_w
            count = len(stage.territory.feeders)
            feeders = np.bincount(stage.territory.feeder_of, stage.world.power_w, count).astype(np.float64)
            stage.feeder_trail.append((last_ns, feeders))
            if stage.watched is not None:
                rows = stage.watched
                alone_ns = stage.link.alone_until_ns(rows, last_ns)
                stage.watch_trail.append((last_ns, stage.world.power_w[rows].copy(), alone_ns))
            if stage.twin is not None:
                counted = np.zeros(len(stage.world.power_w), np.bool_)
                counted[pool.rows] = counted_rows(stage.node.state, pool.rows, pool.share_w, last_ns)
                stage.twin.step(last_ns, float(STEP_S), stage.world, counted)
            stage.link.tell()

    return move


def _generation(territory: Territory) -> list[str]:
    """Return the group of each feeder's devices that can give."""
    return [feeder + GENERATION for feeder in territory.feeders]


def _principals(territory: Territory) -> dict[str, Principal]:
    return {
        "dno": Principal("dno", Level.ENVELOPE, frozenset({POOL, *territory.feeders, *_generation(territory)})),
        "owner": Principal("owner", Level.OWNER_NEED),
        "operator": Principal("operator", Level.GRID_EMERGENCY, is_person=True),
    }


def binding_of(territory: Territory) -> Binding:
    """Return what the outstation shows of a territory: the pool, the shown feeders, and the generation of each."""
    shown = shown_of(territory)
    limited = [*shown, *(feeder + GENERATION for feeder in shown)]
    groups = [_group(territory, name, SPAN * n) for n, name in enumerate([POOL, *limited])]
    names = tuple(group.resource for group in groups)
    peer = Peer("dno", DNO_ADDRESS, may_read=names, may_operate=names, ceiling="ENVELOPE")
    return Binding(OUTSTATION, tuple(groups), (peer,), port=0, keep_alive_s=300.0, events=5_000)


async def _raise_dnp3(
    territory: Territory, node: Node, clock: Clock, supervisor: Supervisor, speed: float
) -> tuple[Dnp3Outstation, Scada]:
    binding = binding_of(territory)
    outstation = Dnp3Outstation(binding, node.desk, clock, supervisor, node.desk, pace=speed)
    await outstation.start()
    node.publishers.append(outstation)
    scada = Scada(
        "127.0.0.1",
        outstation.port,
        master=DNO_ADDRESS,
        outstation=OUTSTATION,
        spawn=lambda work: supervisor.spawn(work, "scada"),
        poll_s=60.0 / speed,
    )
    return outstation, scada


def _group(territory: Territory, name: str, at: int) -> Group:
    rows = territory.fleet.leaves(name)
    inject_w = float(territory.fleet.max_inject_w[rows].sum())
    absorb_w = float(territory.fleet.max_absorb_w[rows].sum())
    return Group(name, at, inject_w, absorb_w)
