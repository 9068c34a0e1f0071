"""The claims that caps of a group's limit become where they have moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced
from tieline.desk.nested import Layer
from tieline.desk.own_limits import Own
from tieline.desk.packed import Packed
from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.desk.worth import NESTED_FRAC, is_worth
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


def least_frac(state: DeskState, live: LiveAsk, least_frac: float) -> float:
    """Return which share is worth a command: any, of a limit whose growth is withheld, or was until now."""
    return 0.0 if live.record in state.withheld else least_frac


def placed_anew(
    state: DeskState,
    layer: Layer,
    live: LiveAsk,
    rows: Rows,
    was: tuple[Floats, Floats],
    now_ns: int,
    own: Own | None,
) -> list[Entry]:
    """Return the facts that place the caps of a limit that are no longer those that were."""
    ask, low, high = live.ask, layer.low[rows], layer.high[rows]
    is_paid = own is not None and own.at(rows).is_owed(was, (low, high))
    if not is_paid and not is_worth(state, ask, rows, (low, high), was, least_frac(state, live, NESTED_FRAC)):
        return []
    scope, who = scope_of(state, ask), Packed.of(rows.astype(np.int32))
    # Two beats may fall on one instant: an id of the instant alone would end these claims and place none.
    batch = derive("claims", ask.source, ask.program, ask.resource, ask.quantity.value, ask.version, state.revision)
    ended = ClaimsEnded(ask.source, ask.program, ask.quantity.value, ClaimEnd.SUPERSEDED.value, live.claims, who, scope)
    placed = ClaimsPlaced(
        batch, ask.source, ask.principal, ask.program, int(ask.level), ask.primacy, ask.quantity.value, ask.kind.value,
        ask.because, ask.version, now_ns, now_ns, ask.end_ns, who, Packed.of(low), Packed.of(high),
        Packed.of(np.zeros(len(rows))), scope=scope, randomise_s=ask.randomise_s,
    )  # fmt: skip
    return [
        Entry(derive("ended", batch), ended, ask.resource, (live.record,)),
        Entry(batch, placed, ask.resource, (live.record,)),
    ]
