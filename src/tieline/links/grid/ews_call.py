"""One signed call to the market's web service over HTTPS, and what can come of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tieline.errors import LinkDown, PeerError
from tieline.links.grid.ews_settings import EwsSettings
from tieline.links.grid.market_call import Refused, Unreadable, Unserved, UnservedCall, post, words
from tieline.rim.http import CutOff, HttpClient, TooLong, Unanswered
from tieline.times import Clock, from_ns
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import asking, check_fault, told_in
from tieline.wire.ews.errors import EwsError, Fault
from tieline.wire.ews.names import ACTION, INFO, TRANSACTIONS
from tieline.wire.ews.security import Signer, Trust, body_of, seal, trusted_body
from tieline.wire.ews.tree import MOST_BYTES, parse, serialise

OPERATION = {"BidSet": TRANSACTIONS, "VDIs": TRANSACTIONS, "AwardSet": INFO, "SPPs": INFO}


@dataclass(frozen=True, slots=True)
class Seal:
    """Who we sign as, and whom we believe."""

    signer: Signer
    trust: Trust


class EwsCaller:
    """Asks the market, signed, and returns what it says where that is signed by it."""

    def __init__(
        self, settings: EwsSettings, client: HttpClient, seal: Seal, clock: Clock, rng: np.random.Generator
    ) -> None:
        self._settings, self._client, self._seal, self._clock, self._rng = settings, client, seal, clock, rng

    async def ask(
        self, verb: str, noun: str, request: ews.Request | None = None, payload: ews.Payload | None = None
    ) -> ews.Told:
        """Return the market's answer; one that says ERROR has rows of its own that say what is wrong.

        Raises:
            Busy: It asks us to wait.
            LinkDown: It can't be reached; the words name a certificate where that is why.
            Refused: It answered with a fault, or with an error and no rows.
            Unreadable: Its answer is no envelope, is not signed by it, or holds something else.
            Unserved: It answered with another HTTP status; UnservedCall with HTTP 500 and no fault.
            PeerError: It answered with too much.
        """
        asked = ews.Asked(header=self._header(verb, noun), request=request, payload=payload)
        now = from_ns(self._clock.now_ns())
        content = serialise(seal(asking(asked), self._seal.signer, now))
        status, body = await self._answer(noun, content)
        try:
            envelope = parse(body)
            check_fault(body_of(envelope))  # that it failed is believed of whoever says so: nothing was taken
            is_signed = self._settings.answers == "signed"
            believed = trusted_body(envelope, self._seal.trust, from_ns(self._clock.now_ns())) if is_signed else None
            told = told_in(body_of(envelope) if believed is None else believed)
        except Fault as fault:
            raise Refused(f"{verb} {noun}: {fault}") from fault
        except EwsError as error:
            if status == 500:
                raise UnservedCall(f"{verb} {noun}: HTTP 500 without a fault: {error}") from error
            raise Unreadable(f"{verb} {noun}: {error}") from error
        code = "OK" if told.reply is None else told.reply.reply_code
        if code.upper() != "OK" and told.payload is None:
            said = "; ".join(told.reply.errors if told.reply is not None else ())
            raise Refused(f"{verb} {noun}: {code}: {said or 'no words'}")
        return told

    async def _answer(self, noun: str, content: bytes) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{ACTION}{OPERATION.get(noun, INFO)}"',
            "Accept-Encoding": "identity",
        }
        url, now_ns = self._settings.url, self._clock.now_ns()
        try:
            try:
                status, body = await post(self._client, url, content, headers, now_ns, MOST_BYTES)
            except CutOff:
                # A kept stream that the server closed just now. A row sent again overwrites itself: again is safe.
                status, body = await post(self._client, url, content, headers, now_ns, MOST_BYTES)
        except TooLong as error:
            raise PeerError(str(error)) from error
        except Unanswered as error:
            raise LinkDown(words(error, url)) from error
        if status not in (200, 500):  # SOAP 1.1, 6.2: a fault comes with 500
            raise Unserved(f"{noun}: HTTP {status}")
        return status, body

    def _header(self, verb: str, noun: str) -> ews.Header:
        nonce = f"{int(self._rng.integers(10**15)):015d}"
        created = from_ns(self._clock.now_ns()).isoformat(timespec="milliseconds")
        return ews.Header(
            verb=verb, noun=noun, source=self._settings.qse, user_id=self._settings.user_id or None,
            replay_detection=ews.ReplayDetection(nonce=nonce, created=created),
        )  # fmt: skip
