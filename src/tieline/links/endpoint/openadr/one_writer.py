"""One writer a resource: no event but the desk's own commands a resource that the desk commands.

A VEN follows every event that it is shown, and settles between them by itself. One of another client would so command
a resource around arbitration, the limits of the grid, its owner's word and the kill switch, and the desk would take for
its own doing what another did. Who wants a power of such a resource asks the desk, as everybody does. So an event that
commands and would come to a VEN of the desk is refused, new or changed; and what stands already (taken before its VEN
was the desk's, or was given the target) is never shown to such a VEN. What informs goes to everybody, as before.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.access import Tokens
from tieline.links.endpoint.openadr.book import DESK, Book
from tieline.links.endpoint.openadr.commanding import INFORMS, commanding
from tieline.links.endpoint.openadr.reported import refusal
from tieline.links.endpoint.openadr.settings import OpenAdrSettings
from tieline.wire.openadr3.objects import Event, ObjectError

Thing = dict[str, Any]
MOST_KNOWN = 4_096


class OneWriter:
    """Keeps what others command from the clients that speak for a resource of the desk."""

    def __init__(self, book: Book, tokens: Tokens) -> None:
        """Begin with no client. Raises ConfigError where a client has the desk's own name: it would pass for it."""
        if tokens.knows(DESK):
            raise ConfigError(f"$.clients.{DESK}: the desk itself writes under this name: give the client another")
        self._book = book
        self._vens, self._clients = set[str](), set[str]()
        """The VENs of the desk's resources, each a target of its own, and the clients that speak for them."""
        self._informs = INFORMS
        self._known: dict[str, tuple[Thing, bool]] = {}
        """Of events that were shown lately, as they are kept, whether they command: a tariff of a year is read once."""

    def bind(self, settings: OpenAdrSettings) -> None:
        """Keep what others command from the clients of a link's end-points from now on."""
        self._vens |= {each.ven for each in settings.end_points.values()}
        self._clients |= {each.client for each in settings.end_points.values()}
        self._informs |= frozenset(settings.private_informing)
        self._known.clear()

    def refusal_of(self, event: Event) -> ObjectError | None:
        """Return what refuses an event of a client that would command a resource of the desk; None where it wouldn't.

        The target by which it would come to one is named, and where to ask instead.
        """
        said = msgspec.to_builtins(event)
        what = commanding(said, self._informs)
        if what is None or not self._clients:
            return None
        targets = said.get("targets") or []
        path, value = "$.targets", said.get("targets")
        if targets:
            at = next((at for at, target in enumerate(targets) if self._is_held(target)), None)
            if at is None:
                return None
            path, value = f"$.targets[{at}]", targets[at]
        limit = (
            f"targets that reach no resource which the desk commands ({what[:40]} would command it), and ask the desk "
            "for what you want of one: a limit by POST /api/v1/resources/{resource}/limit of its console, an event by "
            "POST /api/v1/events"
        )
        return refusal(path, value, limit)

    def hides(self, client: str, kind: str, thing: Thing) -> bool:
        """Return whether an object is kept from a client: it commands, the client is the desk's, its writer isn't."""
        if kind != "events" or client not in self._clients or self._book.made_by.get(thing["id"]) == DESK:
            return False
        known = self._known.get(thing["id"])
        if known is None or known[0] is not thing:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[thing["id"]] = thing, commanding(thing, self._informs) is not None
        return known[1]

    def _is_held(self, target: str) -> bool:
        """Return whether a target shows an event to a client that speaks for a resource of the desk."""
        return target in self._vens or any(client in self._clients for client in self._book.holders(target))
