"""The live socket: who may open it, what it shows, and who is cut off."""

from __future__ import annotations

import json
import struct
import time
from contextlib import ExitStack
from itertools import pairwise

import pytest
from console_stage import Running
from test_console_api import _wish
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tieline.desk.desk_views import MarketView
from tieline.node import read_fleet


def test_the_fleet_frame_holds_a_state_and_a_loading_a_device(running: Running) -> None:
    with connect(running.url.replace("http", "ws") + "/api/v1/live", additional_headers=_cookie(running)) as socket:
        socket.send(json.dumps({"topics": ["fleet"]}))
        frame = socket.recv(60)
    assert isinstance(frame, bytes)
    (size,) = struct.unpack_from("<I", frame)
    head = json.loads(frame[4 : 4 + size])
    assert len(frame) == 4 + size + 2 * 200
    assert sum(group["count"] for group in head["groups"]) == 200
    states = frame[4 + size : 4 + size + 200]
    for group in head["groups"]:
        part = states[group["first"] : group["first"] + group["count"]]
        sick = (read_fleet.SLOW, read_fleet.FAILED, read_fleet.STALE, read_fleet.UNKNOWN)
        bad = sum(part.count(code) for code in sick)
        assert bad == group["abnormal"]


def _cookie(running: Running, name: str = "ann") -> dict[str, str]:
    return {"cookie": f"tieline_session={running.cookies[name]}"}


def test_the_live_socket_refuses_who_is_not_signed_in(running: Running) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(running.url.replace("http", "ws") + "/api/v1/live")


def test_the_live_socket_refuses_another_sites_page(running: Running) -> None:
    headers = {**_cookie(running), "origin": "http://evil.example"}
    with pytest.raises(InvalidStatus, match="403"):
        connect(running.url.replace("http", "ws") + "/api/v1/live", additional_headers=headers)


def test_the_live_socket_shows_a_change_within_a_second(running: Running) -> None:
    took_s = []
    with connect(running.url.replace("http", "ws") + "/api/v1/live", additional_headers=_cookie(running)) as socket:
        socket.send(json.dumps({"topics": ["events"]}))
        count = len(json.loads(socket.recv(60))["view"])
        for _ in range(5):  # a machine that is busy with other things only ever adds to it: the fastest counts
            began = time.monotonic()
            with running.client("ann") as client:
                made = client.post("/api/v1/events", json=_wish(running)).json()
            while len(view := json.loads(socket.recv(60))["view"]) <= count:
                pass
            count = len(view)
            assert view[0]["id"] == made["id"]
            took_s.append(time.monotonic() - began)
            if took_s[-1] < 1.5:
                return
    raise AssertionError(took_s)


def test_a_role_sees_only_its_topics_on_the_live_socket(running: Running) -> None:
    url = running.url.replace("http", "ws") + "/api/v1/live"
    with connect(url, additional_headers=_cookie(running, "owner")) as socket:
        socket.send(json.dumps({"topics": ["overview", "market", "nonsense"]}))
        said = [json.loads(socket.recv(60)) for _ in range(3)]
    assert all("problem" in message for message in said)


def test_a_message_that_is_no_subscription_closes_the_socket(running: Running) -> None:
    with connect(running.url.replace("http", "ws") + "/api/v1/live", additional_headers=_cookie(running)) as socket:
        socket.send('{"topics": 7}')
        with pytest.raises(ConnectionClosed):
            socket.recv(60)


def test_a_browser_that_takes_nothing_is_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket's sends never finish: after the time to cut (0.2 s here) it is dropped and counted."""
    import asyncio

    from starlette.websockets import WebSocket

    from tieline.console import live

    monkeypatch.setattr(live, "CUT_S", 0.2)
    served: live.Live = running.console.app.state.live
    heard = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": '{"topics": ["shell"]}'}])

    async def receive() -> dict[str, str]:
        message = next(heard, None)
        return message if message is not None else await asyncio.sleep(3600, {})

    async def send(message: dict[str, str]) -> None:
        if message["type"] == "websocket.send":
            await asyncio.sleep(3600)

    cookie = f"tieline_session={running.cookies['ann']}".encode()
    scope = {"type": "websocket", "path": "/api/v1/live", "headers": [(b"cookie", cookie)], "query_string": b""}
    before = served.cut
    work = served.serve(WebSocket(scope, receive, send))
    asyncio.run_coroutine_threadsafe(work, running.loop).result(5)
    assert served.cut == before + 1


def test_a_view_is_made_once_for_all_sockets_that_show_it(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, made = running.console.reader, []
    make = reader.market

    def counted() -> MarketView:
        made.append(time.monotonic())
        return make()

    monkeypatch.setattr(reader, "market", counted)
    with ExitStack() as sockets:
        url = running.url.replace("http", "ws") + "/api/v1/live"
        opened = [sockets.enter_context(connect(url, additional_headers=_cookie(running))) for _ in range(20)]
        for socket in opened:
            socket.send(json.dumps({"topics": ["market"]}))
        for socket in opened:
            assert json.loads(socket.recv(60))["topic"] == "market"
        time.sleep(3.0)
    # Twenty sockets turn twice a second: 120 turns in three seconds.
    assert min(after - before for before, after in pairwise(made)) > 0.2
    assert len(made) < 20
