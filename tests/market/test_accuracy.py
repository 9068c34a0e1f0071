"""Which rules a meter may keep, and what a portfolio is settled wrong by before anybody enrols."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.accuracy import Law, accuracy, accuracy_tests, expected, law_of
from tieline.market.placebo import Errors, Study
from tieline.market.rule import baseline_rule
from tieline.node.cli import main

DAYS = [date(2024, 5, 1) + timedelta(days=k) for k in range(92)]
WEEKDAYS = [day for day in DAYS[40:] if day.weekday() < 5]
RULE = baseline_rule("caiso-10-in-10")


def of(off: list, load: list) -> Errors:
    each_off, each_load = np.array(off, float), np.array(load, float)
    return Errors(each_off.sum(axis=1), each_load.sum(axis=1), each_off, each_load)


def test_vector_i_of_the_design_is_one_day_of_six_hours() -> None:
    """PJM: a CBL of 95, 115, 118, 140, 120, 110 against 100, 110, 120, 130, 125, 115 has an RRMSE of 0.04998."""
    load = np.array([100, 110, 120, 130, 125, 115.0])
    found = accuracy("any", "one", of([np.array([95, 115, 118, 140, 120, 110]) - load], [load]))
    assert found.rrmse == pytest.approx(0.04998, abs=5e-6)
    assert found.bias == pytest.approx(-2 / 700)
    assert found.holds == ("aemo-wdr-predictability", "pjm-cbl-rrmse")


def test_a_bias_of_five_per_cent_stands_pjms_test_and_not_aemos() -> None:
    found = accuracy("any", "one", of([[5, 5]], [[100, 100]]))
    assert found.holds == ("pjm-cbl-rrmse",)


def test_a_meter_that_no_day_can_be_asked_of_stands_no_test() -> None:
    found = accuracy("any", "one", of([[math.nan, 1]], [[1, 1]]))
    assert (found.days, found.refused, found.holds) == (0, 1, ())
    assert math.isnan(found.rrmse)


def test_each_test_says_its_source_and_certainty() -> None:
    assert all(test.source and test.certainty and test.version for test in accuracy_tests())


@given(scale=st.floats(0.001, 1_000), seed=st.integers(0, 99))
def test_accuracy_does_not_go_by_the_unit(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    off, load = rng.normal(0, 1, (5, 4)), rng.uniform(5, 9, (5, 4))
    one, other = accuracy("r", "m", of(off, load)), accuracy("r", "m", of(off * scale, load * scale))
    assert (other.rrmse, other.bias) == (pytest.approx(one.rrmse), pytest.approx(one.bias))


@given(own=st.floats(0, 2), common=st.floats(0.01, 0.5))
@settings(max_examples=40)
def test_the_law_gives_back_what_errors_were_made_by(own: float, common: float) -> None:
    sizes = [1, 4, 20, 100]
    found = law_of(sizes, [Law(own, common).error(n) for n in sizes])
    assert found.error(5_000) == pytest.approx(Law(own, common).error(5_000), rel=1e-3)


def test_errors_that_grow_with_size_are_all_common_and_none_is_negative() -> None:
    assert law_of([1, 10], [0.1, 0.2]).own == 0.0
    assert law_of([5], [0.3]).error(5) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="no portfolio has an error"):
        law_of([1], [math.nan])


def homes(count: int, common: float) -> dict:
    rng = np.random.default_rng(3)
    shared = {day: rng.normal(0, common) for day in DAYS}
    return {f"h{k:03}": {day: 1 + shared[day] + rng.normal(0, 0.5, 24) / 2 for day in DAYS} for k in range(count)}


def test_homes_that_err_each_by_themselves_settle_better_together() -> None:
    """Ten times the meters that err alone have an error smaller by the root of ten; the law goes on so."""
    study = Study(WEEKDAYS, 16, 20)
    rng = np.random.default_rng(1)
    found, law = expected(RULE, homes(40, 0.0), study, [1, 10, 40, 4_000], 12, rng)
    one, ten, all_, many = found
    assert one.error / ten.error == pytest.approx(math.sqrt(10), rel=0.25)
    assert ten.error / all_.error == pytest.approx(2.0, rel=0.4)
    assert law is not None
    assert many.is_extrapolated
    assert many.error < all_.error / 3
    assert all(each.low < 0 < each.high for each in (one, ten))


def test_what_weather_does_to_all_of_them_stays_however_many_there_are() -> None:
    found, law = expected(RULE, homes(40, 0.2), Study(WEEKDAYS, 16, 20), [40, 100_000], 6, np.random.default_rng(1))
    assert law is not None
    assert law.common == pytest.approx(found[0].error, rel=0.35)
    assert found[1].error == pytest.approx(law.common, rel=0.01)


def test_the_verb_counts_who_stands_and_tells_errors_by_size() -> None:
    words = ["accuracy", "--from", "2016-09-12", "--until", "2016-09-16", "--rule", "iso-ne-mean-10-of-10"]
    done = CliRunner().invoke(main, [*words, "--size", "17", "--size", "1000", "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rules"][0]["meters"] == 17
    assert len(found["accuracy"]) == 17
    assert [one["is_extrapolated"] for one in found["expected"][0]["sizes"]] == [False, True]
    assert found == json.loads(CliRunner().invoke(main, [*words, "--size", "17", "--size", "1000", "--json"]).stdout)
    done = CliRunner().invoke(main, [*words, "--rule", "matched-controls"])
    assert "goes by controls, which no meter file has" in done.stderr
    done = CliRunner().invoke(main, [*words, "--size", "0"])
    assert "--size 0: give 1 to 10000000" in done.stderr
