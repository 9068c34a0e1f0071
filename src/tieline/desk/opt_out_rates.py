"""How often owners opt out of calls, learnt by kind and hour from the program events that the journal holds.

Theory. Of n devices of a kind that events called, k were taken out by their owners while they were called. The rate has
a Beta prior of mean m0 and the weight of S calls; after n calls its mean is (S m0 + k) / (S + n). An hour of the day
begins at its kind's rate instead of m0, so that what few calls of one hour tell makes no jump. Without any call the
rate is the prior's, and that is said (`called` 0). It hangs on facts alone: after a replay it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.offering import LOADS
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE, KINDS
from tieline.fleet.firm import Z95
from tieline.times import from_ns

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
HOURS = 24
_ANY = ZoneInfo("UTC")  # by kind alone the hours of no clock matter
LOAD_FRAC, OTHER_FRAC, PRIOR_CALLS = 0.03, 0.01, 33.0
"""The prior: its mean for loads that owners feel, for all other kinds, and how many calls it weighs. Our assumption."""


class OptOutView(Struct, frozen=True):
    """How often owners of a kind opt out of an hour's calls (`hour` on the pool's clock; None: of any hour's).

    `called` devices were called so far and `out` of them taken out meanwhile. `mean_frac` is what offers go by, and in
    5 of 100 cases the rate is above `high_frac`; both begin at `prior_frac` with the weight of 33 calls.
    """

    kind: str
    hour: int | None
    called: int
    out: int
    mean_frac: float
    high_frac: float
    prior_frac: float


@dataclass(frozen=True, slots=True, eq=False)
class OptOutRates:
    """How many devices were called and opted out, by kind and hour of the event's start; shape (kinds, 24)."""

    called: Counts
    out: Counts

    @property
    def prior(self) -> Floats:
        """The prior's mean of each kind; shape (kinds,)."""
        frac = np.full(len(KINDS), OTHER_FRAC)
        frac[[KIND_CODE[kind] for kind in LOADS]] = LOAD_FRAC
        return frac

    def of_kind(self) -> Floats:
        """Return the mean rate of each kind over all hours; shape (kinds,)."""
        return _mean(self.prior, self.called.sum(axis=1), self.out.sum(axis=1))

    def of_hour(self) -> Floats:
        """Return the mean rate of each kind in each hour; shape (kinds, 24)."""
        return _mean(self.of_kind()[:, None], self.called, self.out)


def _mean(prior: Floats, called: Counts, out: Counts) -> Floats:
    mean: Floats = (PRIOR_CALLS * prior + out) / (PRIOR_CALLS + called)
    return mean


def high_frac(mean: float, called: int) -> float:
    """Return what a rate is above in 5 of 100 cases: Wilson's bound, of its mean and as many calls with the prior's.

    >>> round(high_frac(0.03, 0), 3), round(high_frac(0.03, 10_000), 3)
    (0.117, 0.033)
    """
    count, z = PRIOR_CALLS + called, Z95
    middle = mean + z * z / (2.0 * count)
    spread = z * sqrt(mean * (1.0 - mean) / count + z * z / (4.0 * count * count))
    return min((middle + spread) / (1.0 + z * z / count), 1.0)


def opt_out_rates(state: DeskState, zone: ZoneInfo, now_ns: int) -> OptOutRates:
    """Return the rates as the events that have begun tell them, by the hours of a clock."""
    called, out = (np.zeros((len(KINDS), HOURS), np.int64) for _ in range(2))
    for event in state.called.values():
        if not event.rows or event.start_ns > now_ns:
            continue
        hour = from_ns(event.start_ns).astimezone(zone).hour
        mine, gone = event.tally(state.fleet.kinds, len(KINDS))
        called[:, hour] += mine
        out[:, hour] += gone
    return OptOutRates(called, out)


def beyond_prior(state: DeskState, now_ns: int) -> Floats:
    """Return by how much the high end of each kind's rate is above its prior's, 0 or more; shape (kinds,).

    What is promised firmly leaves that out beside what it left out before anything was known: it is never more than
    without any call.
    """
    rates = opt_out_rates(state, _ANY, now_ns)
    ends = zip(rates.of_kind().tolist(), rates.called.sum(axis=1).tolist(), rates.prior.tolist(), strict=True)
    return np.array([max(high_frac(mean, called) - high_frac(prior, 0), 0.0) for mean, called, prior in ends])


def views_of(rates: OptOutRates, kinds: NDArray[np.uint8]) -> list[OptOutView]:
    """Return what a screen shows of the kinds that are there: each over all hours, then its hours with a call."""
    found = list[OptOutView]()
    of_kind, of_hour = rates.of_kind(), rates.of_hour()
    for code in np.unique(kinds).tolist():
        name, prior = KINDS[code].value, float(rates.prior[code])
        called, out = int(rates.called[code].sum()), int(rates.out[code].sum())
        mean = float(of_kind[code])
        found.append(OptOutView(name, None, called, out, mean, high_frac(mean, called), prior))
        for hour in np.flatnonzero(rates.called[code]).tolist():
            each, outs, rate = (table[code, hour].item() for table in (rates.called, rates.out, of_hour))
            found.append(OptOutView(name, hour, each, outs, rate, high_frac(rate, each), mean))
    return found
