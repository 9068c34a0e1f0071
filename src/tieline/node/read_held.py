"""What holds a device that nobody names a power for: its share of a limit, its turn, or that nothing reaches it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE
from tieline.resource.arbitrate import rank
from tieline.resource.claim import Claim, ClaimKind, Quantity
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import iso

OFF_FRAC = 0.5
"""Held to less than this share of its draw what is on or off is off (`desk.wants`)."""


class Heard(NamedTuple):
    """When a device's power was taken last, and the quality of that; at 0 it was never heard."""

    taken_ns: int
    quality: int

    @staticmethod
    def of(state: DeskState, row: int) -> Heard:
        """Return what a desk's columns say."""
        return Heard(int(state.fleet.taken_at_ns[row]), int(state.fleet.quality[row]))


def limits_on(state: DeskState, row: int, now_ns: int) -> list[Claim]:
    """Return the limits on a device's power that are in force, its own and its caps of groups', the strongest first."""
    limits = [
        claim for claim in state.claims.claims_on(row)
        if claim.kind is ClaimKind.LIMIT and claim.quantity is Quantity.P and state.claims.holds_at(claim, now_ns)
    ]  # fmt: skip
    return sorted(limits, key=rank)


def binding(state: DeskState, row: int, now_ns: int) -> Claim | None:
    """Return the limit that leaves a device least of its rating, a group's or its own; None: none takes any of it."""
    absorb_w, inject_w = float(state.fleet.max_absorb_w[row]), float(state.fleet.max_inject_w[row])
    limits = limits_on(state, row, now_ns)

    def takes_w(claim: Claim) -> float:
        return max(claim.low + absorb_w, 0.0) + max(inject_w - claim.high, 0.0)

    tightest = max(limits, key=lambda claim: (takes_w(claim), -claim.level, claim.id), default=None)
    return None if tightest is None or takes_w(tightest) <= 1.0 else tightest


def held_off(state: DeskState, rows: NDArray[np.int32], low_w: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which loads are off as their limits leave them less than they draw, shape (n,): they wait for their turn.

    Args:
        state: The desk's.
        rows: Which.
        low_w: What all limits together leave each of them to draw (W, negative); shape (n,).
    """
    fleet, size_w = state.fleet, state.fleet.max_absorb_w[rows]
    is_car = fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]
    needs_w = np.where(is_car, np.minimum(LEAST_CHARGE_W, size_w), OFF_FRAC * size_w)
    mask: NDArray[np.bool_] = (state.is_switched[rows] | is_car) & (size_w > 0.0) & (-low_w < needs_w)
    return mask & (fleet.max_inject_w[rows] <= 0.0)


def share_of(state: DeskState, row: int, low_w: float, now_ns: int) -> dict[str, Any] | None:
    """Return of which limit a device that nobody names a power for has a share, and whether it waits for its turn.

    None: no limit takes any of its rating.
    """
    claim = binding(state, row, now_ns)
    if claim is None:
        return None
    is_group = bool(claim.scope) and state.fleet.kind_of(claim.scope) in GROUP_KINDS
    is_off = bool(held_off(state, np.array([row], np.int32), np.array([low_w]))[0])
    return {
        "claim": claim.id.partition("/")[0], "on": claim.scope or state.fleet.id_of(row), "is_share": is_group,
        "waits_for_turn": is_off and is_group, "off": is_off,
    }  # fmt: skip


def out_of_reach(state: DeskState, row: int, heard: Heard, now_ns: int) -> dict[str, Any] | None:
    """Return since when nothing is heard of a device, and what it last took and until when; None: it is heard.

    One that was never heard is no lost one: many have no meter. What it was told since it was heard last it may not
    have heard; what it acknowledged holds by its own timer until the lease of that is over.
    """
    fleet, last = state.fleet, state.commands
    if not heard.taken_ns or not heard.quality & int(UNFIT_FOR_DISPATCH):
        return None
    until_ns = int(last.leased_until_ns[row])
    took = None if not until_ns else {
        "target_w": _known(last.leased_w[row]), "low_w": _known(last.leased_low_w[row]),
        "high_w": _known(last.leased_high_w[row]), "until": iso(until_ns), "holds": until_ns > now_ns,
    }  # fmt: skip
    told_ns = int(last.valid_until_ns[row])
    return {
        "since": iso(heard.taken_ns), "took": took,
        "told_until": iso(told_ns) if told_ns > max(until_ns, now_ns) else None,
        "default_w": float(fleet.default_w[row]),
    }  # fmt: skip


def lost_says(lost: dict[str, Any]) -> str:
    """Return in words that a device is out of reach, as an answer of `out_of_reach` has it."""
    took = lost["took"]
    if took is None:
        return f"; out of reach: not heard since {lost['since']}"
    how = "holds until" if took["holds"] else "ended at"
    return f"; out of reach: not heard since {lost['since']}, and what it took last {how} {took['until']}"


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
