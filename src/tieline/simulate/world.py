"""The world: every device of a territory moves by its physics, under the setpoints that reached it.

`step` takes what the devices were told (NaN target: nothing) and moves all of them by one step; `readings` is what
their meters and controllers would send. All that is random comes from one generator, so a seed fixes the world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.simulate import datasets
from tieline.simulate.physics.charging import Charging
from tieline.simulate.physics.generation import Engine, Pv
from tieline.simulate.physics.loads import Load
from tieline.simulate.physics.storage import Storage
from tieline.simulate.physics.thermal import Thermal
from tieline.simulate.territory import Territory
from tieline.times import HOUR_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
UTC_OFFSET_S = -5 * 3600
ENGINES = (Kind.BACKUP_GENERATOR, Kind.CHP, Kind.BIOMASS)
LOADS = (Kind.SHIFTABLE_LOAD, Kind.INTERRUPTIBLE_LOAD, Kind.PROCESS_LINE)


class World:
    """All devices of a territory in columns; `power_w` is what flows at each terminal (W, positive into the grid)."""

    def __init__(self, territory: Territory, rng: np.random.Generator, hotter_c: float = 0.0, cloud_frac: float = 1.0):
        """Make the world.

        Args:
            territory: Who is where.
            rng: Where all that is random comes from.
            hotter_c: How much hotter than the real weather (degC): a heat wave.
            cloud_frac: Share of the real PV output that is left: a cloudy day.
        """
        self.territory, self._rng = territory, rng
        self._hotter_c, self._cloud_frac = hotter_c, cloud_frac
        count = len(territory.fleet)
        self.power_w = np.zeros(count)
        self.up_w, self.down_w = np.zeros(count), np.zeros(count)
        self.rows = territory.by_kind
        self.stores = np.concatenate(
            [self.rows[Kind.BATTERY], self.rows[Kind.MECHANICAL_STORAGE], self.rows[Kind.HYBRID_SITE]]
        )
        self.storage = self._make_storage(self.stores)
        self.hvac = self._make_hvac(self.rows[Kind.THERMOSTAT])
        self.heaters = self._make_heaters(self.rows[Kind.WATER_HEATER])
        self.charging = self._make_charging(self.rows[Kind.EV_CHARGER])
        self.pv = self._make_pv(self.rows[Kind.PV], 1.0)
        self._hybrid = slice(len(self.stores) - len(self.rows[Kind.HYBRID_SITE]), len(self.stores))
        self.hybrid_pv = self._make_pv(self.rows[Kind.HYBRID_SITE], 0.6)
        self._engine_rows = np.concatenate([self.rows[kind] for kind in ENGINES])
        self.engines = self._make_engines(self._engine_rows)
        self._load_rows = np.concatenate([self.rows[kind] for kind in LOADS])
        self.loads = self._make_loads(self._load_rows)
        sites = len(territory.feeder_of_site)
        self._home_of_site = rng.integers(0, len(datasets.homes().load_w), sites)
        self._scale_of_site = rng.uniform(0.5, 1.2, sites)
        self.base_load_w = np.zeros(sites)

    # --- making ----------------------------------------------------------------------------------------------------

    def _make_storage(self, rows: Rows) -> Storage:
        n, rated_w = len(rows), self.territory.rated_w[rows]
        mechanical = np.isin(rows, self.rows[Kind.MECHANICAL_STORAGE])
        one_way = np.where(mechanical, 0.88, self._rng.uniform(0.93, 0.975, n))
        return Storage(
            rated_w, rated_w.copy(), self.territory.fleet.energy_wh[rows], self._rng.uniform(0.35, 0.8, n), one_way,
            one_way.copy(), self._rng.uniform(0.1, 0.2, n), np.where(mechanical, 0.004 * rated_w, 10.0),
        )  # fmt: skip

    def _make_hvac(self, rows: Rows) -> Thermal:
        n, rated_w = len(rows), self.territory.rated_w[rows]
        setpoint = np.round(self._rng.uniform(22.0, 25.0, n) * 2) / 2
        heat_w = 3.2 * rated_w
        resistance = 22.0 / heat_w  # holds the setpoint at full power with 22 degC across the walls
        return Thermal(
            setpoint + self._rng.uniform(-0.5, 0.5, n), setpoint, np.full(n, 1.0), setpoint - 3.0, setpoint + 2.0,
            resistance, self._rng.uniform(2.5, 6.0, n) / resistance, heat_w, rated_w, np.full(n, -1.0),
            self._rng.random(n) < 0.3, self._rng.uniform(0, 900, n), np.full(n, 300.0),
        )  # fmt: skip

    def _make_heaters(self, rows: Rows) -> Thermal:
        n, rated_w = len(rows), self.territory.rated_w[rows]
        setpoint = self._rng.uniform(50.0, 58.0, n)
        litres = self._rng.uniform(150, 300, n)
        return Thermal(
            setpoint + self._rng.uniform(-3, 0, n), setpoint, np.full(n, 4.0), setpoint - 12.0, setpoint + 8.0,
            np.full(n, 0.6), litres * 1.163, rated_w.copy(), rated_w, np.ones(n), self._rng.random(n) < 0.1,
            self._rng.uniform(0, 600, n), np.full(n, 60.0),
        )  # fmt: skip

    def _make_charging(self, rows: Rows) -> Charging:
        real, n = datasets.sessions(), len(rows)
        pick = self._rng.integers(0, len(real.weekday), n)
        stays_s = np.minimum(real.stays_s[pick], 20 * 3600.0)
        rated_w = self.territory.rated_w[rows]
        energy_wh = np.minimum(real.energy_wh[pick], 0.95 * rated_w * stays_s / 3600.0)
        # Workplaces charge by day, homes by night: two thirds of the real sessions are moved to the evening.
        moved = np.where(self._rng.random(n) < 0.67, 9 * 3600.0, 0.0)
        return Charging(
            rated_w, (real.arrives_s[pick] + moved) % 86_400.0, stays_s, energy_wh, np.zeros(n), np.zeros(n, np.bool_)
        )

    def _make_pv(self, rows: Rows, share: float) -> Pv:
        n = len(rows)
        profile = self._rng.integers(0, len(datasets.homes().pv_frac), n).astype(np.int32)
        return Pv(share * self.territory.rated_w[rows], profile, np.full(n, self._cloud_frac), np.zeros(n))

    def _make_engines(self, rows: Rows) -> Engine:
        n, rated_w = len(rows), self.territory.rated_w[rows]
        backup, chp = np.isin(rows, self.rows[Kind.BACKUP_GENERATOR]), np.isin(rows, self.rows[Kind.CHP])
        return Engine(
            rated_w, np.where(backup, 0.3, 0.4) * rated_w, np.where(backup, 30.0, 600.0),
            np.where(backup, 600.0, 3600.0), np.where(chp, 1.4, 0.0), chp, np.zeros(n, np.bool_),
            np.full(n, 1e6), np.zeros(n), np.ones(n), np.where(backup, 24.0, 1e5),
        )  # fmt: skip

    def _make_loads(self, rows: Rows) -> Load:
        n, rated_w = len(rows), self.territory.rated_w[rows]
        shifts, line = np.isin(rows, self.rows[Kind.SHIFTABLE_LOAD]), np.isin(rows, self.rows[Kind.PROCESS_LINE])
        begins = np.where(shifts, self._rng.uniform(9, 17, n), self._rng.uniform(5, 8, n)) * 3600
        length = np.where(shifts, self._rng.uniform(3, 6, n), self._rng.uniform(12, 16, n)) * 3600
        return Load(
            rated_w, np.where(shifts, 0.0, np.where(line, 0.45, 0.3)), begins, np.minimum(begins + length, 86_400.0),
            shifts | line, np.zeros(n), np.where(line, 900.0, 60.0), np.full(n, 1e6), np.zeros(n),
        )  # fmt: skip

    # --- living ----------------------------------------------------------------------------------------------------

    def step(self, now_ns: int, seconds: float, target_w: Floats, low_w: Floats, high_w: Floats) -> None:
        """Move every device by one step that ends at `now_ns`, under targets (NaN: none) and limits; shape (n,), W."""
        second = ((now_ns // SECOND_NS) + UTC_OFFSET_S) % 86_400
        outdoor_c = float(datasets.between(datasets.weather().outdoor_c, now_ns)) + self._hotter_c
        sun = datasets.between(datasets.homes().pv_frac, now_ns)
        sun_w = float(datasets.between(datasets.weather().irradiance_w_per_m2, now_ns))
        heat_frac = _heat_demand(outdoor_c, second)

        def told(rows: Rows) -> tuple[Floats, Floats, Floats]:
            return target_w[rows], low_w[rows], high_w[rows]

        self._step_stores(told, sun, seconds)
        rows = self.rows[Kind.THERMOSTAT]
        gains_w = self.hvac.rated_w * (0.12 + 0.0004 * sun_w)
        outside = np.full(len(rows), outdoor_c)
        self.power_w[rows] = self.hvac.step(*told(rows), outside, gains_w, seconds)
        self.up_w[rows], self.down_w[rows] = self.hvac.headroom()
        rows = self.rows[Kind.WATER_HEATER]
        draws_w = -self._draws(len(rows), second) * self.heaters.rated_w
        room = np.full(len(rows), 21.0)
        self.power_w[rows] = self.heaters.step(*told(rows), room, draws_w, seconds)
        self.up_w[rows], self.down_w[rows] = self.heaters.headroom()
        rows = self.rows[Kind.EV_CHARGER]
        self.power_w[rows] = self.charging.step(*told(rows), float(second), seconds)
        self.up_w[rows], self.down_w[rows] = self.charging.headroom(self.power_w[rows], float(second))
        rows = self.rows[Kind.PV]
        self.power_w[rows] = self.pv.step(*told(rows), sun)
        self.up_w[rows], self.down_w[rows] = self.pv.headroom(self.power_w[rows])
        rows = self._engine_rows
        self.power_w[rows] = self.engines.step(*told(rows), heat_frac, seconds)
        self.up_w[rows], self.down_w[rows] = self.engines.headroom(self.power_w[rows], heat_frac)
        rows = self._load_rows
        self.power_w[rows] = self.loads.step(*told(rows), float(second), seconds)
        self.up_w[rows], self.down_w[rows] = self.loads.headroom(float(second))
        base = datasets.between(datasets.homes().load_w, now_ns)
        self.base_load_w = base[self._home_of_site] * self._scale_of_site

    def _step_stores(self, told: object, sun: Floats, seconds: float) -> None:
        rows = self.stores
        target_w, low_w, high_w = told(rows)  # type: ignore[operator]
        h = self._hybrid
        nothing = np.full(len(self.hybrid_pv.rated_w), np.nan)
        most = np.full(len(nothing), np.inf)
        sun_w = self.hybrid_pv.step(nothing, -most, np.maximum(high_w[h], 0.0) + self.storage.charge_w[h], sun)
        behind_w = np.zeros(len(rows))
        behind_w[h] = sun_w  # a hybrid site's terminal shows the sum; its battery makes up what the sun leaves
        self.power_w[rows] = behind_w + self.storage.step(
            target_w - behind_w, low_w - behind_w, high_w - behind_w, seconds
        )
        up_w, down_w = self.storage.headroom(300.0)
        now_w = self.power_w[rows] - behind_w + self.storage.standby_w
        self.up_w[rows], self.down_w[rows] = np.maximum(up_w - now_w, 0.0), np.maximum(down_w + now_w, 0.0)

    def _draws(self, count: int, second: int) -> Floats:
        """Return each tank's hot-water draw as a share of its rating: mornings and evenings, in short bursts."""
        hour = second / 3600.0
        rate = 0.02 + 0.10 * np.exp(-(((hour - 7.0) / 1.2) ** 2)) + 0.08 * np.exp(-(((hour - 19.5) / 1.8) ** 2))
        draws: Floats = np.where(self._rng.random(count) < rate, self._rng.random(count) * 3.0, 0.0)
        return draws

    # --- telling ---------------------------------------------------------------------------------------------------

    def readings(self, now_ns: int, rows: Rows | None = None, source: str = "world") -> Readings:
        """Return what the devices would send now: power, headroom, and energy or temperature where they have them."""
        every = np.arange(len(self.power_w), dtype=np.int32)
        stores = self.stores
        parts: list[tuple[int, NDArray[Any], Floats]] = [
            (code("power_w"), every, self.power_w),
            (code("available_up_w"), every, self.up_w),
            (code("available_down_w"), every, self.down_w),
            (code("soc_frac"), stores, self.storage.soc_frac),
            (code("energy_available_wh"), stores, self.storage.available_wh()),
            (code("temperature_c"), self.rows[Kind.THERMOSTAT], self.hvac.temperature_c),
            (code("temperature_c"), self.rows[Kind.WATER_HEATER], self.heaters.temperature_c),
            (code("run_hours_h"), self._engine_rows, self.engines.run_h),
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

    def feeder_w(self) -> Floats:
        """Return the net power of each feeder (W, positive into the grid): devices less base load."""
        t, count = self.territory, len(self.territory.feeders)
        devices = np.bincount(t.feeder_of, self.power_w, count)
        loads = np.bincount(t.feeder_of_site, self.base_load_w, count)
        return np.asarray(devices - loads, np.float64)

    def site_w(self) -> Floats:
        """Return the net power at each site's meter (W, positive into the grid)."""
        t = self.territory
        devices = np.bincount(t.site_of, self.power_w, len(t.feeder_of_site))
        return np.asarray(devices - self.base_load_w, np.float64)


def _heat_demand(outdoor_c: float, second: int) -> float:
    """Return the share of full heat that the CHP's customers want: cold and daytime raise it."""
    hour = second / 3600.0
    by_day = 0.25 if 6 <= hour < 22 else 0.1
    return float(np.clip(by_day + (18.0 - outdoor_c) / 40.0, 0.05, 1.0))


def history_w(
    world: World,
    end_ns: int,
    days: int,
    step_s: int,
    seconds: int = 900,
    measure: Callable[[World], Floats] = lambda world: world.power_w.sum(keepdims=True) - world.base_load_w.sum(),
) -> tuple[NDArray[np.int64], Floats]:
    """Run the world freely for so many days up to `end_ns`, and return what its meters saw.

    Args:
        world: The world; it is left as the last day left it.
        end_ns: Where the history ends.
        days: How many days before that.
        step_s: Physics step (s).
        seconds: Metering interval (s).
        measure: What is metered; shape (meters,), W. By itself the net power of all sites.

    Returns:
        Start of each interval (ns) and the mean of each meter over it; shapes (n,) and (n, meters), W.
    """
    count = len(world.power_w)
    free, open_low, open_high = np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)
    begin_ns = end_ns - days * 24 * HOUR_NS
    intervals = days * 86_400 // seconds
    steps = seconds // step_s
    starts = begin_ns + np.arange(intervals, dtype=np.int64) * seconds * SECOND_NS
    mean_w = np.zeros((intervals, len(measure(world))))
    for k in range(intervals):
        for turn in range(steps):
            world.step(int(starts[k]) + (turn + 1) * step_s * SECOND_NS, float(step_s), free, open_low, open_high)
            mean_w[k] += measure(world) / steps
    return starts, mean_w
