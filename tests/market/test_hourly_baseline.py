"""Hourly weather-normalised baselines: the columns against plain linear algebra, and what no model may do."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.bench._opendsm import beside, is_there
from tieline.market.baseline import Event, compute
from tieline.market.hourly import Station, cvrmse, fit, fit_one, predict, station
from tieline.market.hourly_terms import KNOTS_C, bent, mean_of_day
from tieline.market.rule import baseline_rule

HOURS = 24 * 7 * 20
DAY = date(2024, 7, 31)
RULE = baseline_rule("hourly-weather-normalised")


def weather(hours: int) -> np.ndarray:
    at, rng = np.arange(hours), np.random.default_rng(5)
    return 16 + 9 * np.sin(at / 3_000) + 6 * np.sin((at % 24 - 9) / 24 * 2 * np.pi) + rng.normal(0, 1.5, hours)


@cache
def made() -> tuple[Station, np.ndarray]:
    """A station of 20 weeks and six homes: by hour, cooled above 20 degC, with noise; the fourth has no noise."""
    celsius, rng = weather(HOURS), np.random.default_rng(6)
    slot = np.arange(HOURS) % 168
    base = 1 + 0.5 * np.sin(slot / 24 * 2 * np.pi) + 0.3 * (slot >= 120)
    load = base + 0.1 * np.maximum(celsius - 24, 0) + rng.gamma(1, 0.4, (6, HOURS))
    load[3] = base
    return station(slot, celsius, np.arange(HOURS) < HOURS - 168), load


def holes(seed: int, share: float) -> np.ndarray:
    load, rng = made()[1].copy(), np.random.default_rng(seed)
    load[rng.random(load.shape) < share] = np.nan
    return load


@given(seed=st.integers(0, 1_000), share=st.sampled_from([0.0, 0.003, 0.05, 0.3]))
@settings(max_examples=6, deadline=None)
def test_columns_are_the_normal_equations_of_each_meter_whatever_it_lacks(seed: int, share: float) -> None:
    """0.3 % of gaps are taken out of the shared solution, 30 % are more than it has terms: both ways are exact."""
    one, load = made()[0], holes(seed, share)
    found = fit(one, load)
    for meter in (0, 5):
        level, terms = fit_one(one, load[meter], float(found.penalty[meter]))
        assert found.level[meter] == pytest.approx(level, abs=1e-9)
        assert np.abs(found.terms[meter] - terms).max() < 1e-9
    made_of = predict(one, found)
    assert found.cvrmse == pytest.approx(cvrmse(np.where(one.learns, made_of, np.nan), load), rel=1e-6)


def test_one_rank_of_a_penalty_is_the_least_of_generalised_cross_validation() -> None:
    """The choice is held against GCV by its definition, from whole rows of terms (Golub, Heath and Wahba 1979)."""
    from tieline.market.hourly import PENALTIES, rows_of

    one, load = made()
    at = np.flatnonzero(one.learns)
    rows, own = np.concatenate([np.ones((len(at), 1)), rows_of(one, at)], axis=1), load[0][at]
    shrunk = np.diag([0.0] + [1.0] * (rows.shape[1] - 1))
    scores = []
    for penalty in PENALTIES:
        inverse = np.linalg.inv(rows.T @ rows + penalty * len(at) * shrunk)
        left = own - rows @ (inverse @ (rows.T @ own))
        freedom = float(np.trace(inverse @ (rows.T @ rows)))
        scores.append(float(left @ left) / len(at) / (1 - freedom / len(at)) ** 2)
    assert float(fit(one, load[:1]).penalty[0]) == pytest.approx(PENALTIES[int(np.argmin(scores))])


@given(scale=st.floats(0.01, 1_000))
@settings(max_examples=5, deadline=None)
def test_scaling_the_load_scales_the_baseline(scale: float) -> None:
    one, load = made()
    assert predict(one, fit(one, load * scale)) == pytest.approx(predict(one, fit(one, load)) * scale, rel=1e-6)


@given(added=st.floats(-20, 200))
@settings(max_examples=5, deadline=None)
def test_adding_a_constant_moves_the_baseline_by_it_alone(added: float) -> None:
    one, load = made()
    assert predict(one, fit(one, load + added)) == pytest.approx(predict(one, fit(one, load)) + added, abs=1e-6)


def test_hours_that_may_not_be_learnt_from_change_nothing() -> None:
    one, load = made()
    other = load.copy()
    other[:, ~one.learns] *= 1e6
    assert np.array_equal(fit(one, load).terms, fit(one, other).terms)


def test_a_meter_is_fitted_alike_alone_and_among_others_to_the_last_bit() -> None:
    one = made()[0]
    whole = fit(one, holes(3, 0.01))
    alone = fit(one, holes(3, 0.01)[2:3])
    assert np.array_equal(whole.terms[2], alone.terms[0])
    assert whole.level[2] == alone.level[0]


def test_a_load_that_goes_by_the_clock_alone_is_found_but_for_the_least_shrinking() -> None:
    """The least penalty takes a thousandth of an hour's difference and ten of those of an hour of the week."""
    one, load = made()
    found = predict(one, fit(one, load[3:4]))[0]
    assert np.abs(found - load[3]).max() < 0.01 * load[3].max()


def test_the_response_to_heat_is_found_in_weeks_that_it_never_saw() -> None:
    one, load = made()
    after = slice(HOURS - 168, None)
    quiet = load.copy()
    quiet[0] = 1 + 0.1 * np.maximum(weather(HOURS) - 24, 0)
    found = predict(one, fit(one, quiet))[0]
    assert cvrmse(found[None, after], quiet[:1, after])[0] < 0.05


def test_too_few_readings_make_no_model_and_an_hour_without_temperature_has_no_baseline() -> None:
    one, load = made()
    few = np.full_like(load[:2], np.nan)
    few[0, :100] = 1.0
    found = fit(one, few)
    assert np.isnan(found.level).all()
    assert found.read.tolist() == [100, 0]
    celsius = weather(HOURS)
    celsius[40:50] = np.nan
    gap = station(np.arange(HOURS) % 168, celsius, np.ones(HOURS, bool))
    assert np.flatnonzero(np.isnan(predict(gap, fit(gap, load[:1]))[0])).tolist() == list(range(40, 50))


def test_what_does_not_fit_is_refused_with_its_shape() -> None:
    one, load = made()
    with pytest.raises(ValueError, match=r"load has shape \(6, 12\)"):
        fit(one, load[:, :12])
    with pytest.raises(ValueError, match="give hours of the week, 0 to 167"):
        station(np.array([168]), np.array([1.0]), np.array([True]))
    with pytest.raises(ValueError, match="no hour with a temperature"):
        station(np.array([1]), np.array([np.nan]), np.array([True]))


@given(celsius=st.floats(-40, 50))
def test_segments_of_a_temperature_add_up_to_it(celsius: float) -> None:
    assert bent(np.array([celsius]), KNOTS_C).sum() == pytest.approx(celsius - KNOTS_C[0], abs=1e-9)


def test_the_mean_of_a_day_passes_over_hours_that_are_not_known() -> None:
    known = np.arange(48.0)
    known[30] = np.nan
    assert mean_of_day(known)[2] == pytest.approx(1.0)
    assert mean_of_day(known)[47] == pytest.approx(np.nanmean(known[24:]))


def days(per_hour: int = 1, cut: float = 0.0) -> tuple[dict, dict]:
    """A home of 120 days that is cooled above 24 degC, on the event day less by `cut` from 16 to 20."""
    span = [DAY - timedelta(days=back) for back in range(120, -1, -1)]
    celsius = weather(24 * len(span)).reshape(-1, 24)
    hourly = 1 + 0.5 * np.sin(np.arange(24) / 24 * 2 * np.pi) + 0.1 * np.maximum(celsius - 24, 0)
    load = {day: np.repeat(row / per_hour, per_hour) for day, row in zip(span, hourly, strict=True)}
    load[DAY][16 * per_hour : 20 * per_hour] -= cut / per_hour
    return load, dict(zip(span, celsius, strict=True))


@pytest.mark.parametrize("per_hour", [1, 4])
def test_an_event_by_the_model_gains_what_was_cut(per_hour: int) -> None:
    load, celsius = days(per_hour, 0.5)
    found = compute(RULE, load, Event(DAY, 16 * per_hour, 20 * per_hour, per_hour), celsius=celsius)
    assert found.performance.sum() == pytest.approx(2.0, abs=0.15)
    assert len(found.days) == 120
    assert found.model is not None
    assert found.model.learnt_hours == 120 * 24
    assert found.model.error < 0.15


def test_event_days_and_the_day_itself_never_enter_the_model() -> None:
    load, celsius = days()
    other = frozenset({DAY - timedelta(days=7)})
    call = Event(DAY, 16, 20)
    plain = compute(RULE, load, call, event_days=other, celsius=celsius)
    load[DAY - timedelta(days=7)] = load[DAY - timedelta(days=7)] * 1e6
    load[DAY] = load[DAY] * 5
    moved = compute(RULE, load, call, event_days=other, celsius=celsius)
    assert np.array_equal(plain.baseline, moved.baseline)
    assert dict(moved.excluded)[DAY - timedelta(days=7)] == "an event day"


def test_an_event_that_is_warmer_than_all_days_says_so() -> None:
    load, celsius = days()
    celsius[DAY] = celsius[DAY] + 25
    found = compute(RULE, load, Event(DAY, 16, 20), celsius=celsius)
    assert "warmer than any hour that was learnt from" in found.flags[0]


def test_an_event_without_temperature_or_with_few_days_is_refused() -> None:
    load, celsius = days()
    few = {day: load[day] for day in sorted(load)[-20:]}
    with pytest.raises(ValueError, match="19 days to learn from, needs 45"):
        compute(RULE, few, Event(DAY, 16, 20), celsius=celsius)
    celsius[DAY] = np.where(np.arange(24) == 18, np.nan, celsius[DAY])
    with pytest.raises(ValueError, match="no temperature of 2024-07-31 hour 18"):
        compute(RULE, load, Event(DAY, 16, 20), celsius=celsius)


@pytest.mark.long
@pytest.mark.interop
@pytest.mark.skipif(not is_there(), reason="OpenDSM is not installed: make peers-opendsm")
def test_after_its_year_the_model_errs_less_than_opendsm_on_each_of_its_samples() -> None:
    for row in beside()["samples"]:
        assert row["ours_after"] <= row["peer_after"], row
