"""Baseline rules that a verb is asked to go by: those that come with Tieline, and a file of one's own."""

from __future__ import annotations

from pathlib import Path

from tieline.errors import ConfigError
from tieline.market.rule import RuleTable, parse_rules, rule_table
from tieline.rim.texts import text_in


def rules_in(path: Path | None) -> RuleTable:
    """Return the rules that come with Tieline and, beside them, those of a file.

    Raises:
        ConfigError: The file can't be read, or a row is not a version of a rule; file, row, field and value are named.
    """
    if path is None:
        return rule_table()
    try:
        return parse_rules(text_in(path), str(path), rule_table())
    except OSError as error:
        raise ConfigError(f"--rules {path}: {error.strerror}: give a file that can be read") from None


def pinned(rule: str, version: str | None) -> str:
    """Return a rule's name with the version that an option pins. Raises ConfigError where the name pins another."""
    name, is_pin, its_own = rule.partition("@")
    if version is None or (is_pin and its_own == version):
        return rule
    if is_pin:
        raise ConfigError(f"--rule-version {version}: the rule is {rule}: give one of them")
    return f"{name}@{version}"
