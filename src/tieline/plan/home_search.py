"""The search for a home's cheapest schedule: prices, best answers to them, and what they cost together.

Theory of operation. Once heaters and appliances have a schedule, the rest of the home (meter, sun, battery, cars) is a
linear program, exact in a millisecond (`plan.home_inner`), whose dual says what a kWh costs at each step. Its cost R is
convex in what they draw, so R(p') >= R(p) + lambda (p' - p): by prices averaged over the rounds each device answers for
itself (`plan.switched`), the answers are costed together, and their prices enter the average. At any prices the sum of
the devices' least costs is a bound (the Lagrangian dual); the best schedule met is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.plan import home_inner, switched
from tieline.plan.home_columns import DRAW, FIRST, WATTS, Columns, columns_of, ratings_w
from tieline.plan.home_cuts import Cut, cut_of
from tieline.plan.home_terms import Car, Heater, Home, flat
from tieline.plan.kernel import plan_store
from tieline.plan.switched import Switched

Floats = NDArray[np.float64]
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A schedule of everything that is on or off: heaters (k, T), and the step at which each appliance starts."""

    on: Floats
    starts: tuple[int, ...]

    def key(self) -> bytes:
        """Return what tells it from others."""
        return self.on.astype(np.int8).tobytes() + repr(self.starts).encode()


@dataclass(frozen=True, slots=True, eq=False)
class Costed:
    """A choice with the rest of the home around it: every column, its prices, and what it costs without the slack."""

    choice: Choice
    x: Floats
    price: Floats
    cost: float
    cut: Cut
    charges: NDArray[np.bool_] | None = None


@dataclass(slots=True)
class Search:
    """What is known while one home is planned."""

    home: Home
    base: Columns
    heaters: list[Switched]
    kw: list[float]
    spans: list[tuple[Floats, NDArray[np.int64]]]
    seen: dict[bytes, Costed] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)


def search_of(home: Home) -> Search:
    """Return the search of a home, its heaters' viable levels found.

    Raises:
        Infeasible: No schedule of a heater keeps its levels; it is named.
    """
    devices, spans = [], []
    for at, heater in enumerate(home.heaters):
        device = device_of(home, heater)
        span = _viable(device)
        mode = device.mode
        if not any(
            span[0][0, mode, k, 0] - 1e-9 <= device.start <= span[0][0, mode, k, 1] + 1e-9
            for k in range(span[1][0, mode])
        ):
            raise Infeasible(_lost(at, heater, device, span))
        devices.append(device)
        spans.append(span)
    base = columns_of(replace(home, heaters=(), appliances=()), ratings_w(home))
    return Search(home, base, devices, [h.power_w / WATTS for h in home.heaters], spans)


def device_of(home: Home, heater: Heater) -> Switched:
    """Return a heater in arrays (kWh), its low bound raised at the end."""
    low = flat(home, heater.least_wh) / WATTS
    low[-1] = max(low[-1], heater.end_wh / WATTS)
    if heater.is_on:
        mode = min(heater.held_steps, heater.least_on) - 1
    else:
        mode = heater.least_on + min(heater.held_steps, heater.least_off) - 1
    gain = flat(home, heater.gain_frac) * heater.power_w * home.hours / WATTS
    return Switched(
        gain, flat(home, heater.flow_wh) / WATTS, low, flat(home, heater.most_wh) / WATTS, heater.keep_frac,
        heater.start_wh / WATTS, heater.least_on, heater.least_off, mode, heater.start_cost,
    )  # fmt: skip


def _viable(d: Switched) -> tuple[Floats, NDArray[np.int64]]:
    steps, modes = len(d.gain), d.least_on + d.least_off
    spans, counts = np.zeros((steps + 1, modes, switched.SPANS, 2)), np.zeros((steps + 1, modes), np.int64)
    switched.viable(d.gain, d.flow, d.low, d.high, d.keep, d.least_on, d.least_off, spans, counts)
    return spans, counts


def _lost(at: int, heater: Heater, d: Switched, span: tuple[Floats, NDArray[np.int64]]) -> str:
    """Return why no schedule of a heater keeps its levels."""
    from_any = [
        (float(span[0][0, d.mode, k, 0]) * WATTS, float(span[0][0, d.mode, k, 1]) * WATTS)
        for k in range(span[1][0, d.mode])
    ]
    state = f"{'on' if heater.is_on else 'off'} for {heater.held_steps} steps"
    if from_any:
        told = ", ".join(f"{low:.0f} to {high:.0f}" for low, high in from_any)
        return f"heaters[{at}].start_wh = {heater.start_wh:g} ({state}): no schedule keeps its levels: give {told}"
    late = max((t for t in range(len(d.gain)) if not span[1][t].any()), default=0)
    return (
        f"heaters[{at}]: no schedule of on and off keeps its levels from step {late} on, wherever it starts ({state}): "
        "its draw is more than its power gives, or its least times are longer than its store lasts"
    )


def answer(s: Search, price: Floats) -> tuple[Choice, float]:
    """Return the cheapest schedule of each heater and appliance by itself at prices of a kW (T,), and their cost."""
    on, total = np.zeros((len(s.heaters), len(price))), 0.0
    for k in range(len(s.heaters)):
        total += one_answer(s, k, price * s.kw[k], on[k])
    starts = []
    for appliance in s.home.appliances:
        costs = _start_costs(appliance.power_w, appliance.earliest, appliance.latest, price)
        starts.append(appliance.earliest + int(costs.argmin()))
        total += float(costs.min())
    return Choice(on, tuple(starts)), total


def one_answer(s: Search, k: int, price: Floats, on: Floats) -> float:
    """Fill `on` with a heater's cheapest schedule where being on costs `price` (T,), and return its cost."""
    d, (spans, counts) = s.heaters[k], s.spans[k]
    found: float = switched.switched(
        d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost, spans, counts,
        price, on,
    )  # fmt: skip
    return found


def _start_costs(power_w: Floats, earliest: int, latest: int, price: Floats) -> Floats:
    power = np.asarray(power_w, float) / WATTS
    costs: Floats = np.correlate(price[earliest:latest], power, "valid")
    return costs


def load_of(s: Search, choice: Choice) -> Floats:
    """Return what heaters and appliances draw together (kW); shape (T,)."""
    return load_kw(s.home, choice.on, choice.starts)


def load_kw(home: Home, on: Floats, starts: tuple[int, ...]) -> Floats:
    """Return what heaters and appliances of a home draw together (kW); shape (T,)."""
    load = np.zeros(len(home.buy_per_wh))
    for heater, row in zip(home.heaters, on, strict=True):
        load += heater.power_w / WATTS * row
    for appliance, start in zip(home.appliances, starts, strict=True):
        load[start : start + len(appliance.power_w)] += np.asarray(appliance.power_w, float) / WATTS
    return load


def start_cost(s: Search, choice: Choice) -> float:
    """Return what the starts of all heaters cost."""
    total = 0.0
    for k, d in enumerate(s.heaters):
        was = np.concatenate([[1.0 if d.mode < d.least_on else 0.0], choice.on[k]])
        total += d.start_cost * float((np.diff(was) > 0).sum())
    return total


def costed(s: Search, choice: Choice) -> Costed:
    """Return a choice with the cheapest rest of the home around it; cars may charge with less than their least."""
    key = choice.key()
    if key not in s.seen:
        right = s.base.right.copy()
        right[:, 0] += load_of(s, choice)
        s.seen[key] = solved(s, choice, s.base.width, right)
    return s.seen[key]


def solved(s: Search, choice: Choice, width: Floats, right: Floats, charges: NDArray[np.bool_] | None = None) -> Costed:
    """Return a choice with the cheapest rest of the home within widths (T, J + n), its rows at `right` (T, n + 1)."""
    c = s.base
    x, price = np.zeros(width.shape), np.zeros(right.shape)
    cost, _, _ = home_inner.least_cost(c.power, c.store, c.gain, c.keep, c.cost, width, right, TOLERANCE, x, price)
    cut = cut_of(s.home, c, price)
    s.cuts.append(cut)
    return Costed(choice, x, price, cost + (start_cost(s, choice) if len(choice.on) else 0.0), cut, charges)


def blend_prices(s: Search, load_kw: Floats) -> Floats:
    """Return the prices (T, rows of the base) at which heaters and appliances together draw a blend of schedules."""
    right = s.base.right.copy()
    right[:, 0] += load_kw
    return solved(s, Choice(np.zeros((0, len(right))), ()), s.base.width, right).price


def first_prices(s: Search) -> Floats:
    """Return prices of the home with every heater free between off and on; shape (T, rows of the base)."""
    home = s.home
    full = columns_of(replace(home, appliances=()), ratings_w(home))
    right, x = full.right.copy(), np.zeros(full.width.shape)
    for appliance in home.appliances:
        costs = _start_costs(appliance.power_w, appliance.earliest, appliance.latest, full.cost[:, DRAW])
        start = appliance.earliest + int(costs.argmin())
        right[start : start + len(appliance.power_w), 0] += np.asarray(appliance.power_w, float) / WATTS
    price = np.zeros(right.shape)
    home_inner.least_cost(
        full.power, full.store, full.gain, full.keep, full.cost, full.width, right, TOLERANCE, x, price
    )
    first: Floats = price[:, : s.base.right.shape[1]].copy()
    return first


def base_bound(s: Search, price: Floats) -> float:
    """Return the least that meter, sun, battery and cars cost at prices (T, rows of the base)."""
    c = s.base
    worth = np.zeros(c.width.shape)
    home_inner.priced(c.power, c.store, c.gain, c.keep, price, worth)
    found: float = home_inner.bound_at(c.cost, c.width, c.right, price, worth)
    return found


def bound(s: Search, price: Floats, bins: int) -> float:
    """Return what no schedule of the home costs less than, by prices (T, rows of the base): the Lagrangian dual.

    Args:
        s: The search.
        price: Any prices.
        bins: How finely a heater's levels are told apart.
    """
    total = base_bound(s, price)
    for d, kw in zip(s.heaters, s.kw, strict=True):
        own = price[:, 0] * kw
        total += max(switched.least_switched(
            d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, d.start_cost, own, bins,
        ), _least_free(d, own))  # fmt: skip
    for appliance in s.home.appliances:
        total += float(_start_costs(appliance.power_w, appliance.earliest, appliance.latest, price[:, 0]).min())
    return total


def _least_free(d: Switched, price: Floats) -> float:
    """Return the least cost of a heater that is free between off and on, by the exact kernel: a bound as well."""
    steps = len(price)
    length, slope = np.maximum(d.gain, 0.0)[:, None].copy(), (price / np.maximum(d.gain, 1e-12))[:, None].copy()
    cost, _ = plan_store(
        d.start, d.keep, d.flow, d.low, d.high, np.zeros(steps), length, slope, 0.0, np.zeros((2, steps + 2)),
        np.zeros((steps, 1)), np.zeros(steps),
    )  # fmt: skip
    return -np.inf if np.isnan(cost) else float(cost)


def car_kw(s: Search, x: Floats) -> Floats:
    """Return what each car takes over its least where it charges by a pattern (kW); shape (cars, T)."""
    first = FIRST + 2 * s.base.battery
    power: Floats = x[:, first : first + s.base.cars].T
    return power


def charging_steps(car: Car, hours: float) -> tuple[int, int]:
    """Return at how few and at how many steps a car with a least power may charge."""
    per = car.charge_frac * hours
    fewest = int(np.ceil(car.need_wh / (per * car.most_w) - 1e-9)) if car.most_w else 0
    most = int(np.floor(car.room_wh / (per * car.least_w) + 1e-9)) if car.least_w else car.leaves - car.arrives
    return fewest, min(most, car.leaves - car.arrives)


def patterned(s: Search, choice: Choice, charges: NDArray[np.bool_]) -> Costed:
    """Return a choice with cars that charge from their least on at the steps of a pattern (cars, T), else not."""
    c = s.base
    right, width = c.right.copy(), c.width.copy()
    right[:, 0] += load_of(s, choice)
    first = FIRST + 2 * c.battery
    for k, car in enumerate(s.home.cars):
        least = car.least_w / WATTS
        width[:, first + k] = np.where(charges[k], width[:, first + k] - least, 0.0)
        right[:, 0] += least * charges[k]
        right[:, c.battery + k + 1] -= c.gain[:, first + k] * least * charges[k]
    return solved(s, choice, width, right, charges)
