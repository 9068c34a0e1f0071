"""Whether a meter may keep a baseline rule, and what a settlement by it is to be wrong by, before anybody enrols.

Both look at days on which nothing happened. `RRMSE = sqrt(mean((B - L)^2)) / mean(L)` over the simulated events'
intervals, as PJM and AEMO ask for. A portfolio's error on one event falls with its size as far as homes err each by
themselves: `error(n)^2 = own^2 / n + common^2`, in parts of its load, where `common` is what weather and calendar do to
all of them. Sizes that there are meters for are drawn by chance; larger ones follow that law.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.market.placebo import Days, Errors, Study, errors_of, pooled_errors
from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]


class AccuracyTest(Struct, frozen=True, forbid_unknown_fields=True):
    """One market's test of a baseline; see the data file for the meaning of each field."""

    id: str
    version: str
    source: str
    certainty: str
    most_rrmse: float
    most_bias: float = math.inf

    def holds(self, rrmse: float, bias: float) -> bool:
        """Return whether a baseline with these errors stands the test; one without a figure does not."""
        return rrmse <= self.most_rrmse and abs(bias) <= self.most_bias


@cache
def accuracy_tests() -> tuple[AccuracyTest, ...]:
    """Return all tests by name. Raises ConfigError naming the row that is none."""
    text = (files("tieline.market") / "rules" / "accuracy.toml").read_text(encoding="utf-8")
    found = []
    for name, row in sorted(tomllib.loads(text).items()):
        try:
            found.append(msgspec.convert({"id": name, **row}, AccuracyTest))
        except msgspec.ValidationError as error:
            raise ConfigError(f"accuracy.toml: {name}: {error}") from error
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How one rule does on one meter: RRMSE and bias (fractions of its load; NaN: no day could be asked)."""

    rule: str
    meter: str
    days: int
    refused: int
    rrmse: float
    bias: float
    holds: tuple[str, ...]
    """Names of the tests that it stands."""


def accuracy(rule: str, meter: str, found: Errors) -> Accuracy:
    """Return how a rule does on a meter, by its errors on each interval of simulated events."""
    has = np.asarray(np.isfinite(found.each_off).all(axis=1))
    off, load = found.each_off[has], found.each_load[has]
    mean = float(load.mean()) if has.any() else math.nan
    if not mean > 0:
        return Accuracy(rule, meter, int(has.sum()), int((~has).sum()), math.nan, math.nan, ())
    rrmse, bias = float(np.sqrt(np.mean(off**2))) / mean, float(off.mean()) / mean
    holds = tuple(test.id for test in accuracy_tests() if test.holds(rrmse, bias))
    return Accuracy(rule, meter, int(has.sum()), int((~has).sum()), rrmse, bias, holds)


def accuracies(rules: Sequence[BaselineRule], homes: Mapping[str, Days], study: Study) -> list[Accuracy]:
    """Return how each rule does on each meter by itself."""
    return [
        accuracy(rule.id, meter, found)
        for rule in rules
        for meter, found in zip(homes, errors_of(rule, list(homes.values()), study), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a single event's settlement of a portfolio of so many meters is to be wrong by (fractions of its load).

    Nineteen events in twenty lie between `low` and `high`, above 0 where it is paid for nothing. Of sizes beyond the
    meters at hand they are `bias` and twice the law's error around it.
    """

    rule: str
    meters: int
    events: int
    bias: float
    error: float
    low: float
    high: float
    is_extrapolated: bool


@dataclass(frozen=True, slots=True)
class Law:
    """`error(n)^2 = own^2 / n + common^2`, in parts of a portfolio's load."""

    own: float
    common: float

    def error(self, meters: int) -> float:
        """Return the error of a portfolio of so many meters."""
        return math.sqrt(self.own**2 / meters + self.common**2)


def law_of(sizes: Sequence[int], found: Sequence[float]) -> Law:
    """Return the law that is nearest to errors of portfolios (least squares in relative squares, none negative).

    Raises:
        ValueError: No size has an error.
    """
    kept = [(n, e) for n, e in zip(sizes, found, strict=True) if math.isfinite(e) and e > 0]
    if not kept:
        raise ValueError("no portfolio has an error: give more days or meters")
    size, square = np.array([n for n, _ in kept], float), np.array([e**2 for _, e in kept])
    # A small portfolio's square is hundreds of times a large one's: each counts by its own.
    rows = np.stack([1 / size / square, 1 / square], axis=1)
    one = np.ones(len(kept))
    both = np.linalg.lstsq(rows, one, rcond=None)[0] if len(set(size.tolist())) > 1 else np.array([-1.0, -1.0])
    if (both >= 0).all():
        return Law(math.sqrt(both[0]), math.sqrt(both[1]))
    alone = [float(rows[:, k] @ one / (rows[:, k] @ rows[:, k])) for k in (0, 1)]
    left = [float(((rows[:, k] * alone[k] - one) ** 2).sum()) for k in (0, 1)]
    return Law(math.sqrt(alone[0]), 0.0) if left[0] <= left[1] else Law(0.0, math.sqrt(alone[1]))


def expected(
    rule: BaselineRule,
    homes: Mapping[str, Days],
    study: Study,
    sizes: Sequence[int],
    draws: int,
    rng: np.random.Generator,
) -> tuple[list[Expected], Law | None]:
    """Return what portfolios of each size are to expect, settled as one, and the law that larger ones follow.

    Args:
        rule: How they are settled.
        homes: Meters to draw from.
        study: Days and hours of events that never were.
        sizes: How many meters; those above the meters at hand follow the law.
        draws: How many portfolios are drawn of each size.
        rng: By which they are drawn.
    """
    most = len(homes)
    base = sorted({size for size in sizes if size <= most} | {1, max(most // 4, 1), max(most // 2, 1), most})
    drawn = {size: _drawn(rule, size, pooled_errors(rule, homes, study, size, draws, rng)) for size in base}
    known = [one for one in drawn.values() if one.events]
    if not known:
        return [], None
    law = law_of([one.meters for one in known], [one.error for one in known])
    found = []
    for size in sorted(set(sizes)):
        if size <= most:
            found.append(drawn[size])
            continue
        error, bias = law.error(size), drawn[most].bias
        spread = 2 * math.sqrt(max(error**2 - bias**2, 0.0))
        found.append(Expected(rule.id, size, 0, bias, max(error, abs(bias)), bias - spread, bias + spread, True))
    return found, law


def _drawn(rule: BaselineRule, size: int, pooled: Errors) -> Expected:
    has = np.isfinite(pooled.off) & (pooled.load > 0)
    if not has.any():
        return Expected(rule.id, size, 0, math.nan, math.nan, math.nan, math.nan, False)
    off, load = pooled.off[has], pooled.load[has]
    low, high = np.quantile(off / load.mean(), [0.025, 0.975])
    return Expected(
        rule.id, size, int(has.sum()), float(off.sum() / load.sum()),
        float(np.sqrt(np.mean(off**2)) / load.mean()), float(low), float(high), False,
    )  # fmt: skip
