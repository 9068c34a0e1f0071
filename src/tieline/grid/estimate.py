"""State estimation where meters are few: what is measured now, and what is known of each customer from before.

Unknown are active and reactive power of every customer. Each has a *pseudo-measurement*: what its own meter said on
like days (mean and standard deviation). Meters add voltages at customers and power through branches, and Gauss-Newton
finds what is most likely of both, `min |x - x0|^2 / s^2 + |z - h(x)|^2 / r^2`, with exact slopes of the power flow.
What comes out has its own standard deviation, and a meter that contradicts all others is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, Infeasible
from tieline.grid.limit_rows import slopes
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Complexes = NDArray[np.inexact[Any]]
What = Literal["voltage", "power_w", "reactive_var"]
MOST_ROUNDS, SETTLED_W = 20, 0.01
BAD_SIGMA = 4.0
"""A residual of more standard deviations than this is a bad meter: by chance one in 16,000 is."""


@dataclass(frozen=True, slots=True)
class Meter:
    """One measurement: the voltage at load `at` (pu), or the power that flows out of watched branch `at` in phase
    `phase` at its to end, towards the customers (W or var), and its standard deviation in the same unit."""

    what: What
    at: int
    value: float
    sigma: float
    phase: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What is most likely: power of each customer (W, var, positive into the grid), voltage of each load (pu), the
    standard deviation of each, the residual of each meter in its own standard deviations, and the meters left out as
    bad."""

    site_w: Floats
    site_var: Floats
    load_pu: Floats
    site_w_sigma: Floats
    load_pu_sigma: Floats
    residuals: Floats
    bad: tuple[int, ...]


def estimate(
    flow: PhaseFlow, known_w: Floats, known_var: Floats, sigma_w: Floats, sigma_var: Floats, meters: list[Meter],
    source_pu: float = 1.0, most_bad: int = 3,
) -> Estimate:  # fmt: skip
    """Return the most likely state.

    Args:
        flow: The feeder.
        known_w: What is known of each customer from before (W, positive into the grid); shape (c,).
        known_var: The same of reactive power.
        sigma_w: How far active power may be from that, as a standard deviation; above 0. Small where it is metered now.
        sigma_var: The same of reactive power.
        meters: What is measured.
        source_pu: Upstream voltage, as a multiple.
        most_bad: How many meters may be left out as bad, the worst first.

    Raises:
        ConfigError: Shapes differ, a standard deviation is not above 0, or a meter stands nowhere.
        Infeasible: It finds no state that all of it fits, with the worst left out; the meter that is farthest from
            what is known is named.
    """
    _check(flow, (known_w, known_var, sigma_w, sigma_var), meters)
    left_out: list[int] = []
    while True:
        places = [k for k in range(len(meters)) if k not in left_out]
        kept = [meters[k] for k in places]
        case = _Case(flow, np.concatenate([known_w, known_var]), np.concatenate([sigma_w, sigma_var]), kept, source_pu)
        try:
            found = case.solve()
        except Infeasible as none:
            # A dead phase pulls the state to where no power flows at all: what is known tells such a meter as well.
            left_out.append(_farthest(case, places, left_out, most_bad, none))
            continue
        worst = int(np.abs(found.residuals).argmax()) if kept else 0
        if not kept or len(left_out) >= most_bad or abs(found.residuals[worst]) <= BAD_SIGMA:
            everything = np.full(len(meters), np.nan)
            everything[places] = found.residuals
            return Estimate(
                found.site_w, found.site_var, found.load_pu, found.site_w_sigma, found.load_pu_sigma, everything,
                tuple(left_out),
            )  # fmt: skip
        left_out.append(places[worst])


def _farthest(case: _Case, places: list[int], left_out: list[int], most_bad: int, none: Infeasible) -> int:
    """Return the meter that is farthest from what is known, if it may be left out.

    Raises:
        Infeasible: It may not.
    """
    if not places:
        raise none
    said, off = case.beside_known()
    worst = int(off.argmax())
    if off[worst] > BAD_SIGMA and len(left_out) < most_bad:
        return places[worst]
    meter, without = case.meters[worst], f" without meters {', '.join(map(str, left_out))}" if left_out else ""
    raise Infeasible(
        f"{none}{without}: meter {places[worst]}, {meter.what} at {meter.at}, says {meter.value:.6g}, "
        f"{off[worst]:.1f} standard deviations from the {said[worst]:.6g} that is known: look at it, or give a "
        f"most_bad above {most_bad}"
    ) from none


class _Case:
    def __init__(
        self, flow: PhaseFlow, known: Floats, sigma: Floats, meters: list[Meter], source_pu: float
    ) -> None:  # fmt: skip
        self.flow, self.known, self.meters, self.source_pu = flow, known, meters, source_pu
        self.weight = 1.0 / sigma**2
        self.value = np.array([meter.value for meter in meters])
        self.sigma = np.array([meter.sigma for meter in meters])
        feeder = flow.feeder
        self.gather = np.zeros((len(feeder.load_bus), len(feeder.customer_name)))
        self.gather[np.arange(len(feeder.load_bus)), feeder.load_customer] = feeder.load_share

    def solve(self) -> Estimate:
        state = self.known.copy()
        for _ in range(MOST_ROUNDS):
            said, slope, _ = self._look(state)
            normal = np.diag(self.weight) + slope.T @ (slope / self.sigma[:, None] ** 2)
            away = self.weight * (self.known - state) + slope.T @ ((self.value - said) / self.sigma**2)
            step = np.linalg.solve(normal, away)
            state = state + step
            if np.abs(step).max() <= SETTLED_W:
                return self._answer(state)
        raise Infeasible(f"feeder {self.flow.feeder.name}: no state fits its meters within {MOST_ROUNDS} rounds")

    def beside_known(self) -> tuple[Floats, Floats]:
        """Return what meters would say of what is known, and how many standard deviations of both they are from it."""
        said, slope, _ = self._look(self.known)
        spread = np.sqrt(np.einsum("ki,i,ki->k", slope, 1.0 / self.weight, slope) + self.sigma**2)
        return said, np.abs(self.value - said) / spread

    def _look(self, state: Floats) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
        """Return what meters would say of a state, how that goes with it, and voltages with their slopes."""
        flow, feeder, count = self.flow, self.flow.feeder, len(self.known) // 2
        drawn = -(feeder.loads_of((state[:count] + 1j * state[count:])[None])[0]) / self.source_pu**2
        # A source at k times its voltage is the same feeder with loads of S / k^2, seen through voltages of 1 / k.
        ones = np.ones(len(feeder.load_bus), np.complex128)
        volts, moved_w, into_w = slopes(flow, drawn, ones)
        _, moved_var, into_var = slopes(flow, drawn, 1j * ones)
        moved = np.hstack([moved_w @ self.gather, moved_var @ self.gather]) / self.source_pu
        into = np.hstack([into_w @ self.gather, into_var @ self.gather]) / self.source_pu
        volts = volts * self.source_pu
        load_pu = np.abs(volts) / flow.rated_v
        rises = (volts.conj()[:, None] * moved).real / np.abs(volts)[:, None] / flow.rated_v[:, None]
        currents = (-feeder.loads_of((state[:count] + 1j * state[count:])[None])[0] / volts).conj()
        said, slope = np.empty(len(self.meters)), np.empty((len(self.meters), 2 * count))
        for k, meter in enumerate(self.meters):
            if meter.what == "voltage":
                said[k], slope[k] = load_pu[meter.at], rises[meter.at]
            else:
                power, change = self._through(meter, currents, into)
                said[k] = power.real if meter.what == "power_w" else power.imag
                slope[k] = change.real if meter.what == "power_w" else change.imag
        return said, slope, (load_pu, rises)

    def _through(self, meter: Meter, currents: Complexes, into: Complexes) -> tuple[complex, Complexes]:
        """Return the power out of a branch's to end in one phase, and its slope."""
        idle_v, drop, idle_a, reach = self.flow.at_to_end(meter.at, meter.phase)
        volts = idle_v * self.source_pu + drop @ currents
        # Currents into a branch at its to end are counted from the bus, power towards customers is against them.
        amps = -(idle_a * self.source_pu + reach @ currents)
        change = (drop @ into) * np.conj(amps) + volts * np.conj(-(reach @ into))
        return complex(volts * np.conj(amps)), change

    def _answer(self, state: Floats) -> Estimate:
        said, slope, (load_pu, rises) = self._look(state)
        count = len(self.known) // 2
        spread = np.linalg.inv(np.diag(self.weight) + slope.T @ (slope / self.sigma[:, None] ** 2))
        # A residual's own variance: the meter's, and what of the state's before it is seen through it.
        prior = (slope / self.weight) @ slope.T + np.diag(self.sigma**2)
        scaled = np.linalg.solve(prior, np.diag(self.sigma**2)).T if len(self.meters) else prior
        own = np.sqrt(np.maximum((scaled @ np.diag(self.sigma**2)).diagonal(), 1e-30)) if len(self.meters) else said
        return Estimate(
            state[:count], state[count:], load_pu, np.sqrt(spread.diagonal()[:count]),
            np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", rises, spread, rises), 0.0)), (self.value - said) / own, (),
        )  # fmt: skip


def _check(flow: PhaseFlow, columns: tuple[Floats, ...], meters: list[Meter]) -> None:
    count = len(flow.feeder.customer_name)
    for name, column in zip(("known_w", "known_var", "sigma_w", "sigma_var"), columns, strict=True):
        if column.shape != (count,) or not np.isfinite(column).all():
            raise ConfigError(f"{name} has shape {column.shape}: give ({count},) of finite numbers")
        if name.startswith("sigma") and (column <= 0).any():
            raise ConfigError(
                f"{name} of customer {int((column <= 0).argmax())} is not above 0: give a standard deviation"
            )
    ends = {
        "voltage": len(flow.feeder.load_bus),
        "power_w": len(flow.watch_branches),
        "reactive_var": len(flow.watch_branches),
    }
    for k, meter in enumerate(meters):
        if not (np.isfinite(meter.value) and meter.sigma > 0 and meter.phase in (0, 1, 2)):
            said = f"value {meter.value}, sigma {meter.sigma}, phase {meter.phase}"
            raise ConfigError(f"meter {k} has {said}: give numbers, a sigma above 0 and a phase of 0 to 2")
        if meter.what not in ends or not 0 <= meter.at < ends[meter.what]:
            most = ends.get(meter.what, 0) - 1
            raise ConfigError(f"meter {k}, {meter.what} at {meter.at}, stands nowhere: give 0 to {most}")
