"""One desk for all tests of the console."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from console_stage import Running, lived, serve


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    stage, reader = lived(tmp_path_factory.mktemp("desk"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    console = asyncio.run_coroutine_threadsafe(serve(stage, reader), loop).result(30)
    cookies: dict[str, str] = {}
    for name, link in console.links:
        secret = link.partition("#")[2]
        answer = httpx.post(f"{console.url}/api/v1/enrol", json={"secret": secret})
        assert answer.status_code == 200, answer.text
        cookies[name] = re.search(r"tieline_session=([^;]+)", answer.headers["set-cookie"])[1]  # type: ignore[index]
    yield Running(console, stage, loop, cookies)
    asyncio.run_coroutine_threadsafe(stage.node.supervisor.stop(), loop).result(30)
    asyncio.run_coroutine_threadsafe(console.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
