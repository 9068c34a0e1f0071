"""What a link that asks again and again has of a session: its rhythm, its back-off, its counts and its health."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import structlog

from tieline.desk.ports import Intake, LinkHealth, Session
from tieline.errors import LinkDown, PeerError
from tieline.links.grid.market_call import Busy, Unserved
from tieline.rim.supervise import Backoff
from tieline.times import Clock

_log = structlog.get_logger("tieline.poll")
BUSY_TRIES = 3
"""So often in a row a peer may ask us to come later (HTTP 429) before its link counts as degraded."""


class Poller:
    """A link that asks every `poll_s`, sooner when it is woken, later after an error or when it is asked to wait."""

    def __init__(
        self, name: str, protocol: str, poll_s: float, clock: Clock, rng: np.random.Generator, intake: Intake | None
    ) -> None:
        self.name = name
        self._protocol, self._poll_s, self._clock, self._rng, self._intake = protocol, poll_s, clock, rng, intake
        self._counts = {"sent": 0, "received": 0, "refused": 0, "errors": 0}
        self._session, self._since_ns, self._last_error = Session.DOWN, clock.now_ns(), ""
        self._lost_by = ""
        self._woken = asyncio.Event()

    async def poll(self) -> None:
        """Ask once. Raises LinkDown where nobody answers, PeerError where the answer is none."""
        raise NotImplementedError

    def wake(self) -> None:
        """Ask at once, and not only when the pause is over; after an error the pause stands."""
        self._woken.set()

    async def run(self) -> None:
        """Poll for ever."""
        backoff, tries = Backoff(1.0, 60.0), 0
        while True:
            heard = self._counts["received"]
            try:
                self._woken.clear()
                await self.poll()
                tries, wait_s = 0, self._poll_s * (0.9 + 0.2 * float(self._rng.random()))
            except (LinkDown, PeerError) as error:
                tries += 1
                wait_s = backoff.delay_s(tries, self._rng)
                if isinstance(error, Busy):
                    wait_s += error.after_s
                if not isinstance(error, Busy) or tries >= BUSY_TRIES or self._session is not Session.LIVE:
                    self._lost(error, self._counts["received"] > heard)
            if tries:
                await asyncio.sleep(wait_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    def _lost(self, error: Exception, answers_in_part: bool) -> None:
        """Say how much is lost: a peer that answers in words is there; a status without a message is nobody's word."""
        self._counts["errors"] += 1
        is_there = isinstance(error, (Busy, PeerError)) and (answers_in_part or not isinstance(error, Unserved))
        self._become(Session.DEGRADED if is_there else Session.DOWN, str(error))

    def _fault(self, said: str) -> None:
        """Count what went wrong without the session being lost, and keep it for whoever looks."""
        self._counts["errors"] += 1
        self._last_error = said

    def _become(self, session: Session, error: str) -> None:
        if error:
            self._last_error = self._lost_by = error
        elif session is Session.LIVE and self._lost_by:  # it healed; what merely happened stays
            self._last_error = "" if self._last_error == self._lost_by else self._last_error
            self._lost_by = ""
        if session is not self._session:
            self._session, self._since_ns = session, self._clock.now_ns()
            _log.info("session", link=self.name, session=session.name, error=error)
            if self._intake is not None:
                self._intake.health(self.health())

    def health(self) -> LinkHealth:
        """Return how the link is."""
        return LinkHealth(
            self.name, self._protocol, self._session, self._since_ns, peers=int(self._session is Session.LIVE),
            last_error=self._last_error,
            awaits=False,  # it is we who call
            **self._counts,
        )  # fmt: skip
