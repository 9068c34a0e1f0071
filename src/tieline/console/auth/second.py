"""Dangerous acts wait for a second person: another name, another session, exactly what was asked, within ten minutes.

An act that waits has done nothing yet. It is kept in memory: a restart forgets it, which is the safe direction, and
says that it is to be asked again (`node.forgotten`). What became of those that wait no more is known for a while, so
that who asked is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tieline.console.auth.roles import Action
from tieline.resource.claim import Refusal

LASTS_S, MOST_WAITING, MOST_ENDED = 600.0, 100, 1_000
WAITS, WAITING_KEY = "waits for a second person", "act"
"""What the record of an act says that waits, and under which name it tells by which id: first of all, so that no long
body cuts it off."""
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


class Became(Struct, frozen=True):
    """What became of an act that waited: `by` is who decided; `says` why it was not done though it was confirmed."""

    state: Literal["waiting", "confirmed", "failed", "refused", "over"]
    by: str = ""
    says: str = ""


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
        self._ended: dict[str, Became] = {}  # the oldest first

    def ask(
        self, route: Any, path: Mapping[str, str], subject: str, body: Any, by: str, session: str, why: str
    ) -> Waiting | Refusal:
        """Keep an act until a second person confirms it, and return what waits; asked again, it names what waits."""
        self._drop_old()
        payload = payload_hash(route.action, subject, body)
        for name, held in self._held.items():
            # Kept beside it, either would be done by itself: made 30 minutes longer twice, an event lasts an hour more.
            if held.payload == payload and held.route.path == route.path and held.path == path:
                where = f"the console's Alarms screen, or POST /api/v1/waiting/{name}/confirm with its payload"
                reason = f"the same act waits already, asked by {held.by}: a second person confirms that one ({where})"
                return Refusal(reason, "waiting", name, "an act that doesn't wait yet")
        if len(self._held) >= MOST_WAITING:
            return Refusal("too many acts wait already", "waiting", str(len(self._held)), str(MOST_WAITING), rule=_RULE)
        held = Held(route, dict(path), subject, body, by, session, why, payload, self._monotonic_s() + LASTS_S)
        name = self._secret()
        self._held[name] = held
        return self._told(name, held)

    def take(self, name: str, payload: str, by: str, session: str) -> Held | Refusal:
        """Return the act for a second person to do now, and let it wait no longer; or why it stays.

        `became` tells of it what `decided` is told next.
        """
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
        self._end(name, Became("waiting"))
        return held

    def decided(self, name: str, by: str, says: str = "") -> None:
        """Note that an act that was confirmed is done; or why it was not (`says`)."""
        self._end(name, Became("failed" if says else "confirmed", by, says))

    def drop(self, name: str, by: str) -> bool:
        """Take an act back, and return whether it waited."""
        waited = name in self._held
        if waited:
            self._end(name, Became("refused", by))
        return waited

    def void(self, action: Action) -> None:
        """Forget what waits of an action: what it was asked of is no more."""
        for name in [name for name, held in self._held.items() if held.route.action is action]:
            self._end(name, Became("over", says="what it was asked of is no more"))

    def became(self, name: str) -> Became | None:
        """Return what became of an act; None: it is not known (any more)."""
        self._drop_old()
        return Became("waiting") if name in self._held else self._ended.get(name)

    def waiting(self) -> list[Waiting]:
        """Return what waits, the oldest first."""
        self._drop_old()
        return [self._told(name, held) for name, held in self._held.items()]

    def _drop_old(self) -> None:
        now_s = self._monotonic_s()
        for name in [name for name, held in self._held.items() if now_s >= held.until_s]:
            self._end(name, Became("over", says="nobody confirmed it in time"))

    def _end(self, name: str, became: Became) -> None:
        self._held.pop(name, None)
        self._ended[name] = became
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def _told(self, name: str, held: Held) -> Waiting:
        body = (
            {} if held.body is None else {key: str(value) for key, value in msgspec.structs.asdict(held.body).items()}
        )
        left = math.ceil(round(held.until_s - self._monotonic_s(), 3) / 60)
        return Waiting(name, held.route.action.value, held.subject, held.by, held.why, held.payload, body, left)
