"""OpenDSM beside ours: its hourly model on the sample meters that it comes with, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tieline.market.hourly import cvrmse, fit, predict, station

ROOT = Path(__file__).parents[3]
PEER = Path(os.environ.get("TIELINE_PEERS_OPENDSM", ROOT / ".venv-peers-opendsm")) / "bin" / "python"
FITTER = ROOT / "tests" / "peers" / "opendsm_hourly.py"
SAMPLES = (
    "il-electricity-cdd-hdd-hourly", "il-electricity-cdd-only-hourly", "il-gas-hdd-only-hourly",
    "il-gas-intercept-only-hourly", "uk-electricity-hdd-only-hourly-sample-0",
    "uk-electricity-hdd-only-hourly-sample-1",
    "uk-electricity-hdd-only-hourly-sample-2", "uk-gas-hdd-only-hourly-sample-0",
)  # fmt: skip
"""All of its hourly samples. It makes no model of two of them itself; those are named, not counted."""
TRAIN_DAYS = 365


def is_there() -> bool:
    """Return whether the peer is installed (`make peers-opendsm`, in a checkout)."""
    return FITTER.exists() and (PEER.parent.parent / ".fit").exists()


def beside() -> dict[str, Any]:
    """Return both models' CVRMSE on each sample: of the year that they were fitted to, and of up to a year after it."""
    asked = json.dumps({"samples": SAMPLES, "train_days": TRAIN_DAYS})
    done = subprocess.run(
        [str(PEER), "-W", "ignore", str(FITTER)], input=asked + "\n", capture_output=True, text=True, check=True,
        timeout=900,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    rows = [_row(one) for one in answer["samples"]]
    return {
        "version": answer["version"], "refused": answer["refused"], "samples": rows,
        "meters_per_s": len(rows) / sum(one["fit_s"] for one in answer["samples"]),
    }  # fmt: skip


def _row(one: dict[str, Any]) -> dict[str, Any]:
    zone, split = ZoneInfo(one["zone"]), one["train"]
    local = [datetime.fromtimestamp(at, UTC).astimezone(zone) for at in one["start"]]
    slot = np.array([at.weekday() * 24 + at.hour for at in local])
    load, theirs = (np.array([[np.nan if v is None else v for v in one[name]]]) for name in ("kwh", "predicted"))
    mine = station(slot, np.array(one["celsius"]), np.arange(len(slot)) < split)
    ours = predict(mine, fit(mine, load))
    parts = {"fitted": slice(0, split), "after": slice(split, None)}
    found = {
        f"{who}_{part}": round(float(cvrmse(made[:, span], load[:, span])[0]), 4)
        for who, made in (("ours", ours), ("peer", theirs))
        for part, span in parts.items()
    }
    return {"sample": one["name"], "hours": len(slot), **found}
