"""Batches of which nothing was taken, till the ISO sends them anew under their own UID.

What was accepted stands, and a correction of it needs a UID of its own (`iso_batches`). A batch that could not be read,
or of which every instruction was declined, moved nothing: sent anew it is read anew, and answered once more. That it
was is told by `batchSent` in the ISO's list: without that word it may have given the power to somebody else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from tieline.desk.ports import number
from tieline.times import HOUR_NS
from tieline.wire.ads.messages import BatchHeader

WAITS_NS = 2 * HOUR_NS
"""For so long a batch is looked for in the ISO's list: what it asked is over by then, or nearly."""
MOST = 64
"""So many are looked for; the oldest gives way."""


class Untaken:
    """Batches of which nothing was taken, each as it was sent when that was answered."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def keep(self, uid: str, sent: datetime, now_ns: int) -> None:
        """Look for a batch that was answered as it was sent then."""
        self._sent.pop(uid, None)
        self._sent[uid] = sent, now_ns + WAITS_NS
        while len(self._sent) > MOST:
            self._sent.popitem(last=False)

    def since(self, near: int, others: Iterable[str], now_ns: int) -> int:
        """Return the number after which the ISO's list has all of them, some others, and what follows `near`."""
        for uid in [uid for uid, (_, until_ns) in self._sent.items() if until_ns <= now_ns]:
            del self._sent[uid]
        known = (number(uid) for uid in (*self._sent, *others))
        return min((near, *(each - 1 for each in known if each >= 0)))

    def mended(self, listed: Iterable[BatchHeader]) -> list[str]:
        """Return those that were sent anew since, once: they are to be read and answered afresh."""
        found = []
        for header in listed:
            if header.batch_uid in self._sent and self._sent[header.batch_uid][0] != header.batch_sent:
                del self._sent[header.batch_uid]
                found.append(header.batch_uid)
        return found
