"""A server that ends stops asking its markets before it closes its connections to them: that is no failure of a task."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from data_folder import folder_with

from tieline.desk.prices import SendPrices, TakenPrices
from tieline.node.config import load_config
from tieline.node.links import raise_links
from tieline.node.serve import node_of
from tieline.rim.clock import SystemClock
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket
from tieline.simulate.oasis.app import OasisApp

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
"""
ISO = """
[[links.iso]]
url = "http://127.0.0.1:{port}/ads"
zone = "America/Chicago"
pools = {{ pool-1 = "POOL1" }}
poll_s = 0.001
"""
OASIS = """
[[links.oasis]]
url = "http://127.0.0.1:{port}/oasisapi/SingleZip"
zone = "America/Chicago"
nodes = {{ system = "HB_NORTH" }}
poll_s = 0.001
spacing_s = 0.001
"""


class Prices:
    """Where prices would go."""

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices:
        raise AssertionError("there are none of this year")


@pytest.mark.parametrize("name", ["iso", "oasis"])
@pytest.mark.parametrize("is_slow", [False, True], ids=["between calls", "in a call"])
def test_nobody_is_asked_over_connections_that_are_closed_nor_after_a_server_has_stopped(
    tmp_path: Path, name: str, is_slow: bool
) -> None:
    async def play() -> None:
        clock, calls, is_asked = SystemClock(), [0], asyncio.Event()
        faults = Faults(FaultMenu(), np.random.default_rng(1))
        iso = IsoApp(IsoMarket(clock, np.random.default_rng(1), faults), faults)
        app = iso if name == "iso" else OasisApp(clock, spacing_s=0.0)

        async def counted(scope: object, receive: object, send: object) -> None:
            calls[0] += 1
            is_asked.set()
            await asyncio.sleep(0.2 if is_slow else 0.0)
            await app(scope, receive, send)

        server = await (serve_iso if name == "iso" else serve_asgi)(counted, "127.0.0.1", 0)
        settings = {"iso": ISO, "oasis": OASIS}[name].format(port=server.sockets[0].getsockname()[1])
        folder = folder_with(tmp_path, TABLE, settings)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            config = load_config(folder / "tieline.toml")
            node = node_of(folder, config, supervisor, None)
            links = await raise_links(config.links, folder, node, supervisor, np.random.default_rng(2), Prices())
            await asyncio.wait_for(is_asked.wait(), 30.0)
            await links.stop()
            await asyncio.sleep(0.5)  # what left before comes
            asked = calls[0]
            await asyncio.sleep(2.0)
            assert calls[0] == asked
        assert supervisor.failures == {}
        server.close()
        node.journal.close()

    asyncio.run(play())
