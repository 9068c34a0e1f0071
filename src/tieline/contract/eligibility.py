"""Eligibility: deny by default, first matching rule decides, and every answer names rule, version and source."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError


class EligibilityRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a decision table."""

    id: str
    version: str
    source: str
    certainty: str
    jurisdiction: str | tuple[str, ...]
    program: str | tuple[str, ...]
    kind: str | tuple[str, ...]
    fuel: str | tuple[str, ...]
    allow: bool
    says: str


class Verdict(Struct, frozen=True):
    """Whether, and by which rule."""

    is_eligible: bool
    rule: str
    version: str
    source: str
    says: str


DENIED = Verdict(False, "default-deny", "1", "deny by default", "no rule allows it")


@cache
def eligibility_rules() -> tuple[EligibilityRule, ...]:
    """Return all rules in order. Raises ConfigError naming a row that is not a rule."""
    text = (files("tieline.contract") / "rules" / "eligibility.toml").read_text(encoding="utf-8")
    try:
        return tuple(msgspec.convert(row, EligibilityRule) for row in tomllib.loads(text)["rule"])
    except msgspec.ValidationError as error:
        raise ConfigError(f"eligibility.toml: {error}") from error


def _fits(wanted: str | tuple[str, ...], value: str) -> bool:
    return wanted == "*" or (value in wanted if isinstance(wanted, tuple) else wanted == value)


def eligible(kind: str, fuel: str, jurisdiction: str, program: str) -> Verdict:
    """Return whether a resource of this kind and fuel may serve a program in a jurisdiction."""
    for rule in eligibility_rules():
        fits = _fits(rule.jurisdiction, jurisdiction) and _fits(rule.program, program)
        if fits and _fits(rule.kind, kind) and _fits(rule.fuel, fuel):
            return Verdict(rule.allow, rule.id, rule.version, rule.source, rule.says)
    return DENIED


def eligible_rows(
    kinds: NDArray[np.str_], fuels: NDArray[np.str_], jurisdiction: str, program: str
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which rows may serve a program, and how many each rule refused; one verdict for each kind and fuel."""
    pairs, index = np.unique(np.char.add(np.char.add(kinds, "|"), fuels), return_inverse=True)
    parts = [str(pair).partition("|") for pair in pairs]
    verdicts = [eligible(kind, fuel, jurisdiction, program) for kind, _, fuel in parts]
    allowed = np.array([verdict.is_eligible for verdict in verdicts], np.bool_)
    counts = np.bincount(index, minlength=len(pairs))
    refused: dict[str, int] = {}
    for verdict, count in zip(verdicts, counts, strict=True):
        if not verdict.is_eligible:
            refused[verdict.rule] = refused.get(verdict.rule, 0) + int(count)
    return allowed[index], refused
