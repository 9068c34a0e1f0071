"""An act of several records that has begun is recorded to its end, even where nothing new may be begun any more.

Theory of operation. An act makes its records one after another, and the disk may fill between two. Its first record
stands then, so that to refuse the rest would answer "not done" for what is done. Whoever acts says so by `act`; who
makes records durable notes that the act `begins`, and lets on whoever `has_begun`. What an act leaves running when it
is over counts as anybody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class _Act:
    has_begun = False
    is_urgent = False


_ACT: ContextVar[_Act | None] = ContextVar("act", default=None)


@contextmanager
def act() -> Iterator[None]:
    """Hold together what is recorded within, here and in tasks that this begins."""
    made = _Act()
    token = _ACT.set(made)
    try:
        yield
    finally:
        made.has_begun = made.is_urgent = False
        _ACT.reset(token)


def begins() -> None:
    """Note that a record of this act is on its way; without an act nothing is noted."""
    if (found := _ACT.get()) is not None:
        found.has_begun = True


def has_begun() -> bool:
    """Return whether a record of this act is on its way or durable."""
    found = _ACT.get()
    return found is not None and found.has_begun


def hastens() -> None:
    """Note that this act begins, and waits for no database; without an act nothing is noted."""
    begins()
    if (found := _ACT.get()) is not None:
        found.is_urgent = True


def is_urgent() -> bool:
    """Return whether this act waits for no database."""
    found = _ACT.get()
    return found is not None and found.is_urgent
