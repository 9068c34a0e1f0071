"""What a command of a SunSpec device is while it lives, and what its link is to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tieline.links import life
from tieline.links.device.modbus.curves import KeptCurves
from tieline.links.device.modbus.held import FREE, Held
from tieline.links.device.modbus.owner import Controls
from tieline.links.life import Course


@dataclass
class Counts(life.Counts):
    """What a link did; `lies` are timers that didn't let go."""

    lies: int = 0


class Carrier(life.Carrier, Protocol):
    """The link, as one of its devices sees it."""

    counts: Counts
    poll_s: float
    grace_s: float
    takes_blocks: bool
    controls: Controls
    curves: KeptCurves

    def alarm(self, text: str) -> None:
        """Tell the operator."""
        ...

    def changed(self, is_live: bool | None = None) -> None:
        """Say that a device lives from now on (True), or no more (False)."""
        ...


@dataclass(eq=False)
class Live(Course):
    """One command; `held` is what the device was told for it, `wish` the same before its owner's settings narrow it.

    `made` is what it made of that where it can't hold it, `is_hold`: a power that nobody asked for, by a limit,
    `is_release`: what its owner had set, or nothing.

    Of one that is remembered from before a start `is_taken` says that the device was seen to hold it.
    `lets_go_ns` is when the device's own timer ends at the latest (0: not known): it starts when the device hears the
    write, which is no later than its answer, and behind devices that are slow to answer a write waits its turn.
    """

    held: Held = FREE
    wish: Held = FREE
    made: Held = FREE
    is_hold: bool = False
    is_release: bool = False
    is_confirmed: bool = False
    is_timed: bool = False
    is_remembered: bool = False
    is_taken: bool = False
    lets_go_ns: int = 0
    retries: int = 0
