"""Modbus TCP frames: a byte stream cut into application data units, wherever the network cut it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_SIZE = 7  # transaction, protocol, length, unit
MAX_LENGTH = 254  # unit plus a 253-byte PDU; Modbus Messaging on TCP/IP V1.0b, 3.1.3


class FrameError(ValueError):
    """The peer sent bytes that can't be a Modbus TCP frame; drop the connection."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or answer."""

    transaction: int
    unit: int
    pdu: bytes

    def octets(self) -> bytes:
        """Return the frame as it goes on the wire."""
        return struct.pack(">HHHB", self.transaction, 0, len(self.pdu) + 1, self.unit) + self.pdu


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take in `data` and return the frames that it completes, oldest first.

        Raises:
            FrameError: The stream is no Modbus TCP.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._buffer) < HEADER_SIZE:
            return None
        transaction, protocol, length, unit = struct.unpack_from(">HHHB", self._buffer)
        if protocol != 0 or not 2 <= length <= MAX_LENGTH:
            raise FrameError(f"protocol {protocol}, length {length}: not a Modbus TCP header")
        end = 6 + length
        if len(self._buffer) < end:
            return None
        frame = Frame(transaction, unit, bytes(self._buffer[HEADER_SIZE:end]))
        del self._buffer[:end]
        return frame
