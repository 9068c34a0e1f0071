"""What devices under a limit want, and whose turn it is: what the caps of a group are shared out by.

A load that a limit holds off can't show that it would run, and one that is let on need not run: so loads that are on or
off take turns, those that wanted power as the limit came first, and of the others a few at a time are tried.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE, first_true, or_0
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
TURN_NS, STARTS_NS = 10 * MINUTE_NS, 5 * MINUTE_NS
"""How long a load is held off before its turn comes, shorter than a command's lease, and how long one that may run has
to begin: a compressor's own timer counts three minutes, and a poll one or two."""
RESTS_NS = 30 * MINUTE_NS
"""For how long one that may run and does not is thought to have no need: a room that is cool, a tank that is warm."""
WANTS_FRAC = 0.25
"""A load that is off and whose mean draw is below this share of its size is not known to need to run now."""
TURNS_FRAC, TRIES_FRAC = 0.4, 0.1
"""Of what is on so much may be let on in turn at once, as what gives way stops at once and who follows needs a minute;
and so much of what may have no need to run may be tried at a time."""
TRY_NS, TRIED_NS = 10 * MINUTE_NS, 3 * MINUTE_NS
"""Every so often another charger that charges nothing is let charge, for so long: a poll or two, and a car's start."""
CHARGES_NS = 20 * SECOND_NS
"""A car takes what its charger lets it within five seconds (IEC 61851-1), and its meter shows it by then."""
LEAST_TRIED = 3.0
"""Of so many times what a car needs at least, or more, a part is kept for one that may have come: else others stop."""
FOLLOWS_NS = 90 * SECOND_NS
"""What a device was told shows at its meter by then."""
SOON_NS = 30 * MINUTE_NS
"""What an award asks within so long counts for whether a limit can end."""
NEAR_FRAC = 0.9
"""A load that draws this share of its cap or more is held down by it."""
PROBES_FRAC = 0.2
"""What a load that is held down by its cap is thought to want beside what it draws, as a share of its size: its base is
as old as the limit, and how far it would go shows only as it is let."""


def wants(state: DeskState, rows: Rows, draw_w: Floats, now_ns: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return what each of `rows` would draw under no limit (W), and those that are on or off in order of their turn.

    What a limit keeps down wants its base; what nothing keeps down, or waits for its turn to come back, wants what it
    draws, and so does what stays below its cap. First in turn are those that have just begun, or may; then those that
    were held off for a turn, as far as they are a small part of those that ran for one; those that are on stay on, as a
    compressor must not be switched each minute; then come held off ones, by lot, but none that was held off for less
    than its least time. Of one that was no load as the limit came nobody knows: a few at a time may
    begin, and make room where they do not. The lot follows from the turn and the row alone: a replay has the same.
    """
    fleet, last = state.fleet, state.commands
    absorb_w, alive = fleet.max_absorb_w[rows], last.valid_until_ns[rows] > now_ns
    staged = state.release_at_ns[rows] > now_ns
    stores = fleet.energy_wh[rows] > 0
    kept_down = alive & (last.low_w[rows] > 1.0 - absorb_w) & ~staged
    # One that stays below its cap has no need for more; one at its cap may have.
    cap_w = np.minimum(-last.low_w[rows], absorb_w)
    bites = draw_w >= cap_w - (1.0 - NEAR_FRAC) * np.abs(cap_w)
    # A cap that was just moved has not shown yet whether it is used: taken away again at once, it never would.
    waits = kept_down & ~bites & ~stores & (now_ns - last.since_ns[rows] < FOLLOWS_NS)
    probes_w = np.where(stores, draw_w, np.minimum(draw_w + PROBES_FRAC * absorb_w, absorb_w))
    held_w = np.maximum(probes_w, -state.base_w[rows])
    wants_w = first_true((kept_down & bites, waits), (held_w, np.maximum(cap_w, draw_w)), draw_w)
    # A charger knows what its car may take; a car that came under the limit has no base. Whether one that charges takes
    # more shows step by step: all of it at once would stop others for room that nobody uses.
    takes_w = np.maximum(draw_w, 0.0) + or_0(fleet.available_down_w[rows])
    takes_w = np.where(draw_w >= LEAST_CHARGE_W, np.minimum(takes_w, np.where(bites, probes_w, draw_w)), takes_w)
    wants_w = np.where(kept_down & (fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]), takes_w, wants_w)
    # One that is told a power wants that, and no more while it is called.
    told_w = -last.target_w[rows]
    called = alive & np.isfinite(told_w) & ~staged
    # Told as much as its cap, a charger is held by that: how far its call would let it go shows as the cap grows.
    by_cap = kept_down & (told_w >= cap_w - 1.0) & (now_ns - state.idle_ns[rows] >= TRY_NS)
    by_cap &= fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]
    wants_w = np.where(called & ~by_cap, np.where(stores, told_w, np.minimum(wants_w, told_w)), wants_w)
    # What a store gives makes no room for its neighbours, or the limit would press it to go on, called or not: it
    # counts as at rest.
    wants_w = np.where(stores, np.maximum(wants_w, 0.0), wants_w)
    at = np.flatnonzero(state.is_switched[rows])
    size_w, since_ns = absorb_w[at], last.since_ns[rows[at]]
    serves = called[at] & (told_w[at] < 0.5 * size_w)
    held_off = alive[at] & (last.low_w[rows[at]] > -0.5 * size_w) & ~serves
    # Its base is what it drew before the limit; one that was let on since, and stayed off, has no need for a while.
    known = (-state.base_w[rows[at]] > WANTS_FRAC * size_w) & (now_ns - state.idle_ns[rows[at]] >= RESTS_NS)
    # One that was told to stop and runs on by its own timer is not on: it goes.
    on, has_waited = (draw_w[at] > 0.5 * size_w) & ~held_off & ~serves, now_ns - since_ns >= TURN_NS
    fresh = ~held_off & ~serves & alive[at] & (now_ns - since_ns < STARTS_NS)
    lot = _lots(now_ns // TURN_NS, len(fleet))[rows[at]]
    on_w, tried_w = float(size_w[on].sum()), float(size_w[fresh & ~on & ~known].sum())
    # Who ran for a turn makes room, nobody else: what has just begun goes on for minutes whatever it is told.
    ran_w = float(size_w[on & has_waited].sum())
    due = first_part(held_off & known & has_waited, since_ns, lot, size_w, min(TURNS_FRAC * on_w, ran_w - 1.0))
    due |= first_part(held_off & ~known & has_waited, since_ns, lot, size_w, TRIES_FRAC * on_w - tried_w)
    least_ns = (fleet.min_hold_s[rows[at]] * SECOND_NS).astype(np.int64)
    rests = held_off & (now_ns - since_ns < least_ns)
    kinds_of_turn = (
        serves, staged[at], due, fresh | (on & ~has_waited), on, rests, held_off & known, held_off & has_waited,
        ~held_off,
    )  # fmt: skip
    group = first_true(kinds_of_turn, (8, 7, 1, 0, 2, 6, 3, 4, 5), 6)
    # What is off wants its mean, not its size: of all that want to run not all do so at once. What is tried wants
    # nothing yet: it must not take from those who do.
    mean_w = np.where(known, np.clip(-state.base_w[rows[at]], 0.0, size_w), 0.0)
    wants_w[at] = first_true((on | due, group <= 4), (size_w, mean_w), 0.0)
    order: NDArray[np.int64] = at[np.lexsort((lot, group))]
    return wants_w, order


def waiting_cars(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which chargers a limit holds off, or has just let begin, that have a car: it charged as the limit came, or
    as it was held off.

    It is thought to be there until it is let charge and does not (`Charges.seen_ns`).
    """
    last, seen_ns = state.commands, state.charges.seen_ns[rows]
    size_w = np.minimum(LEAST_CHARGE_W, state.fleet.max_absorb_w[rows])
    mask: Mask = (state.fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]) & (last.valid_until_ns[rows] > now_ns)
    begins = now_ns - state.charges.began_ns[rows] < TRIED_NS
    mask &= (last.low_w[rows] > 1.0 - size_w) | begins
    mask &= (seen_ns > 0) | ((seen_ns == 0) & (-state.base_w[rows] >= size_w))
    return mask


def with_waiting_cars(state: DeskState, rows: Rows, wants_w: Floats, now_ns: int) -> Floats:
    """Return what each wants (W), where a car that a limit holds off wants what it did, and its least at least."""
    absorb_w = state.fleet.max_absorb_w[rows]
    held_w = np.minimum(np.maximum(-state.base_w[rows], LEAST_CHARGE_W), absorb_w)
    is_short = waiting_cars(state, rows, now_ns) & (wants_w < np.minimum(LEAST_CHARGE_W, absorb_w))
    found: Floats = np.where(is_short, held_w, wants_w)
    return found


def may_take_w(state: DeskState, rows: Rows, draw_w: Floats, now_ns: int) -> Floats:
    """Return what each of `rows` may draw more than it is known to want (W, 0 or more): a guess, and no need.

    A charger that charges at its cap and doesn't tell what its car would take shows it as it is let; who did not use
    what it was let take is asked again after a while.
    """
    fleet, last = state.fleet, state.commands
    absorb_w, cap_w = fleet.max_absorb_w[rows], np.minimum(-last.low_w[rows], fleet.max_absorb_w[rows])
    asks = (fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]) & np.isnan(fleet.available_down_w[rows])
    asks &= (last.valid_until_ns[rows] > now_ns) & (state.release_at_ns[rows] <= now_ns)
    asks &= (draw_w >= LEAST_CHARGE_W) & (draw_w >= NEAR_FRAC * cap_w) & (now_ns - state.idle_ns[rows] >= TRY_NS)
    more_w: Floats = np.where(asks, np.clip(absorb_w - draw_w, 0.0, PROBES_FRAC * absorb_w), 0.0)
    return more_w


@lru_cache(maxsize=2)
def _lots(turn: int, count: int) -> Floats:
    """Return the lot of each row at a turn; drawn once, as every limited group of a beat asks for it."""
    found = np.random.default_rng(turn).random(count)
    found.flags.writeable = False
    return found


def beyond_w(state: DeskState, rows: Rows, draw_w: Floats, now_ns: int) -> float:
    """Return what rows draw beyond their caps (W), those that had time to follow: by a timer, or as they don't obey."""
    last = state.commands
    told = (last.valid_until_ns[rows] > now_ns) & (now_ns - last.since_ns[rows] >= FOLLOWS_NS)
    return float(np.where(told, np.maximum(draw_w + last.low_w[rows], 0.0), 0.0).sum())


def tried_charger(state: DeskState, rows: Rows, draw_w: Floats, now_ns: int) -> int | None:
    """Return which of `rows` (its place) is let charge for a while now, to see whether a car came; None: none is.

    A charger that is held off can't show a car, and few tell of one. So those that charge nothing take turns.
    """
    if now_ns % TRY_NS >= TRIED_NS:
        return None
    fleet, last = state.fleet, state.commands
    idle = (fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]) & (draw_w < 0.5 * LEAST_CHARGE_W)
    idle &= ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & np.isnan(last.target_w[rows])
    idle &= or_0(fleet.available_down_w[rows]) < 0.5 * LEAST_CHARGE_W  # else that is what it wants
    idle &= ~waiting_cars(state, rows, now_ns)  # they have a turn of their own
    places = np.flatnonzero(idle)
    return int(places[now_ns // TRY_NS % len(places)]) if len(places) else None


def note_idle(state: DeskState, rows: Rows, now_ns: int) -> None:
    """Note which of `rows`, that are on or off, may run and do not, though they had the time to begin."""
    fleet, last = state.fleet, state.commands
    _note_full(state, rows[fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]], now_ns)
    rows = rows[state.is_switched[rows]]
    size_w, draw_w = fleet.max_absorb_w[rows], -fleet.power_or_0_w(rows)
    seen = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    alive, may_run = last.valid_until_ns[rows] > now_ns, last.low_w[rows] <= -0.5 * size_w
    may_run &= np.isnan(last.target_w[rows]) & (now_ns - last.since_ns[rows] >= STARTS_NS)
    state.idle_ns[rows[seen & alive & may_run & (draw_w < 0.5 * size_w)]] = now_ns
    state.idle_ns[rows[seen & (draw_w >= 0.5 * size_w)]] = 0


def _note_full(state: DeskState, rows: Rows, now_ns: int) -> None:
    """Note which chargers charge a car with less than a limit lets them, though it had the time to take more."""
    fleet, last = state.fleet, state.commands
    draw_w, may_w = -fleet.power_or_0_w(rows), np.minimum(-last.low_w[rows], fleet.max_absorb_w[rows])
    seen = ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & (last.valid_until_ns[rows] > now_ns)
    seen &= fleet.taken_at_ns[rows] - last.since_ns[rows] >= CHARGES_NS
    state.idle_ns[rows[seen & (draw_w >= LEAST_CHARGE_W) & (draw_w < NEAR_FRAC * may_w)]] = now_ns


def first_part(
    waits: NDArray[np.bool_], since_ns: NDArray[np.int64], lot: Floats, size_w: Floats, most_w: float
) -> NDArray[np.bool_]:
    """Return those of who waits that waited longest, as many as begin within `most_w` together (below 0 W: none)."""
    order = np.lexsort((lot, since_ns, ~waits))[: int(waits.sum())]
    first = np.zeros(len(waits), np.bool_)
    first[order[np.cumsum(size_w[order]) - size_w[order] <= most_w]] = True
    return first


def would_w(state: DeskState, rows: Rows, side: float, now_ns: int) -> float:
    """Return what rows would draw (side above 0) or give (below) together if no limit held them (W, 0 or more)."""
    fleet = state.fleet
    unfit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    now_w = np.where(unfit | np.isnan(fleet.power_w[rows]), state.base_w[rows], fleet.power_w[rows])
    wants_w = wants(state, rows, -now_w, now_ns)[0] if side > 0 else would_give_w(state, rows, now_w, now_ns)
    return float(np.maximum(wants_w, 0.0).sum())


def would_give_w(state: DeskState, rows: Rows, now_w: Floats, now_ns: int) -> Floats:
    """Return what each of `rows`, that does `now_w`, would do if no limit held down what it gives (W)."""
    fleet, last = state.fleet, state.commands
    high_w = np.minimum(last.high_w[rows], fleet.max_inject_w[rows])
    held = (last.valid_until_ns[rows] > now_ns) & (now_w >= high_w - (1.0 - NEAR_FRAC) * np.abs(high_w))
    # A plant that is held knows what the sun would give, or its neighbours do: its base is that.
    # Of one that is called up to its cap nobody knows how far it would be called: it counts at all that it can. So
    # does a store at its cap while an award asks for power, as the market calls it once the limit is gone.
    more = (fleet.kinds[rows] == KIND_CODE[Kind.PV]) | np.isfinite(last.target_w[rows])
    more |= (fleet.energy_wh[rows] > 0) & _asks_up(state, now_ns)
    sun_w = now_w + np.where(more, or_0(fleet.available_up_w[rows]), 0.0)
    found: Floats = np.where(held, np.maximum(sun_w, state.base_w[rows]), now_w)
    return found


def _asks_up(state: DeskState, now_ns: int) -> bool:
    """Whether an award asks for more power now, or will soon."""
    awards = state.awards.values()
    return any(a.power_w > 0 and a.start_ns <= now_ns + SOON_NS and now_ns < a.end_ns for a in awards)
