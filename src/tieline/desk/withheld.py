"""Growth of caps that waits for answers: a limit that was just asked goes on as these come, not at the next minute.

A cap grows only into what another is known to have given up (`desk.growing`). Operated twice in a second, a limit finds
its first commands unanswered, and all that its second lets devices do more is withheld. Devices answer in a moment; the
minute's beat comes up to a minute later, and by then what was withheld may be too little to be worth a command.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.command import Stage
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
GROWS_NS = 2 * MINUTE_NS
"""For so long after it was asked the caps of a limit go by each answer: after that by the minute, as its meters do."""
LEAST_W = 1.0
"""Nobody is told a cap for less."""


def note_withheld(
    state: DeskState,
    live: LiveAsk,
    rows: Rows,
    caps: tuple[Floats, Floats],
    wish: tuple[Floats, Floats],
    now_ns: int,
    is_owed: bool = False,
) -> None:
    """Note in `state.withheld` whose answers a limit waits for that was just asked: `caps` (W) are less than its wish.

    A limit asked long ago, too, where what it withholds is what a limit of its own has a device do (`is_owed`), and of
    that also the answers to what is told with these caps.

    One whose growth waits for nobody any more is kept there without rows until `forget_grown`.
    """
    is_short = (caps[0] > wish[0] + LEAST_W).any() or (caps[1] < wish[1] - LEAST_W).any()
    waits = is_short and (is_owed or 0 <= now_ns - live.asked_ns < GROWS_NS)
    awaited = _awaited(state, rows, now_ns) if waits else np.zeros(len(rows), np.bool_)
    if is_owed:
        awaited |= _sinks(state, rows, caps)
    if awaited.any() or is_owed or live.record in state.withheld:
        state.withheld[live.record] = rows[awaited].astype(np.int32)


def _awaited(state: DeskState, rows: Rows, now_ns: int) -> NDArray[np.bool_]:
    """Return which rows may hold more than they were told last, and have yet to answer that."""
    last = state.commands
    mask: NDArray[np.bool_] = (last.valid_until_ns[rows] > now_ns) & (last.stage[rows] < int(Stage.ACCEPTED))
    wider = (last.leased_low_w[rows] < last.low_w[rows]) | (last.leased_high_w[rows] > last.high_w[rows])
    mask &= wider & ((state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0)
    return mask


def _sinks(state: DeskState, rows: Rows, caps: tuple[Floats, Floats]) -> NDArray[np.bool_]:
    """Return which rows that are heard caps let do less than they were told last."""
    last, fleet = state.commands, state.fleet
    told_low_w = np.maximum(last.low_w[rows], -fleet.max_absorb_w[rows])
    told_high_w = np.minimum(last.high_w[rows], fleet.max_inject_w[rows])
    mask: NDArray[np.bool_] = (caps[0] > told_low_w + LEAST_W) | (caps[1] < told_high_w - LEAST_W)
    mask &= (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    return mask


def forget_grown(state: DeskState) -> None:
    """Forget the limits whose growth waits for nobody any more."""
    for record in [record for record, rows in state.withheld.items() if not len(rows)]:
        del state.withheld[record]


def forget_ended(state: DeskState, limits: list[LiveAsk]) -> None:
    """Forget those that are not among the limits in force."""
    for record in state.withheld.keys() - {live.record for live in limits}:
        del state.withheld[record]


def answered(state: DeskState, rows: Rows) -> bool | None:
    """Note that rows answered, and return whether all that some limit waits for have; None: none waits for these."""
    found: bool | None = None
    for record, awaited in state.withheld.items():
        left = awaited[~np.isin(awaited, rows)]
        if len(left) < len(awaited):
            state.withheld[record] = left
            found = bool(found) or not len(left)
    return found
