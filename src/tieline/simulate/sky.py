"""The weather over a territory, minute by minute: temperature, sun and the clouds of each feeder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.simulate.datasets import (
    WEATHER_LATER_DAYS,
    WEATHER_LATITUDE_DEG,
    WEATHER_LONGITUDE_DEG,
    weather_at,
    weather_ns,
)
from tieline.simulate.physics.sun import Clouds, output_frac, plane_w_per_m2, sun_vector, sunshine_frac
from tieline.times import SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


class Climate(Struct, frozen=True, forbid_unknown_fields=True):
    """How the days differ from the typical year: hotter by so many degC, this share of its sunshine left.

    `later_days` is how many days late the typical year is read.
    """

    hotter_c: float = 0.0
    sunshine_frac: float = 1.0
    later_days: int = WEATHER_LATER_DAYS


@dataclass(eq=False)
class Sky:
    """The weather now: temperature (degC), wind (m/s), sun, diffuse and, for each feeder, direct irradiance (W/m2)."""

    climate: Climate
    clouds: Clouds
    outdoor_c: float
    wind_m_per_s: float
    sun: tuple[float, float, float]
    diffuse_w_per_m2: float
    direct_w_per_m2: Floats

    @classmethod
    def over(cls, feeders: int, climate: Climate, rng: np.random.Generator) -> Sky:
        """Return the sky over so many feeders."""
        clouds = Clouds(np.ones(feeders, np.bool_), rng)
        return cls(climate, clouds, 20.0, 1.0, (0.0, 0.0, -1.0), 0.0, np.zeros(feeders))

    def step(self, now_ns: int, seconds: float) -> None:
        """Move to an instant."""
        outdoor_c, self.wind_m_per_s, direct, diffuse = weather_at(now_ns, self.climate.later_days)
        self.outdoor_c = outdoor_c + self.climate.hotter_c
        # The irradiance was measured under the sun of its own place and day; the planes are turned to that sun.
        recorded_s = weather_ns(now_ns, self.climate.later_days) / SECOND_NS
        self.sun = sun_vector(recorded_s, WEATHER_LATITUDE_DEG, WEATHER_LONGITUDE_DEG)
        left = self.climate.sunshine_frac
        sunshine = sunshine_frac(direct, self.sun[2]) * left
        now = self.clouds.step(sunshine, seconds)
        # Where cloud takes the beam a part of it arrives as diffuse light.
        self.diffuse_w_per_m2 = diffuse + 0.3 * (1.0 - left) * direct * max(self.sun[2], 0.0)
        self.direct_w_per_m2 = direct * left * now

    @property
    def level_w_per_m2(self) -> float:
        """Irradiance on level ground, all feeders together (W/m2)."""
        return float(self.direct_w_per_m2.mean()) * max(self.sun[2], 0.0) + self.diffuse_w_per_m2

    def output_frac(self, plane: Floats, feeder_of: Rows) -> Floats:
        """Return the output of plants as a share of their rating, each under the clouds of its feeder."""
        irradiance = plane_w_per_m2(plane, self.sun, self.direct_w_per_m2[feeder_of], self.diffuse_w_per_m2)
        return output_frac(irradiance, self.outdoor_c, self.wind_m_per_s)
