"""What stands at the sites beside the devices: homes, shops and farms that draw, plants that stood there already."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tieline.grid.feeder import FeederModel
from tieline.grid.powerflow import FeederFlow
from tieline.simulate import datasets
from tieline.simulate.physics.sun import normals
from tieline.simulate.sky import Sky
from tieline.simulate.territory import Territory

Floats = NDArray[np.float64]
SOUTH = normals(np.array([30.0]), np.array([180.0]))


@dataclass(eq=False)
class Sites:
    """Columns of sites: each home has one of 17 real homes and a size; each business a profile of its feeder's data."""

    homes: NDArray[np.int64]
    home_of: NDArray[np.int64]
    scale: Floats
    others: NDArray[np.int64]
    profile: Floats
    profile_of: NDArray[np.int64]
    other_w: Floats

    @classmethod
    def of(cls, territory: Territory, rng: np.random.Generator) -> Sites:
        """Return the sites of a territory."""
        lives = np.char.startswith(territory.profile_of_site, "H")
        homes, others = np.flatnonzero(lives), np.flatnonzero(~lives)
        names, profile_of = np.unique(territory.profile_of_site[others], return_inverse=True)
        table = datasets.profiles()
        return cls(
            homes,
            rng.integers(0, len(datasets.homes()), len(homes)),
            rng.uniform(0.5, 1.2, len(homes)),
            others,
            np.stack([table[str(name)] for name in names]),
            profile_of,
            territory.base_w_of_site[others],
        )

    def load_w(self, now_ns: int) -> Floats:
        """Return what each site draws beside its devices (W)."""
        found = np.empty(len(self.homes) + len(self.others))
        found[self.homes] = datasets.homes_at(now_ns)[self.home_of] * self.scale
        found[self.others] = self.profile[self.profile_of, datasets.profile_row(now_ns)] * self.other_w
        return found

    def native_w(self, model: FeederModel, feeders: NDArray[np.int64], sky: Sky) -> Floats:
        """Return what the plants of a model give on each of some feeders (W); on low voltage all of them are PV."""
        south = np.tile(SOUTH, (len(feeders), 1))
        frac = sky.output_frac(south, feeders.astype(np.int32))
        return frac[:, None] * model.native_w[None, :]

    def upper_w(self, upper: FeederFlow | None, now_ns: int, sky: Sky) -> tuple[Floats | None, Floats | None]:
        """Return net power of each load and plant of the medium-voltage grid (W); None where there is none."""
        if upper is None:
            return None, None
        row, model = datasets.profile_row(now_ns), upper.model
        known = _upper(model.name)
        now = known.profile[:, row]
        sun = float(sky.output_frac(SOUTH, np.zeros(1, np.int32))[0])
        native = now[known.native_of]
        return -now[known.load_of] * model.load_w, np.where(np.isnan(native), sun, native) * model.native_w


@dataclass(frozen=True, slots=True, eq=False)
class _Upper:
    """The distinct profiles of an upper grid, shape (profiles, quarters), and which each load and plant has."""

    profile: Floats
    load_of: NDArray[np.int64]
    native_of: NDArray[np.int64]


@cache
def _upper(name: str) -> _Upper:
    """Return the profiles of a grid; a plant with NaN is PV and follows the sky instead.

    The plants behind the low-voltage grids (`lv_*`) are roofs.
    """
    table, model = datasets.profiles(), datasets.feeder(name)
    natives = ["sun" if what[:2] in ("PV", "lv") else what for what in model.native_profile]
    names, index = np.unique([*model.load_profile, *natives], return_inverse=True)
    sunny = np.full(datasets.QUARTERS, np.nan)
    profile = np.stack([sunny if what == "sun" else table[str(what)] for what in names])
    return _Upper(profile, index[: len(model.load_w)], index[len(model.load_w) :])
