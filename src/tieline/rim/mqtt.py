"""One MQTT connection over asyncio: it runs on sockets, TLS and the in-memory network alike.

It lives here as both the device link and the simulated devices speak through it. A message whose acknowledgement did
not come is never sent again by itself: what it carried may have run out by then.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast

from tieline.errors import LinkDown, PeerError
from tieline.wire.mqtt.packets import (
    CONNACK_REASONS,
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
    octets,
)
from tieline.wire.mqtt.reading import PacketReader

FILTERS_A_PACKET = 200


def _quiet() -> None:
    """What to do when nobody waits for an acknowledgement."""


class MqttClient(asyncio.Protocol):
    """A client of one broker, clean at each connect."""

    def __init__(self, connect: Connect, on_message: Callable[[Publish], None], timeout_s: float = 10.0) -> None:
        self._connect, self._on_message, self._timeout_s = connect, on_message, timeout_s
        self._reader = PacketReader()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[ConnAck] = self._loop.create_future()
        self._granted: dict[int, asyncio.Future[SubAck]] = {}
        self._acks: dict[int, Callable[[], None]] = {}
        self._next, self._heard_s, self._said_s = 0, 0.0, 0.0
        self._beat: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[Exception] = self._loop.create_future()
        self.sent = self.received = 0
        self.is_ended_by_broker = False
        """Whether it took us in and then hung up, unasked: by its own end, or as another came by our id (3.1.4)."""
        self._is_in = False  # from its welcome to our goodbye

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Connect and be accepted.

        Raises:
            LinkDown: Nobody answers, or not in time.
            PeerError: The broker refused, or speaks something else.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._loop.create_connection(lambda: self, host, port, ssl=tls)
                self._write(self._connect)
                answer = await self._accepted
        except (OSError, TimeoutError) as error:
            self.close()
            raise LinkDown(f"{host}:{port}: {error or 'no answer'}") from error
        if answer.code:
            self.close()
            raise PeerError(f"{host}:{port}: refused: {CONNACK_REASONS.get(answer.code, f'code {answer.code}')}")
        if self._connect.keep_alive_s:
            self._beat = self._loop.call_later(self._connect.keep_alive_s / 2, self._keep_alive)

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> None:
        """Subscribe to filters, some hundreds a packet.

        Raises:
            LinkDown: The connection broke, or no answer came in time.
            PeerError: The broker refused a filter; it is named.
        """
        for first in range(0, len(filters), FILTERS_A_PACKET):
            part = tuple(filters[first : first + FILTERS_A_PACKET])
            number = self._number()
            future = self._granted[number] = self._loop.create_future()
            self._write(Subscribe(number, tuple((name, qos) for name in part)))
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await future
            except TimeoutError:
                raise LinkDown(f"no answer to a subscription in {self._timeout_s:g} s") from None
            finally:
                self._granted.pop(number, None)
            for name, code in zip(part, answer.codes, strict=False):
                if code == 0x80:
                    raise PeerError(f"subscription to {name} refused")

    def publish(
        self, topic: str, payload: bytes, qos: int = 1, on_ack: Callable[[], None] = _quiet, retain: bool = False
    ) -> str:
        """Send a message and return its frame in hex; `on_ack` is called when the broker has it (QoS 1).

        Raises:
            LinkDown: Not connected, or too many messages wait for their acknowledgement.
        """
        if not self.is_open:
            raise LinkDown("not connected")
        number = self._number() if qos else 0
        raw = octets(Publish(topic, payload, qos, retain, packet_id=number))
        if qos:
            self._acks[number] = on_ack
        self._send(raw)
        return raw.hex()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None and not self._transport.is_closing() and not self.lost.done()

    def close(self) -> None:
        """Say goodbye and hang up."""
        self._is_in = False
        if self._transport is not None and not self._transport.is_closing():
            self._write(Disconnect())
            self._transport.close()

    def _number(self) -> int:
        for _ in range(65_535):
            self._next = self._next % 65_535 + 1
            if self._next not in self._acks and self._next not in self._granted:
                return self._next
        raise LinkDown("65535 messages wait for their acknowledgement")

    def _write(self, packet: Packet) -> None:
        self._send(octets(packet))

    def _send(self, raw: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LinkDown("not connected")
        self._said_s = self._loop.time()
        self.sent += 1
        self._transport.write(raw)

    def _keep_alive(self) -> None:
        """Ping where nothing was said for half the keep-alive; give up a broker that stays silent (3.1.2.10)."""
        if not self.is_open:
            return
        now_s, keep_s = self._loop.time(), self._connect.keep_alive_s
        if now_s - self._heard_s > 1.5 * keep_s:
            self._end(LinkDown(f"the broker was silent for {now_s - self._heard_s:.0f} s"))
            assert self._transport is not None
            self._transport.abort()
            return
        # Always pinged: an acknowledged publish proves less than an answer to our own question.
        self._write(PingReq())
        self._beat = self._loop.call_later(keep_s / 2, self._keep_alive)

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's
        self._heard_s = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Take what the broker says."""
        self._heard_s = self._loop.time()
        try:
            for packet in self._reader.feed(data):
                self._take(packet)
        except (PacketError, PeerError) as error:
            self._end(PeerError(str(error)))
            if self._transport is not None:
                self._transport.abort()

    def _take(self, packet: Packet) -> None:
        self.received += 1
        match packet:
            case Publish():
                if packet.qos:
                    self._write(PubAck(packet.packet_id))
                self._on_message(packet)
            case PubAck(number):
                self._acks.pop(number, _quiet)()
            case SubAck(number):
                future = self._granted.get(number)
                if future is not None and not future.done():
                    future.set_result(packet)
            case ConnAck():
                if self._accepted.done():
                    raise PeerError("a second connack")
                self._accepted.set_result(packet)
                self._is_in = not packet.code
            case PingResp():
                pass
            case _:
                raise PeerError(f"a broker does not send {type(packet).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        by_peer = exc is None or isinstance(exc, ConnectionError)  # what breaks by itself times out
        self.is_ended_by_broker = self._is_in and by_peer and not self.lost.done()
        self._end(LinkDown(str(exc) if exc else "the broker hung up"))

    def _end(self, error: Exception) -> None:
        if self._beat is not None:
            self._beat.cancel()
        waiting: list[asyncio.Future[Any]] = [self._accepted, *self._granted.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # looked at: whoever waits still gets it, and nobody waiting is no leak
        self._acks.clear()
        if not self.lost.done():
            self.lost.set_result(error)
