"""The questions that wait for their turn at one host: commands first, then what they need read, then polls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from tieline.errors import LinkDown, PeerError
from tieline.wire.modbus.pdu import Read, Refused, Write

Answer = tuple[int, ...] | Refused
Failure = LinkDown | PeerError
Then = Callable[[Answer | Failure, bytes], None]
TURN = 8
"""So many commands and their reads go ahead of polls that wait, until one of these has its turn."""


@dataclass(slots=True, eq=False)
class Question:
    """A request that waits for its turn, or for its answer; `then` takes the answer and the frame that asked for it.

    `pdu` is what goes out. `request` is what it says; None: a write by function 16 that was laid out beforehand.
    `is_over`: nobody waits for its answer any more. `is_beside`: others were out with it. `is_again`: its answer was
    lost then, and it is put once more; it was put first at `first_s`, and is given up at `end_s` (s of the loop).
    """

    unit: int
    pdu: bytes
    request: Read | Write | None
    then: Then
    asked_s: float = 0.0
    octets: bytes = b""
    is_over: bool = False
    is_beside: bool = False
    is_again: bool = False
    first_s: float = 0.0
    end_s: float = 0.0


class Line:
    """Questions in order; a unit asks one thing after the other, so that nothing of a unit overtakes the rest of it."""

    def __init__(self) -> None:
        self._writes: deque[Question] = deque()
        self._ahead: deque[Question] = deque()
        self._polls: deque[Question] = deque()
        self._units: set[int] = set()
        self._passed = 0

    def __bool__(self) -> bool:
        return bool(self._writes or self._ahead or self._polls)

    def __iter__(self) -> Iterator[Question]:
        yield from (*self._writes, *self._ahead, *self._polls)

    @property
    def is_of_reads(self) -> bool:
        """Whether no command waits."""
        return not self._writes

    def hurry(self, unit: int) -> None:
        """Have what a unit is asked go ahead of polls from now on, for a command."""
        self._units.add(unit)

    def ease(self, unit: int) -> None:
        """Have what a unit is asked be polls again."""
        self._units.discard(unit)

    def put(self, questions: Iterable[Question]) -> None:
        """Take questions in, in order."""
        for question in questions:
            if not isinstance(question.request, Read):
                self._writes.append(question)
            elif question.unit in self._units:
                self._ahead.append(question)
            else:
                self._polls.append(question)

    def take(self, most: int) -> list[Question]:
        """Return at most so many that are due, and forget them."""
        found: list[Question] = []
        while len(found) < most and self:
            question = self._next()
            if not question.is_over:
                found.append(question)
        return found

    def _next(self) -> Question:
        if self._polls and (self._passed >= TURN or not (self._writes or self._ahead)):
            self._passed = 0
            return self._polls.popleft()
        self._passed += bool(self._polls)
        return (self._writes or self._ahead).popleft()

    def reads(self, most: int, may: Callable[[int], bool]) -> list[Question]:
        """Return at most so many reads that wait, of units that `may` be taken; they stay."""
        found: list[Question] = []
        for question in chain(self._ahead, self._polls):
            if len(found) >= most:
                break
            if not question.is_over and may(question.unit):
                found.append(question)
        return found

    def leave(self, questions: Iterable[Question]) -> None:
        """Forget reads that go out."""
        gone = set(map(id, questions))
        self._ahead, self._polls = (
            deque(question for question in line if id(question) not in gone) for line in (self._ahead, self._polls)
        )

    def withdraw(self, unit: int) -> list[Question]:
        """Return the polls of a unit that wait, and forget them."""
        found = [question for question in self._polls if question.unit == unit and not question.is_over]
        self.leave(found)
        return found

    def clear(self) -> None:
        """Forget all."""
        for line in (self._writes, self._ahead, self._polls):
            line.clear()
