"""Browsers that stop reading: they are cut off, take little memory, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import socket
import struct
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from console_stage import Running
from websockets.sync.client import connect

from patience import PATIENCE_S
from tieline.console import live

STALLED, CUT_S = 6, 2.0
TOPICS = ["shell", "overview", "series", "fleet", "alarms", "events", "market"]
TOPICS += [f"resource:battery-{n:06d}" for n in range(1, 9)]


def _stalled(running: Running) -> socket.socket:
    """A socket that subscribes to everything again and again, and never reads."""
    where = urlsplit(running.url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect((where.hostname, where.port))
    key = base64.b64encode(os.urandom(16)).decode()
    made.sendall(
        f"GET /api/v1/live HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: {running.url}\r\n"
        f"Cookie: tieline_session={running.cookies['ben']}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += made.recv(1)
    assert b"101" in answer
    text = json.dumps({"topics": TOPICS}).encode()
    mask = os.urandom(4)
    body = bytes(byte ^ mask[k % 4] for k, byte in enumerate(text))
    frame = b"\x81" + struct.pack("!BH", 0x80 | 126, len(text)) + mask + body
    made.sendall(frame * 40)
    return made


def _gaps_s(running: Running, seconds: float) -> list[float]:
    """The times between views of the shell that a reader in good health gets."""
    url = running.url.replace("http", "ws") + "/api/v1/live"
    headers = {"Cookie": f"tieline_session={running.cookies['ann']}", "Origin": running.url}
    at: list[float] = []
    with connect(url, additional_headers=headers) as reader:
        reader.send(json.dumps({"topics": ["shell"]}))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            reader.recv(timeout=60)
            at.append(time.monotonic())
    return list(np.diff(at))


def _most_waiting(running: Running) -> int:
    """The most bytes that wait in one connection's buffer, in the process of the server."""

    async def tell() -> int:
        found = [x for x in gc.get_objects() if issubclass(type(x), asyncio.WriteTransport) and hasattr(x, "_sock")]
        return max((x.get_write_buffer_size() for x in found if not x.is_closing()), default=0)

    return asyncio.run_coroutine_threadsafe(tell(), running.loop).result(30)


def test_readers_that_stop_are_cut_off_and_the_others_do_not_notice(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CUT_S", CUT_S)
    app = running.console.app.state.live
    before, cut = app.sockets, app.cut
    alone = _gaps_s(running, 3.0)
    stalled = [_stalled(running) for _ in range(STALLED)]
    try:
        beside, most = _gaps_s(running, 2.0), _most_waiting(running)
        beside += _gaps_s(running, 3.0)
        for _ in range(10):  # a slow machine sends its views late: three of them are looked at, however long it takes
            beside += [] if len(beside) >= 3 else _gaps_s(running, 3.0)
        deadline = time.monotonic() + CUT_S + PATIENCE_S
        while app.cut < cut + STALLED and time.monotonic() < deadline:
            time.sleep(0.1)
        assert app.cut == cut + STALLED
        while app.sockets > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert app.sockets == before
        assert most <= 2**20
        assert np.percentile(beside, 90) <= 2.0 * max(np.percentile(alone, 90), 1.0)
        assert len(beside) >= 3
    finally:
        for one in stalled:
            one.close()
