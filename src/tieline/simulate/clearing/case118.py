"""The IEEE 118-bus case as a market: its network, loads and plants as published, their offers by rules of our own.

Published are buses, branches, loads and what each of 54 plants can give; not what a plant's start costs or how fast it
moves, and no rating of a branch. Those follow from a plant's size and row by the rules below: no real plant's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.clearing.network import Network
from tieline.simulate.clearing.offers import Offer

Floats = NDArray[np.float64]
GOLDEN = 0.6180339887498949
LINE_MW = {345.0: 900.0, 161.0: 300.0, 138.0: 220.0}
"""What a line may carry by its voltage (kV): at least this, and a fifth more than in the published case."""
TRANSFORMER_MW = 400.0
"""What a transformer may carry, by the same rule."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What plants of one size are like: shares are of the most power, costs per MW of it."""

    name: str
    above_mw: float
    low_frac: float
    price: float
    spread: float
    no_load_per_mw_h: float
    start_per_mw: float
    least_h: int
    ramp_per_min: float
    reserve_frac: float


KINDS = (
    Kind("steam", 300.0, 0.40, 17.0, 9.0, 4.0, 60.0, 8, 0.006, 0.06),
    Kind("combined", 120.0, 0.35, 25.0, 14.0, 5.0, 35.0, 4, 0.025, 0.15),
    Kind("turbine", 0.0, 0.20, 42.0, 60.0, 6.0, 12.0, 1, 0.080, 0.30),
)
STEPS = (0.4, 0.3, 0.2, 0.1)
"""A plant's offer above its least power: these parts of it, each 6 % dearer than the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A network with what is drawn and offered in it.

    Attributes:
        network: Its buses and branches.
        offers: One of each plant.
        load_mw: What each bus draws in the published case; shape (b,).
        reactance_pu: Each branch's published reactance, its tap ratio not counted; shape (l,).
    """

    network: Network
    offers: tuple[Offer, ...]
    load_mw: Floats
    reactance_pu: Floats

    def hourly_mw(self, hours: int = 24) -> Floats:
        """Return what each bus draws in each hour of a day: its load times a shape; (hours, b)."""
        return np.outer(shape(np.arange(hours, dtype=np.float64) + 0.5), self.load_mw)

    def at_mw(self, hour: float) -> Floats:
        """Return what each bus draws at an hour of the day."""
        return float(shape(np.array([hour]))[0]) * self.load_mw


def shape(hour: Floats) -> Floats:
    """Return the part of the published load that is drawn at an hour: least at four, most at seven in the evening."""
    h = hour % 24.0
    evening = 0.42 * np.exp(-(((h - 18.8) / 3.4) ** 2))
    drawn: Floats = (
        0.74 + 0.26 * np.exp(-(((h - 9.0) / 2.8) ** 2)) + 0.18 * np.exp(-(((h - 13.5) / 3.0) ** 2)) + evening
    )
    return drawn


@cache
def case118() -> Case:
    """Return the case; the same object each time."""
    tables = json.loads((files("tieline.simulate") / "data" / "case118.json").read_text())
    bus, branch, unit = tables["bus"], tables["branch"], tables["unit"]
    row = {name: k for k, name in enumerate(bus["name"])}
    load_mw, kilovolt = np.array(bus["load_mw"]), np.array(bus["kv"])
    ends = [np.array([row[name] for name in branch[end]]) for end in ("from", "to")]
    reactance = np.array(branch["x_pu"]) * np.array(branch["tap"])
    names = tuple(str(name) for name in bus["name"])
    weight = load_mw / load_mw.sum()
    free = Network(names, ends[0], ends[1], reactance, np.full(len(reactance), np.inf), weight)
    given = np.bincount([row[name] for name in unit["bus"]], unit["given_mw"], len(names))
    by_kind = np.where(
        kilovolt[ends[0]] == kilovolt[ends[1]], np.array([LINE_MW[v] for v in kilovolt[ends[0]]]), TRANSFORMER_MW
    )
    rating = np.maximum(by_kind, np.ceil(1.2 * np.abs(free.flow_mw(given - load_mw))))
    network = Network(names, ends[0], ends[1], reactance, rating, weight)
    return Case(network, tuple(_offer(k, unit) for k in range(len(unit["bus"]))), load_mw, np.array(branch["x_pu"]))


def _offer(k: int, unit: dict[str, Any]) -> Offer:
    """Return a plant's offer by its size, and by its row for what differs between plants of a kind."""
    most_mw, part = unit["most_mw"][k], (k + 1) * GOLDEN % 1.0
    kind = next(kind for kind in KINDS if most_mw > kind.above_mw)
    low_mw = round(kind.low_frac * most_mw, 1)
    price = kind.price + kind.spread * part
    steps = tuple((frac * (most_mw - low_mw), round(price * 1.06**turn, 2)) for turn, frac in enumerate(STEPS))
    was_on = kind.name != "turbine"
    return Offer(
        f"{kind.name}-{unit['bus'][k]}", str(unit["bus"][k]), steps, low_mw,
        round(kind.no_load_per_mw_h * most_mw + 0.9 * price * low_mw, 2), round(kind.start_per_mw * most_mw, 2), True,
        kind.least_h, kind.least_h, kind.ramp_per_min * most_mw, kind.reserve_frac * most_mw, 0.0,
        24.0 if was_on else -24.0, max(low_mw, 0.6 * most_mw) if was_on else 0.0,
    )  # fmt: skip
