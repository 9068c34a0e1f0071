"""The world: every device of a territory moves by its physics, under the setpoints that reached it.

`step` takes what the devices were told (NaN target: nothing) and moves all of them by one step; `readings` is what
their meters and controllers would send. All that is random comes from one generator, so a seed fixes the world.

Order of a step: the weather; the devices, inverters within what IEEE 1547 leaves them at the voltage of the step
before; the base load; the power flow, whose voltages the next step sees.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.grid.inverter.settings import NOMINAL_HZ
from tieline.grid.network import GridNetwork, GridState
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.simulate import making
from tieline.simulate.datasets import is_weekend, second_of_day
from tieline.simulate.physics.inverter import Inverters, droop_frac
from tieline.simulate.physics.within import within
from tieline.simulate.sites import Sites
from tieline.simulate.sky import Climate, Sky
from tieline.simulate.solved import Solved
from tieline.simulate.territory import Territory

Floats = NDArray[np.float64]
Rows = NDArray[np.integer[Any]]
ROOM_C, RATED_OUTDOOR_C, LESS_PER_C = 21.0, 35.0, 0.022
"""Where the tank stands; and how an air conditioner's cooling falls above its rating point (AHRI 210/240: 35 degC)."""
FREQUENCY_SPREAD_HZ, FREQUENCY_MEMORY_S = 0.012, 300.0
Told = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class _Moved:
    """Of a step, what headroom is found from: second of the day, heat wanted; of stores their power, of hybrid sites
    the sun and what is kept of it (W)."""

    second: int
    heat_frac: float
    store_w: Floats
    sun_w: Floats
    kept_w: Floats


class World:
    """All devices of a territory in columns; `power_w` is what flows at each terminal (W, positive into the grid)."""

    def __init__(
        self, territory: Territory, rng: np.random.Generator, climate: Climate | None = None, with_grid: bool = True
    ):
        """Make the world.

        Args:
            territory: Who is where.
            rng: Where all that is random comes from.
            climate: How the days differ from the typical year.
            with_grid: Whether every step solves the feeders; without, every voltage is nominal.
        """
        self.territory, self._rng = territory, rng
        count = len(territory.fleet)
        self.power_w, self.reactive_var = np.zeros(count), np.zeros(count)
        self._up_w, self._down_w = np.zeros(count), np.zeros(count)
        self._moved: _Moved | None = None
        # As numpy looks rows up: narrower numbers are made wide at each use, thirty times a step.
        self.rows = rows = {kind: mine.astype(np.intp) for kind, mine in territory.by_kind.items()}
        self.stores = np.concatenate([rows[Kind.BATTERY], rows[Kind.MECHANICAL_STORAGE], rows[Kind.HYBRID_SITE]])
        self.storage = making.make_storage(territory, self.stores, rng)
        rated_w = territory.rated_w
        self.hvac = making.make_hvac(rated_w[rows[Kind.THERMOSTAT]], rng)
        self.heaters = making.make_heaters(rated_w[rows[Kind.WATER_HEATER]], rng)
        self.charging = making.make_charging(rated_w[rows[Kind.EV_CHARGER]], rng)
        self.pv = making.make_pv(rated_w[rows[Kind.PV]], rng)
        self._hybrid = slice(len(self.stores) - len(rows[Kind.HYBRID_SITE]), len(self.stores))
        self.hybrid_pv = making.make_pv(0.6 * rated_w[rows[Kind.HYBRID_SITE]], rng)
        self.engine_rows = np.concatenate([rows[kind] for kind in making.ENGINES])
        self.engines = making.make_engines(territory, self.engine_rows)
        self._load_rows = np.concatenate([rows[kind] for kind in making.LOADS])
        self.loads = making.make_loads(territory, self._load_rows, rng)
        self.lines = making.make_lines(rated_w[rows[Kind.PROCESS_LINE]], rng)
        self._inverter_rows = np.concatenate([rows[Kind.PV], self.stores])
        absorbs = np.arange(len(self._inverter_rows)) >= len(rows[Kind.PV])
        self.inverters = Inverters.of(rated_w[self._inverter_rows], absorbs)
        self.sites = Sites.of(territory, rng)
        self.sky = Sky.over(len(territory.feeders), climate or Climate(), rng)
        self.network: GridNetwork | None = territory.network() if with_grid else None
        self.solved = Solved()
        self.seen_pu: Floats | None = None
        """The voltage of each site that the last step saw (pu; None: all were nominal)."""
        self.frequency_hz = NOMINAL_HZ
        self._base_load_w = np.zeros(len(territory.feeder_of_site))
        self._loads_ns: int | None = None
        self._before_w = np.zeros(len(self._inverter_rows))
        self._was_free = np.zeros(len(self._inverter_rows), np.bool_)

    # --- living ----------------------------------------------------------------------------------------------------

    def step(self, now_ns: int, seconds: float, target_w: Floats, low_w: Floats, high_w: Floats) -> None:
        """Move every device by one step that ends at `now_ns`, under targets (NaN: none) and limits; shape (n,), W."""
        second, self.seen_pu = second_of_day(now_ns), self.site_pu
        self.sky.step(now_ns, seconds)
        self._drift(seconds)
        target_w, low_w, high_w = self._by_inverter(target_w, low_w, high_w, seconds)

        def told(rows: Rows) -> Told:
            return target_w[rows], low_w[rows], high_w[rows]

        heat_frac = _heat_demand(self.sky.outdoor_c, second)
        self._moved = _Moved(second, heat_frac, *self._step_stores(told(self.stores), seconds))
        self._step_heat(told, second, seconds)
        rows = self.rows[Kind.EV_CHARGER]
        self.power_w[rows] = self.charging.step(*told(rows), float(second), seconds, is_weekend(now_ns))
        rows = self.rows[Kind.PV]
        sun_frac = self.sky.output_frac(self.pv.plane, self.territory.feeder_of[rows])
        self.power_w[rows] = self.pv.step(*told(rows), sun_frac)
        rows = self.engine_rows
        self.power_w[rows] = self.engines.step(*told(rows), heat_frac, seconds)
        rows = self._load_rows
        self.power_w[rows] = self.loads.step(*told(rows), float(second), seconds)
        rows = self.rows[Kind.PROCESS_LINE]
        self.power_w[rows] = self.lines.step(*told(rows), float(second), seconds)
        self._loads_ns = now_ns
        self._solve_grid(now_ns)

    @property
    def base_load_w(self) -> Floats:
        """What each site draws beside its devices (W); found once after a step, where somebody asks."""
        if self._loads_ns is not None:
            self._base_load_w, self._loads_ns = self.sites.load_w(self._loads_ns), None
        return self._base_load_w

    # --- how far it could move -------------------------------------------------------------------------------------

    @property
    def up_w(self) -> Floats:
        """How far the power of each can rise now (W); shape (n,)."""
        self._look_ahead()
        return self._up_w

    @property
    def down_w(self) -> Floats:
        """How far the power of each can fall now (W); shape (n,)."""
        self._look_ahead()
        return self._down_w

    def _look_ahead(self) -> None:
        """Find the headroom of all, once after a step: a world that nobody asks, a past or a twin, goes without."""
        moved, self._moved = self._moved, None
        if moved is None:
            return
        second, up_w, down_w, power_w = float(moved.second), self._up_w, self._down_w, self.power_w
        rows = self.stores
        up_w[rows], down_w[rows] = self._store_headroom(moved)
        rows = self.rows[Kind.THERMOSTAT]
        up_w[rows], down_w[rows] = self.hvac.headroom()
        rows = self.rows[Kind.WATER_HEATER]
        up_w[rows], down_w[rows] = self.heaters.headroom()
        rows = self.rows[Kind.EV_CHARGER]
        up_w[rows], down_w[rows] = self.charging.headroom(power_w[rows], second)
        rows = self.rows[Kind.PV]
        up_w[rows], down_w[rows] = self.pv.headroom(power_w[rows])
        rows = self.engine_rows
        up_w[rows], down_w[rows] = self.engines.headroom(power_w[rows], moved.heat_frac)
        rows = self._load_rows
        up_w[rows], down_w[rows] = self.loads.headroom(second)
        rows = self.rows[Kind.PROCESS_LINE]
        up_w[rows], down_w[rows] = self.lines.headroom()

    def _store_headroom(self, moved: _Moved) -> tuple[Floats, Floats]:
        """Return how far the stores can rise and fall (W); a hybrid site's sun and battery share one inverter."""
        store, h = self.storage, self._hybrid
        up_w, down_w = store.headroom(300.0)
        now_w = moved.store_w + store.standby_w
        up_w, down_w = np.maximum(up_w - now_w, 0.0), np.maximum(down_w + now_w, 0.0)
        room_w = np.maximum(store.discharge_w[h] - self.power_w[self.stores[h]], 0.0)
        up_w[h] = np.minimum(up_w[h] + moved.sun_w - moved.kept_w, room_w)
        down_w[h] += moved.kept_w
        return up_w, down_w

    def apart(self) -> World:
        """Return a copy, with the state of its random stream, that solves no power flow: its voltages stay."""
        shared = (self.territory, self.network, self.solved, self.seen_pu)  # replaced, never changed
        copied = copy.deepcopy(self, {id(part): part for part in shared})
        copied.network, copied.solved = None, Solved(self.site_pu)
        return copied

    def _drift(self, seconds: float) -> None:
        """Let the frequency wander about its nominal value, as an interconnection's does (12 mHz)."""
        keeps = math.exp(-seconds / FREQUENCY_MEMORY_S)
        kick = FREQUENCY_SPREAD_HZ * math.sqrt(1 - keeps * keeps) * float(self._rng.standard_normal())
        self.frequency_hz = NOMINAL_HZ + (self.frequency_hz - NOMINAL_HZ) * keeps + kick

    def voltage_pu(self, rows: Rows) -> Floats:
        """Return the voltage at the terminals of some rows (pu), as the last power flow left it."""
        if (site_pu := self.site_pu) is None:
            return np.ones(len(rows))
        result: Floats = site_pu[self.territory.site_of[rows]]
        return result

    def _by_inverter(self, target_w: Floats, low_w: Floats, high_w: Floats, seconds: float) -> Told:
        """Return what the inverters obey: what they were told, within volt-watt, droop and trip (IEEE 1547-2018)."""
        rows, inverters = self._inverter_rows, self.inverters
        voltage = self.voltage_pu(rows)
        inverters.watch(voltage, self.frequency_hz, seconds)
        most_w = inverters.bounds(voltage)
        shift_w = droop_frac(self.frequency_hz) * inverters.rated_w
        free = np.isnan(target_w[rows])
        if not shift_w.any():
            self._before_w, self._was_free = self.power_w[rows].copy(), free
        if shift_w.any() or (most_w < inverters.rated_w).any():
            target_w, low_w, high_w = target_w.copy(), low_w.copy(), high_w.copy()
            # Droop moves what an inverter did before the disturbance (IEEE 1547-2018, 6.5.2.7), or is told now; of one
            # whose command has just ended what it did before was that command.
            before_w = np.where(self._was_free, self._before_w, np.nan)
            held_w = np.where(free, before_w, target_w[rows]) + shift_w
            target_w[rows] = np.where(shift_w != 0, held_w, target_w[rows])
            high_w[rows] = np.minimum(high_w[rows], most_w)
            low_w[rows] = np.maximum(low_w[rows], np.where(inverters.is_tripped, 0.0, -inverters.rated_w))
        return target_w, low_w, high_w

    def _step_stores(self, told: Told, seconds: float) -> tuple[Floats, Floats, Floats]:
        """Move the stores; returns what `_Moved` has of them.

        A hybrid site's terminal shows sun and battery together, within one inverter's rating.
        """
        target_w, low_w, high_w = told
        rows, h, store = self.stores, self._hybrid, self.storage
        rated_w = store.discharge_w[h]
        most_w = np.minimum(np.maximum(high_w[h], -store.charge_w[h]), rated_w)
        nothing = np.full(len(rated_w), np.nan)
        open_w = np.full(len(rated_w), np.inf)
        frac = self.sky.output_frac(self.hybrid_pv.plane, self.territory.feeder_of[rows[h]])
        sun_w = self.hybrid_pv.step(nothing, -open_w, open_w, frac)
        free_w = np.minimum(sun_w, most_w)
        terminal_w = np.where(np.isnan(target_w[h]), free_w, within(target_w[h], np.minimum(low_w[h], most_w), most_w))
        behind_w = np.zeros(len(rows))
        behind_w[h] = sun_w
        wanted_w = target_w.copy()
        wanted_w[h] = terminal_w
        power_w = store.step(wanted_w - behind_w, low_w - behind_w, high_w - behind_w, seconds)
        # What neither the battery takes nor the terminal may give, the panels leave on the roof.
        kept_w = within(most_w - power_w[h] - store.standby_w[h], 0.0, sun_w)
        behind_w[h] = kept_w
        self.power_w[rows] = power_w + behind_w
        return power_w, sun_w, kept_w

    def _step_heat(self, told: Callable[[Rows], Told], second: int, seconds: float) -> None:
        """Move rooms and tanks: walls, sun and people heat the rooms; water drawn and replaced cools the tanks."""
        outdoor_c = self.sky.outdoor_c
        rows = self.rows[Kind.THERMOSTAT]
        gains_w = self.hvac.rated_w * (0.12 + 0.0004 * self.sky.level_w_per_m2)
        cooling = 1.0 - LESS_PER_C * max(outdoor_c - RATED_OUTDOOR_C, 0.0)
        self.power_w[rows] = self.hvac.step(*told(rows), outdoor_c, gains_w, seconds, 0.0, 0.0, cooling)
        rows = self.rows[Kind.WATER_HEATER]
        litres_per_h = 60.0 * self._draws(len(rows), second)
        # Mains water follows the year more than the day: between the year's mean and the weather.
        inlet_c = 0.5 * (16.0 + min(max(outdoor_c, 5.0), 30.0))
        flow = making.WH_PER_LITRE_C * litres_per_h
        self.power_w[rows] = self.heaters.step(*told(rows), ROOM_C, 0.0, seconds, flow, inlet_c)

    def _draws(self, count: int, second: int) -> Floats:
        """Return the hot water drawn from each tank (l/min): mornings and evenings, in bursts; about 200 l a day."""
        hour = second / 3600.0
        rate = 0.02 + 0.10 * np.exp(-(((hour - 7.0) / 1.2) ** 2)) + 0.08 * np.exp(-(((hour - 19.5) / 1.8) ** 2))
        draws: Floats = np.where(self._rng.random(count) < rate, self._rng.uniform(1.0, 6.0, count), 0.0)
        return draws

    # --- the grid --------------------------------------------------------------------------------------------------

    def _solve_grid(self, now_ns: int) -> None:
        if self.network is None and self.site_pu is None:
            return  # at nominal voltage nobody is to give any reactive power
        rows = self._inverter_rows
        self.reactive_var[rows] = self.inverters.react(self.power_w[rows], self.voltage_pu(rows))
        if self.network is None:
            return
        native_w = [self.native_w(k) for k in range(len(self.territory.models))]
        upper_w, upper_native_w = self.sites.upper_w(self.network.upper, now_ns, self.sky)
        self.solved.solve(self.network, self.site_w(), self.site_var(), native_w, upper_w, upper_native_w)

    @property
    def grid(self) -> GridState | None:
        """The last power flow (None: none yet)."""
        return self.solved.grid

    @property
    def site_pu(self) -> Floats | None:
        """The voltage of each site (pu), as the last power flow left it (None: all are nominal); shape (sites,)."""
        return self.solved.site_pu

    @site_pu.setter
    def site_pu(self, site_pu: Floats | None) -> None:
        self.solved.stand(site_pu)

    def native_w(self, model: int) -> Floats:
        """Return what the plants that stood there already give now (W); shape (feeders of the model, plants)."""
        feeders = np.flatnonzero(self.territory.model_of_feeder == model)
        return self.sites.native_w(self.territory.models[model], feeders, self.sky)

    def grid_with(self, added_w: Floats, now_ns: int) -> GridState | None:
        """Return the power flow with so much more power at each device (W); None where a feeder would collapse."""
        if self.network is None:
            return None
        native_w = [self.native_w(k) for k in range(len(self.territory.models))]
        upper_w, upper_native_w = self.sites.upper_w(self.network.upper, now_ns, self.sky)
        try:
            return self.network.solve(self.site_w(added_w), self.site_var(), native_w, upper_w, upper_native_w)
        except Infeasible:
            return None

    def site_w(self, added_w: Floats | None = None) -> Floats:
        """Return the net power at each site's meter (W, positive into the grid), with what may be added (W)."""
        t = self.territory
        power_w = self.power_w if added_w is None else self.power_w + added_w
        devices = np.bincount(t.site_of, power_w, len(t.feeder_of_site))
        return np.asarray(devices - self.base_load_w, np.float64)

    def site_var(self) -> Floats:
        """Return the net reactive power at each site's meter (var, positive into the grid)."""
        t = self.territory
        devices = np.bincount(t.site_of, self.reactive_var, len(t.feeder_of_site))
        return np.asarray(devices - t.tan_of_site * self.base_load_w, np.float64)

    def feeder_w(self) -> Floats:
        """Return the net power of each feeder's sites (W, positive into the grid): devices less base load."""
        return np.bincount(self.territory.feeder_of_site, self.site_w(), len(self.territory.feeders)).astype(float)

    # --- telling ---------------------------------------------------------------------------------------------------

    def readings(self, now_ns: int, rows: Rows | None = None, source: str = "world") -> Readings:
        """Return what the devices would send now: power, headroom, and energy or temperature where they have them."""
        every = np.arange(len(self.power_w), dtype=np.int32)
        stores, inverters = self.stores, self._inverter_rows
        parts: list[tuple[int, NDArray[Any], Floats]] = [
            (code("power_w"), every, self.power_w),
            (code("available_up_w"), every, self.up_w),
            (code("available_down_w"), every, self.down_w),
            (code("reactive_var"), inverters, self.reactive_var[inverters]),
            (code("soc_frac"), stores, self.storage.soc_frac),
            (code("energy_available_wh"), stores, self.storage.available_wh()),
            (code("temperature_c"), self.rows[Kind.THERMOSTAT], self.hvac.temperature_c),
            (code("temperature_c"), self.rows[Kind.WATER_HEATER], self.heaters.temperature_c),
            (code("run_hours_h"), self.engine_rows, self.engines.run_h),
            (code("fuel_frac"), self.engine_rows, self.engines.fuel_frac),
            (code("heat_w"), self.engine_rows, self.engines.heat_w),
        ]
        if rows is not None:
            wanted = np.zeros(len(self.power_w), np.bool_)
            wanted[rows] = True
            parts = [(point, part[wanted[part]], values[wanted[part]]) for point, part, values in parts]
        count = sum(len(part) for _, part, _ in parts)
        return Readings(
            np.concatenate([part for _, part, _ in parts]),
            np.concatenate([np.full(len(part), point, np.uint16) for point, part, _ in parts]),
            np.concatenate([values for _, _, values in parts]),
            np.zeros(count, np.uint32),
            np.full(count, now_ns, np.int64),
            np.full(count, now_ns, np.int64),
            source,
        )


def _heat_demand(outdoor_c: float, second: int) -> float:
    """Return the share of full heat that the CHP's customers want: cold and daytime raise it."""
    hour = second / 3600.0
    by_day = 0.25 if 6 <= hour < 22 else 0.1
    return min(max(by_day + (18.0 - outdoor_c) / 40.0, 0.05), 1.0)
