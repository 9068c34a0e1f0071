"""One call to the ISO's web service over HTTPS, and what can come of it."""

from __future__ import annotations

from typing import TypeVar

from tieline.errors import LinkDown, PeerError
from tieline.links.grid.market_call import Refused, Unreadable, Unserved, UnservedCall, post, words
from tieline.rim.http import CutOff, HttpClient, TooLong, Unanswered
from tieline.wire.ads.codec import MOST_BYTES, envelope, open_envelope
from tieline.wire.ads.errors import Fault, Malformed
from tieline.wire.ads.messages import Message

M = TypeVar("M", bound=Message)


async def call(client: HttpClient, url: str, message: Message, kind: type[M], now_ns: int) -> tuple[M, bytes]:
    """Return the ISO's answer to a message, and its bytes.

    Raises:
        Busy: It asks us to wait.
        LinkDown: It can't be reached; the words name a certificate where that is why.
        Refused: It answered with a fault.
        Unreadable: Its answer is no envelope, or holds something else than the protocol says.
        Unserved: It answered with another HTTP status; UnservedCall with HTTP 500 and no fault.
        PeerError: It answered with too much.
    """
    headers = {
        "Content-Type": "text/xml; charset=utf-8",
        "SOAPAction": f'"{type(message).__name__}"',
        # A batch is packed already; a body that HTTP packs once more could be a thousand times its size in one piece.
        "Accept-Encoding": "identity",
    }
    content = envelope(message)
    try:
        try:
            status, body = await post(client, url, content, headers, now_ns, MOST_BYTES)
        except CutOff:
            # A kept stream that the server closed just now. Every call names what it is about by UID: again is safe.
            status, body = await post(client, url, content, headers, now_ns, MOST_BYTES)
    except TooLong as error:
        raise PeerError(str(error)) from error
    except Unanswered as error:
        raise LinkDown(words(error, url)) from error
    if status not in (200, 500):  # SOAP 1.1, 6.2: a fault comes with 500
        raise Unserved(f"{type(message).__name__}: HTTP {status}")
    try:
        answer = open_envelope(body, (kind,))
    except Fault as fault:
        raise Refused(f"{type(message).__name__}: {fault}") from fault
    except Malformed as error:
        if status == 500:
            raise UnservedCall(f"{type(message).__name__}: HTTP 500 without a fault: {error}") from error
        raise Unreadable(f"{type(message).__name__}: {error}") from error
    assert isinstance(answer, kind)
    return answer, body
