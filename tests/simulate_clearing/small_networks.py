"""Small networks and offers for tests of the market's clearing."""

from __future__ import annotations

import numpy as np

from tieline.simulate.clearing import Network, Offer


def triangle(rating_mw: float = 90.0) -> Network:
    """Return three buses, each joined to each by the same reactance; only 1-3 is limited. All load is at 3."""
    return Network(
        ("1", "2", "3"), np.array([0, 1, 0]), np.array([2, 2, 1]), np.full(3, 0.1),
        np.array([rating_mw, np.inf, np.inf]), np.array([0.0, 0.0, 1.0]),
    )  # fmt: skip


def meshed(rng: np.random.Generator, buses: int, rating_mw: float = np.inf) -> Network:
    """Return a ring with chords, reactances drawn, each branch with the same rating."""
    ring = [(k, (k + 1) % buses) for k in range(buses)]
    chords = [(int(a), int(b)) for a, b in rng.integers(0, buses, (buses, 2)) if a != b]
    ends = np.array(ring + chords)
    weight = rng.uniform(0.1, 1.0, buses)
    return Network(
        tuple(f"b{k}" for k in range(buses)), ends[:, 0], ends[:, 1], rng.uniform(0.01, 0.3, len(ends)),
        np.full(len(ends), rating_mw), weight / weight.sum(),
    )  # fmt: skip


def plants(rng: np.random.Generator, buses: int, count: int, most_mw: float = 100.0) -> list[Offer]:
    """Return plants of up to three steps each at drawn buses, with ramp and reserve."""
    made = []
    for k in range(count):
        price = np.sort(rng.uniform(10, 90, rng.integers(1, 4)))
        steps = tuple((float(rng.uniform(5, most_mw / 3)), float(each)) for each in price)
        made.append(
            Offer(
                f"p{k}", f"b{rng.integers(buses)}", steps, low_mw=float(rng.uniform(0, 5)),
                ramp_mw_per_min=float(rng.uniform(0.5, 5)), reserve_mw=float(rng.uniform(0, 20)),
            )
        )  # fmt: skip
    return made
