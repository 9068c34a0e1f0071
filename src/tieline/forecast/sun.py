"""Where the sun stands and what a tilted plane gets of it, in columns of instants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

ALBEDO = 0.2
SOLAR_W_PER_M2 = 1361.1
"""Total solar irradiance (Gueymard 2018)."""
_J2000_NS = 946_728_000_000_000_000
"""2000-01-01 12:00 UTC, from which the almanac counts its days."""


def sun_vectors(at_ns: Instants, latitude_deg: float, longitude_deg: float) -> Floats:
    """Return where the sun stands as (east, north, up), up being the cosine of the zenith angle; shape (n, 3).

    By the Astronomical Almanac's low-precision formulas (Michalsky 1988), good to 0.01 degrees from 1950 to 2050.

    Args:
        at_ns: Instants (UTC ns); shape (n,).
        latitude_deg: North is positive.
        longitude_deg: East is positive.
    """
    days = (at_ns - _J2000_NS) / 86_400e9
    anomaly = np.radians((357.528 + 0.9856003 * days) % 360.0)
    longitude = np.radians((280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly)) % 360.0)
    tilt = np.radians(23.439 - 0.0000004 * days)
    right = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude))
    utc_h = (at_ns % 86_400_000_000_000) / 3_600e9
    sidereal_h = 6.697375 + 0.0657098242 * days + utc_h
    hour = np.radians((sidereal_h * 15.0 + longitude_deg) % 360.0) - right
    latitude = np.radians(latitude_deg)
    return np.stack(
        [
            -np.cos(declination) * np.sin(hour),
            np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour),
            np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour),
        ],
        axis=1,
    )


def normals(tilt_deg: Floats, azimuth_deg: Floats) -> Floats:
    """Return the normals of planes as (east, north, up); azimuth counts from north through east; shape (m, 3)."""
    tilt, azimuth = np.radians(tilt_deg), np.radians(azimuth_deg)
    return np.stack([np.sin(tilt) * np.sin(azimuth), np.sin(tilt) * np.cos(azimuth), np.cos(tilt)], axis=1)


def plane_w_per_m2(sun: Floats, planes: Floats, direct: Floats, diffuse: Floats, at_day: Floats) -> Floats:
    """Return the irradiance on planes (W/m2); shape (n, m).

    Beam; a sky of which the share that the beam kept on its way shines from around the sun and the rest from everywhere
    (Hay and Davies 1980); the ground by its albedo.

    Args:
        sun: `sun_vectors`; shape (n, 3).
        planes: `normals`; shape (m, 3).
        direct: Direct normal irradiance (W/m2); shape (n,).
        diffuse: Diffuse horizontal irradiance (W/m2); shape (n,).
        at_day: Day of the year, by which the sun is nearer or farther; shape (n,).
    """
    up = np.maximum(sun[:, 2], 0.0)
    facing = np.maximum(sun @ planes.T, 0.0) * (up > 0)[:, None]
    above = SOLAR_W_PER_M2 * (1.0 + 0.033 * np.cos(2 * np.pi * at_day / 365.25))
    around = np.clip(direct / above, 0.0, 1.0)[:, None]
    # Near the horizon the ratio of beams runs away: held as at 87 degrees.
    ratio = facing / np.maximum(up, np.cos(np.radians(87.0)))[:, None]
    sky = (1.0 + planes[:, 2]) / 2.0
    level = direct * up + diffuse
    found: Floats = (
        direct[:, None] * facing
        + diffuse[:, None] * (around * ratio + (1.0 - around) * sky)
        + ALBEDO * level[:, None] * (1.0 - sky)
    )
    return found


def split(level: Floats, up: Floats, at_day: Floats) -> tuple[Floats, Floats]:
    """Return direct normal and diffuse irradiance of what falls on level ground (Erbs, Klein and Duffie 1982).

    Args:
        level: Global horizontal irradiance (W/m2); shape (n,).
        up: Cosine of the zenith angle; shape (n,).
        at_day: Day of the year; shape (n,).
    """
    above = SOLAR_W_PER_M2 * (1.0 + 0.033 * np.cos(2 * np.pi * at_day / 365.25)) * np.maximum(up, 0.065)
    clear = np.clip(level / above, 0.0, 1.0)
    middle = 0.9511 - 0.1604 * clear + 4.388 * clear**2 - 16.638 * clear**3 + 12.336 * clear**4
    diffuse = level * np.where(clear <= 0.22, 1.0 - 0.09 * clear, np.where(clear <= 0.8, middle, 0.165))
    direct = np.where(up > 0.065, (level - diffuse) / np.maximum(up, 0.065), 0.0)
    return direct, np.where(up > 0.065, diffuse, level)
