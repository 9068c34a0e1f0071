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

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from msgspec import Struct

from tieline.desk.entry import Recorder
from tieline.desk.facts import SetpointsKept, from_record, to_record
from tieline.desk.packed import Packed
from tieline.errors import LinkDown
from tieline.flow.record import Records
from tieline.ids import derive
from tieline.times import Clock

AGAIN_S = 1.0
"""So long a journal that is away is left alone before it is asked again."""
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]]


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


class KeptSetpoints(Setpoints):
    """Kept in the journal: what many devices ask for in one moment is one record."""

    def __init__(self, link: str, recorder: Recorder, clock: Clock, spawn: Spawn) -> None:
        self._link, self._recorder, self._clock, self._spawn = link, recorder, clock, spawn
        self._durable: dict[int, Owned] = {}
        self._asked: dict[int, Owned] = {}
        self._waiting: dict[int, tuple[Owned, list[Callable[[], None]]]] = {}
        self._is_writing = False
        self._made = 0

    def restore(self, journal: Records) -> None:
        """Take in what a journal holds of all links: a device that went over to another one is still its owner's."""
        for record in journal.of_kind(SetpointsKept.__name__):
            fact = from_record(record)
            if isinstance(fact, SetpointsKept):
                rows, own_c = fact.rows.array().tolist(), fact.own_c.array().tolist()
                self._durable |= {
                    row: Owned(own, tuple(ours)) for row, own, ours in zip(rows, own_c, fact.ours, strict=True)
                }
        self._asked = dict(self._durable)

    def at(self, row: int) -> Owned:
        """Return what was kept of a device."""
        return self._durable.get(row, Owned())

    def is_kept(self, row: int, owned: Owned) -> bool:
        """Return whether the journal has it: the owner's setpoint itself, and of what is ours no less."""
        kept = self._durable.get(row)
        return kept is not None and kept.own == owned.own and set(owned.ours) <= set(kept.ours)

    def keep(self, row: int, owned: Owned, then: Callable[[], None] | None = None) -> None:
        """Keep what is known of a device, and call `then` once the journal has it; the newest of a row holds."""
        if self._asked.get(row) == owned:
            return  # it is there, or on its way: who asked first is called
        self._asked[row] = owned
        calls = self._waiting[row][1] if row in self._waiting else []
        self._waiting[row] = owned, [*calls, *([] if then is None else [then])]
        if not self._is_writing:
            self._is_writing = True
            self._spawn(self._write(), f"{self._link} setpoints of owners")

    async def _write(self) -> None:
        """Record what waits until nothing does; a task begins after this moment, so that all of it is one record."""
        try:
            while self._waiting:
                try:
                    self._recorder.ready()
                except LinkDown:
                    await asyncio.sleep(AGAIN_S)
                    continue
                waiting, self._waiting = self._waiting, {}
                try:
                    await self._append({row: owned for row, (owned, _) in waiting.items()})
                except BaseException:
                    for row in waiting:  # nothing of it was kept: who asks again is not told that it is on its way
                        self._asked.pop(row, None)
                    raise
                for _, calls in waiting.values():
                    for then in calls:
                        then()
        finally:
            self._is_writing = False

    async def _append(self, kept: dict[int, Owned]) -> None:
        fact = SetpointsKept(
            self._link,
            Packed.of(np.array(list(kept), np.int32)),
            Packed.of(np.array([one.own for one in kept.values()])),
            tuple(one.ours for one in kept.values()),
        )
        now_ns = self._clock.now_ns()
        self._made += 1
        record = derive("setpoints", self._link, now_ns, self._made)
        await self._recorder.append([to_record(fact, record, self._link, now_ns, ())])
        self._durable |= kept
