"""Plots of what plans, envelopes and forecasts say, for a notebook; each returns matplotlib's figure (extra `plot`).

A step is drawn from its begin to its end, power above 0 gives. Colours are the same throughout: what a store or pool
does is blue, a price is orange, a limit is red, what is proven or likely is shaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.grid.operating import OperatingEnvelopes
from tieline.plan.pool import PoolPlan, Terms
from tieline.plan.storage import StorePlans, Stores

__all__ = ["plot_envelope", "plot_forecast", "plot_pool", "plot_store"]

Floats = NDArray[np.float64]
Figure = Any
BLUE, ORANGE, RED, GREY = "#1f6fb4", "#d9822b", "#c23030", "#7a8793"
WIDE, HIGH = 8.0, 2.4
"""Inches of a figure, and of each of its rows."""


def plot_store(
    stores: Stores, plans: StorePlans, price_per_wh: Floats, hours: float, at: int = 0, unit: str = "kW"
) -> Figure:
    """Return one battery's day: the price, what it does, what it holds between its bounds, and what it costs.

    Args:
        stores: The batteries of the plans.
        plans: What `plan_stores` returned.
        price_per_wh: The price that they saw; shape (T,).
        hours: Length of a step.
        at: Which battery.
        unit: Of the powers as they were given.

    Raises:
        ConfigError: There is no such battery, the price is of other steps, or matplotlib is not installed.
    """
    count, steps = plans.power_w.shape
    if not 0 <= at < count:
        raise ConfigError(f"at = {at}: give 0 to {count - 1}")
    edges = _edges(steps, hours, {"price_per_wh": price_per_wh})
    power = plans.power_w[at]
    moved = np.where(power > 0, power / stores.discharge_frac[at], power * stores.charge_frac[at]) * hours
    held = np.concatenate([stores.start_wh[at : at + 1], stores.start_wh[at] - moved.cumsum()])
    figure, (top, middle, low) = _rows(3, f"Battery {at}: {plans.cost[at]:.4g} for {edges[-1]:g} h")
    _stairs(top, edges, price_per_wh, ORANGE, f"price per {unit}h")
    _stairs(middle, edges, power, BLUE, f"gives ({unit})")
    low.plot(edges, held, color=BLUE)
    low.fill_between(edges, 0, held, color=BLUE, alpha=0.15)
    for bound in (stores.least_wh[at], stores.most_wh[at]):
        low.axhline(bound, color=RED, linewidth=0.8)
    _named(low, f"holds ({unit}h)")
    low.set_xlabel("h")
    return figure


def plot_pool(plan: PoolPlan, terms: Terms, hours: float, unit: str = "kW") -> Figure:
    """Return a pool's day: what energy is worth to it beside the price, its net power in its band, and its gap.

    Args:
        plan: What `plan_pool` returned.
        terms: What it was asked with.
        hours: Length of a step.
        unit: Of the powers as they were given.

    Raises:
        ConfigError: The terms are of other steps than the plan, or matplotlib is not installed.
    """
    edges = _edges(len(plan.net_w), hours, {"buy_per_wh": terms.buy_per_wh})
    proven = f"{plan.cost:.6g}, no schedule below {plan.bound:.6g} (gap {plan.gap_frac:.1e})"
    figure, (top, low) = _rows(2, f"Pool of {len(plan.power_w)}: costs {proven}")
    _stairs(top, edges, terms.buy_per_wh, ORANGE, f"per {unit}h")
    worth = top.stairs(plan.price_per_wh, edges, color=BLUE, baseline=None)
    top.legend([top.patches[0], worth], ["price", "worth to the pool"], frameon=False, fontsize=8)
    _stairs(low, edges, plan.net_w, BLUE, f"net ({unit})")
    for bound in (terms.low_w, terms.high_w):
        limit = np.broadcast_to(np.asarray(bound, float), plan.net_w.shape)
        if np.isfinite(limit).any():
            low.stairs(np.where(np.isfinite(limit), limit, np.nan), edges, color=RED, linewidth=0.8, baseline=None)
    low.set_xlabel("h")
    return figure


def plot_envelope(envelopes: OperatingEnvelopes, step: int = 0) -> Figure:
    """Return what each customer may take and give in one interval (kW), and what holds them.

    Raises:
        ConfigError: There is no such interval, or matplotlib is not installed.
    """
    steps, customers = envelopes.low_w.shape
    if not 0 <= step < steps:
        raise ConfigError(f"step = {step}: give 0 to {steps - 1}")
    low, high = envelopes.low_w[step] / 1e3, envelopes.high_w[step] / 1e3
    binds = envelopes.binds[step]
    held = "nothing" if not binds else binds[0] if len(binds) == 1 else f"{binds[0]} and {len(binds) - 1} more"
    figure, (axes,) = _rows(1, f"{high.sum():.0f} kW may be given, {-low.sum():.0f} kW taken; held by {held}")
    axes.bar(np.arange(customers), high - low, bottom=low, color=BLUE, alpha=0.6, width=0.8)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    _named(axes, "from to (kW)")
    axes.set_xlabel("customer")
    return figure


def plot_forecast(
    mean: Floats, quantiles: Floats, levels: Floats, came: Floats | None = None, hours: float = 1.0, unit: str = "kW"
) -> Figure:
    """Return a forecast with its bands, each pair of levels shaded, and what came of it.

    Args:
        mean: Mean of each step; shape (T,).
        quantiles: Shape (T, q).
        levels: Rising, such as 0.05 to 0.95; shape (q,).
        came: What was read; NaN where nothing was; shape (T,). None: nothing yet.
        hours: Length of a step.
        unit: Of all values.

    Raises:
        ConfigError: Shapes differ, or matplotlib is not installed.
    """
    if quantiles.shape != (len(mean), len(levels)):
        raise ConfigError(f"quantiles has shape {quantiles.shape}: give ({len(mean)}, {len(levels)})")
    edges = _edges(len(mean), hours, {} if came is None else {"came": came})
    figure, (axes,) = _rows(1, f"{mean.sum() * hours:.4g} {unit}h in {edges[-1]:g} h")
    for pair in range(len(levels) // 2):
        low, high = quantiles[:, pair], quantiles[:, -1 - pair]
        share = float(levels[-1 - pair] - levels[pair])
        axes.fill_between(
            edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=BLUE, alpha=0.15,
            linewidth=0, label=f"{share:.0%} band",
        )  # fmt: skip
    axes.stairs(mean, edges, color=BLUE, baseline=None, label="mean")
    if came is not None:
        axes.stairs(came, edges, color=ORANGE, baseline=None, label="came")
    axes.legend(frameon=False, fontsize=8)
    _named(axes, unit)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("h")
    return figure


def _edges(steps: int, hours: float, columns: dict[str, Floats]) -> Floats:
    for name, column in columns.items():
        if np.shape(column) != (steps,):
            raise ConfigError(f"{name} has shape {np.shape(column)}: give ({steps},)")
    return np.arange(steps + 1, dtype=np.float64) * hours


def _rows(count: int, title: str) -> tuple[Figure, list[Any]]:
    """Return a figure of so many rows over one axis of time."""
    try:
        from matplotlib.figure import Figure as Drawn
    except ImportError:
        raise ConfigError("a plot: matplotlib is not installed: `pip install tieline[plot]`") from None
    figure = Drawn(figsize=(WIDE, max(HIGH * count, 3.2)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(count, 1, sharex=True)).tolist()
    figure.suptitle(title, fontsize=10)
    return figure, axes


def _stairs(axes: Any, edges: Floats, values: Floats, colour: str, name: str) -> None:
    axes.stairs(values, edges, color=colour, baseline=None)
    axes.axhline(0.0, color=GREY, linewidth=0.5)
    _named(axes, name)
    axes.set_xlim(edges[0], edges[-1])


def _named(axes: Any, name: str) -> None:
    axes.set_ylabel(name, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
