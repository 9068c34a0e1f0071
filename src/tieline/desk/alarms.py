"""From what is wrong with each device to the few alarms that need a person.

An alarm requires an action; what doesn't is an event and stays in the journal. Trouble of many devices is told once, by
the nearest parent that they share: a feeder, or the substation when several feeders are hit. However large an outage,
the operator reads at most `MOST` alarms (design rule 20).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.views import AlarmView, SuppressedAlarm
from tieline.ids import derive
from tieline.times import SECOND_NS

MOST = 10
LEAST_DEVICES, LEAST_FRAC = 3, 0.10
WIDE_GROUPS = 3
FLEET = "fleet"
STAYS_FRAC = 0.5
"""An alarm that stands goes when its trouble is below this share of what raised it: no chattering (ISA-18.2, 16)."""
LEAST_WIDE = 10
"""So many devices at least make trouble of the whole fleet, where no feeder by itself has enough of it for an alarm."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of trouble with devices, in the operator's words; `state` is the cell state that shows it.

    `wide_frac` is which share of the fleet makes it trouble of the whole, however thinly it lies on the feeders;
    `lasts_s` for how long it must be there, as the desk sends again and devices come back by themselves.
    """

    state: int
    key: str
    priority: int
    wide_priority: int
    title: str
    consequence: str
    action: str
    respond_s: int
    wide_frac: float
    lasts_s: int = 0


TROUBLES = (
    Trouble(
        4, "silent", 3, 1, "No telemetry", "Their delivery is not counted and can't be settled",
        "Check the communication path; others stand in meanwhile", 1_800, 0.05, 60,
    ),
    Trouble(
        6, "unheard", 3, 1, "Never heard", "What they do is unknown: they can't be called, counted or settled",
        "See which link should carry them, and their enrolment", 1_800, 0.05,
    ),
    Trouble(
        3, "failed", 2, 1, "Commands failed", "They don't follow the dispatch, or hold an old command",
        "Open one of them: \"Link says\" of its command; Links has each link's last error", 900, 0.01, 180,
    ),
    Trouble(
        2, "unresponsive", 3, 3, "Not responding", "What they were asked is lacking unless others stand in for them",
        "Look at what they were asked, then leave them out or call the site", 1_800, 0.02,
    ),
)  # fmt: skip


def abnormal_counts(state: NDArray[np.uint8], group_of: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
    """Return how many devices of each group are in each cell state; shape (groups, 8)."""
    flat = np.bincount(group_of.astype(np.int64) * 8 + state, minlength=groups * 8)
    return flat.reshape(groups, 8)


def device_alarms(
    names: Sequence[str], counts: NDArray[np.int64], above: str, since_ns: dict[str, int], now_ns: int
) -> list[AlarmView]:
    """Return the alarms of all devices, whatever time they have lasted: see `troubles_found`."""
    return [alarm for alarm, _ in troubles_found(names, counts, above, since_ns, now_ns)]


def troubles_found(
    names: Sequence[str], counts: NDArray[np.int64], above: str, since_ns: dict[str, int], now_ns: int
) -> list[tuple[AlarmView, int]]:
    """Return the alarms of all devices, and for how long each must last (ns).

    One a feeder and trouble; or one for all, where more than three feeders or most of them are hit, or where it lies
    thinly on many: 72 devices of 2,000 that don't respond are 3 or 4 on each of 20 feeders, and the dispatch lacks them
    all the same. It is never told both ways, as it is one trouble.

    Args:
        names: Groups, in the order of `counts`.
        counts: From `abnormal_counts`.
        above: The group over all of them; `FLEET` where the registry knows none.
        since_ns: When each alarm that stands already began, by its id.
        now_ns: Now.
    """
    found: list[tuple[AlarmView, int]] = []
    sizes = counts.sum(axis=1)
    most = min(WIDE_GROUPS, max(int(np.count_nonzero(sizes)) // 2, 1))
    for trouble in TROUBLES:
        bad, after_ns = counts[:, trouble.state], trouble.lasts_s * SECOND_NS
        stood = _standing(trouble, names, since_ns)
        least = np.where(stood, STAYS_FRAC, 1.0) * LEAST_FRAC * np.maximum(sizes, 1)
        hit = np.flatnonzero((bad >= LEAST_DEVICES) & (bad >= least))
        hit = hit[np.argsort(-bad[hit], kind="stable")]
        was_wide = derive("alarm", trouble.key, above) in since_ns
        total, rest = int(bad.sum()), int(bad.sum() - bad[hit].sum())
        wide = max(LEAST_WIDE, trouble.wide_frac * int(sizes.sum()))
        if len(hit) > most or rest >= wide or (was_wide and total >= STAYS_FRAC * wide):
            priority = trouble.wide_priority if len(hit) > most else trouble.priority
            feeders = int(np.count_nonzero(bad))
            text = f"{trouble.title}: {total} devices" + (
                f" on {feeders} feeders" if len(hit) else f", a few on each of {feeders} feeders"
            )
            if 0 < len(hit) <= most:
                text += f", {int(bad[hit[0]])} of {int(sizes[hit[0]])} on {names[hit[0]]}"
            found.append((_alarm(trouble, priority, above, text, total, since_ns, now_ns, True), after_ns))
            continue
        for at in hit.tolist():
            found.append((_of_group(trouble, names[at], int(bad[at]), int(sizes[at]), since_ns, now_ns), after_ns))
    return found


def _of_group(trouble: Trouble, name: str, bad: int, size: int, since_ns: dict[str, int], now_ns: int) -> AlarmView:
    text = f"{trouble.title}: {bad} of {size} devices ({100.0 * bad / size:.0f} %)"
    return _alarm(trouble, trouble.priority, name, text, bad, since_ns, now_ns)


def rolled_up(
    found: Sequence[AlarmView], names: Sequence[str], counts: NDArray[np.int64], above: str, now_ns: int
) -> list[SuppressedAlarm]:
    """Return what each alarm of the whole fleet tells as one: the trouble of each group, most devices first."""
    told = {alarm.id: alarm for alarm in found}
    parts, sizes = [], counts.sum(axis=1)
    for trouble in TROUBLES:
        whole = told.get(derive("alarm", trouble.key, above))
        if whole is None or above in names:
            continue
        bad = counts[:, trouble.state]
        for at in np.argsort(-bad, kind="stable")[: int(np.count_nonzero(bad))].tolist():
            # A group's share of a trouble of the whole began with that.
            since = {derive("alarm", trouble.key, names[at]): whole.since_ns}
            alarm = _of_group(trouble, names[at], int(bad[at]), int(sizes[at]), since, now_ns)
            parts.append(SuppressedAlarm(alarm, "rolled_up", f"told as one: {whole.title}", whole.id))
    return parts


def _standing(trouble: Trouble, names: Sequence[str], since_ns: dict[str, int]) -> NDArray[np.bool_]:
    """Return on which groups an alarm of this trouble stands; told of the whole, it stands on none of them."""
    if not since_ns:
        return np.zeros(len(names), np.bool_)
    return np.array([derive("alarm", trouble.key, name) in since_ns for name in names], np.bool_)


def _alarm(
    trouble: Trouble,
    priority: int,
    subject: str,
    text: str,
    count: int,
    since_ns: dict[str, int],
    now_ns: int,
    is_above: bool = False,
) -> AlarmView:
    name = derive("alarm", trouble.key, subject)
    link = "/feeders" if subject == FLEET else f"/resource/{subject}" if is_above else f"/feeder/{subject}"
    return AlarmView(
        name, priority, subject, text, trouble.consequence, trouble.action, trouble.respond_s, link, count,
        since_ns.get(name, now_ns),
    )  # fmt: skip


def fewest(alarms: Sequence[AlarmView], most: int = MOST) -> list[AlarmView]:
    """Return the alarms, worst first; where there are too many, the least grave are told as one that counts them."""
    ordered = sorted(alarms, key=lambda alarm: (alarm.priority, -alarm.count, alarm.id))
    if len(ordered) <= most:
        return ordered
    kept, rest = ordered[: most - 1], ordered[most - 1 :]
    count, since_ns = sum(alarm.count for alarm in rest), min(alarm.since_ns for alarm in rest)
    worst = min(alarm.priority for alarm in rest)
    summary = AlarmView(
        derive("alarm", "more"), worst, "system", f"{len(rest)} more alarms on other subjects",
        "See each on the alarm screen", "Work through those above first", 1_800, "/alarms", count, since_ns,
    )  # fmt: skip
    return [*kept, summary]
