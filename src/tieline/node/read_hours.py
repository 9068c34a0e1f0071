"""The hours of a pool as they pass: the means of its measured power and of its baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np

from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import DeskState
from tieline.times import DAY_NS, hour_start_ns

KEEPS_NS = 3 * DAY_NS


@dataclass
class HourMean:
    """The means of a pool's hour so far: base and measured power, of devices whose power is known (W).

    `beyond` are the rows that told a power which they can't have: at those instants they count in neither.
    """

    base_w: float = 0.0
    power_w: float = 0.0
    samples: int = 0
    beyond: set[int] = field(default_factory=set)

    def add(self, base_w: float, power_w: float) -> None:
        """Count one more instant."""
        self.samples += 1
        self.base_w += (base_w - self.base_w) / self.samples
        self.power_w += (power_w - self.power_w) / self.samples


@dataclass
class Hours:
    """The means of each hour of a clock by its start."""

    zone: str
    means: dict[int, HourMean] = field(default_factory=dict)

    def sample(self, state: DeskState, pool: PoolDesk | None, now_ns: int) -> None:
        """Look at the pool once more. Both sums are of the same devices, so that their difference means something."""
        if pool is None:
            return
        fleet, rows, hour_ns = state.fleet, pool.rows, hour_start_ns(now_ns, ZoneInfo(self.zone))
        power_w = fleet.known_power_w(rows)
        known = np.isfinite(power_w)
        beyond = np.isfinite(fleet.power_w[rows]) & ~known
        if beyond.any():
            self.means.setdefault(hour_ns, HourMean()).beyond.update(rows[beyond].tolist())
        if known.any():
            base_w = float(state.base_w[rows][known].sum())
            self.means.setdefault(hour_ns, HourMean()).add(base_w, float(power_w[known].sum()))
        self.means = {at: mean for at, mean in self.means.items() if at > now_ns - KEEPS_NS}
