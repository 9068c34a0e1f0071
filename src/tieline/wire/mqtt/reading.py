"""MQTT 3.1.1 read: a byte stream cut into packets, wherever the network cut it. One declared error, PacketError."""

from __future__ import annotations

from collections.abc import Callable

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
    Will,
)


class PacketReader:
    """Cuts a byte stream into packets; refuses one larger than `most` bytes before it is buffered."""

    def __init__(self, most: int = 262_144) -> None:
        self._buffer = bytearray()
        self._most = most

    def feed(self, data: bytes) -> list[Packet]:
        """Take in `data` and return the packets that it completes, oldest first.

        Raises:
            PacketError: The stream is no MQTT 3.1.1 of ours.
        """
        self._buffer += data
        packets, at = [], 0
        while (span := self._span(at)) is not None:
            begin, end = span
            packets.append(read_packet(self._buffer[at], bytes(self._buffer[begin:end])))
            at = end
        del self._buffer[:at]
        return packets

    def _span(self, at: int) -> tuple[int, int] | None:
        """Return where the body of the packet at `at` begins and ends; None: not all there."""
        size = 0
        for more in range(4):
            where = at + 1 + more
            if where >= len(self._buffer):
                return None
            byte = self._buffer[where]
            size |= (byte & 0x7F) << (7 * more)
            if not byte & 0x80:
                # Refused by its announced length, before more of it is gathered: the length is the peer's word alone.
                if size > self._most:
                    raise PacketError(f"a packet of {size} bytes: at most {self._most}")
                return None if len(self._buffer) < where + 1 + size else (where + 1, where + 1 + size)
        raise PacketError("a remaining length of more than four bytes (2.2.3)")


class _Cursor:
    """Takes fields off a body, front to back."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    @property
    def left(self) -> int:
        return len(self._raw) - self._at

    def take(self, size: int, what: str) -> bytes:
        if self.left < size:
            raise PacketError(f"{what}: {self.left} bytes where {size} are needed")
        self._at += size
        return self._raw[self._at - size : self._at]

    def number(self, what: str) -> int:
        return int.from_bytes(self.take(2, what), "big")

    def packet_id(self) -> int:
        found = self.number("packet id")
        if not found:
            raise PacketError("packet id 0 (2.3.1)")
        return found

    def blob(self, what: str) -> bytes:
        return self.take(self.number(what), what)

    def text(self, what: str) -> str:
        try:
            found = self.blob(what).decode("utf-8")
        except UnicodeDecodeError:
            raise PacketError(f"{what}: not UTF-8 (1.5.3)") from None
        if "\0" in found:
            raise PacketError(f"{what}: a NUL is not allowed (1.5.3)")
        return found

    def end(self) -> None:
        if self.left:
            raise PacketError(f"{self.left} bytes too many")


def read_packet(head: int, body: bytes) -> Packet:
    """Return the packet of a first byte and the body behind its length. Raises PacketError: it is none of ours."""
    kind, flags = head >> 4, head & 0x0F
    cursor = _Cursor(body)
    if kind == 3:
        return _publish(flags, cursor)
    reader, wanted = _READERS.get(kind, (None, 0))
    if reader is None:
        raise PacketError(f"packet type {kind} is not spoken here")
    # SUBSCRIBE and UNSUBSCRIBE carry the reserved bits 0010; any other value must close the connection (2.2.2).
    if flags != wanted:
        raise PacketError(f"packet type {kind} with flags {flags}: {wanted} is asked for (2.2.2)")
    packet = reader(cursor)
    cursor.end()
    return packet


def _publish(flags: int, cursor: _Cursor) -> Publish:
    qos = flags >> 1 & 3
    if qos > 1:
        raise PacketError(f"qos {qos} is not spoken here")
    topic = cursor.text("topic")
    if not topic or "#" in topic or "+" in topic:
        raise PacketError(f"topic {topic!r}: a name without wildcards is asked for (3.3.2.1)")
    # The packet id stands in the packet above QoS 0 alone (3.3.2.2).
    number = cursor.packet_id() if qos else 0
    return Publish(topic, cursor.take(cursor.left, "payload"), qos, bool(flags & 1), bool(flags & 8), number)


def _connect(cursor: _Cursor) -> Connect:
    if cursor.blob("protocol name") != b"MQTT" or cursor.take(1, "level") != b"\x04":
        raise PacketError("not MQTT 3.1.1 (3.1.2)")
    flags = cursor.take(1, "connect flags")[0]
    if flags & 1:
        raise PacketError("the reserved connect flag is set (3.1.2.3)")
    keep_alive_s = cursor.number("keep alive")
    client_id = cursor.text("client id")
    will = None
    if flags & 0x04:
        qos = flags >> 3 & 3
        if qos > 1:
            raise PacketError(f"a will of qos {qos} is not spoken here")
        will = Will(cursor.text("will topic"), cursor.blob("will payload"), qos, bool(flags & 0x20))
    # Will QoS and retain must be 0 where there is no will (3.1.2.6, 3.1.2.7).
    elif flags & 0x38:
        raise PacketError("will flags without a will (3.1.2.6)")
    if flags & 0x40 and not flags & 0x80:
        raise PacketError("a password without a user name (3.1.2.9)")
    user = cursor.text("user name") if flags & 0x80 else None
    password = cursor.blob("password") if flags & 0x40 else None
    return Connect(client_id, bool(flags & 2), keep_alive_s, user, password, will)


def _connack(cursor: _Cursor) -> ConnAck:
    flags, code = cursor.take(2, "connack")
    if flags > 1:
        raise PacketError(f"connack flags {flags} (3.2.2.1)")
    return ConnAck(code, bool(flags))


def _subscribe(cursor: _Cursor) -> Subscribe:
    number, filters = cursor.packet_id(), []
    while cursor.left:
        name, qos = cursor.text("filter"), cursor.take(1, "qos")[0]
        if qos > 2 or not name:
            raise PacketError(f"filter {name!r} of qos {qos} (3.8.3)")
        filters.append((name, qos))
    if not filters:
        raise PacketError("a subscribe without a filter (3.8.3)")
    return Subscribe(number, tuple(filters))


def _suback(cursor: _Cursor) -> SubAck:
    number = cursor.packet_id()
    codes = tuple(cursor.take(cursor.left, "codes"))
    if not codes or any(code not in (0, 1, 2, 0x80) for code in codes):
        raise PacketError(f"suback codes {codes} (3.9.3)")
    return SubAck(number, codes)


def _unsubscribe(cursor: _Cursor) -> Unsubscribe:
    number, names = cursor.packet_id(), []
    while cursor.left:
        names.append(cursor.text("filter"))
    if not names:
        raise PacketError("an unsubscribe without a filter (3.10.3)")
    return Unsubscribe(number, tuple(names))


_READERS: dict[int, tuple[Callable[[_Cursor], Packet], int]] = {
    1: (_connect, 0),
    2: (_connack, 0),
    4: (lambda cursor: PubAck(cursor.packet_id()), 0),
    8: (_subscribe, 2),
    9: (_suback, 0),
    10: (_unsubscribe, 2),
    11: (lambda cursor: UnsubAck(cursor.packet_id()), 0),
    12: (lambda cursor: PingReq(), 0),
    13: (lambda cursor: PingResp(), 0),
    14: (lambda cursor: Disconnect(), 0),
}
