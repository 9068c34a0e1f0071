"""A market day with a counterpart whose prices answer: committed the day before, dispatched every five minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
A_DAY = 24 * 60 // STEP_MINUTES
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
        self, case: Case, ours: Sequence[Offer] = (), *, reserve_frac: float = 0.06, penalties: Penalties | None = None
    ) -> None:
        """Open a market in which `ours` are offered too; `reserve_frac` of what is drawn is held as reserve."""
        if not 0.0 <= reserve_frac <= 1.0:
            raise ConfigError(f"reserve_frac = {reserve_frac}: give 0 to 1")
        self.case, self.offers = case, (*case.offers, *ours)
        self.row = {offer.name: k for k, offer in enumerate(self.offers)}
        self._reserve_frac, self._penalties = reserve_frac, penalties or Penalties()
        self._dispatcher = Dispatcher(case.network, self.offers, self._penalties)
        self._ahead: Commitment | None = None
        self._last: Floats | None = None
        self._next = 0

    def day_ahead(self, *, gap: float = 2e-3) -> Commitment:
        """Return the day as committed for the load that is foreseen hour by hour."""
        drawn = self.case.hourly_mw()
        reserve = self._reserve_frac * drawn.sum(axis=1)
        self._ahead = commit(
            self.case.network, self.offers, drawn, reserve_mw=reserve, penalties=self._penalties, gap=gap
        )
        # The first five minutes begin at what the first hour was committed for.
        self._last = np.where(self._ahead.is_on[0], self._ahead.hours[0].power_mw, np.nan)
        return self._ahead

    def step(self, offers: Sequence[Offer] = (), drawn_mw: Floats | None = None) -> Cleared:
        """Return the next five minutes as cleared, with new offers of those who have some.

        Args:
            offers: Offers that take the place of what the same resources offered before.
            drawn_mw: What each bus draws in it; shape (b,). None: what the case draws at that time.

        Raises:
            ConfigError: The day is not committed yet, or is over.
        """
        if self._ahead is None:
            raise ConfigError("nothing is committed yet: call day_ahead first")
        if self._next >= A_DAY:
            raise ConfigError(f"step {self._next}: the day has {A_DAY}; open a market for the next one")
        self._dispatcher.offer(*offers)
        hour = (self._next + 0.5) * STEP_MINUTES / 60.0
        drawn = self.case.at_mw(hour) if drawn_mw is None else drawn_mw
        is_on = self._ahead.is_on[int(hour)]
        most_mw, block_mw = self._on_its_way(self._ahead.is_on, hour)
        cleared = self._dispatcher.clear(
            drawn, is_on=is_on, last_mw=self._last, minutes=STEP_MINUTES, most_mw=most_mw, block_mw=block_mw,
            reserve_mw=self._reserve_frac * float(drawn.sum()),
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
