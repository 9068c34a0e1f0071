"""The live socket: a browser names what it shows, and gets the newest of each, never a backlog.

Theory of operation. Each socket has a set of topics. A turn makes the views of its topics, sends those that changed,
and waits. While a send is under way nothing is queued, so a slow reader skips what is older; one that takes no message
for `CUT_S` is cut off. A view is made once for all sockets whose turn comes within `KEPT_S`: who may see a topic sees
the same of it. JSON as text; the fleet as bytes: 4 bytes with the length of a JSON head, the head, a state a cell, a
loading a cell.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.websockets import WebSocket, WebSocketDisconnect

from tieline.console.auth.roles import Action, may
from tieline.console.auth.second import Waiting
from tieline.console.auth.sessions import COOKIE, Who
from tieline.console.guard import same_origin
from tieline.console.table import Desk
from tieline.desk import desk_views as d
from tieline.desk import views as v
from tieline.desk.event_views import EventView
from tieline.desk.resource_views import ResourceView
from tieline.desk.views import FleetGrid
from tieline.errors import LinkDown

if TYPE_CHECKING:
    from tieline.console.metrics import Metrics

CUT_S, TURN_S, KEPT_S = 10.0, 0.5, 0.4
MOST_KEPT = 256
MOST_TOPICS, MOST_SOCKETS = 16, 500
ENCODE = msgspec.json.Encoder().encode


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """What a socket wants: shell, overview, series, fleet, alarms, events, market, feeder:ID or resource:ID."""

    topics: tuple[str, ...]


PLAIN: dict[str, Action] = {
    "shell": Action.SEE_GRID, "overview": Action.SEE_GRID, "series": Action.SEE_GRID,
    "fleet": Action.SEE_GRID, "alarms": Action.SEE_GRID,
    "waiting": Action.CONFIRM, "events": Action.SEE_EVENTS, "market": Action.SEE_MARKET,
}  # fmt: skip
NAMED = {"feeder": Action.SEE_GRID, "resource": Action.SEE_RESOURCE}
VIEWS: dict[str, Any] = {
    "shell": v.Shell, "overview": v.Overview, "series": v.Series, "fleet": v.FleetGrid, "alarms": list[v.AlarmView],
    "waiting": list[Waiting], "events": list[EventView], "market": d.MarketView, "feeder": d.FeederView,
    "resource": ResourceView,
}  # fmt: skip
"""What each topic's view is."""


class Live:
    """Serves all sockets."""

    def __init__(self, desk: Desk, metrics: Metrics) -> None:
        self._desk, self._metrics = desk, metrics
        self.sockets = 0
        self.cut = 0
        self._kept: dict[str, tuple[float, bytes]] = {}

    def _who(self, socket: WebSocket) -> Who | None:
        scheme, _, token = socket.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._desk.scoped(self._desk.sessions.by_token(token))
        return self._desk.scoped(self._desk.sessions.who(socket.cookies.get(COOKIE, "")))

    async def serve(self, socket: WebSocket) -> None:
        """Serve one socket until it closes."""
        who = self._who(socket)
        if who is None or not same_origin(socket.headers) or self.sockets >= MOST_SOCKETS:
            await socket.close(4401 if who is None else 4403)
            return
        await socket.accept()
        self.sockets += 1
        self._metrics.sockets.set(self.sockets)
        try:
            await self._serve(socket)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the browser went away in the midst of a send
        except TimeoutError:
            self.cut += 1
            self._metrics.cut.inc()
        finally:
            self.sockets -= 1
            self._metrics.sockets.set(self.sockets)

    async def _serve(self, socket: WebSocket) -> None:
        topics: tuple[str, ...] = ()
        sent: dict[str, bytes] = {}
        while True:
            wanted = await _heard(socket, TURN_S if topics else None)
            if wanted is not None:
                topics, sent = wanted, {}
            who = self._who(socket)  # read anew: a session that ended, or a role that was taken, holds at once
            if who is None:
                await socket.close(4401)
                return
            await self._desk.sessions.used(who)
            for topic in topics:
                body = self._made(topic, who)
                if sent.get(topic) == body:
                    continue
                sent[topic] = body
                async with asyncio.timeout(CUT_S):
                    if topic == "fleet" and body[:1] != b"{":
                        await socket.send_bytes(body)
                    else:
                        await socket.send_text(body.decode())

    def _made(self, topic: str, who: Who) -> bytes:
        word, _, name = topic.partition(":")
        action = PLAIN.get(topic) or (NAMED.get(word) if name else None)
        if action is None:
            return ENCODE({"topic": topic, "problem": f"there is no topic {topic[:80]!r}"})
        if not may(who.roles, action, name if word == "resource" else "", who.scope):
            return ENCODE({"topic": topic, "problem": "your roles don't allow this"})
        now_s = asyncio.get_running_loop().time()
        made_s, body = self._kept.get(topic, (-math.inf, b""))
        if now_s - made_s >= KEPT_S:
            if len(self._kept) >= MOST_KEPT:
                self._kept = {name: kept for name, kept in self._kept.items() if now_s - kept[0] < KEPT_S}
            body = self._view(topic, word, name)
            self._kept[topic] = now_s, body
        return body

    def _view(self, topic: str, word: str, name: str) -> bytes:
        reader = self._desk.reader
        if topic == "fleet":
            return packed(reader.fleet())
        if topic == "waiting":
            return ENCODE({"topic": topic, "view": self._desk.second.waiting()})
        make: Callable[..., Any] = getattr(reader, word)
        try:
            view = make(name) if name else make()
        except KeyError:
            return ENCODE({"topic": topic, "problem": f"there is no {word} {name[:80]!r}"})
        except LinkDown as error:  # the journal's database; what needs no record goes on
            return ENCODE({"topic": topic, "problem": str(error)})
        return ENCODE({"topic": topic, "view": view})


async def _heard(socket: WebSocket, wait_s: float | None) -> tuple[str, ...] | None:
    """Return the topics that a socket asks for; None where it says nothing in that time."""
    try:
        async with asyncio.timeout(wait_s):
            text = await socket.receive_text()
    except TimeoutError:
        return None
    except KeyError as error:  # a binary message
        raise WebSocketDisconnect(1003) from error
    try:
        return tuple(dict.fromkeys(msgspec.json.decode(text, type=Subscribe).topics))[:MOST_TOPICS]
    except msgspec.MsgspecError as error:
        await socket.close(1008, str(error)[:100])
        raise WebSocketDisconnect(1008) from error


def packed(grid: FleetGrid) -> bytes:
    """Return the fleet as bytes: length of the head, the head as JSON, states, loadings."""
    head = ENCODE({"topic": "fleet", "revision": grid.revision, "now_ns": grid.now_ns, "groups": grid.groups})
    return struct.pack("<I", len(head)) + head + grid.state + grid.loading
