"""MQTT 3.1.1 control packets (OASIS standard of 29 October 2014) as values, and how each goes on the wire.

QoS 2 is left out on purpose: a command here carries its own id, epoch and expiry, so that "exactly once" between two
neighbours would promise nothing about the device behind them.
"""

from __future__ import annotations

import struct

from msgspec import Struct

MOST_TEXT = 65_535
MOST_REMAINING = 268_435_455  # 2.2.3: four bytes of seven bits
CONNACK_REASONS = {
    1: "unacceptable protocol version",
    2: "client id rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorised",
}  # 3.2.2.3


class PacketError(ValueError):
    """Bytes that are no packet of ours, or a packet that the standard forbids: close the connection."""


class Will(Struct, frozen=True):
    """What the broker says for a client that goes without a word (3.1.2.5)."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Connect(Struct, frozen=True):
    """A client's first packet (3.1). `keep_alive_s` 0: none."""

    client_id: str
    clean: bool = True
    keep_alive_s: int = 0
    user: str | None = None
    password: bytes | None = None
    will: Will | None = None


class ConnAck(Struct, frozen=True):
    """The broker's answer to Connect (3.2); code 0: accepted."""

    code: int
    session_present: bool = False


class Publish(Struct, frozen=True):
    """A message (3.3). `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0


class PubAck(Struct, frozen=True):
    """The receiver has a message of QoS 1 (3.4)."""

    packet_id: int


class Subscribe(Struct, frozen=True):
    """Filters with the highest QoS wanted of each (3.8)."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class SubAck(Struct, frozen=True):
    """The QoS granted to each filter, 0x80 where refused (3.9)."""

    packet_id: int
    codes: tuple[int, ...]


class Unsubscribe(Struct, frozen=True):
    """Filters that are wanted no more (3.10)."""

    packet_id: int
    filters: tuple[str, ...]


class UnsubAck(Struct, frozen=True):
    """The answer to Unsubscribe (3.11)."""

    packet_id: int


class PingReq(Struct, frozen=True):
    """A client's sign of life (3.12)."""


class PingResp(Struct, frozen=True):
    """The broker's (3.13)."""


class Disconnect(Struct, frozen=True):
    """A client goes on purpose; its will is not spoken (3.14)."""


Packet = (
    Connect | ConnAck | Publish | PubAck | Subscribe | SubAck | Unsubscribe | UnsubAck | PingReq | PingResp | Disconnect
)


def octets(packet: Packet) -> bytes:
    """Return a packet as it goes on the wire.

    Raises:
        PacketError: A field breaks a limit of the standard.
    """
    match packet:
        case Connect():
            return _framed(0x10, _connect_body(packet))
        case ConnAck(code, present):
            return _framed(0x20, bytes((int(present), code)))
        case Publish():
            return _publish(packet)
        case PubAck(number):
            return _framed(0x40, _number(number))
        case Subscribe(number, filters):
            return _framed(0x82, _number(number) + b"".join(_text(f, "filter") + bytes((q,)) for f, q in filters))
        case SubAck(number, codes):
            return _framed(0x90, _number(number) + bytes(codes))
        case Unsubscribe(number, names):
            return _framed(0xA2, _number(number) + b"".join(_text(name, "filter") for name in names))
        case UnsubAck(number):
            return _framed(0xB0, _number(number))
        case PingReq():
            return b"\xc0\x00"
        case PingResp():
            return b"\xd0\x00"
        case Disconnect():
            return b"\xe0\x00"


def _publish(packet: Publish) -> bytes:
    if packet.qos not in (0, 1):
        raise PacketError(f"qos {packet.qos}: give 0 or 1")
    if not packet.topic or "#" in packet.topic or "+" in packet.topic:
        raise PacketError(f"topic {packet.topic!r}: give a name without wildcards (3.3.2.1)")
    flags = 0x30 | packet.duplicate << 3 | packet.qos << 1 | packet.retain
    number = _number(packet.packet_id) if packet.qos else b""
    return _framed(flags, _text(packet.topic, "topic") + number + packet.payload)


def _connect_body(packet: Connect) -> bytes:
    if packet.password is not None and packet.user is None:
        raise PacketError("a password without a user name (3.1.2.9)")
    if not 0 <= packet.keep_alive_s <= 65_535:
        raise PacketError(f"keep_alive_s {packet.keep_alive_s}: give 0 to 65535")
    flags = packet.clean << 1
    tail = _text(packet.client_id, "client id")
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        tail += _text(packet.will.topic, "will topic") + _blob(packet.will.payload, "will payload")
    if packet.user is not None:
        flags |= 0x80
        tail += _text(packet.user, "user name")
    if packet.password is not None:
        flags |= 0x40
        tail += _blob(packet.password, "password")
    return b"\x00\x04MQTT\x04" + bytes((flags,)) + struct.pack(">H", packet.keep_alive_s) + tail


def _framed(head: int, body: bytes) -> bytes:
    size = len(body)
    if size > MOST_REMAINING:
        raise PacketError(f"a packet of {size} bytes: at most {MOST_REMAINING}")
    length = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes((head,)) + bytes(length) + body


def _number(packet_id: int) -> bytes:
    if not 1 <= packet_id <= 65_535:
        raise PacketError(f"packet id {packet_id}: give 1 to 65535")
    return struct.pack(">H", packet_id)


def _text(text: str, what: str) -> bytes:
    if "\0" in text:
        raise PacketError(f"{what}: a NUL is not allowed (1.5.3)")
    try:
        return _blob(text.encode("utf-8"), what)
    except UnicodeEncodeError:
        raise PacketError(f"{what}: a lone surrogate is not allowed (1.5.3)") from None


def _blob(raw: bytes, what: str) -> bytes:
    if len(raw) > MOST_TEXT:
        raise PacketError(f"{what} of {len(raw)} bytes: at most {MOST_TEXT}")
    return struct.pack(">H", len(raw)) + raw
