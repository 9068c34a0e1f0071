"""The passes of `plan.stack` over columns: a shard of rows each, sums in float64, the same bits on any thread.

What is said of each row alone is found in a loop without sums, which the compiler makes eight rows at a time of; sums
are added up in a second one, in the order of rows. Together they take a third of what one loop takes.
"""

from __future__ import annotations

import numpy as np

from tieline.compiled import compiled, compiled_unchecked

# mypy: disable-error-code="no-untyped-def"


# Without branches inside the loops: what a device is can't be foretold, and a wrong guess costs more than both ways.


@compiled_unchecked
def able(lo, hi, held, full, charge, discharge, per_h):
    """Return what a device may give now: a store by what it holds, and by what it has room for."""
    is_store, none = full > np.float32(0.0), np.float32(0.0)
    hi = min(hi, max(held * discharge * per_h, min(lo, none))) if is_store else hi
    lo = min(max(lo, (held - full) / charge * per_h), hi) if is_store else lo
    return lo, hi


@compiled_unchecked
def ramped(lo, hi, on, gives, told, reach):
    """Return where its ramp lets it go within what it may; of a switched one as if it were on."""
    is_switched, most_able, was = on > np.float32(0.0), (hi if gives else -lo), abs(told)
    least = min(on if was == np.float32(0.0) else max(on, was - reach), most_able)
    most = max(min(most_able, max(was, on) + reach), least)
    low = min(max(lo, told - reach), hi)
    high = max(min(hi, told + reach), low)
    low = (least if gives else -most) if is_switched else low
    high = (most if gives else -least) if is_switched else high
    return low, high


@compiled_unchecked
def rest_of(base, lo, hi, on, is_free):
    """Return where it stands uncalled; a switched one that may be either is on from half its least power."""
    is_off = is_free & ((base if hi > np.float32(0.0) else -base) < np.float32(0.5) * on)
    return np.float32(0.0) if is_off else min(max(base, lo), hi)


@compiled_unchecked
def end_of(up, lo, hi, rest, weight, is_free):
    """Return where it stands when its whole tier is called."""
    end = np.float32(0.0) if is_free & ((hi > np.float32(0.0)) != up) else (hi if up else lo)
    return rest if weight == np.float32(0.0) else end


@compiled_unchecked
def bound(
    seconds, per_h, low_w, high_w, stored, most, charge, discharge, told, age, least_s, rest_s, ramp, on, low, high,
    free,
):  # fmt: skip
    """Advance stores and ages, and find what each may be told; of those that may be either, what they may when on."""
    hours, none = np.float32(seconds / np.float32(3600.0)), np.float32(0.0)
    for i in range(len(low)):
        was, full, least_on = told[i], most[i], on[i]
        moved = was / discharge[i] if was > none else was * charge[i]
        held = min(max(stored[i] - moved * hours, none), full)
        stored[i] = held
        since = age[i] + seconds
        age[i] = since
        lo, hi = able(low_w[i], high_w[i], held, full, charge[i], discharge[i], per_h)
        gives, is_on, is_switched = high_w[i] > none, was != none, least_on > none
        can = (hi if gives else -lo) >= least_on
        is_free = is_switched & can & (since >= (least_s[i] if is_on else rest_s[i]))
        is_off = is_switched & (~can | (~is_free & ~is_on))
        lo, hi = ramped(lo, hi, least_on, gives, was, ramp[i] * seconds)
        low[i], high[i], free[i] = (none if is_off else lo), (none if is_off else hi), is_free


@compiled
def rested(up, weight, base, on, low, high, free, rest, end):
    """Find where each rests, and where it ends when it is called."""
    for i in range(len(low)):
        rests = rest_of(base[i], low[i], high[i], on[i], free[i])
        rest[i], end[i] = rests, end_of(up, low[i], high[i], rests, weight[i], free[i])


@compiled
def summed(tier, rest, end, free, hist):
    """Add up by tier how far its devices may be called; returns the sum at rest, and how many may be on or off."""
    rest_w, count = 0.0, 0
    hist[:] = 0.0
    for i in range(len(rest)):
        rest_w += np.float64(rest[i])
        hist[tier[i]] += abs(np.float64(end[i]) - np.float64(rest[i]))
        count += free[i]
    return rest_w, float(count)


@compiled_unchecked
def held_to(i, is_on, up, weight, base, tier, low, high, free, rest, end, hist):
    """Hold one that may be either to being on or off; returns by how much its rest moves."""
    before = np.float64(rest[i])
    hist[tier[i]] -= abs(np.float64(end[i]) - before)
    low[i] = low[i] if is_on else np.float32(0.0)
    high[i] = high[i] if is_on else np.float32(0.0)
    free[i] = False
    now = min(max(base[i], low[i]), high[i])
    rest[i], end[i] = now, end_of(up, low[i], high[i], now, weight[i], False)
    hist[tier[i]] += abs(np.float64(end[i]) - np.float64(now))
    return np.float64(now) - before


@compiled
def choose(up, margin, weight, base, tier, low, high, free, rest, end, chosen, told, hist):
    """Choose who of those that may be either is on, by its tier; in the last that is called it is left open.

    Returns by how much the sum at rest moves, how much of that tier's call those left open could give, and how much of
    that they give where all stay as they stand.
    """
    moved_w, could_w, have_w, none = 0.0, 0.0, 0.0, np.float32(0.0)
    hist[:] = 0.0
    for i in range(len(low)):
        if not free[i]:
            continue
        called, rests = (high[i] > none) == up, rest[i] != none
        fixed = (weight[i] == none) | (called == rests)
        if fixed | (tier[i] != margin):
            is_on = called if ~fixed & (tier[i] < margin) else rests
            moved_w += held_to(i, is_on, up, weight, base, tier, low, high, free, rest, end, hist)
        else:
            gives = abs(np.float64(end[i]) - np.float64(rest[i]))
            chosen[i] = told[i] != none
            could_w += gives
            have_w += gives if chosen[i] == called else 0.0
    return moved_w, could_w, have_w


@compiled
def switch(at, part_w, have_w, near_w, up, high, free, rest, end, chosen):
    """Call, or let go, those left open in turn until they come as near to their part as they can; who is next."""
    count, none, calls = len(free), np.float32(0.0), have_w < part_w
    for _ in range(count):
        i = at
        at = at + 1 if at + 1 < count else 0
        if not free[i] or (chosen[i] == ((high[i] > none) == up)) == calls:
            continue
        gives = abs(np.float64(end[i]) - np.float64(rest[i]))
        if (have_w + 0.5 * gives > part_w + near_w) if calls else (have_w - 0.5 * gives < part_w - near_w):
            return i
        chosen[i] = not chosen[i]
        have_w += gives if calls else -gives
    return at


@compiled
def commit(up, weight, base, tier, low, high, free, rest, end, chosen, hist):
    """Hold those that were left open to what was chosen; returns by how much the sum at rest moves."""
    moved_w = 0.0
    for i in range(len(low)):
        if free[i]:
            moved_w += held_to(i, chosen[i], up, weight, base, tier, low, high, free, rest, end, hist)
    return (moved_w,)


@compiled
def filled(margin, level, weight, tier, rest, end):
    """Return how much the last tier gives at a level, and how much that grows with the level."""
    sum_w, slope, at = 0.0, 0.0, np.float32(level)
    for i in range(len(rest)):
        gap, share = abs(end[i] - rest[i]), weight[i] * at
        mine = tier[i] == margin
        sum_w += np.float64(min(share, gap)) if mine else 0.0
        slope += np.float64(weight[i]) if mine & (share < gap) else 0.0
    return sum_w, slope


@compiled_unchecked
def share_of(up, tier, margin, share, rest, end):
    """Return its share: at its end before the last tier that is called, by weight in it, at rest beyond it."""
    inside = min(rest + share, end) if up else max(rest - share, end)
    return end if tier < margin else (inside if tier == margin else rest)


@compiled
def tell(up, margin, level, weight, tier, band, told, low, high, rest, end, moves, was_on):
    """Move those whose share left its band, or whom no call holds any more; who is not called stands at rest."""
    at, none = np.float32(level), np.float32(0.0)
    for i in range(len(told)):
        was, never = told[i], (tier[i] > margin) | (weight[i] == none)
        goal = share_of(up, tier[i], margin, weight[i] * at, rest[i], end[i])
        move = (was < low[i]) | (was > high[i]) | (abs(goal - was) > (none if never else band[i]))
        moves[i], was_on[i] = move, was != none
        told[i] = goal if move else was


@compiled
def heard(told, was_on, on, age):
    """Return the sum of what all are told; the least times of those that were switched begin."""
    sum_w, none = 0.0, np.float32(0.0)
    for i in range(len(told)):
        sum_w += np.float64(told[i])
        if (told[i] != none) != was_on[i] and on[i] > none:  # seldom, and so foretold
            age[i] = none
    return (sum_w,)


@compiled
def make_up(lack_w, at, sum_w, up, margin, level, weight, tier, band, told, low, high, rest, end, moves):
    """Let as many of those that kept their power move as the sum lacks, in turn; returns the sum and who is next.

    In the last tier that is called to the far end of a band (1 W at least), so that few move; in all others to their
    share alone.
    """
    count, level, none = len(told), np.float32(level), np.float32(0.0)
    for _ in range(count):
        if lack_w == 0.0:
            break
        i = at
        at = at + 1 if at + 1 < count else 0
        goal = share_of(up, tier[i], margin, weight[i] * level, rest[i], end[i])
        wide = max(band[i], np.float32(1.0)) if (tier[i] == margin) & (weight[i] > none) else none
        goal = goal + wide if lack_w > 0 else goal - wide
        change = np.float64(min(max(goal, low[i]), high[i])) - told[i]
        if change * lack_w <= 0:
            continue
        before = np.float64(told[i])
        told[i] = np.float32(before + (change if abs(change) < abs(lack_w) else lack_w))
        moves[i] |= told[i] != before
        sum_w += told[i] - before
        if abs(change) >= abs(lack_w):
            break
        lack_w -= told[i] - before
    return sum_w, at


@compiled
def lost(
    up, per_h, low_w, high_w, weight, stored, most, charge, discharge, told, age, least_s, rest_s, on
):  # fmt: skip
    """Return what keeps those that are called at all from their rating on one side: stores, ramps, times, steps (W)."""
    energy_w = ramp_w = timer_w = whole_w = np.float64(0.0)
    none = np.float32(0.0)
    for i in range(len(told)):
        if weight[i] == none:
            continue
        lo, hi = able(low_w[i], high_w[i], stored[i], most[i], charge[i], discharge[i], per_h)
        rated, can, now = (high_w[i], hi, told[i]) if up else (-low_w[i], -lo, -told[i])
        gives, is_on = high_w[i] > none, told[i] != none
        if on[i] > none and (hi if gives else -lo) < on[i]:
            energy_w += rated - now
        elif on[i] > none and (is_on != (gives == up)):
            energy_w += rated - can
            # An age of 0 says that it has just been switched: no time held it.
            held = age[i] > none and age[i] < (least_s[i] if is_on else rest_s[i])
            if held:
                timer_w += can - now
            else:
                whole_w += can - now
        else:
            energy_w += rated - can
            ramp_w += can - now
    return energy_w, ramp_w, timer_w, whole_w
