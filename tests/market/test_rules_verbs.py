"""`tieline rules` knows the rules of every kind: lists, shows and compares them, with version, source and certainty."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from tieline.contract.eligibility import eligibility_rules
from tieline.contract.program import AnyProgram
from tieline.node.cli import main
from tieline.node.reference_rules import eligibility_page, programs_page
from tieline.node.rule_kinds import KEYS, KINDS


def rules(*words: str) -> Result:
    return CliRunner().invoke(main, ["rules", *words])


def told(*words: str) -> dict:
    done = rules(*words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_one_kind_holds_that_kind_alone_with_source_and_certainty(kind: str) -> None:
    (found,) = told("list", "--kind", kind).items()
    key, rows = found
    assert key == KEYS[kind]
    assert all(row["rule"] and row["source"] for row in rows)
    assert kind == "jurisdiction" or all(row["version"] and row["certainty"] for row in rows)
    assert rules("list", "--kind", kind).stdout.count("\n") == len(rows) > 0


def test_a_list_without_a_kind_holds_every_kind() -> None:
    assert set(told("list")) == set(KEYS.values())
    assert [row["rule"] for row in told("list")["eligibility"]] == [rule.id for rule in eligibility_rules()]


def test_a_rule_of_eligibility_is_shown_with_the_cases_that_test_it() -> None:
    (row,) = told("show", "us-ca-prohibited-by-order@2024.2")["versions"]
    assert (row["table"], row["allow"], row["event"]) == ("eligibility", True, "emergency")
    assert {one["order"] for one in row["tested"]} == {"permits", "permits_disadvantaged"}


def test_a_name_of_two_kinds_is_shown_of_both_and_compared_only_once_a_kind_is_given() -> None:
    assert [row["table"] for row in told("show", "us-rice-emergency")["versions"]] == ["eligibility", "engine-hours"]
    (hours,) = told("show", "us-rice-emergency", "--kind", "engine-hours")["versions"]
    assert [limit["hours"] for limit in hours["limits"]] == [100.0, 50.0, 0.0]
    done = rules("diff", "us-rice-emergency", "us-aggregation")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "rules of eligibility and engine-hours: give --kind" in done.stderr
    differ = told("diff", "us-rice-emergency", "us-aggregation", "--kind", "eligibility")["differ"]
    assert differ["allow"] == {"us-rice-emergency": False, "us-aggregation": True}


def test_programs_and_products_are_compared_as_baselines_are() -> None:
    assert told("diff", "peak-rebate", "critical-peak")["differ"]["type"]["peak-rebate"] == "peak-time-rebate"
    assert "rate_per_mwh" in told("diff", "iso-ne-pay-for-performance", "pjm-capacity-shortfall")["differ"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "us-ca-chp-fossil@1999.1"), "has no such version: versions are 2024.2"),
        (("show", "nothing", "--kind", "program"), "program rule 'nothing' is unknown"),
        (("diff", "peak-rebate", "nothing", "--kind", "program"), "program rule 'nothing' is unknown"),
        (("show", "peak-rebate", "--on", "2026-01-01"), "--on 2026-01-01: peak-rebate is of program"),
        (("list", "--kind", "laws"), "'laws' is not one of"),
    ],
)
def test_a_rule_that_is_not_there_is_refused_with_what_is(words: tuple[str, ...], says: str) -> None:
    done = rules(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_the_pages_have_every_rule_with_version_source_and_mark_and_every_type_of_program() -> None:
    page = eligibility_page()
    for rule in eligibility_rules():
        assert f"## {rule.id} {rule.version}\n\n{rule.source}. Certainty: {rule.certainty}." in page
    assert "No case tests it" not in page
    types = programs_page()
    for form in get_args(AnyProgram):
        assert f"## Type {form.__struct_config__.tag}" in types
