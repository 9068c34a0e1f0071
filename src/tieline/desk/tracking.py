"""Asked against delivered, a row at a time, and the cause of each watt that is lacking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass
class Tally:
    """Energy of one pool in the interval that runs: asked and delivered, a row and in all."""

    rows: Rows
    start_ns: int
    end_ns: int
    asked_ws: float
    seconds: float
    row_ws: Floats
    samples: int
    is_owed: bool = False

    @staticmethod
    def begin(rows: Rows, start_ns: int, end_ns: int) -> Tally:
        """Return an empty tally."""
        return Tally(rows, start_ns, end_ns, 0.0, 0.0, np.zeros(len(rows)), 0)

    def add(self, asked_w: float, row_w: Floats, seconds: float) -> None:
        """Count so many seconds at these powers."""
        self.asked_ws += asked_w * seconds
        self.row_ws += row_w * seconds
        self.seconds += seconds
        self.samples += len(row_w)

    def means(self) -> tuple[float, Floats]:
        """Return the mean power asked and delivered by each row (W)."""
        seconds = max(self.seconds, 1e-9)
        return self.asked_ws / seconds, self.row_ws / seconds


def above_base_w(state: DeskState, rows: Rows) -> Floats:
    """Return what each row delivers now above its base (W); a row without fit telemetry delivers nothing."""
    fleet = state.fleet
    delta_w: Floats = np.nan_to_num(fleet.power_w[rows]) - state.base_w[rows]
    unfit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    return np.where(unfit | np.isnan(fleet.power_w[rows]), 0.0, delta_w)


def causes(
    state: DeskState, rows: Rows, share_w: Floats, delivered_w: Floats, lacking_w: float, now_ns: int
) -> dict[str, float]:
    """Return the watts lacking by cause: of rows that had a share first, then of those that could not be given one."""
    short_w = np.maximum(np.abs(share_w) - np.maximum(np.sign(share_w) * delivered_w, 0.0), 0.0)
    fleet, commands = state.fleet, state.commands
    unfit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    stage = commands.stage[rows]
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    limited = (state.base_w[rows] + share_w > high_w + 1.0) | (state.base_w[rows] + share_w < low_w - 1.0)
    reasons = (
        ("opt_out", state.opted_out[rows]),
        ("dno_limit", limited),
        ("offline", unfit),
        ("refused", stage == Stage.REJECTED),
        ("unconfirmed", stage == Stage.UNCONFIRMED),
        ("underperformed", np.ones(len(rows), np.bool_)),
    )
    left = np.ones(len(rows), np.bool_)
    found: dict[str, float] = {}
    for name, mask in reasons:
        watts = float(short_w[left & mask].sum())
        left &= ~mask
        if watts > 1.0:
            found[name] = watts
    given = sum(found.values())
    if given > lacking_w > 0:
        found = {name: watts * lacking_w / given for name, watts in found.items()}
    elif lacking_w - given > 1.0:
        found["unavailable"] = lacking_w - given  # nobody had it to give: no row was asked for it
    return found
