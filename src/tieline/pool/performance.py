"""How events went: sold, baseline, delivered, what lacked and why, what came back; by event, program, feeder, customer.

What is counted is what stands: the newest version of each event. A group's sold energy is its meters' part of what was
sold (`Part.committed_kwh`). For every event and group `delivered = committed - lacking + surplus`: energy that one gave
more never hides what another lacked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.contract.budget import gini
from tieline.market.settlement import DAY_AHEAD, is_excused
from tieline.pool.settled import Part, Settled
from tieline.times import HOUR_NS

Floats = NDArray[np.float64]
HELD_FRAC = 0.9
"""From how much of what was sold an interval counts as held."""
SHAPED_FRAC = 0.1
"""From how much change of sold power an event has a shape to follow."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one event or group came to (kWh). `lacks_kwh` is by cause; `rebound_kwh` what loads drew more afterwards."""

    name: str
    events: int
    hours: float
    committed_kwh: float
    baseline_kwh: float
    delivered_kwh: float
    surplus_kwh: float
    lacks_kwh: Mapping[str, float]
    rebound_kwh: float

    @property
    def performance(self) -> float | None:
        """Delivered over sold; None where nothing was."""
        return self.delivered_kwh / self.committed_kwh if self.committed_kwh > 0 else None

    @property
    def excused_performance(self) -> float | None:
        """The same with what the table of causes excuses counted as delivered."""
        free = math.fsum(kwh for cause, kwh in self.lacks_kwh.items() if is_excused(cause))
        return (self.delivered_kwh + free) / self.committed_kwh if self.committed_kwh > 0 else None

    @property
    def snapback(self) -> float | None:
        """What came back in the two hours afterwards over what was delivered; None where nothing was."""
        return self.rebound_kwh / self.delivered_kwh if self.delivered_kwh > 0 else None


@dataclass(frozen=True, slots=True)
class Followed:
    """How one event followed what was sold: relative error, longest held block (h), and whether there was a shape."""

    error: float
    held_h: float
    is_shaped: bool


@dataclass(frozen=True, slots=True)
class Fairness:
    """How evenly calls fell on those who could be called: hours a customer, and their Gini coefficient."""

    hours: Mapping[str, float]
    calls: Mapping[str, int]

    @property
    def gini(self) -> float:
        """0: all alike; near 1: one had all."""
        return gini(list(self.hours.values()))


@dataclass(slots=True)
class _Sum:
    events: set[int] = field(default_factory=set)
    hours: float = 0.0
    committed: float = 0.0
    baseline: float = 0.0
    delivered: float = 0.0
    surplus: float = 0.0
    lacks: dict[str, float] = field(default_factory=dict)
    rebound: float = 0.0


def sold_kwh(settled: Settled) -> Floats:
    """Return what was sold in each interval of an event (kWh); shape (intervals,)."""
    count = (settled.end_ns - settled.start_ns) // settled.step_ns
    found: Floats = np.zeros(count)
    for line in settled.lines:
        if line.kind == DAY_AHEAD:
            first = (line.start_ns - settled.start_ns) // settled.step_ns
            wide = (line.end_ns - line.start_ns) // settled.step_ns
            found[first : first + wide] += line.energy_wh / 1e3 / wide
    return found


def gained_kwh(settled: Settled) -> Floats:
    """Return what all meters gained in each interval (kWh, signed); shape (intervals,)."""
    found: Floats = np.sum([[step.gained_kwh for step in part.steps] for part in settled.parts], axis=0)
    return found


def by_event(events: Sequence[Settled]) -> list[Score]:
    """Return one score an event, in their order."""
    return [_scored(str(at), ((at, one, part) for part in one.parts)) for at, one in enumerate(events)]


def by_group(events: Sequence[Settled], group_of: Callable[[Settled, Part], str]) -> list[Score]:
    """Return one score a group, by name; a meter of no group stands under "" (not told)."""
    mine: dict[str, list[tuple[int, Settled, Part]]] = {}
    for at, one in enumerate(events):
        for part in one.parts:
            mine.setdefault(group_of(one, part), []).append((at, one, part))
    return [_scored(name, held) for name, held in sorted(mine.items())]


def in_all(events: Sequence[Settled]) -> Score:
    """Return the score of all events together."""
    return _scored("all", ((at, one, part) for at, one in enumerate(events) for part in one.parts))


def _scored(name: str, held: Iterable[tuple[int, Settled, Part]]) -> Score:
    total = _Sum()
    for at, one, part in held:
        if at not in total.events:
            total.events.add(at)
            total.hours += (one.end_ns - one.start_ns) / HOUR_NS
        lacks = math.fsum(part.lacks_kwh.values())
        total.committed += part.committed_kwh
        total.baseline += part.baseline_kwh
        total.delivered += part.gained_kwh
        # From the identity above: what was gained beyond what each interval asked for.
        total.surplus += part.gained_kwh - part.committed_kwh + lacks
        total.rebound += part.rebound_kwh
        for cause, kwh in part.lacks_kwh.items():
            total.lacks[cause] = total.lacks.get(cause, 0.0) + kwh
    return Score(
        name, len(total.events), total.hours, total.committed, total.baseline, total.delivered, total.surplus,
        dict(sorted(total.lacks.items())), total.rebound,
    )  # fmt: skip


def followed(settled: Settled) -> Followed:
    """Return how an event followed what was sold, over the intervals in which something was."""
    sold, gained = sold_kwh(settled), gained_kwh(settled)
    asked = sold > 0
    if not asked.any():
        return Followed(math.nan, 0.0, False)
    error = float(np.sqrt(np.mean((gained[asked] - sold[asked]) ** 2)) / np.mean(sold[asked]))
    longest = run = 0
    for is_held in (asked & (gained >= HELD_FRAC * sold)).tolist():
        run = run + 1 if is_held else 0
        longest = max(longest, run)
    spread = float(sold[asked].max() - sold[asked].min()) / float(sold[asked].mean())
    return Followed(error, longest * settled.step_ns / HOUR_NS, spread >= SHAPED_FRAC)


def fairness(events: Sequence[Settled], members: Iterable[str] = ()) -> Fairness:
    """Return how calls fell on customers; `members` are those who could have been called and perhaps never were."""
    hours = dict.fromkeys(members, 0.0)
    calls = dict.fromkeys(hours, 0)
    for one in events:
        for customer in sorted({part.customer for part in one.parts if part.customer and part.committed_kwh > 0}):
            hours[customer] = hours.get(customer, 0.0) + (one.end_ns - one.start_ns) / HOUR_NS
            calls[customer] = calls.get(customer, 0) + 1
    return Fairness(dict(sorted(hours.items())), dict(sorted(calls.items())))
