"""The question that a link which queues asks just before it writes: may this command still leave?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import LastHop
from tieline.resource.batch import CommandBatch

KILLED = "the kill switch is pressed"


def may_leave(last_hop: LastHop | None, batch: CommandBatch, row: int) -> bool:
    """Return whether a row of a batch may leave now; a link that no desk has bound asks nobody."""
    return last_hop is None or bool(last_hop.passes(batch.take(batch.rows == row)).all())


def leaving(last_hop: LastHop | None, batch: CommandBatch, ats: list[int]) -> NDArray[np.bool_]:
    """Return which of the rows at these places of a batch may leave now."""
    if last_hop is None or not ats:
        return np.ones(len(ats), np.bool_)
    return last_hop.passes(batch.take(np.array(ats, np.int32)))
