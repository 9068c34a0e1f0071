"""What a pool's plan is asked with; every refusal names the field, the value and the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.plan.refusals import refuse, shaped, within

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the pool pays, and the band that its net power keeps. Each is one value, or one a step: shape (T,).

    `buy_per_wh` (shape (T,)) and `sell_per_wh` (None: the same) price net energy; a step's selling price is at most its
    buying price. `low_w` and `high_w` bound net power (W, positive into the grid): an import cap of 50 kW is
    `low_w=-50_000`, an export cap `high_w`, and a band that must be delivered has both above 0. `base_w` is the power
    of what isn't planned (sun positive, load negative). `slack_per_wh` prices each Wh beyond the band.
    """

    buy_per_wh: Floats
    sell_per_wh: Floats | None = None
    low_w: Floats | float = -np.inf
    high_w: Floats | float = np.inf
    base_w: Floats | float = 0.0
    slack_per_wh: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What changes with time at a storage; None: as its column in `Stores` says. Shape (n, T), but `keep_frac` (n,).

    A car that is away has a rating of 0 then, its trip is a negative inflow, its departure a `least_wh`; a heat tank
    has a `keep_frac` (share of stored energy left after a step) below 1, and its draw is a negative inflow.
    """

    charge_w: Floats | None = None
    discharge_w: Floats | None = None
    least_wh: Floats | None = None
    most_wh: Floats | None = None
    inflow_wh: Floats | None = None
    keep_frac: Floats | None = None


def checked_terms(terms: Terms, hours: float, tolerance: float) -> tuple[int, tuple[Floats, ...]]:
    """Return the number of steps, and buying and selling price, low, high and base in arrays of that length.

    Raises:
        ConfigError: A price or power is no number, shapes differ, a band is empty, or selling pays more than buying.
    """
    within("hours", np.array([hours]), 0.0, np.inf, above=True)
    within("tolerance", np.array([tolerance]), 1e-10, 1e-2)
    buy = np.asarray(terms.buy_per_wh, float)
    if buy.ndim != 1 or not len(buy):
        raise ConfigError(f"buy_per_wh has shape {buy.shape}: give one price a step, at least one")
    sell = buy if terms.sell_per_wh is None else terms.sell_per_wh
    given: dict[str, Any] = {"sell_per_wh": sell, "low_w": terms.low_w, "high_w": terms.high_w, "base_w": terms.base_w}
    columns = {"buy_per_wh": buy} | {name: _broadcast(name, column, buy.shape) for name, column in given.items()}
    for name in ("buy_per_wh", "sell_per_wh", "base_w"):
        within(name, columns[name], -np.inf, np.inf)
    for name in ("low_w", "high_w"):
        refuse(name, columns[name], np.isnan(columns[name]), "a number, or infinity for no bound")
    refuse("low_w", columns["low_w"], columns["low_w"] == np.inf, "a number below infinity")
    refuse("high_w", columns["high_w"], columns["high_w"] == -np.inf, "a number above minus infinity")
    refuse("low_w", columns["low_w"], columns["low_w"] > columns["high_w"], "at most high_w")
    refuse("sell_per_wh", columns["sell_per_wh"], columns["sell_per_wh"] > buy, "at most buy_per_wh of its step")
    if terms.slack_per_wh is not None:
        within("slack_per_wh", np.array([terms.slack_per_wh]), 0.0, np.inf, above=True)
    return len(buy), tuple(columns.values())


def checked_course(course: Course | None, count: int, steps: int) -> None:
    """Check shapes and values of what changes with time.

    Raises:
        ConfigError: Else; the message names the storage and step.
    """
    if course is None:
        return
    for name in ("charge_w", "discharge_w", "least_wh", "most_wh", "inflow_wh"):
        column = getattr(course, name)
        if column is not None:
            shaped(f"course.{name}", column, (count, steps))
            within(f"course.{name}", column, 0.0 if name.endswith("charge_w") else -np.inf, np.inf)
    if course.least_wh is not None and course.most_wh is not None:
        refuse("course.least_wh", course.least_wh, course.least_wh > course.most_wh, "at most most_wh")
    if course.keep_frac is not None:
        shaped("course.keep_frac", course.keep_frac, (count,))
        within("course.keep_frac", course.keep_frac, 0.0, 1.0, above=True)


def _broadcast(name: str, given: Floats | float, shape: tuple[int, ...]) -> Floats:
    column = np.asarray(given, float)
    if column.ndim and column.shape != shape:
        raise ConfigError(f"{name} has shape {column.shape}: give one value, or {shape[0]}")
    return np.broadcast_to(column, shape).copy()
