"""What Tieline promises to a grid's operator and to owners, each checked against what the world and the journal say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tieline.desk.facts import (
    AskGranted,
    AskWithdrawn,
    ClaimsEnded,
    ClaimsPlaced,
    PositionChanged,
    from_record,
)
from tieline.flow.record import Record
from tieline.node.promise import Promise, promise, untested
from tieline.node.promise_substitutes import SUBSTITUTED, substituted
from tieline.node.relief import Dno
from tieline.node.stage import Stage
from tieline.node.story import LEAST_CALLED_W, Told
from tieline.node.works import Held
from tieline.resource.claim import ClaimKind
from tieline.resource.obedience import SLACK_W
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, iso

SETTLES_NS = 6 * MINUTE_NS
WINDOW = 10
SLACK_FRAC = 0.02
ACTS_NS = 10 * MINUTE_NS
"""Within so long of feeding in under a limit of 0 W a device that ignores it must be isolated."""
TOLD_S = 5.0
FREED_W, FREED_FRAC = 100.0, 0.03
OPERATOR = "dnp3:dno"
LIMIT_HOLDS = "the DNO's limit holds"
OPTED_OUT = "an opt-out takes effect within 60 s"
RESTORED = "a cancel restores the next valid claim"
RELIEVED = "a relief brings its feeder back within its rating"
CALM = "a relief that ends leaves no rebound that needs another"
CALM_NS = 60 * MINUTE_NS


def of_grid(stage: Stage, told: Told, dno: Dno, records: list[Record], override: dict[str, Any]) -> list[Promise]:
    """Return every promise that has to do with the grid's operator and with owners."""
    return [
        limit_held(stage, told, records) if told.override else untested(LIMIT_HOLDS),
        told_upward(stage, records, override) if told.override else untested(_told_name(stage)),
        substituted(told, records, override, _released_ns(told, records)) if told.override else untested(SUBSTITUTED),
        opted_out(told) if told.opt_out else untested(OPTED_OUT),
        restored(told, records) if told.restored else untested(RESTORED),
        relieved(dno),
        calm_after(stage, dno),
    ]


def limit_held(stage: Stage, told: Told, records: list[Record]) -> Promise:
    """Nothing on the feeder fed in, as a mean over ten minutes, from six minutes after the limit came.

    What could not be reached when the limit came, and was shown so to the DNO, its crew isolated by hand. What else has
    lost its line may do what it did before for as long as its own timer runs that was set before the loss: that of its
    lease (R16), or of an engine's least time (R12). Whom a command can reach has no excuse: an engine that must run on
    opens its breaker. What comes back into reach, or whose timer has ended, has as long as any to settle. Where the
    limit is 0 W devices are looked at one by one, as one that ignores it would be little of its feeder's nameplate: it
    must have been found, named and isolated within ten minutes of when it fed in without a break.
    """
    since_ns, until_ns = int(told.override["when_ns"]) + SETTLES_NS, _released_ns(told, records)
    seen = [each for each in stage.watch_trail if since_ns <= each[0] <= until_ns]
    if len(seen) < WINDOW:
        return promise(LIMIT_HOLDS, True, "not tested: the limit was too short to judge", tested=False)
    fleet = stage.node.state.fleet
    rows = fleet.leaves(told.override["group"])
    giving_w = np.maximum(np.stack([power_w for _, power_w, _ in seen]), 0.0)
    alone = np.stack([until_ns > when for when, _, until_ns in seen])
    alone = np.stack([alone[max(at - SETTLES_NS // MINUTE_NS, 0) : at + 1].any(axis=0) for at in range(len(alone))])
    each_w = np.where(alone | _acted_on(stage, told, rows, [when for when, *_ in seen]), 0.0, giving_w)
    worst_w = float(np.convolve(each_w.sum(axis=1), np.full(WINDOW, 1 / WINDOW), "valid").max())
    before_w = float(told.override["giving_before_w"])
    limit_w, size_w = float(told.override["limit_high_w"]), float(stage.territory.fleet.max_inject_w[rows].sum())
    evidence = (
        f"{len(rows)} devices gave {before_w / 1e3:.1f} kW before, at worst {worst_w / 1e3:.2f} kW under a limit of "
        f"{limit_w / 1e3:.1f} kW; tolerance {SLACK_FRAC:.0%} of their {size_w / 1e3:.0f} kW; "
        f"{_alone(stage, rows, giving_w * alone, np.stack([until_ns for _, _, until_ns in seen]))}; "
        f"{len(told.override['isolated'])} that the DNO saw not reporting were isolated by hand; "
    )
    most_w = sliding_window_view(each_w, WINDOW, axis=0).mean(axis=-1).max(axis=0)
    feeds = most_w > SLACK_W if limit_w <= 0.0 else np.zeros(len(rows), np.bool_)
    evidence += _disobeyed(told, {fleet.id_of(int(rows[at])): float(most_w[at]) for at in np.flatnonzero(feeds)})
    tested = before_w > limit_w
    return promise(LIMIT_HOLDS, worst_w - limit_w <= SLACK_FRAC * size_w and not feeds.any(), evidence, tested)


def _released_ns(told: Told, records: list[Record]) -> int:
    """Return when the operator's release of the limit was recorded; else when he gave the one that was answered.

    Where the line loses the answer he gives it again, and the first may have come through: who feeds in from then on
    is under no limit. One that lapsed, or that he asked for anew, is not released.
    """
    until_ns = int(told.restored.get("when_ns", 2**63 - 1))
    released_ns = None
    for record in records:
        if record.subject != told.override["group"] or record.recorded_at_ns < int(told.override["when_ns"]):
            continue
        fact = from_record(record)
        if isinstance(fact, AskGranted) and fact.ask.source == OPERATOR:
            released_ns = None
        elif isinstance(fact, AskWithdrawn) and fact.source == OPERATOR:
            released_ns = record.recorded_at_ns
    return until_ns if released_ns is None else min(released_ns, until_ns)


def _acted_on(stage: Stage, told: Told, rows: Any, at_ns: list[int]) -> Any:
    """Return when who ignored the limit is excused, shape (instants, rows): till it was isolated, if soon enough."""
    excused = np.zeros((len(at_ns), len(rows)), np.bool_)
    trail = [each for each in stage.watch_trail if each[0] >= int(told.override["when_ns"])]
    for at, row in enumerate(rows.tolist()):
        found = told.disobeyed.get(row)
        if found is None or not found.isolated_ns:
            continue
        begins_ns = found.isolated_ns
        for when_ns, power_w, until_ns in reversed(trail):
            if when_ns <= found.isolated_ns:
                if power_w[at] <= SLACK_W or until_ns[at] > when_ns:
                    break
                begins_ns = when_ns
        if found.isolated_ns - begins_ns <= ACTS_NS:
            excused[:, at] = [begins_ns <= when_ns <= found.isolated_ns for when_ns in at_ns]
    return excused


def _disobeyed(told: Told, feeds: dict[str, float]) -> str:
    """Say who ignored the limit and how much it gave: who was isolated, and who fed in and was not, or too late."""
    limited_ns = int(told.override["when_ns"])
    found = [
        f"{each.resource} {each.power_w / 1e3:.1f} kW, isolated {(each.isolated_ns - limited_ns) / MINUTE_NS:.0f} min "
        "after the limit came"
        for each in told.disobeyed.values()
        if each.isolated_ns and each.resource not in feeds
    ]
    found += [f"{name} {power_w / 1e3:.1f} kW, not isolated in time" for name, power_w in feeds.items()]
    return f"found to disobey: {', '.join(found) or 'none'}"


def _alone(stage: Stage, rows: Any, gave_w: Any, until_ns: Any) -> str:
    """Say what each device gave that nobody could reach (shape (minutes, rows)), and until when by its own timer."""
    most_w, fleet = gave_w.max(axis=0), stage.node.state.fleet
    found = [
        f"{fleet.id_of(int(rows[at]))} {most_w[at] / 1e3:.1f} kW until {iso(int(until_ns[:, at].max()))}"
        for at in np.argsort(-most_w, kind="stable")
        if most_w[at] > 0
    ]
    return f"out of reach, on own timers: {', '.join(found) or 'none'}"


def _told_name(stage: Stage) -> str:
    """Return the promise's name: over sockets, played faster than life, its seconds are those of the wall's clock."""
    clock = "" if stage.speed == 1.0 else " of the wall's clock"
    return f"a limit is told to the market within 5 s{clock}"


def told_upward(stage: Stage, records: list[Record], override: dict[str, Any]) -> Promise:
    name, claim = _told_name(stage), override.get("claim")
    granted = next((r for r in records if r.id == claim), None)
    moved = next((r for r in records if isinstance(f := from_record(r), PositionChanged) and f.cause == claim), None)
    if granted is None or moved is None:
        return promise(name, False, "no position was recorded")
    story_s = (moved.recorded_at_ns - granted.recorded_at_ns) / SECOND_NS
    seconds = story_s / stage.speed
    evidence = f"{seconds:.3f} s"
    if stage.speed != 1.0:
        evidence += f" of the wall's clock: {story_s:.1f} s of the story's, which runs {stage.speed:g} times as fast"
    return promise(name, seconds <= TOLD_S and bool(override["declared_to_market"]), evidence)


def opted_out(told: Told) -> Promise:
    """Its measured power is back at its own base.

    A device out of reach, one that was not called, or one whose power uncalled nobody knows proves nothing.
    """
    seen = told.opt_out
    off_w = abs(seen["power_after_60s_w"] - seen["base_w"])
    whose = " of the story's clock, 3 s of the wall's," if seen["waited_s"] > 60.0 else ""
    evidence = (
        f"{seen['resource']}: {seen['power_before_w'] / 1e3:.2f} kW before, "
        f"{seen['power_after_60s_w'] / 1e3:.2f} kW at its meter {seen['waited_s']:.0f} s{whose} after, "
        f"its own base {seen['base_w'] / 1e3:.2f} kW"
    )
    if why := _shows_nothing(seen):
        return promise(OPTED_OUT, True, f"not tested: {why}; {evidence}", tested=False)
    is_free = not np.isfinite(seen["target_after_60s_w"])
    back = off_w <= max(FREED_W, FREED_FRAC * seen["rating_w"])
    return promise(OPTED_OUT, seen["granted"] and is_free and back, evidence)


def _shows_nothing(seen: dict[str, Any]) -> str:
    """Return why an opt-out proves nothing; empty: it does."""
    if not seen["device_was_in_reach"]:
        return "who was called most was out of reach"
    if not seen["was_called"]:
        return f"nobody in reach was called by more than {LEAST_CALLED_W:.0f} W and gave it"
    return "" if seen["is_steady"] else "of nobody called in reach is it known what he would do uncalled"


def restored(told: Told, records: list[Record]) -> Promise:
    """Each device has the bounds and the winning claim that it had before, but where the journal says who moved them.

    Compared are the bounds of claims alone: a device's own timer (R12), which its last switching started, is no claim,
    and moves them by itself; by how much is told.
    """
    assert told.held is not None
    before, under, after = told.held
    left = int(told.restored["limits_of_override"])
    moved = (np.abs(after.low_w - before.low_w) > 1e-6) | (np.abs(after.high_w - before.high_w) > 1e-6)
    other = np.array([one != two for one, two in zip(before.winners, after.winners, strict=True)])
    limited, called = _recorded(records, before, after, str(told.restored["group"]))
    limited |= _ran_out(before, after)
    unexplained = int((moved & ~limited).sum() + (other & ~limited & ~called).sum())
    bound = int((under.high_w < before.high_w - 1.0).sum())
    timers_w = float((after.timed_high_w - after.high_w).sum() - (before.timed_high_w - before.high_w).sum())
    evidence = (
        f"{len(before.rows)} devices, {bound} bound by it; after: {int((~moved).sum())} with the bounds of before, "
        f"{int((~other).sum())} with its winner; the rest moved by recorded causes, {unexplained} by none; {left} of "
        f"its claims left; the devices' own timers moved {timers_w / 1e3:.2f} kW"
    )
    return promise(RESTORED, left == 0 and unexplained == 0, evidence, bound > 0 and bool((~moved).any()))


def _recorded(records: list[Record], before: Held, after: Held, scope: str) -> tuple[Any, Any]:
    """Return on which rows a record between the two placed or ended a limit or a gate, and on which a target."""
    size = int(before.rows.max(initial=0)) + 1
    limited, called = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for record in records:
        if not before.at_ns < record.recorded_at_ns <= after.at_ns:
            continue
        fact = from_record(record)
        if not isinstance(fact, ClaimsPlaced | ClaimsEnded) or fact.scope == scope:
            continue
        rows = before.rows if fact.rows is None else fact.rows.array()
        is_target = fact.source.startswith("desk.") or getattr(fact, "kind", "") == ClaimKind.SET.value
        (called if is_target else limited)[rows[rows < size]] = True
    return limited[before.rows], called[before.rows]


def _ran_out(before: Held, after: Held) -> Any:
    """Return on which rows a limit or a gate of before ended by itself meanwhile."""
    return np.array([any(end_ns <= after.at_ns for _, end_ns in live) for live in before.claims], np.bool_)


def relieved(dno: Dno) -> Promise:
    """By the power flow, once the devices had time after each move of the limit, no look found an overload that lasted.

    The limit is kept by what meters tell: other load that jumps within a minute, or a cloud, is answered in the next.
    """
    judged = [(relief, seen) for relief in dno.reliefs if (seen := relief.settled())]
    if not judged:
        return promise(RELIEVED, True, "not tested: no feeder was overloaded for long enough", tested=False)
    broken = [r for r, seen in judged if any(min(load, r.again.get(when, load)) > 1.0 for when, load, _ in seen)]
    passed = sum(load > 1.0 for _, seen in judged for _, load, _ in seen)
    worst, feeder = max((max(load for _, load, _ in seen), relief.feeder) for relief, seen in judged)
    evidence = (
        f"{len(judged)} reliefs, {len(broken)} failed; loading {max(r.before for r, _ in judged):.2f} before at worst, "
        f"{worst:.2f} after ({feeder}), mean {np.mean([load for _, seen in judged for _, load, _ in seen]):.2f}, "
        f"above 1 for less than a minute at {passed} of {sum(len(seen) for _, seen in judged)} looks"
    )
    return promise(RELIEVED, not broken, evidence)


def calm_after(stage: Stage, dno: Dno) -> Promise:
    """What a limit held back comes back in turn: within an hour of its end the feeder needs no other limit for it.

    One that would be needed had nobody commanded a device, as the one before no longer was (a cloud came), is no
    rebound. One whose hour is not over proves nothing.
    """
    now_ns = stage.node.clock.now_ns()
    ended = [r for r in dno.reliefs if r.ends_ns and r.ends_ns + CALM_NS <= now_ns]
    if not ended:
        return promise(CALM, True, "not tested: no relief ended early enough to judge", tested=False)
    again = [
        f"{one.feeder} at {iso(two.begins_ns)}"
        for one in ended
        for two in dno.reliefs
        if two.feeder == one.feeder
        and two.imports == one.imports
        and 0 <= two.begins_ns - one.ends_ns < CALM_NS
        and not (two.alone > 1.0 >= one.alone_after)
    ]
    hours = [(r.ends_ns - r.begins_ns) / HOUR_NS for r in ended]
    evidence = (
        f"{len(ended)} reliefs of {min(hours):.1f} to {max(hours):.1f} h ended, what came back needed {len(again)} more"
    )
    return promise(CALM, not again, evidence + (f": {', '.join(again)}" if again else ""))
