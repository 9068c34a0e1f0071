"""Makes tests/forecast/pvlib.json by pvlib 0.16.1 (`pip install pvlib==0.16.1`, an environment of its own).

Sun by NREL's SPA; planes by Hay and Davies; two plants by Perez, the SAPM cell temperature and PVWatts, on 60 days of the
typical year that comes with Tieline. `python tests/peers/pvlib_plants.py`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pvlib
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
LATITUDE, LONGITUDE = 36.1, -79.95
FIRST, DAYS = 100, 60


def plant(
    hours: pd.DataFrame, sun: pd.DataFrame, roofs: list[tuple[float, float, float]], most_kw: float
) -> np.ndarray:
    extra, dc = pvlib.irradiance.get_extra_radiation(sun.index), 0.0
    for tilt, azimuth, kw in roofs:
        plane = pvlib.irradiance.get_total_irradiance(
            tilt,
            azimuth,
            sun.apparent_zenith,
            sun.azimuth,
            hours.direct_w_per_m2,
            hours.global_w_per_m2,
            hours.diffuse_w_per_m2,
            dni_extra=extra,
            airmass=pvlib.atmosphere.get_relative_airmass(sun.apparent_zenith),
            model="perez",
        )["poa_global"].fillna(0.0)
        terms = pvlib.temperature.TEMPERATURE_MODEL_PARAMETERS["sapm"]["close_mount_glass_glass"]
        cell = pvlib.temperature.sapm_cell(plane, hours.outdoor_c, hours.wind_m_per_s, **terms)
        dc = dc + pvlib.pvsystem.pvwatts_dc(plane, cell, kw, -0.0035) * 0.86
    return pvlib.inverter.pvwatts(np.asarray(dc), most_kw / 0.96)


def main() -> None:
    hours = pq.read_table(ROOT / "src/tieline/simulate/data/weather.parquet").to_pandas()[
        24 * FIRST : 24 * (FIRST + DAYS)
    ]
    ends = pd.date_range("2019-01-01 01:00", periods=8760, freq="h", tz="Etc/GMT+5")[24 * FIRST : 24 * (FIRST + DAYS)]
    hours.index = ends - pd.Timedelta(minutes=30)  # an hour's mean stands for its middle
    sun = pvlib.solarposition.get_solarposition(hours.index, LATITUDE, LONGITUDE)
    one = plant(hours, sun, [(22.0, 200.0, 6.0)], 4.2)
    two = plant(hours, sun, [(35.0, 95.0, 3.0), (35.0, 275.0, 3.0)], 9.0)
    picks = np.arange(8, 200, 7)
    bright = picks[sun.elevation.to_numpy()[picks] > 5]
    some, at = hours.iloc[bright], sun.iloc[bright]
    hay = pvlib.irradiance.get_total_irradiance(
        30.0,
        135.0,
        at.zenith,
        at.azimuth,
        some.direct_w_per_m2,
        some.direct_w_per_m2 * np.cos(np.radians(at.zenith)) + some.diffuse_w_per_m2,
        some.diffuse_w_per_m2,
        dni_extra=pvlib.irradiance.get_extra_radiation(some.index),
        albedo=0.2,
        model="haydavies",
    )["poa_global"]
    erbs = pvlib.irradiance.erbs(some.global_w_per_m2, at.zenith, some.index)
    told = {
        "starts_ns": int((ends[0] - pd.Timedelta(hours=1)).value), "latitude_deg": LATITUDE, "longitude_deg": LONGITUDE,
        "first_row": 24 * FIRST, "one_kw": one.round(4).tolist(), "two_kw": two.round(4).tolist(),
        "rows": bright.tolist(), "elevation_deg": at.elevation.round(5).tolist(), "azimuth_deg": at.azimuth.round(5).tolist(),
        "level_w_per_m2": some.global_w_per_m2.astype(float).tolist(), "haydavies_w_per_m2": hay.round(3).tolist(), "erbs_diffuse_w_per_m2": erbs["dhi"].round(3).tolist(),
    }  # fmt: skip
    (ROOT / "tests/forecast/pvlib.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
