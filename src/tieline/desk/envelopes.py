"""What resources, pools and feeders can be called for now: the desk's columns, weighed by `fleet.capability`.

Theory of operation. Power is `headroom`, the measure that dispatch goes by: from what each device would do uncalled,
within the limits of whoever is stronger than a market, above what an owner keeps back, and nothing of those who are
out, silent, barred or behind the kill switch. Limits on groups are shared out anew for each length, as who runs empty
leaves his room to others. So what is published for a length is what dispatch could give over it, no second measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.beside import left_beside, whole_or_none
from tieline.desk.capability_views import HeldView, NoticedView
from tieline.desk.ends import least_within_w
from tieline.desk.events import REBOUND_FRAC
from tieline.desk.redispatch import left_wh, serving, unlimited
from tieline.desk.response import seconds_to_reach
from tieline.desk.state import DeskState
from tieline.fleet.able import SUSTAIN_H, takes_wh
from tieline.fleet.capability import HOUR_S, Capability, Envelopes, Floats, envelopes
from tieline.fleet.columns import KINDS
from tieline.resource.level import Level

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
PROGRAM = "energy"
CONFIDENCE_FRAC = 0.95
_REBOUND = np.array([REBOUND_FRAC.get(kind, 0.0) for kind in KINDS])


@dataclass(frozen=True, slots=True, eq=False)
class Able:
    """What rows can be called for at one instant: nothing in it changes as the desk goes on.

    Attributes:
        rows: The rows, each once and rising; shape (n,).
        lasts_s: The lengths that are asked.
        up: What each can do upwards, length by length.
        down: What each can do downwards, whatever the length.
        may_serve: Which of them can be called; shape (n,).
    """

    rows: Rows
    lasts_s: tuple[float, ...]
    up: tuple[Capability, ...]
    down: Capability
    may_serve: Mask

    def of_groups(self, members: Sequence[Rows], notices_s: Sequence[float]) -> dict[str, Envelopes]:
        """Return the envelopes of groups, up and down; a row may be in several of them.

        Args:
            members: The rows of each group, all among `rows`.
            notices_s: How much notice there is.
        """
        at = np.searchsorted(self.rows, np.concatenate([np.zeros(0, np.int32), *members]))
        of = np.repeat(np.arange(len(members)), [len(each) for each in members])
        up = [
            envelopes(_taken(can, at), of, len(members), [last_s], notices_s)
            for can, last_s in zip(self.up, self.lasts_s, strict=True)
        ]
        down = envelopes(_taken(self.down, at), of, len(members), self.lasts_s, notices_s)
        return {"up": _joined(up), "down": down}


def able(state: DeskState, rows: Rows, lasts_s: Sequence[float], now_ns: int) -> Able:
    """Return what rows can be called for now, for each length; `rows` rise, each once."""
    may_serve = serving(state, rows, state.may_serve(PROGRAM, rows), now_ns) & (not state.is_killed)
    fleet, gives_wh = state.fleet, left_wh(state, rows, now_ns)
    whens = seconds_to_reach(state, rows), fleet.ramp_w_per_s[rows]
    shares = _REBOUND[fleet.kinds[rows]], np.clip(state.reach_frac[rows], 0.0, 1.0)
    up_w, down_w = _each_w(state, rows, may_serve, now_ns)
    up = []
    for last_s in lasts_s:
        # As `headroom` of that length, whose other parts are the same for each: of a million devices they take long.
        held_w = np.minimum(up_w, gives_wh * (HOUR_S / last_s))
        up.append(Capability(left_beside(state, rows, held_w, Level.MARKET, now_ns), gives_wh, *whens, *shares))
    return Able(rows, tuple(lasts_s), tuple(up), Capability(down_w, takes_wh(fleet, rows), *whens, *shares), may_serve)


def _each_w(state: DeskState, rows: Rows, may_serve: Mask, now_ns: int) -> tuple[Floats, Floats]:
    """Return how far each row can move by itself (W), as `headroom` has it before groups' limits are shared out."""
    base_w = state.base_w[rows]
    free_w, down_w = unlimited(state, rows, SUSTAIN_H, now_ns)
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    up_w = whole_or_none(state, rows, np.minimum(free_w, np.maximum(high_w - base_w, 0.0)), free_w)
    up_w, least_w = np.where(may_serve, up_w, 0.0), least_within_w(state, rows, low_w)
    return up_w, np.where(may_serve, np.minimum(down_w, np.maximum(base_w - least_w, 0.0)), 0.0)


def _taken(can: Capability, at: NDArray[np.int64]) -> Capability:
    return Capability(
        can.power_w[at], can.energy_wh[at], can.notice_s[at], can.ramp_w_per_s[at], can.rebound_frac[at],
        can.reach_frac[at],
    )  # fmt: skip


def _joined(parts: Sequence[Envelopes]) -> Envelopes:
    """Return envelopes of one length each as those of all lengths; what has no length is that of the first."""
    lasts, power, firm, rebound = (
        np.concatenate([getattr(part, name) for part in parts], axis=-1)
        for name in ("lasts_s", "power_w", "firm_w", "rebound_wh")
    )
    one = parts[0]
    return Envelopes(lasts, one.notices_s, power, firm, one.ramped_s, rebound, one.energy_wh, one.resources)


def noticed(found: Envelopes, group: int) -> tuple[NoticedView, ...]:
    """Return the envelopes of one group as views."""
    return tuple(
        NoticedView(
            float(notice_s), int(found.resources[group, m]), _known(found.energy_wh[group, m]),
            _known(found.ramped_s[group, m]),
            tuple(_held(found, (group, m, k)) for k in range(len(found.lasts_s))),
        )
        for m, notice_s in enumerate(found.notices_s)
    )  # fmt: skip


def _held(found: Envelopes, at: tuple[int, int, int]) -> HeldView:
    last_s = float(found.lasts_s[at[-1]])
    return HeldView(last_s, float(found.power_w[at]), float(found.firm_w[at]), float(found.rebound_wh[at]))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
