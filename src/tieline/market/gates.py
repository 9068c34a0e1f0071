"""When offers close: the gates of market days of 23, 24 and 25 hours, and what is left until the next ones.

Pure functions of an instant that is handed in. A gate at a local time is an instant of one market day; a gate so many
minutes before delivery comes again for each interval (or each hour, where the market counts by hours).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice

from msgspec import Struct

from tieline.market.participation import Gate, Market, Model, at_local
from tieline.times import MINUTE_NS, SECOND_NS, floor_ns, from_ns, iso

LOOK_DAYS = 9
"""How far ahead a gate can still be of a day: the day before, and a week's opening."""


class Closing(Struct, frozen=True):
    """A gate's next closing: what market day and which delivery it is of, and what is left until then (s)."""

    market: str
    gate: str
    models: tuple[str, ...]
    day: str
    closes_ns: int
    closes_local: str
    delivers_ns: int
    delivery_ends_ns: int
    left_s: float

    @property
    def closes(self) -> str:
        """When it closes, UTC."""
        return iso(self.closes_ns)


def closes_ns(market: Market, model: Model, gate: Gate, start_ns: int) -> int:
    """Return when a gate closes for what begins at an instant.

    Args:
        market: Whose clock.
        model: What is offered.
        gate: Which gate.
        start_ns: Start of delivery.
    """
    if gate.minutes_before is not None:
        return counts_from(market, model, gate, start_ns) - round(gate.minutes_before.value * MINUTE_NS)
    return _on(market, gate, market.day_of(model, start_ns), gate.days_before, gate.closes.value if gate.closes else "")


def counts_from(market: Market, model: Model, gate: Gate, start_ns: int) -> int:
    """Return from which instant a gate before delivery counts back: the interval's start, or that of its hour."""
    if gate.of_min == 0:
        return start_ns
    # Hours are counted from the market day's start, as a zone's offset need not be whole hours.
    begins_ns = market.day(model, market.day_of(model, start_ns)).start_ns
    return begins_ns + floor_ns(start_ns - begins_ns, gate.of_min * MINUTE_NS)


def opens_ns(market: Market, model: Model, gate: Gate, start_ns: int) -> int | None:
    """Return from when offers are taken for what begins at an instant; None: the table does not say."""
    if gate.opens is None:
        return None
    return _on(market, gate, market.day_of(model, start_ns), gate.opens_days_before, gate.opens.value)


def _on(market: Market, gate: Gate, day: date, before: int, time: str) -> int:
    hour, _, minute = time.partition(":")
    return at_local(day - timedelta(days=before), (int(hour), int(minute)), market.clock)


def upcoming(market: Market, now_ns: int, ahead: int = 1) -> list[Closing]:
    """Return the next closings of every gate of a market, the nearest first.

    Args:
        market: Which.
        now_ns: The instant; a gate that closes at it has closed.
        ahead: How many closings a gate.
    """
    found: list[Closing] = []
    for gate in market.gate:
        mine = [model for model in market.model if gate.id in model.gates]
        # Models of one gate may begin their days differently: each kind of day is a row of its own.
        kinds = dict.fromkeys((m.day_begins, m.day_begins_before, m.number("interval_min")) for m in mine)
        for kind in kinds:
            alike = [m for m in mine if (m.day_begins, m.day_begins_before, m.number("interval_min")) == kind]
            names = tuple(dict.fromkeys(m.id for m in alike))
            found += islice(_closings(market, alike[0], gate, names, now_ns), ahead)
    return sorted(found, key=lambda one: (one.closes_ns, one.gate, one.models))


def _closings(market: Market, model: Model, gate: Gate, names: tuple[str, ...], now_ns: int) -> Iterator[Closing]:
    today = market.day_of(model, now_ns)
    for back in range(-1, LOOK_DAYS):
        day = today + timedelta(days=back)
        last = None
        for over in _deliveries(market, model, gate, day):
            closes = closes_ns(market, model, gate, over[0])
            if closes <= now_ns or closes == last:
                continue
            last = closes
            local = from_local(market, closes)
            yield Closing(
                market.id, gate.id, names, day.isoformat(), closes, local, over[0], over[1],
                (closes - now_ns) / SECOND_NS,
            )  # fmt: skip


def _deliveries(market: Market, model: Model, gate: Gate, day: date) -> list[tuple[int, int]]:
    """Return what one closing of a gate is of: the whole market day, or each of its intervals."""
    whole = market.day(model, day)
    if gate.minutes_before is None:
        return [(whole.start_ns, whole.end_ns)]
    if gate.of_min:
        return [(one.start_ns, one.end_ns) for one in whole.steps(gate.of_min * MINUTE_NS)]
    return [(one.start_ns, one.end_ns) for one in market.intervals(model, day)]


def from_local(market: Market, instant_ns: int) -> str:
    """Return an instant on the market's clock with its offset, so that a repeated hour is told from its twin."""
    return from_ns(instant_ns).astimezone(market.clock).isoformat()
