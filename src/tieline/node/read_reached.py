"""How far the last command of each row has come, and what its own meter proves of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.claims import Mask
from tieline.resource.command import Stage
from tieline.resource.obedience import astray_w
from tieline.resource.quality import UNFIT_FOR_DISPATCH

_DELIVERED = (Stage.SENT, Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE, Stage.UNCONFIRMED)
_ACKNOWLEDGED = (Stage.ACCEPTED, Stage.EXECUTING, Stage.DONE)
_EFFECTIVE = (Stage.EXECUTING, Stage.DONE)


def steps_reached(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> tuple[Mask, Mask, Mask, Mask]:
    """Return which rows' commands were delivered, acknowledged, effective and verified; each holds within the last.

    Verified is by the device's own meter, read after the command's last step: an older reading proves nothing of it. A
    later step proves those before it, as many links never say them: a meter at its target shows a command that took
    effect, and was taken, once it left. One that never left, was refused or ran out proves nothing: then the device
    stands there by chance.
    """
    commands, fleet = state.commands, state.fleet
    delivered, acknowledged, effective = (
        np.isin(commands.stage[rows], [int(stage) for stage in group])
        for group in (_DELIVERED, _ACKNOWLEDGED, _EFFECTIVE)
    )
    power_w, target_w = fleet.power_w[rows], commands.target_w[rows]
    near_w = np.maximum(150.0, 0.1 * np.abs(np.nan_to_num(target_w)))
    off_w = astray_w(power_w, target_w, commands.low_w[rows], commands.high_w[rows])
    at_target = (np.abs(off_w) <= near_w) & np.isfinite(power_w)
    fit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    is_later = fleet.taken_at_ns[rows] >= commands.at_ns[rows]
    verified = delivered & at_target & fit & is_later & (commands.valid_until_ns[rows] > now_ns)
    effective = effective | verified
    return delivered, acknowledged | effective, effective, verified
