"""Behind sockets: what a store does that is lost with what it was told another of its feeder makes up for."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from data_folder import folder_with
from test_serve_trades import PASSWORD, process

from patience import until
from sampled import some
from tieline.links.device.sunspec_models import model
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
"""
LINKS = """
[[links.modbus]]
poll_s = 1.0
devices = {{ battery-1 = {{ address = "127.0.0.1:{port}/1", profile = "battery_inverter" }}, battery-2 = {{ address = "127.0.0.1:{port}/2", profile = "battery_inverter" }} }}
"""
TOLD_W, LIMIT_W, RATED_W = 2_000.0, 500.0, 5_000.0


@dataclass
class Battery:
    """It rests unless it is told a power."""

    power_w: float = 0.0

    def read(self) -> dict[str, float]:
        return {"power_w": self.power_w, "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self.power_w = min(target_w if math.isfinite(target_w) else 0.0, high_w)


@pytest.mark.parametrize("sign", some([1.0, -1.0]))
def test_what_a_lost_store_goes_on_giving_or_drawing_another_of_its_feeder_takes_as_soon_as_a_limit_comes(
    tmp_path: Path, sign: float
) -> None:
    async def play() -> None:
        batteries = [Battery(), Battery()]
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        units = [SunSpecDevice(battery, RATED_W, 10_000.0, models, SystemClock()) for battery in batteries]
        server = SunSpecServer(dict(enumerate(units, 1)))
        await server.start()
        folder = folder_with(tmp_path, TABLE, LINKS.format(port=server.port))
        async with (
            process("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (_, url, secret),
            httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http,
        ):
            await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
            await until(lambda: reads(http, "battery-1", 0.0), "it was not heard")
            await until(lambda: reads(http, "battery-2", 0.0), "it was not heard")
            await limit(http, "battery-1", sign * TOLD_W, sign * RATED_W)
            await until(lambda: reads(http, "battery-1", sign * TOLD_W), "it does not do what it was told")
            await until(lambda: is_done(http, "battery-1"), "that it does was not recorded")
            units[0].is_silent = True
            await until(lambda: is_lost(http, "battery-1"), "that it is lost was not seen")
            assert (await http.post("/resources/battery-1/release")).status_code == 200
            await limit(http, "feeder-1", sign * LIMIT_W, -sign * 2 * RATED_W)

            async def is_made_up_for() -> bool:
                return batteries[1].power_w != 0.0

            await until(is_made_up_for, "nobody makes up for it")
            assert batteries[0].power_w == sign * TOLD_W
            assert -TOLD_W <= sign * batteries[1].power_w <= LIMIT_W - TOLD_W

    asyncio.run(play())


async def limit(http: httpx.AsyncClient, resource: str, *ends_w: float) -> None:
    body = {"low_w": min(ends_w), "high_w": max(ends_w), "minutes": 30, "because": "works"}
    answer = await http.post(f"/resources/{resource}/limit", json=body)
    assert answer.status_code == 200, answer.text


async def seen(http: httpx.AsyncClient, device: str) -> dict:
    return (await http.get(f"/resources/{device}")).json()


async def reads(http: httpx.AsyncClient, device: str, power_w: float) -> bool:
    return (await seen(http, device))["scada"]["power_w"] == power_w


async def is_lost(http: httpx.AsyncClient, device: str) -> bool:
    return "comm lost" in (await seen(http, device))["scada"]["quality"]


async def is_done(http: httpx.AsyncClient, device: str) -> bool:
    command = (await seen(http, device))["command"]
    return command is not None and command["stage"] == "done"
