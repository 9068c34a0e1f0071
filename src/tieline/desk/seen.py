"""What is found of a group's rows once while its limit is shared out: meanwhile nothing of it moves."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tieline.desk.extents import unheard_w
from tieline.desk.state import DeskState
from tieline.desk.strays import strays

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


class Seen:
    """What is known of rows at an instant, each found when it is first asked for. Nobody writes into it."""

    def __init__(
        self, state: DeskState, rows: Rows, now_ns: int, keep_to_none: NDArray[np.bool_] | None = None
    ) -> None:
        """Look at rows; `keep_to_none`: what `strays.keeping_to_none` says of them, if that was found already."""
        self._state, self._rows, self._now_ns = state, rows, now_ns
        self._keep_to_none = keep_to_none

    @cached_property
    def away(self) -> NDArray[np.bool_]:
        """Which keep to no command (`strays`); shape (n,)."""
        mask = strays(self._state, self._rows, self._now_ns, self._keep_to_none)
        mask.flags.writeable = False
        return mask

    @cached_property
    def unheard_w(self) -> tuple[Floats, Floats]:
        """The most that each may give, and draw, if it can't be reached (W, 0 or more); shape (n,) each."""
        gives_w, draws_w = unheard_w(self._state, self._rows, self._now_ns)
        gives_w.flags.writeable = draws_w.flags.writeable = False
        return gives_w, draws_w
