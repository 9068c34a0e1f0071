"""The contract of every link that brings wishes up to the desk, whatever the protocol."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from harness_dnp3 import Dnp3Harness
from harness_ews import EwsHarness
from harness_iso import IsoHarness
from upward import Answer, RecordingDesk, UpwardHarness

from tieline.desk.ports import Session
from tieline.errors import ConfigError
from tieline.resource.claim import Refusal
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import SECOND_NS

UPWARD: dict[str, Callable[[], UpwardHarness]] = {"dnp3": Dnp3Harness, "ews": EwsHarness, "iso": IsoHarness}
every_link = pytest.mark.parametrize("name", sorted(UPWARD))


@dataclass
class Room:
    harness: UpwardHarness
    desk: RecordingDesk
    clock: VirtualClock


def play(name: str, scene: Callable[[Room], Awaitable[None]]) -> None:
    async def main(loop: VirtualLoop) -> None:
        # 22:00 in Chicago, 2021-06-14: the emulator's prices know that day.
        clock, desk, harness = VirtualClock(loop, 1_623_726_000 * SECOND_NS), RecordingDesk(), UPWARD[name]()
        broken: list[object] = []
        loop.set_exception_handler(lambda _, context: broken.append(context))
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            await harness.start(clock, supervisor, desk)
            await scene(Room(harness, desk, clock))
            await harness.stop()
            assert not supervisor.failures
        assert not broken, broken

    run_virtual(main)


@every_link
def test_it_comes_up_counts_and_tells_the_desk_of_each_session(name: str) -> None:
    async def scene(s: Room) -> None:
        health = s.harness.health()
        assert health.session is Session.LIVE and health.peers == 1
        assert health.sent > 0 and health.received > 0 and health.since_ns <= s.clock.now_ns()
        assert s.desk.sessions[-1] is Session.LIVE
        assert s.harness.alone not in (Session.LIVE, Session.DEGRADED)

    play(name, scene)


@every_link
def test_a_wish_reaches_the_desk_once_in_our_unit_and_sign_with_its_native_words(name: str) -> None:
    async def scene(s: Room) -> None:
        assert (await s.harness.wish(-2e6)).is_taken
        assert (await s.harness.wish(1.5e6)).is_taken
        assert s.desk.effects == [-2e6, 1.5e6]
        assert all(s.desk.frames) and len(set(s.desk.frames)) == 2
        assert all(s.desk.natives)

    play(name, scene)


@every_link
def test_the_same_wish_twice_has_one_effect(name: str) -> None:
    async def scene(s: Room) -> None:
        assert (await s.harness.wish(1e6)).is_taken
        for _ in range(3):
            await s.harness.again()
        assert s.desk.effects == [1e6]

    play(name, scene)


@every_link
def test_a_refusal_of_the_desk_reaches_the_peer_in_its_own_words_and_binds_nobody_later(name: str) -> None:
    async def scene(s: Room) -> None:
        s.desk.refusing = Refusal("not within its limits", "value", "2e6", "1e6")
        refused = await s.harness.wish(2e6)
        assert not refused.is_taken and refused.word not in ("", "no answer")
        assert s.desk.effects == [] and s.harness.health().refused >= 1
        s.desk.refusing = None
        assert (await s.harness.wish(1e6)).is_taken

    play(name, scene)


@every_link
def test_nothing_is_called_taken_before_the_desk_has_answered(name: str) -> None:
    async def scene(s: Room) -> None:
        s.desk.delay_s = 3.0
        began_ns = s.clock.now_ns()
        assert (await s.harness.wish(1e6)).is_taken
        assert s.clock.now_ns() - began_ns >= 3 * SECOND_NS

    play(name, scene)


@every_link
def test_a_desk_that_fails_is_no_success_and_costs_no_later_wish(name: str) -> None:
    async def scene(s: Room) -> None:
        s.desk.is_failing = True
        answer: list[Answer] = []
        asking = asyncio.get_running_loop().create_task(_wish(s, answer))
        await asyncio.sleep(20.0)
        assert s.desk.asked >= 1 and s.desk.effects == []
        assert not any(each.is_taken for each in answer)
        s.desk.is_failing = False
        await asking
        await asyncio.sleep(s.harness.back_s)
        assert (await s.harness.wish(-1e6)).is_taken
        assert s.desk.effects.count(-1e6) == 1 and s.desk.effects.count(1e6) <= 1

    async def _wish(s: Room, answer: list[Answer]) -> None:
        answer.append(await s.harness.wish(1e6))

    play(name, scene)


@every_link
def test_a_wish_that_comes_too_late_reaches_nobody(name: str) -> None:
    async def scene(s: Room) -> None:
        late = await s.harness.late(1e6)
        assert not late.is_taken and late.word
        assert s.desk.effects == []
        assert (await s.harness.wish(2e6)).is_taken

    play(name, scene)


@every_link
def test_who_or_what_stands_on_no_list_moves_nothing(name: str) -> None:
    async def scene(s: Room) -> None:
        await s.harness.stranger(1e6)
        assert s.desk.effects == []
        assert s.harness.health().session is Session.LIVE
        assert (await s.harness.wish(2e6)).is_taken

    play(name, scene)


@every_link
def test_bytes_that_cant_be_read_change_nothing_and_the_next_wish_is_taken(name: str) -> None:
    async def scene(s: Room) -> None:
        await s.harness.spoil()
        assert s.desk.effects == []
        if s.harness.health().session is not Session.LIVE:
            await s.harness.restore()
            await asyncio.sleep(s.harness.back_s)
        assert (await s.harness.wish(2e6)).is_taken
        assert s.desk.effects == [2e6]

    play(name, scene)


@every_link
def test_a_lost_peer_is_told_and_found_again_with_no_wish_carried_out_twice(name: str) -> None:
    async def scene(s: Room) -> None:
        assert (await s.harness.wish(1e6)).is_taken
        for _ in range(3):
            await s.harness.drop()
            await asyncio.sleep(5.0)
            assert s.harness.health().session is s.harness.alone
            assert s.desk.sessions[-1] is s.harness.alone and s.harness.health().peers == 0
            await s.harness.restore()
            await asyncio.sleep(s.harness.back_s)
            assert s.harness.health().session is Session.LIVE
            assert s.desk.sessions[-1] is Session.LIVE
        assert s.desk.effects == [1e6]
        assert (await s.harness.wish(2e6)).is_taken

    play(name, scene)


def test_a_lost_source_is_shown_as_lost_with_its_last_time() -> None:
    """Of the links that bring wishes DNP3 alone shows points. IEEE 1815-2012 11.6: comm lost is flag 4."""

    async def scene(s: Room) -> None:
        harness = s.harness
        assert isinstance(harness, Dnp3Harness)
        taken_ns = s.clock.now_ns()
        await asyncio.sleep(60)
        await harness.publish(Quality.COMM_LOST, taken_ns)
        await asyncio.sleep(1)
        assert harness.shown() == (4, taken_ns // 1_000_000)

    play("dnp3", scene)


@every_link
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_no_wish_has_a_second_effect_and_none_that_was_refused_has_one(name: str, seed: int) -> None:
    async def scene(s: Room) -> None:
        rng, taken, refused = np.random.default_rng(seed), [], []
        for turn in range(12):
            power_w = 1e5 * (turn + 1)
            match int(rng.integers(5)):
                case 0:
                    await s.harness.drop()
                    await s.harness.restore()
                    await asyncio.sleep(s.harness.back_s)
                case 1:
                    await s.harness.again()
                case 2:
                    s.desk.refusing = Refusal("by the operator") if rng.integers(2) else None
                case 3:
                    s.desk.delay_s = float(rng.random()) * 2
            answer = await s.harness.wish(power_w)
            (taken if answer.is_taken else refused).append(power_w)
        for power_w in taken:
            assert s.desk.effects.count(power_w) == 1, power_w
        for power_w in refused:
            assert s.desk.effects.count(power_w) == 0, power_w
        assert taken

    play(name, scene)


CASES = [(name, how, path) for name, make in sorted(UPWARD.items()) for how, path in make().bad_settings]


@pytest.mark.parametrize(("name", "how", "path"), CASES)
def test_a_setting_that_is_unknown_or_cant_be_is_refused_by_its_path(name: str, how: dict, path: str) -> None:
    with pytest.raises((ConfigError, msgspec.ValidationError), match=path):
        UPWARD[name]().check(how)
