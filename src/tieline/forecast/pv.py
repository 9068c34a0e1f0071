"""PV from weather: what a roof gave says how it lies; what the weather will be says what it will give.

A roof is a mix of planes whose sizes are not known. Each of a bank of planes has its output by physics (irradiance,
cell temperature), the sizes are the non-negative mix that fits the past best, and an inverter that cuts off is known by
a highest output that came again and again. So a plant needs no data sheet, and two orientations are fitted as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.forecast.sun import normals, plane_w_per_m2, split, sun_vectors

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

PER_C = -0.0037
"""Loss of power by cell temperature (1/K): crystalline silicon (NREL PVWatts 5)."""
NOCT_C = 45.0
"""Temperature of a cell at 800 W/m2 and 20 degC (IEC 61215)."""
TILTS_DEG, AZIMUTHS_DEG = (10.0, 30.0, 60.0), (90.0, 135.0, 180.0, 225.0, 270.0)
PARTS = 4
"""Instants of a step at which the sun is looked for: an hour's mean is not that of its middle at dawn."""
CUT_FRAC, CUT_STEPS = 0.995, 5
"""An inverter cuts off where so many steps came this near to the highest."""
ROUNDS = 400
RIDGE = 1e-3
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Means of steps, as measured or as forecast.

    Attributes:
        starts_ns: Start of each step (UTC ns); shape (n,).
        step_ns: Length of a step.
        celsius: Outdoor temperature; shape (n,).
        direct_w_per_m2: Direct normal irradiance; shape (n,). None: split from `level_w_per_m2`.
        diffuse_w_per_m2: Diffuse horizontal irradiance; shape (n,). None: as above.
        level_w_per_m2: Global horizontal irradiance; shape (n,).
    """

    starts_ns: Instants
    step_ns: int
    celsius: Floats
    direct_w_per_m2: Floats | None = None
    diffuse_w_per_m2: Floats | None = None
    level_w_per_m2: Floats | None = None

    def __post_init__(self) -> None:
        both = self.direct_w_per_m2 is not None and self.diffuse_w_per_m2 is not None
        if not both and self.level_w_per_m2 is None:
            raise ValueError("level_w_per_m2 = None: give it, or direct_w_per_m2 and diffuse_w_per_m2")
        columns = (self.celsius, self.direct_w_per_m2, self.diffuse_w_per_m2, self.level_w_per_m2)
        for name, column in zip(("celsius", "direct", "diffuse", "level"), columns, strict=True):
            if column is None:
                continue
            if column.shape != self.starts_ns.shape or not np.isfinite(column).all():
                raise ValueError(
                    f"{name} of shape {column.shape}: give a finite value for each of {len(self.starts_ns)}"
                )
            if name != "celsius" and (column < 0).any():
                raise ValueError(f"{name} = {column.min():g} W/m2: give none below 0")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a plant stands, north and east positive."""

    latitude_deg: float
    longitude_deg: float

    def __post_init__(self) -> None:
        if not -90 <= self.latitude_deg <= 90 or not -180 <= self.longitude_deg <= 180:
            raise ValueError(f"place = {self.latitude_deg:g}, {self.longitude_deg:g}: give -90 to 90, -180 to 180")


@dataclass(frozen=True, slots=True, eq=False)
class Roofs:
    """Plants at one place as mixes of planes; made by `learn`, or by hand from data sheets.

    Attributes:
        place: Where they stand.
        planes: Normals; shape (m, 3).
        size: Power of each plant's part on each plane at 1,000 W/m2 and 25 degC; shape (plants, m).
        most: What its inverter lets through, inf where it never cut off; shape (plants,).
    """

    place: Place
    planes: Floats
    size: Floats
    most: Floats

    def output(self, weather: Weather) -> Floats:
        """Return the mean power of each plant in each step, in the unit of `size`; shape (plants, steps)."""
        found: Floats = np.clip(self.size @ shares(weather, self.place, self.planes).T, 0.0, self.most[:, None])
        return found


def bank() -> Floats:
    """Return the normals of planes that a roof can be mixed of; shape (16, 3)."""
    tilts, azimuths = np.meshgrid(TILTS_DEG, AZIMUTHS_DEG, indexing="ij")
    return np.concatenate([normals(np.zeros(1), np.zeros(1)), normals(tilts.ravel(), azimuths.ravel())])


def shares(weather: Weather, place: Place, planes: Floats) -> Floats:
    """Return what each plane gives of its power at 1,000 W/m2 and 25 degC, in each step; shape (steps, planes)."""
    offset = ((np.arange(PARTS) + 0.5) * weather.step_ns / PARTS).astype(np.int64)
    at_ns = (weather.starts_ns[:, None] + offset).reshape(-1)
    at_day: Floats = (at_ns // DAY_NS % 365.25).astype(np.float64)
    sun = sun_vectors(at_ns, place.latitude_deg, place.longitude_deg)
    is_up = (sun[:, 2] > 0).reshape(-1, PARTS)
    # What was measured over a step came while the sun was up.
    lit: Floats = PARTS / np.maximum(is_up.sum(axis=1), 1).astype(np.float64)
    if weather.direct_w_per_m2 is None or weather.diffuse_w_per_m2 is None:
        assert weather.level_w_per_m2 is not None
        up = np.maximum(sun[:, 2], 0.0)
        mean_up = np.repeat(up.reshape(-1, PARTS).mean(axis=1), PARTS)
        level: Floats = np.repeat(weather.level_w_per_m2, PARTS) * np.where(
            mean_up > 0, up / np.maximum(mean_up, 1e-9), 0.0
        )
        direct, diffuse = split(level, sun[:, 2], at_day)
    else:
        direct = np.repeat(weather.direct_w_per_m2 * lit, PARTS) * is_up.reshape(-1)
        diffuse = np.repeat(weather.diffuse_w_per_m2 * lit, PARTS) * is_up.reshape(-1)
    plane = plane_w_per_m2(sun, planes, direct, diffuse, at_day)
    cell_c = np.repeat(weather.celsius, PARTS)[:, None] + (NOCT_C - 20.0) / 800.0 * plane
    share = np.maximum(plane / 1000.0 * (1.0 + PER_C * (cell_c - 25.0)), 0.0)
    result: Floats = share.reshape(-1, PARTS, len(planes)).mean(axis=1)
    return result


def learn(output: Floats, weather: Weather, place: Place) -> Roofs:
    """Return plants as their past output says they are, all at once.

    The sizes minimise |size A' - output|^2 + ridge |size|^2 with none below zero, by coordinate descent on the normal
    equations. Steps without a reading (NaN), and those at what the inverter cuts off, are left out of a plant's fit.

    Args:
        output: Mean power, or energy a step, of each plant, none below 0 but for noise; shape (plants, steps).
        weather: Of the same steps, measured.
        place: Where they stand.

    Raises:
        ValueError: Shapes that differ, or a plant without a reading by day.
    """
    if output.ndim != 2 or output.shape[1] != len(weather.starts_ns):
        raise ValueError(f"output of shape {output.shape}: give (plants, {len(weather.starts_ns)})")
    planes = bank()
    columns = shares(weather, place, planes)
    has = np.isfinite(output)
    highest = np.where(has, output, 0.0).max(axis=1)
    is_cut = (has & (output >= CUT_FRAC * highest[:, None])).sum(axis=1) >= CUT_STEPS
    most = np.where(is_cut, highest, np.inf)
    seen = has & (output < CUT_FRAC * most[:, None]) & (columns.max(axis=1) > 0.0)
    dark = np.flatnonzero(~seen.any(axis=1) | (highest <= 0))
    if len(dark):
        raise ValueError(f"plant {dark[0]}: no output by day in these steps: give some")
    size = np.empty((len(output), len(planes)))
    for k, row in enumerate(output):
        left = columns[seen[k]]
        gram = left.T @ left
        gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram)
        size[k] = _not_negative(gram, left.T @ row[seen[k]])
    return Roofs(place, planes, size, most)


def _not_negative(gram: Floats, right: Floats) -> Floats:
    """Return the x of none below zero that minimises x'Gx / 2 - r'x; by cyclic coordinate descent, which converges."""
    x = np.zeros(len(right))
    for _ in range(ROUNDS):
        before = x.copy()
        for k in range(len(x)):
            x[k] = max(0.0, x[k] + (right[k] - gram[k] @ x) / gram[k, k])
        if np.abs(x - before).max() <= 1e-10 * max(float(x.max()), 1e-30):
            break
    return x
