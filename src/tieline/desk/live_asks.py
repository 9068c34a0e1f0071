"""Asks that were admitted: while they hold, and how each ended last."""

from __future__ import annotations

from dataclasses import dataclass

from tieline.desk.ports import Ask


@dataclass
class LiveAsk:
    """An admitted ask that still holds; `claims` is the batch that it became.

    `asked_ns` is when it was asked first, and `start_ns` since when it holds: what only says the same again, as a lease
    that is renewed, leaves both as they are.
    """

    ask: Ask
    claims: str
    record: str
    asked_ns: int
    start_ns: int


@dataclass
class EndedAsk:
    """An ask that holds no more: which, since when it held, when it ended, in whose words, and the record of that."""

    ask: Ask
    start_ns: int
    at_ns: int
    why: str
    record: str
