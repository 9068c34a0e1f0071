"""The report of a season: every event, every group, why it fell short, how evenly calls fell, and the scorecard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.ids import derive
from tieline.market.settlement import shortfall_causes
from tieline.pool.document import Cell, Column, Document, Table
from tieline.pool.performance import Fairness, Score, by_event, by_group, fairness, followed, in_all
from tieline.pool.scorecard import Mark, scorecard
from tieline.pool.settled import Settled
from tieline.times import from_ns

Floats = NDArray[np.float64]
SCORES = (
    Column("name", "name"), Column("events", "events", "number"), Column("hours", "hours", "number"),
    Column("committed_kwh", "sold kWh", "number"), Column("baseline_kwh", "baseline kWh", "number"),
    Column("delivered_kwh", "delivered kWh", "number"), Column("performance", "of sold", "number"),
    Column("excused_performance", "with excused", "number"), Column("surplus_kwh", "surplus kWh", "number"),
    Column("rebound_kwh", "came back kWh", "number"), Column("snapback", "of delivered", "number"),
)  # fmt: skip
GROUPS = ("program", "feeder", "customer")


class Season:
    """What the events of a season came to; each part once."""

    def __init__(self, events: Sequence[Settled], members: Iterable[str] = (), delays_s: Floats | None = None) -> None:
        """Take what stands of each event, customers who could be called, and delays of readings (s)."""
        self.events = sorted(events, key=lambda one: (one.start_ns, one.program))
        self.all = in_all(self.events)
        self.by_event = by_event(self.events)
        self.groups = {
            "program": by_group(self.events, lambda one, part: one.program),
            "feeder": by_group(self.events, lambda one, part: part.feeder),
            "customer": by_group(self.events, lambda one, part: part.customer),
        }
        self.fairness: Fairness = fairness(self.events, members)
        self.marks: list[Mark] = scorecard(self.events, delays_s)

    def event_name(self, at: int) -> str:
        """Return what an event is called: its program and when it began."""
        one = self.events[at]
        return f"{one.program} {from_ns(one.start_ns).astimezone(ZoneInfo(one.zone)).isoformat()}"

    def document(self) -> Document:
        """Return the report on paper."""
        names = [self.event_name(at) for at in range(len(self.events))]
        first, last = (names[0], names[-1]) if names else ("none", "none")
        inputs = derive("season", *(one.basis.statement for one in self.events))
        gini = self.fairness.gini
        tables = [
            _scores("all", "In all", [self.all], [""]),
            _scores("event", "Events", self.by_event, names),
            _following(self.events, names),
            _lacks("event_cause", "Why events fell short", self.by_event, names),
            *(_scores(word, f"By {word}", self.groups[word], _names(self.groups[word])) for word in GROUPS),
            *(_lacks(f"{word}_cause", f"Why, by {word}", self.groups[word], _names(self.groups[word]))
              for word in GROUPS),
            _calls(self.fairness),
            _marks(self.marks),
        ]  # fmt: skip
        head = (
            ("report", inputs), ("events", str(len(self.events))), ("first", first), ("last", last),
            ("Gini of called hours", f"{gini:.4f}"),
            ("bars of a peaker met", f"{sum(mark.is_met is True for mark in self.marks)} of {len(self.marks)}"),
        )  # fmt: skip
        return Document(inputs, "Report of a season", head, tuple(tables))


def _names(scores: Sequence[Score]) -> list[str]:
    return [score.name or "(not told)" for score in scores]


def _scores(section: str, title: str, scores: Sequence[Score], names: Sequence[str]) -> Table:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, float(s.events), s.hours, s.committed_kwh, s.baseline_kwh, s.delivered_kwh, s.performance,
         s.excused_performance, s.surplus_kwh, s.rebound_kwh, s.snapback)
        for name, s in zip(names, scores, strict=True)
    )  # fmt: skip
    return Table(section, title, SCORES, rows)


def _lacks(section: str, title: str, scores: Sequence[Score], names: Sequence[str]) -> Table:
    known = shortfall_causes()
    columns = (Column("name", "name"), Column("cause", "cause", "word"), Column("excused", "excused"),
               Column("kwh", "kWh", "number"), Column("says", "what it is"))  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, cause, "yes" if known[cause].excused else "no", kwh, known[cause].says)
        for name, score in zip(names, scores, strict=True) for cause, kwh in score.lacks_kwh.items()
    )  # fmt: skip
    return Table(section, title, columns, rows, "" if rows else "Nothing lacked.")


def _following(events: Sequence[Settled], names: Sequence[str]) -> Table:
    columns = (Column("name", "name"), Column("error", "error of sold", "number"),
               Column("held_h", "longest held block h", "number"), Column("shaped", "sold a shape"))  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, how.error, how.held_h, "yes" if how.is_shaped else "no")
        for name, how in zip(names, map(followed, events), strict=True)
    )
    return Table("following", "How events followed what was sold", columns, rows)


def _calls(found: Fairness) -> Table:
    columns = (Column("customer", "customer"), Column("calls", "calls", "number"), Column("hours", "hours", "number"))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (customer, float(found.calls[customer]), hours) for customer, hours in found.hours.items()
    )
    says = f"Gini coefficient of called hours {found.gini:.4f}: 0 all alike, near 1 one had all."
    return Table("calls", "How evenly calls fell", columns, rows, says)


def _marks(marks: Sequence[Mark]) -> Table:
    columns = (
        Column("mark", "mark", "word"), Column("value", "measured", "number"), Column("bar", "bar", "number"),
        Column("unit", "unit"), Column("met", "met"), Column("says", "what it is"), Column("source", "by"),
        Column("ours", "our reading"),
    )  # fmt: skip
    words = {True: "yes", False: "no", None: "not measured"}
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (m.name, m.value, m.bar.bar, m.bar.unit, words[m.is_met], m.bar.says, m.bar.source, m.bar.ours) for m in marks
    )
    return Table("peaker", "Held against a peaker", columns, rows)
