"""The link for scale keeps the contract of those on a wire: its devices are columns, its faults shares of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from harness import RecordingIntake

from tieline.resource.batch import CommandBatch
from tieline.resource.command import TERMINAL, Stage
from tieline.resource.identity import Kind
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.faults import DEVICE_FAULTS, DeviceFaults
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import SECOND_NS

COUNT = 60


@dataclass
class Room:
    link: ColumnsLink
    world: World
    intake: RecordingIntake
    clock: VirtualClock
    battery: int
    seq: int = 0

    def batch(self, target_w: float, seconds: float = 600.0, seq: int | None = None, epoch: int = 1) -> CommandBatch:
        self.seq += 1
        seq = self.seq if seq is None else seq
        now, one = self.clock.now_ns(), np.ones(COUNT)
        return CommandBatch(
            f"batch-{epoch}-{seq}", np.arange(COUNT, dtype=np.int32), target_w * one, -np.inf * one, np.inf * one,
            0 * one, now, now, now + int(seconds * SECOND_NS), epoch, seq, (),
        )  # fmt: skip

    def life(self, batch: CommandBatch) -> list[Stage]:
        return self.intake.life(batch.id, self.battery)


def play(scene: Callable[[Room], Awaitable[None]], faults: DeviceFaults | None = None, seed: int = 1) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock, intake = VirtualClock(loop, 1_660_662_000 * SECOND_NS), RecordingIntake()  # 2022-08-16, 10:00 in Chicago
        broken: list[object] = []
        loop.set_exception_handler(lambda _, context: broken.append(context))
        territory = build(COUNT, np.random.default_rng(seed))
        world = World(territory, np.random.default_rng(seed))
        rows = np.arange(COUNT, dtype=np.int32)
        rng = np.random.default_rng(seed)
        link = ColumnsLink(world, rows, intake, clock, loop.call_later, faults or DEVICE_FAULTS["none"], rng)

        async def moves() -> None:
            while True:
                world.step(clock.now_ns(), 30.0, *link.told(clock.now_ns()))
                link.tell()
                await asyncio.sleep(30)

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            supervisor.spawn(moves())
            await asyncio.sleep(65)
            await scene(Room(link, world, intake, clock, int(territory.by_kind[Kind.BATTERY][0])))
        assert not broken, broken[0]

    run_virtual(main)


def test_a_command_is_sent_taken_and_observed_in_our_unit_and_sign() -> None:
    async def scene(s: Room) -> None:
        batch = s.batch(1_000.0)
        await s.link.send(batch)
        await asyncio.sleep(120)
        assert s.life(batch) == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
        assert s.intake.last(s.battery, "power_w").value == pytest.approx(1_000.0, rel=0.05)

    play(scene)


def test_the_same_batch_twice_and_an_older_one_have_no_effect() -> None:
    async def scene(s: Room) -> None:
        new = s.batch(1_000.0, seq=5, epoch=2)
        for batch in (new, new, s.batch(-1_000.0, seq=4, epoch=2), s.batch(-1_000.0, seq=9)):
            await s.link.send(batch)
            await asyncio.sleep(5)
        assert s.link.told(s.clock.now_ns())[0][s.battery] == 1_000.0
        await asyncio.sleep(300)
        assert {report.batch for report in s.intake.reports_} == {new.id}
        assert (s.link.sent, s.link.duplicates) == (COUNT, 3 * COUNT)

    play(scene)


def test_an_expired_command_is_never_sent() -> None:
    async def scene(s: Room) -> None:
        batch = s.batch(1_000.0, seconds=-1.0)
        await s.link.send(batch)
        await asyncio.sleep(60)
        assert s.life(batch) == [Stage.EXPIRED]
        assert np.isnan(s.link.told(s.clock.now_ns())[0]).all()

    play(scene)


def test_a_device_is_free_again_when_its_time_is_over() -> None:
    async def scene(s: Room) -> None:
        await s.link.send(s.batch(1_000.0, seconds=120.0))
        await asyncio.sleep(60)
        assert s.link.told(s.clock.now_ns())[0][s.battery] == 1_000.0
        await asyncio.sleep(61)
        assert np.isnan(s.link.told(s.clock.now_ns())[0][s.battery])

    play(scene)


def test_a_device_out_of_reach_is_shown_as_lost_with_its_last_value_and_time_whatever_it_does_meanwhile() -> None:
    async def scene(s: Room) -> None:
        await s.link.send(s.batch(1_000.0, seconds=150.0))
        await asyncio.sleep(100)
        was = s.intake.last(s.battery, "power_w")
        assert was.quality is Quality.GOOD
        s.link.disturb(True)
        await asyncio.sleep(200)
        now = s.intake.last(s.battery, "power_w")
        assert (now.value, now.taken_at_ns, now.quality) == (was.value, was.taken_at_ns, Quality.COMM_LOST)
        assert s.world.power_w[s.battery] != pytest.approx(was.value, abs=1.0)  # it fell back, and nobody heard
        s.link.disturb(False)
        await asyncio.sleep(35)
        assert s.intake.last(s.battery, "power_w").quality is Quality.GOOD

    play(scene, DeviceFaults(out_of_reach=1.0))


def test_a_device_that_says_yes_and_does_nothing_is_found_out() -> None:
    async def scene(s: Room) -> None:
        batch = s.batch(1_500.0)
        await s.link.send(batch)
        await asyncio.sleep(120)
        assert s.life(batch) == [Stage.SENT, Stage.ACCEPTED, Stage.UNCONFIRMED]

    play(scene, DeviceFaults(ignores=1.0))


@pytest.mark.parametrize("seed", range(4))
def test_every_command_ends_in_exactly_one_terminal_stage_whatever_happens(seed: int) -> None:
    async def scene(s: Room) -> None:
        rng, sent = np.random.default_rng(seed), []
        for _ in range(20):
            s.link.disturb(bool(rng.integers(2)))
            sent.append(s.batch(float(rng.integers(-2_000, 2_000)), float(rng.integers(5, 300))))
            await s.link.send(sent[-1])
            await asyncio.sleep(float(rng.random()) * 60)
        await asyncio.sleep(400)
        for batch in sent:
            for row in range(COUNT):
                life = s.intake.life(batch.id, row)
                assert sum(stage in TERMINAL for stage in life) == 1, (batch.id, row, life)

    play(scene, DeviceFaults(ignores=0.1, no_timer=0.1, out_of_reach=0.3, lost=0.1, late=0.3), seed)


def test_an_unknown_fault_is_refused_by_its_path() -> None:
    with pytest.raises(msgspec.ValidationError, match="lst"):
        msgspec.convert({"lst": 0.1}, DeviceFaults)


class Switch:
    """A pressed kill switch: only a command that ends at 0 W passes, and one row is near enough to it."""

    def passes(self, batch: CommandBatch) -> np.ndarray:
        return (np.abs(batch.target_w) < 1.0) | (batch.rows == 3)


def test_a_command_under_the_kill_switch_is_not_written_and_one_towards_safety_is() -> None:
    async def scene(s: Room) -> None:
        s.link.last_hop = Switch()
        barred = s.batch(1_000.0)
        await s.link.send(barred)
        await asyncio.sleep(100)
        others = [row for row in range(COUNT) if row != 3]
        assert all(s.intake.life(barred.id, row) == [Stage.CANCELLED] for row in others)
        assert s.intake.life(barred.id, 3)[0] is Stage.SENT
        assert np.isnan(s.link.target_w[others]).all()
        safe = s.batch(0.0)
        await s.link.send(safe)
        await asyncio.sleep(10)
        assert s.life(safe)[:2] == [Stage.SENT, Stage.ACCEPTED]

    play(scene)
