"""Where the market's notices come in: each is signed by it, acknowledged, and only makes us ask sooner.

A notice that is not signed by the market, is of another time, or bears a nonce that was seen has no effect. What one
says of awards, offers or instructions is not taken from it but asked for; an alert is kept for the operator.
"""

from __future__ import annotations

from collections import OrderedDict

import structlog

from tieline.links.grid.ews_web import EwsWeb
from tieline.rim.soap import Receive, Scope, Send, body_within, send_envelope
from tieline.times import HOUR_NS, Clock, from_ns
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import acknowledging, faulting, notified_in
from tieline.wire.ews.errors import EwsError, Malformed
from tieline.wire.ews.security import Trust, trusted_body
from tieline.wire.ews.tree import Tree, parse, serialise

_log = structlog.get_logger("tieline.ews")
MOST_BYTES = 1 << 20
MOST_NONCES = 100_000
MOST_EVENTS = 200


class EwsListener:
    """The ASGI application that takes notices for a link."""

    def __init__(self, link: EwsWeb, trust: Trust, clock: Clock) -> None:
        self.link, self._trust, self._clock = link, trust, clock
        self.events: list[ews.Event] = []
        self.taken = self.repeated = self.refused = 0
        self._nonces: OrderedDict[str, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, answer = self.answer(await body_within(receive, MOST_BYTES))
        await send_envelope(send, status, serialise(answer))

    def answer(self, body: bytes) -> tuple[int, Tree]:
        """Return the HTTP status and the envelope that a Notify is answered with."""
        now = from_ns(self._clock.now_ns())
        try:
            if len(body) > MOST_BYTES:
                raise Malformed(f"more than {MOST_BYTES} bytes")
            messages = notified_in(trusted_body(parse(body), self._trust, now))
        except EwsError as error:
            self.refused += 1
            _log.warning("notice refused", link=self.link.name, why=str(error)[:300])
            return 500, faulting("soap:Client", str(error))
        for told in messages:
            self._take(told)
        return 200, acknowledging("OK", now)

    def _take(self, told: ews.Told) -> None:
        if not self._is_new(told.header.replay_detection.nonce):
            self.repeated += 1
            return
        self.taken += 1
        if isinstance(told.payload, ews.Event):
            event = told.payload
            _log.info("notice", link=self.link.name, alert=event.id, priority=event.priority, summary=event.summary)
            self.events = [*self.events[-MOST_EVENTS + 1 :], event]
        self.link.noticed(told.header.noun)

    def _is_new(self, nonce: str) -> bool:
        """Whether a nonce was not seen while a message that bears it would still be believed."""
        now_ns = self._clock.now_ns()
        keep_ns = 2 * int(self._trust.skew.total_seconds() * 1e9) + HOUR_NS
        while self._nonces and (
            len(self._nonces) >= MOST_NONCES or next(iter(self._nonces.values())) < now_ns - keep_ns
        ):
            self._nonces.popitem(last=False)
        if nonce in self._nonces:
            return False
        self._nonces[nonce] = now_ns
        return True
