"""The alarm of a commitment that is likely to lack: while there is time to do something about it.

`read_short` tells of an award once three intervals of it have lacked. This tells of one that runs, or begins within
the hour, as soon as what is likely of its rest falls short by as much: owners can still be asked, and stores filled.
What is foreseen of an award that runs must show by then: while all of it is given, and dispatch finds enough devices to
ask, nothing is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tieline.desk.facts import IntervalTracked
from tieline.desk.foreseen import NEAR_NS
from tieline.desk.likely import STORED
from tieline.desk.obligation import DISPATCH_STEP_NS, award_at
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.redispatch import BY_KILL, BY_MODE, DNO_LIMIT, OWN_LIMIT
from tieline.desk.state import DeskState
from tieline.desk.tracking import BY_ISO, FOREIGN, OPTED_OUT, UNAVAILABLE
from tieline.desk.views import AlarmView, Commitment, SuppressedAlarm
from tieline.ids import derive
from tieline.node.read_alarms import Since
from tieline.node.read_market import delivery
from tieline.node.read_short import LEAST_FRAC, NOT_RESPONDING, STAYS_FRAC, WORDS
from tieline.times import MINUTE_NS, SECOND_NS, iso

LASTS_NS = 3 * MINUTE_NS
"""What a beat or two mend, as others step in, needs nobody."""
FRESH_NS = DISPATCH_STEP_NS + MINUTE_NS
LEAST_W = 1_000.0
"""One that lacks less is nobody's errand: a device's step."""
RESPOND_S = 600
FOLLOWS = "it gave less of what it could of late"
SAYS = {**WORDS, STORED: "stores that would be empty"}
FIXES: Mapping[str, str] = {
    OPTED_OUT: "Ask owners who are out to come in again, or offer less of the hours to come",
    FOREIGN: "See who set the devices in LOCAL by hand, and ask to have them let go of",
    DNO_LIMIT: "Ask the grid operator for how long the limit stands",
    OWN_LIMIT: "See which owners' or programs' limits bind, and whether they may be eased",
    BY_MODE: "Set the feeder to Automatic again once that is safe",
    BY_KILL: "Release the kill switch once that is safe",
    "offline": "See which link or feeder is out of reach, and mend that",
    STORED: "Have stores filled before it, or offer less of the hours to come",
    UNAVAILABLE: "Offer less of the hours to come, or enrol more devices",
    "": "See which devices don't follow what they are told",
}
TROUBLES = {
    "silent": ("offline",), "unheard": ("offline",),
    "failed": ("unresponsive", ""), "unresponsive": ("unresponsive", ""),
}  # fmt: skip
"""Which causes of a lack each trouble of devices tells of (`desk.alarms`)."""
NONE: Mapping[str, AlarmView] = {}
NOTHING: Mapping[str, float] = {}
Found = list[tuple[AlarmView, int]]


def likely_short(
    commitments: Sequence[Commitment],
    pool: str,
    short: Sequence[AlarmView],
    since: Since,
    now_ns: int,
    causes: Mapping[str, AlarmView] = NONE,
    shows_w: float | None = None,
    tracked: Mapping[str, float] = NOTHING,
) -> tuple[Found, list[SuppressedAlarm]]:
    """Return the alarm of a pool whose commitments are likely to lack over a tenth, or where it is held back, and for
    how long that must be so.

    One alarm a pool, however many lack; it names the one that lacks most. It goes once all are likely to be given to
    92 %. Less that the market itself asks is no lack, and what an alarm of its own is told of asks for no second one.

    Args:
        commitments: What the pool owes; those that are not worked out yet tell nothing.
        pool: Whose.
        short: The alarms of an award that lacks already: the one that runs is told by that.
        since: When each standing alarm began, by id.
        now_ns: Now.
        causes: The alarm that tells of a cause of a lack already ("": of who doesn't follow), by cause.
        shows_w: What lacks of the award that runs by now (`shown_w`); None: that isn't known.
        tracked: What lacked of what was asked in the last interval of it, by cause (W; `tracked_causes`).
    """
    name = derive("alarm", "likely", pool)
    least_frac = STAYS_FRAC if name in since else LEAST_FRAC

    def is_short(one: Commitment, watts: float) -> bool:
        return watts > max((1.0 - least_frac) * _owed_w(one), LEAST_W)

    near = [one for one in commitments if one.start_ns <= now_ns + NEAR_NS and now_ns < one.end_ns]
    near = near if shows_w is None else as_shown(near, shows_w, now_ns)
    near = [as_tracked(one, tracked) if one.start_ns <= now_ns else one for one in near]
    lacking = [one for one in near if is_short(one, _lacks_w(one))]
    if not lacking:
        return [], []
    later = [one for one in lacking if not short or one.start_ns > now_ns]
    untold = [one for one in later if is_short(one, sum(w for c, w in _causes(one).items() if _key(c) not in causes))]
    alarm = _alarm(untold or lacking, name, pool, since, now_ns)
    if untold:
        return [(alarm, LASTS_NS)], []
    whole = _causes(max(lacking, key=_lacks_w))
    keys = [_key(cause) for cause in sorted(whole, key=lambda each: -whole[each])]
    told = next((causes[key] for key in keys if key in causes), None)
    cause = short[0] if told is None or not later else told
    return [], [SuppressedAlarm(alarm, "by_cause", f"its cause is told: {cause.title}", cause.id)]


def tells_of(devices: Sequence[AlarmView], links: Sequence[AlarmView]) -> dict[str, AlarmView]:
    """Return the alarm that tells of a cause of a lack, by cause ("": of who doesn't follow).

    Args:
        devices: Alarms of devices.
        links: And of links that devices are out of reach for.
    """
    found = dict.fromkeys(("offline",), links[0]) if links else {}
    for alarm in devices:
        for key, cause in TROUBLES.items():
            if alarm.id == derive("alarm", key, alarm.subject):
                found |= dict.fromkeys(cause, alarm)
    return found


def shown_w(state: DeskState, pool: PoolDesk, intervals: Sequence[IntervalTracked], now_ns: int) -> float | None:
    """Return what lacks by now of what a pool owes (W, 0 or more): of what dispatch could ask of devices, or of what
    they deliver now and did over the last interval; None: it owes nothing, or nothing of it is seen.

    What one minute lacks the next may mend: that heaters go on and off is no lack.
    """
    owed_w, gave_w, _ = delivery(state, pool, now_ns)
    if owed_w is None or gave_w is None:
        return None
    side, lacks_w = math.copysign(1.0, owed_w), [abs(owed_w) - math.copysign(1.0, owed_w) * gave_w]
    last = _last(state, pool, intervals, now_ns)
    if last is not None:
        lacks_w.append(side * (last.asked_w - last.delivered_w))
    return max(side * pool.short_w, min(lacks_w), 0.0)


def tracked_causes(
    state: DeskState, pool: PoolDesk, intervals: Sequence[IntervalTracked], now_ns: int
) -> Mapping[str, float]:
    """Return what lacked of what was asked in the last interval of the award that runs, by cause (W)."""
    last = _last(state, pool, intervals, now_ns)
    return NOTHING if last is None else last.causes


def _last(
    state: DeskState, pool: PoolDesk, intervals: Sequence[IntervalTracked], now_ns: int
) -> IntervalTracked | None:
    """Return the last interval of the award that runs; None: it has none yet, or that is long ago."""
    award = award_at(state, pool.pool, now_ns)
    last = next((one for one in reversed(intervals) if one.pool == pool.pool), None)
    if last is None or award is None or last.start_ns < award.start_ns or now_ns - last.end_ns > FRESH_NS:
        return None
    return last


def as_tracked(one: Commitment, tracked: Mapping[str, float]) -> Commitment:
    """Return a commitment that runs with its lack put to the causes that are recorded of the same lack.

    What was declared less, and so asked less, is none of it: that the interval tells by itself. What is foreseen to
    lack beyond what lacked there is put to what is foreseen.

    Args:
        one: The commitment.
        tracked: What lacked in its last interval, by cause (W).
    """
    lacks_w, whole_w = _lacks_w(one), math.fsum(tracked.values())
    if lacks_w <= 0.0 or whole_w <= 0.0:
        return one
    named_w = min(lacks_w, whole_w)
    found = {cause: watts * named_w / whole_w for cause, watts in tracked.items()}
    left = {cause: max(watts - found.get(cause, 0.0), 0.0) for cause, watts in _causes(one).items() if cause}
    left_w = math.fsum(left.values())
    part = min((lacks_w - named_w) / left_w, 1.0) if left_w > 0.0 else 0.0
    for cause, watts in left.items():
        found[cause] = found.get(cause, 0.0) + watts * part
    by_iso = {BY_ISO: one.lacks_w[BY_ISO]} if BY_ISO in one.lacks_w else {}
    return replace(one, lacks_w={**by_iso, **{cause: watts for cause, watts in found.items() if watts > 0.0}})


def _key(cause: str) -> str:
    """Return by which name an alarm of devices tells of a cause: of who was told and did not do it, by one."""
    return cause if cause in SAYS or cause == "unresponsive" else ""


def as_shown(near: Sequence[Commitment], shows_w: float, now_ns: int) -> list[Commitment]:
    """Return commitments of which no more lacks than shows by now: what is foreseen of one that runs, and isn't so, is
    wrong of the next by as much.

    What devices give together is worked out by what each is thought to have in store, over hours; where all that is
    asked is given meanwhile, by those that others stand in for, that was too little.

    Args:
        near: Those that run, and those that begin soon.
        shows_w: What lacks of those that run by now (W, 0 or more).
        now_ns: Now.
    """
    runs = [_lacks_w(one) for one in near if one.start_ns <= now_ns]
    wrong_w = max(max(runs) - shows_w, 0.0) if runs else 0.0
    return [_lacking(one, max(_lacks_w(one) - wrong_w, 0.0)) for one in near]


def _lacking(one: Commitment, lacks_w: float) -> Commitment:
    """Return a commitment of which so much is likely to lack (W), of each cause alike."""
    whole_w = _lacks_w(one)
    if one.likely_w is None or lacks_w >= whole_w:
        return one
    part, gives_w = lacks_w / whole_w, _owed_w(one) - lacks_w
    causes = {cause: watts * (1.0 if cause == BY_ISO else part) for cause, watts in one.lacks_w.items()}
    return replace(one, likely_w=math.copysign(gives_w, one.power_w), lacks_w=causes)


def _owed_w(one: Commitment) -> float:
    """Return what a commitment asks by now (W, 0 or more): less than was awarded where the market says so."""
    return max(abs(one.power_w) - one.lacks_w.get(BY_ISO, 0.0), 0.0)


def _lacks_w(one: Commitment) -> float:
    """Return what is likely to lack of that (W; 0: nothing, or it isn't known)."""
    if one.likely_w is None:
        return 0.0
    gives_w = one.likely_w if one.power_w >= 0.0 else -one.likely_w
    return max(_owed_w(one) - gives_w, 0.0)


def _alarm(lacking: Sequence[Commitment], name: str, pool: str, since: Since, now_ns: int) -> AlarmView:
    worst = max(lacking, key=_lacks_w)
    runs = any(one.start_ns <= now_ns for one in lacking)
    lacks = _causes(worst)
    when = f"until {iso(worst.end_ns)}" if worst.start_ns <= now_ns else f"from {iso(worst.start_ns)}"
    gives_w = _owed_w(worst) - _lacks_w(worst)
    title = f"Likely to give {gives_w / 1e3:.1f} of {_owed_w(worst) / 1e3:.1f} kW {when}: {_words(lacks)}"
    title += f" (and {len(lacking) - 1} more)" if lacking[1:] else ""
    cause = max(lacks, key=lambda each: lacks[each], default="")
    starts_s = (min(one.start_ns for one in lacking) - now_ns) // SECOND_NS
    return AlarmView(
        name, 2 if runs else 3, pool, title, "Imbalance will be charged and performance fall",
        FIXES.get(cause, FIXES[""]), max(RESPOND_S, starts_s), "/market", len(lacking), since.get(name, now_ns),
    )  # fmt: skip


def _causes(one: Commitment) -> dict[str, float]:
    """Return what a commitment is likely to lack by its causes (W); what none of them takes is how it follows ("")."""
    lacks = {cause: watts for cause, watts in one.lacks_w.items() if cause != BY_ISO}
    left_w = _lacks_w(one) - sum(lacks.values())
    return lacks | ({"": left_w} if left_w > 0.0 else {})


def _words(lacks: Mapping[str, float]) -> str:
    """Return the two largest causes in words, with their shares of the lack; of one alone, that."""
    total, by_word = sum(lacks.values()), dict[str, float]()
    for cause, watts in lacks.items():
        word = SAYS.get(cause, NOT_RESPONDING) if cause else FOLLOWS
        by_word[word] = by_word.get(word, 0.0) + watts
    worst = sorted(by_word.items(), key=lambda item: -item[1])[:2]
    said = [f"{word} {watts / total:.0%}" for word, watts in worst if watts >= 0.1 * total]
    return ", ".join(said) or "cause unknown"
