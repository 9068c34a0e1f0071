"""Asked against delivered, a row at a time, and the cause of each watt that is lacking."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ends import uncalled_w
from tieline.desk.least_times import stays_told
from tieline.desk.lost import fill_net, limits_part_w, moved
from tieline.desk.obligation import DISPATCH_STEP_NS
from tieline.desk.redispatch import BY_KILL, DNO_LIMIT, OWN_LIMIT
from tieline.desk.state import DeskState
from tieline.desk.sun import keeps_down
from tieline.fleet.columns import places
from tieline.market.settlement import NOISE_W, without_noise
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import FOREVER_NS, MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


UNAVAILABLE, BY_ISO, REBOUND, PACED = "unavailable", "iso_instruction", "rebound", "paced"
OPTED_OUT, OUTRANKED, FOREIGN = "opt_out", "outranked", "foreign_control"
NOTHING: Mapping[str, float] = {}
LEAST_GAP_NS = SECOND_NS  # shorter is none: beats are read off a clock one after the other
REBOUND_NS = 60 * MINUTE_NS
"""How long after its last call a row still counts: long enough for a house or a car to take back what it missed."""


@dataclass
class Tally:
    """Energy of one pool in the interval that runs: asked, awarded, shared out and delivered, a row and in all.

    What was shared out is tallied too: when the interval closes, the rows hold the next one's shares already.
    """

    rows: Rows
    start_ns: int
    end_ns: int
    asked_ws: float
    awarded_ws: float
    seconds: float
    row_ws: Floats
    share_ws: Floats
    samples: int
    is_owed: bool = False
    because: str = ""
    taught_ws: float = 0.0
    """Error that a trim can mend: not what nobody could give, or end sooner, nor what is on its way."""
    lack_ws: dict[str, float] = field(default_factory=dict)
    """What lacked in each stretch, by its cause then: a limit that came and went within the interval has its part."""
    lost_w: dict[str, float] = field(default_factory=dict)
    """The most that each cause took of headroom in any stretch (W)."""
    ours_ws: float = 0.0  # what was asked below the award as we had declared no more
    to_ns: int = 0  # until when it is counted
    gaps: list[tuple[int, int]] = field(default_factory=list)  # and what before that is not, [start, end) in ns

    @staticmethod
    def begin(rows: Rows, start_ns: int, end_ns: int) -> Tally:
        """Return an empty tally."""
        return Tally(rows, start_ns, end_ns, 0.0, 0.0, 0.0, np.zeros(len(rows)), np.zeros(len(rows)), 0)

    def add(self, asked_w: float, awarded_w: float, share_w: Floats, row_w: Floats, seconds: float) -> None:
        """Count so many seconds at these powers."""
        self.asked_ws += asked_w * seconds
        self.awarded_ws += awarded_w * seconds
        self.row_ws += row_w * seconds
        self.share_ws += share_w * seconds
        self.seconds += seconds
        self.samples += len(row_w)

    def note(self, begins_ns: int, ends_ns: int) -> None:
        """Note that a stretch is counted, or that nothing more will be: what lies before it since the last is not."""
        to_ns = self.to_ns or self.start_ns
        if begins_ns - to_ns > LEAST_GAP_NS:
            self.gaps.append((to_ns, begins_ns))
        self.to_ns = max(to_ns, ends_ns)

    def teach(self, error_w: float, short_w: float, seconds: float) -> None:
        """Count so many seconds of an error (W), of which nobody could give, or end, so much (W, signed alike)."""
        mends_w = error_w if error_w * short_w <= 0.0 else math.copysign(max(abs(error_w) - abs(short_w), 0.0), error_w)
        self.taught_ws += mends_w * seconds

    def add_lack(self, found: Mapping[str, float], seconds: float) -> None:
        """Count so many seconds of a lack, by cause (W)."""
        for name, watts in found.items():
            self.lack_ws[name] = self.lack_ws.get(name, 0.0) + watts * seconds

    def lack_by_cause(self, lacking_w: float) -> dict[str, float]:
        """Return a mean lack (W) put to the causes of the stretches that lacked; {}: none was counted.

        What was given beyond the asked in other stretches made part of it good, of each cause alike.
        """
        whole = math.fsum(self.lack_ws.values())
        return {name: each * lacking_w / whole for name, each in self.lack_ws.items()} if whole > 0.0 else {}

    def means(self) -> tuple[float, float, Floats, Floats]:
        """Return the mean power asked, awarded, shared out to each row, and delivered by each row (W)."""
        # An interval without a second counted has delivered nothing; it must not divide by nothing.
        seconds = max(self.seconds, 1e-9)
        return self.asked_ws / seconds, self.awarded_ws / seconds, self.share_ws / seconds, self.row_ws / seconds


def parts(begins_ns: int, ends_ns: int) -> list[tuple[int, int]]:
    """Return a stretch cut at the marks of the dispatch intervals; one that is empty stays one.

    >>> parts(299 * 10**9, 301 * 10**9) == [(299 * 10**9, 300 * 10**9), (300 * 10**9, 301 * 10**9)]
    True
    """
    first = begins_ns // DISPATCH_STEP_NS + 1
    marks = range(first * DISPATCH_STEP_NS, ends_ns, DISPATCH_STEP_NS)
    return list(pairwise([begins_ns, *marks, ends_ns]))


def bounded_base_w(state: DeskState, rows: Rows, level: Level, now_ns: int) -> Floats:
    """Return what each row would do without a claim of this level (W): its base, within what stronger ones leave it.

    A car that a network operator holds to half of its draw gives that half to the limit, whoever else calls it; and a
    load that is on or off gives all that it draws to one that leaves it less: it rests, and has nothing to give.
    """
    return uncalled_w(state, rows, *state.claims.limits_above(rows, level, now_ns))


def above_base_w(state: DeskState, rows: Rows, base_w: Floats | None = None) -> Floats:
    """Return what each row delivers now above its base, or above another (W); unfit telemetry delivers nothing."""
    fleet = state.fleet
    delta_w: Floats = fleet.power_or_0_w(rows) - (state.base_w[rows] if base_w is None else base_w)
    unfit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    # Not its last value: what nobody sees can't be sold, and a meter would not count it either.
    return np.where(unfit | np.isnan(fleet.power_w[rows]), 0.0, delta_w)


def counted_w(
    state: DeskState, rows: Rows, share_w: Floats, side: float, now_ns: int, by_program: Mask | None = None,
    beside_w: float = 0.0,
) -> Floats:  # fmt: skip
    """Return what each row adds to the pool's delivery now (W): rows that are called, and those that pay back a call.

    A load that was called and let go takes back what it missed; that is the pool's doing and counts against it. Where
    the pool calls nobody, what its rows still give on the side (1.0 or -1.0) that is owed is no delivery: nobody asks
    for it. But where nobody need be called, as rows that wait for their turn give so much of what is owed (`beside_w`,
    W), that is how it is given. What a program event moves is the event's (`by_program`: who they were then; None: who
    they are now). `side` 0.0: nothing is owed.
    """
    moved_w = gained_w(state, rows, share_w, now_ns, by_program)
    if (np.abs(share_w) > 1.0).any() or side * beside_w > 1.0:
        return moved_w
    pays_w: Floats = side * np.minimum(side * moved_w, 0.0)
    return pays_w


def moved_by_program(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows a program event names the power of: the market's claim stands above it where both call one.

    What such a row gives is counted for the event (`EventTracked`), and no watt for two services.
    """
    mask = _called(state, (Level.PROGRAM,), now_ns)[rows]
    if np.count_nonzero(mask):
        winner = state.claims.arbitrate(now_ns, rows[mask]).winner
        is_its = (winner >= 0) & (state.claims.level_of(winner) == int(Level.PROGRAM))
        mask[mask] = is_its | by_owner(state, rows[mask], now_ns)
    return mask


def by_owner(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows their owner moves, by his claim or at the device, and no service stronger than events calls.

    Nobody else is given what comes of that, so an event that calls one counts it.
    """
    winner, is_local = state.claims.arbitrate(now_ns, rows).winner, state.claims.is_local[rows]
    mask: Mask = np.where(winner < 0, is_local, state.claims.level_of(winner) == int(Level.OWNER_NEED))
    if mask.any():
        stronger = [level for level in Level if level < Level.PROGRAM and level is not Level.OWNER_NEED]
        mask &= ~_called(state, stronger, now_ns)[rows]
    return mask


def _called(state: DeskState, levels: Collection[Level], now_ns: int) -> Mask:
    """Return of whom claims of some levels name the power; shape of the fleet."""
    called = np.zeros(len(state.fleet), np.bool_)
    for batch, alive in state.claims.batches():
        is_call = batch.level in levels and batch.kind is ClaimKind.SET and batch.quantity is Quantity.P
        if is_call and state.claims.holds_at(batch, now_ns):
            called[batch.rows[alive]] = True
    return called


def gained_w(state: DeskState, rows: Rows, share_w: Floats, now_ns: int, by_program: Mask | None = None) -> Floats:
    """Return what each row gives above its base that is called, or was within the hour (W)."""
    counts = counted_rows(state, rows, share_w, now_ns, by_program)
    return np.where(counts, above_base_w(state, rows), 0.0)


def counted_rows(state: DeskState, rows: Rows, share_w: Floats, now_ns: int, by_program: Mask | None = None) -> Mask:
    """Return which rows are called, or were within the hour and are no program event's by now."""
    by_program = moved_by_program(state, rows, now_ns) if by_program is None else by_program
    mask: Mask = (np.abs(share_w) > 1.0) | (state.rebounds_until_ns[rows] > now_ns)
    return mask & ~by_program


def held_w(state: DeskState, rows: Rows, share_w: Floats, now_ns: int) -> Floats:
    """Return what each row that counts gives above its base (W; below 0: less) as something stronger holds it there.

    A car that a limit leaves half of its draw gives the other half, called or not; a battery that a limit has charge
    can't be called and takes that of what the others give; a heater that went off stays so until its own timer lets it.
    What holds it is known as it begins and as it ends, a poll before its meter tells. Whom somebody else set (LOCAL)
    nothing of ours holds, whatever its timer was to keep it at: it gives what its meter says.
    """
    rows = places(rows)
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    base_w, unfit = state.base_w[rows], (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    by_hand, by_w = state.claims.is_local[rows], uncalled_w(state, rows, low_w, high_w) - base_w
    by_w = np.where(by_hand, above_base_w(state, rows), by_w)
    held: Floats = np.where(counted_rows(state, rows, share_w, now_ns) & ~unfit, by_w, 0.0)
    return held


def frees_ns(state: DeskState, rows: Rows, held_w: Floats, least_w: float, now_ns: int) -> int:
    """Return when timers have let go of rows that are held to give so much together (W); `FOREVER_NS`: never."""
    until_ns = state.claims.holds.until_ns[rows]
    order = np.argsort(until_ns, kind="stable")
    order = order[(until_ns[order] > now_ns) & (held_w[order] > 0.0)]
    enough = np.flatnonzero(np.cumsum(held_w[order]) > least_w)
    return int(until_ns[order[enough[0]]]) if len(enough) else FOREVER_NS


def waiting_w(state: DeskState, rows: Rows, share_w: Floats, side: float, now_ns: int) -> Floats:
    """Return what each row gives that is not called and waits for its turn, or its least time, to come back (W, 0 or
    more).

    It goes on as it was told until then, and counts for the pool: others need not give that as well.
    """
    waits = (np.abs(share_w) <= 1.0) & ((state.release_at_ns[rows] > now_ns) | stays_told(state, rows, now_ns))
    gives_w: Floats = np.where(waits, np.maximum(side * gained_w(state, rows, share_w, now_ns), 0.0), 0.0)
    return gives_w


@dataclass(frozen=True, slots=True, eq=False)
class Holds:
    """What holds rows to less than they were asked for: who opted out, whom a stronger claim moves instead, whom a
    network operator's limit keeps from giving more than their base, or from taking more, which shares it, or any
    stronger limit, is in the way of, whose command the fleet limiter held back, and who stands behind the kill switch.
    """

    opted_out: NDArray[np.bool_]
    outranked: NDArray[np.bool_]
    keeps_up: NDArray[np.bool_]
    keeps_down: NDArray[np.bool_]
    by_dno: NDArray[np.bool_]
    limited: NDArray[np.bool_]
    paced: NDArray[np.bool_]
    stopped: NDArray[np.bool_]

    @staticmethod
    def of(state: DeskState, rows: Rows, share_w: Floats, now_ns: int) -> Holds:
        """Return what holds rows now, given their shares (W); whose claim is another's, its asker says."""
        fleet, wish_w = state.fleet, state.base_w[rows] + share_w
        dno_low_w, dno_high_w = state.claims.limits_above(rows, Level.OWNER_NEED, now_ns)
        low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
        bound = (dno_high_w < fleet.max_inject_w[rows]) | (dno_low_w > -fleet.max_absorb_w[rows])
        keeps_up, keeps_down = (_keeps(state, rows, side, dno_low_w, dno_high_w) for side in (1.0, -1.0))
        by_dno = bound & ((wish_w > dno_high_w + 1.0) | (wish_w < dno_low_w - 1.0))
        limited = (wish_w > high_w + 1.0) | (wish_w < low_w - 1.0)
        paced = state.held_ns[rows] > now_ns - MINUTE_NS
        stopped = np.full(len(rows), state.is_killed)
        mine = np.zeros(len(rows), np.bool_)
        return Holds(state.opted_out[rows].copy(), mine, keeps_up, keeps_down, by_dno, limited, paced, stopped)


def kept_from(state: DeskState, rows: Rows, side: float, now_ns: int) -> Mask:
    """Return which rows a network operator's limit keeps from moving from their base to a side (1.0 up, -1.0 down)."""
    return _keeps(state, rows, side, *state.claims.limits_above(rows, Level.OWNER_NEED, now_ns))


def _keeps(state: DeskState, rows: Rows, side: float, low_w: Floats, high_w: Floats) -> Mask:
    fleet = state.fleet
    end_w, most_w = (high_w, fleet.max_inject_w[rows]) if side >= 0.0 else (-low_w, fleet.max_absorb_w[rows])
    mask: Mask = (end_w < most_w) & (end_w <= side * state.base_w[rows] + 1.0)
    return mask


def count_lack(
    state: DeskState,
    tally: Tally,
    asked_w: float,
    share_w: Floats,
    row_w: Floats,
    holds: Holds,
    lost_w: Mapping[str, float],
    seconds: float,
    made_up_w: Mapping[str, float] = NOTHING,
    unshared_w: float = 0.0,
) -> None:
    """Put what lacked in a stretch to what held the rows, and took headroom, as it began.

    Not as its interval is closed: an owner who opts out at the end of one has no part in what lacked before.
    """
    side = float(np.sign(asked_w))
    lacking_w = side * (asked_w - float(row_w.sum()))
    if lacking_w > 1.0:
        why = causes(state, tally.rows, share_w, row_w, lacking_w, lost_w, side, holds, made_up_w, unshared_w)
        tally.add_lack(why, seconds)


def causes(
    state: DeskState,
    rows: Rows,
    share_w: Floats,
    delivered_w: Floats,
    lacking_w: float,
    lost_w: Mapping[str, float],
    side: float,
    holds: Holds,
    made_up_w: Mapping[str, float] = NOTHING,
    unshared_w: float = 0.0,
) -> dict[str, float]:
    """Return the watts lacking by cause, which add up to the lack.

    Rows that had a share and gave less come first, then those that pay back a call; what nobody was asked for is put to
    whatever took headroom away (`lost_w`, in its order: limits, opt-outs, rows out of sight, rows left out), first to
    what others had not made up for (`made_up_w`) while nothing lacked, and only then to want of resources. Of the
    pay-back a network operator's limit has what would have been filled without it (`lost.limits_part_w`), as far as
    the last split had nobody left to call for it (`unshared_w`).
    """
    if lacking_w <= 0:
        return {}
    short_w = np.maximum(np.abs(share_w) - np.maximum(np.sign(share_w) * delivered_w, 0.0), 0.0)
    unfit = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    stage = state.commands.stage[rows]
    reasons = (
        (OPTED_OUT, holds.opted_out),
        (FOREIGN, state.claims.is_local[rows]),
        (OUTRANKED, holds.outranked),  # who is out, or another's, would give nothing without the switch either
        (BY_KILL, holds.stopped),
        (DNO_LIMIT, holds.by_dno),
        (OWN_LIMIT, holds.limited),
        ("offline", unfit),
        (PACED, holds.paced),
        ("refused", stage == Stage.REJECTED),
        ("unconfirmed", stage == Stage.UNCONFIRMED),
        (UNAVAILABLE, keeps_down(state, rows, share_w)),  # a cloud took the sun that was to be held back
        ("underperformed", np.ones(len(rows), np.bool_)),
    )
    # Each row is put to its first reason alone, so that the causes add up to the lack and no watt is told twice.
    left = np.ones(len(rows), np.bool_)
    found: dict[str, float] = {}
    for name, mask in reasons:
        watts = float(short_w[left & mask].sum())
        left &= ~mask
        if watts > 1.0:
            found[name] = watts
    paid_back_w = np.where(np.abs(share_w) > 1.0, 0.0, np.maximum(-side * delivered_w, 0.0))
    # What a limit made a row give back (it may no longer be held down) is the limit's doing, not the pool's.
    by_limit = holds.keeps_up if side >= 0.0 else holds.keeps_down
    for name, mask in ((DNO_LIMIT, by_limit), (REBOUND, ~by_limit)):
        watts = float(paid_back_w[mask].sum())
        if watts > 1.0:
            found[name] = found.get(name, 0.0) + watts
    given, fills = math.fsum(found.values()), dict[str, float]()
    if given >= lacking_w:  # others gave more than their share: the causes are scaled to what is truly lacking
        found = {name: watts * lacking_w / given for name, watts in found.items()}
    else:
        fills = fill_net(lacking_w - given, lost_w, made_up_w, UNAVAILABLE)
        for name, watts in fills.items():
            found[name] = found.get(name, 0.0) + watts
    part_w = limits_part_w(found.get(REBOUND, 0.0), lost_w, fills.get(DNO_LIMIT, 0.0), unshared_w)
    return without_noise(moved(found, REBOUND, DNO_LIMIT, part_w), NOISE_W)
