"""How far what is said to be likely of an award is from what is delivered, and how good its alarm is."""

from __future__ import annotations

from collections.abc import Callable

from tieline.bench._likely_days import NONE, lived
from tieline.bench._likely_scores import alarm, errors, table

BAR = 10.0
UNIT = "% of the award"
WHAT = "mean error of what is likely of an award as it begins, on afternoons without opt-outs; and the alarm of all"
OUT_FRAC = (0.0, 0.3, 0.0, 0.6, 0.0, 0.45, 0.0, 0.9)
"""Which share of the owners opts out at a quarter past three, by seed."""
SCENES = ("heatwave", "cloud", "comms-loss", NONE)


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Live through afternoons of eight seeds and four scenarios, of 200 devices each; quick: through one of 60."""
    if quick:
        days = [lived("heatwave", 60, seed, 2.6)]
    else:
        days = []
        for at, out_frac in enumerate(OUT_FRAC):
            for name in SCENES:
                days.append(lived(name, 200, seed + at, 4.6, out_frac))
                progress(f"{name} {seed + at}: {len(days)} of {len(OUT_FRAC) * len(SCENES)} afternoons")
    still = [day for day in days if day.out_frac <= 0.0]
    progress(table("without opt-outs", still))
    if out := [day for day in days if day.out_frac > 0.0]:
        progress(table("with opt-outs", out))
    found = {str(row["said"]): row for row in errors(still)}
    value = found["as it begins"]["mean_error"]
    assert isinstance(value, float)
    return {"value": value, "ok": value <= BAR, "said": list(found.values()), "alarm": alarm(days)}
