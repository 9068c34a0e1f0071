"""What holds a device that nobody names a power for: its share of a limit, its turn, or that nothing reaches it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.counted_loads import uncounted_says
from tieline.desk.scopes import live_ask
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
    needs_w = np.where(_is_car(state, rows), runs_on_w(state, rows), OFF_FRAC * state.fleet.max_absorb_w[rows])
    mask: NDArray[np.bool_] = _is_whole(state, rows) & (-low_w < needs_w)
    return mask


def runs_on_w(state: DeskState, rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return what each load draws at least while it runs (W, shape (n,)): six amperes for a car, else its size."""
    size_w = state.fleet.max_absorb_w[rows]
    return np.where(_is_car(state, rows), np.minimum(LEAST_CHARGE_W, size_w), size_w)


def _is_car(state: DeskState, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = state.fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]
    return mask


def _is_whole(state: DeskState, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which rows are loads that run at no less than some power, or not at all."""
    fleet = state.fleet
    mask: NDArray[np.bool_] = state.is_switched[rows] | _is_car(state, rows)
    return mask & (fleet.max_absorb_w[rows] > 0.0) & (fleet.max_inject_w[rows] <= 0.0)


def uncounted_by(state: DeskState, row: int, claim: Claim, now_ns: int) -> str:
    """Return in words that a group's limit holds down what a device gives while what loads there draw counts for
    nothing; empty: it doesn't."""
    live, held_w = live_ask(state, claim), float(state.fleet.max_inject_w[row]) - claim.high
    return uncounted_says(state, live.ask, now_ns) if live and _is_group(state, claim) and held_w > 1.0 else ""


def too_small(state: DeskState, row: int, claim: Claim) -> dict[str, Any] | None:
    """Return what a group's limit leaves a load to run on where that is too little for it alone; None: it suffices.

    Its turn can't come under such a limit but by what others of the group give. A limit on what a group's devices give
    bounds no draw.
    """
    live, fleet = live_ask(state, claim), state.fleet
    if live is None or not np.isfinite(claim.low) or not _is_group(state, claim):
        return None
    if fleet.kind_of(claim.scope) is Kind.GENERATION:
        return None
    rows, whole_w = fleet.leaves(claim.scope), -live.ask.low
    if whole_w >= float(runs_on_w(state, np.array([row], np.int32))[0]):
        return None
    others_give = bool((fleet.max_inject_w[rows] > 0.0).any())
    return {"on": claim.scope, "leaves_w": max(whole_w, 0.0), "others_give": others_give}


def share_of(state: DeskState, row: int, low_w: float, now_ns: int) -> dict[str, Any] | None:
    """Return of which limit a device that nobody names a power for has a share, and whether it waits for its turn.

    `held_by` are all limits of which each alone holds it off, `too_small` those under which no turn can come.
    None: no limit takes any of its rating.
    """
    claim = binding(state, row, now_ns)
    if claim is None:
        return None
    rows = np.array([row], np.int32)
    limits, is_off = limits_on(state, row, now_ns), bool(held_off(state, rows, np.array([low_w]))[0])
    by = [one for one in limits if is_off and held_off(state, rows, np.array([one.low]))[0]]
    never = [told for one in limits if is_off and (told := too_small(state, row, one)) is not None]
    return {
        "claim": batch_of(claim.id), "on": claim.scope or state.fleet.id_of(row), "is_share": _is_group(state, claim),
        "waits_for_turn": is_off and not never and all(_is_group(state, one) for one in by or [claim]), "off": is_off,
        "held_by": [{"claim": batch_of(one.id), "on": one.scope or state.fleet.id_of(row)} for one in by],
        "runs_on_w": float(runs_on_w(state, rows)[0]) if is_off else None, "too_small": never,
    }  # fmt: skip


def off_says(share: dict[str, Any], resource: str) -> str:
    """Return in words what holds a load off, and whether it waits for its turn, as an answer of `share_of` has it.

    >>> share = {"on": "f", "held_by": [{"on": "f"}, {"on": "s"}], "waits_for_turn": True, "too_small": []}
    >>> off_says(share, "plug")
    'its shares of limits on f and s hold it off, and it waits for its turn'
    """
    names = list(dict.fromkeys(one["on"] for one in share["held_by"])) or [share["on"]]
    groups = [name for name in names if name != resource]
    parts = [f"its share of a limit on {groups[0]}"] if len(groups) == 1 else []
    parts = [f"its shares of limits on {' and '.join(groups)}"] if len(groups) > 1 else parts
    parts += ["a limit of its own"] if len(groups) < len(names) else []
    text = f"{' and '.join(parts)} {'holds' if len(names) == 1 else 'hold'} it off"
    if share["waits_for_turn"]:
        return f"{text}, and it waits for its turn"
    runs = f"it runs on {share['runs_on_w']:.0f} W or not at all"
    if not share["too_small"]:
        return f"{text}: {runs}"
    leaves = " and ".join(
        f"the limit on {one['on']} leaves {one['leaves_w']:.0f} W"
        + (" but for what others there give" if one["others_give"] else "")
        for one in share["too_small"]
    )
    return f"{text}, and no turn can come: {runs}, and {leaves}"


ONLY_POWERS = "it can be told a power, but no limit on what it draws"
"""Why a limit alone holds a device at one power (`resource.command.HELD`)."""


def power_says(power_w: float) -> str:
    """Return at which power a device is held, in words.

    >>> power_says(4000.0), power_says(-250.0), power_says(0.0)
    ('giving 4,000 W', 'drawing 250 W', 'at 0 W')
    """
    amount = f"{abs(power_w):,.0f}"
    return "at 0 W" if amount == "0" else f"{'giving' if power_w > 0.0 else 'drawing'} {amount} W"


def batch_of(claim: str) -> str:
    """Return the id of the batch that a claim's id names."""
    return claim.partition("/")[0]


def _is_group(state: DeskState, claim: Claim) -> bool:
    return bool(claim.scope) and state.fleet.kind_of(claim.scope) in GROUP_KINDS


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
