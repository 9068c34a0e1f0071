"""Many devices told together: the same octets as one by one, every write before any read-back, each end its own."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery

from tieline.device.profile import profile_of
from tieline.device.told import Unable, told
from tieline.errors import PeerError
from tieline.links.device.modbus.asking import asked_of
from tieline.links.device.modbus.columns import asked_of_rows, laid, requests
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.modbus.unit import Unit
from tieline.resource.batch import CommandBatch, CommandReports
from tieline.resource.command import NEXT, TERMINAL, Stage
from tieline.resource.identity import Rating
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS
from tieline.wire.modbus.frames import Frame
from tieline.wire.modbus.pdu import READ_HOLDING, WRITE_MANY, Read, Write

SIZE = MODELS[704].size
powers = st.one_of(st.floats(-20_000, 20_000), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))


class Paper:
    """A connection that notes what it is to carry, and says yes."""

    is_open = True

    def __init__(self) -> None:
        self.pdus: list[bytes] = []

    async def exchange(self, unit: int, request: Read | Write) -> tuple:
        assert isinstance(request, Write)
        self.pdus.append(request.octets())
        return (), self.pdus[-1]


@st.composite
def controls(draw: st.DrawFn) -> tuple[int, ...]:
    """Registers of model 704 as devices have them: any scale, points left out, anything in force."""
    fields = MODELS[704].fields
    seen = list(draw(st.lists(st.integers(0, 0xFFFF), min_size=SIZE, max_size=SIZE)))
    for name in ("WSet_SF", "WMaxLimPct_SF"):
        seen[fields[name].offset] = draw(st.sampled_from([0, 1, 2, 0xFFFF, 0xFFFE, 0x8000, 11]))
    for name in ("WSetEna", "WMaxLimPctEna"):
        seen[fields[name].offset] = draw(st.integers(0, 1))
    for name in ("WSetMod", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms"):
        field_ = fields[name]
        if draw(st.booleans()):
            absent = field_.absent
            assert absent is not None
            parts = [absent >> 16, absent & 0xFFFF] if field_.size == 2 else [absent]
            seen[field_.offset : field_.offset + field_.size] = parts
    return tuple(seen)


@settings(max_examples=300, deadline=None)
@given(
    seen=controls(),
    ask=st.tuples(powers, powers, powers),
    rated=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5)),
    left_s=st.floats(0.1, 1e5),
    start=st.integers(0, 60_000),
    own_w=st.floats(-20_000, 20_000) | st.just(math.nan),
)
def test_columns_write_the_octets_of_the_readable_version_or_leave_the_row_to_it(
    seen: tuple[int, ...], ask: tuple, rated: tuple, left_s: float, start: int, own_w: float
) -> None:
    profile, rating = profile_of("battery_inverter"), Rating(max_inject_w=rated[0], max_absorb_w=rated[1])
    arrays = [np.array([value]) for value in (*rated, *ask, own_w)]
    wished, is_sane = asked_of_rows(profile, *arrays)
    registers = np.array([seen], np.uint16)
    image, told_rows, fits = laid(registers, wished, max(round(left_s), 1))
    columns = requests(np.array([start]), registers, image)[0]

    what = told(profile, rating, *ask)
    assert bool(is_sane[0]) is not isinstance(what, Unable)
    if isinstance(what, Unable):
        return
    paper = Paper()
    unit = Unit(paper, 1)
    unit.models[704], unit.seen = (start, SIZE), seen
    held = asked_of(what, rated[2], left_s, own_w)
    try:
        asyncio.run(unit.tell(held))
    except PeerError:
        assert not fits[0]
        return
    assert fits[0] and columns == paper.pdus
    in_steps = unit.rounded(held)
    found = tuple(float(one[0]) for one in told_rows)
    assert found[1:3] == (in_steps.low_w, in_steps.high_w)
    assert (found[0], found[3]) == pytest.approx((in_steps.target_w, in_steps.limit_frac), nan_ok=True)


@dataclass
class Intake:
    """A recording intake that holds every command to the table of its life."""

    lives: dict[tuple[str, int], list[Stage]] = field(default_factory=dict)
    at_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def reports(self, reports: CommandReports) -> None:
        for row, stage, at_ns in zip(
            reports.rows.tolist(), reports.stage.tolist(), reports.at_ns.tolist(), strict=True
        ):
            life = self.lives.setdefault((reports.batch, row), [Stage.QUEUED])
            assert Stage(stage) in NEXT[life[-1]], (reports.batch, row, life, stage)
            life.append(Stage(stage))
            self.at_s[reports.batch, row] = at_ns / SECOND_NS

    def readings(self, readings: object) -> None:
        pass

    def health(self, health: object) -> None:
        pass

    def ends(self, batch: CommandBatch) -> dict[int, Stage]:
        return {row: life[-1] for (name, row), life in self.lives.items() if name == batch.id}


@dataclass
class Street:
    """Some connections with twenty units each, and a note of every request that reached them."""

    link: ModbusLink
    intake: Intake
    clock: VirtualClock
    devices: list[SunSpecDevice]
    servers: list[SunSpecServer]
    asked: list[tuple[int, int]] = field(default_factory=list)
    seq: int = 0

    async def command(self, target_w: float, wait_s: float = 5.0, seconds: float = 600.0) -> CommandBatch:
        self.seq += 1
        now, one = self.clock.now_ns(), np.ones(len(self.devices))
        rows = np.arange(len(self.devices), dtype=np.int32)
        batch = CommandBatch(
            f"c{self.seq}", rows, target_w * one, -np.inf * one, np.inf * one, 0 * one, now, now,
            now + int(seconds * SECOND_NS), 1, self.seq, (),
        )  # fmt: skip
        await self.link.send(batch)
        await asyncio.sleep(wait_s)
        return batch


UNITS, PORTS = 20, range(502, 505)


def play(scene: Callable[[Street], Awaitable[None]], in_flight: int = 16) -> Street:
    async def main(loop: VirtualLoop) -> Street:
        clock, intake = VirtualClock(loop, 1_700_000_000 * SECOND_NS), Intake()
        broken: list = []  # what callbacks raised: a broken rule of the intake among them
        loop.set_exception_handler(lambda _, context: broken.append(context))
        devices, servers, addresses = [], [], {}
        for port in PORTS:
            mine = [SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock) for _ in range(UNITS)]
            for unit in range(UNITS):
                addresses[len(devices) + unit] = f"127.0.0.1:{port}/{unit + 1}"
            devices += mine
            servers.append(SunSpecServer(dict(enumerate(mine, 1))))
            await servers[-1].start(port=port)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            rated = dict.fromkeys(addresses, 5_000.0)
            how = ModbusSettings(addresses, rated, poll_s=3_600.0, in_flight=in_flight)
            link = ModbusLink(how, intake, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(5)
            assert link.health().peers == len(devices)
            street = Street(link, intake, clock, devices, servers)
            for server in servers:
                _note(server, street)
            await scene(street)
            link.stop()
        assert not broken, broken
        return street

    return run_virtual(main)


def _note(server: SunSpecServer, street: Street) -> None:
    answer = server.answer

    def noting(frame: Frame) -> bytes | None:
        street.asked.append((frame.pdu[0], frame.unit))
        return answer(frame)

    server.answer = noting


def test_every_device_is_written_before_any_is_read_back() -> None:
    async def scene(street: Street) -> None:
        batch = await street.command(-2_000.0)
        assert set(street.intake.ends(batch).values()) == {Stage.DONE}

    functions = [function for function, _ in play(scene).asked]
    count = UNITS * len(PORTS)
    assert functions == [WRITE_MANY] * count + [READ_HOLDING] * count


def test_nobody_is_read_back_while_writes_elsewhere_are_still_being_answered() -> None:
    async def scene(street: Street) -> None:
        for device in street.devices[-UNITS:]:  # a slow host, which takes eight at once: three rounds of it
            device.late_s = 0.2
        batch = await street.command(-2_000.0)
        assert set(street.intake.ends(batch).values()) == {Stage.DONE}

    functions = [function for function, _ in play(scene, in_flight=8).asked]
    count = UNITS * len(PORTS)
    assert functions == [WRITE_MANY] * count + [READ_HOLDING] * count


def test_writes_that_are_answered_slowly_keep_the_others_from_being_confirmed_for_a_second_at_most() -> None:
    async def scene(street: Street) -> None:
        # Steadily one more: 15 of a host are answered after one another.
        for n, device in enumerate(street.devices[-UNITS:-5]):
            device.late_s = 0.2 * (n + 1)
        began_s = street.clock.now_ns() / SECOND_NS
        batch = await street.command(-2_000.0, wait_s=15.0)
        at_s = [street.intake.at_s[batch.id, row] - began_s for row in range(UNITS)]
        assert max(at_s) < 1.5, at_s
        assert {street.intake.ends(batch)[row] for row in range(UNITS)} == {Stage.DONE}

    play(scene)


def test_one_silent_device_keeps_no_other_from_being_confirmed_at_once() -> None:
    async def scene(street: Street) -> None:
        street.devices[3].is_silent = True
        began_s = street.clock.now_ns() / SECOND_NS
        batch = await street.command(1_000.0, wait_s=10.0)
        ends = street.intake.ends(batch)
        assert ends.pop(3) is Stage.UNCONFIRMED
        assert set(ends.values()) == {Stage.DONE}
        assert max(street.intake.at_s[batch.id, row] for row in ends) - began_s < 0.5

    play(scene)


def test_each_device_ends_as_it_would_alone() -> None:
    async def scene(street: Street) -> None:
        street.devices[0].refuses = True
        street.devices[1].ignores = True
        street.devices[4].late_s = 1.0
        plain = street.devices[5].write
        street.devices[5].write = lambda start, values: len(values) <= 2 and plain(start, values)
        batch = await street.command(1_500.0, wait_s=20.0)
        ends = street.intake.ends(batch)
        expected = {0: Stage.REJECTED, 1: Stage.UNCONFIRMED, 4: Stage.DONE, 5: Stage.DONE, 9: Stage.DONE}
        assert {row: ends[row] for row in expected} == expected
        assert street.devices[5].body.target_w == 1_500.0  # told value by value, as it refuses them together

    play(scene)


def test_a_newer_command_waits_for_the_burst_and_then_has_the_last_word() -> None:
    async def scene(street: Street) -> None:
        for device in street.devices:
            device.late_s = 0.4
        first = await street.command(1_000.0, wait_s=0.1)
        second = await street.command(2_000.0, wait_s=0.1)
        third = await street.command(-500.0, wait_s=20.0)
        assert set(street.intake.ends(first).values()) == {Stage.DONE}
        assert set(street.intake.ends(second).values()) == {Stage.CANCELLED}  # displaced while it waited
        assert set(street.intake.ends(third).values()) == {Stage.DONE}
        assert {device.body.target_w for device in street.devices} == {-500.0}

    play(scene)


def test_a_connection_cut_in_the_middle_leaves_unconfirmed_what_was_out_and_others_done() -> None:
    async def scene(street: Street) -> None:
        for device in street.devices[:UNITS]:
            device.late_s = 1.0
        batch = await street.command(1_000.0, wait_s=0.5)
        street.servers[0].drop()
        await asyncio.sleep(20)
        ends = street.intake.ends(batch)
        assert {ends[row] for row in range(UNITS)} == {Stage.UNCONFIRMED}
        assert {ends[row] for row in range(UNITS, len(ends))} == {Stage.DONE}
        await asyncio.sleep(60)
        again = await street.command(700.0)
        assert set(street.intake.ends(again).values()) == {Stage.DONE}

    play(scene)


def test_a_device_that_is_slow_to_hear_starts_its_timer_late_and_is_no_liar() -> None:
    """Told value by value, each answered 2.5 s late, it hears what switches the last one on half a minute after."""

    async def scene(street: Street) -> None:
        slow, liar = street.devices[5], street.devices[6]
        slow.late_s, liar.lies, plain = 2.5, True, slow.write
        slow.write = lambda start, values: len(values) <= 2 and plain(start, values)
        began_ns = street.clock.now_ns()
        batch = await street.command(1_500.0, wait_s=120.0, seconds=60.0)
        heard_s = street.intake.at_s[batch.id, 5] - began_ns / SECOND_NS
        assert heard_s > 10.0 + slow.late_s  # more than a timer that is trusted is given beyond its time
        assert slow.body.target_w != 1_500.0  # it let go by itself
        ends = street.intake.ends(batch)
        assert (ends.pop(6), set(ends.values())) == (Stage.UNCONFIRMED, {Stage.DONE})
        assert street.link.counts.lies == 1

    play(scene)


@pytest.mark.parametrize("seed", range(6))
def test_every_command_of_every_device_ends_once_whatever_happens(seed: int) -> None:
    async def scene(street: Street) -> None:
        rng, sent = np.random.default_rng(seed), []
        for _ in range(20):
            device = street.devices[int(rng.integers(len(street.devices)))]
            match int(rng.integers(6)):
                case 0:
                    street.servers[int(rng.integers(len(PORTS)))].drop()
                case 1:
                    device.is_silent = bool(rng.integers(2))
                case 2:
                    device.late_s = float(rng.random()) * 3
                case 3:
                    device.refuses = bool(rng.integers(2))
                case 4:
                    device.reboot()
            sent.append(await street.command(float(rng.integers(-4_000, 4_000)), 0.0, float(rng.integers(5, 120))))
            await asyncio.sleep(float(rng.random()) * 4)
        await asyncio.sleep(400)
        for batch in sent:
            for row in range(len(street.devices)):
                life = street.intake.lives.get((batch.id, row), [])
                assert sum(stage in TERMINAL for stage in life) == 1, (batch.id, row, life)

    play(scene)
