"""Dynamic operating envelopes: how far each customer may go, whatever the others do within theirs.

A *robust* envelope holds at every corner: each limit is held where every customer does what harms it most within its
bounds, `sum of max(s, 0) high + min(s, 0) low <= room`. A *nominal* one holds where all stand at the same side of their
bounds alone, and on an unbalanced feeder that is unsafe: one phase that gives while another takes is worse. The linear
program's slopes are taken once; after each round every limit is solved exactly at its own worst corner, and its room
is set anew, until all hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.envelope_search import Search, drawn_in
from tieline.grid.envelope_terms import Asked, EnvelopeTerms, Fairness, Kind, sides_of
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINDS_PU, BINDS_FRAC = 3e-4, 3e-3
"""A limit that is nearer to its bound than this is said to bind."""


@dataclass(frozen=True, slots=True, eq=False)
class OperatingEnvelopes:
    """Bounds of each customer's net power (W, positive into the grid; (t, c)), and what holds them.

    `binds` names, of each interval, the limits that stand at their bound. `over` is by how much the worst limit is
    passed at its own worst corner (pu or share; 0 or less: none is), and `rounds` how often the program was solved.
    """

    low_w: Floats
    high_w: Floats
    binds: tuple[tuple[str, ...], ...]
    over: Floats
    rounds: int


def operating_envelopes(
    flow: PhaseFlow, terms: EnvelopeTerms, steps: int, kind: Kind = "robust", fairness: Fairness = "sum"
) -> OperatingEnvelopes:
    """Return an envelope a step.

    Args:
        flow: The feeder; the branches that it watches are those whose limits are kept.
        terms: What is asked.
        steps: How many intervals.
        kind: `robust` holds at every corner, `nominal` where all stand at the same side.
        fairness: `sum` gives as much as can be given in all, `max-min` as equal a share of what each asked for as can
            be, and what is left by `sum`.

    Raises:
        ConfigError: Shapes differ, bounds cross, or a word is not known.
        Infeasible: No envelope keeps the limits in some interval; the message names it and the limit.
    """
    if kind not in ("robust", "nominal") or fairness not in ("sum", "max-min"):
        raise ConfigError(f"kind {kind!r}, fairness {fairness!r}: give robust or nominal, sum or max-min")
    asked = Asked(flow, terms, steps)
    rows = asked.rows()
    sides = sides_of(rows, kind)
    near = asked.may_bind(rows, sides)
    rows, sides = rows.kept(sides.row[near]), sides.kept(near)
    search = Search(asked, rows, sides, fairness)
    unsettled = search.run()
    low, high = search.low, search.high
    if len(unsettled):
        low, high = drawn_in(asked, rows, sides, search.best, (low, high), unsettled)
    values = asked.at_corners(rows, sides, low, high)
    # A limit that seemed too far to be looked at may have been passed: back towards where nobody does anything.
    passed = np.flatnonzero((values > rows.limit).any(axis=1))
    if len(passed):
        low, high = drawn_in(asked, rows, sides, (asked.nearest_w, asked.nearest_w), (low, high), passed)
        values = asked.at_corners(rows, sides, low, high)
    binding = values > rows.limit - np.where(rows.is_voltage, BINDS_PU, BINDS_FRAC)
    binds = tuple(tuple(dict.fromkeys(rows.what[q] for q in np.flatnonzero(each))) for each in binding)
    return OperatingEnvelopes(low, high, binds, (values - rows.limit).max(axis=1, initial=-np.inf), search.rounds)


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """What random corners of envelopes break: how many of `looked` in each interval, and by how much at worst."""

    looked: int
    broken: Ints
    voltage_over_pu: Floats
    loading_over: Floats


def check_corners(
    flow: PhaseFlow, terms: EnvelopeTerms, envelopes: OperatingEnvelopes, looked: int, rng: np.random.Generator
) -> Corners:
    """Return how many of so many random corners of each envelope break a limit, by the power flow itself.

    Half of the corners have each customer at either bound by a coin; in the other half a coin a phase decides for most.
    """
    steps, customers = envelopes.low_w.shape
    asked, feeder = Asked(flow, terms, steps), flow.feeder
    rows = asked.rows()
    phase = np.zeros(customers, np.int64)
    phase[feeder.load_customer] = feeder.load_phase
    broken, volts, loads = np.zeros(steps, np.int64), np.zeros(steps), np.zeros(steps)
    for step in range(steps):
        coin = rng.random((looked, customers)) < 0.5
        by_phase = (rng.random((looked, 3)) < 0.5)[:, phase] ^ (rng.random((looked, customers)) < 0.1)
        coin[::2] = by_phase[::2]
        site_w = np.where(coin, envelopes.high_w[step], envelopes.low_w[step])
        volts_over, loads_over = rows.over(*asked.solved(site_w, np.full(looked, step)))
        broken[step] = int(((volts_over > 0.0) | (loads_over > 0.0)).sum())
        volts[step], loads[step] = volts_over.max(initial=-np.inf), loads_over.max(initial=-np.inf)
    return Corners(looked, broken, volts, loads)
