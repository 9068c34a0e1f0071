"""A process of our own beside this one: it runs one of our modules, and the two speak pickle over its standard pipes.

What is told is done in the order in which it came, while we go on; only who asks waits, and who tells more than `ROOM`
before the process takes it. Nobody else holds the pipes, so what is unpickled was pickled by our own code.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog

from tieline.errors import InvariantError

if sys.platform == "linux":
    import fcntl

_log = structlog.get_logger("tieline.aside")
ROOM = 1 << 20
"""So much may be told before a process takes it (bytes): one that has just begun reads its modules for seconds, and a
fleet of a thousand is more than the 64 KiB that pipes hold else. Where the system gives less, who tells waits."""


class Aside:
    """A child process; `end` it."""

    def __init__(self, child: subprocess.Popen[bytes], name: str) -> None:
        self._child, self._name = child, name

    @classmethod
    def begun(cls, module: str, name: str) -> Aside | None:
        """Return a process that runs a module; None where none can be begun: then its work is done in line.

        Args:
            module: Its full name; run as a program it reads `told()` and gives its answers to `answer`.
            name: What messages call it.
        """
        if not sys.executable:
            return None
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            _log.info("work is done in line", of=name, why=str(error))
            return None
        if sys.platform == "linux" and child.stdin is not None:
            with suppress(OSError):
                fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, ROOM)
        return cls(child, name)

    def tell(self, what: object) -> None:
        """Tell it something. Raises InvariantError where it has ended."""
        pipe = self._child.stdin
        assert pipe is not None
        try:
            pickle.dump(what, pipe, pickle.HIGHEST_PROTOCOL)
            pipe.flush()
        except (OSError, ValueError) as error:  # broken, or closed by us
            raise InvariantError(f"{self._name} process has ended ({self._child.poll()}): {error}") from error

    def heard(self) -> Any:
        """Return its next answer, once it has come. Raises InvariantError where it has ended."""
        assert self._child.stdout is not None
        try:
            return pickle.load(self._child.stdout)
        except (EOFError, ValueError, pickle.UnpicklingError) as error:  # cut, or closed by us
            raise InvariantError(f"{self._name} process has ended ({self._child.wait()})") from error

    def end(self) -> None:
        """End it, whatever it does."""
        self._child.kill()
        with self._child:
            pass


def told() -> Iterator[Any]:
    """Yield what a child is told, until nobody is there to tell it anything."""
    while True:
        try:
            yield pickle.load(sys.stdin.buffer)
        except EOFError:
            return


def answer(what: object) -> None:
    """Answer who began this process."""
    pickle.dump(what, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()
