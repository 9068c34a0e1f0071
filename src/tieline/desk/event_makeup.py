"""What a program event lacks by its meters: others are called for it, and stores let go where it gets too much.

What each called device gave over the last whole interval counts, and not what it was asked: a room that grew too warm
cools again whatever it was told, and a plant that does not start gives nothing. What each is called for since counts as
given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import EventTracked

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
LEAST_S = 150.0
"""A shorter stretch shows the devices on their way: nobody is judged by it."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the meters showed of an event over an interval: what each row was called for and gave (W, means), and the
    record of it."""

    record: str
    rows: Rows
    called_w: Floats
    given_w: Floats


NOTHING: Mapping[str, Shown] = {}


def shown_of(record: str, fact: EventTracked) -> Shown | None:
    """Return what the record of an interval shows of who was called; None: it was too short, or is an old one."""
    if fact.called is None or fact.called_w is None or fact.late_w is None:
        return None
    rows, given_w = fact.called.array(), fact.late_w.array()
    if fact.rows is not None and fact.row_w is not None:
        _, mine, its = np.intersect1d(rows, fact.rows.array(), assume_unique=True, return_indices=True)
        given_w[mine] += fact.row_w.array()[its]
    return Shown(record, rows, fact.called_w.array(), given_w)


def counted_w(rows: Rows, share_w: Floats, side: float, shown: Shown | None) -> Floats:
    """Return what each row counts for (W, in the event's direction): no more than its share, and less as it gave less.

    Args:
        rows: Whom the event calls; each once.
        share_w: What each is called for (W, 0 or more).
        side: 1 for an event that asks for more power into the grid, -1 for less.
        shown: The last interval; None: none is over yet.
    """
    found = share_w.copy()
    if shown is not None:
        _, mine, its = np.intersect1d(rows, shown.rows, assume_unique=True, return_indices=True)
        since_w = np.maximum(share_w[mine] - side * shown.called_w[its], 0.0)
        found[mine] = np.minimum(share_w[mine], side * shown.given_w[its] + since_w)
    return found


def let_go(counts_w: Floats, may: NDArray[np.bool_], over_w: float) -> NDArray[np.bool_]:
    """Return whom an event lets go that gets so much too much (W): the largest that fit, of those that may be.

    Never more than is too much: it would be called again.
    """
    gone = np.zeros(len(counts_w), np.bool_)
    for at in np.flatnonzero(may & (counts_w > 0))[np.argsort(-counts_w[may & (counts_w > 0)], kind="stable")].tolist():
        if counts_w[at] <= over_w:
            gone[at], over_w = True, over_w - counts_w[at]
    return gone
