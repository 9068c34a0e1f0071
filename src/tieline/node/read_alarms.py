"""Alarms of what is not a device: links, broken limits, a group above its limit, a pool that falls short."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tieline.desk import alarms
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmRate, AlarmView, LinkView
from tieline.ids import derive
from tieline.node.read_fleet import GridReading, given_w, known_sum, limits_on_groups
from tieline.resource.identity import Kind
from tieline.times import MINUTE_NS, floor_ns

Since = Mapping[str, int]
TEN_NS, TENS = 10 * MINUTE_NS, 36
SHORT_FRAC, SHORT_FOR_NS, LEAST_SAMPLES = 0.9, 15 * MINUTE_NS, 10


class AlarmBook:
    """Remembers since when each alarm stands, and when alarms were raised."""

    def __init__(self) -> None:
        """Make an empty book."""
        self.since: dict[str, int] = {}
        self.raised: deque[int] = deque(maxlen=1_000)
        self._seen_ns: dict[str, int] = {}

    def keep(self, found: Sequence[AlarmView], now_ns: int) -> list[AlarmView]:
        """Return the fewest alarms that say what was found, and remember them."""
        kept = alarms.fewest(list(found))
        for alarm in kept:
            if alarm.id not in self.since:
                self.raised.append(now_ns)
            self._seen_ns[alarm.id] = now_ns
        # One that comes back within ten minutes is the same alarm, not a new one: chattering is no news (ISA-18.2, 16).
        self._seen_ns = {name: at for name, at in self._seen_ns.items() if at > now_ns - TEN_NS}
        standing = {alarm.id: alarm.since_ns for alarm in kept}
        self.since = {name: standing.get(name, self.since.get(name, now_ns)) for name in self._seen_ns}
        return kept


def link_alarms(links: Sequence[LinkView], since: Since) -> list[AlarmView]:
    """Return an alarm for each link that is not live."""
    found = []
    for link in links:
        if link.state == "live":
            continue
        name = derive("alarm", "link", link.name)
        title = f"Link {link.name} ({link.protocol}) is {link.state}"
        found.append(
            AlarmView(
                name, 2, link.name, title, "Nothing passes over it", "Check the peer and the network", 900, "/links", 1,
                since.get(name, link.since_ns),
            )
        )  # fmt: skip
    return found


def limit_alarms(grid: Mapping[str, GridReading], since: Since, now_ns: int) -> list[AlarmView]:
    """Return one alarm for each feeder with broken limits, naming the worst."""
    found = []
    for feeder, reading in grid.items():
        if not reading.violations:
            continue
        worst = max(reading.violations, key=lambda v: abs(v.value - v.limit))
        name = derive("alarm", "limit", feeder)
        title = f"{worst.what} {worst.value:.3f} against {worst.limit:.3f} at {worst.place}"
        found.append(
            AlarmView(
                name, 1, feeder, title, "Equipment or customers are outside their limits",
                "Limit the feeder or dispatch against it", 600, f"/feeder/{feeder}", len(reading.violations),
                since.get(name, now_ns),
            )
        )  # fmt: skip
    return found


def over_limit(state: DeskState, feeders: Sequence[str], since: Since, now_ns: int) -> list[AlarmView]:
    """Return an alarm for each group whose devices stand above the limit that was asked for it.

    A limit on generation counts what its devices give: what others draw meanwhile makes none of it good.
    """
    found = []
    for group, (_, high_w) in limits_on_groups(state, now_ns).items():
        sum_w = given_w if state.fleet.holds(group) and state.fleet.kind_of(group) is Kind.GENERATION else known_sum
        power_w = sum_w(state.fleet.power_w[state.fleet.leaves(group)])
        if high_w is None or power_w is None or power_w <= high_w + max(5_000.0, 0.03 * abs(high_w)):
            continue
        name = derive("alarm", "over", group)
        link = f"/feeder/{group}" if group in feeders else f"/resource/{group}"
        found.append(
            AlarmView(
                name, 2, group, f"Over its limit by {(power_w - high_w) / 1e3:.0f} kW",
                "The grid operator's limit is broken", "See which devices don't follow", 300, link, 1,
                since.get(name, now_ns),
            )
        )  # fmt: skip
    return found


def shortfall(
    samples: Sequence[tuple[int, float | None, float | None]], pool: str, since: Since, now_ns: int
) -> list[AlarmView]:
    """Return an alarm where a pool delivered under 90 % of what it was told over a quarter of an hour.

    Args:
        samples: (instant, instructed W, delivered W), oldest first; None where nothing was owed or known.
        pool: Whose.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    told = [(asked, gave or 0.0) for at, asked, gave in samples if at > now_ns - SHORT_FOR_NS and asked]
    if len(told) < LEAST_SAMPLES:
        return []
    asked_w = sum(abs(asked) for asked, _ in told)
    gave_w = sum(gave if asked > 0 else -gave for asked, gave in told)
    if gave_w >= SHORT_FRAC * asked_w:
        return []
    name = derive("alarm", "short", pool)
    title = f"Delivered {100 * gave_w / asked_w:.0f} % of the instruction over 15 min"
    return [
        AlarmView(
            name, 2, pool, title, "Imbalance is charged and performance falls", "See what limits the pool", 600,
            "/market", 1, since.get(name, now_ns),
        )
    ]  # fmt: skip


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


def acknowledged_as(alarm: AlarmView, acknowledged: Mapping[str, Mapping[str, object]]) -> AlarmView:
    """Return an alarm with who acknowledged it, if that was since it began."""
    body = acknowledged.get(alarm.id)
    if body is None or body.get("since_ns") != alarm.since_ns:
        return alarm
    return msgspec.structs.replace(alarm, is_acknowledged=True, acknowledged_by=str(body.get("by", "")))
