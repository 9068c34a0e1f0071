"""The desk's beat: what is owed becomes claims, claims become setpoints, setpoints commands; and what came is tallied.

Theory of operation. `beat` runs once a minute and at once after each change that matters. It splits each pool's
obligation over its rows, settles, sends, and counts energy. When an authority above the market takes capacity away,
the same beat finds substitutes, re-declares what is left, and names the cause.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk import asks, charging, groups, position, redispatch, tracking
from tieline.desk.desk import Desk
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked
from tieline.desk.obligation import (
    DISPATCH_STEP_NS,
    Obligation,
    awarded_w,
    called_last_ns,
    committed_until,
    owed,
    sold_ahead_w,
)
from tieline.desk.packed import Packed
from tieline.desk.release import spread_s
from tieline.desk.response import judge
from tieline.desk.upward import TELEMETRY, Moved, Upward, least_said_w
from tieline.desk.wants import FOLLOWS_NS
from tieline.ids import derive
from tieline.pool.availability import Available, by_group
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
STALE_NS = 3 * MINUTE_NS
KEPT_NS, HEARD_FRAC = 15 * MINUTE_NS, 0.9
"""While a desk has been up for less than `STALE_NS`, what was kept of the last minutes before holds; and where nothing
was, so many of the devices that are called must have been heard before a pool is split by what is known of them."""
MISS_FOR_NS = 15 * MINUTE_NS
LONGEST_S = 900.0
"""A stretch between two beats counts for so long at most: a desk that stood still for longer knows nothing of it."""
TRIM_GAIN, TRIM_MOST = 0.5, 0.3
"""What a pool gave too little or too much in one interval is made good by so much in the next, and by so much of what
is owed at most, beside what is known to be paid back."""
SETTLES_FRAC = 0.1
"""Devices are on their way where a split moves by this share of what is owed."""
DECLARES_W, DECLARES_FRAC, DECLARES_BEATS = 1_000.0, 0.1, 2
"""The market is told anew once what it was told is untrue by so much, and this share of what is sold, for two beats."""
OURS_FRAC = 0.02
"""An instruction as near to what was declared follows from that: it is rounded to the ISO's steps."""
LOST_H = 1 / 12
"""Headroom that a store lost is what it could have given for so long: a dispatch interval."""


@dataclass
class PoolDesk:
    """What the beat keeps of one pool between beats."""

    pool: str
    rows: Rows
    price: Floats
    eligible: NDArray[np.bool_]
    share_w: Floats
    tally: tracking.Tally | None = None
    obligation: Obligation | None = None
    trim_w: float = 0.0
    back_w: float = 0.0
    """What is asked beside the owed for what rows pay back now: it goes when that goes, as no trim would."""
    gives_w: float = 0.0
    """What rows that wait for their turn to come back give beside those that are called (W)."""
    short_w: float = 0.0
    """What the last split could not share out (W)."""
    settles_ns: int = 0
    """Until when devices are on their way as it moved so far: what they lack till then teaches no trim."""
    available: tuple[float, float] = (0.0, 0.0)
    causes: list[str] = field(default_factory=list)
    undeclared: str = ""
    differs: int = 0
    """For how many beats that has not been so."""
    forecast: dict[int, float] = field(default_factory=dict)
    feeder_of: Rows | None = None
    feeders: tuple[str, ...] = ()
    by_feeder: Available | None = None
    lost: tuple[redispatch.LostW, ...] = ()
    holds: tracking.Holds | None = None
    """What holds its rows since the last beat: what ends meanwhile is gone from the state when that is counted."""
    lost_now: redispatch.LostW = field(default_factory=dict)
    """And what that took away of its headroom."""
    heard: int = 0
    """How many of the causes that wait this pool was split by."""


class Cycle:
    """Beats for every pool of a desk."""

    def __init__(self, desk: Desk, pools: Mapping[str, PoolDesk]) -> None:
        self.desk, self.pools = desk, dict(pools)
        self._last_ns, self._began_ns = 0, 0
        self.beats = 0
        self._causes: list[str] = []
        self.upward = Upward(desk, self._is_heard)

    def because(self, cause: str) -> None:
        """Note the record that makes a beat necessary; one under way takes it up at pools that it has yet to split."""
        self._causes.append(cause)

    def _cause(self, pool: PoolDesk) -> str:
        """Return the newest cause that a pool was not split by yet, or an empty word: the clock alone."""
        return self._causes[-1] if len(self._causes) > pool.heard else ""

    async def beat(self, now_ns: int) -> None:
        """Do one beat."""
        state = self.desk.state
        await self.desk.flush()
        self._began_ns = self._began_ns or now_ns
        state.fleet.mark_stale(now_ns, STALE_NS + KEPT_NS if self._is_fresh(now_ns) else STALE_NS)
        passed_ns = max(now_ns - self._last_ns, 0) if self._last_ns else 0  # a clock that was set back counts nothing
        seconds = passed_ns / SECOND_NS
        position.learn_reach(state, passed_ns)
        state.claims.set_local(state.fleet.column("is_local") > 0.5)  # NaN, never read, is not LOCAL
        self._last_ns = now_ns
        state.claims.expire(now_ns)
        await self.desk.commit(asks.decide_opt_ins(state, now_ns))
        await self.desk.commit(groups.decide_regulation(state, now_ns))
        for pool in self.pools.values():
            await self._count(pool, now_ns, seconds)
            self._note_misses(pool, now_ns)
            await self._derate(pool, now_ns, self._cause(pool))
            await self._redispatch(pool, now_ns)
            self._note_holds(pool, now_ns)
            await self._charge(pool, now_ns)
            self._note_moved(pool, now_ns)
            if pool.undeclared:
                self.upward.later(pool, pool.undeclared, now_ns)
        if all(pool.heard == len(self._causes) for pool in self.pools.values()):
            self._causes.clear()
            for pool in self.pools.values():
                pool.heard = 0
        await self.desk.settle()
        await self.upward.flush()
        self.beats += 1

    async def _derate(self, pool: PoolDesk, now_ns: int, cause: str) -> None:
        """Tell the reservation book what authorities above the market left, before anything is split by it (R18)."""
        state = self.desk.state
        position.keep_firm(state, pool.pool, pool.rows, pool.eligible)
        entries = position.decide_derating(state, pool.pool, pool.rows, pool.eligible, cause, now_ns)
        await self.desk.commit(entries)
        if entries and not pool.undeclared:
            pool.undeclared = cause or entries[0].id  # declared again at this beat, also where nothing is owed

    async def _redispatch(self, pool: PoolDesk, now_ns: int) -> None:
        # Read in one step with the claims below: a claim that came while this beat waited is split by with its cause.
        state, cause, pool.heard = self.desk.state, self._cause(pool), len(self._causes)
        obligation = owed(state, pool.pool, now_ns)
        if obligation is not None and not self._is_heard(pool):
            return  # what stands, stands: that nobody was heard since the start says nothing of who serves
        until_ns = max(committed_until(state, pool.pool, now_ns), obligation.end_ns if obligation else now_ns)
        room = self.room(pool, now_ns, (until_ns - now_ns) / HOUR_NS)
        if pool.feeder_of is not None:
            rows = room.up_w, room.down_w, room.may_serve
            pool.by_feeder = by_group(*rows, pool.feeder_of, len(pool.feeders))
        # What rows pay back now is taken off what the others can give: the market is told what comes of a call.
        back_w = [tracking.pays_back_w(state, pool.rows, pool.share_w, side, now_ns) for side in (1.0, -1.0)]
        able_w = (max(_sum(room.up_w, room) - back_w[0], 0.0), max(_sum(room.down_w, room) - back_w[1], 0.0))
        # Behind the kill switch nothing can be called: the market is told.
        before, pool.available = pool.available, (0.0, 0.0) if state.is_killed else able_w
        former_w = pool.share_w
        if obligation is None or pool.obligation is None or obligation.power_w * pool.obligation.power_w <= 0:
            pool.trim_w = 0.0
        pool.obligation = obligation
        most_w = 0.0 if obligation is None else TRIM_MOST * abs(obligation.power_w)
        pool.trim_w = min(max(pool.trim_w, -most_w), most_w)  # what was learnt of a larger one is no help to this
        if obligation is None:
            pool.share_w = np.zeros(len(pool.rows))
            await self.desk.commit(self._release(pool, now_ns))
            return
        pool.back_w = back_w[0] if obligation.power_w >= 0 else -back_w[1]
        split = self._split(pool, obligation, room, now_ns)
        reason = cause or obligation.because
        pool.share_w = split.share_w
        called = pool.rows[np.abs(split.share_w) > 1.0]
        state.rebounds_until_ns[called] = now_ns + tracking.REBOUND_NS
        entries = redispatch.decide_claims(state, obligation, split, now_ns, reason)
        for entry in entries:
            if entry.id not in pool.causes:
                pool.causes.append(entry.id)
        await self.desk.commit(entries)
        if cause:
            self._tell_upward(pool, obligation, split, before, former_w, cause, now_ns)

    def _split(
        self, pool: PoolDesk, obligation: Obligation, room: redispatch.Headroom, now_ns: int
    ) -> redispatch.Allocation:
        """Return who gives what is owed, what is paid back and what was learnt, beside those that wait to come back."""
        side = math.copysign(1.0, obligation.power_w)
        waiting_w = tracking.waiting_w(self.desk.state, pool.rows, pool.share_w, side, now_ns)
        wanted_w, staged = obligation.power_w + pool.back_w + pool.trim_w, spread_s(self.desk.state, pool.rows) > 0.0
        split = redispatch.allocate_beside(room, wanted_w, waiting_w, staged)
        waits = np.abs(split.share_w) <= 1.0
        pool.gives_w, pool.short_w = side * float(waiting_w[waits].sum()), split.shortfall_w
        if abs(float((split.share_w - pool.share_w).sum())) > SETTLES_FRAC * abs(obligation.power_w):
            pool.settles_ns = now_ns + FOLLOWS_NS
        return split

    async def _charge(self, pool: PoolDesk, now_ns: int) -> None:
        """Fill the pool's stores in cheap hours for its awards."""
        state = self.desk.state
        stores = pool.rows[pool.eligible & (state.fleet.energy_wh[pool.rows] > 0)]
        await self.desk.commit(charging.decide_schedule(state, pool.pool, stores, pool.forecast, now_ns))
        await self.desk.commit(charging.decide_charging(state, pool.pool, now_ns))

    def room(self, pool: PoolDesk, now_ns: int, hours: float) -> redispatch.Headroom:
        """Return the pool's headroom now; rows that opted out, missed or can't be seen have none."""
        state, rows = self.desk.state, pool.rows
        serves = redispatch.serving(state, rows, pool.eligible, now_ns)
        return redispatch.headroom(state, rows, serves, pool.price, hours, now_ns)

    def _release(self, pool: PoolDesk, now_ns: int) -> list[Entry]:
        """Return the facts that end the pool's market claims once nothing is owed."""
        idle = Obligation(pool.pool, 0.0, now_ns, now_ns, "", 0.0, False)
        nothing = np.zeros(len(pool.rows))
        split = redispatch.Allocation(pool.rows, self.desk.state.base_w[pool.rows], nothing, 0.0, 0.0)
        return redispatch.decide_claims(self.desk.state, idle, split, now_ns, f"nothing owed by {pool.pool}")

    def _tell_upward(
        self,
        pool: PoolDesk,
        obligation: Obligation,
        split: redispatch.Allocation,
        before: tuple[float, float],
        former_w: Floats,
        cause: str,
        now_ns: int,
    ) -> None:
        """Have it recorded how the position changed, and re-declared to the market (R18: within 5 s)."""
        rose = np.flatnonzero(np.abs(split.share_w) > np.abs(former_w) + redispatch.MOVED_W)
        gains = np.argsort(-np.abs(split.share_w[rose] - former_w[rose]), kind="stable")
        substitutes = tuple(self.desk.state.fleet.id_of(int(pool.rows[rose[k]])) for k in gains[:50])
        feasible_w = split.feasible_w + pool.gives_w - pool.back_w - pool.trim_w
        moved = Moved(before, pool.available, obligation.power_w, feasible_w, substitutes, obligation.because)
        self.upward.later(pool, cause, now_ns, moved)

    def _note_moved(self, pool: PoolDesk, now_ns: int) -> None:
        """See to it that a declaration that telemetry has made untrue is renewed, where it matters for what is sold.

        Beyond what is sold it says nothing that the market acts on; and what moves back at the next beat is no news.
        """
        sold_w = sold_ahead_w(self.desk.state, pool.pool, now_ns)
        declared = self.desk.state.declared.get(pool.pool, ())
        told = declared[-1][1] if declared else sold_w
        matters = [
            abs(min(now, sold) - min(was, sold)) > max(DECLARES_W, DECLARES_FRAC * sold)
            for now, was, sold in zip(pool.available, told, sold_w, strict=True)
        ]
        if not self._is_heard(pool):
            return
        unsure = pool.pool in self.upward.unsure and any(sold_w)
        pool.differs = pool.differs + 1 if unsure or any(matters) else 0
        if pool.differs >= DECLARES_BEATS and not pool.undeclared:
            pool.undeclared = TELEMETRY + pool.pool

    def _is_fresh(self, now_ns: int) -> bool:
        """Whether the desk was started so short ago that devices had no time to be heard since."""
        return now_ns - self._began_ns < STALE_NS

    def _is_heard(self, pool: PoolDesk) -> bool:
        """Whether devices of the pool were heard since the start: before, that nothing is available is not known."""
        heard, commands = self.desk.state.fleet.taken_at_ns[pool.rows] > 0, self.desk.state.commands
        told = (commands.valid_until_ns[pool.rows] > self._last_ns) & np.isfinite(commands.target_w[pool.rows])
        least = HEARD_FRAC * told.sum() if self._is_fresh(self._last_ns) else 0.0
        return bool(heard.any() and (heard & told).sum() >= least)

    # --- tallying --------------------------------------------------------------------------------------------------

    async def _count(self, pool: PoolDesk, now_ns: int, seconds: float) -> None:
        """Count the stretch since the last beat, each part into its own interval, closing what is over.

        A beat on a clock that runs comes a moment after the mark that it was due at: were all of its minute put to the
        new interval, the first minute after an award would be asked what the last of the award was.
        """
        state = self.desk.state
        row_w = tracking.counted_w(state, pool.rows, pool.share_w, now_ns)
        since_ns = now_ns - round(min(seconds, LONGEST_S) * SECOND_NS)
        paced = state.held_ns[pool.rows] >= since_ns  # whom the fleet limiter held back at the last beat
        for begins_ns, ends_ns in tracking.parts(since_ns, now_ns):
            start_ns = floor_ns(ends_ns - 1, DISPATCH_STEP_NS)
            if pool.tally is None or pool.tally.start_ns != start_ns:
                if pool.tally is not None and pool.tally.seconds > 0:
                    await self._close(pool, pool.tally)
                pool.tally = tracking.Tally.begin(pool.rows, start_ns, start_ns + DISPATCH_STEP_NS)
            if ends_ns == begins_ns:
                continue
            debt = pool.obligation
            if debt is None or debt.end_ns <= begins_ns:  # the last beat knew nothing of this part
                debt = owed(state, pool.pool, begins_ns)
            asked_w = 0.0 if debt is None else debt.power_w
            sold_w = awarded_w(state, pool.pool, start_ns)
            sold_w = asked_w if sold_w is None else sold_w
            if debt is not None:
                pool.tally.is_owed, pool.tally.because = True, debt.because
            pool.tally.add(asked_w, sold_w, pool.share_w, row_w, (ends_ns - begins_ns) / SECOND_NS)
            if begins_ns >= pool.settles_ns and not paced.any():
                pool.tally.teach(asked_w - float(row_w.sum()), pool.short_w, (ends_ns - begins_ns) / SECOND_NS)
            self._count_lack(pool, pool.tally, asked_w, row_w, paced, (ends_ns - begins_ns) / SECOND_NS)

    def _count_lack(
        self, pool: PoolDesk, tally: tracking.Tally, asked_w: float, row_w: Floats, paced: Mask, seconds: float
    ) -> None:
        """Put what lacked in a stretch to its causes of then."""
        side = float(np.sign(asked_w))
        lacking_w = side * (asked_w - float(row_w.sum()))
        if lacking_w <= 1.0 or pool.holds is None:
            return
        state, rows = self.desk.state, pool.rows
        # The last beat noted what holds rows before it told them anything: whom the limiter held back came after.
        holds = replace(pool.holds, paced=paced)
        why = tracking.causes(state, rows, pool.share_w, row_w, lacking_w, pool.lost_now, side, holds)
        tally.add_lack(why, seconds)

    def _note_holds(self, pool: PoolDesk, now_ns: int) -> None:
        """Note what holds a pool's rows from now on, where it owes anything."""
        pool.holds, pool.lost_now = None, {}
        if pool.obligation is not None:
            state, side = self.desk.state, float(np.sign(pool.obligation.power_w))
            pool.holds = tracking.Holds.of(state, pool.rows, pool.share_w, now_ns)
            pool.lost_now = redispatch.lost_headroom(state, pool.rows, pool.eligible, side, LOST_H, now_ns)

    async def _close(self, pool: PoolDesk, tally: tracking.Tally) -> None:
        if not tally.is_owed:
            return
        asked_w, _, _, row_w = tally.means()
        delivered_w = float(row_w.sum())
        why, withheld = self._why(pool, tally, delivered_w)
        if pool.obligation is not None:
            error_w = tally.taught_ws / max(tally.seconds, 1e-9)
            most_w = TRIM_MOST * abs(pool.obligation.power_w)
            pool.trim_w = float(np.clip(pool.trim_w + TRIM_GAIN * error_w, -most_w, most_w))
        gave = np.abs(row_w) > 1.0
        fact = IntervalTracked(
            pool.pool, tally.start_ns, tally.end_ns, asked_w, delivered_w, why, Packed.of(pool.rows[gave]),
            Packed.of(row_w[gave]), tally.samples, withheld,
        )  # fmt: skip
        causes = tuple(dict.fromkeys(c for c in (tally.because, *pool.causes[-40:], *self._command_causes()) if c))
        await self.desk.commit([Entry(derive("interval", pool.pool, tally.start_ns), fact, pool.pool, causes)])

    def _why(
        self, pool: PoolDesk, tally: tracking.Tally, delivered_w: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the causes of what lacks of the asked, and of what was asked below the award (W each)."""
        asked_w, awarded_w, share_w, row_w = tally.means()
        side = float(np.sign(asked_w or awarded_w))
        lacking_w, below_w = side * (asked_w - delivered_w), side * (awarded_w - asked_w)
        state = self.desk.state
        # As the interval's last beat noted it: of one that its authority renews as it ends nothing is to be found then.
        then_ns = min(self._last_ns, tally.end_ns - 1)
        lost_w = pool.lost_now or redispatch.lost_headroom(state, pool.rows, pool.eligible, side, LOST_H, then_ns)
        # What is paid back was taken off what was declared; of a lack it is counted by rows.
        whole_w = {**lost_w, tracking.REBOUND: abs(pool.back_w)}
        before, pool.lost = pool.lost, (*pool.lost[-1:], whole_w)
        if max(lacking_w, below_w) <= 1.0:
            return {}, {}
        # What the ISO took back because we re-declared is put to the losses of then (it instructs up to ten minutes
        # after we told it), not to what came once it had instructed; the lack takes what is left of those of now.
        told_w = {cause: max((lost.get(cause, 0.0) for lost in before), default=0.0) for cause in whole_w}
        # What the ISO left to us of an award because we declared no more is ours, not an instruction of its own.
        called_ns = called_last_ns(state, pool.pool, tally.start_ns, tally.end_ns)
        is_ours = abs(asked_w) >= (1.0 - OURS_FRAC) * least_said_w(state, pool.pool, 0 if side >= 0 else 1, called_ns)
        otherwise = tracking.UNAVAILABLE if is_ours else tracking.BY_ISO
        withheld = tracking.fill(below_w, told_w, otherwise) if below_w > 1.0 else {}
        left_w = {cause: max(watts - withheld.get(cause, 0.0), 0.0) for cause, watts in lost_w.items()}
        why = {}
        if lacking_w > 1.0:
            holds = pool.holds or tracking.Holds.of(state, pool.rows, share_w, then_ns)
            why = tally.lack_by_cause(lacking_w) or tracking.causes(
                state, pool.rows, share_w, row_w, lacking_w, left_w, side, holds
            )
        return why, withheld

    def _command_causes(self) -> list[str]:
        """Return the batches of commands that are in force on any row, newest last."""
        columns = self.desk.state.commands
        live = np.unique(columns.batch[columns.valid_until_ns > self._last_ns])
        return [self.desk.state.command_batches[int(b)] for b in live[-40:] if b >= 0]

    def _note_misses(self, pool: PoolDesk, now_ns: int) -> None:
        """Leave out for a while the rows that were asked, had time, and did not move; the next split re-allocates."""
        missed = judge(self.desk.state, pool.rows, pool.share_w, now_ns)
        self.desk.state.missed_until_ns[pool.rows[missed]] = now_ns + MISS_FOR_NS


def _sum(values: Floats, room: redispatch.Headroom) -> float:
    return float(values[room.may_serve].sum())
