"""Live-line works on a feeder: where the DNO lets its crews work, and what must hold while they do.

While crews work nothing behind them may feed in, so the DNO limits what the feeder's devices give to 0 W: a generation
limit (IEEE 2030.5 opModGenLimW; IEEE 1547-2018, 4.6.2), not one of the net power, as loads and charging do no harm.
Before, it solves the feeder without that generation: works that would overload it are done elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import AskGranted, PositionChanged, from_record
from tieline.desk.least_times import just_let_go
from tieline.desk.response import seconds_to_reach
from tieline.flow.record import Record
from tieline.node.relief_room import KEEPS_FRAC
from tieline.node.stage import POOL, Stage, shown_of
from tieline.resource.claim import ClaimKind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.simulate.territory import GENERATION
from tieline.times import SECOND_NS, iso

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
REASON = "live-line works: while crews work nothing on the feeder may feed in"
QUICK_S = 240.0
"""Rooms give within so long; what takes longer had its time only then."""
LIMIT = "generation limit: what the feeder's devices give, together; what they draw or charge is free"


@dataclass(frozen=True, slots=True)
class Site:
    """Where the works are: the feeder, its generation as a group, its model, and its loading foreseen without it."""

    feeder: str
    group: str
    model: str
    loading_foreseen: float | None


def choose(stage: Stage, share_w: Floats) -> Site:
    """Return the feeder where works would take most from the pool, of those that bear it and can be limited.

    Foreseen by a power flow without any generation of devices. Where no feeder stays below its rating then, it is the
    one that comes nearest to it.
    """
    territory, world = stage.territory, stage.world
    count, gives = len(territory.feeders), territory.fleet.max_inject_w > 0
    called_w = np.bincount(territory.feeder_of, np.where(gives, np.maximum(share_w, 0.0), 0.0), count)
    giving_w = np.where(gives, np.maximum(world.power_w, 0.0), 0.0)
    if called_w.max(initial=0.0) < 1.0:
        called_w = np.bincount(territory.feeder_of, giving_w, count)
    shown = np.arange(count) < len(shown_of(territory))
    called_w = np.where(shown, called_w, -1.0)
    without = world.grid_with(-giving_w, stage.node.clock.now_ns())
    if without is None:
        at = int(np.argmax(called_w))
    elif (bears := shown & (without.loading <= KEEPS_FRAC)).any():
        at = int(np.argmax(np.where(bears, called_w, -1.0)))
    else:
        at = int(np.argmin(np.where(shown, without.loading, np.inf)))
    feeder = territory.feeders[at]
    loading = None if without is None else round(float(without.loading[at]), 4)
    model = territory.models[int(territory.model_of_feeder[at])].name
    return Site(feeder, feeder + GENERATION, model, loading)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What holds rows at an instant: bounds of claims (W), with and without device timers, and who names the target.

    `winners` are (source, program); `ends_ns` is when the next limit, gate or target on a row would run out by itself.
    """

    at_ns: int
    rows: Rows
    low_w: Floats
    high_w: Floats
    timed_high_w: Floats
    winners: list[tuple[str, str] | None]
    claims: list[frozenset[tuple[str, int]]]


def held_of(stage: Stage, rows: Rows) -> Held:
    """Return what holds rows now."""
    book, now_ns = stage.node.state.claims, stage.node.clock.now_ns()
    low_w, high_w = book.bounds_above(rows, Level.MARKET, now_ns, with_timers=False)
    _, timed_w = book.bounds_above(rows, Level.MARKET, now_ns)
    winner = book.arbitrate(now_ns, rows).winner
    winners: list[tuple[str, str] | None] = []
    claims: list[frozenset[tuple[str, int]]] = []
    for row, serial in zip(rows.tolist(), winner.tolist(), strict=True):
        live = book.claims_on(row)
        (name,) = book.batch_ids(np.array([serial], np.int32)) or ("",)
        mine = next((claim for claim in live if name and claim.id.startswith(name + "/")), None)
        winners.append(None if mine is None else (mine.source, mine.program))
        claims.append(frozenset((claim.source, claim.end_ns) for claim in live if claim.kind is not ClaimKind.SET))
    return Held(now_ns, rows, low_w, high_w, timed_w, winners, claims)


def told_of(held: Held) -> dict[str, Any]:
    """Return what held some rows, for a report: the sums of their bounds (W), and how many each source controlled."""
    controlled = Counter("nobody" if winner is None else winner[0] for winner in held.winners)
    return {
        "at": iso(held.at_ns), "low_w": round(float(held.low_w.sum()), 1), "high_w": round(float(held.high_w.sum()), 1),
        "controlled_by": dict(sorted(controlled.items())),
    }  # fmt: skip


def grant_of(records: Iterable[Record], group: str, since_ns: int) -> tuple[Record, AskGranted]:
    """Return the first grant on a group since an instant, as a record and what it says.

    Raises:
        LookupError: There is none.
    """
    for record in records:
        if record.subject == group and record.recorded_at_ns >= since_ns:
            fact = from_record(record)
            if isinstance(fact, AskGranted):
                return record, fact
    raise LookupError(f"no grant on {group} since {iso(since_ns)}")


def taken_of(stage: Stage, claim: str) -> PositionChanged | None:
    """Return what the desk recorded that a claim did to the pool's position; None where it has not yet."""
    found = None
    for record in stage.node.journal.of_kind("PositionChanged"):
        fact = from_record(record)
        if isinstance(fact, PositionChanged) and fact.cause == claim:
            found = found or fact
    return found


def spare_of(stage: Stage) -> dict[str, Any]:
    """Return what nobody was asked for though he could have given it now, by the devices' own physics (W, up).

    Counted are rows that are enrolled, in reach, not opted out, not left out after a miss, and not let go so short a
    time ago that their compressors may not be held off again yet: how far the device itself says that it can rise from
    where it is, within all stronger limits, and stored energy spread over what is still owed. `spare_w` is what is left
    of that beyond the shares; `out_w` what the others could have given.
    """
    state, pool, now_ns = stage.node.state, stage.node.cycle.pools[POOL], stage.node.clock.now_ns()
    rows, world = pool.rows, stage.world
    base_w, share_w = state.base_w[rows], np.maximum(pool.share_w, 0.0)
    _, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    most_w = np.minimum(world.power_w[rows] + world.up_w[rows], np.maximum(high_w, base_w)) - base_w
    until_ns = max((a.end_ns for a in state.awards.values() if a.pool == POOL), default=now_ns)
    hours = max((until_ns - now_ns) / 3.6e12, 1 / 12)
    stored_w = np.full(len(world.power_w), np.inf)
    stored_w[world.stores] = world.storage.available_wh() / hours
    left_w = np.maximum(np.minimum(most_w, stored_w[rows]) - share_w, 0.0)
    out = {
        "opted_out": state.opted_out[rows],
        "out_of_reach": ((state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0) | stage.link.is_lost[rows],
        "left_out_after_a_miss": state.missed_until_ns[rows] > now_ns,
        "in_their_least_time": just_let_go(state, rows, now_ns),
    }
    may, could_w = pool.eligible.copy(), {}
    for name, mask in out.items():
        could_w[name] = round(float(left_w[may & mask].sum()), 1)
        may &= ~mask
    return {"spare_w": round(float(left_w[may].sum()), 1), "asked": int((share_w[may] > 1.0).sum()), "out_w": could_w}


def on_way_w(stage: Stage) -> float:
    """Return what engines, process lines and others that take minutes have yet to give of their calls (W, 0 or more).

    Counted by the devices' own physics, and only for as long as their kind takes from when they were called.
    """
    state, pool, now_ns = stage.node.state, stage.node.cycle.pools[POOL], stage.node.clock.now_ns()
    takes_s = seconds_to_reach(state, pool.rows)
    called_s = (now_ns - state.responses.uncalled_ns[pool.rows]) / SECOND_NS
    rises = (takes_s > QUICK_S) & (called_s < takes_s)
    gives_w = np.sign(pool.share_w) * (stage.world.power_w[pool.rows] - state.base_w[pool.rows])
    return float(np.maximum(np.abs(pool.share_w) - np.maximum(gives_w, 0.0), 0.0)[rises].sum())
