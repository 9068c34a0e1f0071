"""A believable utility territory of any size: feeders, transformers, sites, owners, and devices of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.resource.identity import Kind, Purpose

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

SITES_A_FEEDER = 111
"""The loads of the SimBench grid that each feeder is."""

MIX: tuple[tuple[Kind, float], ...] = (
    (Kind.THERMOSTAT, 0.30),
    (Kind.WATER_HEATER, 0.16),
    (Kind.EV_CHARGER, 0.13),
    (Kind.PV, 0.14),
    (Kind.BATTERY, 0.15),
    (Kind.HYBRID_SITE, 0.03),
    (Kind.SHIFTABLE_LOAD, 0.05),
    (Kind.INTERRUPTIBLE_LOAD, 0.015),
    (Kind.PROCESS_LINE, 0.005),
    (Kind.BACKUP_GENERATOR, 0.010),
    (Kind.CHP, 0.004),
    (Kind.BIOMASS, 0.002),
    (Kind.MECHANICAL_STORAGE, 0.004),
)
"""Share of each kind in the devices of a territory."""

POWER_KW: dict[Kind, tuple[float, float]] = {
    Kind.THERMOSTAT: (2.0, 4.5),
    Kind.WATER_HEATER: (3.0, 4.5),
    Kind.EV_CHARGER: (6.6, 11.0),
    Kind.PV: (3.0, 9.0),
    Kind.BATTERY: (3.3, 7.0),
    Kind.HYBRID_SITE: (5.0, 10.0),
    Kind.SHIFTABLE_LOAD: (0.8, 1.8),
    Kind.INTERRUPTIBLE_LOAD: (8.0, 25.0),
    Kind.PROCESS_LINE: (15.0, 40.0),
    Kind.BACKUP_GENERATOR: (15.0, 40.0),
    Kind.CHP: (15.0, 40.0),
    Kind.BIOMASS: (20.0, 50.0),
    Kind.MECHANICAL_STORAGE: (15.0, 40.0),
}
STORES = (Kind.BATTERY, Kind.HYBRID_SITE, Kind.MECHANICAL_STORAGE)
GENERATES = (Kind.PV, Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS)


@dataclass(eq=False)
class Territory:
    """The fleet and what its rules and physics need to know of each row."""

    fleet: Fleet
    feeder_of: Rows
    site_of: Rows
    bus_of_site: Rows
    feeder_of_site: Rows
    fuel: NDArray[np.str_]
    jurisdiction: str
    rated_w: Floats
    by_kind: dict[Kind, Rows]
    feeders: list[str]
    pool: str
    names: dict[str, str] = field(default_factory=dict)


def build(devices: int, rng: np.random.Generator, load_buses: NDArray[np.int32], pool: str = "pool-1") -> Territory:
    """Return a territory of so many devices.

    Args:
        devices: How many devices; at least 20, so that every kind is there.
        rng: Where all that is random comes from.
        load_buses: The bus of each site of a feeder; its length is the number of sites a feeder.
    """
    kinds = _kinds(devices, rng)
    per_feeder = len(load_buses)
    sites = max(devices // 4, 1)
    feeder_count = max(1, -(-sites // per_feeder))
    sites = feeder_count * per_feeder
    site_of = rng.integers(0, sites, devices).astype(np.int32)
    feeder_of_site = (np.arange(sites) // per_feeder).astype(np.int32)
    bus_of_site = load_buses[np.arange(sites) % per_feeder].astype(np.int32)
    rated_w = np.zeros(devices)
    energy_wh = np.zeros(devices)
    for kind, (low, high) in POWER_KW.items():
        mine = kinds == KIND_CODE[kind]
        rated_w[mine] = np.round(rng.uniform(low, high, int(mine.sum())), 1) * 1e3
    stores = np.isin(kinds, [KIND_CODE[kind] for kind in STORES])
    energy_wh[stores] = np.round(rated_w[stores] * rng.uniform(1.9, 3.2, int(stores.sum())), -2)
    injects = stores | np.isin(kinds, [KIND_CODE[kind] for kind in GENERATES])
    absorbs = ~np.isin(kinds, [KIND_CODE[kind] for kind in GENERATES])
    fleet = _fleet(kinds, rated_w, energy_wh, injects, absorbs, site_of, feeder_of_site, bus_of_site, pool)
    fuels = np.full(devices, "none", dtype="U12")
    engines = np.flatnonzero(kinds == KIND_CODE[Kind.BACKUP_GENERATOR])
    fuels[engines] = np.where(rng.random(len(engines)) < 0.6, "diesel", "natural_gas")
    fuels[kinds == KIND_CODE[Kind.CHP]] = "natural_gas"
    fuels[kinds == KIND_CODE[Kind.BIOMASS]] = "biomass"
    by_kind = {kind: np.flatnonzero(kinds == KIND_CODE[kind]).astype(np.int32) for kind, _ in MIX}
    feeders = [f"feeder-{n + 1:02d}" for n in range(feeder_count)]
    return Territory(
        fleet, feeder_of_site[site_of], site_of, bus_of_site, feeder_of_site, fuels, "US-TX", rated_w, by_kind,
        feeders, pool,
    )  # fmt: skip


def _kinds(devices: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the kind of each row: sorted by kind, each at least once, in the shares of the mix."""
    shares = np.array([share for _, share in MIX])
    counts = np.maximum(np.floor(shares / shares.sum() * devices).astype(int), 1)
    counts[0] += devices - counts.sum()
    return np.repeat([KIND_CODE[kind] for kind, _ in MIX], counts).astype(np.uint8)


def _fleet(
    kinds: NDArray[np.uint8],
    rated_w: Floats,
    energy_wh: Floats,
    injects: NDArray[np.bool_],
    absorbs: NDArray[np.bool_],
    site_of: Rows,
    feeder_of_site: Rows,
    bus_of_site: Rows,
    pool: str,
) -> Fleet:
    groups = [Group("substation-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1)]
    feeder_count = int(feeder_of_site.max()) + 1
    groups += [Group(f"feeder-{n + 1:02d}", Kind.FEEDER, Purpose.ELECTRICAL, 0) for n in range(feeder_count)]
    keys = feeder_of_site.astype(np.int64) * 10_000 + bus_of_site
    buses, bus_index = np.unique(keys, return_inverse=True)
    first_bus = len(groups)
    groups += [
        Group(f"bus-{key // 10_000 + 1:02d}-{key % 10_000:03d}", Kind.BUS, Purpose.ELECTRICAL, int(1 + key // 10_000))
        for key in buses
    ]
    first_site = len(groups)
    groups += [Group(f"site-{n:06d}", Kind.SITE, Purpose.SITE, -1) for n in range(len(feeder_of_site))]
    groups.append(Group(pool, Kind.POOL, Purpose.POOL, -1))
    parents = {
        Purpose.ELECTRICAL: (first_bus + bus_index[site_of]).astype(np.int32),
        Purpose.SITE: (first_site + site_of).astype(np.int32),
        Purpose.POOL: np.full(len(kinds), len(groups) - 1, np.int32),
    }
    counters: dict[int, int] = {}
    ids: list[str] = []
    names = [kind.value.replace("_", "-") for kind in Kind]
    for code in kinds.tolist():
        counters[code] = counters.get(code, 0) + 1
        ids.append(f"{names[code]}-{counters[code]:06d}")
    nothing = np.zeros(len(kinds))
    return Fleet(
        ids, kinds, np.where(injects, rated_w, 0.0), np.where(absorbs, rated_w, 0.0), energy_wh, nothing,
        nothing.copy(), groups, parents,
    )  # fmt: skip
