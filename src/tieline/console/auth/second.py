"""Dangerous acts wait for a second person: another name, another session, exactly what was asked, within ten minutes.

An act that waits has done nothing yet. It is kept in memory: a restart forgets it, which is the safe direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from tieline.console.auth.roles import Action
from tieline.resource.claim import Refusal

LASTS_S, MOST_WAITING = 600.0, 100
_RULE = "two people"


class Waiting(Struct, frozen=True):
    """An act that waits; `payload` is the SHA-256 of what was asked, and the second person sends it back."""

    id: str
    action: str
    subject: str
    by: str
    why: str
    payload: str
    body: dict[str, str]
    left_minutes: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """All that is needed to do an act later: its row of the route table, its path and its body."""

    route: Any
    path: Mapping[str, str]
    subject: str
    body: Any
    by: str
    session: str
    why: str
    payload: str
    until_s: float


def payload_hash(action: Action, subject: str, body: Any) -> str:
    """Return the SHA-256 of an act: what the second person confirms is this and nothing else."""
    asked = [action.value, subject, None if body is None else msgspec.to_builtins(body)]
    return sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


class SecondPerson:
    """Keeps the acts that wait."""

    def __init__(self, monotonic_s: Callable[[], float], secret: Callable[[], str]) -> None:
        """Make an empty list.

        Args:
            monotonic_s: Gives seconds for the ten minutes.
            secret: Gives a name that nobody guesses.
        """
        self._monotonic_s, self._secret = monotonic_s, secret
        self._held: dict[str, Held] = {}

    def ask(
        self, route: Any, path: Mapping[str, str], subject: str, body: Any, by: str, session: str, why: str
    ) -> Waiting | Refusal:
        """Keep an act until a second person confirms it, and return what waits."""
        self._drop_old()
        if len(self._held) >= MOST_WAITING:
            return Refusal("too many acts wait already", "waiting", str(len(self._held)), str(MOST_WAITING), rule=_RULE)
        payload = payload_hash(route.action, subject, body)
        held = Held(route, dict(path), subject, body, by, session, why, payload, self._monotonic_s() + LASTS_S)
        name = self._secret()
        self._held[name] = held
        return self._told(name, held)

    def take(self, name: str, payload: str, by: str, session: str) -> Held | Refusal:
        """Return the act for a second person to do now, and let it wait no longer; or why it stays."""
        self._drop_old()
        held = self._held.get(name)
        if held is None:
            return Refusal(
                "no such act waits: it is done, too old or was never asked", "waiting", name[:80], rule=_RULE
            )
        if by == held.by or session == held.session:
            return Refusal("a second person must confirm it", "by", by, f"anyone but {held.by}", rule=_RULE)
        if payload != held.payload:
            return Refusal("not what was asked", "payload", payload[:64], held.payload, rule=_RULE)
        del self._held[name]
        return held

    def drop(self, name: str) -> bool:
        """Take an act back, and return whether it waited."""
        return self._held.pop(name, None) is not None

    def void(self, action: Action) -> None:
        """Forget what waits of an action: what it was asked of is no more."""
        self._held = {name: held for name, held in self._held.items() if held.route.action is not action}

    def waiting(self) -> list[Waiting]:
        """Return what waits, the oldest first."""
        self._drop_old()
        return [self._told(name, held) for name, held in self._held.items()]

    def _drop_old(self) -> None:
        now_s = self._monotonic_s()
        for name in [name for name, held in self._held.items() if now_s >= held.until_s]:
            del self._held[name]

    def _told(self, name: str, held: Held) -> Waiting:
        body = (
            {} if held.body is None else {key: str(value) for key, value in msgspec.structs.asdict(held.body).items()}
        )
        left = math.ceil(round(held.until_s - self._monotonic_s(), 3) / 60)
        return Waiting(name, held.route.action.value, held.subject, held.by, held.why, held.payload, body, left)
