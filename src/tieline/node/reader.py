"""The read models of a running node: each view is made on the loop between two beats, so its parts agree."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tieline.desk import views as v
from tieline.desk.capability_views import AskCapability, CapabilityView
from tieline.desk.contract_views import ContractView
from tieline.desk.desk_views import (
    AuditView,
    EventPreview,
    FeederView,
    Found,
    KeptSpan,
    MarketView,
    MessageView,
    SettlementView,
    TraceView,
    WhyView,
)
from tieline.desk.event_views import EventView
from tieline.desk.events import preview, view_of
from tieline.desk.facts import IntervalTracked
from tieline.desk.modes import mode_of
from tieline.desk.obligation import owed
from tieline.desk.operating import EnvelopesView, views_of
from tieline.desk.ports import LinkHealth
from tieline.desk.reach import available_of
from tieline.desk.resource_views import OwnerMoney, ResourceView
from tieline.desk.screens import ComposeEvent
from tieline.errors import LinkDown
from tieline.flow.record import Records
from tieline.node import (
    event_programs,
    read_alarms,
    read_audit,
    read_capability,
    read_contracts,
    read_effects,
    read_fleet,
    read_grid,
    read_market,
    read_monitor,
    read_parts,
    read_resource,
    read_search,
    read_standing,
    read_trace,
)
from tieline.node.outage import outage_of
from tieline.node.read_commitments import Commitments
from tieline.node.read_exposure import Exposure
from tieline.node.read_fleet import GridReading
from tieline.node.read_hours import Hours
from tieline.node.read_once import Kept
from tieline.node.record import Recorder
from tieline.node.runtime import Node
from tieline.node.sources import Sources as Sources
from tieline.resource.claim import Refusal
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import HOUR_NS, SECOND_NS

if TYPE_CHECKING:
    from tieline.desk.foreseen import LoadFrac
    from tieline.desk.pool_desk import PoolDesk
    from tieline.desk.state import DeskState
    from tieline.node.read_past import Past

SAMPLES = 24 * 60
MOST_FEEDERS = 250
FLOW_SHARE = 0.05


@dataclass
class _Sample:
    at_ns: int
    instructed_w: float | None
    delivered_w: float | None
    price: float | None


class NodeReader:
    """Implements `desk.screens.Reader` over a node."""

    def __init__(self, node: Node, sources: Sources, journal: Records | None = None) -> None:
        """Make a reader; `journal` is a connection of its own to the node's journal (None: the node's)."""
        self.node, self.sources = node, sources
        self.journal = journal or node.journal
        self._order = read_fleet.order_of(node.state.fleet)
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        self._tracked = read_market.Tracked(self.journal, lambda: node.journal.last_seq)
        self._kept, self._commitments, self._book = Kept(), Commitments(self._tracked), read_alarms.AlarmBook()
        self._grid: Mapping[str, GridReading] = {}
        self._exposure, self._next_flow_s = Exposure(), float("-inf")
        self.record, self.hours = Recorder(), Hours(sources.zone)
        self._past: Past | None = None
        node.after_beat.append(self._sample)

    # --- sampling --------------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        """Take a sample for the charts; once a minute at most."""
        now_ns = self.node.clock.now_ns()
        if self._samples and now_ns - self._samples[-1].at_ns < 20 * SECOND_NS:
            return
        asked_w, gave_w, price = self._delivery(now_ns)
        self._samples.append(_Sample(now_ns, asked_w, gave_w, price))
        self.hours.sample(self.node.state, self.node.cycle.pools.get(self._pool()), now_ns)
        self._solve()
        await self._commitments.make(*self._owes(now_ns))
        stand, node = self.alarms(), self.node
        if self.record.is_due(now_ns):
            self.record.keep(node.state, node.cycle.pools, self._grid, stand, node.journal.last_seq, now_ns)

    def _solve(self) -> None:
        """Solve the feeders anew, unless that would take more than `FLOW_SHARE` of the loop's time."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if began_s < self._next_flow_s:
            return
        self._grid = self.sources.grid()
        self._next_flow_s = loop.time() + (loop.time() - began_s) / FLOW_SHARE

    def _pool(self) -> str:
        return next(iter(self.node.cycle.pools), "")

    def _owes(self, now_ns: int) -> tuple[DeskState, PoolDesk | None, int, int, LoadFrac | None]:
        node, name = self.node, self._pool()
        return node.state, node.cycle.pools.get(name), now_ns, node.cycle.beats, node.load_frac.get(name)

    def _delivery(self, now_ns: int) -> tuple[float | None, float | None, float | None]:
        pool = self.node.cycle.pools.get(self._pool())
        return (None, None, None) if pool is None else read_market.delivery(self.node.state, pool, now_ns)

    def _once(self, name: str, make: Callable[[], object]) -> object:
        return self._kept.once(self.node.state, self.node.clock.now_ns(), name, make)

    def _cells(self, *, by_meter: bool = True) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        node = self.node
        cells = self._once(
            f"cells {by_meter}",
            lambda: read_fleet.states(node.state, node.cycle.pools, node.clock.now_ns(), by_meter=by_meter),
        )
        assert isinstance(cells, np.ndarray)
        return cells

    # --- screens ---------------------------------------------------------------------------------------------------

    def shell(self) -> v.Shell:
        """Return what stands on every page."""
        node, now_ns = self.node, self.node.clock.now_ns()
        state, fleet = node.state, node.state.fleet
        seen = fleet.taken_at_ns[fleet.taken_at_ns > 0]
        fit = (fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0
        age_s = float(now_ns - int(seen.max())) / SECOND_NS if len(seen) else None
        links = tuple(self.links())
        return v.Shell(
            self.sources.utility, self.sources.setting, now_ns, self.sources.zone, self.sources.speed, state.revision,
            age_s, links, node.journal.last_seq, not (node.desk.failed or node.group.down), self.is_market_live(),
            state.authority.get("desk", "this desk"), state.authority.get("mode", "Automatic"), state.is_killed,
            len(fleet), int(fit.sum()), tuple(self.alarms()[:3]),
        )  # fmt: skip

    def needs_two(self, devices: int) -> str:
        """Return why an act on so many devices needs a second person; empty: it needs none."""
        state = self.node.state
        return state.two_people.why(devices, len(state.fleet))

    def is_market_live(self) -> bool:
        """Return whether a market is there and its link is live: one answer for every screen that says so."""
        market = self.node.desk.market
        links = [link for link in self.links() if link.protocol in ("iso_web", "ews")]
        return market is not None and bool(links) and all(link.state == "live" for link in links)

    def links(self) -> list[v.LinkView]:
        """Return the health of each link."""
        return read_monitor.links_of(self._healths().values())

    def _healths(self) -> dict[str, LinkHealth]:
        return read_monitor.healths_of(self.node)

    def overview(self) -> v.Overview:
        """Return the first screen."""
        view = self._once("overview", self._overview)
        assert isinstance(view, v.Overview)
        return view

    def _overview(self) -> v.Overview:
        node, now_ns, name = self.node, self.node.clock.now_ns(), self._pool()
        state, cells, pool = node.state, self._cells(), node.cycle.pools.get(name)
        asked_w, gave_w, price = self._delivery(now_ns)
        debt, counts = owed(state, name, now_ns) if name else None, np.bincount(cells, minlength=7)
        fit = int(((state.fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0).sum())
        recent = sum(1 for at in self._book.raised if at > now_ns - read_alarms.TEN_NS)
        rows = read_fleet.feeder_rows(state, self._order, cells, self._grid, now_ns)
        free = available_of(state, pool, now_ns)
        return v.Overview(
            state.revision, now_ns, name, asked_w, gave_w, price, debt.end_ns if debt else None,
            debt.because if debt else "", free.up_w, free.down_w,
            read_fleet.known_sum(state.fleet.known_power_w()), len(state.fleet), fit,
            int(state.opted_out.sum()), int(counts[read_fleet.SLOW]), int(counts[read_fleet.FAILED]),
            int(counts[read_fleet.LIMITED]), recent,
            self._commitments.of(*self._owes(now_ns)), tuple(rows[:MOST_FEEDERS]), len(self._order.names),
            read_resource.in_control(state, now_ns), free.reach,
            read_alarms.rate(self._book.raised, self.alarms(), now_ns),
            sum(len(reading.violations) for reading in self._grid.values()) if self._grid else None,
            free.is_stopped, free.unstopped_up_w, free.unstopped_down_w,
        )  # fmt: skip

    def series(self) -> v.Series:
        """Return the last day of instructed and delivered power, a sample a minute."""
        samples = list(self._samples)
        return v.Series(
            tuple(s.at_ns for s in samples), tuple(s.instructed_w for s in samples),
            tuple(s.delivered_w for s in samples), tuple(s.price for s in samples),
        )  # fmt: skip

    def fleet(self) -> v.FleetGrid:
        """Return the cells of the whole fleet."""
        state, now_ns = self.node.state, self.node.clock.now_ns()
        view = self._once("fleet", lambda: read_fleet.grid_of(state, self._order, self._cells(), now_ns))
        assert isinstance(view, v.FleetGrid)
        return view

    def members(self, group: str, at: int, count: int, order: str = "worst") -> list[v.Member]:
        """Return devices [at, at + count) of a group, gravest first or in `grid` order. Raises KeyError for none."""
        state, cells = self.node.state, self._cells()
        rows = read_fleet.rows_of(state.fleet, self._order, group)
        rows = rows if order == "grid" else read_fleet.worst_first(state.fleet, rows, cells)
        return read_fleet.members_of(state, rows[at : at + count], cells, self.node.clock.now_ns())

    def resource(self, resource: str) -> ResourceView:
        """Return one resource in both views. Raises KeyError where there is none."""
        node = self.node
        links = {row: str(name) for row, name in self._links_of(resource).items()}
        view = read_resource.resource_view(node.state, node.cycle.pools, resource, links, node.clock.now_ns())
        parts, count = read_parts.parts_of(node.state, resource, self._cells())
        return msgspec.structs.replace(view, parts=parts, part_count=count)

    async def capability(self, asked: AskCapability) -> list[CapabilityView]:
        """Return what a resource, or each pool or feeder, can be called for. Raises KeyError where there is none."""
        node = self.node
        return await read_capability.of(node.state, node.cycle.pools, asked, node.clock.now_ns())

    def earned(self, resource: str) -> list[OwnerMoney]:
        """Return what a device's owner has earned, the newest first. Raises KeyError where there is no such device."""
        return read_parts.earned(self.node.state, self.journal, resource)

    def _links_of(self, resource: str) -> dict[int, str]:
        desk = self.node.desk
        rows = self.node.state.fleet.leaves(resource)
        if not len(rows):  # a group that stands empty: there is nothing to show of it
            raise KeyError(resource)
        row = int(rows[0])
        code = int(desk._link_of_row[row])
        return {} if code < 0 else {row: desk._links[code].name}

    async def caught_up(self) -> None:
        """Return once the records hold what the state does, or after a second where they are away."""
        await self.node.group.caught_up(1.0)

    def trace(self, record: str) -> TraceView:
        """Return what led to a record and what followed. Raises KeyError where there is none."""
        return read_trace.of_record(self.journal, record)

    def why(self, resource: str) -> WhyView:
        """Return who controls a resource and what led to it. Raises KeyError where there is no such resource.

        The same as `tieline why`; where nothing holds, the chain is that of its last command.
        """
        now_ns = self.node.clock.now_ns()
        return read_trace.why_now(self.node, self.journal, self._tracked.since(0, now_ns), resource, now_ns)

    def feeder(self, feeder: str) -> FeederView:
        """Return a feeder's one-line. Raises KeyError where there is none."""
        state = self.node.state
        if feeder not in self._order.names:
            raise KeyError(feeder)
        rows = read_fleet.feeder_rows(state, self._order, self._cells(), self._grid, self.node.clock.now_ns())
        row = next(row for row in rows if row.feeder == feeder)
        mode = mode_of(state, feeder).value
        grid = self._grid.get(feeder)
        return read_grid.feeder_view(
            state, self._order, row, self.sources.models.get(row.feeder), grid, mode, self.node.clock.now_ns()
        )

    def events(self) -> list[EventView]:
        """Return program events, the newest first."""
        return [view_of(self.node.state, event) for event in reversed(self.node.state.events.values())]

    def preview(self, event: ComposeEvent) -> EventPreview | Refusal:
        """Return what an event would do; nothing happens."""
        state, now_ns = self.node.state, self.node.clock.now_ns()
        refusal = event_programs.refusal_of_wish(state, self.node.event_programs, event, now_ns)
        view = refusal or preview(state, event, now_ns)
        if isinstance(view, Refusal):
            return view
        return read_effects.with_effects(state, view, event, self._order, self._grid, self.sources.what_if, now_ns)

    def market(self) -> MarketView:
        """Return the market desk."""
        node, name = self.node, self._pool()
        return read_market.market_view(
            node.state, self._tracked, name, node.clock.now_ns(), self.is_market_live(), self.sources.gate_ns(),
            self.sources.forecast(), self.overview(), self.hours.means,
        )  # fmt: skip

    def settlement(self) -> SettlementView:
        """Return statements and tracked intervals."""
        return read_market.settlement_view(self.node.state, self.journal, self.node.clock.now_ns(), self._tracked)

    async def audit(self, before_seq: int, count: int, kind: str, each: bool, check: bool) -> AuditView:
        """Return what was done before a number (0: the newest); `check` verifies the whole chain, beside the loop."""
        last_seq, bad = self.node.journal.last_seq, None
        if each or kind:
            view = read_audit.each_record(self.journal, last_seq, before_seq, count, kind)
        else:
            view = read_audit.acts(self.journal, last_seq, before_seq, count)
        if check:
            bad = await asyncio.get_running_loop().run_in_executor(None, read_audit.bad_seq, self.node.journal)
        return msgspec.structs.replace(view, chain_hash=self.node.journal.last_hash.hex(), checked=check, bad_seq=bad)

    def kept(self) -> KeptSpan:
        """Return from when until when past instants can be shown."""
        return self._pasts().span()

    def contracts(self, resource: str, devices: frozenset[str] | None, at: int, count: int) -> list[ContractView]:
        """Return contracts of a device or group (empty: all), only on some devices (None: on any)."""
        now_ns, to = self.node.clock.now_ns(), at + count
        return read_contracts.contract_views(self.node.state, now_ns, resource, devices)[at:to]

    def is_under(self, contract: str, devices: frozenset[str]) -> bool:
        """Return whether all devices of a contract are among some."""
        return read_contracts.is_under(self.node.state, contract, devices)

    def devices_of(self, scope: frozenset[str]) -> frozenset[str]:
        """Return the devices that a scope means by now."""
        return read_contracts.devices_of(self.node.state.fleet, scope)

    def is_site_of(self, resource: str, devices: frozenset[str]) -> bool:
        """Return whether a resource is a site with devices, all of them among some."""
        return read_contracts.is_site_of(self.node.state.fleet, resource, devices)

    async def at(self, at_ns: int) -> NodeReader | Refusal:
        """Return the reader of a past instant."""
        return await self._pasts().at(at_ns)

    def _pasts(self) -> Past:
        from tieline.node.read_past import Past as Made  # a past reader is a reader: it can't be imported above

        self._past = self._past or Made(self)
        return self._past

    def messages(self, protocol: str, count: int) -> list[MessageView]:
        """Return the newest messages that carried decisions, newest first."""
        return read_monitor.messages(self.journal, self.node.journal.last_seq, protocol, count)

    def envelopes(self) -> list[EnvelopesView]:
        """Return the newest operating envelopes of each feeder."""
        return views_of(self.node.state, self.node.clock.now_ns())

    def search(self, text: str, count: int) -> list[Found]:
        """Return screens, groups, events and devices whose name holds a text."""
        return read_search.found(self.node.state, text, count)

    # --- alarms ----------------------------------------------------------------------------------------------------

    def alarms(self) -> list[v.AlarmView]:
        """Return the standing alarms, worst first; at most ten, however much is wrong."""
        standing = self._once("alarms", self._alarms)
        assert isinstance(standing, list)
        return [read_alarms.acknowledged_as(alarm, self.node.state.alarms) for alarm in standing]

    def suppressed(self) -> list[v.SuppressedAlarm]:
        """Return the alarms that are found and not shown, and why; of a past instant nothing is known of them."""
        self.alarms()
        return list(self._book.suppressed)

    def _alarms(self) -> list[v.AlarmView]:
        node, now_ns = self.node, self.node.clock.now_ns()
        pool, intervals = node.cycle.pools.get(self._pool()), list[IntervalTracked]()
        with suppress(LinkDown):
            intervals = self._tracked.since(now_ns - 2 * HOUR_NS, now_ns)
        seen = read_standing.Seen(
            self._cells(by_meter=False), self.links(), self._exposure.see(self._grid, now_ns), intervals,
            node.desk._link_of_row, {code: str(link.name) for code, link in node.desk._links.items()},
            self._exposure.passing, outage_of(node), self._commitments.near(*self._owes(now_ns)),
            self.sources.certificates,
        )  # fmt: skip
        above = read_fleet.above_all(node.state.fleet, self.sources.above)
        return read_standing.stand(self._book, seen, node.state, pool, self._order, above, now_ns)
