"""The market's web service over HTTP (ASGI): signed SOAP in, signed SOAP out, with the faults of the ISO's menu."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from tieline.rim.soap import Receive, Scope, Send, body_within, send_envelope
from tieline.simulate.ews.market import EwsMarket
from tieline.times import Clock, from_ns
from tieline.wire.ews import messages as ews
from tieline.wire.ews import names as ns
from tieline.wire.ews.codec import asked_in, faulting, telling
from tieline.wire.ews.errors import EwsError, Unsigned
from tieline.wire.ews.security import Signer, Trust, seal, trusted_body
from tieline.wire.ews.tree import MOST_BYTES, Tree, parse, serialise

MOST_NONCES = 10_000


class EwsApp:
    """The ASGI application in front of a market. `tampers`: what it answers is changed after it was signed."""

    def __init__(
        self, market: EwsMarket, faults: Any, signer: Signer, trust: Trust, clock: Clock, rng: np.random.Generator
    ) -> None:
        self.market, self._faults, self._signer, self._trust, self._clock = market, faults, signer, trust, clock
        self._rng = rng
        self.calls: dict[str, int] = {}
        self.unsigned = self.replayed = 0
        self.tampers = False
        self._nonces: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, headers, answer = self.answer(await body_within(receive, MOST_BYTES))
        await send_envelope(send, status, answer, headers)

    def answer(self, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return (status, headers, body) for a request's body."""
        self.market.iso.advance()
        faults = self._faults.call()
        if "busy" in faults:
            return 429, [(b"retry-after", str(self._faults.menu.retry_after_s).encode())], b""
        if "fault" in faults:
            return 500, [], serialise(faulting("soap:Server", "internal error"))
        now = from_ns(self._clock.now_ns())
        try:
            asked = asked_in(trusted_body(parse(body), self._trust, now))
        except EwsError as error:
            self.unsigned += isinstance(error, Unsigned)
            return 500, [], serialise(faulting("soap:Client", str(error)))
        if "in_band" in faults:
            return self._sealed(self._told(asked, "ERROR", None, ("temporarily out of service",)))
        nonce = asked.header.replay_detection.nonce
        if nonce in self._nonces:
            self.replayed += 1
            return self._sealed(self._told(asked, "ERROR", None, (f"nonce {nonce} was seen",)))
        self._nonces[nonce] = None
        while len(self._nonces) > MOST_NONCES:
            self._nonces.popitem(last=False)
        return self._sealed(self._carry_out(asked))

    def _carry_out(self, asked: ews.Asked) -> Tree:
        verb, noun = asked.header.verb, asked.header.noun
        self.calls[f"{verb} {noun}"] = self.calls.get(f"{verb} {noun}", 0) + 1
        request = asked.request or ews.Request()
        market = self.market
        if asked.header.source != market.qse:
            return self._told(asked, "ERROR", None, (f"Source = {asked.header.source}: not {market.qse}",))
        match verb, noun:
            case "create" | "change", "BidSet" if isinstance(asked.payload, ews.BidSet):
                return self._told(asked, "OK", market.create(asked.payload))
            case "get", "BidSet":
                return self._told(asked, "OK", market.status(request.ids))
            case "cancel", "BidSet":
                return self._told(asked, "OK", market.cancel(request.ids))
            case "get", "AwardSet" if request.trading_date is not None:
                won = market.awards(request.trading_date)
                words = () if won else (f"{request.trading_date} is not cleared",)
                return self._told(asked, "ERROR" if words else "OK", won, words)
            case "get", "SPPs" if request.trading_date is not None:
                return self._told(asked, "OK", market.prices(request.trading_date))
            case "get", "VDIs":
                return self._instructions(asked)
            case "create" | "change", "VDIs" if isinstance(asked.payload, ews.Vdis):
                why = tuple(why for vdi in asked.payload.rows if (why := market.acknowledge(vdi)))
                return self._told(asked, "ERROR" if why else "OK", None, why)
            case "get", "SystemStatus":
                return self._told(asked, "OK", None)
            case _:
                return self._told(asked, "ERROR", None, (f"{verb} {noun} is not offered, or lacks what it needs",))

    def _instructions(self, asked: ews.Asked) -> Tree:
        rows, spoiled = self.market.instructions()
        envelope = self._told(asked, "OK", rows)
        for vdi in envelope.iter(f"{{{ns.EWS}}}VDI"):
            if vdi.findtext(f".//{{{ns.EWS}}}vdiRefNum") in spoiled:
                vdi.find(f".//{{{ns.EWS}}}finalOprLevel").text = "a lot"
        return envelope

    def _told(self, asked: ews.Asked, code: str, payload: ews.Payload | None, words: tuple[str, ...] = ()) -> Tree:
        skewed_ns = self._clock.now_ns() + int(self._faults.menu.skew_s * 1e9)
        at = from_ns(skewed_ns).astimezone(self.market.zone)
        nonce = f"{int(self._rng.integers(10**15)):015d}"
        header = ews.Header(
            verb="reply", noun=asked.header.noun, source="ERCOT", user_id=asked.header.user_id,
            replay_detection=ews.ReplayDetection(nonce=nonce, created=at.isoformat()),
        )  # fmt: skip
        reply = ews.Reply(reply_code=code, errors=words, timestamp=at)
        return telling(ews.Told(header=header, reply=reply, payload=payload))

    def _sealed(self, envelope: Tree) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        data = serialise(seal(envelope, self._signer, from_ns(self._clock.now_ns())))
        return 200, [], data.replace(b">reply<", b">Reply<") if self.tampers else data
