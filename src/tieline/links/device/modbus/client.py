"""One Modbus TCP connection: many requests at once, each answered by its transaction."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from tieline.errors import LinkDown, PeerError
from tieline.wire.modbus.frames import Frame, FrameError, FrameReader
from tieline.wire.modbus.pdu import PduError, Read, Refused, Write, read_answer

Answer = tuple[int, ...] | Refused


@dataclass(slots=True, eq=False)
class _Question:
    """A request that waits for its turn, or for its answer."""

    unit: int
    request: Read | Write
    pdu: bytes
    future: asyncio.Future[Answer]
    asked_s: float = 0.0
    octets: bytes = b""


class Client(asyncio.Protocol):
    """Requests over one stream; a request whose answer did not come is never sent again by itself.

    At most `in_flight` requests are out at once, as small gateways lose what they can't queue. When a time-out passes
    in which nothing at all was heard, `on_quiet` has the neighbours asked too: it may be one dead unit. If a question
    put after that finds nothing either, the stream is half open, and is cut. One timer watches over all requests, as
    all have the same time: a timer for each costs more than the request.
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
        self._out: dict[int, _Question] = {}  # by transaction, oldest first
        self._queue: deque[_Question] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._next, self._timeout_s, self._in_flight = 0, timeout_s, in_flight
        self._heard_s, self._quiet_s = 0.0, math.inf
        self.sent = self.received = self.errors = 0

    async def open(self, host: str, port: int) -> None:
        """Connect. Raises LinkDown where nobody answers."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._loop.create_connection(lambda: self, host, port)
        except (OSError, TimeoutError) as error:
            raise LinkDown(f"{host}:{port}: {error or 'no answer'}") from error

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def request(self, unit: int, request: Read | Write) -> Answer:
        """Return the answer to a request: registers, or the device's refusal. Raises as `exchange` does."""
        answer, _ = await self.exchange(unit, request)
        return answer

    async def exchange(self, unit: int, request: Read | Write) -> tuple[Answer, bytes]:
        """Return the answer to a request, and the frame in which it went out.

        Raises:
            LinkDown: No connection, or no answer in time.
            PeerError: An answer to another question.
            PduError: The request breaks a limit of the protocol; nothing was sent.
        """
        pdu = request.octets()
        if self._loop is None or not self.is_open:
            raise LinkDown("not connected")
        question = _Question(unit, request, pdu, self._loop.create_future())
        if len(self._out) < self._in_flight:
            self._ask(question)
        else:
            self._queue.append(question)
        return await question.future, question.octets

    def _ask(self, question: _Question) -> None:
        assert self._transport is not None and self._loop is not None
        self._next = (self._next + 1) & 0xFFFF
        octets = Frame(self._next, question.unit, question.pdu).octets()
        question.asked_s, question.octets = self._loop.time(), octets
        self._out[self._next] = question
        self._transport.write(octets)
        self.sent += 1
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(question.asked_s + self._timeout_s, self._sweep)

    def _ask_more(self) -> None:
        """Put the questions whose turn has come."""
        while self._queue and len(self._out) < self._in_flight and self.is_open:
            question = self._queue.popleft()
            if not question.future.done():
                self._ask(question)

    def _sweep(self) -> None:
        """Give up the questions whose time is over, and look again when that of the next is."""
        assert self._loop is not None
        self._sweeper = None
        now_s = self._loop.time()
        for transaction, question in list(self._out.items()):
            end_s = question.asked_s + self._timeout_s
            if end_s > now_s:
                self._sweeper = self._loop.call_at(end_s, self._sweep)
                break
            del self._out[transaction]
            if question.future.done():
                continue
            if self._heard_s < question.asked_s:
                self._note_quiet(question.asked_s, now_s)
            question.future.set_exception(LinkDown(f"unit {question.unit}: no answer in {self._timeout_s:g} s"))
        self._ask_more()

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
            question = self._out.pop(frame.transaction, None)
            if question is None or question.future.done():
                self.errors += 1  # late or duplicated: its question was given up or answered
                continue
            self.received += 1
            try:
                question.future.set_result(read_answer(question.request, frame.pdu))
            except PduError as error:
                question.future.set_exception(PeerError(str(error)))
        self._ask_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._fail(LinkDown(str(exc) if exc else "the device hung up"))
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._on_lost()

    def _fail(self, error: Exception) -> None:
        self.errors += 1
        waiting = [*self._out.values(), *self._queue]
        self._out.clear()
        self._queue.clear()
        for question in waiting:
            if not question.future.done():
                question.future.set_exception(error)
