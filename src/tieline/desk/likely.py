"""What is likely to come of what a pool has promised: what it can give over the rest of each award, and how sure it is.

Theory of operation. Run after run of awards, from now on: what the pool can give in each (`desk.foreseen`) is held
against all that is asked of it until the run is over, what meters have shown to lack asked beside it. How much energy
lacks of that is exact (`fleet.capability.lacks_wh`), and comes at the end, as what can't go on gives all it can until
then; by merit alone what stores hold is spread over the run, and so is what they lack. It is worked out three times. In
the likely case all are there who are there now, or (further off than an hour) each as often as of late. In the low case
those that can't be reached stay so, of the others as many drop out as do in 5 of 100 cases, and loads give less than
foreseen; in the high case all come back, and loads give more. A pool that can do far more gives what is asked in all
three: others step in. On top comes how well it followed of late what it could give.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk.charging import FULL_FRAC, ONE_WAY_FRAC
from tieline.desk.declared import ours_w
from tieline.desk.foreseen import HOUSE, LOADS_FRAC, NEAR_NS, Foreseen, LoadFrac, Mask, foreseen
from tieline.desk.lost import fill
from tieline.desk.obligation import DISPATCH_STEP_NS, ENERGY, awarded_w, owed
from tieline.desk.ports import Award
from tieline.desk.redispatch import BY_MODE, DNO_LIMIT, left_wh, lost_headroom
from tieline.desk.state import DeskState
from tieline.desk.tracking import BY_ISO, FOREIGN, OPTED_OUT, UNAVAILABLE
from tieline.fleet.capability import HOUR_S, lacks_wh
from tieline.fleet.firm import Z95
from tieline.resource.level import Level
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

if TYPE_CHECKING:
    from tieline.desk.pool_desk import PoolDesk

Floats = NDArray[np.float64]
STEP_NS = MINUTE_NS
STEP_S = STEP_NS / SECOND_NS
AHEAD_NS = DAY_NS + HOUR_NS
"""Awards that end later are not looked at yet."""
BESIDE_NS = 15 * MINUTE_NS
"""For so long what rows pay back now is asked beside an award, as in its schedule."""
CASES = (0.0, -Z95, Z95)
"""The likely, the low and the high case, in deviations."""
_FRAC = {True: LOADS_FRAC, False: 0.25}
"""By so much (one deviation) all loads together may give more or less than is foreseen of them: soon, and where they
are foretold. Further off, where they are not, it is between what they typically give and what they could now."""
CYCLE_H, PHASE_FRAC = 0.5, 0.29
"""How long a house's cycle is, and how far its mean over a cut one is off: one deviation of its phase."""
LOST_H = 1.0 / 12.0
OUT, OUT_OF_REACH = frozenset({DNO_LIMIT, BY_MODE, OPTED_OUT, "unresponsive"}), frozenset({"offline", FOREIGN})
"""Whom stores stand in for; those that can't be reached, or that somebody else has, only of what begins soon: further
off they count as there."""
STORED = "stored_energy"
"""Lacks as stores would be empty though all are there; all other causes are those of `redispatch.lost_headroom`."""


@dataclass(frozen=True, slots=True)
class Follows:
    """How a pool followed what it could give, of late: delivered over that, its mean and its deviation (1 = all)."""

    mean_frac: float = 1.0
    deviation_frac: float = 0.03


@dataclass(frozen=True, slots=True)
class Likely:
    """What is likely to be delivered over the rest of an award (W, mean), more than in 5 and less than in 95 of 100
    cases; `lacks_w` is what lacks of the award in the likely case, by cause (W, amounts)."""

    likely_w: float
    low_w: float
    high_w: float
    lacks_w: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is asked of a pool over a run of awards, a minute a step: owed on the awards' side (W, 0 or more), and that
    with what is asked beside it; shape (t,)."""

    side: float
    start_ns: int
    end_ns: int
    owed_w: Floats
    wanted_w: Floats

    def of(self, award: Award) -> slice:
        """Return the steps of an award."""
        return slice(*(max(-(-(at - self.start_ns) // STEP_NS), 0) for at in (award.start_ns, award.end_ns)))


@dataclass(slots=True, eq=False)
class _Lacking:
    """What lacks of what is asked over a run, in each case; worked out once for awards that are foreseen alike."""

    asked: _Asked
    held: Sequence[Floats]
    is_scheduled: bool
    _found: dict[tuple[int, int], tuple[Floats, Floats]] = field(default_factory=dict)

    def of(self, seen: Foreseen, at: int, wanted_w: Floats | None = None) -> tuple[Floats, Floats]:
        """Return what lacks in the case `at` at each step as too few can give, and as stores are empty (W each)."""
        if wanted_w is not None:
            return self._case(seen, at, wanted_w)
        key = id(seen), at
        if key not in self._found:
            self._found[key] = self._case(seen, at, self.asked.wanted_w)
        return self._found[key]

    def _case(self, seen: Foreseen, at: int, wanted_w: Floats) -> tuple[Floats, Floats]:
        evenly = np.isfinite(self.held[at]) & (not self.is_scheduled)
        return _lacks_w(wanted_w, *_there(seen, CASES[at], self.held[at]), evenly)


def likely(
    state: DeskState, pool: PoolDesk, follows: Follows, now_ns: int, load_frac: LoadFrac | None = None
) -> dict[str, Likely]:
    """Return of each award of a pool that is not over, and ends within 25 hours, what is likely to come of its rest."""
    return dict(one for one in by_award(state, pool, follows, now_ns, load_frac) if one is not None)


def by_award(
    state: DeskState, pool: PoolDesk, follows: Follows, now_ns: int, load_frac: LoadFrac | None = None
) -> Iterator[tuple[str, Likely] | None]:
    """Yield each award with what is likely to come of it; None as a piece of work is done that may take long."""
    mine = (a for a in state.awards.values() if a.pool == pool.pool and now_ns < a.end_ns <= now_ns + AHEAD_NS)
    held, held_ns = list[Floats](), now_ns
    for run in _runs(sorted(mine, key=lambda a: (a.start_ns, a.id))):
        asked, seen_at = _asked(state, pool, run, now_ns), dict[tuple[object, ...], Foreseen]()
        of = []
        for award in run:
            start_ns = max(award.start_ns, now_ns)
            key = _alike(state, start_ns, now_ns, load_frac)
            if key not in seen_at:  # of a million devices each takes a while
                seen_at[key] = foreseen(state, pool, start_ns, asked.end_ns, now_ns, load_frac, asked.side)
                yield None
            of.append(seen_at[key])
        if not held:
            held = [_stored(state, pool, of[0], now_ns)] * len(CASES)
        held = [_charged(state, pool, each, held_ns, asked.start_ns) for each in held]
        can = held if asked.side > 0.0 else [of[0].energy_wh] * len(CASES)  # to take, there is what room stores have
        lacking = _Lacking(asked, can, pool.is_scheduled or pool.planned is not None)
        for award, seen in zip(run, of, strict=True):
            yield award.id, _likely(state, pool, award, asked, seen, lacking, follows)
        if asked.side > 0.0:
            held = [_drawn(asked, of[0], at, held[at], lacking) for at in range(len(CASES))]
        held_ns = asked.end_ns


def _alike(state: DeskState, start_ns: int, now_ns: int, load_frac: LoadFrac | None) -> tuple[object, ...]:
    """Return what two starts have in common that are foreseen alike: the limits that hold, and what is foretold."""
    if start_ns - now_ns < NEAR_NS or load_frac is not None:
        return (start_ns,)
    claims = state.claims
    return tuple(
        batch.id for batch, _ in claims.batches() if batch.level < Level.MARKET and claims.holds_at(batch, start_ns)
    )


def _runs(awards: Sequence[Award]) -> Iterator[list[Award]]:
    """Yield awards that follow each other without a gap, or overlap, on one side."""
    run: list[Award] = []
    for award in awards:
        if run and (award.start_ns > max(a.end_ns for a in run) or award.power_w * run[0].power_w < 0.0):
            yield run
            run = []
        run.append(award)
    if run:
        yield run


def _asked(state: DeskState, pool: PoolDesk, run: Sequence[Award], now_ns: int) -> _Asked:
    side = -1.0 if run[0].power_w < 0.0 else 1.0
    start_ns = max(floor_ns(now_ns, STEP_NS), run[0].start_ns)
    end_ns = max(a.end_ns for a in run)
    marks = [floor_ns(at, DISPATCH_STEP_NS) for at in range(start_ns, end_ns, STEP_NS)]
    told = {at: owed(state, pool.pool, max(at, now_ns)) for at in dict.fromkeys(marks)}
    each_w = {at: 0.0 if debt is None else max(side * debt.power_w, 0.0) for at, debt in told.items()}
    owed_w = np.array([each_w[at] for at in marks])
    wanted_w, debt = owed_w.copy(), pool.obligation
    if debt is not None and debt.power_w * side > 0.0 and start_ns <= now_ns:
        wanted_w *= 1.0 + max(side * pool.trim_w, 0.0) / abs(debt.power_w)
        soon = slice(BESIDE_NS // STEP_NS)
        wanted_w[soon] += np.where(owed_w[soon] > 0.0, max(side * pool.back_w, 0.0), 0.0)
    return _Asked(side, start_ns, end_ns, owed_w, wanted_w)


def _stored(state: DeskState, pool: PoolDesk, seen: Foreseen, now_ns: int) -> Floats:
    """Return what each row's store holds now (Wh; inf: it has none); of one that was never heard, what is foreseen."""
    has = state.fleet.energy_wh[pool.rows] > 0.0
    told_wh = left_wh(state, pool.rows, now_ns)
    return np.where(has, np.where(np.isinf(told_wh), seen.energy_wh, told_wh), np.inf)


def _there(seen: Foreseen, case: float, held_wh: Floats) -> tuple[Floats, Floats]:
    """Return what each row can give in a case (W, Wh); `held_wh` is what its store holds by then (inf: none)."""
    there_frac = np.where(seen.seen, 1.0, 0.0) if seen.is_near else seen.reach_frac
    if case > 0.0:
        there_frac = np.where(seen.seen & seen.is_near, 1.0, seen.reach_frac)
    elif case < 0.0:
        there_frac = np.where(seen.seen, seen.reach_frac, 0.0)
    power_w, stores = seen.power_w, np.isfinite(held_wh)
    if not seen.is_near and not seen.is_foretold:
        ends = np.minimum(power_w, seen.now_w), np.maximum(power_w, seen.now_w)
        power_w = np.where(stores, power_w, sum(ends) / 2.0 if case == 0.0 else ends[int(case > 0.0)])
    else:
        power_w = power_w * np.where(stores, 1.0, max(1.0 + case * _FRAC[seen.is_near], 0.0))
    mean_w = float((power_w * there_frac).sum())
    spread_w = math.sqrt(float((power_w**2 * there_frac * (1.0 - there_frac)).sum()))
    there_frac = there_frac * (max(1.0 + case * spread_w / mean_w, 0.0) if mean_w > 0.0 else 1.0)
    energy_wh = np.where(stores, held_wh, seen.energy_wh * np.where(stores, 1.0, max(1.0 + case * _FRAC[True], 0.0)))
    return power_w * there_frac, np.where(
        np.isinf(energy_wh), np.inf, np.nan_to_num(energy_wh, posinf=0.0) * there_frac
    )


def _lacks_w(wanted_w: Floats, power_w: Floats, energy_wh: Floats, evenly: Mask) -> tuple[Floats, Floats]:
    """Return what lacks at each step as too few can give, and as energy runs out (W each).

    What can't go on gives what it can until then: what lacks for that lacks at the end, of what is still asked there.
    Of stores by merit (`evenly`) what each holds is spread over the run: they give less at each step, by what is asked
    of them there.
    """
    most_w, endless_w = float(power_w.sum()), float(power_w[np.isinf(energy_wh)].sum())
    short_w = np.maximum(wanted_w - most_w, 0.0)
    hours = STEP_S / HOUR_S
    short_wh = float(short_w.sum()) * hours
    whole_wh = max(lacks_wh(wanted_w, STEP_S, power_w, energy_wh) - short_wh, 0.0)
    asked_w = np.maximum(wanted_w - short_w - endless_w, 0.0)
    asked_wh = float(asked_w.sum()) * hours
    if whole_wh <= 0.0 or asked_wh <= 0.0:
        return short_w, np.zeros(len(wanted_w))
    evenly_wh = 0.0
    if evenly.any():
        evenly_wh = lacks_wh(wanted_w, STEP_S, power_w, np.where(evenly, energy_wh, np.inf)) - short_wh
    even_w = asked_w * min(max(min(evenly_wh, whole_wh), 0.0) / asked_wh, 1.0)
    left_wh = (asked_w - even_w) * hours
    after_wh = np.cumsum(left_wh[::-1])[::-1] - left_wh
    late_wh = np.clip(whole_wh - float(even_w.sum()) * hours - after_wh, 0.0, left_wh)
    return short_w, even_w + late_wh / hours


def _likely(
    state: DeskState, pool: PoolDesk, award: Award, asked: _Asked, seen: Foreseen, lacking: _Lacking,
    follows: Follows,
) -> Likely:  # fmt: skip
    mine, whole_w = asked.of(award), abs(award.power_w)
    part = _part(state, award) if award.product == ENERGY else 1.0
    wanted_w, own_w = None, asked.owed_w[mine] * part
    if award.product != ENERGY:  # an instruction calls it, on top of what is owed: what came of that
        own_w = np.full(len(own_w), whole_w)
        wanted_w = asked.wanted_w.copy()
        wanted_w[mine] += whole_w
    given, emptied_w = [], 0.0
    for at in range(len(CASES)):
        short_w, empty_w = (each[mine] for each in lacking.of(seen, at, wanted_w))
        given.append(float(np.maximum(own_w - part * (short_w + empty_w), 0.0).mean()))
        emptied_w = emptied_w if at else part * float(empty_w.mean())
    asked_w = float(own_w.mean())
    if state.is_killed:  # nobody knows when two people will release it
        given[:2] = 0.0, 0.0
    emptied_w = min(emptied_w, asked_w - given[0])
    at_ns, less_w = max(award.start_ns, asked.start_ns), whole_w - asked_w
    sold_w = awarded_w(state, award.pool, at_ns) or 0.0
    called_off_w = min(ours_w(state, owed(state, award.pool, at_ns), sold_w, at_ns), less_w)
    causes = _by_cause(state, pool, award, asked, seen, emptied_w, asked_w - given[0], called_off_w)
    lacks_w = {BY_ISO: less_w, **causes}
    lacks_w = {cause: watts for cause, watts in lacks_w.items() if watts > 1.0}
    rhythm_w = _rhythm_w(state, pool, seen, given[0], len(own_w) * STEP_S / HOUR_S)
    return _spread(asked.side, given, follows, rhythm_w, lacks_w)


def _by_cause(
    state: DeskState, pool: PoolDesk, award: Award, asked: _Asked, seen: Foreseen, emptied_w: float, lacking_w: float,
    called_off_w: float,
) -> dict[str, float]:  # fmt: skip
    """Return what lacks of what is asked of an award (W) by its causes; `emptied_w` of it as stores would be empty.

    Where others are out stores are asked for more, and empty sooner: what those could give until the awards are over is
    theirs, and only the rest is for want of energy. What was declared less, and so is asked less (`called_off_w`), is
    put to its causes first: of the lack they have what is left of them.
    """
    at_ns, found = seen.limits_ns or max(award.start_ns, asked.start_ns), dict[str, float]()
    if emptied_w > 1.0:
        hours = (asked.end_ns - at_ns) / HOUR_NS
        lost_w = lost_headroom(state, pool.rows, pool.eligible, asked.side, hours, at_ns)
        out = OUT | OUT_OF_REACH if seen.is_near else OUT
        found = fill(emptied_w, {cause: watts for cause, watts in lost_w.items() if cause in out}, STORED)
    if lacking_w - emptied_w > 1.0:
        lost_w = lost_headroom(state, pool.rows, pool.eligible, asked.side, LOST_H, at_ns)
        less_w = fill(called_off_w, lost_w, UNAVAILABLE)
        left_w = {cause: w - found.get(cause, 0.0) - less_w.get(cause, 0.0) for cause, w in lost_w.items()}
        for cause, watts in fill(lacking_w - emptied_w, left_w, UNAVAILABLE).items():
            found[cause] = found.get(cause, 0.0) + watts
    return found


def _part(state: DeskState, award: Award) -> float:
    """Return which part of what a pool owes is this award's: two of one hour add up."""
    sold_w = awarded_w(state, award.pool, award.start_ns) or 0.0
    return award.power_w / sold_w if sold_w else 0.0


def _rhythm_w(state: DeskState, pool: PoolDesk, seen: Foreseen, given_w: float, hours: float) -> float:
    """Return by how much (W, one deviation) houses may give more or less than their means, as each cools in a rhythm of
    its own: of many, and over some cycles, that evens out."""
    rows = pool.rows[(state.fleet.kinds[pool.rows] == HOUSE) & (seen.power_w > 0.0)]
    draws_w = np.clip(-state.base_w[rows], 0.0, state.fleet.max_absorb_w[rows])
    spread_w = math.sqrt(float((draws_w * (state.fleet.max_absorb_w[rows] - draws_w)).sum()))
    called_frac = min(given_w / max(float(seen.power_w.sum()), 1e-9), 1.0)
    return PHASE_FRAC * min(CYCLE_H / max(hours, 1e-9), 1.0) * spread_w * called_frac


def _spread(
    side: float, given: Sequence[float], follows: Follows, rhythm_w: float, lacks_w: Mapping[str, float]
) -> Likely:
    """Return the cases with how well the pool follows on top: each is by itself."""
    middle_w, low_w, high_w = given[0] * follows.mean_frac, given[1], given[2]
    noise_w = Z95 * math.hypot(follows.deviation_frac * given[0], rhythm_w)
    below_w, above_w = math.hypot(max(given[0] - low_w, 0.0), noise_w), math.hypot(max(high_w - given[0], 0.0), noise_w)
    ends = sorted((side * max(middle_w - below_w, 0.0), side * (middle_w + above_w)))
    return Likely(side * middle_w, ends[0], ends[1], lacks_w)


def _drawn(asked: _Asked, seen: Foreseen, at: int, held_wh: Floats, lacking: _Lacking) -> Floats:
    """Return what stores hold once a run is over: what loads and engines could not give is drawn from all alike."""
    power_w, energy_wh = _there(seen, CASES[at], held_wh)
    stores = np.isfinite(held_wh)
    short_w, empty_w = lacking.of(seen, at)
    gave_w = np.maximum(asked.wanted_w - short_w - empty_w - float(power_w[~stores].sum()), 0.0)
    whole_wh = float(energy_wh[stores].sum())
    left_frac = 1.0 - min(float(gave_w.sum()) * STEP_S / HOUR_S / whole_wh, 1.0) if whole_wh > 0.0 else 1.0
    left_wh = held_wh.copy()
    left_wh[stores] *= left_frac
    return left_wh


def _charged(state: DeskState, pool: PoolDesk, held_wh: Floats, since_ns: int, until_ns: int) -> Floats:
    """Return what stores hold after they took what the schedule of the pool's stores has them take in an interval."""
    made = state.schedules.get(pool.pool)
    if made is None or until_ns <= since_ns:
        return held_wh
    rows, ends = made.rows.array(), [(at - made.start_ns) / made.step_ns for at in (since_ns, until_ns)]
    step = np.arange(made.steps)
    overlap = np.clip(np.minimum(step + 1, ends[1]) - np.maximum(step, ends[0]), 0.0, 1.0)
    takes_w = np.maximum(-made.power_w.array().reshape(len(rows), made.steps).astype(np.float64), 0.0)
    took_wh = np.zeros(len(state.fleet))
    took_wh[rows] = takes_w @ overlap * (made.step_ns / HOUR_NS) * ONE_WAY_FRAC**2
    most_wh = np.maximum(FULL_FRAC * state.fleet.energy_wh[pool.rows], held_wh)
    return np.where(np.isinf(held_wh), held_wh, np.minimum(held_wh + took_wh[pool.rows], most_wh))
