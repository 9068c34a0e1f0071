"""Who may serve what, case by case against the rule's own text; and the same answers from the command line and columns."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.contract.eligibility import Case, CaseTested, enrol, judge
from tieline.contract.pay import CENT, owner_cents, owner_shares
from tieline.contract.strict import shipped_rules
from tieline.node.cli import main
from tieline.plan.apportion import apportion, apportion_column

CA = "US-CA"
FOSSIL, RICE = "us-ca-elrp-prohibited", "us-rice-emergency"
TABLE = shipped_rules("eligibility_cases.toml", CaseTested)
CASES = [(*msgspec.structs.astuple(one)[:7], one.may, one.rule) for one in TABLE]


def test_there_are_forty_cases_or_more() -> None:
    assert len(CASES) == len(set(CASES)) >= 40


@pytest.mark.parametrize(("kind", "fuel", "place", "program", "location", "event", "order", "may", "rule"), CASES)
def test_a_case_is_judged_by_its_rule(kind, fuel, place, program, location, event, order, may, rule) -> None:
    verdict = judge(Case(kind, fuel, place, program, location, event, order))
    assert (verdict.is_eligible, verdict.rule) == (may, rule)
    assert verdict.version and verdict.source and verdict.says


def test_columns_judge_as_each_case_by_itself() -> None:
    kinds, fuels = np.array([case[0] for case in CASES]), np.array([case[1] for case in CASES])
    for place, program, location, event, order in {case[2:7] for case in CASES}:
        found = enrol(kinds, fuels, place, program, location, event, order)
        for row, (kind, fuel) in enumerate(zip(kinds.tolist(), fuels.tolist(), strict=True)):
            verdict = judge(Case(kind, fuel, place, program, location, event, order))
            assert found.verdicts[found.verdict_of[row]] == verdict
            assert found.may_serve[row] == verdict.is_eligible
    assert len(enrol(kinds[:0], fuels[:0], CA, "energy").may_serve) == 0


def ask(*words: str) -> dict:
    done = CliRunner().invoke(main, ["eligible", *words, "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_one_resource_and_a_table_are_answered_with_rule_version_and_source(tmp_path: Path) -> None:
    one = ask("demand_response", "--jurisdiction", CA, "--kind", "backup_generator", "--fuel", "diesel")
    assert (one["eligible"], one["rule"], one["version"]) == (False, FOSSIL, "2024.2")
    table = tmp_path / "devices.csv"
    table.write_text(
        "id,kind,fuel,max_inject_w,max_absorb_w,energy_wh\n"
        "b1,battery,,5000,5000,10000\ng1,backup_generator,diesel,9000,0,0\ng2,backup_generator,,9000,0,0\n"
    )
    found = ask("energy", "--jurisdiction", "US-TX", "--devices", str(table))
    assert (found["eligible"], found["total"]) == (1, 3)
    assert [(row["rule"], row["count"]) for row in found["refused"]] == [(RICE, 2)]
    assert [(each["id"], each["eligible"]) for each in found["devices"]] == [("b1", True), ("g1", False), ("g2", False)]
    said = CliRunner().invoke(main, ["eligible", "energy", "--jurisdiction", "US-TX", "--devices", str(table)]).stdout
    assert said.startswith("1 of 3 may serve energy\n  2 not: an emergency engine may not run")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kind", "diesel"), "--kind 'diesel': give one of backup_generator, battery"),
        (("--kind", "battery", "--fuel", "coal"), "--fuel 'coal': give one of"),
        ((), "--kind ''"),
        (("--kind", "battery", "--devices", "d.csv"), "give one of them"),
        (("--devices", "nowhere.csv"), "nowhere.csv"),
        (("--kind", "battery", "--event", "party"), "'party' is not one of"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_with_what_can(words: tuple, says: str) -> None:
    done = CliRunner().invoke(main, ["eligible", "energy", "--jurisdiction", CA, *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**9), max_size=60))
def test_a_column_is_apportioned_as_by_the_specification(total: int, weights: list[int]) -> None:
    assert apportion_column(total, np.array(weights, np.int64)).tolist() == apportion(total, weights)


def test_products_beyond_64_bits_are_apportioned_exactly() -> None:
    weights = [2**61, 2**61 - 1, 3, 2**60]
    assert apportion_column(10**12 + 7, np.array(weights, np.int64)).tolist() == apportion(10**12 + 7, weights)


@given(st.integers(-(10**7), 10**9), st.lists(st.integers(-5_000, 10**8), max_size=40), st.integers(0, 100))
def test_cents_of_a_column_of_owners_are_those_of_the_shares_by_name(cents: int, mwh: list[int], percent: int) -> None:
    revenue, frac = cents * CENT, Decimal(percent) / 100
    by_name = owner_shares(revenue, Decimal(0), frac, {str(k): Decimal(amount) for k, amount in enumerate(mwh)})
    operator, column, left = owner_cents(revenue, Decimal(0), frac, np.array(mwh, np.int64))
    assert (operator, left) == (by_name.operator, by_name.undistributed)
    assert [share * CENT for share in column.tolist()] == list(by_name.owners.values())
