"""Modbus PDUs: requests and answers of the register functions (3, 4, 6, 16) and exceptions.

Limits and exception codes as in the Modbus Application Protocol V1.1b3, sections 6 and 7.
"""

from __future__ import annotations

import struct

from msgspec import Struct

MOST_READ = 125
MOST_WRITE = 123
READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE, ACKNOWLEDGE, BUSY = 1, 2, 3, 4, 5, 6
NO_PATH, NO_TARGET = 10, 11


class PduError(ValueError):
    """Bytes that are no such request or answer; `code` is the exception that a server answers with."""

    def __init__(self, text: str, code: int = ILLEGAL_VALUE) -> None:
        super().__init__(text)
        self.code = code


class Read(Struct, frozen=True):
    """Read `count` registers from `start`."""

    start: int
    count: int
    function: int = READ_HOLDING

    def octets(self) -> bytes:
        """Return the request's PDU. Raises PduError where it breaks a limit."""
        if not 1 <= self.count <= MOST_READ or not 0 <= self.start <= 0x10000 - self.count:
            raise PduError(f"read {self.count} registers from {self.start}: give 1 to {MOST_READ} below 65536")
        return struct.pack(">BHH", self.function, self.start, self.count)


class Write(Struct, frozen=True):
    """Write registers from `start`."""

    start: int
    registers: tuple[int, ...]

    def octets(self) -> bytes:
        """Return the request's PDU (function 16). Raises PduError where it breaks a limit."""
        count = len(self.registers)
        if not 1 <= count <= MOST_WRITE or not 0 <= self.start <= 0x10000 - count:
            raise PduError(f"write {count} registers from {self.start}: give 1 to {MOST_WRITE} below 65536")
        return struct.pack(f">BHHB{count}H", WRITE_MANY, self.start, count, 2 * count, *self.registers)


class Refused(Struct, frozen=True):
    """An exception answer."""

    function: int
    code: int


def read_request(pdu: bytes) -> Read | Write:
    """Return the request in a PDU.

    Raises:
        PduError: None of ours, or broken; its code is what to answer.
    """
    if not pdu:
        raise PduError("an empty request", ILLEGAL_FUNCTION)
    function = pdu[0]
    if function in (READ_HOLDING, READ_INPUT):
        if len(pdu) != 5:
            raise PduError(f"a read of {len(pdu)} bytes")
        start, count = struct.unpack_from(">HH", pdu, 1)
        # V1.1b3, 6.3: a wrong quantity is exception 3 before the addresses are looked at, which would be exception 2.
        if not 1 <= count <= MOST_READ:
            raise PduError(f"read {count} registers: give 1 to {MOST_READ}")
        if start + count > 0x10000:
            raise PduError(f"read {count} registers from {start}", ILLEGAL_ADDRESS)
        return Read(start, count, function)
    if function == WRITE_ONE:
        if len(pdu) != 5:
            raise PduError(f"a write of {len(pdu)} bytes")
        start, value = struct.unpack_from(">HH", pdu, 1)
        return Write(start, (value,))
    if function == WRITE_MANY:
        return _write_many(pdu)
    raise PduError(f"function {function}", ILLEGAL_FUNCTION)


def _write_many(pdu: bytes) -> Write:
    if len(pdu) < 6:
        raise PduError(f"a write of {len(pdu)} bytes")
    start, count, size = struct.unpack_from(">HHB", pdu, 1)
    if not 1 <= count <= MOST_WRITE or size != 2 * count or len(pdu) != 6 + size:
        raise PduError(f"write {count} registers in {len(pdu)} bytes: give 1 to {MOST_WRITE}")
    if start + count > 0x10000:
        raise PduError(f"write {count} registers from {start}", ILLEGAL_ADDRESS)
    return Write(start, struct.unpack_from(f">{count}H", pdu, 6))


def answer_read(request: Read, registers: tuple[int, ...]) -> bytes:
    """Return the answer to a read."""
    return struct.pack(f">BB{len(registers)}H", request.function, 2 * len(registers), *registers)


def answer_write(request_pdu: bytes, request: Write) -> bytes:
    """Return the answer to a write: an echo, of function 6 whole, of function 16 its address and count."""
    if request_pdu[0] == WRITE_ONE:
        return request_pdu
    return struct.pack(">BHH", WRITE_MANY, request.start, len(request.registers))


def answer_refused(function: int, code: int) -> bytes:
    """Return an exception answer."""
    return bytes((function | 0x80, code))


def read_answer(request: Read | Write, pdu: bytes) -> tuple[int, ...] | Refused:
    """Return the registers that an answer holds (none for a write), or the exception.

    Raises:
        PduError: It is no answer to this request.
    """
    if len(pdu) >= 2 and pdu[0] & 0x80:
        return Refused(pdu[0] & 0x7F, pdu[1])
    if isinstance(request, Read):
        if len(pdu) != 2 + 2 * request.count or pdu[0] != request.function or pdu[1] != 2 * request.count:
            raise PduError(f"{len(pdu)} bytes are no answer to a read of {request.count} registers")
        return struct.unpack_from(f">{request.count}H", pdu, 2)
    if pdu != struct.pack(">BHH", WRITE_MANY, request.start, len(request.registers)):
        raise PduError("the answer echoes another write")
    return ()


def read_echo(request_pdu: bytes, pdu: bytes) -> tuple[int, ...] | Refused:
    """Return () where an answer echoes a write by function 16 (its address and count), or the exception.

    Raises:
        PduError: It is no answer to this request.
    """
    if pdu == request_pdu[:5]:  # Modbus Application Protocol V1.1b3, 6.12
        return ()
    if len(pdu) >= 2 and pdu[0] & 0x80:
        return Refused(pdu[0] & 0x7F, pdu[1])
    raise PduError("the answer echoes another write")
