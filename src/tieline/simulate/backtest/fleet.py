"""The mixed fleet of a backtest, drawn from a seed: its stores, cars, sun and engines, and what they need day by day.

Sizes are made; sessions of cars are real (ACN-Data), and so is the weather, though not always that of the place and
year: `docs/do/backtest.md` says what stands for what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.contract.eligibility import Enrolment, enrol
from tieline.desk.charging import ONE_WAY_FRAC, WEAR_PER_WH
from tieline.forecast.sun import normals, plane_w_per_m2, sun_vectors
from tieline.plan.apportion import apportion
from tieline.simulate import datasets
from tieline.simulate.backtest.asked import BacktestTerms
from tieline.simulate.backtest.cars import Cars, laid_out, own_way
from tieline.simulate.backtest.stores import StoreColumns, joined
from tieline.simulate.backtest.timeline import Timeline
from tieline.simulate.physics.sun import output_frac
from tieline.times import HOUR_NS, from_ns

Floats = NDArray[np.float64]
MIX = {
    "battery": 26, "ev_charger": 22, "thermostat": 24, "water_heater": 14, "pv": 11, "chp": 1, "backup_generator": 2,
}  # fmt: skip
"""Parts in a hundred."""
FUEL = {"chp": "natural_gas", "backup_generator": "diesel"}
COP = 3.0
DESIGN_C = 30.0
BAND_C = 2.0
CAR_W, PV_W, CHP_W, DIESEL_W = 7_200.0, 6_000.0, 30_000.0, 50_000.0
DRIVES_FRAC = 0.8
HEATER_WH_A_DAY = 8_000.0
CALIFORNIA_DEG = -118.0


@dataclass(frozen=True, slots=True, eq=False)
class MixedFleet:
    """Who takes part; `kind` has all devices in the order stores, cars, sun, CHP, and last who may not.

    Attributes:
        stores: Batteries, thermostats and water heaters.
        cars: EV chargers.
        car_own_wh: What cars do when each charges at once; shape (cars, T).
        sun_wh: What each PV plant gives; shape (plants, T).
        chp_wh: What each CHP gives in a step at full power; shape (engines,).
        kind: Kind of each device; shape (n,).
        enrolment: Who may serve, and by which rule.
    """

    stores: StoreColumns
    cars: Cars
    car_own_wh: Floats
    sun_wh: Floats
    chp_wh: Floats
    kind: NDArray[np.str_]
    enrolment: Enrolment

    def __len__(self) -> int:
        """Return how many devices serve."""
        return len(self.stores) + len(self.cars) + len(self.sun_wh) + len(self.chp_wh)


def mixed(devices: int, seed: int, line: Timeline, terms: BacktestTerms, cools: bool) -> MixedFleet:
    """Return a fleet of so many devices; those that may not serve are in `enrolment` alone.

    Args:
        devices: How many.
        seed: By which it is drawn.
        line: Its steps.
        terms: By whose rules who may serve the energy market, and how far declared departures are believed.
        cools: Whether thermostats cool (summer in California) rather than heat (winter in Texas).
    """
    count = dict(zip(MIX, apportion(devices, list(MIX.values())), strict=True))
    kinds = np.array([kind for kind in MIX for _ in range(count[kind])], np.str_)
    fuels = np.array([FUEL.get(kind, "none") for kind in kinds.tolist()], np.str_)
    enrolment = enrol(kinds, fuels, terms.jurisdiction, "energy")
    serves = {kind: int((enrolment.may_serve & (kinds == kind)).sum()) for kind in MIX}
    draw = {kind: np.random.default_rng([seed, at]) for at, kind in enumerate(MIX)}
    warmth = outdoor_c(line, cools)
    parts = [
        batteries(serves["battery"], line, draw["battery"]),
        thermostats(serves["thermostat"], line, draw["thermostat"], warmth, cools),
        heaters(serves["water_heater"], line, draw["water_heater"]),
    ]
    cars = made_cars(serves["ev_charger"], line, draw["ev_charger"], terms.declared_frac)
    sun = sun_wh(serves["pv"], line, draw["pv"])
    chp = np.full(serves["chp"], CHP_W * line.hours)
    own = own_way(cars, len(line.starts_ns))
    ordered = [*(kind for part in parts for kind in part.kind.tolist())]
    ordered += ["ev_charger"] * len(cars) + ["pv"] * len(sun) + ["chp"] * len(chp)
    return MixedFleet(joined(parts), cars, own, sun, chp, np.array(ordered, np.str_), enrolment)


def batteries(n: int, line: Timeline, rng: np.random.Generator) -> StoreColumns:
    """Return home batteries of 10 to 16 kWh, half full between what they keep back and full."""
    energy, rated = rng.uniform(10_000, 16_000, n), rng.uniform(4_000, 6_000, n)
    nothing, usable = np.zeros((n, len(line.starts_ns))), 0.85 * energy
    frac = np.full(n, ONE_WAY_FRAC)
    full = rated * line.hours
    return StoreColumns(
        np.full(n, "battery"), rated, frac, 1.0 / frac, np.ones(n), np.full(n, WEAR_PER_WH), full, full, usable,
        0.5 * usable, nothing, nothing, np.ones(n, np.int64), np.zeros(n, np.bool_),
    )  # fmt: skip


def exp_same(values: NDArray[np.floating[Any]]) -> Floats:
    """Return e to the power of values, shape (n,), the same on every processor.

    numpy's own differs in the last bit where the processor has AVX-512; a plan with ties is another by that, and a
    month by a dollar.
    """
    return np.array([math.exp(value) for value in values.tolist()])


def thermostats(n: int, line: Timeline, rng: np.random.Generator, warmth: Floats, cools: bool) -> StoreColumns:
    """Return heat pumps in houses that fit them, each holding its setpoint by itself, within a degree otherwise."""
    rated, hours = rng.uniform(2_000, 4_000, n), rng.uniform(2.5, 6.0, n)
    resistance = DESIGN_C / (COP * rated)
    keep = exp_same(-line.hours / hours)
    setpoint = np.round(rng.uniform(*((22.5, 25.0) if cools else (19.5, 22.0)), n) * 2) / 2
    far = (warmth[None, :] - setpoint[:, None]) * (1.0 if cools else -1.0)
    needs = np.minimum(np.maximum(far, 0.0) / (resistance * COP)[:, None], 0.9 * rated[:, None]) * line.hours
    high = BAND_C * line.hours / ((1.0 - keep) * resistance * COP)
    return _loads("thermostat", rated, keep, high, 0.5, needs, line, 1)


def heaters(n: int, line: Timeline, rng: np.random.Generator) -> StoreColumns:
    """Return electric water heaters of 150 to 300 litres, whose water may be 20 degrees warmer or colder."""
    rated, litres = rng.uniform(3_500, 4_500, n), rng.uniform(150, 300, n)
    capacity = 1.163 * litres
    keep = exp_same(-line.hours / (0.6 * capacity))
    hour = line.place * line.hours
    morning, evening = (exp_same(-(((hour - at) / wide) ** 2)) for at, wide in ((7.0, 1.5), (20.0, 2.0)))
    shape = 0.3 + 1.6 * morning + 1.2 * evening
    mean = HEATER_WH_A_DAY * shape / shape[: line.clock.steps].sum()
    draws = rng.gamma(0.5, 2.0, (n, len(hour))) * mean[None, :]
    needs = np.minimum(draws, 0.8 * rated[:, None] * line.hours)
    return _loads("water_heater", rated, keep, 20.0 * capacity, 0.6, needs, line, 7)


def _loads(
    kind: str, rated: Floats, keep: Floats, high: Floats, at_frac: float, needs: Floats, line: Timeline, days: int
) -> StoreColumns:
    n, start = len(rated), at_frac * high
    one = np.ones(n)
    # By itself each puts back what flows out: its store stays as it is, and its leak is in its needs.
    drift = ((1.0 - keep) * start)[:, None] - needs
    return StoreColumns(
        np.full(n, kind), rated, one, one, keep, np.zeros(n), rated * line.hours, np.zeros(n), high, start, drift,
        -needs, np.full(n, days, np.int64), np.full(n, days == 1),
    )  # fmt: skip


def made_cars(n: int, line: Timeline, rng: np.random.Generator, declared_frac: float) -> Cars:
    """Return chargers; on four days of five each has a real session of that weekday, two thirds of them at home."""
    real, step_s = datasets.sessions(), line.hours * 3_600.0
    by_day = [np.flatnonzero(real.weekday == weekday) for weekday in range(7)]
    later_s = np.where(rng.random(n) < 0.67, 9 * 3_600.0, 0.0)
    found = []
    for at in range(line.clock.days):
        of_day = by_day[line.clock.day(at).weekday()]
        picks, drives = of_day[rng.integers(0, len(of_day), n)], rng.random(n) < DRIVES_FRAC
        arrives = (real.arrives_s[picks] + later_s) % 86_400.0
        begins = line.first_of[at] + (arrives // step_s).astype(np.int64)
        stays = np.maximum(real.stays_s[picks] // step_s, 1).astype(np.int64)
        declared = np.maximum(declared_frac * real.declared_s[picks] // step_s, 1).astype(np.int64)
        need = np.minimum(real.energy_wh[picks], 0.75 * CAR_W * stays * line.hours)
        found += [
            (k, int(begins[k]), int(begins[k] + declared[k]), int(begins[k] + stays[k]), float(need[k]))
            for k in np.flatnonzero(drives).tolist()
        ]  # fmt: skip
    return laid_out(np.full(n, CAR_W * line.hours), sorted(found, key=lambda one: one[1]), len(line.starts_ns))


def outdoor_c(line: Timeline, cools: bool) -> Floats:
    """Return the temperature of each step of the typical year, by the sun of Texas or of Southern California."""
    later_ns = round((datasets.LONGITUDE_DEG - CALIFORNIA_DEG) / 15.0 * HOUR_NS) if cools else 0
    return np.array([datasets.weather_at(int(ns) - later_ns, 0)[0] for ns in line.starts_ns])


def sun_wh(n: int, line: Timeline, rng: np.random.Generator) -> Floats:
    """Return what PV plants on roofs give in each step under the typical year; shape (n, T)."""
    middle = line.starts_ns + np.int64(line.hours * HOUR_NS / 2)
    sky = np.array([datasets.weather_at(int(ns), 0) for ns in middle]).reshape(-1, 4)
    at_day = np.array([from_ns(int(ns)).timetuple().tm_yday for ns in middle], np.float64)
    planes = normals(rng.uniform(15.0, 35.0, n), np.clip(rng.normal(185.0, 45.0, n), 90.0, 270.0))
    where = sun_vectors(middle, datasets.LATITUDE_DEG, datasets.LONGITUDE_DEG)
    on_plane = plane_w_per_m2(where, planes, sky[:, 2], sky[:, 3], at_day)
    shares = [output_frac(on_plane[t], float(sky[t, 0]), float(sky[t, 1])) for t in range(len(middle))]
    given: Floats = np.array(shares).reshape(len(middle), n).T * PV_W * line.hours
    return given


def known_drift(stores: StoreColumns, line: Timeline, at: int, count: int) -> Floats:
    """Return what is expected to flow on some days from one on, by what was seen up to two days before; (n, W).

    At the gate the day before is not over: its own flows are not looked at.
    """
    span = line.span(at, count)
    wanted = line.place[span]
    found = np.zeros((len(stores), len(wanted)))
    for days in np.unique(stores.known_days):
        rows = stores.known_days == days
        past = line.span(at - 1 - int(days), int(days))
        places, flows = line.place[past], stores.drift_wh[rows][:, past]
        for step in np.unique(wanted):
            same = places == step if (places == step).any() else places == step - 1
            found[np.ix_(rows, wanted == step)] = flows[:, same].mean(axis=1)[:, None]
    return found
