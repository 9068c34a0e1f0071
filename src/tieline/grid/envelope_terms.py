"""What envelopes are asked with, and what the feeder does at corners of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, Infeasible
from tieline.grid.limit_rows import LimitRows, limit_rows
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Complexes = NDArray[np.inexact[Any]]
Kind = Literal["robust", "nominal"]
Fairness = Literal["sum", "max-min"]
FAR_TIMES = 3.0
HALVINGS = 12


@dataclass(frozen=True, slots=True)
class EnvelopeTerms:
    """Between what envelopes lie, and what they keep: W positive into the grid, of shape (c,) or (t, c).

    `least_w` and `most_w` are what each customer could do at most (a connection's agreed power, say); of one that
    listens to nobody both are what it does. `min_pu` and `max_pu` bound every load's voltage; `most_loading` is the
    share of their ratings that lines and each phase of a transformer may carry. `given_var` is what each gives of
    reactive power as it stands, and `var_per_w` what it gives more with each watt. `source_pu` is the upstream
    voltage (t,).
    """

    least_w: Floats
    most_w: Floats
    min_pu: float = 0.94
    max_pu: float = 1.10
    most_loading: float = 1.0
    given_var: Floats | float = 0.0
    var_per_w: float = 0.0
    source_pu: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """How rows go with bounds: row q of the program is `high` and `low` (q, c) over bounds, of limit `row[q]`."""

    row: Ints
    high: Floats
    low: Floats
    takes_high: NDArray[np.bool_]

    def kept(self, rows: NDArray[np.bool_]) -> Sides:
        """Return only some rows, numbered anew."""
        return Sides(np.arange(int(rows.sum())), self.high[rows], self.low[rows], self.takes_high[rows])


def sides_of(rows: LimitRows, kind: Kind) -> Sides:
    every, slope = np.arange(len(rows)), rows.per_w
    if kind == "robust":
        return Sides(every, np.maximum(slope, 0.0), np.minimum(slope, 0.0), slope > 0.0)
    up, none = np.ones_like(slope, np.bool_), np.zeros_like(slope)
    return Sides(
        np.tile(every, 2), np.concatenate([slope, none]), np.concatenate([none, slope]), np.concatenate([up, ~up])
    )


class Asked:
    """What is asked, in full shapes, and what the feeder does at corners of it."""

    def __init__(self, flow: PhaseFlow, terms: EnvelopeTerms, steps: int) -> None:
        self.flow, self.terms, feeder = flow, terms, flow.feeder
        shape = (steps, len(feeder.customer_name))
        self.least_w, self.most_w = full("least_w", terms.least_w, shape), full("most_w", terms.most_w, shape)
        self.given_var = full("given_var", np.asarray(terms.given_var, float), shape)
        self.nearest_w = np.clip(0.0, self.least_w, self.most_w)
        crossed = np.argwhere(self.least_w > self.most_w)
        if len(crossed):
            step, customer = crossed[0]
            raise ConfigError(
                f"least_w of customer {feeder.customer_name[customer]} in interval {step} is "
                f"{self.least_w[step, customer]:g} W: give at most its most_w, {self.most_w[step, customer]:g} W"
            )
        if not 0.0 < terms.min_pu < terms.max_pu:
            raise ConfigError(f"min_pu is {terms.min_pu:g}, max_pu {terms.max_pu:g}: give 0 < min_pu < max_pu")
        source = np.ones(steps) if terms.source_pu is None else np.asarray(terms.source_pu, float)
        self.source_pu = full("source_pu", source[:, None], (steps, 1))[:, 0]

    def rows(self) -> LimitRows:
        """Return all limits, with their slopes where customers are nearest to nothing."""
        customers, start = len(self.flow.feeder.load_customer), self.nearest_w.mean(axis=0)
        ends = [self._reached(start, end.mean(axis=0)) for end in (self.least_w, self.most_w)]
        return limit_rows(
            self.flow, self._drawn(np.stack([start, *ends])), np.full(customers, self.terms.var_per_w),
            np.full(customers, self.terms.min_pu), np.full(customers, self.terms.max_pu), self.terms.most_loading,
        )  # fmt: skip

    def _drawn(self, site_w: Floats) -> Complexes:
        return self.flow.feeder.loads_of(-(site_w + 1j * self._var(site_w, slice(0, 1))))

    def _reached(self, start: Floats, end: Floats) -> Floats:
        """Return the way from start to end as far as, halved again and again, there is a power flow."""
        for share in 0.5 ** np.arange(HALVINGS):
            reached: Floats = start + share * (end - start)
            if np.isfinite(self.flow.solve_loads(self._drawn(reached[None]))[2]).all():
                return reached
        return start

    def may_bind(self, rows: LimitRows, sides: Sides) -> NDArray[np.bool_]:
        """Return which limits could bind: those that thrice their linear way to their worst corner would pass."""
        started = self.at_nearest(rows)[:, sides.row]
        way = (self.most_w - self.nearest_w) @ sides.high.T + (self.least_w - self.nearest_w) @ sides.low.T
        passed: NDArray[np.bool_] = (started + FAR_TIMES * way > rows.limit[sides.row]).any(axis=0)
        return passed

    def infeasible(self, step: int, worst: str) -> Infeasible:
        """Return the error that an interval has no envelope."""
        name = self.flow.feeder.name
        return Infeasible(f"feeder {name}: interval {step} has no envelope: {worst} is passed whatever customers do")

    def _var(self, site_w: Floats, steps: slice | Ints) -> Floats:
        return self.given_var[steps] + self.terms.var_per_w * site_w

    def at_nearest(self, rows: LimitRows) -> Floats:
        """Return all rows' values where customers are nearest to nothing, in each interval; shape (t, r)."""
        return rows.all_values(*self.solved(self.nearest_w, np.arange(len(self.nearest_w))))

    def at_corners(
        self, rows: LimitRows, sides: Sides, low_w: Floats, high_w: Floats, steps: Ints | None = None
    ) -> Floats:
        """Return the exact value of each row at its own worst corner, in all intervals or some; shape (t, q)."""
        count, asked = len(sides.row), np.arange(len(low_w)) if steps is None else steps
        if not count:
            return np.empty((len(asked), 0))
        found = self.at_some(rows, sides, low_w, high_w, np.repeat(asked, count), np.tile(np.arange(count), len(asked)))
        return found.reshape(len(asked), count)

    def at_some(self, rows: LimitRows, sides: Sides, low_w: Floats, high_w: Floats, step: Ints, row: Ints) -> Floats:
        """Return the exact values of some rows in some intervals, pair by pair, each at its own worst corner."""
        at = rows if len(rows) == len(sides.row) else rows.kept(sides.row)
        site_w = np.where(sides.takes_high[row], high_w[step], low_w[step])
        currents, load_pu, scale = self.solved(site_w, step)
        return at.values(row, currents, load_pu, scale)

    def solved(self, site_w: Floats, step: Ints) -> tuple[Complexes, Floats, Floats]:
        """Return currents and voltages (pu) of loads and the source's multiple, a scenario; voltages of none are 0."""
        return self.solved_at(site_w, self._var(site_w, step), step)

    def solved_at(self, site_w: Floats, site_var: Floats, step: Ints) -> tuple[Complexes, Floats, Floats]:
        """Return the same for reactive power of its own."""
        drawn, scale = self.flow.feeder.loads_of(-(site_w + 1j * site_var)), self.source_pu[step]
        currents, volts, off = self.flow.solve_loads(drawn, scale, 1e-6)
        lost = ~np.isfinite(off)
        load_pu = np.abs(volts) / self.flow.rated_v
        # A corner without power flow breaks every limit: its voltages count as none and its currents as without end.
        load_pu[lost], currents[lost] = 0.0, 1e6
        return currents, load_pu, scale


def full(name: str, column: Floats, shape: tuple[int, int]) -> Floats:
    column = np.asarray(column, float)
    try:
        whole: Floats = np.broadcast_to(column, shape).copy()
    except ValueError as error:
        raise ConfigError(f"{name} has shape {column.shape}: give {shape}, or ({shape[1]},)") from error
    if not np.isfinite(whole).all():
        raise ConfigError(f"{name} at {tuple(np.argwhere(~np.isfinite(whole))[0].tolist())} is no finite number")
    return whole
