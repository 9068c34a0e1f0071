"""How a process ends that has said all it had to say: at once, without taking the interpreter apart.

Native threads of libraries (Arrow's workers) outlive the work that they were given. One that lets go of a Python object
while the interpreter is taken apart is ended by it in the midst of C++ code, which calls that a crash (SIGABRT): a verb
that had done its work ended with 134 in one of seven runs on a busy machine. What is registered with `atexit` has run
by then, and threads that are waited for have ended.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable


class Leaving:
    """Leaves with the code that `run` came to, once all else that is registered with `atexit` has run.

    Make it before anything else is imported that registers there: the first is run last.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        self._process = os.getpid()
        atexit.register(self._leave)

    def run(self, main: Callable[[], object]) -> None:
        """Run `main` to its end; what it raises goes on, and is the code that the process ends with."""
        try:
            main()
            self._code = 0
        except SystemExit as end:
            self._code = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise

    def _leave(self) -> None:
        if self._code is None or os.getpid() != self._process:
            return  # an error that nobody caught, or a child of this process: Python ends those
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except (OSError, ValueError):
            return  # nobody reads any more: Python says so in its own way
        logging.shutdown()
        os._exit(self._code)
