"""What becomes of what a network operator's limit takes: others give it, or nobody else could have.

Judged twice: by what the desk planned in the moment it took the limit, and by what was delivered from when those who
stepped in had their time to follow until the limit was released. A plan alone would keep a promise that nobody gave.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tieline.desk.facts import IntervalTracked, from_record
from tieline.flow.record import Record
from tieline.node.promise import Promise, promise
from tieline.node.story import Told
from tieline.times import MINUTE_NS, iso

SUBSTITUTED = "substitutes are found for what a limit takes, or nobody else could have"
FOLLOWS_NS = 4 * MINUTE_NS
"""Rooms give within so long (`desk.response`), and all but engines and process lines sooner."""
PLAN_FRAC, LEAST_W = 0.01, 250.0
GIVEN_FRAC, MISSED_FRAC = 0.05, 0.10
"""So much of what was asked may lack on the whole, and so much at times that others made good at other times, though
somebody free could have given it. In long heat a room holds for five minutes and is found gone a minute later: where
rooms give a third of what is asked, a fifteenth of that is always on its way to others.
"""
NOT_OURS = ("offline", "unconfirmed", "refused", "opt_out", "foreign_control", "paced")
"""Causes that are found only once a minute is lost by them: a line, an owner's hand, the fleet limiter."""


def substituted(told: Told, records: list[Record], override: dict[str, Any], until_ns: int = 2**63 - 1) -> Promise:
    """Others step in for what a limit takes; where that is not enough nobody was left who could have.

    Who could have is counted by the devices' own physics, not by the desk's split (`works.spare_of`): at once for the
    plan, and in each minute of an interval for what it delivered.

    Args:
        told: What the storyteller saw.
        records: Those of the journal.
        override: The limit, as reported.
        until_ns: When it was released.
    """
    taken_w = float(told.override["pool_share_before_w"])
    if taken_w < 1.0:
        return promise(SUBSTITUTED, True, "not tested: the limit took nothing from the pool", tested=False)
    if not told.spare:
        return promise(SUBSTITUTED, False, "no position was recorded")
    owed_w, feasible_w = float(override["owed_w"]), float(override["feasible_w"])
    # What rows pay back may be more than others give: then the pool takes, and that is no part of what it owes.
    lack_w, spare_w = max(math.copysign(1.0, owed_w) * (owed_w - feasible_w), 0.0), float(told.spare["spare_w"])
    slack_w = max(PLAN_FRAC * abs(owed_w), LEAST_W)
    since_ns = int(told.override["when_ns"])
    tracked = [f for r in records if isinstance(f := from_record(r), IntervalTracked) and f.end_ns > since_ns]
    unnamed = sum(not f.causes for f in tracked if f.asked_w and _lack_w(f) > 0.01 * abs(f.asked_w))
    count = int(override.get("substitute_count", 0))
    judged = [f for f in tracked if f.start_ns >= since_ns + FOLLOWS_NS and f.end_ns <= until_ns and f.asked_w]
    missed_w, asked_w = _mean_w([missed(f, told.spares) for f in judged]), _mean_w([abs(f.asked_w) for f in judged])
    lacked_w = max(_mean_w([_lack_w(f) for f in judged]), 0.0)
    gave = missed_w <= max(MISSED_FRAC * asked_w, LEAST_W)
    gave &= min(missed_w, lacked_w) <= max(GIVEN_FRAC * asked_w, LEAST_W)
    planned = (count > 0 or lack_w > 0) and (lack_w <= slack_w or spare_w <= slack_w)
    evidence = (
        f"{taken_w / 1e3:.1f} kW taken, {count} stepped in; planned: {lack_w / 1e3:.1f} of {abs(owed_w) / 1e3:.1f} kW "
        f"lacked; who was free could still give {spare_w / 1e3:.1f} kW; delivered: {_given(judged, missed_w)}; "
        f"{unnamed} short intervals without a cause"
    )
    return promise(SUBSTITUTED, unnamed == 0 and planned and gave, evidence)


def missed(fact: IntervalTracked, spares: Iterable[tuple[int, float, float]]) -> float:
    """Return what lacked in an interval (W) that somebody free could have given all through it.

    `spares` are instants (ns), what was free then, and what slow ones that were called had yet to give by the time that
    their kind takes (W); where none was seen nothing is known to have been.
    """
    seen = [(free_w, on_way_w) for at_ns, free_w, on_way_w in spares if fact.start_ns <= at_ns < fact.end_ns]
    lack_w = _lack_w(fact) - math.fsum(fact.causes.get(name, 0.0) for name in NOT_OURS)
    lack_w = max(lack_w - _mean_w([on_way_w for _, on_way_w in seen]), 0.0)
    return min(lack_w, min((free_w for free_w, _ in seen), default=0.0))


def _lack_w(fact: IntervalTracked) -> float:
    return math.copysign(1.0, fact.asked_w) * (fact.asked_w - fact.delivered_w)


def _mean_w(powers_w: Sequence[float]) -> float:
    return math.fsum(powers_w) / len(powers_w) if powers_w else 0.0


def _given(judged: Sequence[IntervalTracked], missed_w: float) -> str:
    """Say what was delivered of what was asked, what lacked by its causes, and what the market took back meanwhile."""
    if not judged:
        return "not judged, as the limit held for less than an interval"
    sides = [math.copysign(1.0, fact.asked_w) for fact in judged]
    asked_w, gave_w = (
        _mean_w([side * watts for side, watts in zip(sides, powers_w, strict=True)])
        for powers_w in ([fact.asked_w for fact in judged], [fact.delivered_w for fact in judged])
    )
    causes, withheld = Counter[str](), Counter[str]()
    for fact in judged:
        causes.update(fact.causes)
        withheld.update(fact.withheld)
    span = f"from {iso(judged[0].start_ns)[11:16]} to {iso(judged[-1].end_ns)[11:16]}"
    return (
        f"{gave_w / 1e3:.1f} of {asked_w / 1e3:.1f} kW {span}, lacking at times {_by_cause(causes, len(judged))}, of "
        f"which who was free could have given {missed_w / 1e3:.2f} kW; not asked any more "
        f"{_by_cause(withheld, len(judged))}"
    )


def _by_cause(energy: Counter[str], count: int) -> str:
    means = {name: watts / count for name, watts in energy.most_common()}
    told = ", ".join(f"{watts / 1e3:.1f} kW {name}" for name, watts in means.items() if watts >= 50.0)
    return told or "nothing"
