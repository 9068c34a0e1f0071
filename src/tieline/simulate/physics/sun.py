"""The sun on tilted planes, and the clouds between: what a PV plant could give."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]
ALBEDO = 0.2
FULL_SUN_W_PER_M2 = 1000.0
PER_C = -0.0037
"""Loss of power by cell temperature (1/K): crystalline silicon."""
SYSTEM_FRAC = 0.86
"""What soiling, wiring, mismatch and the like leave: the 14 % default of NREL's PVWatts, version 5."""
NOCT_C = 45.0
"""Temperature of a cell at 800 W/m2, 20 degC and 1 m/s (IEC 61215)."""


def sun_vector(utc_s: float, latitude_deg: float, longitude_deg: float) -> tuple[float, float, float]:
    """Return where the sun stands as (east, north, up); up is the cosine of the zenith angle.

    Declination and equation of time by Spencer's Fourier series (1971), good to 0.05 degrees and 0.6 minutes.

    Args:
        utc_s: UTC seconds since 1970.
        latitude_deg: North is positive.
        longitude_deg: East is positive.
    """
    days = utc_s / 86_400.0
    # 1970 began on 1 January; a mean year is enough, as declination moves by 0.4 degrees a day at most.
    angle = 2 * math.pi * ((days % 365.2425) / 365.2425)
    declination = (
        0.006918 - 0.399912 * math.cos(angle) + 0.070257 * math.sin(angle) - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle) - 0.002697 * math.cos(3 * angle) + 0.00148 * math.sin(3 * angle)
    )  # fmt: skip
    minutes = 229.18 * (
        0.000075 + 0.001868 * math.cos(angle) - 0.032077 * math.sin(angle) - 0.014615 * math.cos(2 * angle)
        - 0.04089 * math.sin(2 * angle)
    )  # fmt: skip
    solar_h = (utc_s % 86_400.0) / 3600.0 + longitude_deg / 15.0 + minutes / 60.0
    hour, latitude = math.radians(15.0 * (solar_h - 12.0)), math.radians(latitude_deg)
    return (
        -math.cos(declination) * math.sin(hour),
        math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(declination) * math.cos(hour),
        math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(hour),
    )


def normals(tilt_deg: Floats, azimuth_deg: Floats) -> Floats:
    """Return the normals of planes as (east, north, up), shape (n, 3); azimuth counts from north through east."""
    tilt, azimuth = np.radians(tilt_deg), np.radians(azimuth_deg)
    return np.stack([np.sin(tilt) * np.sin(azimuth), np.sin(tilt) * np.cos(azimuth), np.cos(tilt)], axis=1)


def plane_w_per_m2(
    plane: Floats, sun: tuple[float, float, float], direct_w_per_m2: Floats, diffuse_w_per_m2: Floats | float
) -> Floats:
    """Return the irradiance on planes (W/m2): beam, isotropic sky and ground (Liu and Jordan, 1963)."""
    up = max(sun[2], 0.0)
    beam = direct_w_per_m2 * np.maximum(plane @ np.array(sun), 0.0) * (up > 0)
    sky = (1.0 + plane[:, 2]) / 2.0
    level = direct_w_per_m2 * up + diffuse_w_per_m2
    result: Floats = beam + diffuse_w_per_m2 * sky + ALBEDO * level * (1.0 - sky)
    return result


def output_frac(plane_w: Floats, outdoor_c: float, wind_m_per_s: float) -> Floats:
    """Return the output of PV as a share of its rating: irradiance, less what a hot cell loses.

    The cell stands above the air by its NOCT, cooled by wind as Skoplaki et al. (2008) put it.
    """
    wind = (8.91 + 2.0 * 1.0) / (8.91 + 2.0 * max(wind_m_per_s, 0.0))
    cell_c = outdoor_c + (NOCT_C - 20.0) / 800.0 * plane_w * wind
    share = plane_w / FULL_SUN_W_PER_M2 * SYSTEM_FRAC * (1.0 + PER_C * (cell_c - 25.0))
    result: Floats = within(share, 0.0, 1.0)
    return result


def sunshine_frac(direct_w_per_m2: float, up: float) -> float:
    """Return the share of an hour in which the sun shone: its direct irradiance against that of a clear sky.

    The clear sky is Meinel's (1976), 1353 * 0.7 ** (air mass ** 0.678) W/m2, of which haze leaves four fifths.
    """
    if up <= 0.05:
        return 1.0 if direct_w_per_m2 > 0 else 0.0
    clear = 0.8 * 1353.0 * math.pow(0.7, (1.0 / up) ** 0.678)
    return min(direct_w_per_m2 / clear, 1.0)


@dataclass(eq=False)
class Clouds:
    """What hides the sun over each place, shape (n,), minute by minute.

    An hour's mean says how long the sun shone, not when. Clear and hidden spells follow each other with exponential
    lengths whose mean ratio is that share, so the hour's energy is kept on average while its minutes swing.
    """

    is_clear: NDArray[np.bool_]
    rng: np.random.Generator
    spell_s: float = 480.0

    def step(self, sunshine: float, seconds: float) -> Floats:
        """Move by one step; returns how much of the direct mean each place has now: 0 hidden, 1/share clear."""
        if sunshine <= 0.0:
            self.is_clear[:] = False
            return np.zeros(len(self.is_clear))
        if sunshine >= 0.98:
            self.is_clear[:] = True
            return np.full(len(self.is_clear), 1.0)
        # The two-state process forgets its state at rate 1/spell_s; what is forgotten is drawn anew by the share.
        forgets = self.rng.random(len(self.is_clear)) < -math.expm1(-seconds / self.spell_s)
        drawn = self.rng.random(len(self.is_clear)) < sunshine
        self.is_clear = np.where(forgets, drawn, self.is_clear)
        return np.where(self.is_clear, 1.0 / sunshine, 0.0)
