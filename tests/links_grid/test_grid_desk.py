"""Both grid links against the real desk: what a control room and an ISO say ends in commands of the devices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from py1815.application import FunctionCode
from py1815.control import CommandStatus
from py1815.master.controls import analog

from tieline.desk.authority import decide_kill
from tieline.desk.awards import CHANGED
from tieline.desk.desk import Desk
from tieline.desk.facts import AwardTaken, from_record
from tieline.desk.ports import Offer, Segment
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.ledger import Capacity, Ledger
from tieline.flow.record import Record
from tieline.links.grid.dnp3.binding import Binding, Peer
from tieline.links.grid.dnp3.binding import Group as Bound
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.resource.admission import Principal
from tieline.resource.claim import Quantity
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso import market as iso_market
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.scada import Scada
from tieline.times import HOUR_NS, market_day, to_ns

CHICAGO = ZoneInfo("America/Chicago")
DAY = date(2021, 6, 15)
START_NS = to_ns(datetime(2021, 6, 15, 3, 45, tzinfo=UTC))
COUNT = 10
BINDING = Binding(
    address=10,
    host="tieline",
    groups=(Bound("pool:north", 0, 1e5, 1e5),),
    peers=(Peer("dno", 1, may_read=("pool:north",), may_operate=("pool:north",), ceiling="ENVELOPE"),),
)


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def ready(self) -> None:
        """It can always keep records."""

    async def append(self, records: Iterable[Record]) -> int:
        self.records += records
        return len(self.records)


def batteries() -> DeskState:
    size = np.full(COUNT, 1e4)
    fleet = Fleet(
        [f"battery:{n}" for n in range(COUNT)],
        np.full(COUNT, KIND_CODE[Kind.BATTERY], np.uint8),
        size,
        size,
        size * 2,
        np.zeros(COUNT),
        np.zeros(COUNT),
        [Group("pool:north", Kind.POOL, Purpose.POOL, -1)],
        {Purpose.POOL: np.zeros(COUNT, np.int32)},
    )
    ledger = Ledger()
    ledger.set_capacity("pool:north", Capacity(1e5, 1e5))
    return DeskState.empty(fleet, ClaimBook(fleet), ledger)


def play(scene: Callable[[Desk, VirtualClock, Supervisor, Kept], Awaitable[None]]) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock, journal = VirtualClock(loop, START_NS), Kept()
        desk = Desk(batteries(), journal, clock, {"dno": Principal("dno", Level.ENVELOPE)})
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            await scene(desk, clock, supervisor, journal)
            assert not supervisor.failures

    run_virtual(main)


@contextlib.asynccontextmanager
async def trading(
    desk: Desk, clock: VirtualClock, supervisor: Supervisor, menu: FaultMenu
) -> AsyncIterator[tuple[IsoMarket, IsoWeb]]:
    """Have a link bring the desk what an ISO that misbehaves as `menu` says clears and calls."""
    faults = Faults(menu, np.random.default_rng(1))
    market = IsoMarket(clock, np.random.default_rng(2), faults, gate=time(23), clears_at=time(23, 30))
    server = await serve_iso(IsoApp(market, faults), "127.0.0.1", 8443)
    how = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {"pool:north": "TL_NORTH"}, poll_s=20)
    async with HttpClient() as client:
        link = IsoWeb(how, client, desk, clock, np.random.default_rng(3), desk)
        desk.market = link
        task = supervisor.keep("iso", link.run)
        yield market, link
        task.cancel()
    server.close()


@contextlib.asynccontextmanager
async def controlled(desk: Desk, clock: VirtualClock, supervisor: Supervisor) -> AsyncIterator[Scada]:
    """Have a control room on the line of the desk's outstation."""
    outstation = Dnp3Outstation(BINDING, desk, clock, supervisor)
    await outstation.start()
    scada = Scada("tieline", 20000, master=1, outstation=10, spawn=supervisor.spawn)
    await scada.connect()
    yield scada
    await outstation.stop()


def test_a_limit_of_the_control_room_bounds_every_device_and_cancel_frees_them() -> None:
    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with controlled(desk, clock, supervisor) as scada:
            await desk.settle()
            assert await scada.limit(0, -2e4, 3e4) == [CommandStatus.SUCCESS] * 3
            assert "dnp3:dno" in b"".join(record.body for record in journal.records).decode("latin-1")
            batch = await desk.settle()
            assert batch is not None and len(batch) == COUNT
            assert batch.high_w.sum() <= 3e4 + 1e-6 and batch.low_w.sum() >= -2e4 - 1e-6
            assert await scada.cancel(0) == [CommandStatus.SUCCESS]
            batch = await desk.settle()
            assert batch is not None and batch.high_w.sum() == COUNT * 1e4

    play(scene)


def test_nothing_that_the_control_room_asks_meanwhile_comes_between_its_select_and_its_operate() -> None:
    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with controlled(desk, clock, supervisor) as scada:
            first, _, second = await asyncio.gather(
                scada.limit(0, -2e4, 3e4, select=True), scada.poll(), scada.limit(0, -2e4, 2e4, select=True)
            )
            assert first == second == [CommandStatus.SUCCESS] * 3

    play(scene)


def test_an_award_and_its_dispatch_pass_the_desk_and_are_accepted() -> None:
    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with trading(desk, clock, supervisor, FaultMenu(duplicate=0.2, reorder=0.1)) as (market, _):
            over = market_day(DAY, CHICAGO).steps(HOUR_NS)[:2]
            curve = (Segment(5e4, -100.0),)
            made = [Offer(f"o{h.start_ns}", "pool:north", "energy", h.start_ns, h.end_ns, curve) for h in over]
            assert await desk.offer(made) == [None, None]
            await asyncio.sleep((over[0].end_ns - clock.now_ns()) / 1e9)
        assert [award.power_w for award in desk.state.awards.values()] == [5e4, 5e4]
        replies = [each for reply in market.seen.replies.values() for each in reply.replies]
        assert len(replies) >= 12
        assert {each.response for each in replies} == {"ACCEPT"}
        uids = [record.id for record in journal.records if record.id.startswith("batch:")]
        assert len(uids) == len(set(uids)) == len(market.seen.replies)

    play(scene)


def test_an_award_that_the_iso_prices_below_our_offer_binds_and_its_price_is_disputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ISO errs: it takes an offer at -100 $/MWh whole, and clears it at -150."""
    monkeypatch.setattr(iso_market, "clear", lambda curve, price: (sum(mw for mw, _ in curve), -150.0))

    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with trading(desk, clock, supervisor, FaultMenu()):
            over = market_day(DAY, CHICAGO).steps(HOUR_NS)[0]
            offer = Offer("o", "pool:north", "energy", over.start_ns, over.end_ns, (Segment(5e4, -100.0),))
            assert await desk.offer([offer]) == [None]
            await asyncio.sleep((over.start_ns - clock.now_ns()) / 1e9)
        (award,) = desk.state.awards.values()
        assert (award.power_w, award.price_per_mwh) == (5e4, -150.0)
        (one,) = desk.state.disputed.values()
        assert str(one.refusal) == (
            "the award is priced below the offer; price_per_mwh = -150.00; limit -100.00 $/MWh or more at 50.0 kW of offer o"
        )
        assert one.record in [record.id for record in journal.records]

    play(scene)


def test_behind_the_kill_switch_the_iso_is_declined_every_call_and_told_that_it_is_the_switch() -> None:
    """Pressed until half an hour of the first of two awarded hours is over; its calls of then are accepted."""

    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with trading(desk, clock, supervisor, FaultMenu()) as (market, _):
            over = market_day(DAY, CHICAGO).steps(HOUR_NS)[0]
            offer = Offer("o", "pool:north", "energy", over.start_ns, over.end_ns, (Segment(5e4, -100.0),))
            assert await desk.offer([offer]) == [None]
            await desk.commit(decide_kill(desk.state, True, "ada", ["ada"], clock.now_ns())[0])
            await asyncio.sleep((over.start_ns + HOUR_NS // 2 - clock.now_ns()) / 1e9)
            stopped = [each for reply in market.seen.replies.values() for each in reply.replies]
            await desk.commit(decide_kill(desk.state, False, "ada", ["ada", "bo"], clock.now_ns())[0])
            await asyncio.sleep((over.end_ns - clock.now_ns()) / 1e9)
        assert [award.power_w for award in desk.state.awards.values()] == [5e4], "what was sold stays sold"
        assert len(stopped) >= 6
        assert {each.response for each in stopped} == {"DECLINE"}
        assert all(each.reason.startswith("kill_switch: ") for each in stopped)
        after = [each for reply in market.seen.replies.values() for each in reply.replies][len(stopped) :]
        assert after and {each.response for each in after} == {"ACCEPT"}

    play(scene)


def test_an_award_that_the_iso_changes_under_the_same_uid_is_refused_by_name_and_journalled_and_the_first_stands() -> (
    None
):
    """With another power and price, in a later reading of its day; said once, however often the day is read."""

    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with trading(desk, clock, supervisor, FaultMenu()) as (market, link):
            over = market_day(DAY, CHICAGO).steps(HOUR_NS)[0]
            offer = Offer("o", "pool:north", "energy", over.start_ns, over.end_ns, (Segment(5e4, -100.0),))
            assert await desk.offer([offer]) == [None]
            await asyncio.sleep((over.start_ns - clock.now_ns()) / 1e9)
            (row,) = market.awards[DAY]
            (first,) = desk.state.awards.values()
            market.awards[DAY] = (msgspec.structs.replace(row, mw=row.mw / 2, price=row.price + 7.0),)
            await asyncio.sleep(600)
        assert list(desk.state.awards.values()) == [first]
        facts = [fact for record in journal.records if isinstance(fact := from_record(record), AwardTaken)]
        (refusal,) = [fact.refusal for fact in facts if fact.refusal is not None]
        assert (refusal.reason, refusal.field, refusal.holder) == (CHANGED, "power_w, price_per_mwh", first.id)
        assert refusal.value == f"25000.0, {first.price_per_mwh + 7.0}"
        assert refusal.limit.startswith(f"50000.0, {first.price_per_mwh}")
        assert link.health().last_error == f"award {first.id}: {refusal}"

    play(scene)


def test_a_limit_beyond_the_principal_s_power_is_refused_by_the_desk_over_the_wire() -> None:
    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        desk._principals = {"dno": Principal("dno", Level.UTILITY)}
        outstation = Dnp3Outstation(msgspec.structs.replace(BINDING), desk, clock, supervisor)
        await outstation.start()
        scada = Scada("tieline", 20000, master=1, outstation=10, spawn=supervisor.spawn)
        await scada.connect()
        assert await scada.limit(0, -2e4, 3e4) == [CommandStatus.NOT_AUTHORIZED] * 3
        await outstation.stop()

    play(scene)


def test_a_select_on_the_wire_is_the_desk_s_lease_and_keeps_out_an_ask_of_the_same_interface_and_level() -> None:
    async def scene(desk: Desk, clock: VirtualClock, supervisor: Supervisor, journal: Kept) -> None:
        async with controlled(desk, clock, supervisor) as scada:
            controls = [analog(1, -2e4, 1), analog(2, 3e4, 1)]
            assert await scada.command(FunctionCode.SELECT, controls) == [CommandStatus.SUCCESS] * 2
            lease = ("pool:north", Quantity.P, Level.ENVELOPE)
            refusal = desk.select("dnp3:other", *lease)
            assert refusal is not None
            assert (refusal.holder, refusal.rule) == ("dnp3:dno", "R13")
            assert desk.select("dnp3:other", "pool:north", Quantity.P, Level.GRID_EMERGENCY) is None, "stronger"
            assert desk.select("console:ada", *lease) is None, "another interface"
            await asyncio.sleep(5.1)
            assert desk.select("dnp3:other", *lease) is None
            assert await scada.command(FunctionCode.SELECT, controls) == [CommandStatus.BLOCKED_OTHER_MASTER] * 2

    play(scene)
