"""What one device asks of the link that carries it, and what the link counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tieline.desk.ports import LastHop
from tieline.links.device.telling import Teller
from tieline.times import Clock


@dataclass
class Counts:
    """What a link did, for its health and the operator."""

    sent: int = 0
    received: int = 0
    accepted_by_broker: int = 0
    acknowledged: int = 0
    observed: int = 0
    rejected: int = 0
    expired: int = 0
    displaced: int = 0
    unconfirmed: int = 0
    contended: int = 0
    released: int = 0
    unreleased: int = 0
    unread: int = 0
    last_error: str = ""
    delays_s: list[float] = field(default_factory=list)


def _nothing() -> None:
    """What to do when nobody waits for an acknowledgement."""


class Carrier(Protocol):
    """The link, as one of its devices sees it."""

    last_hop: LastHop | None
    counts: Counts
    clock: Clock
    teller: Teller
    ack_s: float
    speed: float

    @property
    def is_live(self) -> bool:
        """Whether messages can go out now."""
        ...

    def publish(self, topic: str, payload: bytes, on_ack: Callable[[], None] = _nothing) -> str:
        """Send; returns the frame in hex. Raises LinkDown."""
        ...

    def queue(self, key: int, speak: Callable[[], None]) -> None:
        """Call `speak` when the rate limit allows; a key waits once."""
        ...

    def alarm(self, text: str) -> None:
        """Tell the operator."""
        ...
