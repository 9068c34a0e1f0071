"""What is offered to the market: steps of power and price, and what a plant needs to start, stay and stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.simulate.clearing.network import Network

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Offer:
    """One resource's offer, of a plant or of a pool that may take as well as give.

    Attributes:
        name: Its own name, told apart from all others.
        bus: Where it is connected.
        steps: (MW, $/MWh) above `low_mw`, prices rising. A pool that takes up to 50 MW has `low_mw = -50`: its first
            steps then say at what price it stops taking.
        low_mw: What it gives while it is on and none of its steps is taken (MW, positive into the grid).
        no_load_per_h: What an hour on costs at `low_mw` ($/h).
        start_cost: What a start costs ($).
        may_stop: The market decides whether it is on. One that may not is on all the time.
        least_on_h: Hours it stays on once started, and off once stopped (`least_off_h`).
        ramp_mw_per_min: How fast it moves while it is on.
        reserve_mw: How much of what it has left it can hold as reserve, at `reserve_price` ($/MWh).
        on_h: Hours it has been on as the day begins, or with a minus off.
        start_mw: What it gave last before the day begins, where it was on.
    """

    name: str
    bus: str
    steps: tuple[tuple[float, float], ...]
    low_mw: float = 0.0
    no_load_per_h: float = 0.0
    start_cost: float = 0.0
    may_stop: bool = False
    least_on_h: int = 1
    least_off_h: int = 1
    ramp_mw_per_min: float = math.inf
    reserve_mw: float = 0.0
    reserve_price: float = 0.0
    on_h: float = 24.0
    start_mw: float = 0.0

    def __post_init__(self) -> None:
        for mw, price in self.steps:
            if not (math.isfinite(mw) and mw >= 0 and math.isfinite(price)):
                raise ConfigError(f"{self.name}: step ({mw} MW, {price} $/MWh): give finite numbers, MW 0 or more")
        prices = [price for _, price in self.steps]
        if not prices or prices != sorted(prices):
            raise ConfigError(f"{self.name}: prices {prices}: give one step at least, prices rising")
        for name in ("low_mw", "no_load_per_h", "start_mw", "reserve_price", "on_h"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{self.name}: {name} = {getattr(self, name)}: give a finite number")
        for name in ("start_cost", "reserve_mw", "ramp_mw_per_min"):
            if not getattr(self, name) >= 0 or (math.isinf(getattr(self, name)) and name != "ramp_mw_per_min"):
                raise ConfigError(f"{self.name}: {name} = {getattr(self, name)}: give 0 or more")
        if self.least_on_h < 1 or self.least_off_h < 1:
            raise ConfigError(
                f"{self.name}: least_on_h = {self.least_on_h}, least_off_h = {self.least_off_h}: give 1 or more"
            )
        if self.may_stop and self.low_mw < 0:
            raise ConfigError(f"{self.name}: low_mw = {self.low_mw}: give 0 or more for what may be stopped")

    @property
    def high_mw(self) -> float:
        """The most it gives (MW)."""
        return self.low_mw + math.fsum(mw for mw, _ in self.steps)

    @property
    def was_on(self) -> bool:
        """Whether it is on as the day begins."""
        return self.on_h > 0 or not self.may_stop

    def cost_per_h(self, power_mw: float) -> float:
        """Return what an hour at a power costs as offered ($/h), its reserve not counted.

        >>> Offer("a", "1", ((10.0, 20.0), (10.0, 30.0)), low_mw=5.0, no_load_per_h=100.0).cost_per_h(20.0)
        450.0
        """
        cost, left_mw = self.no_load_per_h, power_mw - self.low_mw
        for mw, price in self.steps:
            taken_mw = min(mw, max(left_mw, 0.0))
            cost, left_mw = cost + taken_mw * price, left_mw - taken_mw
        return cost


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """Offers in columns: one row a resource (n), and all their steps beneath each other (s)."""

    offers: tuple[Offer, ...]
    bus: Rows
    low_mw: Floats
    high_mw: Floats
    ramp_mw_per_min: Floats
    reserve_mw: Floats
    reserve_price: Floats
    step_of: Rows
    step_mw: Floats
    step_price: Floats


def book(offers: Sequence[Offer], network: Network) -> Book:
    """Return offers in columns.

    Raises:
        ConfigError: None is given, a name is there twice, or a bus is unknown.
    """
    names = [offer.name for offer in offers]
    if not names:
        raise ConfigError("nothing is offered: give one offer at least")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{twice!r} offers twice: give each a name of its own, or its steps as one offer")

    def column(values: Sequence[float]) -> Floats:
        return np.array(values, np.float64)

    steps = [(k, mw, price) for k, offer in enumerate(offers) for mw, price in offer.steps]
    return Book(
        tuple(offers), np.array([network.row(offer.bus) for offer in offers], np.int64),
        column([offer.low_mw for offer in offers]), column([offer.high_mw for offer in offers]),
        column([offer.ramp_mw_per_min for offer in offers]), column([offer.reserve_mw for offer in offers]),
        column([offer.reserve_price for offer in offers]), np.array([k for k, _, _ in steps], np.int64),
        column([mw for _, mw, _ in steps]), column([price for _, _, price in steps]),
    )  # fmt: skip
