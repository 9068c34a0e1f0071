"""What a mixed pool is asked with: devices of each kind in columns, and the feeders that they hang on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.plan.pool_terms import Course, checked_course
from tieline.plan.refusals import refuse, shaped, within
from tieline.plan.storage import Stores, checked_stores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_MODES = 20_000
"""A contract with more modes than this (calls times steps of call and rest) is refused: each step would look at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Feeders:
    """Bands below the pool's; powers in W, positive into the pool, shape (F,) or (F, T).

    What the devices of a feeder, and of all feeders that hang on it, do together with `base_w` (what else flows there;
    it is not the pool's) stays within `low_w` and `high_w`. `parent` (F,) is the feeder that each hangs on (-1, or
    None for all: the pool). A Wh beyond costs `slack_per_wh` (None: twice the pool's, so that what was sold gives way
    before a cable does).
    """

    low_w: Floats
    high_w: Floats
    base_w: Floats | float = 0.0
    parent: Ints | None = None
    slack_per_wh: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Gensets:
    """Engines that burn fuel, shape (n,). One is off, or gives `least_w` to `most_w`.

    A start costs `start_cost`; running burns `fuel_per_h` and `fuel_per_wh` more for each Wh, at `fuel_price`, from a
    tank of `fuel` (infinity: no limit). It runs for `least_on` steps and stands still for `least_off`, at least;
    `lasted` is for how many steps it has run already, or below 0 stood still. `adder_per_wh` is what its use is to cost
    more, so that others are used as well (`fair_adders`).
    """

    least_w: Floats
    most_w: Floats
    start_cost: Floats
    fuel_price: Floats
    fuel_per_h: Floats
    fuel_per_wh: Floats
    fuel: Floats
    least_on: Ints
    least_off: Ints
    lasted: Ints
    adder_per_wh: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Contracts:
    """Customers who give (or draw less by) `power_w` (n, T) while they are called; else shape (n,).

    At most `calls` more calls begin, the first at step `notice` at the soonest; each lasts `shortest` to `longest`
    steps and the next begins `rest` steps after its end at the soonest; all together last `steps_left` at most.
    `lasted` is for how many steps one is called already, or below 0 how many it still rests. A call costs `call_cost`,
    a Wh `cost_per_wh`; `adder_per_wh` as with gensets.
    """

    power_w: Floats
    calls: Ints
    longest: Ints
    shortest: Ints
    rest: Ints
    steps_left: Ints
    notice: Ints
    lasted: Ints
    call_cost: Floats
    cost_per_wh: Floats
    adder_per_wh: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Heaters:
    """Loads that are on at `power_w` or off, with a tank or a room behind them; shape (n,) but for `inflow_wh` (n, T).

    Of a Wh drawn `charge_frac` Wh is stored (above 1 for a heat pump); a share `keep_frac` of it is left after a step,
    `inflow_wh` comes in by itself (a draw is below 0), and `least_wh` to `most_wh` is held. Least times as with
    gensets.
    """

    power_w: Floats
    charge_frac: Floats
    start_wh: Floats
    least_wh: Floats
    most_wh: Floats
    keep_frac: Floats
    inflow_wh: Floats
    least_on: Ints
    least_off: Ints
    lasted: Ints
    start_cost: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """Who: each kind may be None. `feeder_of` says by kind (`stores`, `gensets`, …) on which feeder each device is;
    shape (n,); -1, or a kind that is left out: at none, only in the pool.
    """

    stores: Stores | None = None
    gensets: Gensets | None = None
    contracts: Contracts | None = None
    heaters: Heaters | None = None
    course: Course | None = None
    feeder_of: dict[str, Ints] = field(default_factory=dict)


KINDS = ("stores", "gensets", "contracts", "heaters")


def count_of(mix: Mix, kind: str) -> int:
    """Return how many devices of a kind there are."""
    first = {"stores": "start_wh", "gensets": "least_w", "contracts": "calls", "heaters": "power_w"}[kind]
    columns = getattr(mix, kind)
    return 0 if columns is None else len(getattr(columns, first))


def fair_adders(used_wh: Floats, share: Floats, dear_per_wh: float) -> Floats:
    """Return what use should cost each more (per Wh): 0 for who did least for its share, `dear_per_wh` for the most.

    Args:
        used_wh: What each did so far; shape (n,).
        share: What each is to do of the whole, in any unit above 0; shape (n,).
        dear_per_wh: What the widest difference is worth.

    >>> fair_adders(np.array([0.0, 50.0, 200.0]), np.array([1.0, 1.0, 2.0]), 0.02)
    array([0.  , 0.01, 0.02])
    """
    within("share", share, 0.0, np.inf, above=True)
    done = used_wh / share
    span = float(done.max(initial=-np.inf) - done.min(initial=np.inf))
    fair: Floats = (done - done.min(initial=np.inf)) / span * dear_per_wh if span > 0 else np.zeros(len(done))
    return fair


def checked_mix(mix: Mix, steps: int, feeders: int) -> None:
    """Check all devices.

    Raises:
        ConfigError: A value makes no sense; the message names kind, field, device and limit.
    """
    if mix.stores is not None:
        checked_stores(mix.stores)
    checked_course(mix.course, count_of(mix, "stores"), steps)
    if mix.gensets is not None:
        _gensets(mix.gensets)
    if mix.contracts is not None:
        _contracts(mix.contracts, steps)
    if mix.heaters is not None:
        _heaters(mix.heaters, steps)
    for kind, at in mix.feeder_of.items():
        if kind not in KINDS:
            raise ConfigError(f"feeder_of[{kind!r}] is no kind: give one of {', '.join(KINDS)}")
        shaped(f"feeder_of[{kind!r}]", at, (count_of(mix, kind),))
        _whole(f"feeder_of[{kind!r}]", at, -1, feeders - 1)


def checked_feeders(feeders: Feeders | None, steps: int) -> tuple[Floats, Floats, Ints]:
    """Return lowest and highest power of each feeder's devices, shape (F, T), and its parent (-1: the pool).

    Raises:
        ConfigError: A shape or value makes no sense, a band is empty, or feeders hang on one another in a ring.
    """
    if feeders is None:
        return np.zeros((0, steps)), np.zeros((0, steps)), np.zeros(0, np.int64)
    count = len(feeders.low_w)
    low, high, base = (
        _by_step(f"feeders.{name}", getattr(feeders, name), count, steps) for name in ("low_w", "high_w", "base_w")
    )
    within("feeders.base_w", base, -np.inf, np.inf)
    refuse("feeders.low_w", low, np.isnan(low) | (low == np.inf), "a number below infinity")
    refuse("feeders.high_w", high, np.isnan(high) | (high == -np.inf), "a number above minus infinity")
    refuse("feeders.low_w", low, low > high, "at most high_w")
    if feeders.slack_per_wh is not None:
        within("feeders.slack_per_wh", np.array([feeders.slack_per_wh]), 0.0, np.inf, above=True)
    parent = np.full(count, -1) if feeders.parent is None else np.asarray(feeders.parent)
    shaped("feeders.parent", parent, (count,))
    _whole("feeders.parent", parent, -1, count - 1)
    for feeder in range(count):
        above, hops = int(parent[feeder]), 0
        while above >= 0:
            above, hops = int(parent[above]), hops + 1
            if hops > count:
                raise ConfigError(
                    f"feeders.parent[{feeder}] = {parent[feeder]}: feeders hang in a ring: give -1 to one"
                )
    return low - base, high - base, parent


def _by_step(name: str, given: Floats | float, count: int, steps: int) -> Floats:
    column = np.asarray(given, float)
    if column.shape == (count,) and count != 0:
        column = column[:, None]
    if column.shape not in ((), (count, 1), (count, steps), (0,)):
        raise ConfigError(f"{name} has shape {column.shape}: give ({count},) or ({count}, {steps})")
    return np.broadcast_to(column if count else np.zeros((0, 1)), (count, steps)).copy()


def _whole(name: str, column: Any, least: int, most: float = np.inf) -> None:
    if not np.issubdtype(np.asarray(column).dtype, np.integer):
        raise ConfigError(f"{name} is of {np.asarray(column).dtype}: give whole numbers")
    within(name, np.asarray(column, float), least, most)


def _columns(kind: str, columns: Any, count: int, besides: tuple[str, ...] = ()) -> None:
    for name in columns.__slots__:
        if name not in besides:
            shaped(f"{kind}.{name}", getattr(columns, name), (count,))


def _times(kind: str, columns: Any) -> None:
    for name in ("least_on", "least_off"):
        _whole(f"{kind}.{name}", getattr(columns, name), 1, 1_000)
    _whole(f"{kind}.lasted", columns.lasted, -(2**31), 2**31)
    refuse(f"{kind}.lasted", columns.lasted, columns.lasted == 0, "steps on above 0, steps off below 0")


def _gensets(g: Gensets) -> None:
    _columns("gensets", g, len(g.least_w))
    for name in ("least_w", "most_w", "start_cost", "fuel_price", "fuel_per_h", "fuel_per_wh", "adder_per_wh"):
        within(f"gensets.{name}", getattr(g, name), 0.0, np.inf, above=name == "most_w")
    refuse("gensets.least_w", g.least_w, g.least_w > g.most_w, "at most most_w")
    refuse("gensets.fuel", g.fuel, ~(g.fuel >= 0), "0 or more, or infinity for no limit")
    _times("gensets", g)


def _contracts(c: Contracts, steps: int) -> None:
    count = len(c.calls)
    _columns("contracts", c, count, ("power_w",))
    if c.power_w.shape not in ((count,), (count, steps)):
        raise ConfigError(f"contracts.power_w has shape {c.power_w.shape}: give ({count},) or ({count}, {steps})")
    for name in ("power_w", "call_cost", "cost_per_wh", "adder_per_wh"):
        within(f"contracts.{name}", getattr(c, name), 0.0, np.inf)
    for name, least in (("calls", 0), ("longest", 1), ("shortest", 1), ("rest", 1), ("steps_left", 0), ("notice", 0)):
        _whole(f"contracts.{name}", getattr(c, name), least)
    _whole("contracts.lasted", c.lasted, -(2**31), 2**31)
    refuse("contracts.shortest", c.shortest, c.shortest > c.longest, "at most longest")
    modes = (c.calls + 1) * (c.longest + c.rest + 1)
    refuse("contracts.calls", c.calls, modes > MOST_MODES, f"(calls + 1) * (longest + rest + 1) up to {MOST_MODES}")


def _heaters(h: Heaters, steps: int) -> None:
    count = len(h.power_w)
    _columns("heaters", h, count, ("inflow_wh",))
    shaped("heaters.inflow_wh", h.inflow_wh, (count, steps))
    for name in ("power_w", "charge_frac", "start_cost"):
        within(f"heaters.{name}", getattr(h, name), 0.0, np.inf, above=name != "start_cost")
    within("heaters.keep_frac", h.keep_frac, 0.0, 1.0, above=True)
    for name in ("start_wh", "least_wh", "most_wh", "inflow_wh"):
        within(f"heaters.{name}", getattr(h, name), -np.inf, np.inf)
    refuse("heaters.least_wh", h.least_wh, h.least_wh > h.most_wh, "at most most_wh")
    _times("heaters", h)
