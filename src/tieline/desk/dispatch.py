"""Setpoints become commands: only for rows whose setpoint moved, or whose command would soon run out.

Theory of operation. Between what arbitration settles and what leaves stand four hands that may hold a command back or
shorten its step, each for its own reason: releases are staged (`desk.release`), steps keep to the ramp (R11), the fleet
limiter lets so much pass in 60 s, and the kill switch lets pass what leads to safety. A row that was held back is
settled again at the next beat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.authority import may_pass
from tieline.desk.ends import end_w, last_end_w
from tieline.desk.entry import Entry
from tieline.desk.facts import CommandsIssued, ReleaseStaged
from tieline.desk.groups import shared_out
from tieline.desk.least_draw import drawable_w, is_between, resolved_w
from tieline.desk.least_times import stays_told
from tieline.desk.packed import Causes, Packed
from tieline.desk.reasons import Told, Why
from tieline.desk.release import decide_release
from tieline.desk.state import LEASE_NS, DeskState
from tieline.fleet.claims import Settled
from tieline.fleet.columns import Fleet, places
from tieline.fleet.holding import least_draw_w
from tieline.fleet.limiter import WINDOW_NS
from tieline.ids import derive
from tieline.resource.arbitrate import REMOTE_LEVELS
from tieline.resource.batch import CommandBatch
from tieline.resource.claim import Quantity
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.resource.ramp import EMERGENCY
from tieline.times import FOREVER_NS, MINUTE_NS, SECOND_NS

RENEW_NS = 8 * MINUTE_NS
AGAIN_NS, OUT_AGAIN_NS = 2 * MINUTE_NS, 25 * SECOND_NS
"""So long after a command ended without an answer its row is told anew; and so long after it was told one whose owner
opted out, who waits for no beat: within a minute a release that was lost goes out twice more."""
CHANGE_W = 1.0
STEP_S = 60.0
Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class Wish:
    """What rows are to be told; shape (n,) each. A target of NaN lets a device run freely within its limits."""

    rows: Rows
    target_w: Floats
    low_w: Floats
    high_w: Floats

    def take(self, mask: Mask) -> Wish:
        """Return some of the rows."""
        return Wish(self.rows[mask], self.target_w[mask], self.low_w[mask], self.high_w[mask])


def changed(state: DeskState, settled: Settled, now_ns: int) -> Mask:
    """Return which settled rows need a command: a moved target or limit, or one in force that would soon run out."""
    rows, last = places(settled.rows), state.commands
    target_w = wanted(state.fleet, settled)
    # A command whose time is over holds nothing: the device has fallen back to its default by its own timer.
    was_w = np.where(last.valid_until_ns[rows] > now_ns, last.target_w[rows], np.nan)
    frees = np.isnan(target_w)
    was_free = np.isnan(was_w)
    moved = (frees != was_free) | (~frees & ~was_free & (np.abs(target_w - was_w) > CHANGE_W))
    low_w, high_w = last.low_w[rows], last.high_w[rows]
    limits = _differs(settled.told_low_w, low_w) | _differs(settled.told_high_w, high_w)
    # A row that is free and unlimited needs no renewal: letting its last command lapse says the same. One that may not
    # have heard that it is free holds what it was told before, for a lease.
    in_force = ~frees | _is_limited(state, settled)
    runs_out = (in_force & _is_due(last.valid_until_ns[rows] - now_ns)) | _unheard(state, rows, now_ns)
    moved_mask: Mask = moved | (limits & (in_force | _was_limited(state, rows))) | runs_out
    return moved_mask & (in_force | ~is_left(state, rows, now_ns))


def is_left(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows are in LOCAL while somebody calls them, and not by their owner's opt-out.

    Rule R5: who calls one is held, and its hand-back would be written over the hand of whoever set it. What binds there
    is told all the same; and once nobody calls it any more it is told so.
    """
    mask: Mask = state.claims.is_local[rows] & ~state.opted_out[rows]
    if mask.any():
        called = np.zeros(len(state.fleet), np.bool_)
        for batch, alive in state.claims.batches():
            if batch.level in REMOTE_LEVELS and state.claims.holds_at(batch, now_ns):
                called[batch.rows[alive]] = True
        mask &= called[rows]
    return mask


def due(state: DeskState, now_ns: int) -> Rows:
    """Return the rows whose last command may have to be renewed now though no claim on them has changed.

    A limit for three hours is one claim and many commands, as each ends by the device's own timer (R15). While the
    clock stands behind what was settled last, nobody is: until the step is noted (`ClaimBook.set_back`), claims that
    began would look as if they had yet to.
    """
    if now_ns < state.claims.latest_ns:
        return np.empty(0, np.int32)
    last = state.commands
    held = last.valid_until_ns > state.claims.latest_ns  # those that had lapsed before were seen to then
    everyone = np.arange(len(held), dtype=np.int32)
    unheard = _unheard(state, everyone, now_ns) & (held | state.owes_release(everyone))
    return everyone[(held & _is_due(last.valid_until_ns - now_ns)) | unheard]


def _differs(new: Floats, old: Floats) -> Mask:
    same: Mask = (new == old) | (np.abs(new - old) <= CHANGE_W)
    return ~same


def _is_limited(state: DeskState, settled: Settled) -> Mask:
    fleet, rows = state.fleet, settled.rows
    limited: Mask = settled.told_low_w > -fleet.max_absorb_w[rows]
    limited |= settled.told_high_w < fleet.max_inject_w[rows]
    return limited


def _was_limited(state: DeskState, rows: Rows) -> Mask:
    fleet, last = state.fleet, state.commands
    was: Mask = (last.low_w[rows] > -fleet.max_absorb_w[rows]) | (last.high_w[rows] < fleet.max_inject_w[rows])
    return was


def wanted(fleet: Fleet, settled: Settled) -> Floats:
    """Return the target of each row (W), or NaN where nobody wants one: it runs freely within its limits.

    Where a device's timer (R12) stands against a limit it is told the limit all the same. What it can do it does: an
    engine that has to run opens its breaker and idles; a compressor stops as soon as its timer lets it. A charger that
    is left less than a car needs is told to stop.
    """
    within_w = np.minimum(np.maximum(resolved_w(settled.target_w), settled.told_low_w), settled.told_high_w)
    within_w = drawable_w(within_w, least_draw_w(fleet, settled.rows), settled.told_low_w, settled.told_high_w)
    target: Floats = np.where(settled.winner >= 0, within_w, np.nan)
    return target


def decide_commands(state: DeskState, settled: Settled, now_ns: int) -> tuple[list[Entry], CommandBatch | None]:
    """Return the facts and the batch of commands that put settled rows into force; none where nothing changed."""
    mask = changed(state, settled, now_ns)
    if not mask.any():
        return [], None
    wish = Wish(
        settled.rows[mask], wanted(state.fleet, settled)[mask], settled.told_low_w[mask], settled.told_high_w[mask]
    )
    level = _deciding_level(state, settled)[mask]
    why = Why.of(state, settled, mask)
    entries = _kept(state, wish, why, now_ns)
    goes = _paced(state, wish, level, now_ns)
    goes &= may_pass(state, wish.rows, wish.target_w, wish.low_w, wish.high_w)
    # Not forgotten: a row that was held back counts as moved, and is settled again at the next beat.
    state.claims.touch(wish.rows[~goes])
    goes &= _says_more(state, wish, now_ns)
    if not goes.any():
        return entries, None
    caused_by, causes = _reasons(state, wish.take(goes), why.take(goes), entries)
    batch = _batch(state, wish.take(goes), caused_by, now_ns)
    return [*entries, Entry(batch.id, issued(batch, causes), "", batch.caused_by)], batch


def _reasons(state: DeskState, wish: Wish, why: Why, entries: list[Entry]) -> Told:
    """Return the causes of commands: who decides, what let go, and the record that gave a row its turn."""
    rows, last = places(wish.rows), state.commands
    let_go = np.isnan(wish.target_w) & np.isfinite(last.target_w[rows])
    let_go |= (wish.low_w < last.low_w[rows] - CHANGE_W) | (wish.high_w > last.high_w[rows] + CHANGE_W)
    at_ns, turn, staged = state.release_at_ns[rows], state.release_of[rows].copy(), ""
    for entry in entries:  # one at most, that is about to be applied
        if isinstance(entry.fact, ReleaseStaged):
            staged, at_ns = entry.id, at_ns.copy()
            told_ns, mine = np.full(len(state.fleet), -1, np.int64), entry.fact.rows.array()
            told_ns[mine] = entry.fact.at_ns.array()
            is_told = told_ns[rows] >= 0
            turn[is_told], at_ns[is_told] = len(state.releases), told_ns[rows][is_told]
    has_turn = at_ns > 0
    return why.of_commands(let_go | has_turn, np.where(has_turn, turn, -1).astype(np.int32), staged)


def _deciding_level(state: DeskState, settled: Settled) -> NDArray[np.int64]:
    """Return the strongest level that has a say in each row's setpoint: its winner's, or that of a limit that bites."""
    levels = [state.claims.level_of(x) for x in (settled.winner, settled.limited_low, settled.limited_high)]
    strongest: NDArray[np.int64] = np.minimum.reduce(levels)
    return strongest


def _kept(state: DeskState, wish: Wish, why: Why, now_ns: int) -> list[Entry]:
    """Let rows whose turn to come back is later keep their last command, as far as today's limits allow."""
    rows, last = places(wish.rows), state.commands
    frees, staged = np.isnan(wish.target_w), state.release_at_ns[rows] > 0
    if not (frees.any() or staged.any()):
        return []
    alive = last.valid_until_ns[rows] > now_ns
    wider = (wish.low_w < last.low_w[rows] - CHANGE_W) | (wish.high_w > last.high_w[rows] + CHANGE_W)
    had_target, limited = np.isfinite(last.target_w[rows]), _was_limited(state, rows)
    lets_go = frees & (had_target | (wider & limited))
    if (lets_go & ~had_target).any():
        # A cap that grows as a limit is shared out afresh lets nobody go: the limit bounds what comes back together.
        lets_go &= had_target | ~shared_out(state, now_ns)[rows]
    entries, waits = decide_release(state, why, alive & lets_go, now_ns)
    waits |= alive & lets_go & had_target & stays_told(state, rows, now_ns) & ~state.opted_out[rows]
    at = np.flatnonzero(waits)
    if len(at):
        kept, low_w, high_w = rows[at], wish.low_w[at], wish.high_w[at]
        wish.target_w[at] = np.clip(last.target_w[kept], low_w, high_w)
        wish.low_w[at] = np.clip(last.low_w[kept], low_w, high_w)
        wish.high_w[at] = np.clip(last.high_w[kept], low_w, high_w)
        state.claims.touch(kept)
    return entries


def _paced(state: DeskState, wish: Wish, level: NDArray[np.int64], now_ns: int) -> Mask:
    """Shorten steps to the ramp and to what the limiter ever allows, and return which rows may leave now.

    A tightening by levels 0 to 3 is never held back: the grid asked for it. Levels 0 to 2 also go past the ramp (R11).
    Nor is the way to the edge of a limit of theirs beyond which a row stands: a feeder that must draw asks for that of
    rows whose safe power lies behind them. A person who opted out waits for no minute: what they could do at the device
    by hand is no more than that.
    """
    rows, limiter, fleet = wish.rows, state.limiter, state.fleet
    from_w = last_end_w(state, rows, now_ns)
    goal_w = end_w(state, rows, wish.target_w, wish.low_w, wish.high_w)
    safe_w = fleet.safe_w[rows]
    tightens = np.abs(goal_w - safe_w) <= np.abs(from_w - safe_w)
    # Towards the safe power only: an emergency level that loosens is paced as any other (R11).
    urgent = tightens & (level <= max(EMERGENCY))
    edge_w = np.minimum(np.maximum(from_w, wish.low_w), wish.high_w)
    beyond_w = np.where(level <= int(Level.ENVELOPE), np.abs(edge_w - from_w), 0.0)
    is_free = (tightens & (level <= int(Level.ENVELOPE))) | (beyond_w > CHANGE_W)
    is_free |= state.opted_out[rows] & np.isnan(wish.target_w)
    is_whole = is_free & tightens  # one that is driven beyond its safe power goes to the edge at once, and no further
    most_w = np.where(is_whole, np.inf, np.minimum(limiter.feeder_w, limiter.system_w)[limiter.feeder_of[rows]])
    most_w = np.where(is_free & ~tightens, beyond_w, most_w)
    most_w = np.minimum(most_w, np.where(urgent, np.inf, _ramped_w(state, rows, now_ns)))
    short = np.isfinite(wish.target_w) & (np.abs(goal_w - from_w) > most_w)
    if short.any():
        step_w = from_w + np.clip(goal_w - from_w, -most_w, most_w)
        # A step outside the limits of now would be refused by the device: limits hold at once, ramps give way to them.
        wish.target_w[:] = np.where(short, np.minimum(np.maximum(step_w, wish.low_w), wish.high_w), wish.target_w)
        _past_least(fleet, wish, goal_w, short)
        goal_w = np.where(short, wish.target_w, goal_w)
        state.claims.touch(rows[short])
    allowed = limiter.allows(rows, np.abs(goal_w - from_w), level, is_free, now_ns)
    state.held_ns[rows[~allowed]] = now_ns
    limiter.hold(rows[~allowed], now_ns)
    return allowed


def _past_least(fleet: Fleet, wish: Wish, goal_w: Floats, short: Mask) -> None:
    """Let steps that end where no car can follow go on to the next power that it can, on their way."""
    least_w = least_draw_w(fleet, wish.rows)
    between = short & is_between(wish.target_w, least_w)
    next_w = np.where(goal_w <= -least_w, -least_w, 0.0)
    wish.target_w[:] = np.where(between, np.minimum(np.maximum(next_w, wish.low_w), wish.high_w), wish.target_w)


def _ramped_w(state: DeskState, rows: Rows, now_ns: int) -> Floats | float:
    """Return how far each row may move now by its ramp (W; inf: as far as it likes): its own, or a claimed one."""
    ramp = np.minimum(state.fleet.ramp_w_per_s[rows], state.claims.least_high(rows, Quantity.RAMP, now_ns))
    if np.isinf(ramp).all():
        return np.inf
    issued_ns = state.commands.valid_until_ns[rows] - LEASE_NS
    # By the last command, not the last beat: a ramp is a promise about what the device was told.
    since_s = np.clip((now_ns - issued_ns) / SECOND_NS, 0.0, STEP_S)
    far: Floats = np.where(np.isinf(ramp), np.inf, np.where(np.isinf(ramp), 0.0, ramp) * since_s)
    return far


def _says_more(state: DeskState, wish: Wish, now_ns: int) -> Mask:
    """Return which rows would be told something else than they hold, or hold for a short time only."""
    rows, last = wish.rows, state.commands
    same = (wish.target_w == last.target_w[rows]) | (np.isnan(wish.target_w) & np.isnan(last.target_w[rows]))
    same &= ~_differs(wish.low_w, last.low_w[rows]) & ~_differs(wish.high_w, last.high_w[rows])
    mask: Mask = ~same | _is_due(last.valid_until_ns[rows] - now_ns) | _unheard(state, rows, now_ns)
    return mask


def _is_due(left_ns: NDArray[np.int64]) -> Mask:
    """Return where a command soon runs out, or would hold for longer than a lease as the clock was set back (R3)."""
    due: Mask = (left_ns < RENEW_NS) | (left_ns > LEASE_NS)
    return due


def _unheard(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows report, but never answered their last command: they may hold an older one, that ends sooner.

    What they are told then is a new command, newer than the first and as absolute (R14): if both come, the second
    changes nothing. One that can't be reached is left alone until it is, and is owed its hand-back however long that
    takes. Of what was told before the desk began no link waits for an answer any more: it is told anew as soon as its
    device is heard.
    """
    rows = places(rows)
    last = state.commands
    out = state.opted_out[rows]
    silent = (last.stage[rows] == int(Stage.UNCONFIRMED)) & np.isnan(last.observed_w[rows])
    # One that is still on its way may come too late for a person.
    silent |= out & (last.stage[rows] < int(Stage.ACCEPTED))
    silent |= state.cut_off(rows) | state.owes_release(rows)
    reports = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    told_ns = last.valid_until_ns[rows] - LEASE_NS
    waited = np.where(out, now_ns - told_ns >= OUT_AGAIN_NS, now_ns - last.at_ns[rows] >= AGAIN_NS)
    waited |= last.batch[rows] < state.inherited
    mask: Mask = silent & reports & waited
    return mask


def next_room_ns(state: DeskState, now_ns: int) -> int:
    """Return when the fleet limiter has room again for what it held back; `FOREVER_NS`: nothing waits for that."""
    waits = bool((state.held_ns > now_ns - WINDOW_NS).any())
    return state.limiter.next_room_ns(now_ns) if waits else FOREVER_NS


def next_again_ns(state: DeskState, now_ns: int) -> int:
    """Return when the next device of an owner who opted out is told anew; `FOREVER_NS`: none waits for that."""
    last, rows = state.commands, np.flatnonzero(state.opted_out)
    waits = rows[(last.stage[rows] < int(Stage.ACCEPTED)) | (last.stage[rows] == int(Stage.UNCONFIRMED))]
    due_ns = last.valid_until_ns[waits] - LEASE_NS + OUT_AGAIN_NS
    later = due_ns[due_ns > now_ns]
    return int(later.min()) if len(later) else FOREVER_NS


def _batch(state: DeskState, wish: Wish, causes: tuple[str, ...], now_ns: int) -> CommandBatch:
    seq = state.seq + 1
    return CommandBatch(
        derive("commands", state.epoch, seq, now_ns), wish.rows, wish.target_w, wish.low_w, wish.high_w,
        state.fleet.default_w[wish.rows], now_ns, now_ns, now_ns + LEASE_NS, state.epoch, seq, causes,
    )  # fmt: skip


def issued(batch: CommandBatch, causes: Causes | None = None) -> CommandsIssued:
    """Return the fact of a batch of commands."""
    return CommandsIssued(
        batch.id,
        Packed.of(batch.rows),
        Packed.of(batch.target_w),
        Packed.of(batch.low_w),
        Packed.of(batch.high_w),
        Packed.of(batch.revert_w),
        batch.issued_at_ns,
        batch.valid_from_ns,
        batch.valid_until_ns,
        batch.epoch,
        batch.seq,
        causes,
    )
