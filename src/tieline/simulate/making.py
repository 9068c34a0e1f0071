"""Makes the devices of a territory: sizes, states and habits drawn from a seed, one function a family."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.resource.identity import Kind
from tieline.simulate import datasets
from tieline.simulate.physics.batch import STEP_S, Lines
from tieline.simulate.physics.charging import Charging
from tieline.simulate.physics.generation import Engine, Pv
from tieline.simulate.physics.loads import Load
from tieline.simulate.physics.storage import Storage
from tieline.simulate.physics.sun import normals
from tieline.simulate.physics.thermal import Thermal
from tieline.simulate.territory import Territory

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
ENGINES = (Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS)
LOADS = (Kind.SHIFTABLE_LOAD, Kind.INTERRUPTIBLE_LOAD)
DESIGN_DIFFERENCE_C = 22.0
"""An air conditioner is sized to hold its setpoint this far below the air outside at full power."""
COOLING_RATIO = 3.2
WH_PER_LITRE_C = 1.163
CAPACITY_H = (2.5, 6.0)
"""Time constant of a house (h)."""


def make_storage(territory: Territory, rows: Rows, rng: np.random.Generator) -> Storage:
    """Return batteries, the batteries of hybrid sites, and flywheels or compressed air, in the order of `rows`."""
    n, rated_w = len(rows), territory.rated_w[rows]
    mechanical = np.isin(rows, territory.by_kind[Kind.MECHANICAL_STORAGE])
    one_way = np.where(mechanical, 0.88, rng.uniform(0.93, 0.975, n))
    return Storage(
        discharge_w=rated_w,
        charge_w=rated_w.copy(),
        energy_wh=territory.fleet.energy_wh[rows],
        soc_frac=rng.uniform(0.35, 0.8, n),
        charge_frac=one_way,
        discharge_frac=one_way.copy(),
        reserve_frac=rng.uniform(0.1, 0.2, n),
        standby_w=np.where(mechanical, 0.004 * rated_w, 10.0),
        tapers=~mechanical,
        loss_wh=np.zeros(n),
    )


def make_hvac(rated_w: Floats, rng: np.random.Generator) -> Thermal:
    """Return air conditioners in houses that fit them."""
    n = len(rated_w)
    setpoint = np.round(rng.uniform(22.0, 25.0, n) * 2) / 2
    heat_w = COOLING_RATIO * rated_w
    resistance = DESIGN_DIFFERENCE_C / heat_w
    return Thermal(
        temperature_c=setpoint + rng.uniform(-0.5, 0.5, n),
        setpoint_c=setpoint,
        deadband_c=np.full(n, 1.0),
        comfort_low_c=setpoint - 3.0,
        comfort_high_c=setpoint + 2.0,
        resistance_c_per_w=resistance,
        capacity_wh_per_c=rng.uniform(*CAPACITY_H, n) / resistance,
        heat_w=heat_w,
        rated_w=rated_w,
        sign=np.full(n, -1.0),
        is_on=rng.random(n) < 0.3,
        held_s=rng.uniform(0, 900, n),
        min_hold_s=np.full(n, 300.0),
    )


def make_heaters(rated_w: Floats, rng: np.random.Generator) -> Thermal:
    """Return electric water heaters of 150 to 300 litres."""
    n = len(rated_w)
    setpoint = rng.uniform(50.0, 58.0, n)
    litres = rng.uniform(150, 300, n)
    return Thermal(
        temperature_c=setpoint + rng.uniform(-3, 0, n),
        setpoint_c=setpoint,
        deadband_c=np.full(n, 4.0),
        comfort_low_c=setpoint - 12.0,
        comfort_high_c=setpoint + 8.0,
        resistance_c_per_w=np.full(n, 0.6),
        capacity_wh_per_c=litres * WH_PER_LITRE_C,
        heat_w=rated_w.copy(),
        rated_w=rated_w,
        sign=np.ones(n),
        is_on=rng.random(n) < 0.1,
        held_s=rng.uniform(0, 600, n),
        min_hold_s=np.full(n, 60.0),
    )


def make_charging(rated_w: Floats, rng: np.random.Generator) -> Charging:
    """Return chargers, each with a real session; two thirds of them stand at homes."""
    real, n = datasets.sessions(), len(rated_w)
    pick = rng.integers(0, len(real.weekday), n)
    stays_s = real.stays_s[pick]
    energy_wh = np.minimum(real.energy_wh[pick], 0.75 * rated_w * stays_s / 3600.0)  # near full a car takes less
    # The sessions are of workplaces. Homes charge in the evening: theirs begin nine hours later.
    at_home = rng.random(n) < 0.67
    return Charging(
        rated_w=rated_w,
        arrives_s=(real.arrives_s[pick] + np.where(at_home, 9 * 3600.0, 0.0)) % 86_400.0,
        stays_s=stays_s,
        declared_s=real.declared_s[pick],
        energy_wh=energy_wh,
        weekdays_only=~at_home,
        needed_wh=np.zeros(n),
        is_plugged=np.zeros(n, np.bool_),
        unserved_wh=np.zeros(n),
    )


def make_pv(rated_w: Floats, rng: np.random.Generator) -> Pv:
    """Return PV on roofs: most look south, some east or west, at 15 to 35 degrees."""
    n = len(rated_w)
    tilt, azimuth = rng.uniform(15.0, 35.0, n), np.clip(rng.normal(185.0, 45.0, n), 90.0, 270.0)
    return Pv(rated_w, normals(tilt, azimuth), np.zeros(n))


def make_engines(territory: Territory, rows: Rows) -> Engine:
    """Return backup generators (diesel or gas), CHP with a heat tank of two hours, and biomass plants."""
    n, rated_w = len(rows), territory.rated_w[rows]
    backup, chp = (np.isin(rows, territory.by_kind[kind]) for kind in (Kind.BACKUP_GENERATOR, Kind.CHP))
    efficiency = np.where(backup, 0.34, np.where(chp, 0.36, 0.30))
    hours = np.where(backup & (territory.fuel[rows] == "diesel"), 24.0, np.where(backup | chp, 1e5, 24.0 * 30))
    tank_wh = rated_w / efficiency * hours
    heat_ratio = np.where(chp, 1.4, 0.0)
    tank_heat_wh = heat_ratio * rated_w * 2.0
    return Engine(
        rated_w=rated_w,
        min_w=np.where(backup, 0.3, 0.4) * rated_w,
        start_s=np.where(backup, 30.0, np.where(chp, 120.0, 900.0)),
        min_hold_s=np.where(backup, 600.0, np.where(chp, 1800.0, 3600.0)),
        efficiency_frac=efficiency,
        heat_ratio=heat_ratio,
        is_on=np.zeros(n, np.bool_),
        held_s=np.full(n, 1e6),
        run_h=np.zeros(n),
        fuel_wh=tank_wh.copy(),
        tank_fuel_wh=tank_wh,
        heat_wh=0.5 * tank_heat_wh,
        tank_heat_wh=tank_heat_wh,
        burnt_wh=np.zeros(n),
        boiler_wh=np.zeros(n),
        vented_wh=np.zeros(n),
        heat_w=np.zeros(n),
        starts=np.zeros(n, np.int64),
    )


def make_loads(territory: Territory, rows: Rows, rng: np.random.Generator) -> Load:
    """Return shiftable loads (a few hours a day, owed if missed) and interruptible ones (a shift, with a firm part)."""
    n, rated_w = len(rows), territory.rated_w[rows]
    shifts = np.isin(rows, territory.by_kind[Kind.SHIFTABLE_LOAD])
    begins = np.where(shifts, rng.uniform(9, 17, n), rng.uniform(5, 8, n)) * 3600
    length = np.where(shifts, rng.uniform(3, 6, n), rng.uniform(12, 16, n)) * 3600
    return Load(
        rated_w=rated_w,
        firm_frac=np.where(shifts, 0.0, 0.3),
        begins_s=begins,
        ends_s=np.minimum(begins + length, 86_400.0),
        owes=shifts,
        owed_wh=np.zeros(n),
        dwell_s=np.full(n, 60.0),
        held_s=np.full(n, 1e6),
        last_w=np.zeros(n),
    )


def make_lines(rated_w: Floats, rng: np.random.Generator) -> Lines:
    """Return process lines in long shifts, each somewhere in its recipe."""
    n = len(rated_w)
    begins = rng.uniform(5, 8, n) * 3600
    return Lines(
        rated_w=rated_w,
        begins_s=begins,
        ends_s=np.minimum(begins + rng.uniform(12, 16, n) * 3600, 86_400.0),
        most_wait_s=rng.uniform(1800.0, 3600.0, n),
        step_at=rng.integers(0, len(STEP_S), n),
        done_s=np.zeros(n),
        waits_s=np.zeros(n),
        batches=np.zeros(n, np.int64),
        last_w=np.zeros(n),
    )
