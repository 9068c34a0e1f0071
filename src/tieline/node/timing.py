"""When a story opens, ends, and plays its scenes: a whole day from its eve, or an afternoon of an hour or more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time

from tieline.node.asked import require_length
from tieline.node.stage import begins_ns
from tieline.simulate.iso.prices import ZONE
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, to_ns

DAY_AND_EVE_NS = DAY_NS + HOUR_NS + 31 * MINUTE_NS
LONG_NS = 6 * HOUR_NS
OFFERS_ON_EVE_NS, OFFERS_AFTER_NS = 10 * MINUTE_NS, 2 * MINUTE_NS
"""When the pool offers, after the opening; the auction follows."""
RAISING_S, UNHURRIED = 20.0, 60.0
"""How long raising may take (s of the wall), and up to which speed the half hour before the first call is enough."""


@dataclass(frozen=True)
class Timing:
    """The instants of a story. `sold_from_ns`: hours that begin earlier can't be offered, as no auction is left."""

    opens_ns: int
    ends_ns: int
    offer_ns: int
    sold_from_ns: int
    disturb_ns: int
    override_ns: int
    opt_out_ns: int
    cancel_ns: int
    calm_ns: int


def timing(day: date, length_ns: int, on_wire: bool = False) -> Timing:
    """Return the timing of a story of so many ns: a day opens on its eve, less opens on the day's afternoon.

    Over sockets (`on_wire`) it opens half an hour before its first call, as the wall clock passes while all is raised;
    what it opens earlier comes on top of its length, so that the same length settles the same hour.

    Raises:
        ConfigError: Too short for an auction, a dispatch, a limit that can be judged, and their settlement.
    """
    require_length(length_ns)
    if length_ns == DAY_NS:
        opens_ns = begins_ns(day)
        length_ns = DAY_AND_EVE_NS
        sold_from_ns = _at(day, 0, 0)
        return _fixed(day, opens_ns, opens_ns + length_ns, opens_ns + OFFERS_ON_EVE_NS, sold_from_ns)
    if length_ns >= LONG_NS:
        return living(day, length_ns)
    opens_ns, calls_ns = _at(day, 15, 29) if on_wire else _at(day, 15, 51), _at(day, 16, 0)
    ends_ns = _at(day, 15, 51) + length_ns

    def within(share: float) -> int:
        return calls_ns + int(share * (ends_ns - calls_ns)) // SECOND_NS * SECOND_NS + 7 * SECOND_NS

    return Timing(
        opens_ns, ends_ns, opens_ns + OFFERS_AFTER_NS, calls_ns,
        within(0.15), within(0.20), within(0.45), within(0.75), within(0.85),
    )  # fmt: skip


def living(day: date, length_ns: int) -> Timing:
    """Return the timing of a territory that opens at 13:29, half an hour before its first call."""
    opens_ns = _at(day, 13, 29)
    return _fixed(day, opens_ns, opens_ns + length_ns, opens_ns + OFFERS_AFTER_NS, _at(day, 14, 0))


def clock_starts_ns(opens_ns: int, speed: float) -> int:
    """Return when a paced clock starts, so that a territory that is raised meanwhile stands as the story opens.

    What takes seconds on the wall are hours at 600 times its speed: the gate would close before anything is offered.
    """
    return opens_ns - round(max(speed - UNHURRIED, 0.0) * RAISING_S) * SECOND_NS


def _fixed(day: date, opens_ns: int, ends_ns: int, offer_ns: int, sold_from_ns: int) -> Timing:
    """Return a timing whose scenes are played by the clock of the market day."""
    apart_ns = 7 * SECOND_NS  # off the beat, so that a scene never falls on a step's own instant
    scenes = [_at(day, hour, minute) + apart_ns for hour, minute in ((15, 20), (16, 20), (16, 45), (17, 10), (17, 40))]
    return Timing(opens_ns, ends_ns, offer_ns, sold_from_ns, *scenes)


def _at(day: date, hour: int, minute: int) -> int:
    return to_ns(datetime.combine(day, time(hour, minute), tzinfo=ZONE))
