"""Echoes that come late, twice, together or not at all: an owner's setting is what he last chose, and nothing of ours."""

import asyncio
import math

import numpy as np
import pytest
import test_late_echoes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from late_device import LateDevice, Manner
from mqtt_room import PLUG, ROOM, Log, Scene
from mqtt_room import settings as mqtt
from test_owners_setpoint import Records

from tieline.desk.facts import SetpointsKept, from_record
from tieline.links.device.mqtt.link import MqttLink
from tieline.links.device.mqtt.setpoints import KeptSetpoints
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.point import code
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.times import SECOND_NS

OWN_C = 23.0
TURNS = [20.0, 26.0, 8.0, 17.0, 11.0, 5.0, 14.0]
"""Apart by more than an offset and each once, so that no owner chooses what we may have written."""
DEAD_S = 20.0
"""What a dead server had sent lands within this; a hand in that time is told from it by nobody."""
CALL, FREE, TURN, DIE, CUT = "call", "free", "turn", "die", "cut"
ROUNDS = [(CALL, 4.0), (FREE, 0.4), (CALL, 5.0), (FREE, 4.0)] * 5


class Run:
    """A run of deeds upon one device, each with the time (s) that follows it; a number is its owner's turn."""

    def __init__(self, row: int, manner: Manner, seed: int, own: float = OWN_C) -> None:
        self.row, self.journal, self.contended = row, Records(), 0
        name, key = {ROOM: ("room", "occupied_cooling_setpoint"), PLUG: ("plug", "state")}[row]
        self.device = LateDevice(name, key, manner, np.random.default_rng(seed), own)
        self.seq, self.quiet_until_s = 0, -math.inf
        self.last: CommandBatch | None = None
        self.took = False
        self.local: list[float] = []
        self.turns = [float(value) for value in self.device.rng.permutation(TURNS)]

    def play(self, deeds: list[tuple[object, float]]) -> "Run":
        async def main(loop: VirtualLoop) -> None:
            clock, broker = VirtualClock(loop, 1_700_000_000 * SECOND_NS), MqttBroker()
            await broker.start(port=1883)
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                supervisor.spawn(self.device.serve(1883), "device")
                left = list(deeds)
                while left:
                    await self._live(clock, loop, broker, left)
                self.device.is_calm = True
                await asyncio.sleep(100.0)
                await self._live(clock, loop, broker, [(None, 100.0), (FREE, 100.0)])

        run_virtual(main)
        return self

    async def _live(self, clock: VirtualClock, loop: VirtualLoop, broker: MqttBroker, left: list) -> None:
        """Run a link till the next death."""
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            kept, log = KeptSetpoints("mqtt", self.journal, clock, supervisor.spawn), Log()
            kept.restore(self.journal)
            link = MqttLink(mqtt(), log, clock, supervisor, np.random.default_rng(2), setpoints=kept)
            if self.last is not None:
                link.remember(self.last, np.full(1, self.took))
            link.start()
            await asyncio.sleep(0.5)
            self.device.is_heard = True
            scene = Scene(clock, loop, broker, None, link, log, self.seq)
            while left:
                deed, wait_s = left.pop(0)
                if deed == DIE:
                    await asyncio.sleep(max(self.quiet_until_s - loop.time(), 0.0))
                    break
                if deed in (CALL, FREE):
                    self.last = scene.batch(self.row, 0.0 if deed == CALL else math.nan)
                    await link.send(self.last)
                elif deed == CUT:
                    broker.stop()
                    self.device.dies(loop.time())
                    await asyncio.sleep(2.0)
                    await broker.start(port=1883)
                    await asyncio.sleep(5.0)
                    self.device.is_heard = True
                elif deed == TURN and self.turns:
                    await asyncio.sleep(max(self.quiet_until_s - loop.time(), 0.0))
                    self.device.turn(self.turns.pop())
                    self.quiet_until_s = loop.time() + DEAD_S
                await asyncio.sleep(wait_s)
            if not left:
                await asyncio.sleep(DEAD_S)
            self.device.dies(loop.time())
            self.quiet_until_s = loop.time() + DEAD_S
            lives = log.stages.get((self.last.id, self.row), []) if self.last is not None else []
            self.took = bool(lives) and lives[-1] in (Stage.ACCEPTED, Stage.DONE) if lives else self.took
            self.seq, self.contended = scene.seq, self.contended + link.counts.contended
            self.local += [
                float(value)
                for batch in log.readings_
                for value in batch.values[(batch.points == code("is_local")) & (batch.rows == self.row)]
            ]
            link.stop()

    def kept(self) -> list[SetpointsKept]:
        """Return what is recorded of owners."""
        return [from_record(record) for record in self.journal.kept]


waits = st.sampled_from([0.1, 0.4, 1.0, 3.0, 8.0, 30.0])
late = st.sampled_from([0.1, 1.0, 8.0])
manners = st.builds(
    Manner, acts_s=late, tells_s=late, deaf_frac=st.sampled_from([0.0, 0.3]),
    mute_frac=st.sampled_from([0.0, 0.5, 1.0]), is_last_only=st.booleans(), is_retained=st.booleans(),
    every_s=st.sampled_from([2.0, 20.0]),
)  # fmt: skip
seeds = st.integers(0, 2**32 - 1)


def deeds(*more: str) -> st.SearchStrategy[list[tuple[str, float]]]:
    return st.lists(st.tuples(st.sampled_from([CALL, CALL, FREE, FREE, *more]), waits), max_size=14)


def own_of(row: int) -> float:
    return OWN_C if row == ROOM else 1.0


@settings(deadline=None, max_examples=60)
@given(manners, seeds, deeds(CUT, DIE, TURN, TURN))
@example(Manner(), 1, ROUNDS)
@example(Manner(), 1, [(CALL, 0.1), (TURN, 30.0)])
@example(Manner(), 1, [(FREE, 0.1), (TURN, 30.0)])
def test_however_late_a_thermostat_speaks_it_ends_as_its_owner_last_chose(
    manner: Manner, seed: int, done: list[tuple[str, float]]
) -> None:
    device = Run(ROOM, manner, seed).play(done).device
    assert device.value in device.chosen


@pytest.mark.parametrize("row", [ROOM, PLUG], ids=["thermostat", "plug"])
@settings(deadline=None, max_examples=40)
@given(manners, seeds, deeds(CUT, DIE))
@example(Manner(), 1, ROUNDS)
@example(Manner(acts_s=8.0, tells_s=8.0), 1, ROUNDS)
@example(Manner(is_last_only=True), 1, ROUNDS)
def test_no_echo_of_ours_is_taken_for_an_owners_hand(
    row: int, manner: Manner, seed: int, done: list[tuple[str, float]]
) -> None:
    run = Run(row, manner, seed, own_of(row)).play(done)
    assert (run.device.value, run.contended, set(run.local)) == (own_of(row), 0, {0.0})
    assert {own for record in run.kept() for own in record.own_c.array().tolist()} <= {own_of(row)}


@pytest.mark.parametrize("row", [ROOM, PLUG], ids=["thermostat", "plug"])
@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Manner, acts_s=late, tells_s=late, deaf_frac=st.sampled_from([0.0, 0.3]), again_frac=st.just(0.3),
        is_last_only=st.booleans(), every_s=st.sampled_from([2.0, 20.0]),
    ),
    seeds, deeds(),
)  # fmt: skip
@example(Manner(again_frac=0.5), 1, ROUNDS)
@example(
    Manner(acts_s=8.0, deaf_frac=0.3, again_frac=0.3, is_last_only=True), 7,
    [(FREE, 30.0), (CALL, 0.1), (CALL, 0.4), (FREE, 30.0), (CALL, 1.0), (FREE, 0.1), (FREE, 0.1), (CALL, 8.0)],
)  # fmt: skip
def test_words_that_come_again_cost_no_owner_his_setting(
    row: int, manner: Manner, seed: int, done: list[tuple[str, float]]
) -> None:
    """Also where a hand-back is lost, and an old word of what its owner had looks like its echo."""
    assert Run(row, manner, seed, own_of(row)).play(done).device.value == own_of(row)


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Manner, acts_s=late, tells_s=late, is_last_only=st.booleans(), rounds_to=st.sampled_from([0.0, 1.0]),
        most=st.sampled_from([24.0, 24.5, 25.0]), every_s=st.just(2.0),
    ),
    seeds, deeds(DIE),
)  # fmt: skip
@example(Manner(most=24.5, every_s=2.0), 1, ROUNDS)
@example(Manner(most=24.5, every_s=2.0, tells_s=8.0), 1, [(FREE, 3.0), (CALL, 0.4), (DIE, 8.0), (FREE, 8.0)])
def test_what_a_device_makes_of_a_setpoint_that_it_cant_hold_is_not_its_owners(
    manner: Manner, seed: int, done: list[tuple[str, float]]
) -> None:
    run = Run(ROOM, manner, seed).play(done)
    assert (run.device.value, run.contended) == (OWN_C, 0)


@pytest.mark.parametrize("seed", range(8))
def test_a_hand_that_a_dead_servers_hand_back_lands_over_stands_where_it_was_heard(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on its way as the server died; the owner turned the knob before it came."""
    monkeypatch.setattr(test_late_echoes, "DEAD_S", 0.0)
    manner = Manner(acts_s=8.0, tells_s=0.1, every_s=2.0)
    deeds = [(FREE, 3.0), (CALL, 30.0), (FREE, 0.1), (DIE, 0.1), (TURN, 30.0)]
    device = Run(ROOM, manner, seed).play(deeds).device
    assert device.value in device.chosen
