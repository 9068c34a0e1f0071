"""Volt-var and volt-watt settings: what inverters that follow them do to a feeder, and which settings serve it best.

An inverter stands on its curves at its own voltage, which all others move: a fixed point, sought in all scenarios at
once by damped rounds of power flow. Reactive power comes first, as volt-var mode asks (IEEE 1547-2018, 5.3.3): active
power is held to what the nameplate leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, Infeasible
from tieline.grid.phaseflow import PhaseFlow

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_ROUNDS, SETTLED_FRAC = 200, 1e-6
FIRST_DAMPING, LEAST_DAMPING = 0.5, 0.02


@dataclass(frozen=True, slots=True)
class Curves:
    """Volt-var and volt-watt curves: voltages (pu), reactive power as a share of the nameplate (positive injects), and
    active power as a share of the rating; straight lines between points, level beyond them.

    Those that stand here are the defaults of IEEE 1547-2018 for category B (5.3.3, Table 8; 5.4.2, Table 10), both on.
    """

    var_pu: tuple[float, ...] = (0.92, 0.98, 1.02, 1.08)
    var_frac: tuple[float, ...] = (0.44, 0.0, 0.0, -0.44)
    watt_pu: tuple[float, ...] = (1.06, 1.10)
    watt_frac: tuple[float, ...] = (1.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse curves that rise, or whose points don't.

        Raises:
            ConfigError: Names the curve, the value and what to give.
        """
        for name in ("var", "watt"):
            volts, shares = getattr(self, f"{name}_pu"), getattr(self, f"{name}_frac")
            if len(volts) != len(shares) or len(volts) < 2:
                raise ConfigError(
                    f"{name}_pu has {len(volts)} points, {name}_frac {len(shares)}: give two or more of both"
                )
            if not np.isfinite([*volts, *shares]).all() or (np.diff(volts) <= 0).any():
                raise ConfigError(f"{name}_pu is {volts}: give voltages that rise from point to point")
            if (np.diff(shares) > 0).any() or max(np.abs(shares)) > 1:
                raise ConfigError(f"{name}_frac is {shares}: give shares of -1 to 1 that do not rise")

    def shifted(self, pu: float) -> Curves:
        """Return the curves with their volt-var points moved by so much."""
        return Curves(tuple(v + pu for v in self.var_pu), self.var_frac, self.watt_pu, self.watt_frac)


OFF = Curves(var_frac=(0.0, 0.0, 0.0, 0.0), watt_frac=(1.0, 1.0))
"""Neither function, as the standard delivers an inverter."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What inverters do in each scenario: active and reactive power (W, var; (k, c)), the voltages of loads (pu; (k,
    n)), what was held back (W; (k,)), and whether the scenario came to rest."""

    inverter_w: Floats
    inverter_var: Floats
    load_pu: Floats
    held_back_w: Floats
    is_settled: Bools


@dataclass(frozen=True, slots=True)
class Score:
    """How settings serve a feeder over scenarios: how many break a voltage, by how much at worst (pu), the share of
    power that is held back, and the reactive power flown on average (var)."""

    curves: Curves
    broken: int
    worst_over_pu: float
    held_back_frac: float
    mean_var: float


def settled(
    flow: PhaseFlow,
    base_w: Floats,
    available_w: Floats,
    nameplate_va: Floats,
    curves: Curves,
    source_pu: Floats | None = None,
) -> Settled:
    """Return what inverters do that follow their curves.

    Args:
        flow: The feeder.
        base_w: What customers do without their inverters (W, positive into the grid); shape (k, c).
        available_w: What each inverter could give; the same shape.
        nameplate_va: Of each customer's inverter, 0 of one without; shape (c,).
        curves: What they follow.
        source_pu: Upstream voltage as a multiple, (k,).

    Raises:
        ConfigError: Shapes differ, or a power is no number or below 0.
        Infeasible: A scenario has no power flow.
    """
    _check(base_w, available_w, nameplate_va)
    means = _means(flow)
    rated_w = np.minimum(available_w, nameplate_va)
    power_w, var = rated_w.copy(), np.zeros_like(rated_w)
    damping, before = np.full(len(base_w), FIRST_DAMPING), np.full(len(base_w), np.inf)
    scale = np.ones(len(base_w)) if source_pu is None else source_pu
    size = np.maximum(nameplate_va, 1.0)
    for _ in range(MOST_ROUNDS):
        load_pu = _volts(flow, base_w + power_w, var, scale)
        volts = load_pu @ means.T
        asked_var = np.interp(volts, curves.var_pu, curves.var_frac) * nameplate_va
        most_w = np.interp(volts, curves.watt_pu, curves.watt_frac) * nameplate_va
        most_w = np.minimum(most_w, np.sqrt(np.maximum(nameplate_va**2 - var**2, 0.0)))
        steps = asked_var - var, np.minimum(rated_w, np.maximum(most_w, 0.0)) - power_w
        away = np.maximum(*(np.abs(step / size).max(axis=1, initial=0.0) for step in steps))
        if (away <= SETTLED_FRAC).all():
            break
        # Where a round went too far, inverters answer each other: half as far from here on.
        damping = np.where(away > 0.9 * before, np.maximum(0.7 * damping, LEAST_DAMPING), damping)
        before = away
        var = var + damping[:, None] * steps[0]
        power_w = power_w + damping[:, None] * steps[1]
    load_pu = _volts(flow, base_w + power_w, var, scale)
    held = (rated_w - power_w).sum(axis=1)
    return Settled(power_w, var, load_pu, held, away <= 100 * SETTLED_FRAC)


def best_settings(
    flow: PhaseFlow, base_w: Floats, available_w: Floats, nameplate_va: Floats, candidates: Sequence[Curves],
    min_pu: float = 0.94, max_pu: float = 1.10, source_pu: Floats | None = None,
) -> list[Score]:  # fmt: skip
    """Return candidates, best first: fewest scenarios that break a voltage, then least held back, then least var."""
    if not candidates:
        raise ConfigError("candidates has none: give at least one set of curves")
    scores = []
    for curves in candidates:
        done = settled(flow, base_w, available_w, nameplate_va, curves, source_pu)
        over = np.maximum(done.load_pu - max_pu, min_pu - done.load_pu).max(axis=1)
        offered = float(np.minimum(available_w, nameplate_va).sum())
        broken = int(((over > 1e-9) | ~done.is_settled).sum())
        held = float(done.held_back_w.sum()) / offered if offered else 0.0
        scores.append(
            Score(curves, broken, float(over.max()), held, float(np.abs(done.inverter_var).sum(axis=1).mean()))
        )
    return sorted(scores, key=lambda score: (score.broken, round(score.held_back_frac, 6), score.mean_var))


def _volts(flow: PhaseFlow, site_w: Floats, var: Floats, scale: Floats) -> Floats:
    _, volts, off = flow.solve_loads(flow.feeder.loads_of(-(site_w + 1j * var)), scale, 1e-9)
    if not np.isfinite(off).all():
        lost = int(np.flatnonzero(~np.isfinite(off))[0])
        raise Infeasible(f"feeder {flow.feeder.name}: scenario {lost} has no power flow: its voltages collapse")
    return np.abs(volts) / flow.rated_v


def _means(flow: PhaseFlow) -> Floats:
    """Return the mean over each customer's loads, as a matrix (c, n): an inverter of three phases sees their mean."""
    feeder = flow.feeder
    means = np.zeros((len(feeder.customer_name), len(feeder.load_bus)))
    means[feeder.load_customer, np.arange(len(feeder.load_bus))] = 1.0
    found: Floats = means / means.sum(axis=1, keepdims=True)
    return found


def _check(base_w: Floats, available_w: Floats, nameplate_va: Floats) -> None:
    shapes = {"available_w": (available_w, base_w.shape), "nameplate_va": (nameplate_va, base_w.shape[1:])}
    for name, (column, shape) in shapes.items():
        if column.shape != shape:
            raise ConfigError(f"{name} has shape {column.shape}: give {shape}")
        if not np.isfinite(column).all() or (column < 0).any():
            raise ConfigError(f"{name} has a value that is no number or below 0: give 0 or more")
    if not np.isfinite(base_w).all():
        raise ConfigError("base_w has a value that is no finite number")
