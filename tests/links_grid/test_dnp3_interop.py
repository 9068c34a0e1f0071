"""The outstation against independent implementations: opendnp3 (C++) as the master, tshark as the reader of its wire.

opendnp3 runs in a process and a venv of its own (`make peers-dnp3`); where that or tshark is missing the tests skip.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from dnp3_desk import START_NS, SmallDesk
from dnp3_room import BINDING, NORTH, SOUTH
from test_dnp3_page import indices

from tieline.desk.ports import Session
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.resource.claim import Refusal
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.times import SECOND_NS

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("TIELINE_PEERS_DNP3", ROOT / ".venv-peers-dnp3")) / "bin" / "python"
needs_opendnp3 = pytest.mark.skipif(not PEER.exists(), reason="no opendnp3: run `make peers-dnp3`")
pytestmark = [pytest.mark.interop, needs_opendnp3]
Points = dict[str, list[Any]]
BROKEN = "_ws.malformed || dnp.hdr.CRC.status == 0 || dnp.data_chunk.CRC.status == 0"


class OpenDnp3:
    """The master in its own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, line: str) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(60):
            return json.loads(await self._process.stdout.readline())

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> Any:
        async with asyncio.timeout(60):
            while True:
                seen = await self.say("points")
                if holds(seen):
                    return seen
                await asyncio.sleep(0.1)


@asynccontextmanager
async def master(port: int) -> AsyncIterator[OpenDnp3]:
    script = Path(__file__).parents[1] / "peers" / "opendnp3_master.py"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(PEER), str(script), "127.0.0.1", str(port), "1", "10", stdin=pipe, stdout=pipe
    )
    try:
        assert process.stdout and process.stdin
        assert json.loads(await process.stdout.readline()) == "ready"
        yield OpenDnp3(process)
        process.stdin.write(b"quit\n")
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def outstation(desk: SmallDesk, supervisor: Supervisor, port: int = 0) -> Dnp3Outstation:
    binding = msgspec.structs.replace(BINDING, host="127.0.0.1", port=port)
    made = Dnp3Outstation(binding, desk, SystemClock(), supervisor)
    await made.start()
    await made.publish(desk.snapshot())
    return made


def play(scene: Callable[[SmallDesk, Dnp3Outstation, Supervisor], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            desk = SmallDesk()
            made = await outstation(desk, supervisor)
            try:
                await scene(desk, made, supervisor)
            finally:
                await made.stop()

    asyncio.run(main())


def polled(seen: dict[str, Any]) -> bool:
    return "AI0" in seen["points"] and any("ENABLE_UNSOLICITED" in task for task in seen["tasks"][1:])


def test_opendnp3_polls_every_point_and_hears_changes_unasked() -> None:
    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        async with master(made.port) as scada:
            seen = await scada.until(polled)
            points: Points = seen["points"]
            assert points["AI0"][:2] == [1e6, 1]
            assert points["BI0"][:2] == [True, 0x81]
            assert points["AI2"][1] == 6  # not in the snapshot: restart and comm lost, as 1815 flags
            kinds = ("AI", "BI", "AO", "BO")
            assert set(points) == {f"{kind}{at + n}" for at in (NORTH, SOUTH) for kind in kinds for n in indices(kind)}
            await made.publish(desk.snapshot(power_w=-3e6, now_ns=START_NS + SECOND_NS))
            seen = await scada.until(lambda now: now["points"]["AI0"][0] == -3e6)
            assert seen["points"]["AI0"][2:] == [(START_NS + SECOND_NS) // 1_000_000, True]
            assert seen["unsolicited"] >= 1

    play(scene)


def test_opendnp3_operates_directly_and_by_select_and_hears_why_it_is_refused() -> None:
    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        async with master(made.port) as scada:
            await scada.until(polled)
            assert await scada.say("direct AO 2 1000000") == ["SUCCESS", [[2, "SUCCESS", "SUCCESS"]]]
            assert await scada.say("direct BO 1 on") == ["SUCCESS", [[1, "SUCCESS", "SUCCESS"]]]
            assert await scada.say("select AO 1 -1000000") == ["SUCCESS", [[1, "SUCCESS", "SUCCESS"]]]
            assert desk.bounds("pool:north", SystemClock().now_ns()) == (-1e6, 1e6)
            assert await scada.say("direct AO 2 100000000") == ["SUCCESS", [[2, "SUCCESS", "OUT_OF_RANGE"]]]
            assert await scada.say("select AO 2 100000000") == ["SUCCESS", [[2, "SELECT_FAIL", "OUT_OF_RANGE"]]]
            assert await scada.say("direct AO 999 1") == ["SUCCESS", [[999, "SUCCESS", "NOT_SUPPORTED"]]]
            desk.refusing = Refusal("resource is in local mode")
            assert await scada.say("direct AO 2 2000000") == ["SUCCESS", [[2, "SUCCESS", "LOCAL"]]]
            assert await scada.say("select BO 2 on") == ["SUCCESS", [[2, "SUCCESS", "SUCCESS"]]]
            assert desk.bounds("pool:north", SystemClock().now_ns()) == (-5e6, 5e6)

    play(scene)


def test_opendnp3_comes_back_after_the_outstation_was_away() -> None:
    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        async with master(made.port) as scada:
            await scada.until(polled)
            await made.stop()
            await asyncio.sleep(0.3)
            again = await outstation(desk, supervisor, made.port)
            await scada.until(lambda seen: seen["opened"] >= 2)
            await again.publish(desk.snapshot(power_w=2.5e6))
            await scada.until(lambda seen: seen["points"]["AI0"][0] == 2.5e6)
            await again.stop()

    play(scene)


class Relay:
    """A path between master and outstation that can be cut, or frozen: open at both ends, and carrying nothing."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    def freeze(self) -> None:
        self._flows.clear()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._flows.set()

    def stop(self) -> None:
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            await self._flows.wait()
            writer.write(data)
        await self._flows.wait()
        writer.close()


async def again_from(scada: OpenDnp3, made: Dnp3Outstation, desk: SmallDesk, opened: int, power_w: float) -> None:
    """See that the master came back and hears what is new."""
    await scada.until(lambda seen: seen["opened"] >= opened)
    await made.publish(desk.snapshot(power_w=power_w))
    await scada.until(lambda seen: seen["points"]["AI0"][0] == power_w)


def test_opendnp3_comes_back_after_a_cut_and_keeps_its_latch_for_the_lease() -> None:
    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        relay = Relay(made.port)
        async with master(await relay.start()) as scada:
            await scada.until(polled)
            assert await scada.say("direct AO 2 1000000") == ["SUCCESS", [[2, "SUCCESS", "SUCCESS"]]]
            assert await scada.say("direct BO 1 on") == ["SUCCESS", [[1, "SUCCESS", "SUCCESS"]]]
            for turn in range(3):
                relay.cut()
                await again_from(scada, made, desk, turn + 2, 1e6 * (turn + 2))
            assert desk.bounds("pool:north", SystemClock().now_ns())[1] == 1e6
            assert desk.withdrawn == []
        relay.stop()

    play(scene)


def test_a_half_open_opendnp3_loses_its_latch_after_the_lease_and_is_heard_again_later() -> None:
    """Rule R3: 2 x keep-alive of silence. The frozen path hides even the outstation's hanging up from the master."""

    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        await made.stop()
        binding = msgspec.structs.replace(BINDING, host="127.0.0.1", port=0, keep_alive_s=1.0)
        short = Dnp3Outstation(binding, desk, SystemClock(), supervisor)
        await short.start()
        await short.publish(desk.snapshot())
        relay = Relay(short.port)
        async with master(await relay.start()) as scada:
            await scada.until(polled)
            assert await scada.say("direct AO 2 1000000") == ["SUCCESS", [[2, "SUCCESS", "SUCCESS"]]]
            assert await scada.say("direct BO 1 on") == ["SUCCESS", [[1, "SUCCESS", "SUCCESS"]]]
            await asyncio.sleep(4)  # twice the lease: a master that answers our keep-alives keeps its latch
            assert desk.withdrawn == [] and short.health().session is Session.LIVE
            relay.freeze()
            async with asyncio.timeout(60):
                while not desk.withdrawn or short.health().session is Session.LIVE:  # noqa: ASYNC110  it looks
                    await asyncio.sleep(0.05)
            assert desk.withdrawn == [("dnp3:dno", "limit", "pool:north")]
            relay.cut()
            await again_from(scada, short, desk, 2, -2e6)
        relay.stop()
        await short.stop()

    play(scene)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark")
def test_tshark_finds_nothing_malformed_on_the_wire(tmp_path: Path) -> None:
    async def scene(desk: SmallDesk, made: Dnp3Outstation, supervisor: Supervisor) -> None:
        file = str(tmp_path / "dnp3.pcap")
        arguments = ("-i", "lo", "-f", f"tcp port {made.port}", "-w", file, "-q")
        pipe = asyncio.subprocess.PIPE
        capture = await asyncio.create_subprocess_exec("tshark", *arguments, stderr=pipe)
        assert capture.stderr
        async with asyncio.timeout(60):
            while b"Capturing on" not in (said := await capture.stderr.readline()):
                if not said:
                    pytest.skip("capture on loopback isn't permitted here")
        await asyncio.sleep(1)
        async with master(made.port) as scada:
            await scada.until(polled)
            await scada.say("direct AO 2 1000000")
            await scada.say("select BO 1 on")
            await made.publish(desk.snapshot(power_w=-3e6))
            await scada.until(lambda seen: seen["points"]["AI0"][0] == -3e6)
        await asyncio.sleep(1)
        capture.terminate()
        await capture.wait()
        assert await _count(file, made.port, "dnp3") >= 12
        assert await _count(file, made.port, BROKEN) == 0

    play(scene)


async def _count(file: str, port: int, wanted: str) -> int:
    arguments = ("-r", file, "-d", f"tcp.port=={port},dnp3", "-Y", wanted)
    pipe = asyncio.subprocess.PIPE
    reading = await asyncio.create_subprocess_exec("tshark", *arguments, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    said, _ = await reading.communicate()
    assert reading.returncode == 0
    return len(said.splitlines())
