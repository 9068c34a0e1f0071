"""The DNP3 outstation on virtual time, driven by a DNP3 master over streams in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from dnp3_desk import START_NS, SmallDesk
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from py1815.application import FunctionCode
from py1815.control import CommandStatus, ControlRelayOutputBlock, OperationType
from py1815.master.controls import analog, binary

from tieline.desk.ports import GroupView, Measured, Snapshot
from tieline.errors import LinkDown
from tieline.links.grid.dnp3.binding import Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.dnp3.refusals import FORGET_S, MOST_HOSTS, Refusals
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.scada import Scada

NORTH, SOUTH = 0, 50
ANY_INSTANT = st.integers(-(2**62), 2**62)
BOTH = ("pool:north", "pool:south")
OK = CommandStatus.SUCCESS
BINDING = Binding(
    address=10,
    host="tieline",
    port=20000,
    groups=(Group("pool:north", NORTH, 5e6, 5e6), Group("pool:south", SOUTH, 5e6, 5e6)),
    peers=(
        Peer("dno", 1, may_read=BOTH, may_operate=BOTH, ceiling="GRID_EMERGENCY"),
        Peer("dso", 2, may_read=BOTH, may_operate=BOTH, ceiling="GRID_EMERGENCY"),
        Peer("guest", 3, may_read=("pool:south",), may_operate=("pool:south",), ceiling="UTILITY", high_w=1e6),
    ),
)


class Room:
    """An outstation and its masters on one virtual loop."""

    def __init__(self, loop: VirtualLoop, supervisor: Supervisor, desk: SmallDesk, binding: Binding) -> None:
        self.desk, self.clock, self.supervisor = desk, VirtualClock(loop, START_NS), supervisor
        self.outstation = Dnp3Outstation(binding, desk, self.clock, supervisor)

    async def master(self, address: int = 1, connect: bool = True) -> Scada:
        scada = Scada("tieline", 20000, master=address, outstation=10, spawn=self.supervisor.spawn)
        if connect:
            await scada.connect()
        return scada

    async def publish(self, **how: Any) -> None:
        await self.outstation.publish(self.desk.snapshot(now_ns=self.clock.now_ns(), **how))


def play(
    scene: Callable[[Room], Awaitable[None]],
    desk: SmallDesk | None = None,
    binding: Binding = BINDING,
    network: Network | None = None,
) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            room = Room(loop, supervisor, desk or SmallDesk(), binding)
            await room.outstation.start()
            await room.publish()
            await scene(room)
            await room.outstation.stop()
            assert not supervisor.failures

    run_virtual(main, network)


def test_an_integrity_poll_shows_every_point_of_the_groups_a_master_may_read() -> None:
    async def scene(room: Room) -> None:
        dno, guest = await room.master(1), await room.master(3)
        assert dno.analog(NORTH) == 1e6
        assert dno.analog(NORTH + 7) == 500  # a state of charge of 0.5 at 0.1 % a count
        assert dno.binary(NORTH) is True
        assert guest.analog(SOUTH) == 1e6
        assert guest.analog(NORTH) is None

    play(scene)


def test_a_change_comes_unasked_with_the_time_of_its_source() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await asyncio.sleep(10)
        at_ms = room.clock.now_ns() // 1_000_000
        await room.publish(power_w=-2e6)
        await asyncio.sleep(1)
        seen = dno.store.analog_input(NORTH)
        assert seen is not None and seen.from_event
        assert (seen.value, seen.time_ms) == (-2_000_000, at_ms)

    play(scene)


@pytest.mark.parametrize(
    ("quality", "flags"),
    # IEEE 1815-2012 11.6: online 1, restart 2, comm lost 4, remote forced 8, local forced 16, over-range 32.
    [(Quality.GOOD, 1), (Quality.COMM_LOST, 4), (Quality.SUBSTITUTED, 9), (Quality.OUT_OF_RANGE, 33)],
)
def test_quality_travels_as_flags(quality: Quality, flags: int) -> None:
    async def scene(room: Room) -> None:
        await room.publish(quality=quality)
        dno = await room.master()
        seen = dno.store.analog_input(NORTH)
        assert seen is not None and seen.flags == flags

    play(scene)


@pytest.mark.parametrize("select", [False, True])
def test_a_limit_becomes_an_ask_at_the_level_of_the_point_and_reads_back(select: bool) -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        assert await dno.limit(NORTH, -1e6, 2e6, select=select) == [OK, OK, OK]
        (ask,) = room.desk.asks
        assert (ask.source, ask.resource, ask.kind, ask.level) == (
            "dnp3:dno",
            "pool:north",
            ClaimKind.LIMIT,
            Level.ENVELOPE,
        )
        assert (ask.low, ask.high) == (-1e6, 2e6)
        assert bytes.fromhex(ask.native.replace(" ", ""))[:2] == b"\x05\x64"  # the start octets of a DNP3 link frame
        await dno.poll()
        assert dno.binary(NORTH + 3) is True  # pending: the snapshot is older than the grant
        assert dno.analog(NORTH + 12) == 2e6
        assert dno.binary(NORTH + 11) is True
        await room.publish()
        await dno.poll()
        assert dno.binary(NORTH + 3) is False
        assert dno.analog(NORTH + 4) == 2e6
        assert dno.analog(NORTH + 8) == room.desk.revision

    play(scene)


def test_success_is_said_only_after_the_desk_has_answered() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await dno.target(SOUTH, 1e6) == [OK, OK]
        assert loop.time() - began >= 2.0

    play(scene, SmallDesk(delay_s=2.0))


def test_cancel_withdraws_and_the_next_valid_claim_holds_again() -> None:
    async def scene(room: Room) -> None:
        dno, dso = await room.master(1), await room.master(2)
        await dso.limit(NORTH, -5e6, 4e6)
        await dno.limit(NORTH, -5e6, 1e6)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 1e6)
        assert await dno.cancel(NORTH) == [OK]
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 4e6)

    play(scene)


def test_a_cancel_withdraws_even_what_a_restarted_outstation_does_not_know_of() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        assert await dno.cancel(NORTH) == [OK]
        assert room.desk.withdrawn == [("dnp3:dno", "target", "pool:north"), ("dnp3:dno", "limit", "pool:north")]

    play(scene)


def test_percent_is_of_the_greatest_power_of_the_group() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        # 1815.2 AO87 carries 0.1 % of WMax a count: 600 counts of 5 MW are 3 MW.
        assert await dno.operate([analog(NORTH + 4, 600, 1), binary(NORTH + 1, True)]) == [OK, OK]
        assert room.desk.asks[-1].high == pytest.approx(3e6)

    play(scene)


def test_what_a_master_may_not_do_is_refused_with_the_status_that_says_why() -> None:
    async def scene(room: Room) -> None:
        guest = await room.master(3)
        assert await guest.target(NORTH, 1e5) == [CommandStatus.NOT_AUTHORIZED] * 2
        assert await guest.limit(SOUTH, -1e6, 1e5) == [CommandStatus.NOT_AUTHORIZED] * 3  # ENVELOPE outranks UTILITY
        assert await guest.target(SOUTH, 1.5e6) == [CommandStatus.OUT_OF_RANGE, CommandStatus.CANCELLED]
        assert await guest.operate([analog(999, 1)]) == [CommandStatus.NOT_SUPPORTED]
        assert room.desk.asks == []
        assert room.desk.refusals == [
            ("pool:north", "target", "NOT_AUTHORIZED"),
            ("pool:south", "limit", "NOT_AUTHORIZED"),
            ("pool:south", "target", "OUT_OF_RANGE"),
        ]
        assert await guest.target(SOUTH, 1e6) == [OK, OK]

    play(scene)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal("level above the principal's ceiling", "level", "ENVELOPE"), CommandStatus.NOT_AUTHORIZED),
        (Refusal("out of range", "high", "9e9", "5e6"), CommandStatus.OUT_OF_RANGE),
        (Refusal("stale time tag"), CommandStatus.TIMEOUT),
        (Refusal("resource is in local mode"), CommandStatus.LOCAL),
        (Refusal("something else"), CommandStatus.BLOCKED),
    ],
)
def test_a_refusal_of_the_desk_is_a_status_and_changes_nothing(refusal: Refusal, status: CommandStatus) -> None:
    async def scene(room: Room) -> None:
        room.desk.refusing = refusal
        dno = await room.master()
        assert await dno.limit(NORTH, -1e6, 1e6) == [status] * 3
        await dno.poll()
        assert dno.binary(NORTH + 11) is False
        assert dno.analog(NORTH + 12) == 5e6

    play(scene)


def test_a_desk_that_is_away_fails_the_operate_and_not_the_connection() -> None:
    async def scene(room: Room) -> None:
        room.desk.fail = True
        dno = await room.master()
        assert await dno.target(NORTH, 1e6) == [CommandStatus.DOWNSTREAM_FAIL] * 2
        room.desk.fail = False
        assert await dno.target(NORTH, 1e6) == [OK, OK]

    play(scene)


def test_an_operate_without_its_select_or_too_late_reaches_nobody() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        controls = [analog(NORTH, 1e6, 1), binary(NORTH, True)]
        assert await dno.command(FunctionCode.OPERATE, controls) == [CommandStatus.NO_SELECT] * 2
        assert await dno.command(FunctionCode.SELECT, controls) == [OK, OK]
        await asyncio.sleep(5.5)
        assert await dno.command(FunctionCode.OPERATE, controls) == [CommandStatus.TIMEOUT] * 2
        assert room.desk.asks == []

    play(scene)


def test_a_select_is_exclusive_for_five_seconds_among_masters_of_one_level() -> None:
    async def scene(room: Room) -> None:
        dno, dso = await room.master(1), await room.master(2)
        controls = [analog(NORTH, 1e6, 1), binary(NORTH, True)]
        assert await dno.command(FunctionCode.SELECT, controls) == [OK, OK]
        assert await dso.operate(controls) == [CommandStatus.BLOCKED_OTHER_MASTER] * 2
        # Another level has a lease of its own: a limit (ENVELOPE) is not held up by a target's select (UTILITY).
        assert await dso.limit(NORTH, -1e6, 1e6) == [OK] * 3
        await asyncio.sleep(5.1)
        assert await dso.operate(controls) == [OK, OK]

    play(scene)


def test_the_lease_of_a_select_is_as_long_as_the_binding_says_on_the_wire_and_at_the_desk() -> None:
    """One source: a select that still stands at the session is never given to another master by the desk."""

    async def scene(room: Room) -> None:
        dno, dso = await room.master(1), await room.master(2)
        controls = [analog(NORTH, 1e6, 1), binary(NORTH, True)]
        assert await dno.command(FunctionCode.SELECT, controls) == [OK, OK]
        await asyncio.sleep(12.0)
        assert await dso.operate(controls) == [CommandStatus.BLOCKED_OTHER_MASTER] * 2
        assert await dno.command(FunctionCode.OPERATE, controls) == [OK, OK]
        assert [ask.principal for ask in room.desk.asks] == ["dno"]

    play(scene, binding=structs.replace(BINDING, select_s=20.0))


def test_the_same_request_twice_has_one_effect_and_the_same_answer() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        await dno.replay(dno.sent[-1])
        await asyncio.sleep(1)
        assert len(room.desk.asks) == 1

    play(scene)


def test_a_direct_operate_without_answer_takes_effect() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.command(FunctionCode.DIRECT_OPERATE_NR, [analog(NORTH, 1e6, 1), binary(NORTH, True)])
        await asyncio.sleep(1)
        assert [ask.value for ask in room.desk.asks] == [1e6]

    play(scene)


def test_a_latch_lives_as_long_as_its_master_is_heard_and_lapses_after_two_keep_alives() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        for _ in range(20):
            await asyncio.sleep(60)
            await dno.poll()
            assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        versions = [ask.version for ask in room.desk.asks]
        assert versions == sorted(set(versions))
        await dno.close()
        await asyncio.sleep(121)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 5e6)
        await asyncio.sleep(60)
        assert ("dnp3:dno", "limit", "pool:north") in room.desk.withdrawn

    play(scene)


def test_a_lapse_is_shown_to_its_master_once_it_is_back_until_it_operates_again() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        await dno.close()
        await asyncio.sleep(121)  # two keep-alives: not one look later is it still shown as enabled
        assert room.outstation.lapses() == {"dnp3 dno limit of pool:north": 1}
        again = await room.master()
        assert (again.binary(NORTH + 11), again.binary(NORTH + 4)) == (False, True)
        await again.limit(NORTH, -1e6, 1e6)
        await again.poll()
        assert (again.binary(NORTH + 11), again.binary(NORTH + 4)) == (True, False)

    play(scene)


@pytest.mark.parametrize(("away_s", "lapses"), [(0.0, 0), (60.0, 0), (200.0, 1)])
def test_a_front_end_dials_anew_after_a_cut_and_renews_what_lapsed_meanwhile(away_s: float, lapses: int) -> None:
    class Line:
        """A path that can be interrupted: whoever dials then is refused."""

        is_open = True

        def delay_s(self, now_s: float, size: int) -> float | None:
            return 0.001 if self.is_open else None

    line = Line()

    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        task = room.supervisor.keep("dnp3 dno", dno.attend)
        await asyncio.sleep(90)
        line.is_open = False
        asyncio.get_running_loop().network.cut("tieline", 20000)
        await asyncio.sleep(away_s)
        line.is_open = True
        await asyncio.sleep(90)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        assert (dno.renewed, sum(room.outstation.lapses().values())) == (lapses, lapses)
        assert room.supervisor.losses == {"dnp3 dno": 1}
        await dno.cancel(NORTH)
        await asyncio.sleep(90)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 5e6)
        task.cancel()
        room.supervisor.failures.clear()

    play(scene, network=Network(lambda host, port: line))


def test_a_master_on_no_list_is_closed_unheard() -> None:
    async def scene(room: Room) -> None:
        stranger = await room.master(99, connect=False)
        with pytest.raises(LinkDown):
            await stranger.connect()
        assert room.outstation.health().errors == 1

    play(scene)


def test_a_wrong_master_that_dials_on_and_on_waits_twice_as_long_each_time_and_the_right_one_never() -> None:
    async def scene(room: Room) -> None:
        loop = asyncio.get_running_loop()
        waited = []
        for _ in range(9):
            began_s = loop.time()
            stranger = await room.master(99, connect=False)
            with pytest.raises(LinkDown):
                await stranger.connect()
            waited.append(loop.time() - began_s)
        assert waited[0] < 0.5
        assert all(later >= min(1.9 * before, 1.0) for before, later in pairwise(waited[1:]))
        began_s = loop.time()
        dno = await room.master(1)  # from the same host
        assert loop.time() - began_s < 0.5
        assert dno.analog(NORTH) == 1e6

    play(scene)


@given(
    calls=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 600)), min_size=1, max_size=60),
    hosts=st.integers(1, MOST_HOSTS + 5),
)
def test_a_hold_grows_to_half_a_minute_is_forgotten_when_quiet_and_its_memory_is_bounded(
    calls: list[tuple[int, float]], hosts: int
) -> None:
    refusals, now_s, last = Refusals(), 0.0, dict[int, tuple[float, float]]()
    for host, passed_s in calls:
        now_s += passed_s
        hold_s = refusals.hold_s(str(host), now_s)
        before_s, ends_s = last.get(host, (0.0, float("-inf")))
        if now_s - ends_s > FORGET_S:
            assert hold_s == 0.0
        else:
            assert hold_s == min(max(2 * before_s, 0.5), 30.0)
        last[host] = hold_s, now_s + hold_s
        now_s += hold_s
    for host in range(hosts):
        refusals.hold_s(f"other-{host}", now_s)
    assert len(refusals._of) <= MOST_HOSTS


def test_a_master_that_comes_again_displaces_itself_and_finds_its_events() -> None:
    async def scene(room: Room) -> None:
        await room.master()
        again = await room.master()
        assert room.outstation.health().peers == 1
        await room.publish(power_w=3e6)
        await asyncio.sleep(1)
        assert again.analog(NORTH) == 3e6

    play(scene)


def test_a_pulse_train_is_not_a_latch() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        train = ControlRelayOutputBlock.build(OperationType.PULSE_ON, count=3)
        assert await dno.operate([binary(NORTH + 1, train)]) == [CommandStatus.NOT_SUPPORTED]

    play(scene)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.integers(0, 2**19 - 1), ANY_INSTANT), min_size=1, max_size=6))
def test_no_value_quality_or_time_of_a_snapshot_closes_a_connection(rows: list[tuple[float, int, int]]) -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        for revision, (value, quality, taken_at_ns) in enumerate(rows, 2):
            seen = Measured(value, Quality(quality), taken_at_ns)
            values = dict.fromkeys(("power_w", "soc_frac", "is_local"), seen)
            view = GroupView("pool:north", "north", values)
            await room.outstation.publish(Snapshot(revision, room.clock.now_ns(), (view,)))
            await asyncio.sleep(1)
        await dno.poll()
        assert dno.analog(NORTH + 8) == len(rows) + 1
        assert room.outstation.health().peers == 1

    play(scene)


@pytest.mark.long
def test_a_thousand_masters_hear_a_change_each_in_their_own_session() -> None:
    peers = tuple(Peer(f"m{n}", 100 + n, may_read=BOTH) for n in range(1000))

    async def scene(room: Room) -> None:
        masters = [await room.master(100 + n) for n in range(1000)]
        await room.publish(power_w=-4e6)
        await asyncio.sleep(5)
        assert {scada.analog(NORTH) for scada in masters} == {-4e6}
        assert room.outstation.health().peers == 1000

    play(scene, binding=msgspec.structs.replace(BINDING, peers=peers))


@pytest.mark.parametrize(("keep_alive_s", "pace"), [(1.0, 1.0), (60.0, 60.0), (300.0, 600.0)])
def test_an_idle_master_is_asked_for_a_sign_of_life_in_time_whatever_the_pace(keep_alive_s: float, pace: float) -> None:
    async def scene(room: Room) -> None:
        await room.outstation.stop()
        binding = msgspec.structs.replace(BINDING, port=20001, keep_alive_s=keep_alive_s)
        made = Dnp3Outstation(binding, room.desk, room.clock, room.supervisor, pace=pace)
        await made.start()
        await made.publish(room.desk.snapshot())
        dno = Scada("tieline", 20001, master=1, outstation=10, spawn=room.supervisor.spawn)
        await dno.connect()
        assert await dno.limit(NORTH, -1e6, 2e6) == [OK, OK, OK]
        await asyncio.sleep(20 * binding.lease_s / pace)
        assert room.desk.withdrawn == [] and made.health().peers == 1
        await dno.close()
        await asyncio.sleep(2 * binding.lease_s / pace + 2)
        assert room.desk.withdrawn == [("dnp3:dno", "limit", "pool:north")]
        await made.stop()

    play(scene)
