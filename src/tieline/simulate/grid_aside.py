"""The power flow of a world in a process of its own, while the world goes on.

What a step finds of voltages only the next step sees, and who looks at the grid meanwhile; what is to be looked for on
feeders can be known a while before. The same code solves the same figures there, so that a world is the same to the bit
wherever its grid is solved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tieline.errors import Infeasible
from tieline.grid.envelope import Sweep, sweep
from tieline.grid.network import GridNetwork, GridState
from tieline.rim.aside import Aside, answer, told
from tieline.simulate.solved import Swept


class GridAside:
    """Solves the grid of a territory in a child process, one thing after another; `end` the process."""

    def __init__(self, aside: Aside, network: GridNetwork) -> None:
        self._aside = aside
        self._owed: Callable[[], Any] | None = None
        self._solving: Callable[[], GridState | None] | None = None
        aside.tell(network.parts)

    def begin(self, *given: Any) -> None:
        """Begin to solve one instant; `given` as to `GridNetwork.solve`. What was begun before must have been found."""
        self._solving = self._asked(given)

    def found(self) -> GridState | None:
        """Return what was begun last, once it is solved; None: a feeder would collapse."""
        assert self._solving is not None
        return self._solving()

    def sweeping(self, sweeps: Sequence[Swept]) -> Callable[[], list[Sweep]]:
        """Begin to sweep feeders, and return who has their sweeps once they are done."""
        return self._asked(list(sweeps))

    def _asked(self, what: object) -> Callable[[], Any]:
        """Tell what is to be done, and return who has the answer, whenever that is asked for.

        What was asked before is heard first: if two answers waited, each side could wait for the other to read.
        """
        if self._owed is not None:
            self._owed()
        self._aside.tell(what)
        answers: list[Any] = []

        def heard() -> Any:
            if not answers:
                answers.append(self._aside.heard())
            return answers[0]

        self._owed = heard
        return heard


def main() -> None:
    """Do what comes over standard input with the network that came first."""
    given = told()
    network = GridNetwork(*next(given))
    for one in given:
        if isinstance(one, list):
            answer([sweep(network.solver_of(feeder), *figures) for feeder, *figures in one])
            continue
        try:
            answer(network.solve(*one))
        except Infeasible:
            answer(None)


if __name__ == "__main__":
    main()
