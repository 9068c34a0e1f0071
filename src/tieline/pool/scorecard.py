"""A fleet held against a gas peaker: telemetry, shapes, blocks, all year round; each measured, never taken on trust."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.pool.performance import HELD_FRAC, followed, gained_kwh, sold_kwh
from tieline.pool.settled import Settled
from tieline.times import from_ns

Floats = NDArray[np.float64]


class Bar(Struct, frozen=True, forbid_unknown_fields=True):
    """What a peaker does: the bar, whether it is the most or the least, and where it comes from."""

    bar: float
    is_most: bool
    unit: str
    says: str
    source: str
    certainty: str
    ours: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing measured: the value (None: nothing to measure it by) and whether it meets its bar."""

    name: str
    value: float | None
    bar: Bar

    @property
    def is_met(self) -> bool | None:
        """Whether it meets the bar; None where it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.bar.bar if self.bar.is_most else self.value >= self.bar.bar


@cache
def bars() -> dict[str, Bar]:
    """Return all bars by name. Raises ConfigError naming a row that is none."""
    text = (files("tieline.pool") / "rules" / "peaker.toml").read_text(encoding="utf-8")
    try:
        return msgspec.convert(tomllib.loads(text), dict[str, Bar])
    except msgspec.ValidationError as error:
        raise ConfigError(f"peaker.toml: {error}") from error


def scorecard(events: Sequence[Settled], delays_s: Floats | None = None) -> list[Mark]:
    """Return the marks of a fleet.

    Args:
        events: What stands of each event.
        delays_s: How long each reading took until it was at hand (s); None: not known.
    """
    known = bars()
    late = None if delays_s is None or not len(delays_s) else float(np.quantile(delays_s, 0.95))
    how = [followed(one) for one in events]
    shaped = [each.error for each in how if each.is_shaped and math.isfinite(each.error)]
    values = {
        "telemetry": late,
        "shape": sum(shaped) / len(shaped) if shaped else None,
        "block": max((each.held_h for each in how), default=None),
        "year": float(len(months_held(events))) if events else None,
    }
    return [Mark(name, values[name], known[name]) for name in known]


def months_held(events: Sequence[Settled]) -> set[int]:
    """Return the months of the year (1 to 12) in which an event delivered nine tenths of what it sold."""
    found = set()
    for one in events:
        sold = float(sold_kwh(one).sum())
        if sold > 0 and float(gained_kwh(one)[sold_kwh(one) > 0].sum()) >= HELD_FRAC * sold:
            found.add(from_ns(one.start_ns).astimezone(ZoneInfo(one.zone)).month)
    return found
