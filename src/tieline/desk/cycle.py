"""The desk's beat: what is owed becomes claims, claims become setpoints, setpoints commands; and what came is tallied.

Theory of operation. `beat` runs once a minute and at once after each change that matters. It splits each pool's
obligation over its rows, settles, sends, and counts energy. When an authority above the market takes capacity away,
the same beat finds substitutes, re-declares what is left, and names the cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from tieline.desk import asks, charging, consents, counting, groups, pay_back, position, redispatch, sun, tracking
from tieline.desk.declared import is_untrue
from tieline.desk.desk import Desk
from tieline.desk.entry import Entry
from tieline.desk.least_draw import followable
from tieline.desk.least_times import just_let_go
from tieline.desk.obligation import DISPATCH_STEP_NS, Obligation, committed_until, owed, sold_ahead_w
from tieline.desk.on_or_off import whole
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.release import spread_s, takes_turns
from tieline.desk.trim import NOTHING, split_by_called
from tieline.desk.upward import TELEMETRY, Moved, Upward
from tieline.desk.wants import FOLLOWS_NS
from tieline.fleet.able import SUSTAIN_H
from tieline.fleet.holding import least_draw_w
from tieline.pool.availability import by_group
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
AtOnce = Callable[[], tuple[redispatch.Headroom, NDArray[np.bool_]]]
"""Finds how far rows of a pool can move for five minutes, and which are stores; found once while nothing moves."""
STALE_NS = 3 * MINUTE_NS
KEPT_NS, HEARD_FRAC = 15 * MINUTE_NS, 0.9
"""While a desk has been up for less than `STALE_NS`, what was kept of the last minutes before holds; and where nothing
was, so many of the devices that are called must have been heard before a pool is split by what is known of them."""
SCHEDULED_NS = 15 * SECOND_NS
"""So long after a start what stands of an award that goes by a schedule waits for the first to be made."""
TURN_PRICE = 1e-3
"""So much dearer ($/MWh) counts an on-off load that is not called beside one that is, as no tie is worth a switch; and
within an interval as dear as the dearest that is, as nothing is."""
SETTLES_FRAC = 0.1
"""Devices are on their way where a split moves by this share of what is owed."""
DECLARES_BEATS = 2
"""For so many beats what the market was told must be untrue before it is told anew."""


class Cycle:
    """Beats for every pool of a desk."""

    def __init__(self, desk: Desk, pools: Mapping[str, PoolDesk]) -> None:
        self.desk, self.pools = desk, dict(pools)
        self._last_ns, self._began_ns, self._counted_ns = 0, 0, 0
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
        if not self._began_ns:
            self._began_ns = now_ns
            for pool in self.pools.values():  # split anew as if nobody were called, others would be
                pool.share_w, pool.split_ns = redispatch.standing_w(state, pool.pool, pool.rows), now_ns
                state.responses.uncalled_ns[pool.rows] = now_ns  # nobody saw what they did before
        state.fleet.mark_stale(now_ns, STALE_NS + KEPT_NS if self._is_fresh(now_ns) else STALE_NS)
        passed_ns = max(now_ns - self._last_ns, 0) if self._last_ns else 0  # a clock that was set back counts nothing
        seconds = self._uncounted_s(now_ns)
        sun.follow(state, passed_ns / SECOND_NS, now_ns)
        position.learn_reach(state, passed_ns)
        state.claims.set_local(state.fleet.column("is_local") > 0.5)  # NaN, never read, is not LOCAL
        self._last_ns = now_ns
        if self._began_ns == now_ns:
            for pool in self.pools.values():
                counting.note_made_up(state, pool, now_ns)
        state.claims.expire(now_ns)
        await self.desk.commit(asks.decide_opt_ins(state, now_ns))
        await self._keep_contracts(now_ns)
        entries = groups.decide_regulation(state, now_ns)
        self.desk.look_for_answers()
        await self.desk.commit(entries)
        for pool in self.pools.values():
            await counting.count(self.desk, pool, now_ns, seconds)
            counting.note_misses(state, pool, now_ns)
            await self._derate(pool, now_ns, self._cause(pool))
            await self._redispatch(pool, now_ns)
            counting.note_holds(state, pool, now_ns)
            await self._charge(pool, now_ns)
            self._note_moved(pool, now_ns)
            if pool.undeclared:
                self.upward.later(pool, pool.undeclared, now_ns)
        if all(pool.heard == len(self._causes) for pool in self.pools.values()):
            self._causes.clear()
            for pool in self.pools.values():
                pool.heard = 0
        entries = groups.decide_beside_calls(state, now_ns)
        self.desk.look_for_answers()
        await self.desk.commit(entries)
        await self.desk.settle()
        await self.upward.flush()
        self.beats += 1

    def _uncounted_s(self, now_ns: int) -> float:
        """Return how long ago it was counted last (s; a clock that was set back counts nothing), and that it is now."""
        passed_ns = max(now_ns - self._counted_ns, 0) if self._counted_ns else 0
        self._counted_ns = now_ns
        return passed_ns / SECOND_NS

    async def hand_over(self, now_ns: int) -> None:
        """Count till now, and from now on by whom program events move: they have just changed that.

        Left to the next beat, what such a device gives would count for the event and for its pool until then.
        """
        seconds = self._uncounted_s(now_ns)
        for pool in self.pools.values():
            await counting.count(self.desk, pool, now_ns, seconds)
            pool.by_program = tracking.moved_by_program(self.desk.state, pool.rows, now_ns)

    async def _keep_contracts(self, now_ns: int) -> None:
        """Set aside what no contract agrees to any more; the market is told anew because of it."""
        entries = consents.decide_agreed(self.desk.state, now_ns)
        if entries:
            self.because(entries[0].id)
        await self.desk.commit(entries)

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
        if obligation is not None and self._waits(pool, obligation, now_ns):
            return
        until_ns = max(committed_until(state, pool.pool, now_ns), obligation.end_ns if obligation else now_ns)
        room = self.room(pool, now_ns, (until_ns - now_ns) / HOUR_NS)
        if pool.feeder_of is not None:
            rows = room.up_w, room.down_w, room.may_serve
            pool.by_feeder = by_group(*rows, pool.feeder_of, len(pool.feeders))
        if obligation is None or pool.obligation is None or obligation.power_w * pool.obligation.power_w <= 0:
            pool.learnt = NOTHING
        elif obligation.power_w * pool.learnt.power_w < 0.0:
            side = math.copysign(1.0, obligation.power_w)
            pool.learnt = pool.learnt.without(tracking.kept_from(state, pool.rows, side, now_ns))
        # Nor is anybody called there to make good what others pay back, or what was learnt.
        most_w = 0.0 if obligation is None or state.is_killed else counting.TRIM_MOST * abs(obligation.power_w)
        pool.trim_w = min(max(pool.learnt.power_w, -most_w), most_w)  # nor is what was learnt of a larger one a help
        takes_w = pay_back.takes_back_both_w(state, pool.rows, pool.share_w, now_ns)
        back_w = [pay_back.together_w(state, pool.rows, each) for each in takes_w]
        at_once: AtOnce = cache(partial(self._at_once, pool, now_ns))  # nothing that it reads moves till claims do
        able_w = self._able_w(pool, room, takes_w, obligation, now_ns, at_once)
        if obligation is not None and obligation.power_w * pool.trim_w < 0.0:
            # Nor is less asked for what was given too much, as far as all that there is would not do without that.
            spare_w = max(able_w[0 if obligation.power_w > 0.0 else 1] - abs(obligation.power_w), 0.0)
            pool.trim_w = math.copysign(min(abs(pool.trim_w), spare_w), pool.trim_w)
        # Behind the kill switch nothing can be called: the market is told.
        before, pool.available = pool.available, (0.0, 0.0) if state.is_killed else able_w
        former_w = pool.share_w
        pool.obligation, pool.frees_ns = obligation, FOREVER_NS
        if obligation is None or state.is_killed:
            # Pressed, the switch ends what the market called: what leads to the safe power would leave, and only that.
            why = cause or "the kill switch is pressed" if state.is_killed else f"nothing owed by {pool.pool}"
            entries, split = self._release(pool, now_ns, why)
            pool.share_w, pool.back_w = split.share_w, 0.0
            await self.desk.commit(entries)
            if obligation is not None and cause:
                self._tell_upward(pool, obligation, split, before, former_w, cause, now_ns)
            return
        pool.back_w = back_w[0] if obligation.power_w >= 0 else -back_w[1]
        takes_back_w = takes_w[0 if obligation.power_w >= 0 else 1]
        share_out = partial(self._split, pool, obligation, room, takes_back_w, now_ns, at_once)
        split = split_by_called(pool, share_out, most_w, obligation.power_w)
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
        self, pool: PoolDesk, obligation: Obligation, room: redispatch.Headroom, back_w: Floats, now_ns: int,
        at_once: AtOnce,
    ) -> redispatch.Allocation:  # fmt: skip
        """Return who gives what is owed, what is paid back and what was learnt, beside those that wait to come back and
        what others are held to give."""
        state, side = self.desk.state, math.copysign(1.0, obligation.power_w)
        waiting_w = tracking.waiting_w(state, pool.rows, pool.share_w, side, now_ns)
        held_w = np.maximum(side * tracking.held_w(state, pool.rows, pool.share_w, now_ns), 0.0)
        held_w = np.where(waiting_w > 0.0, 0.0, held_w)
        wanted_w, staged = obligation.power_w + pool.back_w + pool.trim_w, spread_s(state, pool.rows) > 0.0
        called = np.abs(pool.share_w) > 1.0
        if pool.following is not None and pool.following.from_ns <= now_ns:
            pool.planned, pool.following = pool.following, None
        planned_w = pool.planned.of(pool.rows, now_ns) if pool.planned is not None and wanted_w > 0.0 else None
        is_switched, draws_w = state.is_switched[pool.rows], least_draw_w(state.fleet, pool.rows)
        is_smooth = ~(is_switched | (draws_w > 0.0))

        def share_out(room: redispatch.Headroom, wanted_w: float) -> redispatch.Allocation:
            if planned_w is None:
                split = redispatch.allocate_beside(room, wanted_w, waiting_w, staged, called)
            else:
                free, stores = at_once()
                split = redispatch.allocate_planned(room, free, wanted_w, waiting_w, staged, planned_w, stores, called)
            split = whole(split, room, is_switched, is_smooth) if side > 0.0 else split
            return followable(split, room, draws_w, is_smooth, side)

        # At one price who is called goes on, and who takes back what he missed is called last.
        turn = np.where((rests := is_switched & ~called), 1.0 + (back_w > 1.0), 0.0)
        is_within = floor_ns(pool.split_ns, DISPATCH_STEP_NS) == floor_ns(now_ns, DISPATCH_STEP_NS)
        dearest = float(room.price[is_switched & called].max(initial=-math.inf)) if is_within else -math.inf
        price, pool.split_ns = np.where(rests, np.maximum(room.price, dearest), room.price), now_ns
        may_serve = room.may_serve & ~just_let_go(state, pool.rows, now_ns)
        room = replace(room, may_serve=may_serve, price=price + TURN_PRICE * turn)
        split, pool.ends_back_w = redispatch.beside_held(share_out, room, wanted_w, held_w), 0.0
        for _ in range(redispatch.ROUNDS):
            # Who is let go now and takes turns goes on as told from this very moment: others are let go instead.
            goes = takes_turns(state, pool.rows, called & (np.abs(split.share_w) <= 1.0)) & (waiting_w <= 0.0)
            if not goes.any():
                break
            waiting_w = np.where(goes, np.abs(pool.share_w), waiting_w)
            held_w = np.where(goes, 0.0, held_w)
            split = redispatch.beside_held(share_out, room, wanted_w, held_w)
        if (ends := (np.abs(split.share_w) > 1.0) & (back_w > 1.0)).any():
            # Who is called takes nothing back any more: nobody is called for that as well.
            less_w = min(float(back_w[ends].sum()), abs(pool.back_w))
            fewer = redispatch.beside_held(share_out, room, wanted_w - side * less_w, held_w)
            if (np.abs(fewer.share_w) > 1.0)[ends].all():
                split, pool.ends_back_w = fewer, side * less_w
        uncalled = np.abs(split.share_w) <= 1.0
        least_w = SETTLES_FRAC * abs(obligation.power_w)
        pool.frees_ns = tracking.frees_ns(state, pool.rows[uncalled], held_w[uncalled], least_w, now_ns)
        pool.gives_w = side * float((waiting_w + held_w)[uncalled].sum())
        pool.short_w = split.shortfall_w
        over_w = side * (pool.gives_w + float(split.share_w.sum()) - wanted_w + pool.ends_back_w)
        pool.over_w = min(max(over_w, 0.0), abs(pool.gives_w))
        if abs(float((split.share_w - pool.share_w).sum())) > SETTLES_FRAC * abs(obligation.power_w):
            pool.settles_ns = now_ns + FOLLOWS_NS
        return split

    def next_freed_ns(self, now_ns: int) -> int:
        """Return when timers of devices next let go of so much that a pool is to be split anew; `FOREVER_NS`: never."""
        return min((pool.frees_ns for pool in self.pools.values() if pool.frees_ns > now_ns), default=FOREVER_NS)

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

    def _at_once(self, pool: PoolDesk, now_ns: int) -> tuple[redispatch.Headroom, NDArray[np.bool_]]:
        stores = np.isfinite(redispatch.left_wh(self.desk.state, pool.rows, now_ns))
        return self.room(pool, now_ns, SUSTAIN_H), stores

    def _able_w(
        self, pool: PoolDesk, room: redispatch.Headroom, takes_w: tuple[Floats, Floats], obligation: Obligation | None,
        now_ns: int, at_once: AtOnce,
    ) -> tuple[float, float]:  # fmt: skip
        """Return what a pool can give up and down (W): what comes of a call of all that can be called.

        Off what those can give is taken what the others pay back (`takes_w`, by side), and what meters lack of what
        rows are asked. Who can be called and pays back takes nothing any more once he is; who rests gives it then. A
        schedule asks more of a store in a dear hour than it could hold to the end: so it is given.
        """
        state, free = self.desk.state, room.may_serve & ~just_let_go(self.desk.state, pool.rows, now_ns)
        owed_w, found, up_w = 0.0 if obligation is None else obligation.power_w, list[float](), room.up_w
        planned_w = pool.planned.of(pool.rows, now_ns) if pool.planned is not None and owed_w > 0.0 else None
        if planned_w is not None:
            free_now, stores = at_once()
            up_w = np.where(stores, np.maximum(up_w, np.minimum(planned_w, free_now.up_w)), up_w)
        for side, side_w, takes in zip((1.0, -1.0), (up_w, room.down_w), takes_w, strict=True):
            back_w = pay_back.together_w(state, pool.rows, np.where(free & (side_w > 1.0), 0.0, takes))
            lags_w = max(side * pool.trim_w, 0.0) if side * owed_w > 0.0 else 0.0
            found.append(max(_sum(side_w, room) - back_w - lags_w, 0.0))
        return found[0], found[1]

    def _release(self, pool: PoolDesk, now_ns: int, why: str) -> tuple[list[Entry], redispatch.Allocation]:
        """Return the facts that end the pool's market claims, and that nobody gives anything."""
        idle = Obligation(pool.pool, 0.0, now_ns, now_ns, "", 0.0, False)
        nothing = np.zeros(len(pool.rows))
        split = redispatch.Allocation(pool.rows, self.desk.state.base_w[pool.rows], nothing, 0.0, 0.0)
        return redispatch.decide_claims(self.desk.state, idle, split, now_ns, why), split

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
        feasible_w = split.feasible_w + pool.gives_w - (pool.back_w - pool.ends_back_w) - pool.trim_w
        # Nothing is told to be feasible beyond what the market is told: what was given too much before is no promise.
        side, most_w = math.copysign(1.0, obligation.power_w), pool.available[0 if obligation.power_w >= 0 else 1]
        feasible_w = side * min(side * feasible_w, most_w)
        moved = Moved(before, pool.available, obligation.power_w, feasible_w, substitutes, obligation.because)
        self.upward.later(pool, cause, now_ns, moved)

    def _note_moved(self, pool: PoolDesk, now_ns: int) -> None:
        """See to it that a declaration that telemetry has made untrue is renewed, where it matters for what is sold.

        Beyond what is sold it says nothing that the market acts on; and what moves back at the next beat is no news.
        Behind the kill switch nothing moves: what is sold meanwhile is told at once, and that it is the switch.
        """
        sold_w = sold_ahead_w(self.desk.state, pool.pool, now_ns)
        matters = is_untrue(self.desk.state, pool.pool, pool.available, sold_w, now_ns)
        if not self._is_heard(pool):
            return
        unsure = pool.pool in self.upward.unsure and any(sold_w)
        pool.differs = pool.differs + 1 if unsure or matters else 0
        is_killed = self.desk.state.is_killed
        if pool.differs >= (1 if is_killed else DECLARES_BEATS) and not pool.undeclared:
            pool.undeclared = redispatch.BY_KILL if is_killed else TELEMETRY + pool.pool

    def _waits(self, pool: PoolDesk, obligation: Obligation, now_ns: int) -> bool:
        """Whether what a pool was told before the start stands till the first schedule is made: by merit it would move
        twice. Not where something else is asked of it by now, or the switch is pressed."""
        if not pool.is_scheduled or pool.planned is not None or obligation.power_w <= 0.0 or self.desk.state.is_killed:
            return False
        asked_w = float(pool.share_w.sum())
        as_before = pool.obligation is None and abs(asked_w - obligation.power_w) <= SETTLES_FRAC * obligation.power_w
        return as_before and 0 <= now_ns - self._began_ns < SCHEDULED_NS

    def _is_fresh(self, now_ns: int) -> bool:
        """Whether the desk was started so short ago that devices had no time to be heard since."""
        return now_ns - self._began_ns < STALE_NS

    def _is_heard(self, pool: PoolDesk) -> bool:
        """Whether devices of the pool were heard since the start: before, that nothing is available is not known."""
        heard, commands = self.desk.state.fleet.taken_at_ns[pool.rows] > 0, self.desk.state.commands
        told = (commands.valid_until_ns[pool.rows] > self._last_ns) & np.isfinite(commands.target_w[pool.rows])
        least = HEARD_FRAC * told.sum() if self._is_fresh(self._last_ns) else 0.0
        return bool(heard.any() and (heard & told).sum() >= least)


def _sum(values: Floats, room: redispatch.Headroom) -> float:
    return float(values[room.may_serve].sum())
