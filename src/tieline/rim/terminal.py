"""Enter, pressed in the terminal that started the process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_AGAIN_S = 1.0


@contextmanager
def at_enter(act: Callable[[], None], terminal: int | None = None) -> Iterator[bool]:
    """Do `act` each time Enter is pressed; yield whether there is a terminal where that can be.

    Args:
        act: What to do; it is called on the running loop.
        terminal: Descriptor of the terminal; None: standard input, where that is one.
    """
    number = terminal if terminal is not None else _standard_input()
    if number is None or not os.isatty(number):
        yield False
        return
    loop = asyncio.get_running_loop()
    later: asyncio.TimerHandle | None = None

    def read() -> None:
        nonlocal later
        # The kernel stops whoever reads from the background (SIGTTIN, POSIX 11.1.4): the line is another's.
        try:
            is_ours = terminal is not None or os.tcgetpgrp(number) == os.getpgrp()
        except OSError:  # a terminal, and not that of our session (ENOTTY): no line of it is for us
            loop.remove_reader(number)
            return
        if not is_ours:
            loop.remove_reader(number)
            later = loop.call_later(LOOK_AGAIN_S, loop.add_reader, number, read)
        elif os.read(number, 4096):
            act()
        else:  # Ctrl-D
            loop.remove_reader(number)

    loop.add_reader(number, read)
    try:
        yield True
    finally:
        loop.remove_reader(number)
        if later is not None:
            later.cancel()


def _standard_input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it was closed or replaced
        return None
