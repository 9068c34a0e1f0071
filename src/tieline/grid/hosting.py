"""Hosting capacity: how much more each customer could give or take, alone or all together, before a limit breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.envelope_terms import Asked, EnvelopeTerms
from tieline.grid.limit_rows import LimitRows
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
HALVINGS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Hosting:
    """What each customer could add alone (W; (c,)), what each could add if all do (W), and what holds them."""

    alone_w: Floats
    held_by: tuple[str, ...]
    together_w: float
    together_held_by: str


def hosting(flow: PhaseFlow, site_w: Floats, terms: EnvelopeTerms, most_w: float) -> Hosting:
    """Return how much customers could add in every one of some scenarios.

    Args:
        flow: The feeder.
        site_w: What customers do without it, a scenario a row (W, positive into the grid); shape (t, c).
        terms: Limits, reactive power and the source's voltage; its powers are not read.
        most_w: The most that is asked for: above 0 of generation, below of load.

    Raises:
        ConfigError: Shapes differ, or `most_w` is 0.
    """
    if not most_w or not np.isfinite(most_w):
        raise ConfigError(f"most_w is {most_w:g} W: give above 0 for generation, below 0 for load")
    steps, customers = site_w.shape
    fixed = EnvelopeTerms(
        site_w,
        site_w,
        terms.min_pu,
        terms.max_pu,
        terms.most_loading,
        terms.given_var,
        terms.var_per_w,
        terms.source_pu,
    )
    asked = Asked(flow, fixed, steps)
    rows = asked.rows()
    # One way a customer, and a last one on which all add the same.
    ways = np.vstack([np.eye(customers), np.ones((1, customers))]) * most_w
    least, most, worst = np.zeros(len(ways)), np.ones(len(ways)), np.zeros(len(ways), np.int64)
    everything = _passed(asked, rows, site_w, ways)[0]
    least[~everything] = 1.0
    for _ in range(HALVINGS):
        share = 0.5 * (least + most)
        passed, row = _passed(asked, rows, site_w, share[:, None] * ways)
        worst[passed] = row[passed]
        least, most = np.where(passed, least, share), np.where(passed, share, most)
    names = tuple("nothing" if free else rows.what[row] for free, row in zip(~everything, worst, strict=True))
    return Hosting(least[:-1] * abs(most_w), names[:-1], float(least[-1] * abs(most_w)), names[-1])


def _passed(
    asked: Asked, rows: LimitRows, site_w: Floats, added_w: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether some limit is passed in some scenario with each addition, and the worst one."""
    steps, ways = len(site_w), len(added_w)
    step = np.repeat(np.arange(steps), ways)
    values = rows.all_values(*asked.solved((site_w[:, None] + added_w[None]).reshape(-1, site_w.shape[1]), step))
    over = (values - rows.limit).reshape(steps, ways, -1).max(axis=0)
    return (over > 0.0).any(axis=1), over.argmax(axis=1)
