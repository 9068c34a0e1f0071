"""The MQTT link on virtual time: three states apart, hold times, hand-back, owners, loss and bad messages."""

import asyncio
import math

import numpy as np
import pytest
from mqtt_room import HEATER, PLUG, ROOM, Log, Scene, play, settings

from tieline.desk.ports import Session
from tieline.errors import ConfigError
from tieline.links.device.mqtt.link import MqttDevice, MqttLink
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker, User
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.times import SECOND_NS


def test_a_plug_is_told_echoes_and_is_seen_in_three_separate_states() -> None:
    ids: list = []

    async def scene(s: Scene) -> None:
        ids.append(await s.command(PLUG, 0.0))
        assert s.log.last(PLUG, "power_w")[:2] == (0.0, Quality.GOOD)
        health = s.link.health()
        assert (health.session, health.peers, health.sent, health.errors) == (Session.LIVE, 3, 1, 0)

    s = play(scene)
    assert s.life(ids[0], PLUG) == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
    assert s.unit(PLUG).heard == [b'{"state":"OFF"}']


def test_consumption_comes_in_negative_and_kilowatt_hours_as_watt_hours() -> None:
    async def scene(s: Scene) -> None:
        await asyncio.sleep(1_800)

    s = play(scene)
    assert s.log.last(PLUG, "power_w")[0] == -2_000.0
    used_wh = s.log.last(ROOM, "energy_imported_wh")[0]
    assert 200 < used_wh < 900  # 2 kW for half an hour, at a duty that is neither none nor whole


def test_a_thermostat_sheds_by_its_offset_and_gets_its_own_setpoint_back_when_time_is_over() -> None:
    ids, setpoints = [], []

    async def scene(s: Scene) -> None:
        ids.append(await s.command(ROOM, 0.0, wait_s=300.0, seconds=3_600.0))
        setpoints.append(s.log.last(ROOM, "setpoint_c")[0])
        await asyncio.sleep(3_400)
        setpoints.append(s.log.last(ROOM, "setpoint_c")[0])

    s = play(scene)
    assert setpoints == [25.0, 23.0]
    assert s.life(ids[0], ROOM)[-1] is Stage.DONE
    assert (s.link.counts.released, s.link.counts.unreleased) == (1, 0)


def test_a_device_that_says_yes_and_does_nothing_is_not_taken_for_obedient() -> None:
    ids: list = []

    async def scene(s: Scene) -> None:
        s.unit(PLUG).fault.only_says = True
        ids.append(await s.command(PLUG, 0.0, wait_s=60.0))

    s = play(scene)
    assert s.life(ids[0], PLUG) == [Stage.SENT, Stage.ACCEPTED, Stage.UNCONFIRMED]
    assert s.log.observed[-1] == -2_000.0
    assert "still at -2000 W" in s.log.natives


def test_silence_is_asked_once_ends_unconfirmed_and_is_never_sent_again() -> None:
    ids: list = []

    async def scene(s: Scene) -> None:
        s.unit(PLUG).fault.ignores = True
        ids.append(await s.command(PLUG, 0.0, wait_s=600.0, seconds=300.0))

    s = play(scene)
    assert s.life(ids[0], PLUG) == [Stage.SENT, Stage.UNCONFIRMED]
    assert s.unit(PLUG).heard.count(b'{"state":"OFF"}') == 1
    assert s.log.words[-1] is RejectWord.TIMEOUT
    assert "the broker has it" in s.log.natives[-1]


def test_a_late_echo_within_the_second_wait_still_counts() -> None:
    ids: list = []

    async def scene(s: Scene) -> None:
        s.unit(PLUG).fault.late_s = 14.0
        ids.append(await s.command(PLUG, 0.0, wait_s=60.0))

    assert play(scene).life(ids[0], PLUG) == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]


def test_an_expired_command_is_never_sent() -> None:
    ids: list = []

    async def scene(s: Scene) -> None:
        ids.append(await s.command(PLUG, 0.0, seconds=-5.0))

    s = play(scene)
    assert s.life(ids[0], PLUG) == [Stage.EXPIRED]
    assert s.unit(PLUG).heard == []


def test_the_same_batch_twice_and_an_older_one_have_no_second_effect() -> None:
    async def scene(s: Scene) -> None:
        first, second = s.batch(PLUG, 0.0), s.batch(PLUG, -2_000.0)
        for batch in (first, first, second, first, second):
            await s.link.send(batch)
            await asyncio.sleep(5)

    s = play(scene)
    assert s.unit(PLUG).heard == [b'{"state":"OFF"}', b'{"state":"ON"}']
    assert [life[-1] for life in s.log.stages.values()] == [Stage.DONE, Stage.DONE]


def test_the_least_time_on_of_a_heater_is_waited_for() -> None:
    heard: list = []

    async def scene(s: Scene) -> None:
        await s.command(HEATER, 0.0, wait_s=1.0)
        await s.command(HEATER, -2_000.0, wait_s=50.0)
        heard.append(list(s.unit(HEATER).heard))
        await asyncio.sleep(20)
        heard.append(list(s.unit(HEATER).heard))

    play(scene)
    assert heard == [[b'{"state":"OFF"}'], [b'{"state":"OFF"}', b'{"state":"ON"}']]


def test_an_occupants_hand_stands_and_is_kept_when_the_command_ends() -> None:
    setpoints: list = []

    async def scene(s: Scene) -> None:
        await s.command(ROOM, 0.0, wait_s=600.0, seconds=1_800.0)
        s.unit(ROOM).body.set("setpoint_c", 22.0)
        await asyncio.sleep(61)
        assert s.log.last(ROOM, "setpoint_c")[1] is Quality.GOOD  # it is measured well; it is only not ours
        assert (s.log.last(ROOM, "is_local")[0], s.log.last(ROOM, "available_up_w")[0]) == (1.0, 0.0)
        await asyncio.sleep(2_000)
        setpoints.append(s.log.last(ROOM, "setpoint_c")[0])

    s = play(scene)
    assert setpoints == [22.0]
    assert s.unit(ROOM).heard == [b'{"occupied_cooling_setpoint":25.0}']
    assert s.link.counts.contended == 1
    assert "somebody else" in " ".join(health.last_error for health in s.log.healths)


def test_another_controller_is_answered_by_one_more_write_and_no_tug_of_war() -> None:
    async def scene(s: Scene) -> None:
        await s.command(PLUG, 0.0, wait_s=60.0)
        for _ in range(4):
            s.unit(PLUG).body.set("is_on", 1.0)
            await asyncio.sleep(61)

    s = play(scene)
    assert s.unit(PLUG).heard == [b'{"state":"OFF"}'] * 2
    assert s.link.counts.contended == 2


def test_a_load_offers_what_it_draws_upwards_and_the_rest_of_its_rating_downwards() -> None:
    seen: list = []

    async def scene(s: Scene) -> None:
        for target_w in (math.nan, 0.0):
            await s.command(PLUG, target_w)
            seen.append(tuple(s.log.last(PLUG, key)[0] for key in ("available_up_w", "available_down_w")))

    play(scene)
    assert seen == [(2_000.0, 0.0), (0.0, 2_000.0)]


def test_timers_follow_a_clock_that_runs_faster_than_the_loop() -> None:
    from tieline.rim.clock import PacedClock

    async def main(loop: VirtualLoop) -> list:
        clock, log = PacedClock(1_700_000_000 * SECOND_NS, 60.0), Log()
        broker = MqttBroker()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            unit = MqttUnit("plug", PlugBody(2_000.0))
            devices = MqttDevices([unit], supervisor, "127.0.0.1", 1883, every_s=1.0)
            devices.start()
            link = MqttLink(settings(), log, clock, supervisor, np.random.default_rng(2), speed=60.0)
            link.start()
            await asyncio.sleep(3)
            scene = Scene(clock, loop, broker, devices, link, log)
            await link.send(scene.batch(PLUG, 0.0, seconds=600.0))
            await asyncio.sleep(9)
            before = list(unit.heard)
            await asyncio.sleep(3)
            return [before, unit.heard]

    assert run_virtual(main) == [[b'{"state":"OFF"}'], [b'{"state":"OFF"}', b'{"state":"ON"}']]


def test_a_device_that_does_not_follow_its_hand_back_is_named() -> None:
    async def scene(s: Scene) -> None:
        await s.command(PLUG, 0.0, wait_s=30.0, seconds=100.0)
        s.unit(PLUG).fault.ignores = True
        await asyncio.sleep(200)

    s = play(scene)
    assert s.link.counts.unreleased == 1
    assert s.link.counts.last_error == "plug: still is_on = 0 after its command ran out"


def test_a_lost_broker_marks_points_with_their_last_time_and_what_waits_goes_out_when_it_is_back() -> None:
    seen, ids = {}, []

    async def scene(s: Scene) -> None:
        await asyncio.sleep(61)
        before = s.log.last(PLUG, "power_w")
        s.broker.stop()
        await asyncio.sleep(5)
        seen["lost"] = s.log.last(PLUG, "power_w")
        ids.append(await s.command(PLUG, 0.0, seconds=600.0))
        ids.append(await s.command(HEATER, 0.0, seconds=20.0))
        await asyncio.sleep(60)
        await s.broker.start(port=1883)
        await asyncio.sleep(120)
        assert seen["lost"] == (before[0], Quality.COMM_LOST, before[2])

    s = play(scene)
    assert [h.session for h in s.log.healths][:7] == [
        Session.ASSOCIATED, Session.SYNCING, Session.LIVE, Session.DOWN, Session.ASSOCIATED, Session.SYNCING,
        Session.LIVE,
    ]  # fmt: skip
    assert s.life(ids[0], PLUG) == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
    assert s.life(ids[1], HEATER) == [Stage.EXPIRED]
    assert s.unit(HEATER).heard == []


def test_a_device_out_of_reach_is_marked_and_told_when_it_is_back() -> None:
    lives: list = []

    async def scene(s: Scene) -> None:
        s.devices.leave(s.unit(PLUG))
        await asyncio.sleep(1)
        assert s.log.last(PLUG, "power_w")[1] is Quality.COMM_LOST
        batch = await s.command(PLUG, 0.0, wait_s=30.0)
        lives.append(list(s.life(batch, PLUG)))
        s.devices.come(s.unit(PLUG))
        await asyncio.sleep(5)
        lives.append(list(s.life(batch, PLUG)))

    play(scene)
    assert lives == [[], [Stage.SENT, Stage.ACCEPTED, Stage.DONE]]


def test_a_device_that_says_nothing_goes_stale_with_its_last_time() -> None:
    seen: list = []

    async def scene(s: Scene) -> None:
        before = s.log.last(PLUG, "power_w")[2]
        s.unit(PLUG).fault.is_silent = True
        await asyncio.sleep(500)
        value, quality, taken = s.log.last(PLUG, "power_w")
        seen.append((value, quality, taken == before))

    play(scene)
    assert seen == [(-2_000.0, Quality.NOT_TOPICAL, True)]


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"\xff", b'{"power": "much"}', b'{"power": true}', b'{"power": 1e999}', b'{"power": NaN}',
     b'{"power": 5, "state": "MAYBE"}', b"[" * 9_000, b'{"power": ' + b"9" * 5_000 + b"}", b" " * 20_000],
)  # fmt: skip
def test_a_message_that_cant_be_read_is_counted_and_changes_nothing(payload: bytes) -> None:
    async def scene(s: Scene) -> None:
        before = s.log.last(PLUG, "power_w")
        s.devices._client.publish("zigbee2mqtt/plug", payload)
        await asyncio.sleep(1)
        assert s.log.last(PLUG, "power_w") == before
        assert s.link.counts.unread == 1
        assert "zigbee2mqtt/plug" in s.link.counts.last_error
        await s.command(PLUG, 0.0)

    s = play(scene)
    assert s.life("c1", PLUG)[-1] is Stage.DONE


def test_a_limit_rests_a_load_that_can_only_run_whole() -> None:
    async def scene(s: Scene) -> None:
        await s.command(PLUG, math.nan, low_w=-1_000.0)

    s = play(scene)
    assert s.unit(PLUG).heard == [b'{"state":"OFF"}']


def test_commands_go_out_no_faster_than_the_rate() -> None:
    async def scene(s: Scene) -> None:
        now, count = s.clock.now_ns(), 3
        rows = np.array([PLUG, ROOM, HEATER], np.int32)
        free, zero = np.full(count, np.inf), np.zeros(count)
        batch = CommandBatch("r", rows, zero, -free, free, zero, now, now, now + 60 * SECOND_NS, 1, 1, ())
        await s.link.send(batch)
        await asyncio.sleep(0.1)
        assert s.link.counts.sent == 1
        await asyncio.sleep(5)
        assert s.link.counts.sent == 3

    play(scene, rate_per_s=1.0)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"port": 0}, r"\$\.mqtt\.port"),
        ({"ack_s": 0.0}, r"\$\.mqtt\.ack_s"),
        ({"ack_s": math.nan}, r"\$\.mqtt\.ack_s"),
        ({"rate_per_s": 0.0}, r"\$\.mqtt\.rate_per_s"),
        ({"contract": "homie"}, "zigbee2mqtt"),
        ({"contract": "../secret"}, "unknown"),
        ({"prefix": "a/#"}, "prefix"),
        ({"password_file": "/none"}, r"\$\.mqtt\.user"),
        ({"host": "10.0.0.9", "user": "u"}, r"\$\.mqtt\.authority"),
        ({"certificate": "c.pem"}, r"\$\.mqtt\.certificate"),
        ({"devices": {1: MqttDevice("p", "toaster", Rating())}}, "toaster"),
        ({"devices": {1: MqttDevice("p/+", "plug", Rating())}}, "device"),
    ],
)
def test_a_crooked_setting_is_refused_by_its_path(how: dict, path: str) -> None:
    import msgspec

    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 0)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            given = msgspec.structs.replace(settings(), **how)
            with pytest.raises(ConfigError, match=path):
                MqttLink(given, Log(), clock, supervisor, np.random.default_rng(2))

    run_virtual(main)


# --- the broker -------------------------------------------------------------------------------------------------------


def test_the_broker_lets_each_user_hear_and_write_only_its_own() -> None:
    from tieline.errors import PeerError
    from tieline.rim.mqtt import MqttClient
    from tieline.wire.mqtt.packets import Connect

    async def main(loop: VirtualLoop) -> None:
        broker = MqttBroker({"meter": User(b"m", ("meter/#",), ("meter/+/power",)), "desk": User(b"d")})
        await broker.start(port=1)
        heard: list = []
        desk = MqttClient(Connect("d", user="desk", password=b"d"), lambda m: heard.append((m.topic, m.payload)))
        await desk.open("127.0.0.1", 1)
        await desk.subscribe(["#"])
        meter = MqttClient(Connect("m", user="meter", password=b"m"), lambda m: None)
        await meter.open("127.0.0.1", 1)
        meter.publish("meter/1/power", b"5")
        meter.publish("desk/secret", b"x")
        await asyncio.sleep(1)
        assert heard == [("meter/1/power", b"5")] and broker.denied == 1
        for filter_ in ("#", "desk/x", "+/1/power"):
            with pytest.raises(PeerError, match="refused"):
                await meter.subscribe([filter_])
        await meter.subscribe(["meter/1/#"])
        for user, password in (("meter", b"wrong"), ("nobody", b""), (None, None)):
            bad = MqttClient(Connect("b", user=user, password=password), lambda m: None)
            with pytest.raises(PeerError, match="bad user name or password"):
                await bad.open("127.0.0.1", 1)

    run_virtual(main)


def test_a_broker_open_to_anyone_listens_on_loopback_only() -> None:
    async def main(loop: VirtualLoop) -> None:
        with pytest.raises(ConfigError, match=r"\$\.mqtt\.host"):
            await MqttBroker().start("0.0.0.0", 1)

    run_virtual(main)
