"""Placebo studies: days on which nothing happened; what rules pay then, found by identities and by hand."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.placebo import Study, by_size, chosen, errors, study_rules, together
from tieline.market.rule import baseline_rule
from tieline.node.cli import main

FIRST = date(2024, 6, 3)
DAYS = [FIRST + timedelta(days=k) for k in range(60)]
EVENTS = [day for day in DAYS[30:] if day.weekday() < 5]
STUDY = Study(EVENTS, 16, 20)
LINEAR = ("iso-ne-mean-10-of-10", "gb-dfs-10-of-10")
"""Rules whose baseline is a sum of readings: a mean of all like days, and a mean difference added."""


def home(seed: int, scale: float = 1.0) -> dict[date, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {day: scale * rng.uniform(0.2, 3.0, 24) for day in DAYS}


@pytest.mark.parametrize("name", ["caiso-10-in-10", "pjm-3-day-types-saa", "ercot-middle-8-of-10", "nyiso-average-day"])
def test_where_all_days_are_alike_no_rule_pays_anything(name: str) -> None:
    alike = {day: np.arange(24.0) + 1 for day in DAYS}
    for one in study_rules([baseline_rule(name)], {"a": alike, "b": alike}, STUDY):
        assert (one.bias, one.rrmse, one.floored) == pytest.approx((0, 0, 0), abs=1e-12)
        assert one.events == len(EVENTS)


@given(st.integers(0, 99), st.floats(0.01, 100))
@settings(max_examples=8, deadline=None)
def test_a_load_of_another_size_has_the_same_errors_of_it(seed: int, scale: float) -> None:
    rules = [baseline_rule("caiso-10-in-10"), baseline_rule("pjm-3-day-types-saa")]
    one, other = (study_rules(rules, {"a": home(seed, by)}, STUDY) for by in (1.0, scale))
    for mine, theirs in zip(one, other, strict=True):
        assert (mine.bias, mine.rrmse) == pytest.approx((theirs.bias, theirs.rrmse), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_a_rule_that_only_adds_readings_says_the_same_at_every_level(name: str) -> None:
    homes = {str(k): home(k) for k in range(4)}
    trials = {one.level: one for one in study_rules([baseline_rule(name)], homes, STUDY)}
    assert trials["meter"].bias == pytest.approx(trials["registration"].bias, abs=1e-9)
    assert trials["meter"].rrmse == pytest.approx(trials["registration"].rrmse, abs=1e-9)
    assert trials["meter"].floored > trials["registration"].floored  # what is forgiven grows with each meter


def test_the_highest_five_of_ten_pay_single_homes_for_nothing_and_many_together_less() -> None:
    """Days drawn alike have no trend: whatever is above 0 is the pick of the highest, which a sum evens out."""
    rule = baseline_rule("nyiso-average-day")
    homes = {str(k): home(k) for k in range(12)}
    plain = {one.level: one for one in study_rules([rule], homes, STUDY)}
    assert plain["meter"].bias > 0.1
    assert plain["registration"].bias < plain["meter"].bias / 2


def test_the_error_by_hand_of_one_day() -> None:
    """Ten like days of 10 kWh an hour, the event day 12 in its hours and 10 before: 40 less 48 of 48."""
    load = {day: np.full(24, 10.0) for day in DAYS}
    event = next(day for day in DAYS[30:] if day.weekday() == 2)
    load[event] = np.where((np.arange(24) >= 16) & (np.arange(24) < 20), 12.0, 10.0)
    one = study_rules([baseline_rule("caiso-10-in-10")], {"a": load}, Study([event], 16, 20))[0]
    assert (one.bias, one.rrmse, one.floored) == pytest.approx((-8 / 48, 8 / 48, 0.0))


def test_larger_portfolios_err_less_and_the_same_seed_draws_the_same() -> None:
    homes = {str(k): home(k) for k in range(16)}
    rule = baseline_rule("iso-ne-mean-10-of-10")
    first, again = (by_size(rule, homes, STUDY, [1, 4, 16], 8, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first[0].rrmse > first[1].rrmse > first[2].rrmse
    # Independent homes: the error of a sum falls as the root of how many there are, here by four within a third.
    assert first[0].rrmse / first[2].rrmse == pytest.approx(4.0, rel=0.35)


def test_a_day_that_could_not_be_settled_is_counted_as_refused_and_not_guessed() -> None:
    load = home(1)
    early = [DAYS[1], *EVENTS]
    load[EVENTS[0]] = np.full(24, math.nan)
    one = study_rules([baseline_rule("caiso-10-in-10")], {"a": load}, Study(early, 16, 20))[0]
    assert (one.events, one.refused) == (len(EVENTS) - 1, 2)
    assert not np.isfinite(errors(baseline_rule("caiso-10-in-10"), load, Study(early, 16, 20)).off[:2]).any()


def test_the_rule_to_take_is_nearly_unbiased_and_of_those_the_most_exact() -> None:
    trials = study_rules(
        [baseline_rule(n) for n in ("nyiso-average-day", *LINEAR)], {"a": home(1), "b": home(2)}, STUDY
    )
    best = chosen(trials, "meter")
    mine = [one for one in trials if one.level == "meter" and abs(one.bias) <= 0.02]
    assert best is not None and (best.rrmse == min(one.rrmse for one in mine) if mine else True)
    assert chosen([], "meter") is None


def test_a_sum_has_the_days_that_all_meters_have() -> None:
    one, two = home(1), home(2)
    del two[DAYS[3]]
    whole = together([one, two])
    assert DAYS[3] not in whole and len(whole) == len(DAYS) - 1
    assert whole[DAYS[4]] == pytest.approx(one[DAYS[4]] + two[DAYS[4]])


def run(*words: str, code: int = 0) -> dict:
    done = CliRunner().invoke(main, ["placebo", *words, "--json"])
    assert done.exit_code == code, (done.output, done.stderr, done.exception)
    return json.loads(done.stdout if code == 0 else done.stderr)


FEW = ("--from", "2016-09-19", "--until", "2016-09-30", "--rule", "iso-ne-mean-10-of-10", "--rule", "nyiso-average-day")


def test_the_homes_that_come_with_tieline_are_studied_without_a_file_and_twice_alike() -> None:
    told = run(*FEW, "--size", "4", "--draws", "2")
    assert (told["meters"], told["days"]) == (17, 10)
    assert {one["days"] for one in told["trials"]} == {"all", "hot"}
    assert told == run(*FEW, "--size", "4", "--draws", "2")
    nyiso = {
        one["level"]: one["bias"]
        for one in told["trials"]
        if one["rule"] == "nyiso-average-day" and one["days"] == "all"
    }
    assert nyiso["meter"] > nyiso["registration"]


def test_a_meter_file_is_studied_on_its_own_clock(tmp_path: Path) -> None:
    rows = ["start,kwh"]
    rows += [f"{day}T{hour:02}:00:00-07:00,{1 + hour / 10}" for day in DAYS for hour in range(24)]
    (tmp_path / "meter.csv").write_text("\n".join(rows) + "\n")
    words = (str(tmp_path / "meter.csv"), "--timezone", "America/Los_Angeles", "--rule", "caiso-10-in-10")
    told = run(*words, "--from", "2024-07-08", "--hours", "17-19")
    assert told["trials"][0]["bias"] == pytest.approx(0.0, abs=1e-12)
    # Business days from 8 July to 1 August by the calendar: three weeks of five, and four.
    assert told["trials"][0]["events"] == told["days"] == 19


BAD = [
    (("--hours", "20-16"), "--hours '20-16'"),
    (("--from", "soon"), "--from 'soon'"),
    (("--from", "2030-01-01"), "no business day with readings"),
    (("--rule", "none-such"), "baseline rule 'none-such' is unknown"),
    ((*FEW, "--size", "18"), "--size 18: give 1 to 17"),
    (("meter.csv",), "--timezone: is missing"),
    (("meter.csv", "--timezone", "Nowhere"), "--timezone 'Nowhere'"),
]


@pytest.mark.parametrize(("words", "says"), BAD)
def test_what_can_not_be_studied_is_refused(words: tuple[str, ...], says: str) -> None:
    assert says in run(*words, code=2)["error"]


@pytest.mark.parametrize("verb", ["placebo", "accuracy"])
def test_a_person_is_told_what_is_studied_and_how_far_it_is_and_a_program_reads_its_json_alone(verb: str) -> None:
    words = [
        verb,
        "--rule",
        "caiso-10-in-10",
        "--rule",
        "ercot-middle-8-of-10",
        "--from",
        "2016-10-03",
        "--until",
        "2016-10-05",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    first, *each = done.stderr.splitlines()
    assert first == "2 rules on 17 meters and 3 days: fewer by --rule, --from, --until"
    assert each == ["1 of 2: caiso-10-in-10", "2 of 2: ercot-middle-8-of-10"]
    assert "caiso-10-in-10" in done.stdout
    as_json = CliRunner().invoke(main, [*words, "--json"])
    assert (as_json.exit_code, as_json.stderr) == (0, "")
    assert json.loads(as_json.stdout)["days"] == 3
