"""Baseline rules as data: every "X of Y" rule is one row of `rules/baselines.toml`, versioned and with its source."""

from __future__ import annotations

import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError


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
    """First day on which the rule is in force (ISO 8601); empty: not known, and not tested."""

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

    def require_in_force(self, day: date) -> None:
        """Do nothing on a day on which the rule is in force. Raises ConfigError with the day from which it is."""
        if self.effective_from and day.isoformat() < self.effective_from:
            raise ConfigError(
                f"baseline rule {self.id!r} is in force from {self.effective_from}: the event is on {day}"
            )

    def as_rows(self) -> dict[str, Any]:
        """Return every field of the rule by name, those left out at their default; for a screen or a comparison."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {name: None if value == float("inf") else value for name, value in fields.items()}


@cache
def baseline_rules() -> dict[str, BaselineRule]:
    """Return all baseline rules by id.

    Raises:
        ConfigError: A row of the data file is not a rule; its path is named.
    """
    text = (files("tieline.market") / "rules" / "baselines.toml").read_text(encoding="utf-8")
    found: dict[str, BaselineRule] = {}
    for name, row in tomllib.loads(text).items():
        try:
            found[name] = msgspec.convert({"id": name, **row}, BaselineRule)
        except msgspec.ValidationError as error:
            raise ConfigError(f"baselines.toml: {name}: {error}") from error
    return found


def baseline_rule(name: str) -> BaselineRule:
    """Return one rule. Raises ConfigError naming those that exist."""
    rules = baseline_rules()
    if name not in rules:
        raise ConfigError(f"baseline rule {name!r} is unknown: give one of {', '.join(sorted(rules))}")
    return rules[name]
