"""Under which scope an ask's claims live."""

from __future__ import annotations

from tieline.desk.ports import Ask
from tieline.desk.state import DeskState


def scope_of(state: DeskState, ask: Ask) -> str:
    """Return the scope of an ask's claims: its resource, or none where a journal of before scopes placed them."""
    places = state.claims.has_scope(ask.source, ask.program, ask.quantity, ask.resource)
    return ask.resource if places else ""
