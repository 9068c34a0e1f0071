"""The version that an event is settled again by: the one that its former statement was made with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from tieline.market.rule import BaselineRule, InForce, RuleTable
from tieline.pool.statement_book import StatementBook, series_named
from tieline.store.meter_files import read_event


def rule_of_rows(fields: Mapping[str, Any]) -> BaselineRule:
    """Return the rule that a statement holds whole, as it was when the statement was made."""
    return msgspec.convert({name: value for name, value in fields.items() if value is not None}, BaselineRule)


def kept_or_in_force(
    book: StatementBook, ref: str, rules: RuleTable, program: str, market: str, event_file: Path
) -> InForce:
    """Return by which version of a rule an event is settled.

    That is the one of the former statement of the same program, market and hours, where it was made by that rule, as
    the statement holds it; without one, the version in force on the event's local day. `RULE@VERSION` pins another.

    Raises:
        ConfigError: The event is not what it should be, or there is no such rule or version, or none is in force.
    """
    if "@" not in ref:
        event = read_event(event_file)
        series = book.series.get(series_named(program, market, event.start_ns, event.end_ns))
        if series is not None and series.newest.settled.rule["id"] == ref:
            rule = rule_of_rows(series.newest.settled.rule)
            now = rules.holding(ref, event.day) if ref in rules.rules else None
            notes = () if now is None or now.rule == rule else (_newer(rule, now.rule, event.day),)
            return InForce(rule, "former statement", event.day, rule.effective_from, rule.effective_to, notes)
    rules.named(ref)  # a name that is none is told before a file is read
    return rules.on(ref, read_event(event_file).day)


def _newer(kept: BaselineRule, now: BaselineRule, day: date) -> str:
    told = (
        f"settled by version {kept.version} of {kept.id} as before, though {now.version} is what is in force on {day}"
    )
    return f"{told} now: --rule-version {now.version} settles by that"
