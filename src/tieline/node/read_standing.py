"""From all that is seen to the alarms that stand, and to those that are held back beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk import alarms
from tieline.desk.facts import IntervalTracked
from tieline.desk.foreseen import NEAR_NS
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView, Commitment, LinkView, SuppressedAlarm
from tieline.grid.powerflow import Violation
from tieline.ids import derive
from tieline.node import read_alarms
from tieline.node.certificates import Certificate, certificate_alarms
from tieline.node.outage import NONE, Outage
from tieline.node.read_engines import engine_alarms
from tieline.node.read_envelopes import envelopes_over
from tieline.node.read_fleet import Order
from tieline.node.read_inverters import settings_refused
from tieline.node.read_likely import Found, likely_short, shown_w, tells_of, tracked_causes
from tieline.node.read_over import event_over, over_delivery
from tieline.node.read_over_limit import over_limit
from tieline.node.read_own_way import own_way
from tieline.node.read_refused import refused_by_us
from tieline.node.read_short import INTERVALS, SLOW_BEATS, beats_of, event_short, under_delivery


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What alarms are made of: cells of all rows, links, broken limits by feeder, what was tracked of late.

    `link_of_row` holds the code of each row's link (-1: none), `link_names` the name of each code. `passing` are broken
    limits that need nobody yet, with how warm their feeder is (1: as warm as it may be). `outage` is what can't be
    recorded or kept now.
    """

    cells: NDArray[np.uint8]
    links: Sequence[LinkView]
    broken: Mapping[str, Sequence[Violation]]
    intervals: Sequence[IntervalTracked]
    link_of_row: NDArray[np.int16]
    link_names: Mapping[int, str]
    passing: Mapping[str, tuple[Sequence[Violation], float]]
    outage: Outage = NONE
    commitments: Sequence[Commitment] = ()
    """What the pool owes, with what is likely of it."""
    certificates: Sequence[Certificate] = ()
    """What the server and its links show, and whom they believe."""


def stand(
    book: read_alarms.AlarmBook,
    seen: Seen,
    state: DeskState,
    pool: PoolDesk | None,
    order: Order,
    above: str,
    now_ns: int,
) -> list[AlarmView]:
    """Return the alarms that stand, worst first, and leave in the book which are held back, and why."""
    since = book.standing()
    named = {link.name for link in seen.links if link.state in ("down", "waiting")}
    down = {code: name for code, name in seen.link_names.items() if name in named}
    cells, silent = read_alarms.behind(seen.cells, seen.link_of_row, down)
    counts = alarms.abnormal_counts(cells, order.group_of, len(order.names))
    found = alarms.troubles_found(order.names, counts, above, since, now_ns)
    book.follow(found, order.names, above, state.alarms)
    parts = alarms.rolled_up([alarm for alarm, _ in found], order.names, counts, above, now_ns)
    limits = read_alarms.limit_alarms(seen.broken, above, since, now_ns)
    parts += _limits_of(limits, seen.broken, above, now_ns) + _passing(seen.passing, since, now_ns)
    waiting = {link.name for link in seen.links if link.state == "waiting"}
    beyond = read_alarms.out_of_reach(seen.link_of_row, down, waiting, silent)
    links = read_alarms.link_alarms(seen.links, since, beyond)
    parts += _behind_links([alarm for alarm, _ in links], seen.links, silent, beyond, now_ns)
    short = under_delivery(seen.intervals, state, pool.pool, len(pool.rows), since, now_ns) if pool else []
    held_up = _held_up(short, [alarm for alarm, _ in links], seen, pool)
    found += [(alarm, 0) for alarm in (*limits, *([] if held_up else short))] + links
    away = {name for name, count in silent.items() if count}
    behind = [alarm for alarm, _ in links if away and alarm.subject in (*away, "links")]
    causes = tells_of([alarm for alarm, _ in found], behind)
    likely, told = _likely(book, seen, state, pool, short, causes, now_ns) if pool else ([], [])
    devices = [alarm for alarm, _ in found]
    found, parts = found + likely, parts + told
    found += over_delivery(state, pool, since, now_ns) if pool else []
    found += refused_by_us(state, now_ns)
    found += event_over(state, since, now_ns) + event_short(state, since, now_ns)
    found += envelopes_over(state, since, now_ns)
    found += settings_refused(state, since, now_ns)
    found += own_way(state, order, cells, devices, above, since, now_ns, book.members)
    found += over_limit(state, order.names, since, now_ns)
    found += read_alarms.journal_alarm(seen.outage, len(state.fleet), since, now_ns)
    found += read_alarms.unkept_alarm(seen.outage, len(state.fleet), since, now_ns)
    found += certificate_alarms(seen.certificates, seen.links, since, now_ns)
    found += engine_alarms(state, since, now_ns)
    return book.keep(found, now_ns, parts + held_up)


def _likely(
    book: read_alarms.AlarmBook,
    seen: Seen,
    state: DeskState,
    pool: PoolDesk,
    short: Sequence[AlarmView],
    causes: Mapping[str, AlarmView],
    now_ns: int,
) -> tuple[Found, list[SuppressedAlarm]]:
    """Return what is likely to lack, as far as it shows, or may not go yet."""
    shows_w = shown_w(state, pool, seen.intervals, now_ns)
    tracked = tracked_causes(state, pool, seen.intervals, now_ns)
    found, parts = likely_short(seen.commitments, pool.pool, short, book.standing(), now_ns, causes, shows_w, tracked)
    if parts:
        return found, parts
    ends_ns = max((one.end_ns for one in seen.commitments if one.start_ns <= now_ns + NEAR_NS), default=0)
    is_told = derive("alarm", "likely", pool.pool) in book.told
    return book.likely.keep(found, ends_ns, is_told, now_ns), parts


def _held_up(
    short: Sequence[AlarmView], links: Sequence[AlarmView], seen: Seen, pool: PoolDesk | None
) -> list[SuppressedAlarm]:
    """Return the alarm of an award that lacks because a dead link holds the desk up: the link's own is its cause."""
    if not short or pool is None or not links or beats_of(seen.intervals[-INTERVALS:], len(pool.rows)) >= SLOW_BEATS:
        return []
    return [SuppressedAlarm(alarm, "by_cause", f"its cause is told: {links[0].title}", links[0].id) for alarm in short]


def _limits_of(
    limits: Sequence[AlarmView], broken: Mapping[str, Sequence[Violation]], above: str, now_ns: int
) -> list[SuppressedAlarm]:
    whole = next((alarm for alarm in limits if alarm.id == derive("alarm", "limit", above)), None)
    if whole is None or above in broken:
        return []
    since = {derive("alarm", "limit", feeder): whole.since_ns for feeder in broken}
    each = read_alarms.each_limit(broken, since, now_ns)
    return [SuppressedAlarm(alarm, "rolled_up", f"told as one: {whole.title}", whole.id) for alarm in each]


def _passing(
    passing: Mapping[str, tuple[Sequence[Violation], float]], since: read_alarms.Since, now_ns: int
) -> list[SuppressedAlarm]:
    """Return the alarms of limits that are broken and need nobody yet."""
    found = []
    for feeder, (violations, heat) in passing.items():
        (alarm,) = read_alarms.each_limit({feeder: violations}, since, now_ns)
        is_loading = any(each.what == "loading" for each in violations)
        why = (
            f"warmed to {heat:.0%} of what its rating bears: a person is called at 100 %"
            if is_loading
            else "its mean over ten minutes is within the limit yet: a person is called once it is not"
        )
        found.append(SuppressedAlarm(alarm, "delayed", why))
    return found


def _behind_links(
    told: Sequence[AlarmView],
    links: Sequence[LinkView],
    silent: Mapping[str, int],
    beyond: Mapping[str, int],
    now_ns: int,
) -> list[SuppressedAlarm]:
    """Return the links that are told as one, and the devices whose silence a link explains."""
    names, parts = {alarm.id: alarm for alarm in told}, []
    whole = names.get(derive("alarm", "links"))
    for link in links:
        own = read_alarms.link_alarm(link, {}, beyond.get(link.name, 0))
        if whole is not None and link.state == "down":
            parts.append(SuppressedAlarm(own, "rolled_up", f"told as one: {whole.title}", whole.id))
        cause = names.get(own.id, whole if link.state == "down" else None)
        if cause is not None and silent.get(link.name):
            count = silent[link.name]
            alarm = AlarmView(
                derive("alarm", "behind", link.name), 3, link.name, f"No telemetry or no answer: {count} devices",
                "Their delivery is not counted and can't be settled", "Mend the link first", 1_800, "/links", count,
                link.since_ns,
            )  # fmt: skip
            parts.append(SuppressedAlarm(alarm, "by_cause", f"its cause is told: {cause.title}", cause.id))
    return parts
