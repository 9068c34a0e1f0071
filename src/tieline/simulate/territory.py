"""A believable utility territory of any size: feeders, transformers, sites, owners, and devices of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import FUEL_CODE, KIND_CODE, Fleet, Group
from tieline.grid.feeder import FeederModel
from tieline.grid.network import GridNetwork
from tieline.resource.identity import Kind, Purpose
from tieline.simulate.datasets import feeder

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

RURAL, URBAN = "1-lv-rural1", "1-lv-urban6"
PATTERN = (RURAL, RURAL, URBAN, URBAN)
"""The feeders of a territory, over and over: farms behind 160 kVA, streets behind 630 kVA."""
UPPER = "1-mv-semiurb"
UPPER_LOADS = {
    RURAL: ("lv_rural1", "lv_rural2", "lv_rural3"),
    URBAN: ("lv_urban6", "lv_semiurb5", "lv_semiurb4"),
}
"""In place of which loads of the medium-voltage grid the feeders of each model stand, nearest of kin first."""
DEVICES_A_SITE = 4

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
BUSINESS = (
    Kind.INTERRUPTIBLE_LOAD, Kind.PROCESS_LINE, Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS, Kind.MECHANICAL_STORAGE,
)  # fmt: skip
"""What stands at shops, works and farms alone, by the size of the transformer before them."""
ROOFS = (Kind.PV, Kind.BATTERY, Kind.HYBRID_SITE)
FARM_ROOFS = 2.5
"""How much likelier a farm has these than a house."""
STORES = (Kind.BATTERY, Kind.HYBRID_SITE, Kind.MECHANICAL_STORAGE)
GENERATION = "-generation"
"""What the id of a feeder's generation group ends in: all of its devices that can give, as one group to limit."""
GENERATES = (Kind.PV, Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS)


@dataclass(eq=False)
class Territory:
    """The fleet and what its rules and physics need to know of each row and site.

    `models` are the distinct feeders, `model_of_feeder` says which each is, and `profile_of_site` what draws the base
    load of each site (`H0-*`: a home, `G*`: a shop, `L*`: a farm), with its nameplate in `base_w_of_site`.
    """

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
    models: tuple[FeederModel, ...]
    model_of_feeder: Rows
    profile_of_site: NDArray[np.str_]
    base_w_of_site: Floats
    tan_of_site: Floats
    names: dict[str, str] = field(default_factory=dict)

    def network(self) -> GridNetwork:
        """Return the power flow of all feeders under their substations."""
        upper = feeder(UPPER)
        return GridNetwork(self.models, self.model_of_feeder, upper, *self._places(upper))

    def _places(self, upper: FeederModel) -> tuple[Rows, Rows]:
        """Return the load of the upper grid that each feeder stands for, and under which substation.

        Feeders take the places of their kin; once all are taken another substation of the same kind begins.
        """
        places, substations = (np.zeros(len(self.model_of_feeder), np.int32) for _ in range(2))
        for k, model in enumerate(self.models):
            kin = [
                at for name in UPPER_LOADS[model.name] for at, other in enumerate(upper.load_profile) if other == name
            ]
            mine = np.flatnonzero(self.model_of_feeder == k)
            places[mine] = np.resize(kin, len(mine))
            substations[mine] = np.arange(len(mine)) // len(kin)
        return places, substations


def build(devices: int, rng: np.random.Generator, pool: str = "pool-1") -> Territory:
    """Return a territory of so many devices.

    Args:
        devices: How many devices; at least 20, so that every kind is there.
        rng: Where all that is random comes from.
        pool: Id of the pool that they are all in.
    """
    kinds = _kinds(devices, rng)
    models, model_of = _feeders(devices)
    sizes = np.array([len(model.load_bus) for model in models])[model_of]
    feeder_of_site = np.repeat(np.arange(len(model_of), dtype=np.int32), sizes)
    mine = [models[k] for k in model_of.tolist()]
    bus_of_site = np.concatenate([model.load_bus for model in mine]).astype(np.int32)
    profile_of_site = np.concatenate([np.array(model.load_profile) for model in mine])
    base_w_of_site = np.concatenate([model.load_w for model in mine])
    tan_of_site = np.concatenate([model.load_tan for model in mine])
    capacity_va = np.array([model.trafo_va.sum() for model in mine])[feeder_of_site]
    site_of = _sites(kinds, profile_of_site, feeder_of_site, capacity_va, rng)
    rated_w, energy_wh = _sizes(kinds, rng)
    fleet = _fleet(kinds, rated_w, energy_wh, site_of, feeder_of_site, bus_of_site, pool)
    fuels = np.full(devices, "none", dtype="U12")
    engines = np.flatnonzero(kinds == KIND_CODE[Kind.BACKUP_GENERATOR])
    fuels[engines] = np.where(rng.random(len(engines)) < 0.6, "diesel", "natural_gas")
    fuels[kinds == KIND_CODE[Kind.CHP]] = "natural_gas"
    fuels[kinds == KIND_CODE[Kind.BIOMASS]] = "biomass"
    fleet.fuels = np.array([FUEL_CODE[word] for word in fuels.tolist()], np.uint8)
    by_kind = {kind: np.flatnonzero(kinds == KIND_CODE[kind]).astype(np.int32) for kind, _ in MIX}
    feeders = [f"feeder-{n + 1:02d}" for n in range(len(model_of))]
    return Territory(
        fleet, feeder_of_site[site_of], site_of, bus_of_site, feeder_of_site, fuels, "US-TX", rated_w, by_kind,
        feeders, pool, models, model_of, profile_of_site, base_w_of_site, tan_of_site,
    )  # fmt: skip


def _feeders(devices: int) -> tuple[tuple[FeederModel, ...], Rows]:
    """Return the models and which each feeder is: the pattern over and over until every device finds a site."""
    models = (feeder(RURAL), feeder(URBAN))
    model_of: list[int] = []
    sites = 0
    while sites < max(devices // DEVICES_A_SITE, 1):
        model_of.append((RURAL, URBAN).index(PATTERN[len(model_of) % len(PATTERN)]))
        sites += len(models[model_of[-1]].load_bus)
    return models, np.array(model_of, np.int32)


def _sites(
    kinds: NDArray[np.uint8],
    profile: NDArray[np.str_],
    feeder_of_site: Rows,
    capacity_va: Floats,
    rng: np.random.Generator,
) -> Rows:
    """Return the site of each device: roofs rather on farms, business at business, by the feeder's size."""
    homes, farms = np.char.startswith(profile, "H"), np.char.startswith(profile, "L")
    per_site = capacity_va / np.bincount(feeder_of_site, ~homes)[feeder_of_site]
    weights = {
        "house": np.ones(len(profile)),
        "roof": np.where(farms, FARM_ROOFS, 1.0),
        "business": np.where(homes, 0.0, per_site),
    }
    found = np.zeros(len(kinds), np.int32)
    for name, mine in (
        ("business", np.isin(kinds, [KIND_CODE[kind] for kind in BUSINESS])),
        ("roof", np.isin(kinds, [KIND_CODE[kind] for kind in ROOFS])),
    ):
        found[mine] = _drawn(weights[name], int(mine.sum()), rng)
        kinds = np.where(mine, 255, kinds)
    rest = kinds != 255
    found[rest] = _drawn(weights["house"], int(rest.sum()), rng)
    return found


def _drawn(weight: Floats, count: int, rng: np.random.Generator) -> Rows:
    """Return `count` sites drawn by weight; drawn by the inverse of the sum, as `choice` is slow for millions."""
    edges = np.cumsum(weight)
    found: Rows = np.searchsorted(edges, rng.random(count) * edges[-1], side="right").astype(np.int32)
    return found


def _sizes(kinds: NDArray[np.uint8], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return rating (W) and, of stores, energy (Wh)."""
    rated_w, energy_wh = np.zeros(len(kinds)), np.zeros(len(kinds))
    for kind, (low, high) in POWER_KW.items():
        mine = kinds == KIND_CODE[kind]
        rated_w[mine] = np.round(rng.uniform(low, high, int(mine.sum())), 1) * 1e3
    stores = np.isin(kinds, [KIND_CODE[kind] for kind in STORES])
    energy_wh[stores] = np.round(rated_w[stores] * rng.uniform(1.9, 3.2, int(stores.sum())), -2)
    return rated_w, energy_wh


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
    site_of: Rows,
    feeder_of_site: Rows,
    bus_of_site: Rows,
    pool: str,
) -> Fleet:
    generates = np.isin(kinds, [KIND_CODE[kind] for kind in GENERATES])
    injects, absorbs = (energy_wh > 0) | generates, ~generates
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
    first_giving = len(groups)
    groups += [
        Group(f"feeder-{n + 1:02d}{GENERATION}", Kind.GENERATION, Purpose.CURTAILMENT, -1) for n in range(feeder_count)
    ]
    parents = {
        Purpose.ELECTRICAL: (first_bus + bus_index[site_of]).astype(np.int32),
        Purpose.SITE: (first_site + site_of).astype(np.int32),
        Purpose.POOL: np.full(len(kinds), first_giving - 1, np.int32),
        Purpose.CURTAILMENT: np.where(injects, first_giving + feeder_of_site[site_of], -1).astype(np.int32),
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
