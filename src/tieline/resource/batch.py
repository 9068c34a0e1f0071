"""What travels between rooms by the thousand: columns, one row a resource."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.resource.point import ends_by_code
from tieline.resource.quality import Quality
from tieline.times import DAY_NS, SECOND_NS

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
Codes = NDArray[np.uint16]
Flags = NDArray[np.uint32]
Bytes = NDArray[np.uint8]
AHEAD_NS = 30 * SECOND_NS
"""How far a device's clock may be ahead before its readings are questionable: as old as a direct operate may be."""
SITE_STALE_NS = 10 * SECOND_NS
"""How old a reading is at most to count behind a site's connection, if the settings say nothing else (rule R17)."""
BEHIND_NS = 10 * 366 * DAY_NS
"""How long ago a reading may have been taken: ten years, longer than meters keep and markets settle any. A clock that
lost its battery begins in 1970 or 2000."""


def stands_ns(taken_ns: int, received_ns: int) -> int:
    """Return the instant (ns) for which a reading stands: when it was taken, or received where that can't be.

    The rule of `Readings.in_time` for one reading, for links that have to know which of two is the newer.
    """
    return taken_ns if received_ns - BEHIND_NS <= taken_ns <= received_ns else received_ns


class Readings(Struct, frozen=True, eq=False):
    """Measurements, one a row: which resource row, which point code, value (SI), quality bits, when.

    All arrays have shape (n,). `source` names the link they came by; `frame` is the id of the message that
    carried them (empty where none).
    """

    rows: Rows
    points: Codes
    values: Floats
    quality: Flags
    taken_at_ns: Instants
    received_at_ns: Instants
    source: str
    frame: str = ""

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Readings:
        """Return the readings that a mask or an order chooses."""
        return Readings(
            self.rows[chosen], self.points[chosen], self.values[chosen], self.quality[chosen],
            self.taken_at_ns[chosen], self.received_at_ns[chosen], self.source, self.frame,
        )  # fmt: skip

    def in_time(self, ahead_ns: int = AHEAD_NS) -> Readings:
        """Return the readings, none of them taken after it was received.

        A time that is still to come is no time of taking: that of receiving stands for it, or no later reading would be
        newer. Beyond `ahead_ns` the device's clock is wrong, and so the reading's quality is QUESTIONABLE. It is wrong
        more than `BEHIND_NS` back, too: when such a reading came is all that is known.
        """
        early, late = self.taken_at_ns > self.received_at_ns, self.is_ancient()
        if not np.count_nonzero(early | late):
            return self
        wrong = late | (early & (self.taken_at_ns - ahead_ns > self.received_at_ns))
        quality = np.where(wrong, self.quality | np.uint32(Quality.QUESTIONABLE), self.quality)
        return replace(self, taken_at_ns=np.where(early | late, self.received_at_ns, self.taken_at_ns), quality=quality)

    def is_ancient(self) -> NDArray[np.bool_]:
        """Return which readings say that they were taken before any that is kept could have been."""
        # An instant of 0 is none: a device that was never read has nothing that its clock could be wrong about.
        ancient: NDArray[np.bool_] = (self.taken_at_ns < self.received_at_ns - BEHIND_NS) & (self.taken_at_ns > 0)
        return ancient

    def in_range(self) -> Readings:
        """Return the readings, marked OUT_OF_RANGE where a value is none that its quantity can be.

        It is kept and shown, and trusted by nobody. A device's own wire has nobody to refuse to; a body over HTTP is
        refused row by row instead.
        """
        low, high = ends_by_code()
        # Said so that NaN, which is neither below nor above, is beyond, too.
        beyond = ~((self.values >= low[self.points]) & (self.values <= high[self.points]))
        if not np.count_nonzero(beyond):
            return self
        quality = np.where(beyond, self.quality | np.uint32(Quality.OUT_OF_RANGE), self.quality)
        return replace(self, quality=quality)


class CommandBatch(Struct, frozen=True, eq=False):
    """Commands, one a row: the setpoint each device is to hold from `valid_from_ns` until `valid_until_ns`.

    After that the device falls back to `revert_w` by itself (and our watchdog checks that it did). The id of one
    command is `derive("command", batch.id, resource id)`; `setpoint_revision` is the arbitration that it carries out.
    All arrays have shape (n,), W, positive into the grid.
    """

    id: str
    rows: Rows
    target_w: Floats
    low_w: Floats
    high_w: Floats
    revert_w: Floats
    issued_at_ns: int
    valid_from_ns: int
    valid_until_ns: int
    epoch: int
    seq: int
    caused_by: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, mask: NDArray[np.bool_] | Rows) -> CommandBatch:
        """Return the same batch for some of its rows; the id stays, as each command's id is its own."""
        return CommandBatch(
            self.id,
            self.rows[mask],
            self.target_w[mask],
            self.low_w[mask],
            self.high_w[mask],
            self.revert_w[mask],
            self.issued_at_ns,
            self.valid_from_ns,
            self.valid_until_ns,
            self.epoch,
            self.seq,
            self.caused_by,
        )


class CommandReports(Struct, frozen=True, eq=False):
    """How far commands of one batch have come, one a row: a `Stage`, when, a `RejectWord`, the native code.

    `observed_w` is what was read back (NaN where nothing was). `frames` names the wire messages, one a row (the hex
    of the request that carried the command, or a message id), for the trace.
    """

    batch: str
    link: str
    rows: Rows
    stage: Bytes
    at_ns: Instants
    reject: Bytes
    observed_w: Floats
    native: tuple[str, ...]
    frames: tuple[str, ...]
