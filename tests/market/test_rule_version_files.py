"""`--rules`, `RULE@VERSION` and `tieline rules`: the event's local day chooses, a pin makes the same answer for ever."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_rule_versions import row

from tieline.node.cli import main

ZONE = ZoneInfo("America/Los_Angeles")
CALL = datetime(2024, 7, 31, 17, tzinfo=ZONE)
OLD = row("2020.1", "effective_from = 2020-01-01")
NEW = row("2024.8", 'effective_from = "2024-08-01"\nadjust = "ratio"\nadjust_before = [-4, -1]')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("event")
    first = CALL.replace(hour=0) - timedelta(days=50)
    rows = ["start,kwh,meter"]
    for hour in range(51 * 24):
        at = first + timedelta(hours=hour)
        called = CALL <= at < CALL + timedelta(hours=2)
        for n, meter in enumerate("ab", 1):
            rows.append(f"{at.isoformat()},{n * (3 + hour % 24 / 8 + hour // 24 % 7) - 2 * called},{meter}")
    (folder / "meter.csv").write_text("\n".join(rows) + "\n")
    # Its hours are the first of August by UTC, and the last of July where it is called.
    (folder / "event.toml").write_text(
        'timezone = "America/Los_Angeles"\nstart = 2024-07-31T17:00:00-07:00\nend = 2024-07-31T19:00:00-07:00\n'
    )
    (folder / "awards.csv").write_text("start,mw,price\n2024-07-31T17:00:00-07:00,0.004,62.15\n")
    (folder / "prices.csv").write_text("start,price\n2024-07-31T17:00:00-07:00,58\n2024-07-31T18:00:00-07:00,310\n")
    told("settle", "pack", str(folder / "meter.csv"), str(folder / "days"), "--timezone", "America/Los_Angeles")
    return folder


def asked(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == code, (words, done.output, done.stderr, done.exception)
    return done.stdout if code == 0 else done.stderr


def told(*words: str) -> Any:
    return json.loads(asked(*words))


def rules(folder: Path, *rows: str, name: str = "rules.toml") -> tuple[str, str]:
    (folder / name).write_text("".join(rows))
    return "--rules", str(folder / name)


def baseline(folder: Path, rule: str, *more: str) -> tuple[str, ...]:
    return "baseline", rule, str(folder / "meter.csv"), "--event", str(folder / "event.toml"), *more


def settle(folder: Path, rule: str, *more: str, meters: str = "meter.csv") -> tuple[str, ...]:
    files = ("--awards", str(folder / "awards.csv"), "--prices", str(folder / "prices.csv"))
    return "settle", rule, str(folder / meters), "--event", str(folder / "event.toml"), *files, *more


def test_the_version_in_force_on_the_local_day_of_the_event_is_taken_and_told_why(folder: Path) -> None:
    own = rules(folder, OLD, NEW)
    found = told(*baseline(folder, "mine", *own))
    assert (found["version"], found["in_force"]) == (
        "2020.1",
        {"by": "event day", "day": "2024-07-31", "from": "2020-01-01", "to": "2024-07-31"},
    )
    text = CliRunner().invoke(main, [*baseline(folder, "mine", *own)]).stdout
    assert "in force on 2024-07-31: from 2020-01-01 to 2024-07-31" in text
    event = (folder / "event.toml").read_text()
    try:
        (folder / "event.toml").write_text(event.replace("2024-07-31", "2024-07-30"))
        later = rules(folder, OLD, NEW.replace("2024-08-01", "2024-07-30"))
        assert told(*baseline(folder, "mine", *later))["version"] == "2024.8"
    finally:
        (folder / "event.toml").write_text(event)


@pytest.mark.parametrize("meters", ["meter.csv", "days"])
def test_a_settlement_takes_the_version_of_the_day_and_a_pinned_one_settles_otherwise(
    folder: Path, meters: str
) -> None:
    own = rules(folder, OLD, NEW.replace("2024-08-01", "2024-07-31"))
    held = told(*settle(folder, "mine", *own, meters=meters))
    pinned = told(*settle(folder, "mine@2020.1", *own, meters=meters))
    assert (held["version"], pinned["version"]) == ("2024.8", "2020.1")
    assert held["statement"] != pinned["statement"]
    assert pinned["in_force"]["by"] == "pinned"
    same = asked(*settle(folder, "mine", *own, "--rule-version", "2020.1", meters=meters))
    assert json.loads(same) == pinned


@given(st.lists(st.sampled_from(["before", "after", "on", "other"]), max_size=4, unique=True), st.booleans())
def test_a_pinned_run_is_the_same_to_the_byte_whatever_versions_are_added(
    folder: Path, added: list[str], settles: bool
) -> None:
    verb = settle if settles else baseline
    more = {
        "before": row("2000.1", "effective_from = 2000-01-01\nlag_days = 2"),
        "after": row("2025.1", "effective_from = 2025-01-01\nlag_days = 3"),
        "on": row("2024.7", "effective_from = 2024-07-31\nlag_days = 4"),
        "other": row("1", "lag_days = 5", name="another"),
    }
    first = asked(*verb(folder, "mine@2020.1", *rules(folder, OLD)))
    again = asked(*verb(folder, "mine@2020.1", *rules(folder, *(more[each] for each in added), OLD)))
    assert again == first


def test_a_row_that_looks_at_more_days_than_columns_hold_is_refused_by_name(folder: Path) -> None:
    own = rules(folder, OLD.replace("window_days = 45", "window_days = 400"), name="long.toml")
    told(*baseline(folder, "mine", *own))
    says = "mine looks at 286 like days, of which columns hold 127 at most"
    assert says in asked(*settle(folder, "mine", *own, meters="days"), code=2)


def test_answers_by_rows_of_ones_own_that_say_different_things_are_different_statements(folder: Path) -> None:
    """Two people may both call a row version 2020.1: ids and hashes tell their answers apart."""
    one = [told(*verb(folder, "mine", *rules(folder, OLD))) for verb in (settle, baseline)]
    # What it says differs, what comes out does not: no pool is that small.
    own = rules(folder, OLD.replace("business = 5", "business = 4"))
    other = [told(*verb(folder, "mine", *own)) for verb in (settle, baseline)]
    assert one[0]["total"] == other[0]["total"]
    assert one[0]["row_hash"] != other[0]["row_hash"]
    assert one[0]["statement"] != other[0]["statement"]
    assert one[1]["input_hash"] != other[1]["input_hash"]


def test_an_event_outside_of_all_versions_is_refused_with_the_days_that_exist(folder: Path) -> None:
    own = rules(folder, row("9", "effective_from = 2024-08-01"), name="late.toml")
    for verb in (baseline, settle):
        said = asked(*verb(folder, "mine", *own), code=2)
        assert "baseline rule 'mine' is in force from 2024-08-01: the event is on 2024-07-31" in said
        assert "versions are 9 (2024-08-01 to ...)" in said


@pytest.mark.parametrize(
    "words, says",
    [
        (("mine@7",), "baseline rule 'mine': version '7' is unknown: give one of 2020.1 (2020-01-01 to 2024-07-31), "),
        (("mine", "--rule-version", "7"), "version '7' is unknown"),
        (("mine@2020.1", "--rule-version", "2024.8"), "--rule-version 2024.8: the rule is mine@2020.1: give one"),
        (("nobodys",), "baseline rule 'nobodys' is unknown: give one of aemo-wdr-10-of-10, "),
    ],
)
def test_unknown_versions_and_rules_are_refused_by_name(folder: Path, words: tuple[str, ...], says: str) -> None:
    own = rules(folder, OLD, NEW)
    for verb in (baseline, settle):
        assert says in json.loads(asked(*verb(folder, words[0], *own, *words[1:]), code=2))["error"]


def test_a_rules_file_that_is_not_there_or_is_faulty_is_named_by_every_verb_that_takes_one(folder: Path) -> None:
    missing = "--rules", str(folder / "no.toml")
    faulty = rules(folder, row("1", "pool_m = 3"), name="faulty.toml")
    words = [baseline(folder, "mine"), settle(folder, "mine"), ("rules", "list"), ("rules", "show", "mine"),
             ("rules", "diff", "mine", "pjm-same-day"), ("placebo",), ("accuracy",)]  # fmt: skip
    for each in words:
        assert "no.toml: No such file" in asked(*each, *missing, code=2)
        assert "faulty.toml: $.mine[0].pool_m = 3: is unknown" in asked(*each, *faulty, code=2)


def test_versions_are_listed_shown_by_day_and_compared(folder: Path) -> None:
    own = rules(folder, OLD, NEW)
    listed = told("rules", "list", *own)["rules"]
    assert [
        (one["version"], one["effective_from"], one["effective_to"]) for one in listed if one["rule"] == "mine"
    ] == [
        ("2020.1", "2020-01-01", "2024-07-31"),
        ("2024.8", "2024-08-01", None),
    ]
    shown = {on: told("rules", "show", "mine", "--on", on, *own)["version"] for on in ("2024-07-31", "2024-08-01")}
    assert shown == {"2024-07-31": "2020.1", "2024-08-01": "2024.8"}
    pinned = told("rules", "show", "mine@2020.1", *own)
    assert (pinned["adjust"], pinned["effective_to"], pinned["versions"]) == (
        "none", "2024-07-31", ["2020.1", "2024.8"],
    )  # fmt: skip
    differ = told("rules", "diff", "mine", "--from", "2020.1", "--to", "2024.8", *own)["differ"]
    assert differ["adjust"] == {"mine@2020.1": "none", "mine@2024.8": "ratio"}
    assert set(differ) == {"version", "adjust", "adjust_before", "effective_from", "effective_to"}
    assert differ == told("rules", "diff", "mine@2020.1", "mine@2024.8", *own)["differ"]
    assert "2024-07-31" in CliRunner().invoke(main, ["rules", "list", *own]).stdout


def test_versions_of_products_rules_are_shown_by_day_and_by_name_too() -> None:
    every = told("rules", "show", "iso-ne-pay-for-performance")["versions"]
    assert [one["version"] for one in every] == ["2018.1", "2021.1", "2024.1", "2025.1"]
    for words in (("iso-ne-pay-for-performance@2021.1",), ("iso-ne-pay-for-performance", "--on", "2022-01-01")):
        assert [one["version"] for one in told("rules", "show", *words)["versions"]] == ["2021.1"]
    said = asked("rules", "show", "iso-ne-pay-for-performance", "--on", "2017-01-01", code=2)
    assert "has no such version on 2017-01-01: versions are 2018.1 (2018-06-01 to 2021-05-31)" in said


@pytest.mark.parametrize(
    "words, says",
    [
        (("show", "mine", "--on", "soon"), "--on 'soon': give a day such as 2024-06-01"),
        (("show", "mine", "--on", "2019-01-01"), "is in force from 2020-01-01: the event is on 2019-01-01"),
        (("diff", "mine"), "mine: is one rule: give another, or --from VERSION and --to VERSION of it"),
        (("diff", "mine", "--from", "2020.1"), "give another, or --from VERSION and --to VERSION"),
        (("diff", "mine", "mine"), "mine: is given twice: give two rules, or two versions"),
        (("diff", "mine", "pjm-same-day", "--to", "2020.1"), "--to 2020.1: two rules are given: pin versions as"),
        (("diff", "mine@2020.1", "--from", "2020.1", "--to", "2024.8"), "--from 2020.1: the rule is mine@2020.1"),
        (("diff", "mine", "--from", "2020.1", "--to", "7"), "version '7' is unknown"),
    ],
)
def test_what_cannot_be_shown_or_compared_is_refused(folder: Path, words: tuple[str, ...], says: str) -> None:
    assert says in json.loads(asked("rules", *words, *rules(folder, OLD, NEW), code=2))["error"]


def test_a_study_takes_the_version_of_its_last_day_and_says_which(folder: Path) -> None:
    words = ("placebo", str(folder / "meter.csv"), "--timezone", "America/Los_Angeles", "--from", "2024-07-15")
    own = (*rules(folder, OLD, NEW.replace("2024-08-01", "2024-07-26")), "--rule", "mine")
    trials = [told(*words, "--until", until, *own)["trials"] for until in ("2024-07-25", "2024-07-26")]
    assert [{one["version"] for one in each} for each in trials] == [{"2020.1"}, {"2024.8"}]
    old = ("--rule", "mine@2020.1")
    assert {one["version"] for one in told(*words, *own[:2], *old)["trials"]} == {"2020.1"}
    stood = told("accuracy", *words[1:], "--until", "2024-07-26", *own)["rules"]
    assert [(one["rule"], one["version"]) for one in stood] == [("mine", "2024.8")]
    # Days from before a rule was in force are studied by its method: nothing is settled.
    dfs = told(*words, "--rule", "gb-p376-middle-8-of-10")["trials"]
    assert {one["version"] for one in dfs} == {"2024.1"}
    said = asked(*words, *own, *old, code=2)
    assert "--rule mine@2020.1: mine is named already: study one version at a time" in said
