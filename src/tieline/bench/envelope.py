"""How long robust operating envelopes of a day take, 55 customers x 48 intervals, each looked at in 1,000 corners."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.grid.envelope_terms import EnvelopeTerms, Kind
from tieline.grid.operating import check_corners, operating_envelopes
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv

BAR = 2.0
UNIT = "s of one core"
WHAT = (
    "robust envelopes of the European LV feeder, 55 customers x 48 intervals, and 1,000 corners of each by power flow"
)
STEPS, LOOKED = 48, 1_000
LEAST_W, MOST_W = -8_000.0, 10_000.0


def day_terms(steps: int, customers: int, seed: int) -> EnvelopeTerms:
    """Return a day: a source that moves by 2 %, and a fifth of the customers who listen to nobody."""
    rng, hour = np.random.default_rng(seed), 24.0 * np.arange(steps) / steps
    least, most = np.full((steps, customers), LEAST_W), np.full((steps, customers), MOST_W)
    deaf = rng.choice(customers, customers // 5, replace=False)
    drawn = 400.0 + 900.0 * np.exp(-(((hour - 19.0) / 2.5) ** 2))[:, None] * rng.uniform(0.5, 1.5, len(deaf))
    least[:, deaf] = most[:, deaf] = -drawn
    return EnvelopeTerms(least, most, source_pu=1.0 - 0.02 * np.sin(2 * np.pi * (hour - 13.0) / 24.0))


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Make the envelopes of both kinds and break them: the robust ones must hold at each corner, by the flow itself."""
    steps, looked = (4, 200) if quick else (STEPS, LOOKED)
    flow = PhaseFlow(european_lv())
    terms, warm = day_terms(steps, 55, seed), day_terms(1, 55, seed)
    check_corners(flow, warm, operating_envelopes(flow, warm, 1), 10, np.random.default_rng(seed))
    kinds: dict[Kind, dict[str, object]] = {}
    for kind in ("robust", "nominal"):
        wall, began = time.perf_counter(), time.process_time()
        made = operating_envelopes(flow, terms, steps, kind)
        between = time.process_time()
        corners = check_corners(flow, terms, made, looked, np.random.default_rng(seed + 1))
        took, wall = time.process_time() - began, time.perf_counter() - wall
        width = float((made.high_w - made.low_w).sum()) / steps
        kinds[kind] = {
            "s": round(took, 3), "wall_s": round(wall, 3), "corners_s": round(took - (between - began), 3),
            "rounds": made.rounds, "broken": int(corners.broken.sum()), "width_kw": round(width / 1e3, 1),
            "worst_over_pu": float(corners.voltage_over_pu.max()),
            "worst_over_loading": float(corners.loading_over.max()),
        }  # fmt: skip
        progress(f"{kind}: {took:.2f} s, {kinds[kind]['broken']} of {steps * looked:,} corners broken")
    robust, nominal = kinds["robust"], kinds["nominal"]
    value = float(str(robust["s"]))
    return {
        "value": value, "ok": bool(value <= BAR and robust["broken"] == 0), "customers": 55, "steps": steps,
        "corners": looked, "robust": robust, "nominal": nominal,
        "peers_left_out": "no permissive package makes robust envelopes of an unbalanced feeder",
    }  # fmt: skip
