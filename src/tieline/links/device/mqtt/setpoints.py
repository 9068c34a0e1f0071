"""Owners' settings that outlive us: what a device's owner wants, and what we may have put over it.

A thermostat's is its setpoint (degC), that of what is behind a switch whether it is on (1) or off (0).

Theory of operation. A thermostat that is told an offset no longer says what its owner had set, and we may die at any
instant after the offset went out. So a record goes before it: the owner's setpoint, and all that we may have written
over it since we last saw it back (`ours`). After a start a device that says one of `ours` says nothing of its owner's;
one that says anything else was turned by its owner while we were away, and that is the setpoint from then on. Once a
hand-back was echoed, or the owner turned the knob, nothing of ours is left, and the next record says so. That one may
be lost: it would only have told the owner's own hand from ours where they are the same to the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from tieline.desk.entry import Recorder
from tieline.desk.facts import Fact, SetpointsKept
from tieline.desk.packed import Packed
from tieline.flow.record import Records
from tieline.links.device.kept import Kept, Spawn
from tieline.times import Clock


class Owned(Struct, frozen=True):
    """What a device's owner has set (degC, or 1: on, 0: off; NaN: not known), and what we may have written over it."""

    own: float = math.nan
    ours: tuple[float, ...] = ()


class Setpoints:
    """What is kept of a link's devices by row: in memory alone, where no server would be started again."""

    def at(self, row: int) -> Owned:
        """Return what was kept of a device before this start."""
        return Owned()

    def is_kept(self, row: int, owned: Owned) -> bool:
        """Return whether this would be known after a start from now on."""
        return True

    def keep(self, row: int, owned: Owned, then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once that outlives us; the newest of a row holds."""
        if then is not None:
            then()


class KeptSetpoints(Kept[Owned], Setpoints):
    """Kept in the journal: what many devices ask for in one moment is one record."""

    def __init__(self, link: str, recorder: Recorder, clock: Clock, spawn: Spawn) -> None:
        super().__init__(link, recorder, clock, spawn, "setpoints")

    def restore(self, journal: Records) -> None:
        """Take in what a journal holds of all links: a device that went over to another one is still its owner's."""
        self.restore_from(journal, SetpointsKept.__name__)

    def fact(self, kept: dict[int, Owned]) -> Fact:
        """Return the record of what is kept of some rows."""
        return SetpointsKept(
            self.link,
            Packed.of(np.array(list(kept), np.int32)),
            Packed.of(np.array([one.own for one in kept.values()])),
            tuple(one.ours for one in kept.values()),
        )

    def rows_of(self, fact: Fact | None) -> dict[int, Owned]:
        """Return what a record keeps by row."""
        if not isinstance(fact, SetpointsKept):
            return {}
        rows, own_c = fact.rows.array().tolist(), fact.own_c.array().tolist()
        return {row: Owned(own, tuple(ours)) for row, own, ours in zip(rows, own_c, fact.ours, strict=True)}

    def at(self, row: int) -> Owned:
        """Return what was kept of a device."""
        return self.kept(row) or Owned()

    def is_kept(self, row: int, owned: Owned) -> bool:
        """Return whether the journal has it: the owner's setpoint itself, and of what is ours no less."""
        kept = self.kept(row)
        return kept is not None and kept.own == owned.own and set(owned.ours) <= set(kept.ours)

    def keep(self, row: int, owned: Owned, then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once the journal has it; the newest of a row holds."""
        self.ask(row, owned, then)
