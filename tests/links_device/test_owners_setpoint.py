"""What the owner of a thermostat or a plug had set outlives us, wherever we die: ours is never taken for it."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kept_room import Records
from mqtt_room import PLUG, ROOM, Log, Scene
from mqtt_room import settings as mqtt

from tieline.links.device.mqtt.link import MqttLink
from tieline.links.device.mqtt.setpoints import KeptSetpoints
from tieline.resource.batch import CommandBatch
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody, RoomBody
from tieline.times import SECOND_NS

OWN_C, LATE_S = 23.0, 0.1


@dataclass
class House:
    """A room, a plug, their broker and the journal, which outlive each server of ours."""

    clock: VirtualClock
    loop: VirtualLoop
    broker: MqttBroker
    devices: MqttDevices
    unit: MqttUnit
    journal: Records
    seq: int = 0
    setpoints: list[float] = field(default_factory=list)

    async def serve(
        self, scene: Callable[[Scene], Awaitable[None]], last: CommandBatch | None = None, took: bool = True
    ) -> None:
        """Run a link till the scene is over, and let it die there; `last` is what was told before it."""
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            kept = KeptSetpoints("mqtt", self.journal, self.clock, supervisor.spawn)
            kept.restore(self.journal)
            link = MqttLink(mqtt(), Log(), self.clock, supervisor, np.random.default_rng(2), setpoints=kept)
            if last is not None:
                link.remember(last, np.full(1, took))
            link.start()
            one = Scene(self.clock, self.loop, self.broker, self.devices, link, link._intake, self.seq)
            await scene(one)
            self.seq = one.seq
            link.stop()

    @property
    def plug(self) -> MqttUnit:
        return self.devices.units["plug"]

    @property
    def is_on(self) -> bool:
        return self.plug.body.read()["is_on"] == 1.0

    @property
    def setpoint_c(self) -> float:
        return self.unit.body.read()["setpoint_c"]


def live(scene: Callable[[House], Awaitable[None]], is_on: bool = True) -> House:
    async def main(loop: VirtualLoop) -> House:
        clock, broker = VirtualClock(loop, 1_700_000_000 * SECOND_NS), MqttBroker()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            room = MqttUnit("room", RoomBody(clock, 2_000.0, OWN_C, 35.0), "cool")
            room.fault.late_s = LATE_S
            plug = MqttUnit("plug", PlugBody(2_000.0, is_on))
            plug.fault.late_s = LATE_S
            devices = MqttDevices([plug, room], supervisor, "127.0.0.1", 1883, every_s=60.0)
            devices.start()
            house = House(clock, loop, broker, devices, room, Records())
            await scene(house)
        return house

    return run_virtual(main)


def told(target_w: float, wait_s: float, row: int = ROOM) -> Callable[[Scene], Awaitable[None]]:
    async def scene(s: Scene) -> None:
        await asyncio.sleep(1.0)
        await s.command(row, target_w, wait_s=wait_s)

    return scene


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0.0, 0.5), st.sampled_from([0.0, -2_000.0])), min_size=1, max_size=4),
    st.none() | st.tuples(st.integers(0, 3), st.sampled_from([20.5, 22.0, 24.5])),
)
@example([(0.5, 0.0)], None)
@example([(0.5, 0.0), (0.5, 0.0), (0.5, -2_000.0)], None)
@example([(0.06, 0.0)], (0, 22.0))
def test_wherever_a_server_dies_its_owner_gets_back_what_he_had_set_or_has_set_since(
    lives: list[tuple[float, float]], turned: tuple[int, float] | None
) -> None:
    """Servers die within half a second of a call, as it is recorded, sent, and taken; the owner turns it in between."""

    async def scene(house: House) -> None:
        for at, (dies_s, target_w) in enumerate(lives):
            await house.serve(told(target_w, dies_s))
            await asyncio.sleep(1.0)
            if turned is not None and turned[0] == at:
                house.unit.body.set("setpoint_c", turned[1])
        await house.serve(told(math.nan, 5.0))

    is_turned = turned is not None and turned[0] < len(lives)
    assert live(scene).setpoint_c == (turned[1] if is_turned else OWN_C)


def test_a_call_after_a_restart_goes_no_further_from_the_owner() -> None:
    async def scene(house: House) -> None:
        for _ in range(3):
            await house.serve(told(0.0, 5.0))
            house.setpoints.append(house.setpoint_c)

    assert live(scene).setpoints == [OWN_C + 2.0] * 3


def test_a_call_that_runs_out_while_no_server_runs_is_ended_by_the_next() -> None:
    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []

        async def call(s: Scene) -> None:
            await asyncio.sleep(1.0)
            batches.append(s.batch(ROOM, 0.0, seconds=60.0))
            await s.link.send(batches[0])
            await asyncio.sleep(5.0)

        await house.serve(call)
        await asyncio.sleep(200_000.0)
        house.setpoints.append(house.setpoint_c)
        await house.serve(lambda s: asyncio.sleep(5.0), batches[0])

    house = live(scene)
    assert (house.setpoints, house.setpoint_c) == ([OWN_C + 2.0], OWN_C)


def test_what_the_owner_set_while_no_server_ran_is_left_alone_as_the_call_runs_out() -> None:
    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []

        async def call(s: Scene) -> None:
            await asyncio.sleep(1.0)
            batches.append(s.batch(ROOM, 0.0, seconds=60.0))
            await s.link.send(batches[0])
            await asyncio.sleep(5.0)

        await house.serve(call)
        house.unit.body.set("setpoint_c", 21.5)
        house.unit.heard.clear()
        await house.serve(lambda s: asyncio.sleep(120.0), batches[0])

    house = live(scene)
    assert (house.setpoint_c, house.unit.heard) == (21.5, [])


def test_no_offset_leaves_before_its_owners_setpoint_would_outlive_us() -> None:
    async def scene(house: House) -> None:
        async def call(s: Scene) -> None:
            await asyncio.sleep(1.0)
            house.journal.is_down = True
            await s.command(ROOM, 0.0, wait_s=30.0)
            house.setpoints.append(house.setpoint_c)
            house.journal.is_down = False
            await asyncio.sleep(5.0)
            house.setpoints.append(house.setpoint_c)

        await house.serve(call)

    assert live(scene).setpoints == [OWN_C, OWN_C + 2.0]


def test_a_setpoint_that_was_ours_once_is_the_owners_where_he_sets_it_after_he_got_his_own_back() -> None:
    async def scene(house: House) -> None:
        async def there_and_back(s: Scene) -> None:
            await told(0.0, 5.0)(s)
            await s.command(ROOM, math.nan, wait_s=5.0)

        await house.serve(there_and_back)
        house.unit.body.set("setpoint_c", OWN_C + 2.0)
        await house.serve(told(0.0, 5.0))
        house.setpoints.append(house.setpoint_c)
        await house.serve(told(math.nan, 5.0))

    house = live(scene)
    assert (house.setpoints, house.setpoint_c) == ([OWN_C + 4.0], OWN_C + 2.0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_call_of_a_restart_is_one_record_and_its_end_another(count: int) -> None:
    async def scene(house: House) -> None:
        for _ in range(count):
            await house.serve(told(0.0, 5.0))
        await house.serve(told(math.nan, 5.0))

    assert len(live(scene).journal.kept) == 2


# --- what is behind a switch ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    st.booleans(),
    st.lists(st.tuples(st.floats(0.0, 0.5), st.sampled_from([0.0, -2_000.0])), min_size=1, max_size=4),
)
@example(False, [(0.5, 0.0)])
@example(True, [(0.5, 0.0)])
@example(False, [(0.5, -2_000.0), (0.5, 0.0)])
def test_wherever_a_server_dies_a_plug_is_handed_back_as_its_owner_had_it(
    is_on: bool, lives: list[tuple[float, float]]
) -> None:
    async def scene(house: House) -> None:
        for dies_s, target_w in lives:
            await house.serve(told(target_w, dies_s, PLUG))
            await asyncio.sleep(1.0)
        await house.serve(told(math.nan, 5.0, PLUG))

    assert live(scene, is_on).is_on is is_on


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("target_w", [0.0, -2_000.0])
def test_as_its_command_runs_out_a_plug_is_as_its_owner_had_it(is_on: bool, dies: bool, target_w: float) -> None:
    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []

        async def call(s: Scene) -> None:
            await asyncio.sleep(1.0)
            batches.append(s.batch(PLUG, target_w, seconds=60.0))
            await s.link.send(batches[0])
            await asyncio.sleep(5.0 if dies else 120.0)

        await house.serve(call)
        if dies:
            await asyncio.sleep(200.0)
            assert house.is_on is (target_w < 0.0)
            await house.serve(lambda s: asyncio.sleep(5.0), batches[0])

    assert live(scene, is_on).is_on is is_on


def test_a_plug_that_its_owner_turned_off_between_two_calls_is_not_turned_on_by_the_end_of_the_second() -> None:
    async def scene(house: House) -> None:
        async def twice(s: Scene) -> None:
            await told(0.0, 5.0, PLUG)(s)
            await s.command(PLUG, math.nan, wait_s=5.0)
            assert house.is_on
            house.plug.body.set("is_on", 0.0)
            await asyncio.sleep(61.0)  # it tells its state each minute
            await s.command(PLUG, 0.0, wait_s=5.0)

        await house.serve(twice)
        house.plug.heard.clear()
        await house.serve(told(math.nan, 5.0, PLUG))

    house = live(scene)
    assert (house.is_on, b'{"state":"ON"}' in house.plug.heard) == (False, False)


def test_a_plug_that_an_older_version_turned_off_is_handed_back_by_being_turned_on() -> None:
    """Nothing was kept of its owner then."""

    async def scene(house: House) -> None:
        batches: list[CommandBatch] = []

        async def call(s: Scene) -> None:
            await asyncio.sleep(1.0)
            batches.append(s.batch(PLUG, 0.0, seconds=60.0))
            await s.link.send(batches[0])
            await asyncio.sleep(5.0)

        await house.serve(call)
        house.journal.kept.clear()
        await house.serve(lambda s: asyncio.sleep(120.0), batches[0])

    assert live(scene).is_on
