"""Alarms of what is not a device: links, the journal, broken limits of feeders."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.desk import alarms
from tieline.desk.views import AlarmRate, AlarmView, LinkView, SuppressedAlarm
from tieline.grid.powerflow import Violation
from tieline.ids import derive
from tieline.links.device.mqtt.endings import SESSION_ENDED
from tieline.node.alarm_names import Acknowledged, Names, is_acknowledged
from tieline.node.left_out import NOT_STARTED
from tieline.node.members_since import Members
from tieline.node.outage import Outage
from tieline.node.read_fleet import FAILED, NORMAL, SLOW, STALE, UNKNOWN
from tieline.node.steady import Steady
from tieline.times import MINUTE_NS, SECOND_NS, floor_ns

Since = Mapping[str, int]
TEN_NS, TENS = 10 * MINUTE_NS, 36
DOWN_NS, DEGRADED_NS = MINUTE_NS, 5 * MINUTE_NS
"""On-delays of links (ISA-18.2, 10): they dial again by themselves, and what that mends needs nobody."""
RECORDS_NS = 5 * SECOND_NS
"""A database that fails over, or another that holds the file for a moment, is back by then. It counts from when that
began and not from who looked first: an alarm that comes ten seconds after the first look never comes to who looks once.
"""
MAKES_ROOM = "Make room on its disk, or bring its database back"
RESTARTS = "Start the server again: it goes on from what was recorded. See to its disk or database first"
LEAK = 4
"""Trouble that is there for a fifth of the time or more is told at last: it leaks a quarter as fast as it fills."""
OWN_CAUSES = NOT_STARTED, SESSION_ENDED
"""How what a link says begins where its cause is known, needs a person and is told at once."""
EXPLAINED = (SLOW, FAILED, STALE, UNKNOWN)
BROKEN = "Equipment or customers are outside their limits"
COOLING = 3, "Its equipment is warm from an overload", "Keep it below its rating meanwhile"
"""What is told of a feeder whose loads are within their limits again, and whose equipment still has to cool."""


class Bucket:
    """How long each kind of trouble has lasted: it fills while the trouble is there, and leaks while it is not.

    An on-delay that began anew at every flicker would never tell of a link that is away for half of every minute.
    """

    def __init__(self) -> None:
        """Make an empty bucket."""
        self._levels: dict[str, int] = {}
        self._at_ns = 0

    def lasting(self, found: Sequence[tuple[AlarmView, int]], now_ns: int) -> list[AlarmView]:
        """Return the alarms whose trouble has lasted for its delay.

        Args:
            found: Each alarm whose trouble is there now, and for how long it must be (ns; 0: told at once).
            now_ns: Now.
        """
        passed_ns, self._at_ns = max(now_ns - self._at_ns, 0), now_ns
        leaked = {name: level - passed_ns // LEAK for name, level in self._levels.items()}
        levels = {name: level for name, level in leaked.items() if level > 0}
        kept = []
        for alarm, after_ns in found:
            # What is seen for the first time may have begun only now; what was there before has lasted since then.
            level = min(self._levels[alarm.id] + passed_ns, after_ns) if alarm.id in self._levels else 0
            levels[alarm.id] = level
            if level >= after_ns:
                kept.append(alarm)
        self._levels = levels
        return kept

    def lasted_s(self, name: str) -> float:
        """Return for how long a trouble counts as there (s)."""
        return self._levels.get(name, 0) / SECOND_NS


class AlarmBook:
    """Remembers since when each alarm stands, and when alarms were raised."""

    def __init__(self) -> None:
        """Make an empty book."""
        self.since: dict[str, int] = {}
        self.raised: deque[int] = deque(maxlen=1_000)
        self._seen_ns: dict[str, int] = {}
        self._bucket, self._names = Bucket(), Names()
        self.suppressed: list[SuppressedAlarm] = []
        self.likely, self.members = Steady(), Members()
        self.told: frozenset[str] = frozenset()
        """Which were told at the last look."""

    def standing(self) -> dict[str, int]:
        """Return since when each alarm stands, by the id that it has by its subject, whatever it is shown as."""
        return self._names.standing(self.since)

    def follow(
        self, found: Sequence[tuple[AlarmView, int]], names: Sequence[str], above: str, acknowledged: Acknowledged
    ) -> None:
        """Let alarms of devices that are told wider or narrower than before stay the same: see `Names.follow`."""
        ids = dict.fromkeys(alarm.id for alarm, _ in found)
        self._names.follow(names, above, ids, self.since, acknowledged)

    def keep(
        self, found: Sequence[tuple[AlarmView, int]], now_ns: int, parts: Sequence[SuppressedAlarm] = ()
    ) -> list[AlarmView]:
        """Return the fewest alarms that say what was found and has lasted, and remember them.

        Args:
            found: Each alarm, by its subject's id, and for how long its trouble must last before a person is called
                (ns).
            now_ns: Now.
            parts: What those that were found tell as one already.
        """
        found = [(self._names.shown(alarm, self.since), after_ns) for alarm, after_ns in found]
        told = self._bucket.lasting(found, now_ns)
        kept, self.told = alarms.fewest(told), frozenset(alarm.id for alarm in told)
        self.suppressed = [*self._held_back(found, told, kept), *(self._names.held_back(part) for part in parts)]
        for alarm in kept:
            if alarm.id not in self.since:
                self.raised.append(now_ns)
        # Those that are told as one are known, too: told by themselves later, they are no news.
        everything = {alarm.id: alarm.since_ns for alarm in (*told, *kept)}
        self._seen_ns |= dict.fromkeys(everything, now_ns)
        # One that comes back within ten minutes is the same alarm, not a new one: chattering is no news (ISA-18.2, 16).
        self._seen_ns = {name: at for name, at in self._seen_ns.items() if at > now_ns - TEN_NS}
        self.since = {name: everything.get(name, self.since.get(name, now_ns)) for name in self._seen_ns}
        return kept

    def _so_far(self, alarm: AlarmView, after_ns: int) -> str:
        """Return how long a trouble has lasted of what it must; one that is new has lasted for nothing that counts."""
        lasted_s, after_s = math.floor(self._bucket.lasted_s(alarm.id)), f"{after_ns / SECOND_NS:.0f} s"
        if not lasted_s:
            return f"has just been found: a person is called once it has lasted for {after_s}"
        return f"has lasted for {lasted_s} s of {after_s} until a person is called"

    def _held_back(
        self, found: Sequence[tuple[AlarmView, int]], told: Sequence[AlarmView], kept: Sequence[AlarmView]
    ) -> list[SuppressedAlarm]:
        """Return what was found and isn't shown: each alarm that is neither of `kept` nor nowhere."""
        shown, lasted = {alarm.id for alarm in kept}, {alarm.id for alarm in told}
        more = kept[-1] if kept and kept[-1].id not in lasted else None
        held_back = []
        for alarm, after_ns in found:
            if alarm.id not in lasted:
                held_back.append(SuppressedAlarm(alarm, "delayed", self._so_far(alarm, after_ns)))
            elif alarm.id not in shown and more is not None:
                held_back.append(SuppressedAlarm(alarm, "rolled_up", f"told as one of {more.title}", more.id))
        return held_back


def behind(
    cells: NDArray[np.uint8], link_of: NDArray[np.int16], down: Mapping[int, str]
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Return the cells without the trouble that a link which is down explains, and how many devices that is by link.

    The link's own alarm is the cause, and counts them: a second one, of their silence, would ask for the same act.

    Args:
        cells: State of each row.
        link_of: Code of each row's link; -1: none.
        down: Name of each link that is down, by its code.
    """
    explained, counts = cells.copy(), dict[str, int]()
    for code, name in down.items():
        rows = (link_of == code) & np.isin(cells, EXPLAINED)
        explained[rows] = NORMAL
        counts[name] = int(rows.sum())
    return explained, counts


def out_of_reach(
    link_of: NDArray[np.int16], down: Mapping[int, str], waiting: Collection[str], silent: Mapping[str, int]
) -> dict[str, int]:
    """Return how many devices nothing passes to, by link: all that hang on it, heard of late or not, opted out or not.

    Args:
        link_of: Code of each row's link; -1: none.
        down: Name of each link that is down, by its code.
        waiting: Those of them that nobody has called yet: no device is missed behind one while none is silent.
        silent: How many devices' trouble each link explains, as `behind` has it.
    """
    hang = {name: int((link_of == code).sum()) for code, name in down.items()}
    return {name: 0 if name in waiting and not silent[name] else count for name, count in hang.items()}


def link_alarms(
    links: Sequence[LinkView], since: Since, away: Mapping[str, int] = MappingProxyType({})
) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each link that is not live or whose sessions end, and for how long it must be so; where more
    than three are down, one for all of them: what they share is our own network.

    Args:
        links: All of them.
        since: When each standing alarm began, by id.
        away: How many devices are out of reach for that alone, by link.
    """
    found = []
    # What was left out at the start has a cause of its own, which no network explains.
    # So has a session that its broker ends again and again.
    down = [link for link in links if link.state == "down" and not link.last_error.startswith(OWN_CAUSES)]
    of_all, shared = derive("alarm", "links"), frozenset[str]()
    if len(down) > alarms.WIDE_GROUPS or (of_all in since and len(down) > 1):
        shared, began_ns = frozenset(link.name for link in down), min(link.since_ns for link in down)
        count = sum(away.get(name, 0) for name in shared)
        title = f"{len(down)} of {len(links)} links are down: {', '.join(sorted(shared))}"
        alarm = AlarmView(
            of_all, 1, "links", title, "Nobody is heard over them, and nothing can be commanded",
            "Check this desk's own network first", 900, "/links", max(count, len(down)),
            since.get(of_all, began_ns),
        )  # fmt: skip
        found.append((alarm, DOWN_NS))
    for link in links:
        is_ended = link.last_error.startswith(SESSION_ENDED)
        if (link.state != "live" or is_ended) and link.name not in shared:
            alarm = link_alarm(link, since, away.get(link.name, 0))
            after_ns = DOWN_NS if link.state == "down" else DEGRADED_NS
            # A link that was left out does not dial again: only a person brings it back, or ends what ends its session.
            found.append((alarm, 0 if link.last_error.startswith(OWN_CAUSES) else after_ns))
    return found


def journal_alarm(outage: Outage, count: int, since: Since, now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return the alarm of a journal that takes no records, and for how long that must be so; nothing where it does.

    A failure and a full disk don't pass by themselves: they are told at once.

    Args:
        outage: What can't be recorded, and for how long.
        count: How many devices are commanded from it.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    if not outage.journal:
        return []
    name, does = derive("alarm", "journal"), RESTARTS if outage.has_failed else MAKES_ROOM
    alarm = AlarmView(
        name, 1, "journal", f"Nothing can be recorded: {outage.journal}",
        "Nothing is decided, and every act is refused", does, 300, "/audit", count,
        since.get(name, now_ns - outage.lasted_ns),
    )  # fmt: skip
    return [(alarm, 0 if outage.has_failed or outage.is_full else _left_ns(outage.lasted_ns))]


def unkept_alarm(outage: Outage, count: int, since: Since, now_ns: int) -> list[tuple[AlarmView, int]]:
    """Return the alarm of a log of readings that takes none, as `journal_alarm` does."""
    name = derive("alarm", "readings")
    alarm = AlarmView(
        name, 2, "readings", f"Readings are not kept: {outage.unkept}",
        "Dispatch goes on; what is lost can't be settled by", "Make room on the disk of the data folder", 900,
        "/audit", count, since.get(name, now_ns - outage.unkept_ns),
    )  # fmt: skip
    return [(alarm, _left_ns(outage.unkept_ns))] if outage.unkept else []


def _left_ns(lasted_ns: int) -> int:
    return 0 if lasted_ns >= RECORDS_NS else RECORDS_NS


def link_alarm(link: LinkView, since: Since, count: int) -> AlarmView:
    """Return the alarm of a link that is not live; `count` is how many devices are out of reach for that alone."""
    name = derive("alarm", "link", link.name)
    if link.last_error.startswith(NOT_STARTED):
        return AlarmView(
            name, 2, link.name, f"Link {link.name} ({link.protocol}) is {link.last_error}",
            "Nothing passes over it; the other links run", "Mend the file, then start the server again", 900, "/links",
            max(count, 1), since.get(name, link.since_ns),
        )  # fmt: skip
    if link.last_error.startswith(SESSION_ENDED):
        return AlarmView(
            name, 2, link.name, f"Link {link.name} ({link.protocol}): {link.last_error}",
            "It is away again and again: readings lack, and commands come late or not at all",
            "Set client_id of this link, or of the other client, to an id of its own; the broker's log names both", 900,
            "/links", max(count, 1), since.get(name, link.since_ns),
        )  # fmt: skip
    # A listener whose peer is yet to be set up is no loss; one that never came back after a restart of ours may be.
    waits = link.state == "waiting"
    title = f"Link {link.name} ({link.protocol}) is {link.state}" + (
        ": nobody has called since it began to listen" if waits else ""
    )
    if count:
        title += f": {count} devices behind it are out of reach"
    act = "See whether its peer is to call already, and knows where" if waits else "Check the peer and the network"
    what = "It answers in part: some calls fail or are late" if link.state == "degraded" else "Nothing passes over it"
    return AlarmView(
        name, 3 if waits and not count else 2, link.name, title, what, act, 900, "/links",
        max(count, 1), since.get(name, link.since_ns),
    )  # fmt: skip


def limit_alarms(broken: Mapping[str, Sequence[Violation]], above: str, since: Since, now_ns: int) -> list[AlarmView]:
    """Return one alarm for each feeder with broken limits, or one for all where more than three have them.

    Many feeders at once have one cause above them: an award that ends, heat, or the voltage that all are fed at.

    Args:
        broken: What needs a person, by feeder (from `Exposure.see`).
        above: The group over all feeders; `FLEET` where the registry knows none.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    worst = {feeder: max(found, key=_beyond) for feeder, found in broken.items()}
    told_of_all = derive("alarm", "limit", above)
    if len(broken) > alarms.WIDE_GROUPS or (told_of_all in since and len(broken) > 1):
        feeder = max(worst, key=lambda name: _beyond(worst[name]))
        priority, what, act = 1, BROKEN, "Limit the worst feeders first, or dispatch against it"
        title = f"Limits broken on {len(broken)} feeders; worst: {feeder}, {_words(worst[feeder])}"
        if _is_cooling(worst[feeder]):  # then all of them are within their limits again
            priority, what, act = COOLING
            title = f"{len(broken)} feeders within their limits again; most loaded: {feeder}, {_words(worst[feeder])}"
        count = sum(len(found) for found in broken.values())
        return [
            AlarmView(
                told_of_all, priority, above, title, what, act, 600, "/feeders", count,
                since.get(told_of_all, now_ns),
            )
        ]  # fmt: skip
    return each_limit(broken, since, now_ns)


def each_limit(broken: Mapping[str, Sequence[Violation]], since: Since, now_ns: int) -> list[AlarmView]:
    """Return an alarm for each feeder with broken limits, however many there are."""
    found = []
    for feeder, violations in broken.items():
        name, worst = derive("alarm", "limit", feeder), max(violations, key=_beyond)
        priority, what, act = 1, BROKEN, "Limit the feeder or dispatch against it"
        if _is_cooling(worst):
            priority, what, act = COOLING
        found.append(
            AlarmView(
                name, priority, feeder, _words(worst), what, act, 600, f"/feeder/{feeder}", len(violations),
                since.get(name, now_ns),
            )
        )  # fmt: skip
    return found


def _words(violation: Violation) -> str:
    text = f"{violation.what} {violation.value:.3f} against {violation.limit:.3f}"
    if _is_cooling(violation):
        return f"{violation.place} is warm from an overload: told until it has cooled, {text} now"
    return f"{text} at {violation.place}"


def _beyond(violation: Violation) -> float:
    """Return how far a value is beyond its limit; below 0 where it is within it again, and only warm."""
    over = violation.value - violation.limit
    return -over if violation.what == "voltage low" else over


def _is_cooling(violation: Violation) -> bool:
    return violation.what == "loading" and violation.value <= violation.limit


def rate(raised: Iterable[int], standing: Sequence[AlarmView], now_ns: int) -> AlarmRate:
    """Return how many alarms came in each of the last ten-minute spans, and how many stand in each priority.

    ISA-18.2-2016, table 7: at most one in ten minutes is the aim, more than ten is a flood, and priorities should be
    about 5, 15 and 80 %.
    """
    first_ns = floor_ns(now_ns, TEN_NS) - (TENS - 1) * TEN_NS
    starts = tuple(first_ns + n * TEN_NS for n in range(TENS))
    new = [0] * TENS
    for at_ns in raised:
        place = (at_ns - first_ns) // TEN_NS
        if 0 <= place < TENS:
            new[place] += 1
    one, two, three = (sum(1 for alarm in standing if alarm.priority == priority) for priority in (1, 2, 3))
    return AlarmRate(starts, tuple(new), (one, two, three))


def acknowledged_as(alarm: AlarmView, acknowledged: Acknowledged) -> AlarmView:
    """Return an alarm with who acknowledged it, if that was since it began."""
    if not is_acknowledged(alarm.id, alarm.since_ns, acknowledged):
        return alarm
    by = str(acknowledged[alarm.id].get("by", ""))
    return msgspec.structs.replace(alarm, is_acknowledged=True, acknowledged_by=by)
