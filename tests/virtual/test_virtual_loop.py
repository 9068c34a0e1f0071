"""Virtual time: production code runs unchanged over a network in memory."""

import asyncio
import time

import httpx
import pytest

from tieline.errors import InvariantError
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network, Straight
from tieline.times import DAY_NS


def test_a_day_of_sleeping_takes_no_time_and_the_clock_shows_a_day() -> None:
    async def main(loop: VirtualLoop) -> int:
        clock = VirtualClock(loop, 0)
        for _ in range(24 * 60):
            await asyncio.sleep(60)
        return clock.now_ns()

    began = time.perf_counter()
    assert run_virtual(main) == DAY_NS
    assert time.perf_counter() - began < 5


def test_a_stream_keeps_its_order_and_takes_the_delay_of_its_path() -> None:
    class Shrinking:
        def __init__(self) -> None:
            self.left = 10.0

        def delay_s(self, now_s: float, size: int) -> float:
            self.left = max(self.left - 1, 0.0)
            return self.left

    async def main(loop: VirtualLoop) -> tuple[bytes, float]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        for part in (b"a", b"b", b"c"):
            writer.write(part)
            await writer.drain()
        answer = await reader.readexactly(3)
        writer.close()
        server.close()
        return answer, loop.time()

    answer, took = run_virtual(main, Network(lambda host, port: Shrinking()))
    assert answer == b"abc"
    assert took >= 8


def test_an_http_client_and_an_asgi_server_meet_in_memory() -> None:
    from functools import partial

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.server import ServerState

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello " + (await request.body()).decode())

    async def main(loop: VirtualLoop) -> str:
        config = Config(Starlette(routes=[Route("/", hello, methods=["POST"])]), lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        server = await loop.create_server(
            partial(HttpToolsProtocol, config=config, server_state=state, app_state={}), "127.0.0.1", 8000
        )
        async with httpx.AsyncClient() as client:
            first = (await client.post("http://127.0.0.1:8000/", content=b"you" * 50_000)).text
            second = (await client.post("http://127.0.0.1:8000/", content=b"me")).text
        server.close()
        return f"{len(first)} {second}"

    assert run_virtual(main) == "150006 hello me"


def test_nobody_listening_is_refused_and_a_cut_reaches_both_sides() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen = []
        try:
            await asyncio.open_connection("127.0.0.1", 1)
        except ConnectionRefusedError as error:
            seen.append(type(error).__name__)

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(3600)  # with its writer: one that nobody holds is closed when it is collected

        server = await asyncio.start_server(hold, "127.0.0.1", 502)
        reader, _writer = await asyncio.open_connection("127.0.0.1", 502)
        loop.call_later(5, loop.network.cut, "127.0.0.1", 502)
        try:
            await reader.readexactly(1)
        except (ConnectionResetError, asyncio.IncompleteReadError) as error:
            seen.append(type(error).__name__)
        server.close()
        return seen

    assert run_virtual(main, Network(lambda h, p: Straight(0.01))) == ["ConnectionRefusedError", "ConnectionResetError"]


def test_a_simulation_that_waits_for_nothing_says_so() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(InvariantError, match="stuck"):
        run_virtual(main)


def test_a_slow_reader_pauses_the_writer() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, int]:
        got = []

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                got.append(len(data))
                await asyncio.sleep(1)

        server = await asyncio.start_server(slow, "127.0.0.1", 0, limit=4096)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(40):
            writer.write(b"x" * 16384)
            await writer.drain()
        writer.close()
        await asyncio.sleep(200)
        server.close()
        return loop.time(), sum(got)

    took, total = run_virtual(main)
    assert total == 40 * 16384
    assert took > 200
