"""What was seen, kept a while, so that any past instant of it can be shown again as it was known then.

Theory of operation. Decisions are in the journal for good; what was *measured* is kept here: a frame at even steps with
each device's power, quality and time, its cell, the power flow, and what the links and pools said. `at` finds the last
frame before an instant and replays the journal up to its record, so that claims, commands, awards and events are those
of that moment and no later. Frames have a budget of memory: once it is used up, every other frame goes and the step
doubles, so that a long day is coarser and never cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.apply import apply
from tieline.desk.facts import from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import LinkHealth
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import Fleet
from tieline.fleet.ledger import Ledger
from tieline.flow.record import Records
from tieline.node.read_fleet import GridReading
from tieline.times import MINUTE_NS

BUDGET_BYTES = 256 * 2**20
BYTES_A_ROW = 54


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What was measured at one instant, and the last record that had been made."""

    at_ns: int
    seq: int
    power_w: NDArray[np.float32]
    up_w: NDArray[np.float32]
    down_w: NDArray[np.float32]
    energy_wh: NDArray[np.float32]
    quality: NDArray[np.uint32]
    taken_s: NDArray[np.float32]
    base_w: NDArray[np.float32]
    reach_frac: NDArray[np.float32]
    strikes: NDArray[np.uint8]
    struck_ns: NDArray[np.int64]
    rebounds_until_ns: NDArray[np.int64]
    """Until when a row that was called pays back: what it takes meanwhile counts against the pool."""
    is_local: NDArray[np.bool_]
    """Whom somebody else had set by hand (R5)."""
    shares: dict[str, NDArray[np.float32]]
    available: dict[str, tuple[float, float]]
    grid: Mapping[str, GridReading]
    health: dict[str, LinkHealth]
    alarms: tuple[AlarmView, ...]


class Recorder:
    """Keeps frames within a budget of memory."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        """Make an empty record. `budget_bytes` bounds what frames may take."""
        self._budget = budget_bytes
        self.step_ns = MINUTE_NS
        self.frames: list[Frame] = []

    def is_due(self, now_ns: int) -> bool:
        """Return whether a frame should be kept now."""
        return not self.frames or now_ns - self.frames[-1].at_ns >= self.step_ns

    def keep(
        self,
        state: DeskState,
        pools: Mapping[str, PoolDesk],
        grid: Mapping[str, GridReading],
        alarms: Sequence[AlarmView],
        seq: int,
        now_ns: int,
    ) -> None:
        """Keep what is known now; `alarms` as they stand, as whether one does hangs on what had been before."""
        fleet = state.fleet
        small = np.float32
        self.frames.append(
            Frame(
                now_ns, seq, fleet.power_w.astype(small), fleet.available_up_w.astype(small),
                fleet.available_down_w.astype(small), fleet.energy_available_wh.astype(small), fleet.quality.copy(),
                np.where(fleet.taken_at_ns > 0, (now_ns - fleet.taken_at_ns) / 1e9, np.nan).astype(small),
                state.base_w.astype(small), state.reach_frac.astype(small), state.responses.strikes.copy(),
                state.responses.last_ns.copy(), state.rebounds_until_ns.copy(), state.claims.is_local.copy(),
                {name: pool.share_w.astype(small) for name, pool in pools.items()},
                {name: pool.available for name, pool in pools.items()}, grid, dict(state.health), tuple(alarms),
            )
        )  # fmt: skip
        each = max(len(fleet) * BYTES_A_ROW, 1)
        while len(self.frames) > 4 and len(self.frames) * each > self._budget:
            # Every other one goes, and the newest stays: what is left has twice the step.
            self.frames = self.frames[-1::-2][::-1]
            self.step_ns *= 2

    def before(self, at_ns: int) -> Frame | None:
        """Return the last frame at or before an instant; None where nothing was kept then."""
        return next((frame for frame in reversed(self.frames) if frame.at_ns <= at_ns), None)


def state_at(live: DeskState, journal: Records, frame: Frame) -> DeskState:
    """Return the desk's state as it was: decisions up to the frame's record, measurements of the frame.

    Args:
        live: The state now; its registry and the rules of who may serve are shared, nothing else.
        journal: A connection of its own.
        frame: What was measured.
    """
    fleet = _same_registry(live.fleet)
    fleet.power_w[:] = frame.power_w
    fleet.available_up_w[:], fleet.available_down_w[:] = frame.up_w, frame.down_w
    fleet.energy_available_wh[:] = frame.energy_wh
    fleet.quality[:] = frame.quality
    seen = np.isfinite(frame.taken_s)
    fleet.taken_at_ns[seen] = frame.at_ns - (frame.taken_s[seen].astype(np.float64) * 1e9).astype(np.int64)
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    for record in journal.replay():
        if record.seq > frame.seq:
            break
        fact = from_record(record)
        if fact is not None:
            apply(state, record.id, fact, record.recorded_at_ns)
    state.claims.set_local(frame.is_local)
    state.claims.expire(frame.at_ns)
    state.base_w[:], state.is_switched[:] = frame.base_w, live.is_switched
    state.reach_frac[:], state.enrolments = frame.reach_frac, live.enrolments
    state.responses.strikes[:], state.responses.last_ns[:] = frame.strikes, frame.struck_ns
    state.rebounds_until_ns[:] = frame.rebounds_until_ns
    state.health.update(frame.health)
    return state


def _same_registry(fleet: Fleet) -> Fleet:
    same = Fleet(
        fleet.ids, fleet.kinds, fleet.max_inject_w, fleet.max_absorb_w, fleet.energy_wh, fleet.default_w, fleet.safe_w,
        fleet.groups, fleet.parents,
    )  # fmt: skip
    same.fuels, same.ramp_w_per_s = fleet.fuels, fleet.ramp_w_per_s
    return same
