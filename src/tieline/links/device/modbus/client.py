"""One Modbus TCP connection: many requests at once, each answered by its transaction."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from tieline.errors import LinkDown, PeerError
from tieline.wire.modbus.frames import FrameError, FrameReader, frame_octets
from tieline.wire.modbus.pdu import PduError, Read, Refused, Write, read_answer, read_echo

Answer = tuple[int, ...] | Refused
Failure = LinkDown | PeerError
Then = Callable[[Answer | Failure, bytes], None]


@dataclass(slots=True, eq=False)
class Question:
    """A request that waits for its turn, or for its answer; `then` takes the answer and the frame that asked for it.

    `pdu` is what goes out. `request` is what it says; None: a write by function 16 that was laid out beforehand.
    `is_over`: nobody waits for its answer any more.
    """

    unit: int
    pdu: bytes
    request: Read | Write | None
    then: Then
    asked_s: float = 0.0
    octets: bytes = b""
    is_over: bool = False


class Client(asyncio.Protocol):
    """Requests over one stream; a request whose answer did not come is never sent again by itself.

    At most `in_flight` requests are out at once, as small gateways lose what they can't queue. When a time-out passes
    in which nothing at all was heard, `on_quiet` has the neighbours asked too: it may be one dead unit. If a question
    put after that finds nothing either, the stream is half open, and is cut. One timer watches over all requests, as
    all have the same time: a timer for each costs more than the request. What is asked in one go leaves in one write,
    as a call of the operating system costs more than the frame.
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
        self._out: dict[int, Question] = {}  # by transaction, oldest first
        self._queue: deque[Question] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._next, self._timeout_s, self._in_flight, self._is_hearing = 0, timeout_s, in_flight, False
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
        future: asyncio.Future[tuple[Answer, bytes]] = asyncio.get_running_loop().create_future()

        def then(answer: Answer | Failure, octets: bytes) -> None:
            if future.done():
                return
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result((answer, octets))

        question = Question(unit, pdu, request, then)
        self.ask((question,))
        try:
            return await future
        finally:
            question.is_over = True

    def ask(self, questions: Iterable[Question]) -> None:
        """Put questions, in order: at once as many as may be out, the others when their turn comes.

        Without a connection each is told LinkDown now, and none is kept for later.
        """
        if self._loop is None or not self.is_open:
            for question in questions:
                question.then(LinkDown("not connected"), b"")
            return
        self._queue.extend(questions)
        if not self._is_hearing:  # else what was heard together is answered together
            self._ask_more()

    def _ask_more(self) -> None:
        """Put the questions whose turn has come, in one write."""
        if not self._queue or len(self._out) >= self._in_flight or not self.is_open:
            return
        assert self._transport is not None and self._loop is not None
        now_s, frames = self._loop.time(), []
        while self._queue and len(self._out) < self._in_flight:
            question = self._queue.popleft()
            if question.is_over:
                continue
            self._next = (self._next + 1) & 0xFFFF
            question.asked_s = now_s
            question.octets = frame_octets(self._next, question.unit, question.pdu)
            self._out[self._next] = question
            frames.append(question.octets)
        self.sent += len(frames)
        if self._sweeper is None and frames:
            self._sweeper = self._loop.call_at(now_s + self._timeout_s, self._sweep)
        self._transport.write(b"".join(frames))

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
            if question.is_over:
                continue
            if self._heard_s < question.asked_s:
                self._note_quiet(question.asked_s, now_s)
            question.then(LinkDown(f"unit {question.unit}: no answer in {self._timeout_s:g} s"), question.octets)
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
            self.close()  # first: what is told now can't put another question into a broken stream
            self._fail(PeerError(str(error)))
            return
        self._is_hearing = True
        for frame in frames:
            question = self._out.pop(frame.transaction, None)
            if question is None or question.is_over:
                self.errors += 1  # late or duplicated: its question was given up or answered
                continue
            self.received += 1
            question.then(_answer(question, frame.pdu), question.octets)
        self._is_hearing = False
        self._ask_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._fail(LinkDown(str(exc) if exc else "the device hung up"))
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._on_lost()

    def _fail(self, error: Failure) -> None:
        self.errors += 1
        waiting = [*self._out.values(), *self._queue]
        self._out.clear()
        self._queue.clear()
        for question in waiting:
            if not question.is_over:
                question.then(error, question.octets)


def _answer(question: Question, pdu: bytes) -> Answer | PeerError:
    try:
        if question.request is None:
            return read_echo(question.pdu, pdu)
        return read_answer(question.request, pdu)
    except PduError as error:
        return PeerError(str(error))
