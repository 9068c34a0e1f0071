"""Setpoints become commands: only for rows whose setpoint moved, or whose command would soon run out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import CommandsIssued, Packed
from tieline.desk.state import DeskState
from tieline.fleet.claims import Settled
from tieline.ids import derive
from tieline.resource.batch import CommandBatch
from tieline.times import MINUTE_NS

LEASE_NS = 20 * MINUTE_NS
RENEW_NS = 8 * MINUTE_NS
CHANGE_W = 1.0
Rows = NDArray[np.int32]


def changed(state: DeskState, settled: Settled, now_ns: int) -> NDArray[np.bool_]:
    """Return which settled rows need a command: a moved target or limit, or one in force that would soon run out."""
    rows, last = settled.rows, state.commands
    target_w = wanted(settled)
    was_w = np.where(last.valid_until_ns[rows] > now_ns, last.target_w[rows], np.nan)
    frees = np.isnan(target_w)
    was_free = np.isnan(was_w)
    moved = (frees != was_free) | (~frees & ~was_free & (np.abs(target_w - was_w) > CHANGE_W))
    low_w, high_w = last.low_w[rows], last.high_w[rows]
    limits = _differs(settled.low_w, low_w) | _differs(settled.high_w, high_w)
    in_force = ~frees | _is_limited(state, settled)
    runs_out = in_force & (last.valid_until_ns[rows] - now_ns < RENEW_NS)
    moved_mask: NDArray[np.bool_] = moved | (limits & (in_force | _was_limited(state, rows))) | runs_out
    return moved_mask


def _differs(new: NDArray[np.float64], old: NDArray[np.float64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (new == old) | (np.abs(new - old) <= CHANGE_W)
    return ~same


def _is_limited(state: DeskState, settled: Settled) -> NDArray[np.bool_]:
    fleet, rows = state.fleet, settled.rows
    limited: NDArray[np.bool_] = (settled.low_w > -fleet.max_absorb_w[rows]) | (
        settled.high_w < fleet.max_inject_w[rows]
    )
    return limited


def _was_limited(state: DeskState, rows: Rows) -> NDArray[np.bool_]:
    fleet, last = state.fleet, state.commands
    was: NDArray[np.bool_] = (last.low_w[rows] > -fleet.max_absorb_w[rows]) | (
        last.high_w[rows] < fleet.max_inject_w[rows]
    )
    return was


def wanted(settled: Settled) -> NDArray[np.float64]:
    """Return the target of each row (W), or NaN where nobody wants one: it runs freely within its limits."""
    target: NDArray[np.float64] = np.where(settled.winner >= 0, settled.target_w, np.nan)
    return target


def decide_commands(state: DeskState, settled: Settled, now_ns: int) -> tuple[list[Entry], CommandBatch | None]:
    """Return the fact and the batch of commands that put settled rows into force; none where nothing changed.

    With the kill switch pressed only commands in the safe direction pass: towards the safe power.
    """
    mask = changed(state, settled, now_ns)
    if state.is_killed:
        mask &= _is_safer(state, settled)
    if not mask.any():
        return [], None
    rows = settled.rows[mask]
    seq = state.seq + 1
    batch_id = derive("commands", state.epoch, seq, now_ns)
    causes = tuple(state.claims.batch_ids(settled.winner[mask], settled.limited_low[mask], settled.limited_high[mask]))
    batch = CommandBatch(
        batch_id,
        rows,
        wanted(settled)[mask],
        settled.low_w[mask],
        settled.high_w[mask],
        state.fleet.default_w[rows],
        now_ns,
        now_ns,
        now_ns + LEASE_NS,
        state.epoch,
        seq,
        causes,
    )
    return [Entry(batch_id, issued(batch), "", causes)], batch


def _is_safer(state: DeskState, settled: Settled) -> NDArray[np.bool_]:
    safe_w = state.fleet.safe_w[settled.rows]
    now_w = np.nan_to_num(state.fleet.power_w[settled.rows])
    wants_w = np.where(settled.winner >= 0, settled.target_w, safe_w)
    safer: NDArray[np.bool_] = np.abs(wants_w - safe_w) <= np.abs(now_w - safe_w)
    return safer


def issued(batch: CommandBatch) -> CommandsIssued:
    """Return the fact of a batch of commands."""
    return CommandsIssued(
        batch.id,
        Packed.of(batch.rows),
        Packed.of(batch.target_w),
        Packed.of(batch.low_w),
        Packed.of(batch.high_w),
        Packed.of(batch.revert_w),
        batch.issued_at_ns,
        batch.valid_from_ns,
        batch.valid_until_ns,
        batch.epoch,
        batch.seq,
    )
