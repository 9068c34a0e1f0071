"""An event that is settled again keeps the version of its rule, whatever came into force since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from event_readings import meter_rows

Tieline = Callable[..., dict[str, Any]]
ROW = """[[mine]]
version = "{version}"
source = "a tariff"
certainty = "ours"
level = "meter"
day_types = "weekday-or-not"
window_days = 45
pool_n = {pool_n}
min_n = {{ business = 5, other = 4 }}
pick = "all"
effective_from = "{first}"
"""
OLD, NEW = (
    ROW.format(version=version, pool_n=pool_n, first=first)
    for version, pool_n, first in (("1", 10, "2020-01-01"), ("2", 6, "2024-07-01"))
)


@pytest.fixture
def by_own(issue: tuple[str, ...], folder: Path) -> Callable[..., tuple[str, ...]]:
    """Return the words that issue a statement by rows of one's own."""

    def words(*rows: str) -> tuple[str, ...]:
        (folder / "rules.toml").write_text("".join(rows))
        return *("mine" if word == "caiso-10-in-10" else word for word in issue), "--rules", "rules.toml"

    return words


def test_a_later_version_changes_no_statement_and_the_next_one_keeps_the_former_version(
    opened: Tieline, by_own: Callable[..., tuple[str, ...]], folder: Path
) -> None:
    first = opened(*by_own(OLD), "--at", "2024-08-02T00:00:00Z")
    assert (first["rule_version"], first["in_force"]["by"]) == ("1", "event day")
    again = opened(*by_own(OLD, NEW), "--at", "2024-08-03T00:00:00Z")
    assert (again["is_new"], again["statement"], again["rule_version"]) == (False, first["statement"], "1")
    says = "settled by version 1 of mine as before, though 2 is what is in force on 2024-07-31 now: --rule-version 2"
    assert any(flag.startswith(says) for flag in again["flags"])
    (folder / "meter.csv").write_text(meter_rows(unread="20.0"))
    second = opened(*by_own(OLD, NEW), "--at", "2024-08-04T00:00:00Z")
    assert (second["version"], second["rule_version"], second["in_force"]["by"]) == (2, "1", "former statement")
    third = opened(*by_own(OLD, NEW), "--rule-version", "2", "--at", "2024-08-05T00:00:00Z")
    assert (third["version"], third["rule_version"], third["in_force"]["by"]) == (3, "2", "pinned")
    kept = opened(*by_own(OLD, NEW), "--at", "2024-08-06T00:00:00Z")
    assert (kept["is_new"], kept["rule_version"]) == (False, "2")
    for path in [*folder.glob("*.csv"), folder / "rules.toml"]:
        path.unlink()  # the book alone holds what each version was made by
    told = opened("statements", "again", "--book", "book")
    assert told["all_same"] and len(told["statements"]) == 3


def test_an_event_that_was_not_settled_takes_the_version_of_its_day(
    opened: Tieline, by_own: Callable[..., tuple[str, ...]]
) -> None:
    told = opened(*by_own(OLD, NEW), "--at", "2024-08-02T00:00:00Z")
    assert (told["rule_version"], told["in_force"]["from"]) == ("2", "2024-07-01")


def test_another_rule_than_the_former_one_is_taken_by_the_version_of_the_day(
    opened: Tieline, issue: tuple[str, ...], by_own: Callable[..., tuple[str, ...]]
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    told = opened(*by_own(OLD, NEW), "--at", "2024-08-03T00:00:00Z")
    assert (told["version"], told["rule"], told["rule_version"]) == (2, "mine", "2")
