"""Eligibility: deny by default, first matching rule decides, and every answer names rule, version and source.

A rule that allows must name what it allows; a jurisdiction, program, kind or fuel that is mistyped or new is therefore
refused until a rule says otherwise. Four places ask: enrolment (`enrol`), the reservation book (its capacity counts
eligible rows alone), dispatch (the same mask), and settlement (`net_performance` takes prohibited output off).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.resource.claim import Refusal

Floats = NDArray[np.float64]
Words = str | tuple[str, ...]
EventKind = Literal["market", "test", "emergency"]
Order = Literal["", "permits", "permits_disadvantaged"]
NAMED = ("jurisdiction", "program", "kind", "fuel")
DEFAULT = "default-deny"
FOSSIL = frozenset({"diesel", "natural_gas", "gasoline", "propane", "lpg"})


class EligibilityRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a decision table."""

    id: str
    version: str
    source: str
    certainty: str
    jurisdiction: Words
    program: Words
    kind: Words
    fuel: Words
    allow: bool
    says: str
    location: Words = "*"
    event: Words = "*"
    order: Words = "*"
    pays_rest: bool = True
    """Whether what a denied resource's site reduced besides is paid; no: while it ran, nothing of the site is."""


class Case(Struct, frozen=True):
    """What is asked about: who (kind, fuel, where) for what (program, event), and under which order, if any.

    `location` is "" or `disadvantaged_community`; `order` says whether an executive order in force permits prohibited
    resources, and whether it names disadvantaged communities.
    """

    kind: str
    fuel: str
    jurisdiction: str
    program: str
    location: str = ""
    event: EventKind = "market"
    order: Order = ""


class CaseTested(Case, frozen=True, forbid_unknown_fields=True):
    """A case with the answer that the rule's own text gives, against which the tables are tested."""

    may: bool = False
    rule: str = DEFAULT


class Verdict(Struct, frozen=True):
    """Whether, and by which rule."""

    is_eligible: bool
    rule: str
    version: str
    source: str
    says: str
    pays_rest: bool = True

    def refusal(self, case: Case) -> Refusal | None:
        """Return the refusal that this verdict is, or None where it allows."""
        if self.is_eligible:
            return None
        given = f"{case.kind} on {case.fuel} in {case.jurisdiction or '(none)'} for {case.program or '(none)'}"
        return Refusal(self.says, "fuel", given, self.source, rule=f"{self.rule} {self.version}")


DENIED = Verdict(False, DEFAULT, "1", "deny by default", "no rule allows it")


@cache
def eligibility_rules() -> tuple[EligibilityRule, ...]:
    """Return all rules in order. Raises ConfigError naming a row that is not a rule."""
    text = (files("tieline.contract") / "rules" / "eligibility.toml").read_text(encoding="utf-8")
    return parse_rules(text)


def parse_rules(text: str) -> tuple[EligibilityRule, ...]:
    """Return the rules of a table.

    Raises:
        ConfigError: A row is not a rule, or it allows by "*", or "US-*", what it must name; the row is named.
    """
    try:
        rules = tuple(msgspec.convert(row, EligibilityRule) for row in tomllib.loads(text).get("rule", ()))
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"eligibility.toml: {error}") from error
    for rule in rules:
        for name in NAMED:
            words = getattr(rule, name)
            if rule.allow and any(word.endswith("*") for word in _listed(words)):
                raise ConfigError(f"eligibility.toml: {rule.id}: {name} = '*': a rule that allows names each one")
    return rules


def _listed(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words


def _fits(wanted: Words, value: str) -> bool:
    return any(value.startswith(word[:-1]) if word.endswith("*") else word == value for word in _listed(wanted))


def judge(case: Case, rules: Sequence[EligibilityRule] | None = None) -> Verdict:
    """Return the verdict of the first rule that fits a case; none fits: denied."""
    for rule in eligibility_rules() if rules is None else rules:
        fits = all(_fits(getattr(rule, name), getattr(case, name)) for name in (*NAMED, "location", "event", "order"))
        if fits:
            return Verdict(rule.allow, rule.id, rule.version, rule.source, rule.says, rule.pays_rest)
    return DENIED


def eligible(kind: str, fuel: str, jurisdiction: str, program: str) -> Verdict:
    """Return whether a resource of this kind and fuel may serve a program's market events in a jurisdiction."""
    return judge(Case(kind, fuel, jurisdiction, program))


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """Who of a group may serve a program: a mask, and for each row the verdict that says why; shape (n,)."""

    program: str
    may_serve: NDArray[np.bool_]
    verdict_of: NDArray[np.int32]
    verdicts: tuple[Verdict, ...]
    cases: tuple[Case, ...]

    @property
    def refused(self) -> dict[str, int]:
        """How many rows each rule refused."""
        counts = np.bincount(self.verdict_of, minlength=len(self.verdicts))
        found: dict[str, int] = {}
        for verdict, count in zip(self.verdicts, counts.tolist(), strict=True):
            if not verdict.is_eligible and count:
                found[verdict.rule] = found.get(verdict.rule, 0) + count
        return found

    def refusal(self, row: int) -> Refusal | None:
        """Return why a row may not serve, or None."""
        at = int(self.verdict_of[row])
        return self.verdicts[at].refusal(self.cases[at])


def enrol(
    kinds: NDArray[np.str_],
    fuels: NDArray[np.str_],
    jurisdiction: str,
    program: str,
    location: str = "",
    event: EventKind = "market",
    order: Order = "",
) -> Enrolment:
    """Return who may serve a program; one verdict for each pair of kind and fuel that there is."""
    (kind_names, kind_at), (fuel_names, fuel_at) = _coded(kinds), _coded(fuels)
    pair = kind_at * len(fuel_names) + fuel_at
    # Few pairs in any number of rows: counting them is far cheaper than sorting a text for each row.
    there = np.flatnonzero(np.bincount(pair, minlength=len(kind_names) * len(fuel_names)))
    place = np.zeros(len(kind_names) * len(fuel_names), np.int32)
    place[there] = np.arange(len(there), dtype=np.int32)
    cases = tuple(
        Case(
            kind_names[at // len(fuel_names)],
            fuel_names[at % len(fuel_names)],
            jurisdiction,
            program,
            location,
            event,
            order,
        )
        for at in there.tolist()
    )
    verdicts = tuple(judge(case) for case in cases)
    allowed = np.array([verdict.is_eligible for verdict in verdicts], np.bool_)
    index = place[pair]
    return Enrolment(program, allowed[index] if len(index) else np.zeros(0, np.bool_), index, verdicts, cases)


def _coded(words: NDArray[np.str_]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different words in order, and which of them stands in each row."""
    found: list[str] = []
    at, left = np.zeros(len(words), np.int64), np.ones(len(words), np.bool_)
    while left.any():
        word = words[int(left.argmax())]
        same = words == word
        at[same] = len(found)
        found.append(str(word))
        left &= ~same
    ranked = sorted(range(len(found)), key=found.__getitem__)
    place = np.empty(len(found), np.int64)
    place[ranked] = np.arange(len(found))
    return [found[k] for k in ranked], (place[at] if len(at) else at)


def eligible_rows(
    kinds: NDArray[np.str_], fuels: NDArray[np.str_], jurisdiction: str, program: str
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which rows may serve a program, and how many each rule refused."""
    enrolled = enrol(kinds, fuels, jurisdiction, program)
    return enrolled.may_serve, enrolled.refused


def net_performance(performance: Floats, prohibited: Floats) -> Floats:
    """Return performance less what prohibited resources put out meanwhile, 0 or more.

    `P_net = max(0, P - G_prohibited)` (CPUC Resolution E-4906): load that a diesel engine served was not reduced.
    A performance below 0 stays as it is: nothing was gained by the engine.
    """
    lowered: Floats = np.where(performance > 0, np.maximum(performance - np.maximum(prohibited, 0.0), 0.0), performance)
    return lowered


def paid_performance(verdict: Verdict, performance: Floats, prohibited: Floats) -> Floats:
    """Return which part of a site's performance is paid, by the verdict on the engine that ran there meanwhile.

    An engine that may serve counts; one that may not is taken off (`net_performance`); where its rule says so, nothing
    of the site is paid while it ran: test events and disadvantaged communities (CPUC Resolution E-4906).
    """
    if verdict.is_eligible:
        return performance
    if verdict.pays_rest:
        return net_performance(performance, prohibited)
    left: Floats = np.where(prohibited > 0, np.minimum(performance, 0.0), performance)
    return left
