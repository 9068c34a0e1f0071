"""The contract of every link that carries commands: what the desk may count on, whatever the protocol."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from harness import Harness, RecordingIntake, batch_of
from harnesses import HARNESSES

from tieline.desk.ports import CommandLink, Session
from tieline.errors import ConfigError
from tieline.resource.batch import CommandBatch
from tieline.resource.command import TERMINAL, RejectWord, Stage
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import SECOND_NS

every_link = pytest.mark.parametrize("name", sorted(HARNESSES))


@dataclass
class Room:
    harness: Harness
    link: CommandLink
    intake: RecordingIntake
    clock: VirtualClock
    seq: int = 0

    async def command(self, target_w: float, seconds: float = 600.0, wait_s: float = 2.0) -> CommandBatch:
        self.seq += 1
        batch = batch_of(self.harness, self.clock, self.seq, target_w, seconds)
        await self.link.send(batch)
        await asyncio.sleep(wait_s)
        return batch

    def life(self, batch: CommandBatch) -> list[Stage]:
        return self.intake.life(batch.id, self.harness.row)


def play(name: str, scene: Callable[[Room], Awaitable[None]]) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock, intake, harness = VirtualClock(loop, 1_700_000_000 * SECOND_NS), RecordingIntake(), HARNESSES[name]()
        broken: list[object] = []  # what callbacks raised, a broken rule of the intake among them
        loop.set_exception_handler(lambda _, context: broken.append(context))
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            link = await harness.start(loop, clock, supervisor, intake)
            await asyncio.sleep(5)
            await scene(Room(harness, link, intake, clock))
            harness.stop()
            assert not broken, broken[0]

    run_virtual(main)


@every_link
def test_a_command_reaches_the_device_once_and_ends_done_with_what_was_observed(name: str) -> None:
    async def scene(s: Room) -> None:
        batch = await s.command(s.harness.target_w)
        assert s.life(batch)[-1] is Stage.DONE
        assert s.harness.power_w() == s.harness.target_w
        assert len(s.harness.effects()) == 1
        done = [report for report in s.intake.reports_ if report.stage is Stage.DONE]
        assert done[0].observed_w == pytest.approx(s.harness.target_w, abs=10)
        assert any(report.frame for report in s.intake.reports_)

    play(name, scene)


@every_link
def test_what_a_device_does_comes_back_in_our_unit_and_sign(name: str) -> None:
    async def scene(s: Room) -> None:
        for target_w in (s.harness.target_w, s.harness.other_w):
            await s.command(target_w, wait_s=s.harness.poll_s + 3)
            seen = s.intake.last(s.harness.row, "power_w")
            assert (seen.value, seen.quality) == (pytest.approx(target_w), Quality.GOOD)

    play(name, scene)


@every_link
def test_it_comes_up_step_by_step_and_counts(name: str) -> None:
    async def scene(s: Room) -> None:
        assert s.intake.sessions[-1] is Session.LIVE
        assert s.intake.sessions == sorted(s.intake.sessions)
        await s.command(s.harness.target_w)
        health = s.harness.health()
        assert (health.session, health.sent, health.refused, health.peers > 0) == (Session.LIVE, 1, 0, True)

    play(name, scene)


@every_link
def test_a_lost_peer_marks_every_point_with_its_last_source_time_and_comes_back(name: str) -> None:
    async def scene(s: Room) -> None:
        await asyncio.sleep(s.harness.poll_s + 1)
        before = {key: seen[-1] for key, seen in s.intake.seen.items()}
        await s.harness.drop()
        await asyncio.sleep(s.harness.lost_s)
        assert s.intake.sessions[-1] is Session.DOWN
        for key, was in before.items():
            now = s.intake.seen[key][-1]
            if key[1] not in ("available_up_w", "available_down_w", "is_local", "operating_state"):
                assert now.quality is Quality.COMM_LOST, key
                assert (now.value, now.taken_at_ns) == (was.value, was.taken_at_ns), key
        await asyncio.sleep(30)
        await s.harness.restore()
        await asyncio.sleep(150)
        assert s.intake.sessions[-1] is Session.LIVE
        assert s.intake.last(s.harness.row, "power_w").quality is Quality.GOOD

    play(name, scene)


@every_link
def test_an_expired_command_is_never_sent(name: str) -> None:
    async def scene(s: Room) -> None:
        batch = await s.command(s.harness.target_w, seconds=-1.0, wait_s=60.0)
        assert (s.life(batch), s.harness.effects()) == ([Stage.EXPIRED], [])

    play(name, scene)


@every_link
def test_a_command_that_runs_out_while_the_peer_is_away_is_never_sent(name: str) -> None:
    async def scene(s: Room) -> None:
        await s.harness.drop()
        await asyncio.sleep(5)
        batch = await s.command(s.harness.target_w, seconds=20.0, wait_s=30.0)
        assert s.life(batch) == [Stage.EXPIRED]
        await s.harness.restore()
        await asyncio.sleep(200)
        assert s.harness.effects() == []

    play(name, scene)


@every_link
def test_a_command_that_waits_for_the_peer_is_carried_out_once_it_is_back(name: str) -> None:
    async def scene(s: Room) -> None:
        await s.harness.drop()
        await asyncio.sleep(5)
        batch = await s.command(s.harness.target_w, seconds=900.0, wait_s=5.0)
        assert s.life(batch) == []
        await s.harness.restore()
        await asyncio.sleep(150)
        assert s.life(batch)[-1] is Stage.DONE
        assert len(s.harness.effects()) == 1

    play(name, scene)


@every_link
def test_the_same_batch_twice_has_one_effect(name: str) -> None:
    async def scene(s: Room) -> None:
        batch = await s.command(s.harness.target_w)
        told = len(s.intake.reports_)
        for _ in range(3):
            await s.link.send(batch)
            await asyncio.sleep(5)
        assert len(s.harness.effects()) == 1
        assert [r for r in s.intake.reports_[told:] if r.batch == batch.id] == []

    play(name, scene)


@every_link
def test_an_older_seq_or_epoch_comes_too_late(name: str) -> None:
    async def scene(s: Room) -> None:
        h = s.harness
        for epoch, seq, target_w in ((2, 5, h.target_w), (2, 4, h.other_w), (1, 9, h.other_w)):
            await s.link.send(batch_of(h, s.clock, seq, target_w, epoch=epoch))
            await asyncio.sleep(5)
        assert h.power_w() == h.target_w
        assert len(h.effects()) == 1

    play(name, scene)


@every_link
def test_a_newer_command_displaces_one_that_waits(name: str) -> None:
    async def scene(s: Room) -> None:
        await s.harness.drop()
        await asyncio.sleep(5)
        first = await s.command(s.harness.other_w, seconds=900.0)
        second = await s.command(s.harness.target_w, seconds=900.0)
        await s.harness.restore()
        await asyncio.sleep(150)
        assert s.life(first) == [Stage.CANCELLED]
        assert s.life(second)[-1] is Stage.DONE
        assert s.harness.power_w() == s.harness.target_w

    play(name, scene)


@pytest.mark.parametrize("name", sorted(name for name, make in HARNESSES.items() if make().refuses_natively))
def test_a_refusal_ends_rejected_with_the_native_code(name: str) -> None:
    async def scene(s: Room) -> None:
        s.harness.refuse()
        batch = await s.command(s.harness.target_w)
        assert s.life(batch)[-1] is Stage.REJECTED
        report = s.intake.reports_[-1]
        assert report.word is not RejectWord.NONE and report.native
        assert s.harness.effects() == []
        assert s.harness.health().refused == 1

    play(name, scene)


@every_link
def test_silence_ends_unconfirmed_and_nothing_is_sent_again(name: str) -> None:
    async def scene(s: Room) -> None:
        s.harness.silence(True)
        batch = await s.command(s.harness.target_w, seconds=900.0, wait_s=3 * s.harness.answer_s)
        assert s.life(batch)[-1] is Stage.UNCONFIRMED
        assert s.intake.reports_[-1].word is RejectWord.TIMEOUT
        # A VEN that hears and can't be heard follows what it was told until the time of that is over: nothing frees it.
        followed = list(s.harness.effects())
        assert followed in ([], [s.harness.target_w] if name == "openadr" else [])
        s.harness.silence(False)
        await asyncio.sleep(600)
        assert s.harness.effects() == followed
        assert not followed or s.harness.power_w() == s.harness.target_w, "kept, though nobody spoke of it"
        await asyncio.sleep(200)
        assert not followed or s.harness.power_w() == 0.0, "let go"
        assert s.harness.effects() == followed
        assert s.life(batch)[-1] is Stage.UNCONFIRMED

    play(name, scene)


@every_link
def test_a_device_that_says_yes_and_does_nothing_is_found_out(name: str) -> None:
    async def scene(s: Room) -> None:
        s.harness.ignore()
        batch = await s.command(s.harness.target_w, wait_s=120.0)
        assert s.life(batch)[-1] is Stage.UNCONFIRMED

    play(name, scene)


@every_link
def test_a_slow_peer_is_waited_for_within_the_answer_time(name: str) -> None:
    async def scene(s: Room) -> None:
        s.harness.delay(0.2 * s.harness.answer_s)
        batch = await s.command(s.harness.target_w, seconds=3_000.0, wait_s=10 * s.harness.answer_s)
        assert s.life(batch)[-1] is Stage.DONE
        assert len(s.harness.effects()) == 1

    play(name, scene)


@every_link
def test_a_device_is_free_again_soon_after_its_command_ran_out(name: str) -> None:
    async def scene(s: Room) -> None:
        free_w = s.harness.power_w()
        await s.command(s.harness.target_w, seconds=120.0)
        assert s.harness.power_w() == s.harness.target_w
        await asyncio.sleep(140)
        assert s.harness.power_w() == free_w

    play(name, scene)


@every_link
def test_rows_of_others_in_a_batch_are_left_alone(name: str) -> None:
    async def scene(s: Room) -> None:
        one = batch_of(s.harness, s.clock, 1, s.harness.target_w)
        zero = np.zeros(1)
        wide = CommandBatch(
            one.id, np.append(one.rows, 4_000).astype(np.int32), np.append(one.target_w, zero),
            np.append(one.low_w, -np.inf), np.append(one.high_w, np.inf), np.append(one.revert_w, zero),
            one.issued_at_ns, one.valid_from_ns, one.valid_until_ns, one.epoch, one.seq, (),
        )  # fmt: skip
        await s.link.send(wide)
        await asyncio.sleep(5)
        assert {report.row for report in s.intake.reports_} == {s.harness.row}
        assert s.life(one)[-1] is Stage.DONE

    play(name, scene)


@every_link
@pytest.mark.parametrize("seed", range(3))
def test_every_command_ends_in_exactly_one_terminal_stage_whatever_happens(name: str, seed: int) -> None:
    async def scene(s: Room) -> None:
        rng, h, sent = np.random.default_rng(seed), s.harness, []
        is_away = False
        for _ in range(25):
            match int(rng.integers(6)):
                case 0:
                    await (h.restore() if is_away else h.drop())
                    is_away = not is_away
                case 1:
                    h.silence(bool(rng.integers(2)))
                case 2:
                    h.delay(float(rng.random()) * h.answer_s)
            sent.append(await s.command(float(rng.choice([h.target_w, h.other_w])), float(rng.integers(5, 120)), 0.0))
            await asyncio.sleep(float(rng.random()) * 20)
        await asyncio.sleep(600)
        for batch in sent:
            assert sum(stage in TERMINAL for stage in s.life(batch)) == 1, (batch.id, s.life(batch))

    play(name, scene)


CASES = [(name, how, path) for name, make in sorted(HARNESSES.items()) for how, path in make().bad_settings]


@pytest.mark.parametrize(("name", "how", "path"), CASES)
def test_a_setting_that_is_unknown_or_cant_be_is_refused_by_its_path(name: str, how: dict, path: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        harness, clock = HARNESSES[name](), VirtualClock(loop, 0)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            with pytest.raises((ConfigError, msgspec.ValidationError), match=path):
                harness.check(harness.settle(how), clock, supervisor)

    run_virtual(main)


class Switch:
    """A kill switch beside a link: once pressed, a command to one power leads away from safety, others towards it."""

    def __init__(self, unsafe_w: float) -> None:
        self.is_pressed, self.unsafe_w = False, unsafe_w

    def passes(self, batch: CommandBatch) -> np.ndarray:
        return np.array([not self.is_pressed or watts != self.unsafe_w for watts in batch.target_w], np.bool_)


@every_link
def test_a_command_that_waits_when_the_kill_switch_is_pressed_is_not_written_and_one_towards_safety_is(
    name: str,
) -> None:
    async def scene(s: Room) -> None:
        s.link.last_hop = switch = Switch(s.harness.target_w)
        await s.harness.drop()
        await asyncio.sleep(5)
        barred = await s.command(s.harness.target_w, seconds=900.0, wait_s=5.0)
        assert s.life(barred) == []
        switch.is_pressed = True
        await s.harness.restore()
        await asyncio.sleep(150)
        assert s.life(barred) == [Stage.CANCELLED]
        assert s.harness.effects() == []
        safe = await s.command(s.harness.other_w, seconds=900.0, wait_s=30.0)
        assert s.life(safe)[-1] is Stage.DONE
        assert s.harness.power_w() == s.harness.other_w
        switch.is_pressed = False
        after = await s.command(s.harness.target_w, seconds=900.0, wait_s=30.0)
        assert s.life(after)[-1] is Stage.DONE

    play(name, scene)
