"""The facts of operating envelopes: a set of them was taken, or taken back."""

from __future__ import annotations

from tieline.desk.fact import Fact
from tieline.desk.packed import Packed


class EnvelopesTaken(Fact, frozen=True):
    """A feeder's operating envelopes were taken: a bound (W) on each resource over each interval, (t, c) row by row.

    They take the place of those of the version before; `start_ns` and `end_ns` are (t,), in their order.
    """

    feeder: str
    version: int
    method: str
    made_ns: int
    by: str
    customers: tuple[str, ...]
    resources: tuple[str, ...]
    start_ns: Packed
    end_ns: Packed
    low_w: Packed
    high_w: Packed


class EnvelopesWithdrawn(Fact, frozen=True):
    """A feeder's operating envelopes were taken back: they bound nobody any more."""

    feeder: str
    version: int
    by: str
