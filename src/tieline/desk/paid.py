"""What meters say of a pool's day, and what of it each award is paid for: no watt is paid twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.contract.eligibility import net_performance
from tieline.desk.ports import Award
from tieline.ids import derive
from tieline.market.baseline import Baseline
from tieline.market.settlement import ClaimsLedger
from tieline.times import MINUTE_NS

STEP_NS = 5 * MINUTE_NS


@dataclass(frozen=True, slots=True, eq=False)
class ByMeters:
    """What each device's own meter says that it gave against its part of the pool's baseline.

    `gave_w` has the intervals that are not shared by what was seen, by their starts: W above baseline, positive into
    the grid, one for each of `rows` (NaN: not metered, or no baseline of its own); shape (n,).
    """

    rows: NDArray[np.int64]
    gave_w: Mapping[int, NDArray[np.float64]]


NO_METERS = ByMeters(np.zeros(0, np.int64), {})


@dataclass(frozen=True, slots=True, eq=False)
class Metered:
    """What the meters say of a day, by interval start (W): a missing or not finite value is zero performance.

    `prohibited_w` is what resources put out that may not serve, `claimed_w` what other markets were paid for.
    `unmetered` are the rows of which a called interval lacks readings: none of this is theirs, whatever they were
    seen to give. `by_meters` says whose it is where nothing was seen.
    """

    performance_w: Mapping[int, float]
    rt_price: Mapping[int, float]
    baselines: tuple[Baseline, ...]
    prohibited_w: Mapping[int, float] = field(default_factory=dict)
    claimed_w: Mapping[int, float] = field(default_factory=dict)
    unmetered: frozenset[int] = frozenset()
    by_meters: ByMeters = NO_METERS

    @property
    def data_version(self) -> str:
        """The hash of all meter data that went in."""
        return derive("data", *(base.input_hash for base in self.baselines))


def steps_of(award: Award) -> range:
    """Return the starts of the intervals of an award (ns)."""
    return range(award.start_ns, award.end_ns, STEP_NS)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a pool did in one interval, and what of it each award of the interval is paid for (W)."""

    has_meter: bool
    off_w: float
    elsewhere_w: float
    delivered_w: Mapping[str, float]
    lacking_w: float


class Paid:
    """What awards that share an interval are paid for: each what it was awarded, the last of them all that is left."""

    def __init__(self, pool: str, ordered: Sequence[Award], metered: Metered) -> None:
        """Share what meters say among awards, in the order in which they come first."""
        self._pool, self._metered, self._ledger = pool, metered, ClaimsLedger()
        self._awards: dict[int, list[Award]] = {}
        self._found: dict[int, Shared] = {}
        for award in ordered:
            for start_ns in steps_of(award):
                self._awards.setdefault(start_ns, []).append(award)

    def at(self, start_ns: int) -> Shared:
        """Return what was done in an interval, shared among its awards so that no watt is paid twice."""
        if start_ns not in self._found:
            self._found[start_ns] = self._shared(start_ns)
        return self._found[start_ns]

    def _shared(self, start_ns: int) -> Shared:
        metered, awards = self._metered, self._awards[start_ns]
        seen_w = metered.performance_w.get(start_ns, float("nan"))
        has_meter = bool(np.isfinite(seen_w))
        gross_w = float(seen_w) if has_meter else 0.0
        prohibited_w = max(metered.prohibited_w.get(start_ns, 0.0), 0.0)
        net_w = float(net_performance(np.array([gross_w]), np.array([prohibited_w]))[0])
        elsewhere_w, delivered_w = 0.0, {award.id: 0.0 for award in awards}
        if net_w <= 0:
            delivered_w[awards[0].id] = net_w
        else:
            wanted_w = max(metered.claimed_w.get(start_ns, 0.0), 0.0)
            elsewhere_w = self._ledger.claim("elsewhere", self._pool, start_ns, wanted_w, net_w)
            for award in awards:
                most_w = net_w if award is awards[-1] else abs(award.power_w)
                delivered_w[award.id] = self._ledger.claim(award.id, self._pool, start_ns, most_w, net_w)
        lacking_w = math.fsum(max(award.power_w - delivered_w[award.id], 0.0) for award in awards)
        return Shared(has_meter, gross_w - net_w, elsewhere_w, delivered_w, lacking_w)
