"""What gave way in a plan, in words: where, by how much, at what price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GaveWay:
    """One bound that could not be kept.

    `what` is `low_w` or `high_w` of the band (of feeder `feeder`, or the pool's where that is None), or `least_wh` or
    `most_wh` of storage `store` (what else can give way of another device: `says` names it); steps `first` to `last`
    are where. `most` is how far beyond at its worst (W for the band, Wh for a storage), `energy_wh` all of it, `cost`
    what the plan counts for it, `says` the sentence.
    """

    what: str
    store: int | None
    first: int
    last: int
    most: float
    energy_wh: float
    cost: float
    says: str
    feeder: int | None = None


def pool_words(
    net_w: Floats, low_w: Floats, high_w: Floats, met_w: float, hours: float, slack_per_wh: float,
    feeder: int | None = None,
) -> tuple[GaveWay, ...]:  # fmt: skip
    """Return where net power leaves its band by more than `met_w`, a run of steps each; shape (T,) throughout."""
    found, whose = [], "" if feeder is None else f"feeder {feeder}: "
    for what, beyond, limit, side in (
        ("high_w", net_w - high_w, high_w, "above the highest"),
        ("low_w", low_w - net_w, low_w, "below the lowest"),
    ):
        for first, last in _runs(beyond > met_w):
            part = beyond[first : last + 1]
            worst = first + int(part.argmax())
            energy = float(part.sum()) * hours
            says = (
                f"{whose}{_steps(first, last)}: net power of {net_w[worst]:.6g} W at step {worst} is {part.max():.6g} "
                f"W {side} allowed, {limit[worst]:.6g} W; {energy:.6g} Wh lie beyond, at {slack_per_wh:.6g} per Wh"
            )
            found.append(
                GaveWay(what, None, first, last, float(part.max()), energy, energy * slack_per_wh, says, feeder)
            )
    return tuple(sorted(found, key=lambda one: (one.first, one.what)))


def store_words(gave_wh: Floats, where: NDArray[np.int64], met_wh: Floats) -> tuple[GaveWay, ...]:
    """Return which storages can't keep a bound of their own, and by how much at the worst step; shape (n,)."""
    found = []
    for store in np.flatnonzero(np.abs(gave_wh) > met_wh):
        off, at = float(gave_wh[store]), int(where[store])
        what, side, how = (
            ("least_wh", "below the least", "taking") if off > 0 else ("most_wh", "above the most", "giving")
        )
        says = (
            f"store {store}: {abs(off):.6g} Wh {side} asked for at step {at}, although it is {how} all it can from the "
            "start on"
        )
        found.append(GaveWay(what, int(store), at, at, abs(off), abs(off), 0.0, says))
    return tuple(found)


def _runs(is_beyond: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_beyond.astype(np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _steps(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first} to {last}"
