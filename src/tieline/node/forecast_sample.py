"""Files to try `tieline forecast` on: 90 days of the 17 homes that come with Tieline, and a plant under a real sky."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from tieline.errors import ConfigError
from tieline.forecast.pv import Place, Roofs, Weather
from tieline.forecast.sun import normals
from tieline.simulate.datasets import WEATHER_LATITUDE_DEG, WEATHER_LONGITUDE_DEG, homes, homes_outdoor_c, weather
from tieline.store.whole_file import whole
from tieline.times import HOUR_NS, iso, to_ns

DAYS, SKY_DAYS, SKY_FROM_DAY = 90, 41, 100
FIRST_NS = to_ns(datetime(2016, 8, 1, tzinfo=ZoneInfo("America/Los_Angeles")))
SKY_NS = to_ns(datetime(2019, 4, 11, tzinfo=ZoneInfo("Etc/GMT+5")))
TILT_DEG, AZIMUTH_DEG, SIZE_KW, MOST_KW = 22.0, 200.0, 6.0, 4.6


def write_sample(folder: Path) -> list[Path]:
    """Write meter.csv, temperature.csv, output.csv and sky.csv into a folder; returns them.

    Raises:
        ConfigError: One of them is there, or can't be written.
    """
    output, sky = _plant()
    made = {"meter.csv": _meter(), "temperature.csv": _temperature(), "output.csv": output, "sky.csv": sky}
    there = [name for name in made if (folder / name).exists()]
    if there:
        raise ConfigError(f"FOLDER {folder}: has a {there[0]}: give a folder without")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        with whole(folder / name, "FOLDER") as part:
            part.write_text(text, encoding="utf-8")
    return [folder / name for name in made]


def _meter() -> str:
    # The first row of the homes is the last hour of the day before.
    rows = [
        f"{iso(FIRST_NS + h * HOUR_NS)},{watts / 1e3:.4f},home-{m + 1:02d}"
        for m, load in enumerate(homes())
        for h, watts in enumerate(load[1 : 1 + 24 * DAYS])
    ]
    return "\n".join(["start,kwh,meter", *rows, ""])


def _temperature() -> str:
    """A day more than the meters have: the one that is foretold."""
    rows = [f"{iso(FIRST_NS + h * HOUR_NS)},{homes_outdoor_c()[1 + h]:.1f}" for h in range(24 * (DAYS + 1))]
    return "\n".join(["start,celsius", *rows, ""])


def _plant() -> tuple[str, str]:
    rows, at_ns = slice(24 * SKY_FROM_DAY, 24 * (SKY_FROM_DAY + SKY_DAYS)), SKY_NS + np.arange(24 * SKY_DAYS) * HOUR_NS
    year = weather()
    sky = Weather(at_ns, HOUR_NS, year.outdoor_c[rows], year.direct_w_per_m2[rows], year.diffuse_w_per_m2[rows])
    plane = normals(np.array([TILT_DEG]), np.array([AZIMUTH_DEG]))
    place = Place(WEATHER_LATITUDE_DEG, WEATHER_LONGITUDE_DEG)
    kwh = Roofs(place, plane, np.array([[SIZE_KW]]), np.array([MOST_KW])).output(sky)[0]
    output = [f"{iso(int(at))},{value:.4f}" for at, value in zip(at_ns[:-24], kwh, strict=False)]
    assert sky.direct_w_per_m2 is not None and sky.diffuse_w_per_m2 is not None
    columns = zip(at_ns, sky.celsius, sky.direct_w_per_m2, sky.diffuse_w_per_m2, strict=True)
    told = [f"{iso(int(at))},{celsius:.1f},{direct:.0f},{diffuse:.0f}" for at, celsius, direct, diffuse in columns]
    return "\n".join(["start,kwh", *output, ""]), "\n".join(["start,celsius,direct,diffuse", *told, ""])
