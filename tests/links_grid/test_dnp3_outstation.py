"""The DNP3 outstation on virtual time, driven by a DNP3 master over streams in memory."""

import asyncio

import pytest
from dnp3_desk import SmallDesk
from dnp3_room import BINDING, NORTH, OK, SOUTH, Room, play
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from py1815.application import FunctionCode
from py1815.control import CommandStatus, ControlRelayOutputBlock, OperationType
from py1815.master.controls import analog, binary

from tieline.desk.ports import GroupView, Measured, Session, Snapshot
from tieline.resource.claim import ClaimKind, Refusal
from tieline.resource.level import Level
from tieline.resource.quality import Quality

ANY_INSTANT = st.integers(-(2**62), 2**62)


def test_an_integrity_poll_shows_every_point_of_the_groups_a_master_may_read() -> None:
    async def scene(room: Room) -> None:
        dno, guest = await room.master(1), await room.master(3)
        assert dno.analog(NORTH) == 1e6
        assert dno.analog(NORTH + 7) == 500  # a state of charge of 0.5 at 0.1 % a count
        assert dno.binary(NORTH) is True
        assert guest.analog(SOUTH) == 1e6
        assert guest.analog(NORTH) is None

    play(scene)


def test_since_when_a_session_stands_is_not_the_time_of_the_question() -> None:
    async def scene(room: Room) -> None:
        await room.master()
        began_ns = room.clock.now_ns()
        await asyncio.sleep(100)
        first, last = room.outstation.health(), room.outstation.health()
        assert first.session is last.session is Session.LIVE
        assert first.since_ns == last.since_ns <= began_ns

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


@pytest.mark.parametrize("late_s", [0.0, 0.5, 1.9, 2.1, 3.5, 4.5])
def test_what_a_master_cancels_while_leases_are_renewed_stays_cancelled(late_s: float) -> None:
    """The desk takes two seconds for each answer: renewals of two limits are under way for four."""

    async def scene(room: Room) -> None:
        dno, loop = await room.master(), asyncio.get_running_loop()
        for group in (NORTH, SOUTH):
            assert await dno.limit(group, -1e6, 1e6) == [OK, OK, OK]
        room.desk.delay_s, asked = 2.0, len(room.desk.asks)
        began = loop.time()
        while len(room.desk.asks) == asked and loop.time() - began < 600.0:
            await asyncio.sleep(0.25)
            if int(loop.time() - began) % 20 == 0:
                await dno.poll()
        assert len(room.desk.asks) > asked, "the first renewal is there, the second is under way"
        await asyncio.sleep(late_s)
        assert await dno.cancel(SOUTH) == [OK]
        for _ in range(12):
            await asyncio.sleep(60.0)
            await dno.poll()
        assert room.desk.bounds("pool:south", room.clock.now_ns()) == (-5e6, 5e6)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6), "the other is renewed on and on"

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
