"""What an event that runs gets beyond what was approved, and how much of that nobody is going to end.

Stand-ins are called where some give less. As those come back, stores and plants are asked for less. What is on or off
stays: let go it would come back on at once, and be called again at the next beat.
"""

from __future__ import annotations

import numpy as np

from tieline.desk.event_makeup import let_go
from tieline.desk.event_tracking import gives_w
from tieline.desk.programs import EventState
from tieline.desk.state import DeskState
from tieline.desk.sun import IS_PLANT


def stays_over_w(state: DeskState, event: str, now_ns: int) -> tuple[float, int]:
    """Return by how much an event gets too much now with all let go that may be (W, 0 or more), and how many devices
    that are on or off it has by that; nothing of one that does not run.
    """
    it = state.events.get(event)
    if it is None or it.state is not EventState.IN_PROGRESS or state.is_killed:
        return 0.0, 0
    rows, each_w = gives_w(state, event, now_ns)
    over_w = float(each_w.sum()) - abs(it.power_w)
    if over_w <= 0.0:
        return 0.0, 0
    switched, plants = state.is_switched[rows], IS_PLANT[state.fleet.kinds[rows]]
    over_w = max(over_w - float(each_w[plants & ~switched].sum()), 0.0)
    gone = let_go(each_w, ~switched & ~plants, over_w)
    return over_w - float(each_w[gone].sum()), int(np.count_nonzero(switched & (each_w > 0.0)))
