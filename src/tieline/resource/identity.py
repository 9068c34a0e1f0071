"""What a resource is: one type from device to pool, in a tree with a parent for each purpose."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What a resource is made of. Groups are resources too."""

    THERMOSTAT = "thermostat"
    WATER_HEATER = "water_heater"
    EV_CHARGER = "ev_charger"
    INTERRUPTIBLE_LOAD = "interruptible_load"
    SHIFTABLE_LOAD = "shiftable_load"
    PROCESS_LINE = "process_line"
    PV = "pv"
    BATTERY = "battery"
    MECHANICAL_STORAGE = "mechanical_storage"
    BACKUP_GENERATOR = "backup_generator"
    BIOMASS = "biomass"
    CHP = "chp"
    HYBRID_SITE = "hybrid_site"
    BUS = "bus"
    TRANSFORMER = "transformer"
    FEEDER = "feeder"
    SUBSTATION = "substation"
    SITE = "site"
    OWNER = "owner"
    PROGRAM = "program"
    POOL = "pool"
    GENERATION = "generation"


GROUP_KINDS = frozenset(
    {
        Kind.BUS, Kind.TRANSFORMER, Kind.FEEDER, Kind.SUBSTATION, Kind.SITE, Kind.OWNER, Kind.PROGRAM, Kind.POOL,
        Kind.GENERATION,
    }
)  # fmt: skip


class Fuel(StrEnum):
    """What a generator burns; eligibility depends on it."""

    NONE = "none"
    DIESEL = "diesel"
    NATURAL_GAS = "natural_gas"
    GASOLINE = "gasoline"
    PROPANE = "propane"
    LPG = "lpg"
    BIOMASS = "biomass"
    BIOGAS = "biogas"
    HYDROGEN = "hydrogen"


class Purpose(StrEnum):
    """Why one resource stands under another; a resource has at most one parent for each, but many programs.

    `CURTAILMENT` groups what a grid operator holds back together: the devices of a feeder that can give.
    """

    ELECTRICAL = "electrical"
    SITE = "site"
    OWNER = "owner"
    POOL = "pool"
    PROGRAM = "program"
    CURTAILMENT = "curtailment"


class Rating(Struct, frozen=True, forbid_unknown_fields=True):
    """Nameplate. Powers are magnitudes; storage and ramp are 0 where they don't apply."""

    max_inject_w: float = 0.0
    max_absorb_w: float = 0.0
    max_va: float = 0.0
    energy_wh: float = 0.0
    ramp_w_per_s: float = 0.0


class Resource(Struct, frozen=True, forbid_unknown_fields=True):
    """Anything dispatchable, and any group of such things.

    `parents` holds (purpose, parent id) pairs; `attributes` holds what rules ask for (fuel, jurisdiction,
    disadvantaged community, phase, ...), as text.
    """

    id: str
    kind: Kind
    rating: Rating
    parents: tuple[tuple[Purpose, str], ...] = ()
    name: str = ""
    fuel: Fuel = Fuel.NONE
    attributes: dict[str, str] = {}
    default_w: float = 0.0
    safe_w: float = 0.0

    def parent(self, purpose: Purpose) -> str | None:
        """Return the first parent for a purpose, if there is one."""
        return next((parent for why, parent in self.parents if why is purpose), None)
