"""What one device asks of the link that carries it, and what the link counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tieline.links import life
from tieline.links.device.mqtt.setpoints import Setpoints

BROKER = "broker"
"""Who is in trouble where the connection is (`Counts.trouble`)."""


@dataclass
class Counts(life.Counts):
    """What a link did, with what only a broker's devices do."""

    accepted_by_broker: int = 0
    released: int = 0
    unreleased: int = 0


def _nothing() -> None:
    """What to do when nobody waits for an acknowledgement."""


class Carrier(life.Carrier, Protocol):
    """The link, as one of its devices sees it."""

    counts: Counts
    ack_s: float
    setpoints: Setpoints

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
