"""One Modbus TCP connection: many requests at once, each answered by its transaction."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import cast

from tieline.errors import LinkDown, PeerError
from tieline.wire.modbus.frames import Frame, FrameError, FrameReader
from tieline.wire.modbus.pdu import PduError, Read, Refused, Write, read_answer

Answer = tuple[int, ...] | Refused


class Client(asyncio.Protocol):
    """Requests over one stream; a request whose answer did not come is never sent again by itself.

    At most `in_flight` requests are out at once, as small gateways lose what they can't queue. When a time-out passes
    in which nothing at all was heard, `on_quiet` has the neighbours asked too: it may be one dead unit. If a question
    put after that finds nothing either, the stream is half open, and is cut.
    """

    def __init__(
        self,
        timeout_s: float = 3.0,
        on_lost: Callable[[], None] = lambda: None,
        in_flight: int = 16,
        on_quiet: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_lost, self._on_quiet = on_lost, on_quiet
        self._reader = FrameReader()
        self._waiting: dict[int, tuple[Read | Write, asyncio.Future[Answer]]] = {}
        self._transport: asyncio.Transport | None = None
        self._next, self._timeout_s = 0, timeout_s
        self._heard_s, self._quiet_s = 0.0, math.inf
        self._turn = asyncio.Semaphore(in_flight)
        self.sent = self.received = self.errors = 0
        self.last_frame = ""

    async def open(self, host: str, port: int) -> None:
        """Connect. Raises LinkDown where nobody answers."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except (OSError, TimeoutError) as error:
            raise LinkDown(f"{host}:{port}: {error or 'no answer'}") from error

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def request(self, unit: int, request: Read | Write) -> Answer:
        """Return the answer to a request: registers, or the device's refusal.

        Raises:
            LinkDown: No connection, or no answer in time.
            PeerError: An answer to another question.
            PduError: The request breaks a limit of the protocol; nothing was sent.
        """
        pdu = request.octets()
        async with self._turn:
            return await self._ask(unit, request, pdu)

    async def _ask(self, unit: int, request: Read | Write, pdu: bytes) -> Answer:
        if self._transport is None or self._transport.is_closing():
            raise LinkDown("not connected")
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        self._next = (self._next + 1) & 0xFFFF
        transaction = self._next
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[transaction] = (request, future)
        octets = Frame(transaction, unit, pdu).octets()
        self.last_frame = octets.hex()
        self._transport.write(octets)
        self.sent += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            if self._heard_s < asked_s:
                self._note_quiet(asked_s, loop.time())
            raise LinkDown(f"unit {unit}: no answer in {self._timeout_s:g} s") from None
        finally:
            self._waiting.pop(transaction, None)

    def _note_quiet(self, asked_s: float, now_s: float) -> None:
        if asked_s >= self._quiet_s and self._transport is not None:
            self._transport.abort()
        elif math.isinf(self._quiet_s):
            self._quiet_s = now_s
            self._on_quiet()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's
        self._heard_s = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        """Give each answer to who waits for it."""
        self._heard_s, self._quiet_s = asyncio.get_running_loop().time(), math.inf
        try:
            frames = self._reader.feed(data)
        except FrameError as error:
            self._fail(PeerError(str(error)))
            self.close()
            return
        for frame in frames:
            request, future = self._waiting.get(frame.transaction, (None, None))
            if request is None or future is None or future.done():
                self.errors += 1  # late or duplicated: its question was given up or answered
                continue
            self.received += 1
            try:
                future.set_result(read_answer(request, frame.pdu))
            except PduError as error:
                future.set_exception(PeerError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._fail(LinkDown(str(exc) if exc else "the device hung up"))
        self._on_lost()

    def _fail(self, error: Exception) -> None:
        self.errors += 1
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
