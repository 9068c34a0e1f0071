"""Communication fails as the menu says, and devices do with it what devices do."""

import asyncio
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.simulate.faults import DEVICE_FAULTS, STREAM_FAULTS, DeviceFaults, FaultyPath, StreamFaults, faulty_route
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import FOREVER_NS, SECOND_NS

COUNT = 200


class Scene:
    """A link over a world, a clock that is turned by hand, and timers that go off as it turns."""

    def __init__(self, faults: DeviceFaults, seed: int = 1) -> None:
        self.now_ns, self.timers, self.stages, self.seq = 1_000 * SECOND_NS, [], {}, 0
        world = World(build(COUNT, np.random.default_rng(1)), np.random.default_rng(2), with_grid=False)
        clock = SimpleNamespace(now_ns=lambda: self.now_ns)
        self.rows, self.observed_w = np.arange(COUNT, dtype=np.int32), np.full(COUNT, np.nan)
        self.link = ColumnsLink(world, self.rows, self, clock, self.later, faults, np.random.default_rng(seed))

    def later(self, seconds: float, act) -> None:
        self.timers.append((self.now_ns + round(seconds * SECOND_NS), len(self.timers), act))

    def reports(self, found) -> None:
        for row, stage in zip(found.rows.tolist(), found.stage.tolist(), strict=True):
            self.stages.setdefault(row, []).append(Stage(stage))
        self.observed_w[found.rows] = found.observed_w

    def send(self, target_w: float, valid_s: float = 900.0, low_w: float = -np.inf, high_w: float = np.inf) -> None:
        self.seq += 1
        full = np.full(COUNT, float(target_w))
        end_ns = self.now_ns + round(valid_s * SECOND_NS)
        batch = CommandBatch(
            f"batch-{self.seq}", self.rows, full, np.full(COUNT, low_w), np.full(COUNT, high_w), np.zeros(COUNT),
            self.now_ns, self.now_ns, end_ns, 1, self.seq, (),
        )  # fmt: skip
        asyncio.run(self.link.send(batch))

    def turn(self, seconds: float) -> None:
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while due := [each for each in self.timers if each[0] <= end_ns]:
            first = min(due, key=lambda each: each[:2])
            self.timers.remove(first)
            self.now_ns = first[0]
            first[2]()
        self.now_ns = end_ns

    def obeyed(self) -> np.ndarray:
        return self.link.told(self.now_ns)[0]


def test_without_faults_every_command_arrives_once_and_is_answered() -> None:
    scene = Scene(DeviceFaults())
    scene.send(100.0)
    scene.turn(5)
    assert (scene.obeyed() == 100.0).all()
    assert all(stages == [Stage.SENT, Stage.ACCEPTED] for stages in scene.stages.values())
    assert scene.link.duplicates == 0


def test_what_holds_without_end_holds_by_every_clock() -> None:
    """A plug has no timer: by a clock that goes ahead its command was over at once, and its heater ran though off."""
    scene = Scene(DeviceFaults(skew_s=3.0))
    link = scene.link
    link.target_w[:], link.until_ns[:] = 0.0, FOREVER_NS
    assert (link.skew_ns > 0).any() and (scene.obeyed() == 0.0).all()
    link.is_lost[:] = True
    assert (link.alone_until_ns(scene.rows, scene.now_ns) == FOREVER_NS).all()


def test_a_doubled_command_has_one_effect_and_one_answer() -> None:
    scene = Scene(DeviceFaults(doubled=1.0))
    scene.send(100.0)
    scene.turn(80)
    assert scene.link.duplicates == COUNT
    assert all(stages == [Stage.SENT, Stage.ACCEPTED] for stages in scene.stages.values())


def test_a_command_that_was_overtaken_never_undoes_the_newer_one() -> None:
    scene = Scene(DeviceFaults(overtaken=1.0))
    scene.send(100.0)
    scene.turn(60)
    scene.link._faults = DeviceFaults()
    scene.send(200.0)
    scene.turn(60)
    assert (scene.obeyed() == 200.0).all()
    assert scene.link.duplicates == COUNT


def test_what_was_held_and_let_go_too_late_is_not_obeyed() -> None:
    scene = Scene(DeviceFaults(out_of_reach=1.0, held=1.0))
    scene.link.disturb(True)
    scene.send(100.0, valid_s=600.0)
    scene.turn(1_200)
    scene.link.disturb(False)
    assert np.isnan(scene.obeyed()).all()
    assert scene.link.seen["stale"] == COUNT


def test_what_was_held_and_let_go_in_time_is_obeyed() -> None:
    scene = Scene(DeviceFaults(out_of_reach=1.0, held=1.0))
    scene.link.disturb(True)
    scene.send(100.0, valid_s=600.0)
    scene.turn(300)
    scene.link.disturb(False)
    assert (scene.obeyed() == 100.0).all()


def test_a_lost_answer_ends_unconfirmed_though_the_device_obeys() -> None:
    scene = Scene(DeviceFaults(mute=1.0))
    scene.send(100.0)
    scene.turn(120)
    assert (scene.obeyed() == 100.0).all()
    assert all(stages == [Stage.SENT, Stage.UNCONFIRMED] for stages in scene.stages.values())


def test_a_limit_that_the_meter_contradicts_ends_unconfirmed_with_what_the_meter_shows() -> None:
    scene = Scene(DeviceFaults())
    world = scene.link._world
    gives, draws, engine, obeys = (int(row) for row in world.rows[Kind.PV][:4])
    for row, power_w, up_w, down_w in (
        (gives, 3_815.0, 0.0, 3_815.0),
        (draws, -3_000.0, 3_000.0, 0.0),
        (engine, 3_000.0, 1_000.0, 0.0),  # it can't go lower now: in its least time, or at its least
        (obeys, -100.0, 100.0, 100.0),
    ):
        world.power_w[row], world.up_w[row], world.down_w[row] = power_w, up_w, down_w
    scene.send(math.nan, low_w=-500.0, high_w=0.0)
    scene.turn(100)
    ends = {row: scene.stages[row][-1] for row in (gives, draws, engine, obeys)}
    assert ends == {gives: Stage.UNCONFIRMED, draws: Stage.UNCONFIRMED, engine: Stage.DONE, obeys: Stage.DONE}
    assert scene.observed_w[[gives, draws]].tolist() == [3_815.0, -3_000.0]


def test_a_device_that_started_anew_runs_free() -> None:
    scene = Scene(DeviceFaults(out_of_reach=1.0, reboots=1.0))
    scene.send(100.0)
    scene.turn(5)
    scene.link.disturb(True)
    scene.turn(60)
    scene.link.disturb(False)
    assert np.isnan(scene.obeyed()).all()


@pytest.mark.parametrize("name", ["heatwave", "cloud", "comms-loss"])
def test_a_device_out_of_reach_falls_back_at_the_end_of_its_lease(name: str) -> None:
    """Partitioned devices are at their default 5 s after the lease, but for liars and for what their clocks are off."""
    scene = Scene(DEVICE_FAULTS[name])
    scene.send(100.0, valid_s=600.0)
    scene.turn(30)
    scene.link.disturb(True)
    honest = ~scene.link.no_timer & (np.abs(scene.link.skew_ns) < 5 * SECOND_NS)
    scene.turn(600 - 30 + 5)
    assert np.isnan(scene.obeyed()[honest]).all()
    assert honest.sum() > 0.5 * COUNT


def test_only_a_lost_device_has_a_timer_of_its_own_to_go_by_and_an_engines_is_its_least_time() -> None:
    scene = Scene(DeviceFaults(out_of_reach=1.0))
    world = scene.link._world
    scene.send(100.0, valid_s=900.0)
    scene.turn(5)
    assert (scene.link.alone_until_ns(scene.rows, scene.now_ns) == 0).all(), "all are in reach"
    runs = world.engine_rows[:1]
    world.engines.is_on[:], world.engines.held_s[:] = False, 1e6
    world.engines.is_on[0], world.engines.held_s[0] = True, world.engines.min_hold_s[0] - 3_000.0
    scene.link.disturb(True)
    until_s = (scene.link.alone_until_ns(scene.rows, scene.now_ns) - scene.now_ns) / SECOND_NS
    assert until_s[runs] == pytest.approx([3_000.0])
    assert np.delete(until_s, runs) == pytest.approx(895.0), "what it was told ends 900 s after it was"
    scene.turn(1_000)
    until_s = (scene.link.alone_until_ns(scene.rows, scene.now_ns) - scene.now_ns) / SECOND_NS
    assert (np.delete(until_s, runs) <= 0).all()


def test_a_timer_that_lies_holds_on() -> None:
    scene = Scene(DeviceFaults(no_timer=1.0))
    scene.send(100.0, valid_s=60.0)
    scene.turn(600)
    assert (scene.obeyed() == 100.0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(-5e3, 5e3), min_size=2, max_size=5))
def test_whatever_happens_a_device_obeys_one_of_what_it_was_sent_or_nothing(seed: int, targets: list) -> None:
    """Under every fault at once no device holds what nobody sent, and none holds anything when all is over."""
    scene = Scene(
        DeviceFaults(
            out_of_reach=0.3,
            reboots=0.5,
            lost=0.2,
            late=0.3,
            doubled=0.3,
            overtaken=0.2,
            mute=0.2,
            held=0.5,
            skew_s=5.0,
        ),
        seed,
    )
    for k, target in enumerate(targets):
        scene.link.disturb(k % 2 == 1)
        scene.send(target)
        scene.turn(45)
        held = scene.obeyed()
        assert np.isin(held[~np.isnan(held)], targets).all()
    scene.turn(1_000)
    assert np.isnan(scene.obeyed()).all()


# --- streams ---------------------------------------------------------------------------------------------------------


def echo(menu: StreamFaults, seed: int, writes: int) -> tuple[list, Counter]:
    seen: Counter = Counter()

    async def main(loop: VirtualLoop) -> list:
        got: list = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.readexactly(4):
                got.append((int.from_bytes(data), round(loop.time(), 6)))

        server = await asyncio.start_server(take, "127.0.0.1", 502)
        _, writer = await asyncio.open_connection("127.0.0.1", 502)
        for k in range(writes):
            writer.write(k.to_bytes(4))
            await asyncio.sleep(1)
        await asyncio.sleep(500)
        writer.close()
        server.close()
        return got

    return run_virtual(main, Network(faulty_route(menu, seed, seen))), seen


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.floats(0, 0.2), st.floats(0, 0.02), st.floats(0, 0.02))
def test_a_stream_loses_nothing_in_the_middle_and_keeps_its_order(
    seed: int, stall: float, cut: float, half_open: float
) -> None:
    """TCP's promise: what arrives is a beginning of what was sent."""
    got, _ = echo(StreamFaults(jitter_s=0.01, stall=stall, cut=cut, half_open=half_open), seed, 60)
    assert [number for number, _ in got] == list(range(len(got)))


def test_a_stall_holds_bytes_and_lets_them_go_together() -> None:
    got, seen = echo(StreamFaults(stall=0.1, stall_s=30.0), 3, 60)
    waits = [when - number for number, when in got]
    assert len(got) == 60
    assert seen["stall"] > 2
    assert max(waits) > 10 > min(waits)


def test_a_half_open_stream_is_silent_and_says_nothing_of_it() -> None:
    got, seen = echo(StreamFaults(half_open=1.0), 1, 5)
    assert got == []
    assert seen["half_open"] == 5


def test_the_same_seed_draws_the_same_faults() -> None:
    menu = STREAM_FAULTS["comms-loss"]
    one, two = (FaultyPath(menu, np.random.default_rng([5, 77, 1]), Counter()) for _ in range(2))
    assert [one.delay_s(0, 10) for _ in range(2_000)] == [two.delay_s(0, 10) for _ in range(2_000)]


@pytest.mark.parametrize("what", [DeviceFaults, StreamFaults])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused_by_name(what: type, value: float) -> None:
    name = "lost" if what is DeviceFaults else "cut"
    with pytest.raises(ConfigError, match=f"fault {name}="):
        what(**{name: value})


def test_comms_loss_is_worse_than_an_ordinary_day() -> None:
    bad, usual = DEVICE_FAULTS["comms-loss"], DEVICE_FAULTS["heatwave"]
    assert all(
        getattr(bad, name) >= getattr(usual, name) for name in ("ignores", "out_of_reach", "lost", "late", "held")
    )
