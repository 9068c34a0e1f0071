"""`tieline serve` as its own process, with every link of its settings raised against peers on real sockets."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

import tieline.node.serve  # noqa: F401  loaded before the verb is, which then says nothing of loading it
from ports import free_port
from tieline.links.device.sunspec_models import model
from tieline.node.cli import main
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.scada import Scada
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

ISO = Path(__file__).parents[1] / "peers" / "iso_stdlib.py"
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,pool-1
hybrid-1,hybrid_site,4000,4000,8000,feeder-1,site-2,pool-1
"""
SETTINGS = """
name = "works"
zone = "America/Chicago"
jurisdiction = "US-TX"
port = 0

[[peers]]
name = "dno"
ceiling = "ENVELOPE"
resources = ["feeder-1"]

[[links.dnp3]]
address = 10
port = {dnp3}
groups = [{{ resource = "feeder-1", at = 0 }}]
masters = [{{ name = "dno", address = 1, may_read = ["feeder-1"], may_operate = ["feeder-1"], ceiling = "ENVELOPE" }}]

[[links.iso]]
url = "http://127.0.0.1:{iso}/"
zone = "America/Chicago"
pools = {{ pool-1 = "TL_NORTH" }}
poll_s = 1.0

[[links.openadr]]
port = {openadr}
resources = ["hybrid-1"]
clients = [{{ id = "hybrid-1", secret_sha256 = "{digest}" }}]

[[links.modbus]]
table = "modbus.csv"
poll_s = 1.0

[[links.mqtt]]
host = "127.0.0.1"
port = {mqtt}
devices = {{ heater-1 = {{ device = "heater-1", profile = "water_heater" }} }}
"""


@dataclass
class Body:
    """A battery that discharges at 3 kW until it is told otherwise."""

    high_w: float = math.inf

    def read(self) -> dict:
        return {"power_w": min(3_000.0, self.high_w), "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        # a limit reaches an inverter as one percentage (WMaxLimPct), a setpoint as WSet
        self.high_w = min(high_w, target_w if math.isfinite(target_w) else math.inf)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[list[str]]:
    """Yield what the server said by the time its console stood."""
    command = [sys.executable, "-m", "tieline", "serve", "--data", str(folder)]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said: list[str] = []
        async with asyncio.timeout(120):
            while not any("one-time link" in line for line in said):
                line = await child.stdout.readline()
                assert line, (await child.stderr.read()).decode()
                said.append(line.decode().rstrip())
        yield said
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


async def until(is_so, what: str, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while True:
        found = is_so()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)


def made(tmp_path: Path, **ports: object) -> Path:
    run = CliRunner()
    folder = tmp_path / "works"
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    done = run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)])
    assert done.exit_code == 0, done.output
    (folder / "tieline.toml").write_text(SETTINGS.format(**ports))
    (folder / "modbus.csv").write_text(
        f"id,address,profile\nbattery-1,127.0.0.1:{ports['modbus']}/1,battery_inverter\n"
    )
    return folder


def test_a_control_rooms_limit_reaches_the_devices_of_a_served_folder(tmp_path: Path) -> None:
    iso = subprocess.Popen([sys.executable, str(ISO), str(int(time.time()))], stdout=subprocess.PIPE, text=True)
    iso_port = int(iso.stdout.readline())

    async def play() -> None:
        clock, body = SystemClock(), Body()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        units = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, models, clock)})
        await units.start()
        broker = MqttBroker()
        await broker.start()
        secret = CliRunner().invoke(main, ["credential", "hybrid-1", "--json"]).output
        client = json.loads(secret)
        ports = {"dnp3": free_port(), "openadr": free_port()}
        folder = made(
            tmp_path, **ports, iso=iso_port, modbus=units.port, mqtt=broker.port, digest=client["secret_sha256"]
        )
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            switch = MqttUnit("heater-1", PlugBody(2_000.0))
            MqttDevices([switch], supervisor, "127.0.0.1", broker.port, every_s=1.0).start()
            async with served(folder) as said, httpx.AsyncClient(timeout=60) as http:
                link = next(line for line in said if "one-time link" in line).split()[-1]
                url, secret = link.split("/enrol#")
                entered = await http.post(f"{url}/api/v1/enrol", json={"secret": secret, "password": "a long password"})
                assert entered.status_code == 200, entered.text

                async def all_live() -> bool:
                    links = (await http.get(f"{url}/api/v1/links")).json()
                    states = {row["name"]: row["state"] for row in links}
                    # the stdlib ISO's clock stands still, which is told as DEGRADED: it is reached, and answers
                    return states.get("modbus") == states.get("mqtt") == "live" and states.get("iso") in (
                        "live",
                        "degraded",
                    )

                await until(all_live, "not every link came up")
                token = await http.post(
                    f"http://127.0.0.1:{ports['openadr']}/auth/token",
                    data={
                        "grant_type": "client_credentials", "client_id": "hybrid-1",
                        "client_secret": client["secret"],
                    },
                )  # fmt: skip
                assert token.status_code == 200, token.text
                scada = Scada(
                    "127.0.0.1", ports["dnp3"], master=1, outstation=10,
                    spawn=lambda work: supervisor.spawn(work, "scada"),
                )  # fmt: skip
                await scada.connect()
                statuses = await scada.limit(0, -8_000.0, 1_800.0, select=True)
                assert [status.name for status in statuses] == ["SUCCESS"] * 3
                await until(lambda: body.high_w <= 1_800.0, "the battery was not told the feeder's limit")
                await scada.cancel(0)
                await until(lambda: body.high_w > 1_800.0, "the battery was not told of the release")
                await scada.close()

    try:
        asyncio.run(play())
    finally:
        iso.kill()
        iso.wait()


def test_links_that_never_come_up_are_listed_as_down_and_no_market_is_said_to_live(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("dnp3", "openadr", "iso", "modbus", "mqtt")}
    folder = made(tmp_path, **ports, digest="0" * 64)

    async def play() -> None:
        async with served(folder) as said, httpx.AsyncClient(timeout=60) as http:
            url, secret = next(line for line in said if "one-time link" in line).split()[-1].split("/enrol#")
            await http.post(f"{url}/api/v1/enrol", json={"secret": secret, "password": "a long password"})
            states = {row["name"]: row["state"] for row in (await http.get(f"{url}/api/v1/links")).json()}
            assert {name: states.get(name) for name in ("iso", "modbus", "mqtt")} == dict.fromkeys(
                ("iso", "modbus", "mqtt"), "down"
            )
            assert (states["dnp3"], states["openadr"]) == ("waiting", "waiting")
            shell = (await http.get(f"{url}/api/v1/shell")).json()
            assert shell["market_is_live"] is False

    asyncio.run(play())


WRONG = [
    (("address = 10", "adress = 10"), "unknown field `adress`"),
    (("port = 0", "port = 0\ncolour = 1"), "unknown field `colour` - at `$`"),
    (('resources = ["feeder-1"]', "colour = 1"), "`colour` - at `$.peers[0]` (a key belongs to the last [table]"),
    (("port = 0", "port = 70000"), "port 70000 at $.port"),
    (("port = 0", 'port = 0\nhost = "0.0.0.0"'), "give [tls] with certificate and key"),
    (('zone = "America/Chicago"\njur', 'zone = "Mars/Olympus"\njur'), "zone 'Mars/Olympus' at $.zone"),
    (('ceiling = "ENVELOPE"\nres', 'ceiling = "BOSS"\nres'), "ceiling 'BOSS' at $.peers[0].ceiling"),
    (('resource = "feeder-1"', 'resource = "feeder-9"'), "$.links.dnp3[0].groups[0].resource"),
    (('name = "dno", address', 'name = "dso", address'), "$.links.dnp3[0].masters[0].name"),
    (("pools = { pool-1", "pools = { pool-9"), "'pool-9' is no pool: give one of pool-1"),
    (('table = "modbus.csv"', 'table = "none.csv"'), "$.links.modbus[0].table = 'none.csv': give a CSV file"),
    (("heater-1 = {", "battery-1 = {"), "'battery-1' is bound at $.links.modbus[0].devices already"),
    (('zone = "America/Chicago"\npools', 'zone = "Mars"\npools'), "zone 'Mars' at $.links.iso[0].zone"),
    (('profile = "water_heater"', 'profile = "teapot"'), "teapot"),
    (
        ('resources = ["hybrid-1"]', 'resources = ["hybrid-1"]\ncapability_of = ["pool-9"]'),
        "$.links.openadr[0].capability_of: 'pool-9'",
    ),
]


@pytest.mark.parametrize(("change", "says", "is_process"), [(*wrong, at in (0, 10)) for at, wrong in enumerate(WRONG)])
def test_a_wrong_link_setting_refuses_the_start_and_names_its_path(
    tmp_path: Path, change: tuple, says: str, is_process: bool
) -> None:
    """Two of them as a process of its own, the others by the verb: a process takes a second to load what it needs."""
    folder = made(tmp_path, dnp3=free_port(), openadr=free_port(), iso=1, modbus=1, mqtt=1, digest="0" * 64)
    text = (folder / "tieline.toml").read_text()
    assert change[0] in text
    (folder / "tieline.toml").write_text(text.replace(change[0], change[1], 1))
    words = ["serve", "--data", str(folder), "--for", "1s"]
    if is_process:
        done = subprocess.run([sys.executable, "-m", "tieline", *words], capture_output=True, text=True, timeout=120)
        code, said = done.returncode, done.stderr
    else:
        run = CliRunner().invoke(main, words)
        code, said = run.exit_code, run.stderr
    assert code == 2, said
    assert says in said
    said = said.removeprefix(f"starting on {folder}: loading the program, some seconds\n") if is_process else said
    assert len(said.strip().splitlines()) == 1
