"""Random mixed pools: stores, gensets, contracts and heaters on nested feeders; small ones that a solver closes."""

from dataclasses import dataclass

import numpy as np

from tieline.plan.mixed import Contracts, Feeders, Gensets, Heaters, Mix, Stores, Terms


@dataclass(frozen=True)
class MixedProblem:
    mix: Mix
    terms: Terms
    hours: float
    feeders: Feeders | None


def random_mix(seed: int, sizes: tuple[int, int, int, int] | None = None, steps: int | None = None) -> MixedProblem:
    """Return a mix of some kW each; harsh where the seed is odd: bands that can't be held, small tanks, long pasts."""
    rng = np.random.default_rng(seed)
    is_harsh = seed % 2 == 1
    counts = sizes or tuple(int(rng.integers(0, most)) for most in (4, 4, 4, 3))
    steps, hours = steps or int(rng.integers(3, 13)), float(rng.choice([0.25, 1.0]))
    stores, gensets = _stores(rng, counts[0], hours), _gensets(rng, counts[1], steps, is_harsh)
    contracts, heaters = _contracts(rng, counts[2], steps, is_harsh), _heaters(rng, counts[3], steps, hours, is_harsh)
    kinds = ("stores", "gensets", "contracts", "heaters")
    held = dict(zip(kinds, (stores, gensets, contracts, heaters), strict=True))
    feeders, feeder_of = None, {}
    room = float(stores.charge_w.sum() + gensets.most_w.sum() + contracts.power_w.sum() + heaters.power_w.sum()) + 1.0
    if seed % 3:
        count = int(rng.integers(1, 5))
        parent = np.array([int(rng.integers(-1, at)) for at in range(count)])
        order = rng.permutation(count)  # so that a parent may come after its child
        place = np.argsort(order)
        parent = np.array([-1 if parent[at] < 0 else place[parent[at]] for at in order])
        part = rng.uniform(0.02 if is_harsh else 0.2, 0.6, (count, 1)) * room * np.ones((1, steps))
        feeders = Feeders(-part, part * rng.uniform(0.5, 1, (count, steps)), rng.normal(0, 0.05, count) * room, parent)
        feeder_of = {kind: rng.integers(-1, count, n) for kind, n in zip(kinds, counts, strict=True)}
    buy = rng.uniform(0.05, 0.4, steps)
    low = np.full(steps, -room * rng.uniform(0.2, 0.8))
    if is_harsh and steps > 3:
        low[steps // 2 : steps // 2 + 2] = rng.uniform(0.1, 0.6) * room
    terms = Terms(buy, buy * rng.choice([1.0, 0.8]), low, room, rng.normal(0, 0.1, steps) * room, 4.0)
    none = {kind: None for kind, n in zip(kinds, counts, strict=True) if n == 0}
    return MixedProblem(Mix(**(held | none), feeder_of=feeder_of), terms, hours, feeders)


def _stores(rng: np.random.Generator, n: int, hours: float) -> Stores:
    most = rng.uniform(2, 20, n)
    rating, start = most * rng.uniform(0.1, 0.8, n) / hours / 2, most * rng.uniform(0.1, 0.9, n)
    return Stores(
        start, 0.1 * most, most, np.minimum(start, 0.5 * most), rating, rating, rng.uniform(0.85, 1, n),
        rng.uniform(0.85, 1, n), rng.uniform(0, 0.02, n),
    )  # fmt: skip


def _gensets(rng: np.random.Generator, n: int, steps: int, is_harsh: bool) -> Gensets:
    most = rng.uniform(2, 10, n)
    fuel = np.where(rng.random(n) < 0.4, rng.uniform(0.1 if is_harsh else 1.0, 3, n) * most, np.inf)
    lasted = rng.choice([-9, -1, 1, 2, 9], n)
    return Gensets(
        most * rng.uniform(0, 0.9, n), most, rng.uniform(0, 2, n), rng.uniform(0.5, 1.5, n), rng.uniform(0, 0.5, n),
        rng.uniform(0.1, 0.3, n), fuel, rng.integers(1, 4, n), rng.integers(1, 4, n), lasted, rng.uniform(0, 0.05, n),
    )  # fmt: skip


def _contracts(rng: np.random.Generator, n: int, steps: int, is_harsh: bool) -> Contracts:
    longest = rng.integers(1, 5, n)
    shortest = np.minimum(rng.integers(1, 4, n), longest)
    rest = rng.integers(1, 4, n)
    lasted = np.where(rng.random(n) < 0.6, 0, np.where(rng.random(n) < 0.5, np.minimum(2, longest), 1 - rest))
    return Contracts(
        rng.uniform(1, 8, (n, 1)) * (rng.random((n, steps)) < 0.8), rng.integers(0, 4, n), longest, shortest, rest,
        rng.integers(1 if is_harsh else 3, 9, n), rng.integers(0, 3, n), lasted, rng.uniform(0, 1, n),
        rng.uniform(0, 0.3, n), rng.uniform(0, 0.05, n),
    )  # fmt: skip


def _heaters(rng: np.random.Generator, n: int, steps: int, hours: float, is_harsh: bool) -> Heaters:
    power = rng.uniform(1, 4, n)
    most = power * hours * rng.uniform(3, 8, n)
    draw = power * hours * rng.uniform(0.1, 0.6, n)
    lasted = rng.choice([-5, -1, 1, 5], n)
    most_on = 4 if is_harsh else 3
    return Heaters(
        power, rng.uniform(0.9, 3, n), most * rng.uniform(0.2, 0.9, n), 0.1 * most, most, rng.uniform(0.9, 1, n),
        -draw[:, None] * rng.uniform(0.5, 1.5, (n, steps)), rng.integers(1, most_on, n), rng.integers(1, 3, n), lasted,
        rng.uniform(0, 0.2, n),
    )  # fmt: skip
