"""Selects as leases: exclusive on (resource, function) in this interface and level, for seconds (rule R13)."""

from __future__ import annotations

from collections.abc import Iterable

from tieline.resource.level import Level

Key = tuple[str, str, Level]


class Selects:
    """Who holds which select, among all masters of one outstation. A stronger level has other keys: never blocked."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._held: dict[Key, tuple[str, float]] = {}

    def holder(self, key: Key, now_s: float) -> str | None:
        """Return who holds the key, or None."""
        name, until_s = self._held.get(key, ("", now_s))
        return name if until_s > now_s else None

    def blocked(self, keys: Iterable[Key], name: str, now_s: float) -> bool:
        """Return whether another than `name` holds any of the keys."""
        return any(self.holder(key, now_s) not in (None, name) for key in keys)

    def take(self, keys: Iterable[Key], name: str, now_s: float) -> None:
        """Give the keys to `name` for one lease; asking again doesn't prolong a lease that it holds."""
        for key in keys:
            if self.holder(key, now_s) is None:
                self._held[key] = name, now_s + self._lease_s

    def release(self, name: str) -> None:
        """Take all keys from `name`."""
        self._held = {key: held for key, held in self._held.items() if held[0] != name}
