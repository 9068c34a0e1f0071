"""One resource in both views, at one revision: who controls it, why, and how far its command has come."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.desk.consents import SOURCE as CONTRACT
from tieline.desk.ends import uncalled_w
from tieline.desk.leeway import leeway_w, within_w
from tieline.desk.modes import feeder_of, mode_of
from tieline.desk.obligation import owed
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.resource_views import (
    ClaimView,
    CommandView,
    GroupRef,
    LevelLimit,
    MarketSide,
    Reading,
    ResourceView,
    ScadaSide,
)
from tieline.desk.scopes import since_ns
from tieline.desk.state import DeskState
from tieline.fleet.able import able_w
from tieline.fleet.claims import ClaimBatch, Mask
from tieline.node.read_control import WORDS, controls_of, group_controls
from tieline.node.read_engines import engine_view
from tieline.node.read_reached import steps_reached
from tieline.node.read_runs import SAYS, Runs, counts_of, runs_of
from tieline.node.read_wait import no_response, stands_until_ns, waits
from tieline.node.read_words import kw
from tieline.node.snapshot import worst_of
from tieline.node.why_ended import lapses
from tieline.resource.arbitrate import Arbitration
from tieline.resource.claim import Claim, ClaimKind
from tieline.resource.command import Stage
from tieline.resource.identity import GROUP_KINDS, Kind, Purpose
from tieline.resource.level import Level
from tieline.resource.point import points
from tieline.resource.quality import Quality
from tieline.times import FOREVER_NS, SECOND_NS

SETTLES_NS = 180 * SECOND_NS
"""How long after a command a device is given before its meter counts against it."""


def number(value: float) -> float | None:
    """Return a finite number, or None for one that is not: unknown or open."""
    return float(value) if math.isfinite(value) else None


def flags(quality: int) -> tuple[str, ...]:
    """Return the names of quality flags, in lower case; none where it is good."""
    return tuple(flag.name.lower().replace("_", " ") for flag in Quality if flag and flag & quality and flag.name)


def claim_view(state: DeskState, claim: Claim, outcome: str, why: str) -> ClaimView:
    """Return a claim for a screen."""
    is_limit = claim.kind is ClaimKind.LIMIT
    return ClaimView(
        claim.id, claim.source, claim.program, int(claim.level), WORDS[claim.level], claim.kind.value,
        number(claim.low) if is_limit else None, number(claim.high) if is_limit else None,
        None if is_limit else number(claim.value), since_ns(state, claim),
        None if claim.end_ns == FOREVER_NS else claim.end_ns, claim.because, outcome, why,
    )  # fmt: skip


def _claims(state: DeskState, claims: list[Claim], settled: Arbitration) -> list[ClaimView]:
    lost = {loser.claim: loser.why for loser in settled.losers}
    holders = {settled.setpoint.limited_by} | {holder for _, _, holder in settled.limits}
    found = []
    for claim in claims:
        if claim.id == settled.setpoint.by:
            outcome, why = "wins", "strongest level, then primacy, then newest"
        elif claim.id in lost:
            outcome, why = "loses", lost[claim.id]
        elif claim.kind is ClaimKind.GATE:
            outcome, why = "gates", _gate_says(claim)
        elif claim.id in holders:
            outcome, why = "limits", "bounds what any weaker claim may ask"
        else:
            outcome, why = "holds", "within what stronger limits leave"
        found.append(claim_view(state, claim, outcome, why))
    return sorted(found, key=lambda view: (view.level, view.outcome != "wins", view.id))


def _feeder_mode(state: DeskState, resource: str, row: int, is_group: bool) -> str:
    """Return the mode of the feeder that a device hangs on, or that a group is; empty for other groups."""
    if is_group and state.fleet.kind_of(resource) is not Kind.FEEDER:
        return ""
    feeder = resource if is_group else feeder_of(state, row)
    return mode_of(state, feeder).value if feeder else ""


def _gate_says(claim: Claim) -> str:
    if claim.level is Level.OWNER_NEED:
        if claim.source == CONTRACT:
            return f"no contract lets it be called: {claim.because}"
        return "the owner is out: the market may not call it"
    return f"holds out targets weaker than {WORDS[claim.level]} (level {int(claim.level)})"


def _command(state: DeskState, row: int, now_ns: int) -> CommandView | None:
    commands = state.commands
    if commands.batch[row] < 0:
        return None
    stage, at_ns = Stage(int(commands.stage[row])), int(commands.at_ns[row])
    observed_w, target_w = number(commands.observed_w[row]), number(commands.target_w[row])
    steps = [bool(mask[0]) for mask in steps_reached(state, np.array([row], np.int32), now_ns)]
    reached = (True, steps[0], steps[1], steps[2], steps[3])
    instants = [at_ns if yes else None for yes in reached]
    if reached[4]:
        instants[4] = int(state.fleet.taken_at_ns[row])
    return CommandView(
        state.command_batches[int(commands.batch[row])], target_w, number(commands.low_w[row]),
        number(commands.high_w[row]), stage.name.lower(), instants[0], instants[1], instants[2], instants[3],
        instants[4], int(commands.valid_until_ns[row]), float(state.fleet.default_w[row]), observed_w, reached,
    )  # fmt: skip


def _readings(state: DeskState, row: int, now_ns: int) -> tuple[Reading, ...]:
    fleet, found = state.fleet, list[Reading]()
    for key, point in points().items():
        if point.code not in fleet._columns:
            continue
        value, taken_ns = number(fleet._columns[point.code][row]), int(fleet._taken[point.code][row])
        if value is None and taken_ns == 0 and key != "power_w":
            continue
        age_s = (now_ns - taken_ns) / SECOND_NS if taken_ns else None
        quality = flags(int(fleet.quality[row])) if key == "power_w" else ()
        if age_s is not None and age_s > point.stale_after_s and "not topical" not in quality:
            quality = (*quality, "not topical")
        found.append(Reading(key, point.says, point.unit, value, quality, age_s, point.iec61850, point.sunspec))
    return tuple(found)


def _stages(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> dict[str, int]:
    live = rows[state.commands.valid_until_ns[rows] > now_ns]
    names = ("delivered", "acknowledged", "effective", "verified")
    counts = {name: int(mask.sum()) for name, mask in zip(names, steps_reached(state, live, now_ns), strict=True)}
    return {"issued": len(live), **counts}


def resource_view(
    state: DeskState, pools: Mapping[str, PoolDesk], resource: str, link_of: Mapping[int, str], now_ns: int
) -> ResourceView:
    """Return one device or group in both views. Raises KeyError where there is none."""
    fleet = state.fleet
    rows = fleet.leaves(resource)
    if not fleet.holds(resource) or not len(rows):
        raise KeyError(resource)
    is_group = fleet.kind_of(resource) in GROUP_KINDS
    market = _market_side(state, pools, resource, rows, now_ns)
    scada, settled_views, settled = _scada_side(state, rows, is_group, link_of, now_ns)
    row = int(rows[0])
    winner = next((view for view in settled_views if view.outcome == "wins"), None)
    limits = () if settled is None else tuple(
        LevelLimit(int(level), WORDS[level], number(bounds.low_w), number(bounds.high_w), holder)
        for level, bounds, holder in settled.limits
    )  # fmt: skip
    stands_ns = 0 if is_group else stands_until_ns(state, row, now_ns)
    controls = (
        group_controls(state, rows, now_ns) if settled is None
        else controls_of(state, row, winner, settled, stands_ns, now_ns)
    )  # fmt: skip
    controls += lapses(state, resource, now_ns)
    command = None if is_group else _command(state, row, now_ns)
    target_w = settled.setpoint.target_w if settled and winner else None
    kept = "" if is_group else waits(state, row, target_w, now_ns)
    return ResourceView(
        resource, fleet.kind_of(resource).value, is_group, state.revision, now_ns, len(rows),
        float(fleet.max_inject_w[rows].sum()), float(fleet.max_absorb_w[rows].sum()),
        float(fleet.energy_wh[rows].sum()), _ancestors(state, resource, row, is_group), market, scada,
        _mismatch(market, scada, command, bool(kept)), controls, winner, tuple(settled_views), limits,
        settled.conflicts if settled else (), command, _stages(state, rows, now_ns),
        () if is_group else _readings(state, row, now_ns), feeder_mode=_feeder_mode(state, resource, row, is_group),
        waits=kept, unresponsive=None if is_group else no_response(state.responses, row, now_ns),
        engine=None if is_group else engine_view(state, row, now_ns),
    )  # fmt: skip


def in_control(state: DeskState, now_ns: int) -> dict[str, int]:
    """Return how many devices each authority sets, how many go by what else, and how many limits hold beside that."""
    settled = state.claims.arbitrate(now_ns, np.arange(len(state.fleet), dtype=np.int32))
    named = np.bincount(state.claims.level_of(settled.winner[settled.winner >= 0]), minlength=len(Level))
    found = {WORDS[level]: int(named[level]) for level in Level if named[level]}
    counts = {Runs.FREELY: 0, **counts_of(runs_of(state, settled, now_ns))}
    limited: dict[str, int] = {}
    for batch, alive in state.claims.batches():
        if batch.kind is ClaimKind.LIMIT and state.claims.holds_at(batch, now_ns):
            word = f"limited by {WORDS[batch.level]}"
            limited[word] = limited.get(word, 0) + int(alive.sum())
    return {**found, **{says: counts[way] for way, says in SAYS.items() if way in counts}, **limited}


def _ancestors(state: DeskState, resource: str, row: int, is_group: bool) -> tuple[GroupRef, ...]:
    fleet, found = state.fleet, list[GroupRef]()
    for purpose in Purpose:
        if is_group and fleet.group(resource).purpose is not purpose:
            continue
        above = fleet.ancestors(row, purpose) if purpose in fleet.parents else []
        names = [group.id for group in above]
        if is_group and resource in names:
            above = above[names.index(resource) + 1 :]
        found += [GroupRef(group.id, group.kind.value, purpose.value) for group in above]
    if is_group and fleet.kind_of(resource) is Kind.GENERATION and (feeder := feeder_of(state, row)):
        found.append(GroupRef(feeder, Kind.FEEDER.value, Purpose.ELECTRICAL.value))
    return tuple(found)


def _market_side(
    state: DeskState, pools: Mapping[str, PoolDesk], resource: str, rows: NDArray[np.int32], now_ns: int
) -> MarketSide:
    for pool in pools.values():
        mine = np.isin(pool.rows, rows)
        if not mine.any():
            continue
        debt = owed(state, pool.pool, now_ns)
        base_w = float(state.base_w[rows].sum())
        measured = state.fleet.known_power_w(rows)
        known = np.isfinite(measured)
        delivered_w = float((measured[known] - state.base_w[rows][known]).sum()) if known.any() else None
        left_out = int(state.missed_until_ns[rows].min())  # a group is left out when all of it is
        product = next((award.product for award in state.awards.values() if award.pool == pool.pool), "")
        return MarketSide(
            pool.pool, product, None if debt is None else debt.power_w, float(pool.share_w[mine].sum()), base_w,
            delivered_w, None if debt is None else debt.price_per_mwh, None if debt is None else debt.end_ns,
            "" if debt is None else debt.because, bool(state.opted_out[rows].all()),
            left_out if left_out > now_ns else None, bool(pool.eligible[mine].any()),
        )  # fmt: skip
    return MarketSide("", "", None, None, None, None, None, None, "", False, None, False)


def _scada_side(
    state: DeskState, rows: NDArray[np.int32], is_group: bool, link_of: Mapping[int, str], now_ns: int
) -> tuple[ScadaSide, list[ClaimView], Arbitration | None]:
    fleet, commands, row = state.fleet, state.commands, int(rows[0])
    settled = None if is_group else state.claims.explain(row, now_ns)
    views = _claims(state, state.claims.claims_on(row), settled) if settled else _group_asks(state, rows, now_ns)
    column = state.claims.arbitrate(now_ns, rows)
    power = fleet.known_power_w(rows) if is_group else fleet.power_w[rows]
    seen = fleet.taken_at_ns[rows] > 0
    taken_ns = int(fleet.taken_at_ns[rows][seen].min()) if seen.any() else None
    quality = int(worst_of(fleet, rows, now_ns)[0]) if is_group else int(fleet.quality[row])
    live = (commands.valid_until_ns[rows] > now_ns) & np.isfinite(commands.target_w[rows])
    held_w = commands.held_now_w(now_ns)[rows]
    holds = np.isfinite(held_w) & ~live
    # What no command sets follows its base, but within its limits: nobody asks a device that may give nothing for more.
    # What a limit holds at a power, as its registers know no limit, stands there.
    freely_w = np.where(holds, held_w, uncalled_w(state, rows, column.low_w, column.high_w))
    # A limit may hold one without a word of its link: it leaves it one power alone, or less than it needs to run.
    runs = runs_of(state, column, now_ns)
    off = ~live & (runs == Runs.OFF)
    freely_w[off] = 0.0
    bound = holds | off | (~live & (runs == Runs.AT_LIMIT))
    asked_w = float(np.where(live, commands.target_w[rows], freely_w).sum())
    said = fleet.column("is_local")[rows]  # newer than what the last beat settled by
    is_local = bool(np.where(np.isnan(said), state.claims.is_local[rows], said > 0.5).any())
    mode = "dispatched" if live.any() else "held by its limit" if holds.any() or bound.all() else "free running"
    mode = "local" if is_local else "held off by its limit" if mode.startswith("held") and off.all() else mode
    can_w = _leeway(state, rows, (column.low_w, column.high_w), now_ns)
    side = ScadaSide(
        float(np.nansum(power)) if np.isfinite(power).any() else None, flags(quality),
        None if taken_ns is None else (now_ns - taken_ns) / SECOND_NS, taken_ns, asked_w,
        float(column.low_w.sum()), float(column.high_w.sum()), can_w[0], can_w[1], is_local, mode,
        link_of.get(row, "unbound"),
        _target_of(live, holds if is_group else bound, is_group),
    )  # fmt: skip
    return side, views, settled


def _target_of(live: Mask, holds: Mask, is_group: bool) -> str:
    """Return what the target of a resource is: who or what named it."""
    if is_group:
        named = int((live | holds).sum())
        return f"{named:,} of {len(live):,} devices by command, the others' base" if named else "its devices' base"
    return (
        "its command's" if live.any() else "its limit holds it there" if holds.any() else "its base: nobody names one"
    )


def _leeway(
    state: DeskState, rows: NDArray[np.int32], bounds: tuple[NDArray[np.float64], NDArray[np.float64]], now_ns: int
) -> tuple[float | None, float | None]:
    """Return how far rows can rise and fall together from now (W); None where no device told, and nothing tells."""
    fleet, power_w = state.fleet, state.fleet.power_or_0_w(rows)
    told, can_w = (fleet.available_up_w[rows], fleet.available_down_w[rows]), able_w(fleet, rows)
    found = within_w(power_w, leeway_w(state, rows, now_ns), *bounds)
    is_known = [bool((np.isfinite(said) | (able > 0.0)).any()) for said, able in zip(told, can_w, strict=True)]
    now_w, low_w, high_w = (float(each.sum()) for each in (power_w, *bounds))  # one beyond his cap has others' room
    ends_w = max(high_w - now_w, 0.0), max(now_w - low_w, 0.0)
    up_w, down_w = (
        min(float(each.sum()), end_w) if known else None
        for each, end_w, known in zip(found, ends_w, is_known, strict=True)
    )
    return up_w, down_w


def _group_asks(
    state: DeskState, rows: NDArray[np.int32], now_ns: int, told_already: frozenset[str] = frozenset()
) -> list[ClaimView]:
    """Return the claims that reach into a group, told once for each source, level and kind, strongest first.

    A claim whose lease is over is none, also in the moment before the book lets it go; nor are those `told_already`.
    """
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    told: dict[tuple[int, str, str], list[tuple[ClaimBatch, Mask]]] = {}
    for batch, alive in state.claims.batches():
        hits = mine[batch.rows] & alive
        if batch.end_ns > now_ns and batch.id not in told_already and hits.any():
            told.setdefault((int(batch.level), batch.source, batch.kind.value), []).append((batch, hits))
    return [_told_once(state, parts, len(rows)) for _, parts in sorted(told.items())]


def _told_once(state: DeskState, parts: list[tuple[ClaimBatch, Mask]], size: int) -> ClaimView:
    """Return one view of what a source claims in several decisions; the newest gives its id and reason.

    A device that several of them reach counts once: limits meet, and of targets the newest stands.
    """
    parts = sorted(parts, key=lambda part: (part[0].created_ns, part[0].id))
    newest = parts[-1][0]
    is_limit = newest.kind is ClaimKind.LIMIT
    reached, at = np.unique(np.concatenate([batch.rows[hits] for batch, hits in parts]), return_inverse=True)
    low_w, high_w, value_w = np.full(len(reached), -np.inf), np.full(len(reached), np.inf), np.zeros(len(reached))
    np.maximum.at(low_w, at, np.concatenate([batch.low[hits] for batch, hits in parts]))
    np.minimum.at(high_w, at, np.concatenate([batch.high[hits] for batch, hits in parts]))
    value_w[at] = np.concatenate([batch.value[hits] for batch, hits in parts])  # the last of equals, the newest, stays
    end_ns = max(batch.end_ns for batch, _ in parts)
    why = f"on {len(reached):,} of {size:,} devices" + (f" by {len(parts)} decisions" if len(parts) > 1 else "")
    return ClaimView(
        newest.id, newest.source, newest.program, int(newest.level), WORDS[newest.level], newest.kind.value,
        number(float(low_w.sum())) if is_limit else None, number(float(high_w.sum())) if is_limit else None,
        None if is_limit else number(float(value_w.sum())), min(since_ns(state, batch) for batch, _ in parts),
        None if end_ns == FOREVER_NS else end_ns, newest.because, "holds", why,
    )  # fmt: skip


def _mismatch(market: MarketSide, scada: ScadaSide, command: CommandView | None, waits_yet: bool) -> str:
    """Return in words where the two views disagree, or nothing; who `waits_yet` holds what is in force no more."""
    if market.share_w and market.opted_out and abs(market.share_w) > 200:
        return "The market counts on it, but its owner has opted out"
    if market.share_w and scada.quality and abs(market.share_w) > 200:
        return "The market counts on it, but its telemetry can't be trusted"
    if command is None or scada.power_w is None or command.issued_ns is None or scada.taken_ns is None:
        return ""
    if scada.taken_ns - command.issued_ns <= SETTLES_NS:
        return ""
    # What a device read back is what it was told; what it does is in its meter. An empty store has done what it could.
    told_w = None if waits_yet else command.target_w
    if told_w is not None and not command.reached[4] and abs(scada.power_w - told_w) > max(300.0, 0.25 * abs(told_w)):
        return f"Told {kw(told_w)}, measured {kw(scada.power_w)}"
    ends = ((command.high_w, scada.high_w, 1.0), (command.low_w, scada.low_w, -1.0))
    for end_w, holds_w, side in ends:
        # Who is let go breaks no limit by what only its last command says: one that is in force must say so, too.
        over_w = 0.0 if end_w is None else min(side * (scada.power_w - end_w), side * (scada.power_w - holds_w))
        if end_w is not None and over_w > max(300.0, 0.25 * abs(end_w)):
            return f"Told {kw(end_w)} at {'most' if side > 0 else 'least'}, measured {kw(scada.power_w)}"
    return ""
