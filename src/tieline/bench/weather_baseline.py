"""How many meters a second get an hourly weather-normalised baseline of a year, beside OpenDSM on its own samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.bench._opendsm import beside, is_there
from tieline.market.hourly import Station, cvrmse, fit, fit_one, predict, station

BAR = 2_500.0
UNIT = "meters/s a core"
WHAT = "hourly weather-normalised model of a year of readings and its baseline of each hour, by processor time"
HOURS, GAP_EVERY, GAP_HOURS, TURNS = 8_760, 5, 24, 3
BAR_OFF = 1e-9
"""How far the columns may be from the scalar twin, in parts of the mean load."""


def _year(meters: int, rng: np.random.Generator) -> tuple[Station, NDArray[np.float32]]:
    """Return a station's year and meters whose load goes by hour, day and temperature; one in five lacks a day."""
    at = np.arange(HOURS)
    seasons, days = np.cos(2 * np.pi * (at / HOURS - 0.55)), np.cos(2 * np.pi * (at / 24 - 0.65))
    celsius = 13 + 11 * seasons + 5 * days + np.convolve(rng.normal(0, 2, HOURS + 23), np.ones(24) / 5, "valid")
    slot = at % 168
    shape = 1 + 0.5 * np.cos(2 * np.pi * (slot / 24 - 0.8)) + 0.2 * (slot >= 120)
    cools, heats = rng.gamma(2, 0.03, (2, meters, 1)).astype(np.float32)
    load = rng.gamma(2.0, 0.5, (meters, HOURS)).astype(np.float32) * shape.astype(np.float32)
    load += cools * np.maximum(celsius - 20, 0).astype(np.float32)
    load += heats * np.maximum(14 - celsius, 0).astype(np.float32)
    for meter in range(0, meters, GAP_EVERY):
        first = int(rng.integers(0, HOURS - GAP_HOURS))
        load[meter, first : first + GAP_HOURS] = np.nan
    return station(slot, celsius, np.ones(HOURS, np.bool_)), load


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Fit and lay out all meters three times, hold a sample against the scalar twin, then meet OpenDSM."""
    meters = 500 if quick else 4_000
    one, load = _year(meters, np.random.default_rng(seed))
    made = np.empty(load.shape, np.float32)
    predict(one, fit(one, load), made)  # compiles, and brings memory in
    rates = []
    for turn in range(TURNS):
        began = time.process_time()
        fitted = fit(one, load)
        predict(one, fitted, made)
        rates.append(meters / (time.process_time() - began))
        progress(f"pass {turn + 1}: {rates[-1]:,.0f} meters/s a core")
    off = 0.0
    for meter in (0, 1):
        level, terms = fit_one(one, load[meter].astype(np.float64), float(fitted.penalty[meter]))
        apart = max(abs(level - fitted.level[meter]), float(np.abs(terms - fitted.terms[meter]).max()))
        off = max(off, apart / float(np.nanmean(load[meter])))
    peer = _peer(quick, progress)
    value = float(np.median(rates))
    return {
        "value": round(value), "ok": bool(value >= BAR and off <= BAR_OFF and peer.pop("is_met")),
        "meters": meters, "hours": HOURS, "meters_with_a_day_lacking": len(range(0, meters, GAP_EVERY)),
        "cvrmse": round(float(np.median(cvrmse(made, load))), 4), "off_twin": off, "bar_off_twin": BAR_OFF, **peer,
    } | ({"ratio": round(value / peer["peer_value"])} if peer["peer"] else {})  # fmt: skip


def _peer(quick: bool, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return OpenDSM's speed, and both models' CVRMSE after the year that they learnt from; null and why without it."""
    if quick or not is_there():
        why = "left out by --quick" if quick else "OpenDSM is not installed: run `make peers-opendsm` in a checkout"
        return {"is_met": True, "peer": None, "peer_why": why}
    found = beside()
    for row in found["samples"]:
        progress(f"{row['sample']}: after its year {row['ours_after']:.3f}, OpenDSM {row['peer_after']:.3f}")
    mean = {name: round(float(np.mean([row[name] for row in found["samples"]])), 4)
            for name in ("ours_after", "peer_after", "ours_fitted", "peer_fitted")}  # fmt: skip
    return {
        "is_met": all(row["ours_after"] <= row["peer_after"] for row in found["samples"]),
        "peer": f"OpenDSM {found['version']}, HourlyModel, fit alone, by processor time",
        "peer_value": round(found["meters_per_s"], 2), "peer_unit": UNIT, "cvrmse_mean": mean,
        "samples": found["samples"], "samples_that_opendsm_refuses": found["refused"],
    }  # fmt: skip
