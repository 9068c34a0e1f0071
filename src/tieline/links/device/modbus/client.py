"""One Modbus TCP connection: as many requests at once as its host answers, each answered by its transaction."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from tieline.errors import LinkDown, PeerError
from tieline.links.device.modbus.line import Answer, Failure, Line, Question
from tieline.links.device.modbus.room import Room
from tieline.wire.modbus.frames import FrameError, FrameReader, frame_octets
from tieline.wire.modbus.pdu import PduError, Read, Write, read_answer, read_echo

LEAST_S = 0.25
"""So long (s) an answer is waited for at least that should be there by the measure of its host."""
WORST = 4.0
"""So many times as long as the slowest of late it is waited for."""


class GaveWay(LinkDown):
    """A poll was withdrawn before it left, for a command of the same unit."""


class Client(asyncio.Protocol):
    """Requests over one stream, as many at once as their host was found to answer (`room`); commands before polls.

    A request whose answer did not come while it was out alone is never sent again by itself. One that was lost beside
    others is put once more, alone, before it is called lost: it says what it said, and its unit was told nothing since,
    as each unit is told one thing after the other. When a time-out passes in which nothing at all was heard, `on_quiet`
    has the neighbours asked too: it may be one dead unit. If a question put after that finds nothing either, the stream
    is half open, and is cut. One timer watches over all requests: a timer for each costs more than the request. What is
    asked in one go leaves in one write, as a call of the operating system costs more than the frame.
    """

    def __init__(
        self,
        timeout_s: float = 3.0,
        on_lost: Callable[[], None] = lambda: None,
        room: Room | None = None,
        on_quiet: Callable[[], None] = lambda: None,
    ) -> None:
        """Make one. `room`: what is known of the host; None: it takes 16 at once."""
        self._on_lost, self._on_quiet = on_lost, on_quiet
        self._reader = FrameReader()
        self._out: dict[int, Question] = {}  # by transaction, oldest first
        self._line = Line()
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._room = room or Room(16, proven=16)
        self._trial = self._trial_heard = 0  # so many are out to find out whether that many are answered
        self._lost: deque[Question] = deque()  # beside others: each is put again, first of all
        self._late: dict[int, Question] = {}  # those, by their first transaction
        self._is_doubting = self._was_trial = self._was_heard = False
        self._answered_again = self._answered_late = 0
        self._slowest_s = 0.0
        self._next, self._timeout_s, self._is_hearing = 0, timeout_s, False
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
            GaveWay: It was withdrawn before it left.
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
        self._line.put(questions)
        if not self._is_hearing:  # else what was heard together is answered together
            self._ask_more()

    def hurry(self, unit: int) -> None:
        """Have what a unit is asked from now on go ahead of polls: it is for a command."""
        self._line.hurry(unit)

    def ease(self, unit: int) -> None:
        """Have what a unit is asked from now on be polls."""
        self._line.ease(unit)

    def withdraw(self, unit: int) -> None:
        """Take back a poll of a unit that has not left; who asked is told GaveWay."""
        for question in self._line.withdraw(unit):
            question.is_over = True
            question.then(GaveWay(f"unit {unit}: a command goes first"), b"")

    # --- what may go out ---------------------------------------------------------------------------------------------

    def _ask_more(self) -> None:
        """Put the questions whose turn has come, in one write."""
        room, out = self._room, self._out
        if self._trial and not out:
            if self._trial_heard == self._trial and not self._is_doubting:
                room.grow(self._trial)
            self._trial = self._trial_heard = 0
        if self._trial or not (self._line or self._is_doubting) or len(out) >= room.proven or not self.is_open:
            return
        assert self._transport is not None and self._loop is not None
        now_s = self._loop.time()
        questions = self._due(now_s)
        if not questions:
            return
        if len(out) == 1:
            next(iter(out.values())).is_beside = True
        is_beside, frames = len(out) + len(questions) > 1, []
        for question in questions:
            self._next = (self._next + 1) & 0xFFFF
            question.asked_s, question.is_beside = now_s, is_beside
            question.octets = frame_octets(self._next, question.unit, question.pdu)
            if question.is_again:
                is_heard = self._heard_s >= question.first_s
                question.end_s = max(question.end_s, now_s + (self._patience_s() if is_heard else self._timeout_s))
            else:
                question.first_s, question.end_s = now_s, now_s + self._timeout_s
            out[self._next] = question
            frames.append(question.octets)
        self.sent += len(frames)
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(questions[0].end_s, self._sweep)
        self._transport.write(b"".join(frames))

    def _due(self, now_s: float) -> list[Question]:
        """Take from those that wait what may go out now."""
        if self._is_doubting:
            if self._out:
                return []  # whoever is put again is put alone
            while self._lost:
                if not (question := self._lost.popleft()).is_over:
                    return [question]
            self._conclude(now_s)
        room = self._room
        if self._line.is_of_reads and (count := room.to_try(now_s)) > room.proven:
            found = self._line.reads(count, room.may_try)
            if len(found) > room.proven and all(room.may_try(question.unit) for question in self._out.values()):
                if self._out:
                    return []  # as soon as these are answered
                self._line.leave(found)
                self._trial = len(found)
                return found
        return self._line.take(room.proven - len(self._out))

    def _patience_s(self) -> float:
        """Return how long an answer is waited for that should be there by what the host took of late."""
        return min(max(WORST * self._slowest_s, LEAST_S), self._timeout_s)

    # --- what is lost ------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Give up the questions whose time is over, or put them again; look again when that of the next is."""
        assert self._loop is not None
        self._sweeper = None
        now_s, room = self._loop.time(), self._room
        for transaction, question in list(self._out.items()):
            if question.end_s > now_s:
                self._sweeper = self._loop.call_at(question.end_s, self._sweep)
                break
            del self._out[transaction]
            if question.is_over:
                continue
            is_heard = self._heard_s >= question.first_s
            if self._is_doubtful(question, is_heard):
                self._doubt(transaction, question)
                continue
            if not is_heard and (room.is_silent or question.unit not in room.silent):
                self._note_quiet(question.asked_s, now_s)
            room.silent.add(question.unit)
            question.is_over = True
            question.then(LinkDown(f"unit {question.unit}: no answer in {self._timeout_s:g} s"), question.octets)
        self._ask_more()

    def _is_doubtful(self, question: Question, is_heard: bool) -> bool:
        """Return whether a question may be lost because of those that were out beside it."""
        is_known = question.is_again or question.unit in self._room.silent
        return question.is_beside and not is_known and (is_heard or self._trial > 0)

    def _doubt(self, transaction: int, question: Question) -> None:
        question.is_again = True
        question.end_s = question.first_s + self._timeout_s
        self._late[transaction] = question
        self._lost.append(question)
        self._is_doubting = True
        self._was_trial |= self._trial > 0
        self._was_heard |= self._trial_heard > 0

    def _conclude(self, now_s: float) -> None:
        """End a doubt: of what was lost beside others so many were answered alone."""
        room, again = self._room, self._answered_again
        if self._was_trial:
            if again:
                room.failed(self._was_heard, now_s)
        elif again:
            room.narrow(1 if again > 1 else room.proven // 2, now_s)
        elif self._answered_late:
            room.was_late(now_s)
        self._is_doubting = self._was_trial = self._was_heard = False
        self._answered_again = self._answered_late = 0
        self._late.clear()

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

    # --- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the stream."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of asyncio's
        self._heard_s = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        """Give each answer to who waits for it."""
        loop = asyncio.get_running_loop()
        self._heard_s, self._quiet_s = loop.time(), math.inf
        try:
            frames = self._reader.feed(data)
        except FrameError as error:
            self.close()  # first: what is told now can't put another question into a broken stream
            self._fail(PeerError(str(error)))
            return
        self._is_hearing = True
        for frame in frames:
            late = self._late.pop(frame.transaction, None)
            question = late or self._out.pop(frame.transaction, None)
            if question is None or question.is_over:
                self.errors += 1  # late or duplicated: its question was given up or answered
                continue
            self.received += 1
            self._learn(question, late is not None)
            question.then(_answer(question, frame.pdu), question.octets)
        if not self._out and self._room.proven < self._room.most:
            loop.call_soon(self._heard_out)  # who was answered may ask more, and be part of a trial
        else:
            self._heard_out()

    def _heard_out(self) -> None:
        self._is_hearing = False
        self._ask_more()

    def _learn(self, question: Question, is_late: bool) -> None:
        """Take that a question was answered; `is_late`: as it was put first, though it is to be put again by now."""
        room, took_s = self._room, self._heard_s - (question.first_s if is_late else question.asked_s)
        self._slowest_s = max(took_s, 0.9 * self._slowest_s)
        if room.silent:
            room.silent.discard(question.unit)
        if is_late:
            room.slow.add(question.unit)
            self._answered_late += 1
            question.is_over = True
        elif question.is_again:
            self._answered_again += 1
            question.is_over = True
        elif self._trial:
            self._trial_heard += 1
            if self._trial_heard == 1 and self._out:
                self._hasten(self._heard_s + self._patience_s() * self._trial)

    def _hasten(self, end_s: float) -> None:
        """Wait for the rest of a trial no longer than until then: who takes all of it has answered it by then."""
        assert self._loop is not None
        for question in self._out.values():
            question.end_s = min(question.end_s, end_s)
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = self._loop.call_at(min(question.end_s for question in self._out.values()), self._sweep)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._fail(LinkDown(str(exc) if exc else "the device hung up"))
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._on_lost()

    def _fail(self, error: Failure) -> None:
        self.errors += 1
        waiting = [*self._out.values(), *self._lost, *self._line]
        self._is_doubting = self._was_trial = self._was_heard = False
        self._trial = self._trial_heard = self._answered_again = self._answered_late = 0
        self._out.clear()
        self._lost.clear()
        self._late.clear()
        self._line.clear()
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
