"""Baseline rules as data: every "X of Y" rule is a row of `rules/baselines.toml`, one a version, with its source.

A rule's versions follow each other without a gap: the local day of an event chooses the one in force, `RULE@VERSION`
pins one. A version without a last day ends where the next one begins. Files of one's own add rules and later versions
in the same form; what they add never changes what a row that was there says.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.market.rule_rows import chain_faults, day_before, day_in, placed, row_faults

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
SHIPPED = "baselines.toml"
DAYS = ("effective_from", "effective_to")
By = Literal["event day", "pinned", "former statement"]


class OtherDays(Struct, frozen=True, forbid_unknown_fields=True):
    """How days are picked on weekends and holidays, where that differs; `weights` go to the most recent first."""

    pool_n: int
    pick_n: int
    weights: tuple[float, ...] = ()


class BaselineRule(Struct, frozen=True, forbid_unknown_fields=True):
    """How days are chosen and the mean is adjusted; see the data file for the meaning of each field."""

    id: str
    version: str
    source: str
    certainty: str
    level: Literal["meter", "registration", "resource"]
    day_types: Literal["weekday-or-not", "weekday-saturday-sunday", "every-day"]
    window_days: int
    pool_n: int
    min_n: dict[Literal["business", "other"], int]
    pick: Literal[
        "all", "highest", "middle", "nearest-temperature", "most-similar", "same-day", "last-reading", "hourly-model",
        "control-group", "matched-controls", "firm-service",
    ]  # fmt: skip
    pick_n: int = 0
    other: OtherDays | None = None
    lag_days: int = 0
    low_use_frac: float = 0.0
    adjust: Literal["none", "ratio", "additive"] = "none"
    adjust_before: tuple[float, float] | None = None
    adjust_after: tuple[float, float] | None = None
    own_before: tuple[float, float] | None = None
    own_after: tuple[float, float] | None = None
    adjust_low: float = 0.0
    adjust_high: float = float("inf")
    is_sample: bool = False
    """Whether the meters are a sample that stands for the whole population."""
    effective_from: str = ""
    """First day on which the version is in force (ISO 8601); empty: not known, and not tested."""
    effective_to: str = ""
    """Last day on which it is, that included; empty: until the next version, or not known."""
    is_own: bool = False
    """Whether the row stands in a file of the user's own."""

    @property
    def needs(
        self,
    ) -> Literal["", "daily temperatures", "hourly temperatures", "controls", "peak_load_kw", "population"]:
        """What the rule asks for beside readings; empty: nothing."""
        if self.is_sample:
            return "population"
        match self.pick:
            case "nearest-temperature":
                return "daily temperatures"
            case "hourly-model":
                return "hourly temperatures"
            case "control-group" | "matched-controls":
                return "controls"
            case "firm-service":
                return "peak_load_kw"
            case _:
                return ""

    @property
    def ref(self) -> str:
        """The name by which this version is pinned."""
        return f"{self.id}@{self.version}"

    @property
    def row_hash(self) -> str:
        """Hash of all that the row says."""
        return blake2b(msgspec.json.encode(self.as_rows(), order="sorted"), digest_size=12).hexdigest()

    @property
    def stamp(self) -> str:
        """What inputs are hashed with: the version, and of a row of one's own the hash of what it says, too."""
        return f"{self.version}:{self.row_hash}" if self.is_own else self.version

    def require_in_force(self, day: date) -> None:
        """Do nothing on a day on which the rule is in force. Raises ConfigError with the day from which it is."""
        if self.effective_from and day.isoformat() < self.effective_from:
            raise ConfigError(
                f"baseline rule {self.id!r} is in force from {self.effective_from}: the event is on {day}"
            )

    def as_rows(self) -> dict[str, Any]:
        """Return every field of the rule by name, those left out at their default; for a screen or a comparison.

        What few rows have is left out where a row hasn't: kept statements hold rows as they were written.
        """
        fields: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("effective_to", "is_own"):
            if not fields[name]:
                del fields[name]
        return {name: None if value == float("inf") else value for name, value in fields.items()}


class InForce(Struct, frozen=True):
    """A version that an event is settled by, and why it is that one.

    `first` and `last` are the days on which it is in force (ISO 8601; empty: not known); of a pinned one those that its
    own row gives, whatever versions stand beside it.
    """

    rule: BaselineRule
    by: By
    day: date
    first: str = ""
    last: str = ""
    notes: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know: notes, and that a pinned version had ended by then."""
        ended = self.rule.effective_to
        if self.by != "pinned" or not ended or self.day.isoformat() <= ended:
            return self.notes
        told = f"version {self.rule.version} is pinned: it was in force to {ended}, the event is on {self.day}"
        return (*self.notes, told)

    def told(self) -> dict[str, str | None]:
        """Return why it is this version, as a program reads it."""
        return {"by": self.by, "day": self.day.isoformat(), "from": self.first or None, "to": self.last or None}


@dataclass(frozen=True, slots=True, eq=False)
class RuleTable:
    """Every version of every rule, the oldest of each first; made by `parse_rules`, which checks that they follow."""

    rules: Mapping[str, tuple[BaselineRule, ...]]

    def every(self) -> list[BaselineRule]:
        """Return every version of every rule, by name and then by day."""
        return [one for _, versions in sorted(self.rules.items()) for one in versions]

    def newest(self) -> dict[str, BaselineRule]:
        """Return the last version of each rule by its name."""
        return {name: versions[-1] for name, versions in self.rules.items()}

    def versions(self, name: str) -> tuple[BaselineRule, ...]:
        """Return the versions of a rule, the oldest first. Raises ConfigError naming the rules that exist."""
        if name not in self.rules:
            raise ConfigError(f"baseline rule {name!r} is unknown: give one of {', '.join(sorted(self.rules))}")
        return self.rules[name]

    def span(self, rule: BaselineRule) -> tuple[str, str]:
        """Return the first and last day of a version (ISO 8601; empty: not known), its end where the next begins."""
        versions = self.rules[rule.id]
        at = versions.index(rule)
        if rule.effective_to or at + 1 == len(versions):
            return rule.effective_from, rule.effective_to
        return rule.effective_from, day_before(versions[at + 1].effective_from)

    def named(self, ref: str) -> BaselineRule:
        """Return the version that `RULE@VERSION` pins, or the newest of `RULE`.

        Raises:
            ConfigError: There is no such rule, or no such version of it; those that exist are named.
        """
        name, is_pin, version = ref.partition("@")
        versions = self.versions(name)
        if not is_pin:
            return versions[-1]
        for one in versions:
            if one.version == version:
                return one
        raise ConfigError(f"baseline rule {name!r}: version {version!r} is unknown: give one of {self._told(name)}")

    def holding(self, name: str, day: date) -> InForce | None:
        """Return the version of a rule that is in force on a local day, or None. Raises ConfigError as `versions`."""
        for rule in self.versions(name):
            first, last = self.span(rule)
            if first <= day.isoformat() and (not last or day.isoformat() <= last):
                return InForce(rule, "event day", day, first, last)
        return None

    def on(self, ref: str, day: date) -> InForce:
        """Return the version of a rule that is in force on a local day, or the one that `RULE@VERSION` pins.

        A pinned one may have ended by then (its flags say so), as a statement that was made by it is made again.

        Raises:
            ConfigError: There is no such rule or version, none is in force on that day, or the pinned one was not yet;
                the days that exist are named.
        """
        name, is_pin, _ = ref.partition("@")
        if is_pin:
            rule = self.named(ref)
            if rule.effective_from and day.isoformat() < rule.effective_from:
                span = f"from {rule.effective_from}: the event is on {day}"
                raise ConfigError(f"baseline rule {ref!r} is in force {span}: versions are {self._told(name)}")
            return InForce(rule, "pinned", day, rule.effective_from, rule.effective_to)
        held = self.holding(name, day)
        if held is not None:
            return held
        versions = self.rules[name]
        span = _span(versions[0].effective_from, versions[-1].effective_to)
        raise ConfigError(
            f"baseline rule {name!r} is in force {span}: the event is on {day}: versions are {self._told(name)}"
        )

    def _told(self, name: str) -> str:
        spans = ((one.version, *self.span(one)) for one in self.rules[name])
        return ", ".join(f"{version} ({first or '...'} to {last or '...'})" for version, first, last in spans)


def _span(first: str, last: str) -> str:
    told = " ".join(f"{word} {day}" for word, day in (("from", first), ("to", last)) if day)
    return told or "from and to days that are not known"


def parse_rules(text: str, name: str, beside: RuleTable | None = None) -> RuleTable:
    """Return the versions of a table's text: rows under `[RULE]`, or under `[[RULE]]` where there are several.

    Args:
        text: TOML.
        name: What the table is called in what is said of it.
        beside: A table that it adds rules and later versions to; its own rows are one's own (`is_own`) then.

    Raises:
        ConfigError: A row is not a version of a rule, two versions of a rule hold on one day, or none does on a day
            between two; every fault is told with file, row, field and value.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    faults: list[str] = []
    found: dict[str, list[tuple[str, BaselineRule]]] = {}
    if beside is not None:
        found = {rule: [("", one) for one in versions] for rule, versions in beside.rules.items()}
    for rule, value in document.items():
        many = isinstance(value, list)
        rows: list[Any] = value if isinstance(value, list) else [value]
        if not NAME.fullmatch(rule):
            faults.append(f"$.{rule!r}: give a rule's name of A-Z a-z 0-9 . _ - alone, a letter or digit first")
        elif not rows or not all(isinstance(row, dict) for row in rows):
            faults.append(f"$.{rule} = {value!r}: give a row under [{rule}], or versions each under [[{rule}]]")
        else:
            for at, row in enumerate(rows):
                where = f"$.{rule}[{at}]" if many else f"$.{rule}"
                one = _row(row, rule, where, beside is not None or name != SHIPPED, faults)
                if one is not None:
                    found.setdefault(rule, []).append((where, one))
    ordered = {rule: sorted(rows, key=lambda each: each[1].effective_from) for rule, rows in found.items()}
    if not faults:
        faults = [fault for rows in ordered.values() for fault in chain_faults(rows)]
    if faults:
        raise ConfigError(f"{name}: " + "; ".join(faults[:20]))
    return RuleTable({rule: tuple(one for _, one in rows) for rule, rows in ordered.items()})


def _row(row: Mapping[str, Any], rule: str, where: str, is_own: bool, faults: list[str]) -> BaselineRule | None:
    """Return a row as a version; what is wrong with it is added to `faults`."""
    before = len(faults)
    for field in ("id", "is_own"):
        if field in row:
            faults.append(f"{where}.{field} = {row[field]!r}: is unknown: leave it out")
    dated = dict(row)
    for field in DAYS:
        if field in row:
            dated[field] = day_in(row[field], f"{where}.{field}", faults)
    if len(faults) > before:
        return None
    try:
        made = msgspec.convert({**dated, "id": rule, "is_own": is_own}, BaselineRule)
    except msgspec.ValidationError as error:
        faults.append(placed(str(error), row, where))
        return None
    for field in ("version", "source", "certainty"):
        text = getattr(made, field)
        if field == "version" and not NAME.fullmatch(text):
            faults.append(f"{where}.version = {text!r}: give a name of A-Z a-z 0-9 . _ - alone")
        elif not text.strip():
            faults.append(f"{where}.{field} = {text!r}: give one: an answer names it")
    if made.effective_from and made.effective_to and made.effective_to < made.effective_from:
        limit = f"give {made.effective_from}, its first day, or later"
        faults.append(f"{where}.effective_to = {made.effective_to!r}: {limit}")
    faults += [f"{where}.{field} = {value!r}: {says}" for field, value, says in row_faults(made)]
    return made if len(faults) == before else None


@cache
def rule_table() -> RuleTable:
    """Return all versions of all baseline rules that come with Tieline.

    Raises:
        ConfigError: A row of the data file is not a rule; its path is named.
    """
    return parse_rules((files("tieline.market") / "rules" / SHIPPED).read_text(encoding="utf-8"), SHIPPED)


def baseline_rules() -> dict[str, BaselineRule]:
    """Return the newest version of all baseline rules by id."""
    return rule_table().newest()


def baseline_rule(ref: str) -> BaselineRule:
    """Return the newest version of a rule, or the one that `RULE@VERSION` pins. Raises ConfigError naming all."""
    return rule_table().named(ref)


def rule_in_force(ref: str, day: date) -> InForce:
    """Return the version of a rule that is in force on an event's local day; see `RuleTable.on`.

    >>> rule_in_force("gb-dfs-10-of-10", date(2023, 1, 23)).last
    '2023-10-29'
    """
    return rule_table().on(ref, day)
