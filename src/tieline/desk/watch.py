"""The watchdog: what devices said is held against their meters.

Their timers lie, so we check that each fell back when its command ran out; and a limit that was taken may be ignored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.apply import WATCHDOG
from tieline.desk.base import NEAR_FRAC, NEAR_W
from tieline.desk.disobedience import beyond
from tieline.desk.dispatch import AGAIN_NS, issued
from tieline.desk.entry import Entry
from tieline.desk.facts import CommandsReported
from tieline.desk.packed import Packed
from tieline.desk.state import LEASE_NS, DeskState
from tieline.ids import derive
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import MINUTE_NS

GRACE_NS = 2 * MINUTE_NS


def decide_reverts(state: DeskState, now_ns: int) -> tuple[list[Entry], CommandBatch | None]:
    """Return the facts and the batch that release devices which still hold a command that has run out.

    A device is caught when its command is over by two minutes, its telemetry is fit, and its power is still at the old
    target, away from its base. The old command is recorded UNCONFIRMED; the release is absolute, so that sending it
    twice does no harm.
    """
    fleet, commands = state.fleet, state.commands
    over = (commands.valid_until_ns > 0) & (commands.valid_until_ns + GRACE_NS < now_ns)
    rows = np.flatnonzero(over & np.isfinite(commands.target_w)).astype(np.int32)
    if not len(rows):
        return [], None
    target_w, power_w = commands.target_w[rows], fleet.power_w[rows]
    near_w = np.maximum(NEAR_W, NEAR_FRAC * np.abs(target_w))
    holds = (np.abs(power_w - target_w) < near_w) & (np.abs(power_w - state.base_w[rows]) > 2 * near_w)
    fit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    rows = rows[holds & fit]
    if not len(rows):
        return [], None
    entries = [unconfirmed(state, rows, "held its command after its time", now_ns, fleet.power_w[rows])]
    count = len(rows)
    free, low_w, high_w = np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)
    batch = CommandBatch(
        derive("commands", state.epoch, state.seq + 1, now_ns), rows, free, low_w, high_w, fleet.default_w[rows],
        now_ns, now_ns, now_ns + LEASE_NS, state.epoch, state.seq + 1, (entries[0].id,),
    )  # fmt: skip
    entries.append(Entry(batch.id, issued(batch), "", batch.caused_by))
    return entries, batch


def decide_contradicted(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the fact that revises commands which count as done while the meter shows another power than they allow.

    It says so once of each command: it is not sent again, as the device has it.
    """
    fleet, commands = state.fleet, state.commands
    done = (commands.stage == int(Stage.DONE)) & (commands.valid_until_ns > now_ns)
    done &= (fleet.taken_at_ns >= commands.at_ns) & ((fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0)
    rows = np.flatnonzero(done).astype(np.int32)
    rows = rows[beyond(state, rows, now_ns)]
    if not len(rows):
        return []
    return [unconfirmed(state, rows, "stands beyond the limit that it took", now_ns, fleet.power_w[rows])]


def decide_given_up(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the fact that ends commands which were on their way as the desk ended, and had time to be answered.

    Devices that are heard were told anew by the beat that this follows; the others are as soon as they are heard.
    """
    last = state.commands
    rows = np.flatnonzero(now_ns - last.at_ns >= AGAIN_NS).astype(np.int32)
    rows = rows[state.cut_off(rows)]
    if not len(rows):
        return []
    return [unconfirmed(state, rows, "the server ended before it was answered", now_ns, np.full(len(rows), np.nan))]


def unconfirmed(
    state: DeskState, rows: NDArray[np.int32], native: str, now_ns: int, seen_w: NDArray[np.float64]
) -> Entry:
    """Return the fact that rows do not what their last commands were reported as; `seen_w`: by their meters (W)."""
    commands, count = state.commands, len(rows)
    batches = sorted({state.command_batches[int(b)] for b in commands.batch[rows] if b >= 0})
    fact = CommandsReported(
        "", WATCHDOG, Packed.of(rows), Packed.of(np.full(count, Stage.UNCONFIRMED, np.uint8)),
        Packed.of(np.full(count, now_ns, np.int64)), Packed.of(np.full(count, RejectWord.TIMEOUT, np.uint8)),
        Packed.of(seen_w), (native,), (),
    )  # fmt: skip
    return Entry(derive(WATCHDOG, native, now_ns, rows.tobytes()), fact, "", tuple(batches))
