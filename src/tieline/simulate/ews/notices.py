"""The market's notices: a Notify to a participant's listener for what is new, signed, and spoiled as a menu says."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import date
from typing import Any

import numpy as np

from tieline.rim.http import HttpClient, Unanswered
from tieline.simulate.ews.market import EwsMarket
from tieline.times import Clock, from_ns
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import acknowledged_in, notifying
from tieline.wire.ews.errors import EwsError
from tieline.wire.ews.names import NOTIFY_ACTION
from tieline.wire.ews.security import Signer, body_of, seal
from tieline.wire.ews.tree import parse, serialise

HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{NOTIFY_ACTION}"'}


class EwsNotices:
    """Tells one listener what is new, each second; what it did not acknowledge is told again."""

    def __init__(
        self, market: EwsMarket, url: str, client: HttpClient, signer: Signer, clock: Clock, rng: np.random.Generator,
        faults: Any,
    ) -> None:  # fmt: skip
        self._market, self._url, self._client, self._signer = market, url, client, signer
        self._clock, self._rng, self._faults = clock, rng, faults
        self._standing: dict[str, str] = {}
        self._cleared: set[date] = set()
        self._shown: set[str] = set()
        self._queue: deque[ews.Told] = deque()
        self.acknowledged = 0
        self.refused: list[str] = []

    def tell(self, verb: str, noun: str, payload: ews.Payload) -> None:
        """Queue one message, as the menu spoils it: twice, or before the one that came before it."""
        at = from_ns(self._clock.now_ns()).astimezone(self._market.zone)
        nonce = f"{int(self._rng.integers(10**15)):015d}"
        header = ews.Header(
            verb=verb, noun=noun, source="ERCOT",
            replay_detection=ews.ReplayDetection(nonce=nonce, created=at.isoformat()),
        )  # fmt: skip
        told = ews.Told(header=header, reply=ews.Reply(reply_code="OK", timestamp=at), payload=payload)
        faults = self._faults.batch()
        if "reorder" in faults:
            self._queue.appendleft(told)
        else:
            self._queue.append(told)
        if "duplicate" in faults:
            self._queue.append(told)

    async def run(self) -> None:
        """Look for what is new and tell it, for ever."""
        while True:
            self._market.iso.advance()
            self._look()
            await self.send()
            await asyncio.sleep(1.0)

    async def send(self) -> None:
        """Send what is queued, until the listener does not answer."""
        while self._queue:
            told = self._queue[0]
            envelope = seal(notifying([told]), self._signer, from_ns(self._clock.now_ns()))
            try:
                answer = await self._client.call("POST", self._url, content=serialise(envelope), headers=HEADERS)
                acknowledged_in(body_of(parse(answer.body)))
                self.acknowledged += 1
            except Unanswered:
                return
            except EwsError as error:
                self.refused.append(str(error))
            self._queue.popleft()

    def _look(self) -> None:
        market, fresh = self._market, []
        for name, kept in market.kept.items():
            status, _ = market.standing(kept)
            if status != "PENDING" and self._standing.get(name) != status:
                self._standing[name] = status
                fresh.append(name)
        told = market.status(tuple(fresh)) if fresh else None
        if told is not None:
            self.tell("updated", "BidSet", told)
        for day in market.iso.awards.keys() - self._cleared:
            self._cleared.add(day)
            won = market.awards(day)
            if won is not None:
                self.tell("created", "AwardedEnergyOnlyOffer", won)
        rows, _ = market.instructions()
        new = tuple(row for row in rows.rows if row.details.vdi_ref_num not in self._shown)
        if new:
            self._shown |= {row.details.vdi_ref_num for row in new}
            self.tell("created", "VDIs", ews.Vdis(rows=new))
