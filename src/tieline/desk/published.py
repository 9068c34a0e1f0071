"""What a desk has of each feeder's operating envelopes: the newest set, in columns, and whether it was taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.envelope_facts import EnvelopesTaken, EnvelopesWithdrawn
from tieline.desk.fact import Fact

if TYPE_CHECKING:
    from tieline.desk.state import DeskState


@dataclass(frozen=True)
class Published:
    """The newest set of a feeder; `withdrawn_by` is empty while it counts. `record` is the one that brought it."""

    fact: EnvelopesTaken
    record: str
    withdrawn_by: str = ""

    @property
    def version(self) -> int:
        """Its version: a set of another has to be newer."""
        return self.fact.version

    @property
    def start_ns(self) -> NDArray[np.int64]:
        """When each interval begins (t,)."""
        return self.fact.start_ns.array()

    @property
    def end_ns(self) -> NDArray[np.int64]:
        """When each interval ends (t,)."""
        return self.fact.end_ns.array()

    @property
    def low_w(self) -> NDArray[np.float64]:
        """The lower bounds (W; (t, c))."""
        return self.fact.low_w.array().reshape(-1, len(self.fact.customers))

    @property
    def high_w(self) -> NDArray[np.float64]:
        """The upper bounds (W; (t, c))."""
        return self.fact.high_w.array().reshape(-1, len(self.fact.customers))


def note_taken(state: DeskState, record_id: str, fact: EnvelopesTaken) -> None:
    """Let a set take the place of the one before it."""
    state.envelopes[fact.feeder] = Published(fact, record_id)


def note_withdrawn(state: DeskState, record_id: str, fact: EnvelopesWithdrawn) -> None:
    """Note that a feeder's set was taken back."""
    known = state.envelopes.get(fact.feeder)
    if known is not None and known.version == fact.version:
        state.envelopes[fact.feeder] = replace(known, withdrawn_by=fact.by or "nobody named")


CHANGES: dict[type[Fact], Callable[[DeskState, str, Any], None]] = {
    EnvelopesTaken: note_taken,
    EnvelopesWithdrawn: note_withdrawn,
}
"""What each fact of envelopes changes."""
