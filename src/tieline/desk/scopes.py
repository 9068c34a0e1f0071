"""Under which scope an ask's claims live, and which ask claims share out."""

from __future__ import annotations

from tieline.desk.facts import ClaimsPlaced
from tieline.desk.ports import Ask
from tieline.desk.state import AskKey, DeskState, LiveAsk
from tieline.fleet.claims import ClaimBatch
from tieline.resource.claim import Claim


def scope_of(state: DeskState, ask: Ask) -> str:
    """Return the scope of an ask's claims: its resource, or none where a journal of before scopes placed them."""
    places = state.claims.has_scope(ask.source, ask.program, ask.quantity, ask.resource)
    return ask.resource if places else ""


def key_of_ask(claim: Claim | ClaimBatch | ClaimsPlaced) -> AskKey:
    """Return the key of the ask that a claim, or a batch of them, shares out, if one asked for it."""
    return (claim.source, claim.program, claim.scope, str(claim.quantity))


def live_ask(state: DeskState, claim: Claim | ClaimBatch | ClaimsPlaced) -> LiveAsk | None:
    """Return the ask that a claim, or a batch of them, shares out; None: nobody asked for it, as in a dispatch."""
    return state.asks.get(key_of_ask(claim))


def since_ns(state: DeskState, claim: Claim | ClaimBatch) -> int:
    """Return since when what a claim shares out holds.

    A limit's claims are placed afresh whenever its caps move or its lease is renewed; it was asked before that.
    """
    live = live_ask(state, claim)
    return claim.start_ns if live is None else live.start_ns
