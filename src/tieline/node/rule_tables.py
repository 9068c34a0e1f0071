"""Rules of who may serve, programs, hours of engines, least sizes and places, one form for list, show and compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from tieline.contract.eligibility import CaseTested, eligibility_rules
from tieline.contract.engine_hours import hour_rules
from tieline.contract.jurisdiction import jurisdictions
from tieline.contract.minimum import size_rules
from tieline.contract.programs import sample_programs
from tieline.contract.strict import shipped_rules
from tieline.errors import ConfigError
from tieline.node.known_rules import known_jurisdictions
from tieline.node.rule_kinds import ELIGIBILITY, KINDS


class RuleRow(Struct, frozen=True):
    """A row of one of these tables: what every kind has, and all that it says (`row`, as plain values)."""

    kind: str
    id: str
    version: str
    source: str
    certainty: str
    says: str
    row: dict[str, Any]
    effective_from: str | None = None
    effective_to: str | None = None

    def listed(self) -> dict[str, Any]:
        """Return what a list tells of it."""
        return {
            "rule": self.id, "version": self.version, "effective_from": self.effective_from,
            "effective_to": self.effective_to, "certainty": self.certainty, "kind": self.kind, "says": self.says,
            "source": self.source,
        }  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """Return all that it says, with the cases that test it where there are some."""
        found = {"table": self.kind, **self.row}
        return {**found, "tested": tested(self.id)} if self.kind == ELIGIBILITY else found


def tested_cases() -> list[CaseTested]:
    """Return the cases against which the decision tables are tested, in order."""
    return shipped_rules("eligibility_cases.toml", CaseTested)


def tested(rule: str) -> list[dict[str, Any]]:
    """Return the cases that a rule of eligibility decides."""
    return [msgspec.to_builtins(one) for one in tested_cases() if one.rule == rule]


def rows(kind: str) -> Iterator[RuleRow]:
    """Yield the rows of one of the kinds of this module in the order of its table."""
    match kind:
        case "eligibility":
            for rule in eligibility_rules():
                yield RuleRow(kind, rule.id, rule.version, rule.source, rule.certainty, rule.says, _plain(rule))
        case "program":
            for program in sample_programs():
                row = _plain(program)
                yield RuleRow(
                    kind, program.id, program.version, program.source, program.certainty, program.says, row,
                    row["effective_from"], row["effective_to"],
                )  # fmt: skip
        case "engine-hours":
            for hours in hour_rules().values():
                limits = "; ".join(f"{one.hours:g} h a year of {', '.join(one.uses)}" for one in hours.limits)
                yield RuleRow(kind, hours.id, hours.version, hours.source, hours.certainty, limits, _plain(hours))
        case "minimum":
            for size in size_rules().values():
                yield RuleRow(kind, size.id, size.version, size.source, size.certainty, "", _plain(size))
        case "jurisdiction":
            known = known_jurisdictions()
            for place in jurisdictions().values():
                has = "rules let some serve" if place.code in known else "no rule lets anybody serve (default-deny)"
                says = f"{place.name}: {has}" + (f"; {place.says}" if place.says else "")
                yield RuleRow(kind, place.code, "", place.standard, "", says, {**_plain(place), "has": has})


def _plain(rule: Struct) -> dict[str, Any]:
    return dict(msgspec.to_builtins(rule))


def found(ref: str, kind: str | None) -> list[RuleRow]:
    """Return the rows that ID, or ID@VERSION, names in these tables, of one kind or of any; none: it names none.

    Raises:
        ConfigError: There is such a rule, but no such version.
    """
    name, is_pin, version = ref.partition("@")
    kinds = [one for one in KINDS[2:] if kind in (None, one)]
    every = [row for one in kinds for row in rows(one) if row.id == name]
    asked = [row for row in every if not is_pin or row.version == version]
    if every and not asked:
        known = ", ".join(dict.fromkeys(row.version for row in every))
        raise ConfigError(f"{every[0].kind} rule {ref!r} has no such version: versions are {known or 'none'}")
    return asked


def one_row(ref: str, kind: str | None) -> dict[str, Any] | None:
    """Return the row that is to be compared; None: these tables have none.

    Raises:
        ConfigError: There is no such version, or rules of two kinds have the name.
    """
    asked = found(ref, kind)
    kinds = list(dict.fromkeys(row.kind for row in asked))
    if len(kinds) > 1:
        raise ConfigError(f"{ref}: is the name of rules of {' and '.join(kinds)}: give --kind")
    return asked[-1].row if asked else None
