"""The twin in a process of its own, beside the story: nobody waits for its steps.

It costs a third of the world's own physics, every minute of a story, and is asked seldom: when a device opts out, when
a relief is looked at, and by the report. The two processes speak pickle over a pipe that nobody else holds.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from tieline.errors import InvariantError
from tieline.node.metering import Meters
from tieline.node.twin import Gap, Leaving, Twin
from tieline.simulate.world import World

_log = structlog.get_logger("tieline.twin")
Floats = NDArray[np.float64]


class TwinAside:
    """A `Leaving` in a child process; `end` it."""

    def __init__(self, child: subprocess.Popen[bytes], world: World, meters: Meters) -> None:
        self._child = child
        self._tell((world.apart(), meters))

    def step(self, now_ns: int, seconds: float, commanded: World, counts: NDArray[np.bool_]) -> None:
        """See `Leaving.step`."""
        self._tell((now_ns, seconds, commanded.site_pu, commanded.power_w, counts))

    def power_w(self) -> Floats:
        """See `Leaving.power_w`."""
        power_w: Floats = self._asked("power_w")
        return power_w

    def gaps(self) -> Mapping[int, Gap]:
        """See `Leaving.gaps`."""
        gaps: Mapping[int, Gap] = self._asked("gaps")
        return gaps

    def _tell(self, what: object) -> None:
        pipe = self._child.stdin
        assert pipe is not None
        try:
            pickle.dump(what, pipe, pickle.HIGHEST_PROTOCOL)
            pipe.flush()
        except (OSError, ValueError) as error:  # broken, or closed by us
            raise InvariantError(f"the twin's process has ended ({self._child.poll()}): {error}") from error

    def _asked(self, what: str) -> Any:
        self._tell(what)
        assert self._child.stdout is not None
        try:
            return pickle.load(self._child.stdout)
        except EOFError as error:
            raise InvariantError(f"the twin's process has ended ({self._child.wait()})") from error


class Waiting:
    """A process that waits for the world it is to leave alone: begun early, it is there when the story opens."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begin the process; without one the twin is moved in line."""
        if not sys.executable:
            return
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tieline.node.twin_aside"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            _log.info("the twin is moved in line", why=str(error))

    def twin(self, world: World, meters: Meters) -> Leaving:
        """Return the twin of a world from here on."""
        return Twin(world, meters) if self._child is None else TwinAside(self._child, world, meters)

    async def end(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with child:
                pass


def main() -> None:
    """Be the twin of the world that comes first over standard input, until that ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    twin = Twin(*pickle.load(source))
    while True:
        try:
            told = pickle.load(source)
        except EOFError:
            return
        if isinstance(told, str):
            pickle.dump(getattr(twin, told)(), sink, pickle.HIGHEST_PROTOCOL)
            sink.flush()
        else:
            twin.move(*told)


if __name__ == "__main__":
    main()
