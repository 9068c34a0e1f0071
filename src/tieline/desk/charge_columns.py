"""What is known of the cars at chargers that a limit holds; measured, and learnt anew after a start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.int64]
NO_CAR = -1


@dataclass
class Charges:
    """Since when each row charges, or may (`began_ns`; 0: it may not), and when it was last seen to (`seen_ns`).

    `seen_ns` is 0 of one that was never seen to charge, and `NO_CAR` of one that was let charge and did not.
    """

    began_ns: Instants
    seen_ns: Instants

    @staticmethod
    def empty(count: int) -> Charges:
        """Return columns of rows of which nothing is known."""
        return Charges(np.zeros(count, np.int64), np.zeros(count, np.int64))
