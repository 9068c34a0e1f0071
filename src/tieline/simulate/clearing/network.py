"""A transmission network as the market sees it: power flow without losses, by its distribution factors.

    flow = H (given - drawn),   H = diag(b) A B^-1,   b = base / (x tap)

A is which bus a branch begins (+1) and ends (-1) at, B = A' diag(b) A. H is made once, dense, against a reference
spread over the buses by their load: what is given at a bus is taken at all loads in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Buses and branches in columns.

    Attributes:
        bus_name: One name a bus; shape (b,).
        from_bus: Row of the bus at which each branch begins; shape (l,). Flow away from it is positive.
        to_bus: Row of the bus at which it ends.
        reactance_pu: Its reactance times its tap ratio, on a base of 100 MVA, above 0.
        rating_mw: What it may carry either way, above 0; infinite where nothing limits it.
        load_weight: How the reference is spread over the buses, 0 or more, 1 in sum; shape (b,).
        factor: H, the part of a MW given at a bus that flows over a branch; shape (l, b). Made from the others.
    """

    bus_name: tuple[str, ...]
    from_bus: Rows
    to_bus: Rows
    reactance_pu: Floats
    rating_mw: Floats
    load_weight: Floats
    factor: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "factor", _factors(self))

    def flow_mw(self, net_mw: Floats) -> Floats:
        """Return the flow over each branch (MW) for what each bus gives less what it draws; what lacks comes from the
        reference."""
        return self.factor @ net_mw

    def row(self, bus: str) -> int:
        """Return the row of a bus.

        Raises:
            ConfigError: There is none of that name.
        """
        try:
            return self.bus_name.index(bus)
        except ValueError:
            raise ConfigError(f"bus {bus!r}: give one of {self.bus_name[0]!r} to {self.bus_name[-1]!r}") from None

    def _check(self) -> None:
        buses, branches = len(self.bus_name), len(self.from_bus)
        if not buses:
            raise ConfigError("the network has no bus: give one at least")
        if len(set(self.bus_name)) < buses:
            twice = next(name for name in self.bus_name if self.bus_name.count(name) > 1)
            raise ConfigError(f"bus {twice!r} is there twice: give each a name of its own")
        for name in ("from_bus", "to_bus"):
            rows = getattr(self, name)
            wrong = np.flatnonzero((rows < 0) | (rows >= buses))
            if len(wrong):
                raise ConfigError(f"{name}[{wrong[0]}] = {rows[wrong[0]]}: give 0 to {buses - 1}")
        for name in ("to_bus", "reactance_pu", "rating_mw"):
            column = getattr(self, name)
            if column.shape != (branches,):
                raise ConfigError(f"{name} has {len(column)} rows: give {branches}, one a branch")
            wrong = np.flatnonzero(~(column > 0) | ((name == "reactance_pu") & ~np.isfinite(column)))
            if name != "to_bus" and len(wrong):
                raise ConfigError(f"{name}[{wrong[0]}] = {column[wrong[0]]}: give a number above 0")
        weight = self.load_weight
        if weight.shape != (buses,) or not (weight >= 0).all() or abs(float(weight.sum()) - 1.0) > 1e-9:
            raise ConfigError(f"load_weight sums to {weight.sum()}: give {buses} parts of 1, each 0 or more")
        apart = _apart(buses, self.from_bus, self.to_bus)
        if len(apart):
            names = ", ".join(repr(self.bus_name[k]) for k in apart[:5])
            raise ConfigError(
                f"no branch joins {names} ({len(apart)} buses) to {self.bus_name[0]!r}: clear each island alone"
            )


def _apart(buses: int, from_bus: Rows, to_bus: Rows) -> Rows:
    """Return the buses that no path joins to the first one."""
    reached = np.zeros(buses, np.bool_)
    reached[0] = True
    while True:
        more = np.concatenate([to_bus[reached[from_bus]], from_bus[reached[to_bus]]])
        if reached[more].all():
            return np.flatnonzero(~reached)
        reached[more] = True


def _factors(network: Network) -> Floats:
    buses, branches = len(network.bus_name), len(network.from_bus)
    ends = np.zeros((branches, buses))
    np.add.at(ends, (np.arange(branches), network.from_bus), 1.0)
    np.add.at(ends, (np.arange(branches), network.to_bus), -1.0)
    per_angle = ends / network.reactance_pu[:, None]
    factor = np.zeros((branches, buses))
    if buses > 1:
        factor[:, 1:] = np.linalg.solve((ends.T @ per_angle)[1:, 1:], per_angle[:, 1:].T).T
    spread: Floats = factor - (factor @ network.load_weight)[:, None]
    return spread
