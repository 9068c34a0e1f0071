"""A small MQTT broker for the stage: it runs on sockets and on virtual time, with users and access lists.

Retained messages, wills, keep-alive, QoS 0 and 1, take-over of a client id. A message to a client that is away is not
kept: sessions are clean, and a command that waits in a broker would outlive its expiry.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import cast

from tieline.errors import ConfigError
from tieline.wire.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PacketError,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    octets,
)
from tieline.wire.mqtt.reading import PacketReader
from tieline.wire.mqtt.topics import check_filter, matches

MOST_BUFFERED = 1 << 20  # bytes to a client that does not read; more, and it is cut off
BAD_ID, BAD_USER = 2, 4


@dataclass(frozen=True)
class User:
    """What a client may do: filters of topics that it may hear and may write. `password` never shows in a repr."""

    password: bytes = field(repr=False)
    hears: tuple[str, ...] = ("#",)
    writes: tuple[str, ...] = ("#",)


ANYONE = User(b"")


class MqttBroker:
    """Takes connections and passes messages on."""

    def __init__(self, users: Mapping[str, User] | None = None) -> None:
        """Make a broker; without `users` anyone may do anything, so it then listens on loopback only."""
        self.users = dict(users) if users is not None else None
        self.retained: dict[str, Publish] = {}
        self.sessions: dict[str, _Session] = {}
        self.exact: dict[str, dict[_Session, int]] = {}
        self.wild: dict[tuple[str, _Session], int] = {}
        self.port = 0
        self.passed = self.denied = self.cut_off = 0
        self._nameless = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Listen; port 0 picks a free one. Raises ConfigError: open to anyone, on more than loopback."""
        if self.users is None and host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(f"$.mqtt.host = {host}: give users, or listen on 127.0.0.1")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Take no more connections and end those that live."""
        if self._server is not None:
            self._server.close()
        for session in list(self.sessions.values()):
            session.abort()

    def admit(self, hello: Connect) -> tuple[User | None, int]:
        """Return who this is, or the code to refuse with (3.2.2.3)."""
        if not hello.client_id and not hello.clean:
            return None, BAD_ID
        if self.users is None:
            return ANYONE, 0
        user = self.users.get(hello.user or "")
        if user is None or not compare_digest(user.password, hello.password or b""):
            return None, BAD_USER
        return user, 0

    def new_id(self) -> str:
        """Return an id for a client that came without one (3.1.3.1)."""
        self._nameless += 1
        return f"auto-{self._nameless}"

    def route(self, message: Publish) -> None:
        """Pass a message to everyone who subscribed; each gets it once, at the best QoS granted."""
        if message.retain:
            if message.payload:
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)
        best = dict(self.exact.get(message.topic, {}))
        for (filter_, session), qos in self.wild.items():
            if matches(filter_, message.topic):
                best[session] = max(qos, best.get(session, 0))
        for session, qos in best.items():
            self.passed += 1
            session.deliver(message, min(qos, message.qos), False)

    def subscribe(self, session: _Session, filter_: str, qos: int) -> None:
        """Pass messages of a filter on to a session, those retained first."""
        session.filters[filter_] = qos
        if _is_wild(filter_):
            self.wild[(filter_, session)] = qos
            found = [message for topic, message in self.retained.items() if matches(filter_, topic)]
        else:
            self.exact.setdefault(filter_, {})[session] = qos
            found = [self.retained[filter_]] if filter_ in self.retained else []
        for message in found:
            session.deliver(message, min(qos, message.qos), True)

    def unsubscribe(self, session: _Session, filter_: str) -> None:
        """Pass no more of a filter on."""
        if session.filters.pop(filter_, None) is None:
            return
        if _is_wild(filter_):
            del self.wild[(filter_, session)]
            return
        del self.exact[filter_][session]
        if not self.exact[filter_]:
            del self.exact[filter_]


class _Session(asyncio.Protocol):
    """One client of the broker."""

    def __init__(self, broker: MqttBroker) -> None:
        self._broker, self._reader = broker, PacketReader()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._hello: Connect | None = None
        self._user: User = ANYONE
        self._id = ""
        self._next, self._heard_s = 0, self._loop.time()
        self._watch: asyncio.TimerHandle | None = self._loop.call_later(30.0, self.abort)
        self.filters: dict[str, int] = {}
        self._will_spoken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        """Take what the client says; what breaks the protocol ends the connection."""
        self._heard_s = self._loop.time()
        try:
            for packet in self._reader.feed(data):
                self._take(packet)
        except PacketError:
            self.abort()

    def _take(self, packet: Packet) -> None:
        if self._hello is None:
            if not isinstance(packet, Connect):
                raise PacketError("the first packet is no connect (3.1)")
            self._welcome(packet)
            return
        match packet:
            case Publish():
                allowed = any(matches(each, packet.topic) for each in self._user.writes)
                self._broker.denied += not allowed
                if packet.qos:  # acknowledged even where denied: 3.1.1 has no way to say no (3.3.5)
                    self._send(octets(PubAck(packet.packet_id)))
                if allowed:
                    self._broker.route(packet)
            case PubAck() | PingResp():
                pass
            case Subscribe(number, filters):
                self._grant(number, filters)
            case Unsubscribe(number, filters):
                for filter_ in filters:
                    self._broker.unsubscribe(self, filter_)
                self._send(octets(UnsubAck(number)))
            case PingReq():
                self._send(octets(PingResp()))
            case Disconnect():
                self._will_spoken = True
                self.close()
            case _:
                raise PacketError(f"a client does not send {type(packet).__name__}")

    def _welcome(self, hello: Connect) -> None:
        user, code = self._broker.admit(hello)
        self._send(octets(ConnAck(code)))
        if user is None:
            self.close()
            return
        self._hello, self._user = hello, user
        self._id = hello.client_id or self._broker.new_id()
        older = self._broker.sessions.get(self._id)
        if older is not None:
            older.abort()  # 3.1.4: a client id has one connection, the newest
        self._broker.sessions[self._id] = self
        self._watch_silence()

    def _watch_silence(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        keep_s = self._hello.keep_alive_s if self._hello else 0
        if not keep_s:
            return
        silent_s = self._loop.time() - self._heard_s
        if silent_s >= 1.5 * keep_s:  # 3.1.2.10
            self.abort()
            return
        self._watch = self._loop.call_later(max(1.5 * keep_s - silent_s, 0.001), self._watch_silence)

    def _grant(self, number: int, filters: tuple[tuple[str, int], ...]) -> None:
        codes = []
        for filter_, qos in filters:
            check_filter(filter_)
            allowed = any(_within(filter_, each) for each in self._user.hears)
            codes.append(min(qos, 1) if allowed else 0x80)
        self._send(octets(SubAck(number, tuple(codes))))
        for (filter_, _), code in zip(filters, codes, strict=True):
            if code != 0x80:
                self._broker.subscribe(self, filter_, code)

    def deliver(self, message: Publish, qos: int, retained: bool) -> None:
        """Send a message on; a client that does not read is cut off."""
        self._next = self._next % 65_535 + 1
        self._send(octets(Publish(message.topic, message.payload, qos, retained, False, self._next if qos else 0)))

    def _send(self, raw: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(raw)
        if self._transport.get_write_buffer_size() > MOST_BUFFERED:
            self._broker.cut_off += 1
            self.abort()

    def close(self) -> None:
        """Hang up after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and speak its will if it went without a word."""
        if self._watch is not None:
            self._watch.cancel()
        for filter_ in list(self.filters):
            self._broker.unsubscribe(self, filter_)
        if self._hello is None:
            return
        if self._broker.sessions.get(self._id) is self:
            del self._broker.sessions[self._id]
        will = self._hello.will
        if will is not None and not self._will_spoken:
            self._will_spoken = True
            if any(matches(each, will.topic) for each in self._user.writes):
                number = 1 if will.qos else 0
                self._broker.route(Publish(will.topic, will.payload, will.qos, will.retain, packet_id=number))


def _is_wild(filter_: str) -> bool:
    return "+" in filter_ or "#" in filter_


def _within(filter_: str, allowed: str) -> bool:
    """Return whether all that a filter takes is allowed: wildcards only where the allowed filter has them too."""
    wanted, given = filter_.split("/"), allowed.split("/")
    for at, level in enumerate(given):
        if level == "#":
            return True
        if at >= len(wanted) or wanted[at] == "#" or (level != "+" and level != wanted[at]):
            return False
    return len(wanted) == len(given)
