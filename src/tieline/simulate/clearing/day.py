"""A market day with a counterpart whose prices answer: committed the day before, dispatched every five minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.simulate.clearing.case118 import Case
from tieline.simulate.clearing.commitment import Commitment, commit
from tieline.simulate.clearing.dispatch import Cleared, Dispatcher, Penalties
from tieline.simulate.clearing.offers import Offer

Floats = NDArray[np.float64]
STEP_MINUTES = 5
AN_HOUR = 60 // STEP_MINUTES
A_DAY = 24 * AN_HOUR
SWITCH_H = 0.5
"""A plant takes so long between standing still and its least power: before it starts, and after it stops."""

Asked = Callable[[int, Cleared | None], Sequence[Offer]]
"""What participants answer when asked for new offers: by the step of the day, and how the one before was cleared."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A day as it went: committed ahead, then each five minutes as cleared."""

    ahead: Commitment
    steps: tuple[Cleared, ...]


class Market:
    """Clears one day of a case: `day_ahead` first, then `step` by step; offers of ours stand beside the case's own."""

    def __init__(
        self,
        case: Case,
        ours: Sequence[Offer] = (),
        *,
        reserve_frac: float = 0.06,
        step_reserve_frac: float | None = None,
        penalties: Penalties | None = None,
        drawn_mw: Floats | None = None,
    ) -> None:
        """Open a market in which `ours` are offered too; `reserve_frac` of what is drawn is held as reserve.

        Of five minutes `step_reserve_frac` is held, where that is less: what lies between is for a load that strays.
        `drawn_mw` is what each bus is foreseen to draw in each hour of the day, shape (hours, b); None: the case's own.
        """
        self._step_reserve_frac = reserve_frac if step_reserve_frac is None else step_reserve_frac
        if not 0.0 <= reserve_frac <= 1.0:
            raise ConfigError(f"reserve_frac = {reserve_frac}: give 0 to 1")
        if not 0.0 <= self._step_reserve_frac <= reserve_frac:
            raise ConfigError(f"step_reserve_frac = {step_reserve_frac}: give 0 to reserve_frac = {reserve_frac}")
        self.case, self.offers = case, (*case.offers, *ours)
        self.row = {offer.name: k for k, offer in enumerate(self.offers)}
        self._reserve_frac, self._penalties = reserve_frac, penalties or Penalties()
        self._dispatcher = Dispatcher(case.network, self.offers, self._penalties)
        self._drawn = case.hourly_mw() if drawn_mw is None else drawn_mw
        self._ahead: Commitment | None = None
        self._last: Floats | None = None
        self._next = 0

    def day_ahead(self, *, gap: float = 2e-3, most_s: float = 60.0, most_mw: Floats | None = None) -> Commitment:
        """Return the day as committed for the load that is foreseen hour by hour; arguments are those of `commit`."""
        reserve = self._reserve_frac * self._drawn.sum(axis=1)
        ahead = commit(
            self.case.network, self.offers, self._drawn, reserve_mw=reserve, most_mw=most_mw,
            penalties=self._penalties, gap=gap, most_s=most_s,
        )  # fmt: skip
        self.begin(ahead)
        return ahead

    def begin(self, ahead: Commitment, at: int = 0) -> None:
        """Go on from a commitment at a step of its day: the five minutes begin at what its hour was committed for.

        Raises:
            ConfigError: There is no such step in the day, or the commitment is of other resources.
        """
        hours, count = ahead.is_on.shape
        if not 0 <= at < hours * AN_HOUR or count != len(self.offers):
            raise ConfigError(
                f"step {at} of {count} resources: give 0 to {hours * AN_HOUR - 1}, of {len(self.offers)} resources"
            )
        self._ahead, self._next, hour = ahead, at, at // AN_HOUR
        self._last = np.where(ahead.is_on[hour], ahead.hours[hour].power_mw, np.nan)

    def step(
        self,
        offers: Sequence[Offer] = (),
        drawn_mw: Floats | None = None,
        most_mw: Mapping[str, float] | None = None,
    ) -> Cleared:
        """Return the next five minutes as cleared, with new offers of those who have some.

        Args:
            offers: Offers that take the place of what the same resources offered before.
            drawn_mw: What each bus draws in it; shape (b,). None: what the case draws at that time.
            most_mw: Resources by name that can give less than they offered, and how much at most.

        Raises:
            ConfigError: The day is not committed yet, or is over.
        """
        if self._ahead is None:
            raise ConfigError("nothing is committed yet: call day_ahead first")
        steps = len(self._ahead.is_on) * AN_HOUR
        if self._next >= steps:
            raise ConfigError(f"step {self._next}: the day has {steps}; open a market for the next one")
        self._dispatcher.offer(*offers)
        hour = (self._next + 0.5) * STEP_MINUTES / 60.0
        drawn = self.case.at_mw(hour) if drawn_mw is None else drawn_mw
        is_on = self._ahead.is_on[int(hour)]
        stopping_mw, block_mw = self._on_its_way(self._ahead.is_on, hour)
        cleared = self._dispatcher.clear(
            drawn, is_on=is_on, last_mw=self._last, minutes=STEP_MINUTES, most_mw={**(most_mw or {}), **stopping_mw},
            block_mw=block_mw,
            reserve_mw=self._step_reserve_frac * float(drawn.sum()),
        )  # fmt: skip
        self._last = np.where(is_on, cleared.power_mw, np.nan)
        self._next += 1
        return cleared

    def _on_its_way(self, is_on: NDArray[np.bool_], hour: float) -> tuple[dict[str, float], dict[str, float]]:
        """Return what plants that stop soon can give at most, and what those give that start soon or have stopped."""
        now, part = int(hour), hour % 1.0
        before, after = is_on[max(now - 1, 0)], is_on[min(now + 1, len(is_on) - 1)]
        most_mw, block_mw = {}, {}
        for k, offer in enumerate(self.offers):
            if is_on[now, k] and not after[k]:
                most_mw[offer.name] = offer.low_mw + 60.0 * offer.ramp_mw_per_min * (1.0 - part)
            elif (
                not is_on[now, k]
                and (moved_h := max(part - 1.0 + SWITCH_H if after[k] else 0.0, SWITCH_H - part if before[k] else 0.0))
                > 0.0
            ):
                block_mw[offer.name] = offer.low_mw * moved_h / SWITCH_H
        return most_mw, block_mw

    def live(self, asked: Asked | None = None, *, gap: float = 2e-3) -> Lived:
        """Live the whole day: commit it, then ask for new offers before each step, and clear it."""
        ahead, steps, last = self.day_ahead(gap=gap), [], None
        for k in range(A_DAY):
            last = self.step(asked(k, last) if asked else ())
            steps.append(last)
        return Lived(ahead, tuple(steps))
