"""`tieline serve` whose clock runs so many seconds ahead: the day after, without waiting for it."""

import asyncio
import sys
from pathlib import Path

from tieline.node.serve import serve
from tieline.rim.clock import SystemClock
from tieline.times import SECOND_NS


class Later:
    def __init__(self, seconds: int) -> None:
        self._ahead_ns, self._clock = seconds * SECOND_NS, SystemClock()

    def now_ns(self) -> int:
        return self._clock.now_ns() + self._ahead_ns


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), 0, lambda line: print(line, flush=True), clock=Later(int(sys.argv[2]))))
