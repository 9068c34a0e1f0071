"""The MQTT link and broker against mosquitto, an independent implementation, over real sockets."""

import asyncio
import contextlib
import json
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import uvloop
from mqtt_room import Log
from test_mqtt_takeover import other_desk

from ports import free_port
from tieline.desk.ports import Session
from tieline.links.device.mqtt.endings import SESSION_ENDED
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality
from tieline.rim.certificates import Authority
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.mqtt_broker import MqttBroker, User
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not (MOSQUITTO and PUB and SUB), reason="mosquitto and mosquitto-clients are not installed"),
]


@contextlib.asynccontextmanager
async def mosquitto(folder: Path, *lines: str) -> AsyncIterator[int]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "user root", *lines]) + "\n")
    process = await asyncio.create_subprocess_exec(
        str(MOSQUITTO), "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        for _ in range(1_200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def run(*command: str, seconds: float = 60.0) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(seconds):
        out, _ = await process.communicate()
    return out


async def until(holds: object, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  it looks at another process
            await asyncio.sleep(0.02)


def settings(port: int, **how: object) -> MqttSettings:
    device = MqttDevice("plug", "plug", Rating(max_absorb_w=2_000.0))
    return MqttSettings("127.0.0.1", port, {3: device}, ack_s=3.0, **how)


def off(clock: SystemClock) -> CommandBatch:
    now, one = clock.now_ns(), np.ones(1)
    return CommandBatch(
        "c1", np.array([3], np.int32), 0 * one, -math.inf * one, math.inf * one, 0 * one, now, now, now + 60 * 10**9,
        1, 1, (),
    )  # fmt: skip


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_link_and_devices_meet_over_mosquitto_with_users_and_access_lists(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        (tmp_path / "acl").write_text(
            "user desk\ntopic read zigbee2mqtt/#\ntopic write zigbee2mqtt/+/set\ntopic write zigbee2mqtt/+/get\n"
            "user gateway\ntopic readwrite zigbee2mqtt/#\n"
        )
        (tmp_path / "password").write_text("d3sk\n")
        for user, secret in (("desk", "d3sk"), ("gateway", "g4te")):
            how = ["-b"] if (tmp_path / "users").exists() else ["-c", "-b"]
            await run("mosquitto_passwd", *how, str(tmp_path / "users"), user, secret)
        lines = (f"acl_file {tmp_path / 'acl'}", f"password_file {tmp_path / 'users'}")
        clock, log = SystemClock(), Log()
        async with mosquitto(tmp_path, *lines) as port, Supervisor(np.random.default_rng(1)) as supervisor:
            plug = MqttUnit("plug", PlugBody(2_000.0))
            MqttDevices([plug], supervisor, "127.0.0.1", port, user="gateway", password=b"g4te").start()
            given = settings(port, user="desk", password_file=str(tmp_path / "password"))
            link = MqttLink(given, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await until(lambda: log.readings_)
            await link.send(off(clock))
            await until(lambda: log.stages.get(("c1", 3), [])[-1:] == [Stage.DONE])
            assert log.stages[("c1", 3)] == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
            assert log.last(3, "power_w")[:2] == (0.0, Quality.GOOD)
            link.stop()

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_mosquitto_gives_our_id_to_whoever_comes_with_it_and_the_link_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with mosquitto(tmp_path, "allow_anonymous true") as port, Supervisor(np.random.default_rng(1)) as tasks:
            given = settings(port, client_id="desk")
            link = MqttLink(given, Log(), SystemClock(), tasks, np.random.default_rng(2))
            link.start()
            await until(lambda: link.health().session is Session.LIVE)
            other = asyncio.create_task(other_desk("desk", port))
            await until(lambda: link.health().last_error.startswith(SESSION_ENDED))
            assert "'desk'" in link.health().last_error
            other.cancel()
            link.stop()

    asyncio.run(main())


def test_mosquitto_pub_plays_the_device_and_mosquitto_sub_hears_the_command(tmp_path: Path) -> None:
    async def main() -> None:
        clock, log = SystemClock(), Log()
        async with mosquitto(tmp_path, "allow_anonymous true") as port, Supervisor(np.random.default_rng(1)) as tasks:
            where = ["-h", "127.0.0.1", "-p", str(port)]
            link = MqttLink(settings(port), log, clock, tasks, np.random.default_rng(2))
            link.start()
            await until(lambda: link.health().session is Session.LIVE)
            await run(str(PUB), *where, "-t", "zigbee2mqtt/plug", "-m", '{"power": 1500, "state": "ON"}')
            await until(lambda: log.readings_)
            assert log.last(3, "power_w")[0] == -1_500.0
            await run(str(PUB), *where, "-r", "-t", "ready", "-m", "yes")
            topics = ("-t", "zigbee2mqtt/plug/set", "-t", "ready")
            hears = await asyncio.create_subprocess_exec(
                str(SUB), *where, *topics, "-C", "2", stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(60.0):  # what is retained comes after both topics were subscribed to
                assert await hears.stdout.readline() == b"yes\n"
                await link.send(off(clock))
                assert json.loads(await hears.stdout.readline()) == {"state": "OFF"}
                await hears.wait()
            await run(str(PUB), *where, "-q", "1", "-t", "zigbee2mqtt/plug", "-m", '{"power": 0, "state": "OFF"}')
            await until(lambda: log.stages.get(("c1", 3), [None])[-1] is Stage.DONE)
            link.stop()

    asyncio.run(main())


def test_mosquittos_clients_work_our_broker_and_a_wrong_password_is_refused() -> None:
    async def main() -> None:
        broker = MqttBroker({"u": User(b"p", ("a/#",), ("a/#",))})
        await broker.start()
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", "u"]
        hears = asyncio.ensure_future(run(str(SUB), *where, "-P", "p", "-q", "1", "-t", "a/+", "-C", "2", "-v"))
        await until(lambda: any(session.filters for session in broker.sessions.values()))
        await run(str(PUB), *where, "-P", "p", "-q", "1", "-t", "a/b", "-m", "one")
        await run(str(PUB), *where, "-P", "p", "-t", "a/c", "-m", "two", "-r")
        assert await hears == b"a/b one\na/c two\n"
        assert await run(str(SUB), *where, "-P", "p", "-t", "a/c", "-C", "1") == b"two\n"  # retained
        assert await run(str(PUB), *where, "-P", "wrong", "-t", "a/b", "-m", "x") == b""
        assert broker.passed == 2  # the retained one was kept, not passed on
        broker.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_over_tls_only_a_broker_of_the_authority_is_trusted(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SystemClock()
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        ours, other = (Authority(folder, clock) for folder in folders)
        files, client = ours.issue("broker", "127.0.0.1"), ours.issue("desk")
        lines = ("allow_anonymous true", f"cafile {files.authority}", f"certfile {files.certificate}")
        lines += (f"keyfile {files.key}", "require_certificate true")
        async with mosquitto(tmp_path, *lines) as port, Supervisor(np.random.default_rng(1)) as tasks:
            found = {}
            for authority in (ours, other):
                given = settings(
                    port, authority=str(authority.file), certificate=str(client.certificate), key=str(client.key)
                )
                link = MqttLink(given, Log(), clock, tasks, np.random.default_rng(2), f"mqtt {authority.file}")
                link.start()
                found[authority] = link
            await until(lambda: found[ours].health().session is Session.LIVE)
            await until(lambda: "certificate verify failed" in found[other].health().last_error)
            assert found[other].health().session is Session.DOWN

    asyncio.run(main())
