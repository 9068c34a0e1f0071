"""Webhooks: each subscriber is told in order, tried again with growing delays, and never holds up another.

Theory of operation. A change finds its subscribers by what they subscribed to, whom they belong to and what their
targets reach, not by asking all of them. Each callback URL of a subscription has one queue and one sender; a queue that
is full lets its oldest go, and a message that could not be delivered in `tries` goes too: a poll brings the VEN up to
date. Who failed last time takes his turn among those who did: else all would wait for hundreds that never answer, as
where a street is without power. Just before each try the message is asked whether it still may leave: what waited while
the kill switch was pressed, or its event withdrawn, is dropped. Nothing of an answer is read but its status, redirects
are not followed, and neither token nor body is ever logged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
import structlog
from msgspec import Struct

from tieline.links.endpoint.openadr.access import READ_ALL, Bearer, Tokens, may, shown
from tieline.links.endpoint.openadr.book import Book, Thing, wants
from tieline.links.endpoint.openadr.callbacks import Origin, is_allowed
from tieline.links.endpoint.openadr.query import Hides
from tieline.rim.http import HttpClient, TooLong, Unanswered
from tieline.rim.supervise import Backoff, Supervisor
from tieline.wire.openadr3.objects import TYPES

_log = structlog.get_logger("tieline.vtn")
Gate = Callable[[str, str, str], bool]
"""Whether an object of a kind may still go to a client: (client, kind, id)."""
AT_ONCE, FAILING_AT_ONCE = 64, 32
"""So many tries run at once, and so many beside them to callbacks whose last one failed."""
MOST_ANSWER = 4_096


class WebhookLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """How patient the sender is: seconds for an answer, tries a message, seconds between them, messages that wait."""

    answer_s: float = 10.0
    tries: int = 12
    first_s: float = 0.5
    cap_s: float = 60.0
    waiting: int = 1_000


class _Message(Struct, frozen=True):
    """What waits for a callback."""

    body: bytes
    kind: str
    id: str
    ends: bool
    """Whether it tells of an end, which nothing holds back."""


class Notifier:
    """Tells subscribers of changes."""

    def __init__(
        self,
        book: Book,
        tokens: Tokens,
        supervisor: Supervisor,
        client: HttpClient,
        origins: tuple[Origin, ...],
        rng: np.random.Generator,
        limits: WebhookLimits,
        gate: Gate = lambda client, kind, thing_id: True,
        hides: Hides = lambda client, kind, thing: False,
    ) -> None:
        self._gate, self._hides = gate, hides
        self._book, self._tokens, self._supervisor, self._client = book, tokens, supervisor, client
        self._origins, self._rng, self._limits = origins, rng, limits
        self._backoff = Backoff(limits.first_s, limits.cap_s)
        self._waiting: dict[tuple[str, str], deque[_Message]] = {}
        self._places, self._failing_places = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(FAILING_AT_ONCE)
        self._failing: set[tuple[str, str]] = set()
        self.delivered: list[Callable[[str, str, str], None]] = []
        self.notified = self.lost = self.barred = 0

    def tell(self, kind: str, operation: str, thing: Thing, program: str | None = None) -> None:
        """Tell who may know of a change, and wished to. `program`: whose the object was, where its event is gone."""
        whose = program or self._book.program_of(kind, thing)
        # Definition, "Object Privacy": a notification is held to the same rules as a read by the subscription's owner.
        for subscription in self._subscribers(kind, thing):
            seen = self._seen(subscription, kind, thing, whose)
            # An end is told all the same: it frees who may have had the event before it was kept from him.
            is_hidden = operation != "DELETE" and self._hides(subscription["clientID"], kind, thing)
            if seen is None or is_hidden:
                continue
            for wish in subscription["objectOperations"]:
                if TYPES[kind] in wish["objects"] and wants(wish, operation):
                    self._queue(subscription, wish, kind, operation, seen)

    def _subscribers(self, kind: str, thing: Thing) -> Iterable[Thing]:
        """Return the subscriptions whose owner may see an object, found by owner and target."""
        targets = thing.get("targets")
        if kind in ("programs", "events") and not targets:
            return self._book.targeted("subscriptions", TYPES[kind])
        clients = dict.fromkeys(self._tokens.readers_of_all)
        if "clientID" in thing:
            clients[thing["clientID"]] = None
        elif targets:
            clients |= {client: None for target in targets for client in self._book.holders(target)}
        return [s for client in clients for s in self._book.owned("subscriptions", client)]

    def _seen(self, subscription: Thing, kind: str, thing: Thing, whose: str | None) -> Thing | None:
        """Return an object as a subscriber may see it, or None; a subscription's own program and targets narrow it."""
        client = subscription["clientID"]
        owner = Bearer(client, self._tokens.scopes_of(client))
        if not may(owner, "GET", kind):
            return None
        program, wanted = subscription.get("programID"), subscription.get("targets")
        if program is not None and program != whose:
            return None
        if wanted and not set(wanted) & set(thing.get("targets") or ()):
            return None
        granted = self._book.granted(client)
        asked = frozenset(wanted) if wanted and READ_ALL not in owner.scopes else granted
        return shown(owner, kind, thing, granted, asked)

    def _queue(self, subscription: Thing, wish: Thing, kind: str, operation: str, thing: Thing) -> None:
        body = msgspec.json.encode({"objectType": TYPES[kind], "operation": operation, "object": thing})
        key = (subscription["id"], wish["callbackUrl"])
        if key not in self._waiting:
            self._waiting[key] = deque(maxlen=self._limits.waiting)
            work = self._send(key, subscription["clientID"], wish.get("bearerToken"))
            self._supervisor.spawn(work, "webhook")
        if len(self._waiting[key]) == self._limits.waiting:
            self.lost += 1  # the oldest gives way; a poll brings the VEN up to date
        self._waiting[key].append(_Message(body, kind, thing["id"], operation == "DELETE"))

    async def _send(self, key: tuple[str, str], client: str, token: str | None) -> None:
        subscription, url = key
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        waiting, tries = self._waiting[key], 0
        try:
            while waiting and subscription in self._book.things["subscriptions"]:
                message = waiting[0]
                places = self._failing_places if key in self._failing else self._places
                is_good = await self._post(url, message, headers, client, places)
                if waiting and waiting[0] is message and (is_good is not False or tries + 1 >= self._limits.tries):
                    waiting.popleft()
                if is_good is not False:
                    tries = 0
                    if is_good:
                        self._failing.discard(key)
                        self.notified += 1
                        for hear in self.delivered:
                            hear(client, message.kind, message.id)
                    continue
                if key not in self._failing:
                    self._failing = {each for each in self._failing if each[0] in self._book.things["subscriptions"]}
                    self._failing.add(key)
                # Order is kept: nothing behind a message goes out before it was taken or given up.
                tries += 1
                if tries >= self._limits.tries:
                    self.lost += 1
                    _log.warning("webhook given up", subscription=subscription, tries=tries)
                    tries = 0
                await asyncio.sleep(self._backoff.delay_s(tries + 1, self._rng))
        finally:
            del self._waiting[key]

    async def _post(
        self, url: str, message: _Message, headers: dict[str, str], client: str, places: asyncio.Semaphore
    ) -> bool | None:
        """Return whether a callback took a message; None where it may not leave any more."""
        if not is_allowed(url, self._origins):  # the list may have changed since the subscription was made
            return False
        try:
            async with places:
                # The last hop: asked here, with nothing between it and the wire but the connection itself.
                if not message.ends and not self._gate(client, message.kind, message.id):
                    self.barred += 1
                    return None
                # A short answer is read, so that its connection serves again; of a long one its status is enough.
                answer = await self._client.call(
                    "POST", url, content=message.body, headers=headers, answer_s=self._limits.answer_s,
                    most_bytes=MOST_ANSWER,
                )  # fmt: skip
                return answer.status < 300
        except TooLong as answer:
            return answer.status < 300
        except Unanswered:
            return False
