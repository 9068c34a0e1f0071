"""The twin in a process of its own, beside the story: nobody waits for its steps.

It costs a third of the world's own physics, every minute of a story, and is asked seldom: when a device opts out, when
a relief is looked at, and by the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.node.metering import Meters
from tieline.node.twin import Gap, Twin
from tieline.rim.aside import Aside, answer, told
from tieline.simulate.world import World

Floats = NDArray[np.float64]


class TwinAside:
    """A `Leaving` in a child process."""

    def __init__(self, aside: Aside, world: World, meters: Meters) -> None:
        self._aside = aside
        aside.tell((world.apart(), meters))

    def step(self, now_ns: int, seconds: float, commanded: World, counts: NDArray[np.bool_]) -> None:
        """See `Leaving.step`."""
        self._aside.tell((now_ns, seconds, commanded.seen_pu, commanded.power_w, counts))

    def power_w(self) -> Floats:
        """See `Leaving.power_w`."""
        power_w: Floats = self._asked("power_w")
        return power_w

    def gaps(self) -> Mapping[int, Gap]:
        """See `Leaving.gaps`."""
        gaps: Mapping[int, Gap] = self._asked("gaps")
        return gaps

    def _asked(self, what: str) -> Any:
        self._aside.tell(what)
        return self._aside.heard()


def main() -> None:
    """Be the twin of the world that comes first over standard input, until that ends."""
    given = told()
    twin = Twin(*next(given))
    for one in given:
        if isinstance(one, str):
            answer(getattr(twin, one)())
        else:
            twin.move(*one)


if __name__ == "__main__":
    main()
