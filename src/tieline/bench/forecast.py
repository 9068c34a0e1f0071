"""How many series a core forecasts a day ahead in a second, and what the forecasts are worth against seasonal naive."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.bench._forecast_sets import SeriesSet, missing, sets
from tieline.forecast.bands import bands
from tieline.forecast.choosing import choose, spoken
from tieline.forecast.columns import shared_columns
from tieline.forecast.replay import Past, replay
from tieline.forecast.ridge import ridge
from tieline.forecast.score import coverage, skill, wape
from tieline.forecast.weather import weather_error
from tieline.simulate.datasets import homes, homes_outdoor_c

BAR = 10_000.0
UNIT = "series/s a core"
WHAT = "10,000 hourly series of nine weeks, fitted and forecast a day ahead, by processor time of one core"
BAR_SKILL = 0.15
DAYS, TURNS, FIRST = 63, 5, 60
WEATHER_ERROR_C = 1.5
"""Measured temperatures are no forecast: this is what one of a day ahead is off by (K, standard error)."""
MODELS = ("week", "day", "like", "ridge")
ROOT = Path(__file__).parents[3]
PEER = Path(os.environ.get("TIELINE_PEERS_FORECAST", ROOT / ".venv-peers-forecast")) / "bin" / "python"
SCRIPT = ROOT / "tests" / "peers" / "statsforecast_day.py"
PEER_MODELS = ("MSTL", "AutoETS")

Floats = NDArray[np.float64]


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Time the ridge, score every model on every set that is there, and let a peer forecast some of the same days."""
    rate, wall_s = _rate(1_000 if quick else 10_000, seed)
    progress(f"{rate:,.0f} series/s a core")
    models = MODELS if quick else (*MODELS, "trees")
    found = []
    for each in islice(sets(), 1 if quick else None):
        found.append(_scored(each, 20 if quick else each.load.shape[1] - FIRST, models, seed))
        told = found[-1]
        progress(f"{told['set']}: skill {told['skill']:+.1%} a series, {told['pool_skill']:+.1%} their sum")
    good = sum(min(one["skill"], one["pool_skill"]) >= BAR_SKILL for one in found)
    # The peer takes minutes: a quick look goes without.
    peer = {"peer": None, "peers_left_out": "statsforecast: --quick"} if quick else _peer(next(sets()), 6, rate)
    return {
        "value": round(rate), "ok": bool(rate >= BAR and 2 * good > len(found)), "wall_s": round(wall_s, 3),
        "bar_skill": BAR_SKILL, "sets_at_bar": good, "sets": found, "weather_error_c": WEATHER_ERROR_C, **peer,
        "sets_left_out": missing(),
    }  # fmt: skip


def _rate(count: int, seed: int) -> tuple[float, float]:
    """Return series a second of processor time and the seconds that passed; series are mixes of the 17 real homes."""
    rng = np.random.default_rng(seed)
    hours = 24 * DAYS
    real, mix = homes()[:, 1 : 1 + hours] / 1e3, rng.dirichlet(np.full(17, 0.3), count)
    load = (mix @ real * rng.lognormal(0.0, 0.2, (count, hours))).reshape(count, DAYS, 24)
    off = np.arange(DAYS + 1) % 7 >= 5
    celsius = homes_outdoor_c()[1 : 1 + 24 * (DAYS + 1)].reshape(DAYS + 1, 24)
    ridge(load[:64], shared_columns(off, 24, celsius), off)
    took, passed = [], []
    for _ in range(TURNS):
        began, at = time.process_time(), time.perf_counter()
        ridge(load, shared_columns(off, 24, celsius), off)
        took.append(time.process_time() - began)
        passed.append(time.perf_counter() - at)
    return count / float(np.median(took)), float(np.median(passed))


def _scored(each: SeriesSet, last_days: int, models: tuple[str, ...], seed: int) -> dict[str, Any]:
    days = range(each.load.shape[1] - last_days, each.load.shape[1])
    ahead = None
    if each.celsius is not None:
        ahead = each.celsius + weather_error((len(each.celsius), 24), WEATHER_ERROR_C, seed)
    made = replay(Past(each.load, each.is_off, each.celsius, ahead), days, 1, models, seed)
    actual = each.load[:, list(days)].transpose(1, 0, 2)
    whole, sums = made.sum(axis=2, keepdims=True), actual.sum(axis=1, keepdims=True)
    one, all_of_them = (_spoken(made, actual), _spoken(whole, sums))
    around = bands(all_of_them, sums)
    return {
        "set": each.name, "says": each.says, "days": len(days),
        "wape": _wapes(made, one, actual, models), "skill": round(skill(one, actual, made[0]), 4),
        "pool_wape": _wapes(whole, all_of_them, sums, models),
        "pool_skill": round(skill(all_of_them, sums, whole[0]), 4),
        "coverage_90": round(coverage(around.quantiles[..., 0], around.quantiles[..., -1], sums), 4),
        "coverage_80": round(coverage(around.quantiles[..., 1], around.quantiles[..., -2], sums), 4),
    }  # fmt: skip


def _wapes(made: Floats, one: Floats, actual: Floats, models: tuple[str, ...]) -> dict[str, float]:
    told = {name: round(wape(made[k], actual), 4) for k, name in enumerate(models)}
    return told | {"chosen": round(wape(one, actual), 4)}


def _spoken(made: Floats, actual: Floats) -> Floats:
    return spoken(made, choose(np.abs(made - actual).sum(axis=-1)))


def _peer(each: SeriesSet, days: int, rate: float) -> dict[str, Any]:
    """Let statsforecast foretell some days of the first set from nine weeks each, and ours the same ones."""
    if not (PEER.exists() and SCRIPT.exists()):
        return {"peer": None, "peers_left_out": "statsforecast: run `make peers-forecast` in a checkout"}
    picks = np.linspace(FIRST + 7, each.load.shape[1] - 1, days).astype(int)
    actual = each.load[:, picks].transpose(1, 0, 2)
    ours = replay(Past(each.load, each.is_off), [int(day) for day in picks], 1, ("week", "ridge"))
    rows = [each.load[k, day - DAYS : day].reshape(-1).tolist() for day in picks for k in range(len(each.load))]
    told: dict[str, Any] = {
        "peer_ours_wape": round(wape(ours[1], actual), 4),
        "peer_naive_wape": round(wape(ours[0], actual), 4),
    }
    for name in PEER_MODELS:
        asked = json.dumps({"series": rows, "horizon": 24, "model": name})
        done = subprocess.run(
            [str(PEER), str(SCRIPT)], input=asked, capture_output=True, text=True, check=True, timeout=900
        )
        answer = json.loads(done.stdout)
        theirs = np.array(answer["forecasts"]).reshape(actual.shape)
        told[f"peer_{name.lower()}_wape"] = round(wape(theirs, actual), 4)
        told[f"peer_{name.lower()}_value"] = round(len(rows) / answer["seconds"], 2)
    best = max(PEER_MODELS, key=lambda name: float(told[f"peer_{name.lower()}_value"]))
    value = told[f"peer_{best.lower()}_value"]
    return {
        "peer": f"statsforecast 2.1.1, {best}, without weather", "peer_value": value, "peer_unit": UNIT,
        "ratio": round(rate / value, 1), **told,
    }  # fmt: skip
