"""The read model of a program event. See `desk.views` for the rules."""

from __future__ import annotations

from tieline.desk.views import View


class EventProgram(View, frozen=True):
    """A program that events may be called under."""

    program: str


class EventView(View, frozen=True):
    """A program event with the steps that it may take now, what it `asks`, has booked, and asked and got so far.

    `called` devices it calls now, of whom `opted_out` went out since; `lacks_wh` is what lacked of the asked in each
    interval, by cause (none below 0.5 Wh: the largest has that), and `over_wh` what others gave beyond it: asked -
    delivered = all lacks - over (as amounts).
    `unmet` says that it asks for more than its devices are rated to move ("": it doesn't, or is over), `equal` which
    other events ask the same beside it, and what all of them come to ("": none does, or it is over).
    All of these are of what was counted: up to `counted_to_ns` (0: nothing yet), without the stretches `uncounted`
    ([start, end) in ns), in which no server ran or what it had counted died with it.
    """

    id: str
    program: str
    group: str
    strategy: str
    start_ns: int
    end_ns: int
    power_w: float
    state: str
    composed_by: str
    approved_by: str
    why: str
    next: tuple[str, ...]
    reserved_w: float = 0.0
    reserved_wh: float = 0.0
    asked_wh: float = 0.0
    delivered_wh: float = 0.0
    called: int = 0
    opted_out: int = 0
    lacks_wh: dict[str, float] = {}
    over_wh: float = 0.0
    asks: str = ""
    uncounted: tuple[tuple[int, int], ...] = ()
    counted_to_ns: int = 0
    unmet: str = ""
    equal: str = ""
