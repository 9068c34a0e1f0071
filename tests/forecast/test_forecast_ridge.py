"""The batched ridge is the plain one, series by series, and looks at nothing that wasn't known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.forecast.columns import degrees, shared_columns, trailing_day
from tieline.forecast.lags import COUNT, FADE_H, KEEP_ALL, KEEP_FAST, KEEP_LIKE, lags_of, strayed
from tieline.forecast.naive import like_days, newest_day, week_ago
from tieline.forecast.replay import MODELS, Past, foretell, replay
from tieline.forecast.ridge import RidgeTerms, one_series, ridge
from tieline.forecast.score import wape

DAYS = 40


def world(seed: int, count: int = 5, days: int = DAYS, steps: int = 24, lead: int = 1, gaps: float = 0.0):
    rng = np.random.default_rng(seed)
    hour = np.arange(steps) * 24 / steps
    off = np.arange(days + lead) % 7 >= 5
    celsius = 20 + 8 * np.sin((hour - 9) / 24 * 2 * np.pi) + rng.normal(0, 4, (days + lead, 1))
    shape = 0.5 + rng.random((count, 1, steps)) + 0.4 * off[:, None]
    load = (
        shape
        + 0.05 * rng.random((count, 1, 1)) * np.maximum(celsius - 18, 0)
        + 0.1 * rng.random((count, days + lead, steps))
    )
    load[rng.random(load.shape) < gaps] = np.nan
    return load, off, celsius


def plain_lags(load: np.ndarray, off: np.ndarray, lead: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Profile and lag columns of one series' day, from sums over its past, as the docs say them."""
    steps = load.shape[1]

    def profile(kind: bool, until: int) -> np.ndarray:
        found = np.full(steps, np.nan)
        for s in range(steps):
            seen = [d for d in range(until) if np.isfinite(load[d, s])]
            if not seen:
                continue
            weights = [KEEP_ALL ** (until - 1 - d) for d in seen]
            every = sum(w * load[d, s] for w, d in zip(weights, seen, strict=True)) / sum(weights)
            like = [d for d in seen if off[d] == kind][::-1]
            mass = sum(KEEP_LIKE**k for k in range(len(like)))
            found[s] = (sum(KEEP_LIKE**k * load[d, s] for k, d in enumerate(like)) + every) / (mass + 1)
        return found

    known = target - lead + 1
    strayed = np.array([np.nan_to_num(load[d] - profile(off[d], d)) for d in range(known)])
    fast, fast_mean = np.zeros(steps), 0.0
    for row in strayed:
        fast = KEEP_FAST * fast + (1 - KEEP_FAST) * row
        fast_mean = KEEP_FAST * fast_mean + (1 - KEEP_FAST) * row.mean()
    base = profile(off[target], known)
    back = np.nan_to_num(load[target - 7 * -(-lead // 7)] - base)
    fade = np.exp(-np.arange(steps) * 24 / steps / FADE_H)
    late = strayed[-1][steps - steps // 8 :].mean()
    columns = [strayed[-1], fast, back, np.full(steps, strayed[-1].mean()), np.full(steps, fast_mean), late * fade]
    return base, np.array(columns)


@pytest.mark.parametrize("lead", [1, 3])
@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_profile_and_lags_are_what_their_definition_says(lead: int, gaps: float) -> None:
    load, off, _ = world(3, 2, 20, 8, lead, gaps)
    known = load[:, :20]
    own, seen, size, base, ahead = lags_of(known, off, 10, np.ones(10))
    for i in range(2):
        assert size[i] == pytest.approx(np.nanmean(np.abs(known[i, 10:])))
        profile, columns = plain_lags(
            np.pad(known[i], ((0, lead), (0, 0)), constant_values=np.nan), off, lead, 19 + lead
        )
        assert base[i] == pytest.approx(profile)
        assert ahead[i] * size[i] == pytest.approx(columns)
        profile, columns = plain_lags(known[i], off, lead, 14)
        ok = np.isfinite(known[i, 14])
        assert (seen[i, 4] == ok).all()
        assert own[i, :COUNT, 4][:, ok] * size[i] == pytest.approx(columns[:, ok])
        assert own[i, COUNT, 4, ok] * size[i] == pytest.approx((known[i, 14] - profile)[ok])
        assert not own[i, :, 4][:, ~ok].any()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 8]), st.sampled_from([0.0, 0.03, 0.5]), st.sampled_from([4, 24]))
def test_all_at_once_is_each_by_itself(seed: int, lead: int, gaps: float, steps: int) -> None:
    load, off, celsius = world(seed, 40, 30, steps, lead, gaps)
    shared = shared_columns(off, steps, celsius)
    found = ridge(load[:, :30], shared, off)
    for i in (0, 17, 39):
        assert found[i] == pytest.approx(one_series(load[i, :30], shared, off), rel=1e-8, abs=1e-9)


def test_a_series_scales_with_its_unit_and_doesnt_know_its_neighbours() -> None:
    load, off, celsius = world(1, gaps=0.02)
    shared = shared_columns(off, 24, celsius)
    found = ridge(load[:, :DAYS], shared, off)
    assert ridge(-1_000 * load[:, :DAYS], shared, off) == pytest.approx(-1_000 * found)
    assert ridge(load[2:3, :DAYS], shared, off) == pytest.approx(found[2:3], rel=1e-12)


def test_the_same_inputs_give_the_same_bits() -> None:
    load, off, celsius = world(2, 200)
    shared = shared_columns(off, 24, celsius)
    assert (ridge(load[:, :DAYS], shared, off) == ridge(load[:, :DAYS].copy(), shared.copy(), off)).all()


def test_what_repeats_each_week_is_foretold_and_nothing_else_is_believed() -> None:
    load, off, _ = world(4)
    weekly = np.where(off[None, :, None], load[:, 5:6], load[:, 0:1])
    shared = shared_columns(off, 24)
    assert ridge(weekly[:, :DAYS], shared, off) == pytest.approx(weekly[:, DAYS], rel=0.02)
    stiff = ridge(load[:, :DAYS], shared, off, RidgeTerms(shared_penalty=1e12, lag_penalty=1e12))
    assert stiff == pytest.approx(lags_of(load[:, :DAYS], off, 7, np.ones(DAYS - 7))[3], abs=1e-6)


def test_load_that_goes_with_the_heat_is_foretold_by_it() -> None:
    load, off, celsius = world(5, 20, 75)
    load = load + 0.3 * np.maximum(celsius - 18, 0)
    days = range(60, 75)
    actual = load[:, 60:75].transpose(1, 0, 2)
    blind = replay(Past(load, off), days, 1, ("ridge",))[0]
    seeing = replay(Past(load, off, celsius, celsius), days, 1, ("ridge",))[0]
    assert wape(seeing, actual) < 0.35 * wape(blind, actual)


def test_columns_stray_from_their_profile_as_a_load_would() -> None:
    _, off, celsius = world(12, days=20, lead=2)
    beyond = degrees(celsius)
    found = strayed(beyond, off, 2)
    own, _, size, base, _ = lags_of(beyond[:, :20], off, 10, np.ones(10))
    assert found[:, 21] == pytest.approx(beyond[:, 21] - base)
    assert found[:, 10:20] == pytest.approx(own[:, COUNT] * size[:, None, None])


def test_a_new_series_and_a_silent_one_harm_nobody() -> None:
    load, off, celsius = world(6)
    load[1, :35], load[3] = np.nan, np.nan
    found = ridge(load[:, :DAYS], shared_columns(off, 24, celsius), off)
    assert np.isnan(found[3]).all() and np.isfinite(found[[0, 1, 2, 4]]).all()
    assert wape(found[1], load[1, DAYS]) < 0.2


def test_a_forecast_stays_near_what_the_series_ever_did() -> None:
    load, off, celsius = world(7)
    celsius[-1] = 60.0
    found = ridge(load[:, :DAYS], shared_columns(off, 24, celsius), off)
    reach = load[:, :DAYS].max(axis=(1, 2)) - load[:, :DAYS].min(axis=(1, 2))
    assert (found >= 0).all() and (found <= (load[:, :DAYS].max(axis=(1, 2)) + 0.5 * reach)[:, None] + 1e-12).all()


@pytest.mark.parametrize("lead", [1, 2])
def test_no_model_sees_what_was_not_known(lead: int) -> None:
    load, off, celsius = world(8, 3, 50)
    before = foretell(Past(load, off, celsius, celsius), 45, lead, MODELS)
    later = load.copy()
    later[:, 45 - lead + 1 :] = 1e6
    warmer = celsius.copy()
    warmer[45 - lead + 1 :] = 50.0
    assert (foretell(Past(later, off, warmer, celsius), 45, lead, MODELS) == before).all()
    told = celsius.copy()
    told[: 45 - lead + 1] = 50.0
    assert (foretell(Past(load, off, celsius, told), 45, lead, MODELS) == before).all()


def test_naive_forecasts_are_the_days_that_they_name() -> None:
    load, off, _ = world(9, 2, 30)
    assert (week_ago(load[:, :30], 1) == load[:, 23]).all()
    assert (week_ago(load[:, :29], 2) == load[:, 23]).all()
    assert (week_ago(load[:, :23], 8) == load[:, 16]).all()
    assert (newest_day(load[:, :30]) == load[:, 29]).all()
    same = [d for d in range(30) if off[d] == off[30]][-10:]
    assert like_days(load[:, :30], off) == pytest.approx(load[:, same].mean(axis=1))
    with pytest.raises(ValueError, match="3 days: give at least 7"):
        week_ago(load[:, :3])


def test_replayed_days_are_those_foretold_one_by_one() -> None:
    load, off, celsius = world(10, 2, 40)
    past = Past(load, off, celsius, celsius)
    whole = replay(past, range(30, 40))
    assert whole.shape == (4, 10, 2, 24)
    assert (whole[:, 4] == foretell(past, 34)).all()


def test_the_memory_of_walls_is_the_mean_of_24_hours() -> None:
    celsius = np.random.default_rng(1).normal(20, 5, (4, 24))
    flat = celsius.reshape(-1)
    assert trailing_day(celsius)[2, 7] == pytest.approx(flat[2 * 24 + 7 - 23 : 2 * 24 + 8].mean())


def test_bad_inputs_are_refused_with_value_and_limit() -> None:
    load, off, celsius = world(11, 2, 20)
    with pytest.raises(ValueError, match="10 days: give at least 14"):
        ridge(load[:, :10], shared_columns(off[:11], 24), off[:11])
    with pytest.raises(ValueError, match=r"columns \(20, 24, 20\)"):
        ridge(load[:, :20], shared_columns(off[:20], 24), off)
    with pytest.raises(ValueError, match="model 'oracle' is unknown"):
        foretell(Past(load, off), 20, 1, ("oracle",))
    with pytest.raises(ValueError, match="is_off of 3 days: give the 21"):
        Past(load, off[:3])
    with pytest.raises(ValueError, match="celsius without celsius_ahead"):
        Past(load, off, celsius)
