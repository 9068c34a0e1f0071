"""Modbus TCP frames: a byte stream cut into application data units, wherever the network cut it."""

from __future__ import annotations

import struct

from msgspec import Struct

_HEADER = struct.Struct(">HHHB")
HEADER_SIZE = 7  # transaction, protocol, length, unit
MAX_LENGTH = 254  # unit plus a 253-byte PDU; Modbus Messaging on TCP/IP V1.0b, 3.1.3


class FrameError(ValueError):
    """The peer sent bytes that can't be a Modbus TCP frame; drop the connection."""


class Frame(Struct, frozen=True):
    """One request or answer."""

    transaction: int
    unit: int
    pdu: bytes

    def octets(self) -> bytes:
        """Return the frame as it goes on the wire."""
        return frame_octets(self.transaction, self.unit, self.pdu)


def frame_octets(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Return a frame as it goes on the wire, without making a `Frame` of it: ten thousand are sent in a moment."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take in `data` and return the frames that it completes, oldest first.

        Raises:
            FrameError: The stream is no Modbus TCP.
        """
        octets = self._left + data if self._left else bytes(data)
        at, size, frames = 0, len(octets), []
        while size - at >= HEADER_SIZE:
            transaction, protocol, length, unit = _HEADER.unpack_from(octets, at)
            # A stream has no marker to find the next frame by: after one wrong header every byte behind it is a guess.
            if protocol != 0 or not 2 <= length <= MAX_LENGTH:
                self._left = octets[at:]
                raise FrameError(f"protocol {protocol}, length {length}: not a Modbus TCP header")
            # The length counts what follows it: the unit id and the PDU, behind six bytes of header.
            end = at + 6 + length
            if end > size:
                break
            frames.append(Frame(transaction, unit, octets[at + HEADER_SIZE : end]))
            at = end
        self._left = octets[at:]
        return frames
