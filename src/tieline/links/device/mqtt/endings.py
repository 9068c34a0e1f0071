"""Sessions that a broker ended: several within minutes are told, as what ends them goes on until a person mends it.

A broker gives a client id to whoever comes with it last, and ends the session that it had (MQTT 3.1.1, 3.1.4). So two
clients by one id end each other's for ever, each up for seconds. MQTT 5 has a word for it (reason code 0x8E, session
taken over); a broker tells a client of 3.1.1, as we are, nothing before it hangs up, so that the cause is a likely one.
"""

from __future__ import annotations

from tieline.times import SECOND_NS

SESSION_ENDED = "session ended by the broker"
"""How what a link says of itself begins while that goes on; its alarm goes by it."""
LEAST, WITHIN_S = 3, 300
"""A broker that is started anew ends one session, and a second where it is done twice."""


class Endings:
    """Remembers when a broker ended our session."""

    def __init__(self, client_id: str) -> None:
        """Begin with none; `client_id` is the id that we sign in by."""
        self._client_id = client_id
        self._at_ns: list[int] = []

    def take(self, at_ns: int) -> None:
        """Take that it ended one (ns)."""
        oldest_ns = at_ns - WITHIN_S * SECOND_NS
        if not self._stands(at_ns):
            self._at_ns = [each for each in self._at_ns if each > oldest_ns]
        self._at_ns.append(at_ns)

    def says(self, now_ns: int) -> str:
        """Return what is told of it; empty: too few in its time, or calm for as long since the last (ns)."""
        if not self._stands(now_ns):
            return ""
        seconds = max(self._at_ns[-1] - self._at_ns[0], SECOND_NS) // SECOND_NS
        likely = f"likely another client signs in by the same client id {self._client_id!r}"
        return f"{SESSION_ENDED} {len(self._at_ns)} times in {seconds} s: {likely}: set `client_id` of one of them"

    def _stands(self, now_ns: int) -> bool:
        return len(self._at_ns) >= LEAST and now_ns - self._at_ns[-1] < WITHIN_S * SECOND_NS
