"""A mixed pool in which every device is a storage: the linear program that its prices begin with.

A genset is a store of what its tank gives, at the cost of a Wh at full power; a contract one of what all its calls
together give; a heater what it is, at any power up to its own. No schedule of the true devices costs more in these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan.mixed_terms import KINDS, Contracts, Gensets, Heaters, Mix, count_of
from tieline.plan.pool_terms import Course
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Rows = tuple[Stores, Course]


def relaxed(mix: Mix, steps: int, hours: float, dear: float) -> _Rows:
    """Return all devices as storages, in the order of `KINDS`.

    What is dearer than `dear` (per Wh; 0: no limit) counts as that here, unless it is a store: else one contract of
    next to no power would rule the scale of all prices by what a call of it costs.
    """
    parts: list[_Rows] = []
    if mix.stores is not None:
        parts.append((mix.stores, mix.course or Course()))
    if mix.gensets is not None:
        parts.append(_gensets(mix.gensets, steps, hours))
    if mix.contracts is not None:
        parts.append(_contracts(mix.contracts, steps, hours))
    if mix.heaters is not None:
        parts.append(_heaters(mix.heaters, steps))
    none = np.zeros(0)
    stores = Stores(*(
        np.concatenate([none, *(np.asarray(getattr(part[0], name), float) for part in parts)])
        for name in Stores.__slots__
    ))  # fmt: skip
    if dear > 0.0:
        least = np.where(np.arange(len(stores.start_wh)) < count_of(mix, "stores"), np.inf, dear)
        stores = replace(stores, wear_per_wh=np.minimum(stores.wear_per_wh, least))

    def whole(name: str) -> Floats:
        own = {"charge_w": "charge_w", "discharge_w": "discharge_w", "least_wh": "least_wh", "most_wh": "most_wh"}
        found = [np.zeros((0, steps))]
        for rows, course in parts:
            given, count = getattr(course, name), len(rows.start_wh)
            column = getattr(rows, own[name])[:, None] if name in own else np.zeros((count, 1))
            found.append(np.broadcast_to(column if given is None else given, (count, steps)))
        return np.concatenate(found)

    keep = np.concatenate([
        none,
        *(np.ones(len(rows.start_wh)) if course.keep_frac is None else course.keep_frac for rows, course in parts),
    ])  # fmt: skip
    names = ("charge_w", "discharge_w", "least_wh", "most_wh", "inflow_wh")
    return stores, Course(**{name: whole(name) for name in names}, keep_frac=keep)


def feeders_of(mix: Mix) -> Ints:
    """Return on which feeder each device is, -1 for none, in the order of `KINDS`."""
    return np.concatenate([
        np.asarray(mix.feeder_of.get(kind, np.full(count_of(mix, kind), -1)), np.int64) for kind in KINDS
    ])  # fmt: skip


def _gives(most_w: Floats, energy_wh: Floats, cost: Floats) -> Stores:
    zero, one = np.zeros(len(most_w)), np.ones(len(most_w))
    return Stores(energy_wh, zero, energy_wh, zero, zero, most_w, one, one, cost)


def _gensets(g: Gensets, steps: int, hours: float) -> _Rows:
    burnt = g.fuel_per_wh + g.fuel_per_h / g.most_w  # at full power, the least there is
    most = g.most_w * hours * steps
    # A tank below what must be burnt gives way (`plan.blocks`): it holds as much more here.
    must = np.where(g.lasted > 0, np.clip(g.least_on - g.lasted, 0, steps), 0) * hours
    fuel = np.maximum(g.fuel, must * (g.fuel_per_h + g.fuel_per_wh * g.least_w))
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = np.where(burnt > 0, np.minimum(fuel / np.maximum(burnt, 1e-300), most), most)
    return _gives(g.most_w, energy, g.fuel_price * burnt + g.adder_per_wh), Course()


def _contracts(c: Contracts, steps: int, hours: float) -> _Rows:
    count = len(c.calls)
    power = np.array(np.broadcast_to(c.power_w[:, None] if c.power_w.ndim == 1 else c.power_w, (count, steps)), float)
    most = power.max(axis=1, initial=0.0)
    is_called = c.lasted > 0
    may = np.minimum((c.calls.astype(float) + is_called) * c.longest, np.maximum(c.steps_left, c.shortest * is_called))
    energy = np.minimum(may, steps) * most * hours
    per = np.where(is_called, 0.0, c.call_cost / np.maximum(np.minimum(c.longest, steps) * most * hours, 1e-300))
    power[~is_called] *= np.arange(steps)[None, :] >= c.notice[~is_called, None]
    cost = c.cost_per_wh + c.adder_per_wh + np.where(most > 0, per, 0.0)
    return _gives(most, energy, cost), Course(discharge_w=power)


def _heaters(h: Heaters, steps: int) -> _Rows:
    zero, one = np.zeros(len(h.power_w)), np.ones(len(h.power_w))
    stores = Stores(h.start_wh, h.least_wh, h.most_wh, h.least_wh, h.power_w, zero, h.charge_frac, one, zero)
    return stores, Course(keep_frac=h.keep_frac, inflow_wh=h.inflow_wh)
