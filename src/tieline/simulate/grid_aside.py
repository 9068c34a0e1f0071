"""The power flow of a world in a process of its own, while the world goes on.

What a step finds of voltages only the next step sees, and who looks at the grid meanwhile. The same code solves the
same figures there, so that a world is the same to the bit wherever its grid is solved.
"""

from __future__ import annotations

from typing import Any

from tieline.errors import Infeasible
from tieline.grid.network import GridNetwork, GridState
from tieline.rim.aside import Aside, answer, told


class GridAside:
    """Solves the grid of a territory in a child process, one instant after another; `end` the process."""

    def __init__(self, aside: Aside, network: GridNetwork) -> None:
        self._aside = aside
        aside.tell(network.parts)

    def begin(self, *given: Any) -> None:
        """Begin to solve one instant; `given` as to `GridNetwork.solve`. What was begun before must have been found."""
        self._aside.tell(given)

    def found(self) -> GridState | None:
        """Return what was begun last, once it is solved; None: a feeder would collapse."""
        state: GridState | None = self._aside.heard()
        return state


def main() -> None:
    """Solve what comes over standard input for the network that came first."""
    given = told()
    network = GridNetwork(*next(given))
    for one in given:
        try:
            answer(network.solve(*one))
        except Infeasible:
            answer(None)


if __name__ == "__main__":
    main()
