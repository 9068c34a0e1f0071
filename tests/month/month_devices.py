"""What a device can do and for how long it must stay as it is, held against what it does: each by its own physics.

On and off, runs and rests are counted here from one minute to the next, not read from the devices' own timers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.resource.identity import Kind
from tieline.simulate.physics.batch import IDLE_FRAC, MAY_WAIT
from tieline.simulate.world import World

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Row = tuple[str, str, float]
STEP_S = 60.0
NEAR_W, NEAR_FRAC = 1.0, 1e-9


class Devices:
    """Looks at all devices of a world, a minute apart."""

    def __init__(self, world: World, fleet: Fleet) -> None:
        """Begin with how they stand now; since when they do is not known."""
        self._world, self._fleet = world, fleet
        count = len(fleet)
        self._standby_w = np.zeros(count)
        self._standby_w[world.stores] = world.storage.standby_w
        self._switched: list[tuple[Any, Any, Mask, Floats]] = [
            (rows, part, part.is_on.copy(), np.full(len(rows), np.inf))
            for rows, part in (
                (world.engine_rows, world.engines),
                (world.rows[Kind.THERMOSTAT], world.hvac),
                (world.rows[Kind.WATER_HEATER], world.heaters),
            )
        ]
        self._waits_s = np.zeros(len(world.rows[Kind.PROCESS_LINE]))

    def found(self, target_w: Floats, low_w: Floats, high_w: Floats) -> Iterator[Row]:
        """Yield what stands beyond a device's limits: which, whose, by how much."""
        yield from self._ratings(target_w)
        yield from self._stores()
        yield from self._least_times()
        yield from self._engines(high_w)
        yield from self._lines()

    def _rows(self, check: str, rows: Any, beyond: Floats) -> Iterator[Row]:
        for at in np.flatnonzero(beyond > 0):
            yield check, self._fleet.id_of(int(rows[at])), float(beyond[at])

    def _ratings(self, target_w: Floats) -> Iterator[Row]:
        world, fleet, every = self._world, self._fleet, np.arange(len(self._fleet))
        low_w = -fleet.max_absorb_w - self._standby_w
        beyond_w = np.maximum(world.power_w - fleet.max_inject_w, low_w - world.power_w) - NEAR_W
        yield from self._rows("a rating", every, beyond_w)
        told_w = np.where(np.isnan(target_w), 0.0, target_w)
        beyond_w = np.maximum(told_w - fleet.max_inject_w, -fleet.max_absorb_w - told_w) - NEAR_W
        yield from self._rows("a rating, by what it was told", every, beyond_w)

    def _stores(self) -> Iterator[Row]:
        """A store neither falls below its owner's reserve nor is filled beyond its size."""
        store = self._world.storage
        beyond = np.maximum(store.reserve_frac - store.soc_frac, store.soc_frac - 1.0) - NEAR_FRAC
        yield from self._rows("a store's reserve or size", self._world.stores, beyond)

    def _least_times(self) -> Iterator[Row]:
        """What was switched stays so for its least time, but for an engine without fuel."""
        world = self._world
        for at, (rows, part, was_on, since_s) in enumerate(self._switched):
            switched = part.is_on != was_on
            dry = np.zeros(len(rows), np.bool_)
            if part is world.engines:
                dry = ~part.is_on & (part.fuel_wh < part.tank_fuel_wh * 1e-3)
            early_s = np.where(switched & ~dry, part.min_hold_s - since_s, 0.0)
            yield from self._rows("a least time on or off", rows, early_s)
            since_s = np.where(switched, 0.0, since_s) + STEP_S
            self._switched[at] = (rows, part, part.is_on.copy(), since_s)

    def _engines(self, high_w: Floats) -> Iterator[Row]:
        """An engine that is warm runs at its least power or more, but where its breaker is open or its tank runs dry."""
        rows, part, is_on, since_s = self._switched[0]
        warm = is_on & (since_s > part.start_s + STEP_S) & (high_w[rows] > 0.0) & (part.fuel_frac > 1e-2)
        beyond_w = np.where(warm, part.min_w - self._world.power_w[rows], 0.0) - NEAR_W
        yield from self._rows("an engine's least power", rows, beyond_w)

    def _lines(self) -> Iterator[Row]:
        """A batch waits only where it may, and no longer than its product stands; between two batches as long as wanted."""
        world = self._world
        lines, rows = world.lines, world.rows[Kind.PROCESS_LINE]
        waits = lines.last_w <= IDLE_FRAC * lines.rated_w + NEAR_W
        within = waits & (lines.step_at > 0)
        self._waits_s = np.where(within, self._waits_s + STEP_S, 0.0)
        beyond_s = np.where(
            within & ~MAY_WAIT[lines.step_at], self._waits_s, self._waits_s - lines.most_wait_s - STEP_S
        )
        yield from self._rows("a batch that waits", rows, beyond_s)
