"""How fast IEEE 1547-2018 functions run over columns, beside EPRI's OpenDER on the same units and the same courses."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tieline.bench._opender import Courses, OpenDer, in_service, is_there
from tieline.grid.inverter.columns import Inverters
from tieline.grid.inverter.lag import BILINEAR

BAR = 1_000.0
UNIT = "times OpenDER"
WHAT = "all functions of IEEE 1547-2018 for 1,000,000 inverters of 48 kinds, by processor time a unit and step"
BAR_OFF = 1e-6
KINDS = 48

Floats = NDArray[np.float64]


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Step units of all modes and categories by both, and hold what ours give against what OpenDER's give."""
    count, steps = (20_000, 60) if quick else (1_000_000, 60)
    courses = in_service(np.random.default_rng(seed), KINDS, steps)
    ours_ns, sum_frac = _ours_ns(courses, count)
    progress(f"{count:,} units: {ours_ns:.1f} ns a unit and step")
    head: dict[str, object] = {"units": count, "steps": steps, "kinds": KINDS, "ns_by_unit_step": round(ours_ns, 2),
                               "mean_power_frac": round(sum_frac, 6)}  # fmt: skip
    if not is_there():
        return {"value": None, "ok": False, **head, "peer": None,
                "peers_left_out": "OpenDER: run `make peers-opender` in a checkout"}  # fmt: skip
    off, peer_s = _opender(courses)
    ratio = peer_s * 1e9 / ours_ns
    progress(f"OpenDER: {peer_s * 1e6:.1f} us a unit and step; at most {off:.1e} apart")
    return {
        "value": round(ratio), "ok": bool(ratio >= BAR and off <= BAR_OFF), **head,
        "peer": "OpenDER 2.2.0 (EPRI), one unit an object", "peer_value": round(peer_s * 1e6, 2),
        "peer_unit": "us by unit and step", "ratio": round(ratio, 1), "off_peer": off, "bar_off": BAR_OFF,
    }  # fmt: skip


def _ours_ns(courses: Courses, count: int) -> tuple[float, float]:
    """Return processor time of all threads by unit and step (ns), and the mean power at the end.

    Units of a kind lie spread over the rows, each at a voltage of its own around its kind's, so that neither rows nor
    branches repeat. The inputs are made outside what is timed.
    """
    rng = np.random.default_rng(1)
    kind_of = rng.integers(0, KINDS, count).astype(np.int32)
    moved = rng.uniform(-0.01, 0.01, count)
    fleet = Inverters(courses.kinds, kind_of, rule=BILINEAR)
    took = []
    for t in range(len(courses.hz)):
        volts = courses.volts_pu[t].mean(axis=1)[kind_of] + moved
        seen = {"voltage_pu": volts, "low_pu": volts - 0.004, "high_pu": volts + 0.004,
                "frequency_hz": courses.hz[t][kind_of], "wanted_frac": courses.wanted_frac[t][kind_of],
                "limit_frac": courses.limit_frac[t][kind_of]}  # fmt: skip
        began = time.process_time()
        fleet.step(courses.seconds, **seen)
        took.append(time.process_time() - began)
    # The first step compiles, or reads what was compiled.
    return float(np.sum(took[1:])) / (len(took) - 1) / count * 1e9, float(fleet.power_frac.mean())


def _opender(courses: Courses) -> tuple[float, float]:
    """Return how far ours are from OpenDER's at worst (shares of rating and nameplate), and its time by step (s)."""
    with OpenDer() as peer:
        answers, peer_s = courses.run_by(peer)
    fleet = Inverters(courses.kinds, np.arange(KINDS, dtype=np.int32), rule=BILINEAR)
    off = 0.0
    for t in range(len(courses.hz)):
        rows = [answer["rows"][t] for answer in answers]
        mean, low, high = np.array([row[3:6] for row in rows]).T
        fleet.step(
            courses.seconds, voltage_pu=mean, low_pu=low, high_pu=high, frequency_hz=courses.hz[t],
            wanted_frac=courses.wanted_frac[t], limit_frac=courses.limit_frac[t],
        )  # fmt: skip
        theirs: Floats = np.array([row[:2] for row in rows])
        off = max(off, float(np.abs(np.stack([fleet.power_frac, fleet.var_frac], axis=1) - theirs).max()))
    return off, peer_s
