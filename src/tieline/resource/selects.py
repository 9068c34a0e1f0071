"""Selects: exclusive leases, of five seconds where nobody says otherwise, on what is about to be operated (rule R13).

A select belongs to one interface and level. It keeps other askers of the same interface and level out; a stronger level
has keys of its own and is never blocked. It is kept in memory alone: a restart forgets it, which is the safe direction,
as an operate without its select is refused by the interface that asks for one.
"""

from __future__ import annotations

from tieline.resource.claim import Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import SECOND_NS

SELECT_S = 5.0
MOST_SELECT_S = 60.0
MOST_SELECTS = 10_000
Key = tuple[str, str, Quantity, Level]  # interface, resource, quantity, level


class Selects:
    """Who holds which select, until when."""

    def __init__(self, most: int = MOST_SELECTS) -> None:
        self._most = most
        self._held: dict[Key, tuple[str, int]] = {}

    def holder(self, key: Key, now_ns: int) -> str | None:
        """Return who holds a key, or None."""
        name, until_ns = self._held.get(key, ("", 0))
        return name if now_ns < until_ns else None

    def take(self, key: Key, name: str, now_ns: int, lease_s: float = SELECT_S) -> Refusal | None:
        """Give a key to `name` for `lease_s`, or say who has it; asking again doesn't prolong a lease that it holds.

        The lease is the interface's own: a master whose select still stands there must not find another in its place.
        """
        refusal = self.blocks(key, name, now_ns)
        if refusal is not None or self.holder(key, now_ns) == name:
            return refusal
        if len(self._held) >= self._most:
            self._held = {k: held for k, held in self._held.items() if now_ns < held[1]}
        if len(self._held) >= self._most:
            return Refusal("too many selects stand", "select", str(len(self._held)), str(self._most), rule="R13")
        self._held[key] = name, now_ns + int(min(lease_s, MOST_SELECT_S) * SECOND_NS)
        return None

    def blocks(self, key: Key, name: str, now_ns: int) -> Refusal | None:
        """Return the refusal of an operate by `name` where another holds the key, else None."""
        holder = self.holder(key, now_ns)
        if holder is None or holder == name:
            return None
        return Refusal("selected by another", "resource", key[1], f"its select of {key[2]}", holder, rule="R13")

    def release(self, name: str, key: Key | None = None) -> int:
        """Take one key, or all, from `name`, and return how many it held."""
        gone = [k for k, held in self._held.items() if held[0] == name and key in (None, k)]
        for k in gone:
            del self._held[k]
        return len(gone)
