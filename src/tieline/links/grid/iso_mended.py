"""Batches of which nothing was taken, till the ISO sends them anew under their own UID.

What was accepted stands, and a correction of it needs a UID of its own (`iso_batches`). A batch that could not be read,
or of which every instruction was declined, moved nothing: sent anew it is read anew, and answered once more. That it
was is told by `batchSent` in the ISO's list: without that word it may have given the power to somebody else. A list may
say another time than the batch itself, or another at every poll: what reads as before is answered again only where the
ISO says that it has no answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from tieline.desk.ports import number
from tieline.ids import derive
from tieline.times import HOUR_NS
from tieline.wire.ads.codec import decode, encode
from tieline.wire.ads.errors import Malformed
from tieline.wire.ads.messages import BatchHeader, DispatchBatch

WAITS_NS = 2 * HOUR_NS
"""For so long a batch is looked for in the ISO's list: what it asked is over by then, or nearly."""
MOST = 64
"""So many are looked for; the oldest gives way."""


def content(wire: DispatchBatch) -> str:
    """Return a name of all that a batch says but when it was sent: the same for two that ask the same."""
    return derive("batch-content", encode(replace(wire, batch_sent=wire.batch_expires)))


def as_first(text: str) -> DispatchBatch | None:
    """Return a batch from how it came first, as the desk keeps it; None: it isn't kept, or came by another protocol."""
    try:
        found = decode(text.encode(), (DispatchBatch,))
    except Malformed:
        return None
    assert isinstance(found, DispatchBatch)
    return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """A batch as the ISO listed it when it was answered, until when it is looked for, and what it said (`content`)."""

    sent: datetime
    until_ns: int
    content: str


class Untaken:
    """Batches of which nothing was taken, each as it was listed when that was answered."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, uid: str, sent: datetime, now_ns: int, said: str) -> None:
        """Look for a batch that was answered as it was listed, and as it read, then (`content`)."""
        was = self._kept.pop(uid, None)
        is_same = was is not None and was.content == said
        self._kept[uid] = _Kept(sent, was.until_ns if was is not None and is_same else now_ns + WAITS_NS, said)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def drop(self, uid: str) -> None:
        """Look for a batch no more: something of it was taken, or none of it asks for an answer."""
        self._kept.pop(uid, None)

    def is_known(self, uid: str, said: str) -> bool:
        """Whether nothing was taken of a batch that read just so."""
        return uid in self._kept and self._kept[uid].content == said

    def since(self, near: int, others: Iterable[str], now_ns: int) -> int:
        """Return the number after which the ISO's list has all of them, some others, and what follows `near`."""
        for uid in [uid for uid, one in self._kept.items() if one.until_ns <= now_ns]:
            del self._kept[uid]
        known = (number(uid) for uid in (*self._kept, *others))
        return min((near, *(each - 1 for each in known if each >= 0)))

    def mended(self, listed: Iterable[BatchHeader]) -> list[str]:
        """Return those that are listed as sent at another time than before, each once: they are to be read anew."""
        found = []
        for header in listed:
            was = self._kept.get(header.batch_uid)
            if was is not None and was.sent != header.batch_sent:
                self._kept[header.batch_uid] = _Kept(header.batch_sent, was.until_ns, was.content)
                found.append(header.batch_uid)
        return found
