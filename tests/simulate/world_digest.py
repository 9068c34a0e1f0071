"""Prints the hash of a world's first hours: run by other processes and other Pythons to compare."""

import hashlib
import sys

import numpy as np

from tieline.simulate.sky import Climate
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import SECOND_NS, parse_iso


def digest(seed: int, devices: int = 300, minutes: int = 180, climate: Climate | None = None) -> str:
    """Return the hash of every power, temperature, charge and voltage over some hours of an afternoon."""
    world = World(build(devices, np.random.default_rng([seed, 0])), np.random.default_rng([seed, 1]), climate)
    now_ns, mark = parse_iso("2022-08-17T12:00:00-05:00"), hashlib.sha256()
    target = np.full(devices, np.nan)
    for k in range(minutes):
        target[world.stores] = 2e3 if k > 60 else np.nan
        world.step(now_ns + k * 60 * SECOND_NS, 60.0, target, np.full(devices, -np.inf), np.full(devices, np.inf))
        for column in (world.power_w, world.reactive_var, world.hvac.temperature_c, world.storage.soc_frac):
            mark.update(column.tobytes())
        assert world.grid is not None
        mark.update(world.grid.site_pu.tobytes())
    return mark.hexdigest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
