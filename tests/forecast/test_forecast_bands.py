"""Quantiles hold what they say, the model that did best speaks, and nothing looks ahead."""

import sys

import numpy as np
import pytest

from tieline.errors import ConfigError
from tieline.forecast.bands import bands
from tieline.forecast.choosing import choose, spoken
from tieline.forecast.columns import shared_columns
from tieline.forecast.ridge import ridge
from tieline.forecast.score import coverage, pinball, skill, wape
from tieline.forecast.trees import Trees
from tieline.forecast.weather import weather_error


def held(made, actual, low: int, high: int, first: int = 0) -> float:
    return coverage(made.quantiles[first:, ..., low], made.quantiles[first:, ..., high], actual[first:])


@pytest.mark.parametrize("kind", ["gauss", "heavy", "skew"])
def test_bands_hold_their_share_whatever_the_errors_are(kind: str) -> None:
    rng = np.random.default_rng(1)
    draw = {
        "gauss": rng.standard_normal,
        "heavy": lambda n: rng.standard_t(3, n),
        "skew": lambda n: rng.gamma(1, 1, n),
    }[kind]
    actual = 10 + draw((300, 3, 24))
    made = bands(np.full(actual.shape, 10.0), actual)
    assert held(made, actual, 0, 6) == pytest.approx(0.90, abs=0.015)
    assert held(made, actual, 1, 5) == pytest.approx(0.80, abs=0.015)
    assert held(made, actual, 2, 4) == pytest.approx(0.50, abs=0.02)


def test_bands_follow_errors_that_grow() -> None:
    rng = np.random.default_rng(2)
    actual = 100 + rng.standard_normal((400, 2, 24)) * np.linspace(1, 6, 400)[:, None, None]
    mean = np.full(actual.shape, 100.0)
    assert held(bands(mean, actual), actual, 0, 6, 100) == pytest.approx(0.90, abs=0.015)
    assert held(bands(mean, actual, rate=0.0), actual, 0, 6, 100) < 0.89  # without what adapts they fall behind


def test_quantiles_rise_and_know_nothing_of_their_day() -> None:
    rng = np.random.default_rng(3)
    actual = 5 + rng.standard_normal((60, 2, 24))
    mean = 5 + 0.1 * rng.standard_normal(actual.shape)
    made = bands(mean, actual, lead=2)
    assert np.isnan(made.quantiles[:15]).all() and np.isfinite(made.quantiles[15:]).all()
    assert (np.diff(made.quantiles[15:], axis=-1) >= 0).all()
    other = actual.copy()
    other[49:] = 1e6
    assert (bands(mean, other, lead=2).quantiles[:51] == made.quantiles[:51])[15:].all()
    other[48] = 1e6
    assert (bands(mean, other, lead=2).quantiles[50] != made.quantiles[50]).any()


def test_a_quantile_of_few_errors_is_the_kth_at_k_over_m_plus_one() -> None:
    """Split conformal: of m errors the k-th smallest is the quantile at k / (m + 1) (Vovk, Gammerman, Shafer 2005)."""
    errors = np.random.default_rng(4).permutation(19).astype(float)
    actual = np.append(errors, np.nan)[:, None, None] + 50.0
    made = bands(np.full((20, 1, 1), 50.0), actual, (0.05, 0.5, 0.95), rate=0.0)
    # The one step is its own neighbour on both sides: each error counts three times, m is 57.
    ranks = np.repeat(np.arange(19.0), 3)
    for level, found in zip((0.05, 0.5, 0.95), made.quantiles[19, 0, 0] - 50.0, strict=True):
        assert found == pytest.approx(np.interp(level * 58 - 1, np.arange(57), ranks))


def test_live_coverage_is_counted_from_days_before() -> None:
    rng = np.random.default_rng(5)
    actual = 9 + rng.standard_normal((50, 1, 24))
    made = bands(np.full(actual.shape, 9.0), actual)
    for day in (20, 49):
        under = actual[14:day, 0, :, None] <= made.quantiles[14:day, 0]
        assert made.below[day, 0] == pytest.approx(under.mean(axis=(0, 1)))
    assert made.covered(0.05, 0.95)[49, 0] == pytest.approx(made.below[49, 0, 6] - made.below[49, 0, 0])


def test_missing_values_are_passed_over_and_what_never_was_negative_stays_so() -> None:
    rng = np.random.default_rng(6)
    actual = np.maximum(rng.standard_normal((80, 2, 24)), 0.0)
    actual[:, 1] -= 5
    actual[30:40, 0] = np.nan
    made = bands(np.full(actual.shape, 0.2), actual)
    assert np.isfinite(made.quantiles[14:]).all()
    assert made.quantiles[14:, 0].min() == 0.0 and made.quantiles[14:, 1].min() < 0
    with pytest.raises(ValueError, match="levels"):
        bands(actual, actual, (0.9, 0.1))
    with pytest.raises(ValueError, match="give"):
        bands(actual[0], actual[0])


def test_the_floor_speaks_until_a_week_has_shown_a_better_one() -> None:
    errors = np.ones((3, 40, 2))
    errors[2, :, 0] = 0.5  # the third is better for the first pool alone
    chosen = choose(errors, lead=2)
    assert (chosen[:8] == 0).all() and (chosen[8:, 0] == 2).all() and (chosen[:, 1] == 0).all()
    forecasts = np.arange(3.0)[:, None, None, None] * np.ones((3, 40, 2, 4))
    assert (spoken(forecasts, chosen)[:, :, 1] == chosen).all()


def test_a_choice_is_made_from_what_was_known_and_is_not_changed_for_nothing() -> None:
    rng = np.random.default_rng(7)
    errors = rng.random((4, 60, 3))
    later = errors.copy()
    later[:, 38:] = rng.random((4, 22, 3))
    assert (choose(later, lead=3)[:41] == choose(errors, lead=3)[:41]).all()
    close = np.ones((2, 60, 1))
    close[1] = 0.99  # better by a hundredth: no reason to change
    assert (choose(close) == 0).all()
    close[:, 20] = np.nan  # a day that says nothing
    close[1] *= 0.8
    assert (choose(close)[8:] == 1).all()


def test_choosing_comes_near_the_best_when_the_best_changes() -> None:
    rng = np.random.default_rng(8)
    size = np.ones((3, 400))
    size[1, :200], size[2, 200:] = 0.6, 0.6
    errors = size[:, :, None] * rng.gamma(4, 0.25, (3, 400, 50))
    got = errors[choose(errors), np.arange(400)[:, None], np.arange(50)].sum()
    assert got < 0.9 * errors.sum(axis=(1, 2)).min()


def test_scores_are_those_of_their_definitions() -> None:
    forecast, actual = np.array([1.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0])
    assert wape(forecast, actual) == 0.5
    assert skill(forecast, actual, np.array([0.0, 4.0, 9.0])) == 0.5
    assert coverage(actual - 1, np.array([2.5, 1.0, np.nan]), actual) == 0.5
    assert pinball(np.array([[1.0, 3.0]]), np.array([2.0]), np.array([0.1, 0.9])) == pytest.approx(0.1)
    assert np.isnan(wape(forecast, 0 * actual)) and np.isnan(
        pinball(np.full((1, 1), np.nan), actual[:1], np.array([0.5]))
    )


def test_errors_of_the_weather_are_of_the_size_asked_and_last() -> None:
    off = weather_error((2_000, 24), 1.5, 1).reshape(-1)
    assert off.std() == pytest.approx(1.5, rel=0.05)
    assert np.corrcoef(off[:-1], off[1:])[0, 1] == pytest.approx(0.97, abs=0.005)
    assert (weather_error((3, 24), 1.5, 1) == weather_error((3, 24), 1.5, 1)).all()


def test_one_model_of_all_lends_to_a_series_what_others_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    celsius = 20 + 8 * rng.random((61, 1)) + np.zeros(24)
    off = np.arange(61) % 7 >= 5
    load = (1 + rng.random((15, 1, 24))) * (1 + 0.1 * np.maximum(celsius - 22, 0) ** 1.5) + 0.05 * rng.random(
        (15, 61, 24)
    )
    load[0, :55] = np.nan  # five days old
    grown = Trees(load[:, :60], off[:60], celsius[:60])
    found = grown.foretell(load[:, :60], off, celsius)
    assert wape(found, load[:, 60]) < 0.5 * wape(load[:, 53], load[:, 60])
    alone = ridge(load[:, :60], shared_columns(off, 24, celsius), off)
    assert wape(found[0], load[0, 60]) < 0.8 * wape(alone[0], load[0, 60])
    assert (Trees(load[:, :60], off[:60], celsius[:60]).foretell(load[:, :60], off, celsius) == found).all()
    with pytest.raises(ValueError, match="weather as when fitted"):
        grown.foretell(load[:, :60], off, None)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"model = 'trees': LightGBM is not installed"):
        Trees(load[:, :60], off[:60], celsius[:60])
