"""The DNO's eyes: it watches the loading of every feeder, and limits the devices of one that is overloaded.

The limit comes from a power flow (the operating envelope of that feeder's devices), goes out over DNP3 like any other,
and follows the room that other load leaves. It is withdrawn once the devices have stayed well below it for a while: one
withdrawn by the clock lets all that was held back return at once, and the feeder is overloaded again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from py1815.control import CommandStatus

from tieline.errors import LinkDown
from tieline.node.fallback import Fallback
from tieline.node.relief_room import EASES_TO, KEEPS_FRAC, Rooms
from tieline.node.stage import Stage
from tieline.simulate.territory import GENERATION
from tieline.times import MINUTE_NS, SECOND_NS, iso

LOOK_S, AGAIN_S = 300.0, 60.0
UNLIMITED = 9
"""The index in a group at which its outstation tells what its devices would do without a limit."""
TRIES, PAUSE_S = 5, 2.0
"""So often an operate is given, and so much of the wall's time apart: a machine under load takes its own to dial."""
PASSING = frozenset(
    {
        CommandStatus.TIMEOUT, CommandStatus.NO_SELECT, CommandStatus.ALREADY_ACTIVE, CommandStatus.TOO_MANY_OPS,
        CommandStatus.PROCESSING_LIMITED, CommandStatus.DOWNSTREAM_FAIL, CommandStatus.UNDEFINED,
        CommandStatus.BLOCKED_OTHER_MASTER,
    }
)  # fmt: skip
"""Statuses (IEEE 1815, control status codes) that speak of the moment, not of the control: given again it may pass."""
SETTLES_NS = 6 * MINUTE_NS
BORNE_LOOKS = 12
"""For an hour a feeder must have borne what its devices would do without: a cloud that hides their sun for half an hour
ends nothing."""
EASY_FRAC, EASY_LOOKS = 0.6, 4
"""A limit binds nobody where the devices stay below this share of it for so many looks."""
EASES_BY = 0.5
"""A limit is widened by this part of the way to `EASES_TO` at a look: by then others draw than did."""
EASES_FRAC = 0.05
"""A limit is widened where other load leaves this share more room: each move costs an operate and many commands."""


@dataclass
class Relief:
    """One limit: where and why, what the feeder's loading was, and every loading seen while it was in force."""

    feeder: str
    begins_ns: int
    bound_w: float
    imports: bool
    binds: str
    before: float
    power_before_w: float
    statuses: list[str]
    seen: list[tuple[int, float, float]] = field(default_factory=list)
    again: dict[int, float] = field(default_factory=dict)
    """The loading a minute after a look that found an overload, by when that was: what jumps is answered by then."""
    ends_ns: int = 0
    moved: list[tuple[int, float]] = field(default_factory=list)
    """When it was tightened, as other load grew, and to what (W)."""
    eased: list[tuple[int, float]] = field(default_factory=list)
    """When it was widened, as other load sank, and to what (W)."""
    borne: int = 0
    """At how many looks in a row its feeder would have borne its devices without it."""
    is_wider: bool = False
    """There was room for a wider one at the last look: it is widened where that is still so at the next."""
    first_w: float = float("nan")
    """What it began with (W)."""
    alone: float = float("nan")
    """The feeder's loading as it began had nobody commanded a device (NaN: not known)."""
    alone_after: float = float("nan")
    """And as it ended: above 1 it was still needed."""

    @property
    def is_easy(self) -> bool:
        """Whether it binds nobody: the devices stayed well below it at the last looks (below 0 W: giving)."""
        last = [power_w for _, _, power_w in self.seen[-EASY_LOOKS:]]
        toward = -1.0 if self.imports else 1.0
        return len(last) == EASY_LOOKS and max(toward * w for w in last) < EASY_FRAC * max(toward * self.bound_w, 0.0)

    def settled(self) -> list[tuple[int, float, float]]:
        """Return (when, loading, power) from when the devices have had time: six minutes after it was last moved."""
        moves = [self.begins_ns, *(when for when, _ in self.moved)]
        return [each for each in self.seen if not any(when < each[0] < when + SETTLES_NS for when in moves)]


@dataclass
class Trail:
    """Highest loading and the voltages' range of every feeder, every five minutes."""

    at_ns: list[int] = field(default_factory=list)
    loading: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)
    low_pu: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)
    high_pu: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)
    alone: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)
    """Highest loading had nobody commanded a device, while works go on (NaN: not solved)."""


class Dno:
    """Watches the grid of a stage."""

    def __init__(self, stage: Stage, works: tuple[int, int]) -> None:
        """Make a DNO; while its works go on (ns) it notes what the feeders would bear had nobody commanded a device."""
        self.stage, self.trail, self._works = stage, Trail(), works
        self.fallback, self._rooms = Fallback(), Rooms(stage)
        self.reliefs: list[Relief] = []
        self._looks_ns = 0
        self.refused = 0
        """How often the outstation would not take a limit."""

    async def watch(self) -> None:
        """Look at the feeders every five minutes, for ever."""
        while True:
            await self.stage.sleep(AGAIN_S)
            self._look_again()
            self._looks_ns = self.stage.node.clock.now_ns() + int((LOOK_S - AGAIN_S) * SECOND_NS)
            await self.stage.sleep(LOOK_S - AGAIN_S)
            await self.look()

    async def prepare(self) -> None:
        """Begin, after a beat, what a look within the same minute will ask of the grid: no step comes between."""
        looks_ns, now_ns = self._looks_ns, self.stage.node.clock.now_ns()
        live = [relief for relief in self.reliefs if not relief.ends_ns]
        if live and looks_ns // MINUTE_NS == now_ns // MINUTE_NS:
            self._looks_ns = 0
            at_of = self.stage.territory.feeders.index
            self._rooms.begin([(at_of(relief.feeder), relief.imports, relief.bound_w) for relief in live])

    def _look_again(self) -> None:
        """Note what became of the overloads that the last look found under a limit."""
        grid = self.stage.world.grid
        for relief in self.reliefs:
            if grid is not None and relief.seen and not relief.ends_ns:
                when_ns, loading, _ = relief.seen[-1]
                if loading > 1.0 and when_ns not in relief.again:
                    at = self.stage.territory.feeders.index(relief.feeder)
                    relief.again[when_ns] = float(grid.loading[at])

    async def look(self) -> None:
        """Note every feeder's loading; begin, follow or end a relief."""
        self.fallback.look(self.stage)
        stage, grid = self.stage, self.stage.world.grid
        if grid is None:
            return
        now_ns = stage.node.clock.now_ns()
        trail = self.trail
        trail.at_ns.append(now_ns)
        for column, values in (
            (trail.loading, grid.loading), (trail.low_pu, grid.low_pu), (trail.high_pu, grid.high_pu),
        ):  # fmt: skip
            column.append(values.copy())
        works = self._works[0] <= now_ns < self._works[1]
        trail.alone.append(self._alone(now_ns, len(grid.loading), works))
        live = [relief for relief in self.reliefs if not relief.ends_ns]
        for relief in live:
            await self._follow(relief, now_ns)
            relief.borne = relief.borne + 1 if self._is_borne(relief) else 0
            if relief.is_easy and relief.borne >= BORNE_LOOKS:
                at = stage.territory.feeders.index(relief.feeder)
                relief.alone_after = float(self._alone(now_ns, len(grid.loading))[at])
                await self._end(relief)
        held = {relief.feeder for relief in live}
        for at in np.flatnonzero(grid.loading > 1.0).tolist():
            if stage.territory.feeders[at] not in held:
                await self._begin(at, now_ns)

    def _alone(self, now_ns: int, feeders: int, is_asked: bool = True) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the loading of feeders without what the pool does (NaN: not asked, not known)."""
        stage = self.stage
        if stage.twin is not None and is_asked:
            without = stage.world.grid_with(stage.twin.power_w() - stage.world.power_w, now_ns)
            if without is not None:
                return without.loading.copy()
        return np.full(feeders, np.nan)

    def _is_borne(self, relief: Relief) -> bool:
        """Whether the feeder bears now what its devices would do without the limit, as AI 9 of its group tells.

        That a group stays below its limit says nothing of what the limit holds back. And what its generation gives now
        may be gone at the next look, as a cloud comes: a limit on what is drawn ends where that is borne without it.
        """
        told_w = self.stage.scada.analog(self.stage.group_at(relief.feeder) + UNLIMITED)
        if told_w is None:
            return False
        at = self.stage.territory.feeders.index(relief.feeder)
        bounds_w = [relief.bound_w, self._rooms.room(at, relief.imports, relief.bound_w)]
        if not relief.imports:
            return told_w <= max(bounds_w)
        gives_w = self.stage.scada.analog(self.stage.group_at(relief.feeder + GENERATION))
        return gives_w is not None and told_w - max(gives_w, 0.0) >= min(bounds_w)

    async def _follow(self, relief: Relief, now_ns: int) -> None:
        """Note what a relief does, and move it with the room that other load leaves: tighter on an overload alone."""
        stage, grid = self.stage, self.stage.world.grid
        assert grid is not None
        at = stage.territory.feeders.index(relief.feeder)
        rows = stage.node.state.fleet.leaves(relief.feeder)
        loading = float(grid.loading[at])
        relief.seen.append((now_ns, loading, float(stage.world.power_w[rows].sum())))
        moves = (*relief.moved, *relief.eased)
        if now_ns < max((when for when, _ in moves), default=relief.begins_ns) + SETTLES_NS:
            return
        found_w = self._goal_w(relief, at, loading)
        if found_w is None:
            return
        eases = (-1.0 if relief.imports else 1.0) * (found_w - relief.bound_w) > 0.0
        # Where devices draw counts, too, and others run than did when the room was found: so a limit goes half the way
        # to a wider one, and is tightened where the feeder is at its rating, not where it might come to be.
        bound_w = float(np.trunc(relief.bound_w + EASES_BY * (found_w - relief.bound_w))) if eases else found_w
        with suppress(LinkDown):  # the next look tries again
            when_ns, statuses = await self._tell(relief.feeder, bound_w, relief.imports)
            if is_taken(statuses):
                relief.bound_w = bound_w
                (relief.eased if eases else relief.moved).append((when_ns, bound_w))

    def _goal_w(self, relief: Relief, at: int, loading: float) -> float | None:
        """Return to where a limit is to move, or towards which: the room there is (W); None: it stays."""
        toward = -1.0 if relief.imports else 1.0
        # At its rating it is held to what it keeps now; else there is room where a wider limit would leave some.
        if loading > KEEPS_FRAC:
            found, relief.is_wider = self._bound(at, relief.imports), False
            return None if found is None or toward * (found[0] - relief.bound_w) >= 0.0 else found[0]
        room_w, was_wider = self._rooms.room(at, relief.imports, relief.bound_w, EASES_TO), relief.is_wider
        relief.is_wider = toward * (room_w - relief.bound_w) > EASES_FRAC * abs(relief.bound_w)
        return room_w if relief.is_wider and was_wider else None

    async def _begin(self, at: int, now_ns: int) -> None:
        stage = self.stage
        assert stage.world.grid is not None
        assert stage.world.network is not None
        imports = float(stage.world.network.flow_of(stage.world.grid, at)[1].source_w[0]) < 0
        found = self._bound(at, imports)
        if found is None:
            return
        feeder = stage.territory.feeders[at]
        rows = stage.node.state.fleet.leaves(feeder)
        try:
            now_ns, statuses = await self._tell(feeder, found[0], imports)
        except LinkDown:
            return
        if not is_taken(statuses):
            self.refused += 1  # nothing holds the feeder: the next look tries again
            return
        self.reliefs.append(
            Relief(
                feeder, now_ns, found[0], imports, found[1], float(stage.world.grid.loading[at]),
                float(stage.world.power_w[rows].sum()), [status.name for status in statuses],
                first_w=found[0], alone=float(self._alone(now_ns, len(stage.territory.feeders))[at]),
            )
        )  # fmt: skip

    def _bound(self, at: int, imports: bool) -> tuple[float, str] | None:
        """Return how far a feeder's devices may go (W) for a loading, and what binds; None where nothing does."""
        found, _ = self._rooms.envelope(at, imports)
        bound_w = found.low_w if imports else found.high_w
        if not np.isfinite(bound_w):
            return None
        return float(np.ceil(bound_w) if imports else np.floor(bound_w)), found.binds

    async def _tell(self, feeder: str, bound_w: float, imports: bool) -> tuple[int, list[CommandStatus]]:
        """Limit a feeder's devices on the side that overloads it; the other end stands at their rating."""
        fleet = self.stage.node.state.fleet
        rows, group = fleet.leaves(feeder), self.stage.group_at(feeder)
        low_w, high_w = -float(np.ceil(fleet.max_absorb_w[rows].sum())), float(np.ceil(fleet.max_inject_w[rows].sum()))
        asked = (bound_w, high_w) if imports else (low_w, bound_w)
        return await firmly(self.stage, lambda: self.stage.scada.limit(group, *asked, select=True))

    async def _end(self, relief: Relief) -> None:
        group = self.stage.group_at(relief.feeder)
        try:
            ends_ns, statuses = await firmly(self.stage, lambda: self.stage.scada.cancel(group))
        except LinkDown:
            return  # the next look tries again
        if is_taken(statuses):
            relief.ends_ns = ends_ns


async def firmly(stage: Stage, act: Callable[[], Awaitable[list[CommandStatus]]]) -> tuple[int, list[CommandStatus]]:
    """Return when the dispatcher gave an operate that was answered, and its statuses.

    Where the line breaks he dials and, as a person would, gives it again: a limit is a state, so twice is once. So he
    does where the answer speaks of the moment alone (`PASSING`); what it was at the last try is returned.

    Raises:
        LinkDown: Five tries found nobody.
    """
    for turn in range(TRIES):
        try:
            await stage.scada.reach()
            at_ns = stage.node.clock.now_ns()
            statuses = await act()
            if turn == TRIES - 1 or PASSING.isdisjoint(statuses):
                return at_ns, statuses
        except LinkDown:
            if turn == TRIES - 1:
                raise
        await stage.sleep(max(5.0, PAUSE_S * stage.speed))
    raise LinkDown("the outstation does not answer")


def is_taken(statuses: Sequence[CommandStatus]) -> bool:
    """Return whether every control of an operate was taken."""
    return all(status is CommandStatus.SUCCESS for status in statuses)


def grid_report(dno: Dno) -> dict[str, Any]:
    """Return what the grid saw: the worst of each feeder, and each relief with the loading before and after."""
    trail, names = dno.trail, dno.stage.territory.feeders
    if not trail.at_ns:
        return {}
    loading, low, high = np.stack(trail.loading), np.stack(trail.low_pu), np.stack(trail.high_pu)
    feeders = [
        {
            "feeder": name, "model": dno.stage.territory.models[int(dno.stage.territory.model_of_feeder[k])].name,
            "worst_loading": round(float(loading[:, k].max()), 4), "at": iso(trail.at_ns[int(loading[:, k].argmax())]),
            "overloaded_minutes": int((loading[:, k] > 1.0).sum()) * 5,
            "low_pu": round(float(low[:, k].min()), 4), "high_pu": round(float(high[:, k].max()), 4),
        }
        for k, name in enumerate(names)
    ]  # fmt: skip
    reliefs = []
    for relief in dno.reliefs:
        after = relief.settled()
        reliefs.append(
            {
                "feeder": relief.feeder, "begins": iso(relief.begins_ns),
                "ends": iso(relief.ends_ns) if relief.ends_ns else None,
                "why": f"{relief.binds}, {'drawn' if relief.imports else 'given'} power",
                "first_bound_kw": round(relief.first_w / 1e3, 1), "bound_kw": round(relief.bound_w / 1e3, 1),
                "devices_before_kw": round(relief.power_before_w / 1e3, 1),
                "loading_before": round(relief.before, 4),
                "loading_alone": round(relief.alone, 4) if np.isfinite(relief.alone) else None,
                "loading_after": round(float(np.mean([each[1] for each in after])), 4) if after else None,
                "worst_after": round(max(each[1] for each in after), 4) if after else None,
                "devices_after_kw": round(float(np.mean([each[2] for each in after])) / 1e3, 1) if after else None,
                "first_after_kw": round(after[0][2] / 1e3, 1) if after else None,
                "tightened": [{"at": iso(when), "bound_kw": round(bound_w / 1e3, 1)} for when, bound_w in relief.moved],
                "eased": [{"at": iso(when), "bound_kw": round(bound_w / 1e3, 1)} for when, bound_w in relief.eased],
                "status": relief.statuses,
            }
        )  # fmt: skip
    return {
        "feeders": feeders,
        "reliefs": reliefs,
        "refused": dno.refused,
        "collapsed": dno.stage.world.solved.collapsed,
    }


def loading_of(dno: Dno, feeder: str, begins_ns: int, ends_ns: int, *, alone: bool = False) -> float | None:
    """Return the mean loading of a feeder over a time, or what it had been had nobody commanded it (None: not seen)."""
    at, trail = dno.stage.territory.feeders.index(feeder), dno.trail
    kept = trail.alone if alone else trail.loading
    seen = [float(load[at]) for when, load in zip(trail.at_ns, kept, strict=True) if begins_ns <= when < ends_ns]
    known = [load for load in seen if np.isfinite(load)]
    return round(float(np.mean(known)), 4) if known else None
