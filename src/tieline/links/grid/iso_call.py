"""One call to the ISO's web service over HTTPS, and what can come of it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tieline.errors import LinkDown, PeerError
from tieline.rim.http import CutOff, HttpClient, TooLong, Unanswered
from tieline.wire.ads.codec import MOST_BYTES, envelope, open_envelope
from tieline.wire.ads.errors import Fault, Malformed
from tieline.wire.ads.messages import Message

M = TypeVar("M", bound=Message)


class Busy(LinkDown):
    """The ISO asks us to come back later (HTTP 429 or 503)."""

    after_s: float

    def __init__(self, after_s: float) -> None:
        super().__init__(f"the ISO is busy: again after {after_s:g} s")
        self.after_s = after_s


class Refused(PeerError):
    """The ISO answered with a fault or an in-band error: its code and its words."""


class Unreadable(PeerError):
    """The ISO's answer is no message that this call can have."""


async def call(client: HttpClient, url: str, message: Message, kind: type[M], now_ns: int) -> tuple[M, bytes]:
    """Return the ISO's answer to a message, and its bytes.

    Raises:
        Busy: It asks us to wait.
        LinkDown: It can't be reached; the words name a certificate where that is why.
        Refused: It answered with a fault.
        Unreadable: Its answer is no envelope, or holds something else than the protocol says.
        PeerError: It answered with another HTTP status, or with too much.
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
            status, body = await _post(client, url, content, headers, now_ns)
        except CutOff:
            # A kept stream that the server closed just now. Every call names what it is about by UID: again is safe.
            status, body = await _post(client, url, content, headers, now_ns)
    except TooLong as error:
        raise PeerError(str(error)) from error
    except Unanswered as error:
        raise LinkDown(_words(error, url)) from error
    if status not in (200, 500):  # SOAP 1.1, 6.2: a fault comes with 500
        raise PeerError(f"{type(message).__name__}: HTTP {status}")
    try:
        answer = open_envelope(body, (kind,))
    except Fault as fault:
        raise Refused(f"{type(message).__name__}: {fault}") from fault
    except Malformed as error:
        raise Unreadable(f"{type(message).__name__}: {error}") from error
    assert isinstance(answer, kind)
    return answer, body


async def _post(
    client: HttpClient, url: str, content: bytes, headers: dict[str, str], now_ns: int
) -> tuple[int, bytes]:
    answer = await client.call("POST", url, content=content, headers=headers, most_bytes=MOST_BYTES)
    if answer.status in (429, 503):
        raise Busy(_retry_after_s(answer.headers.get("Retry-After", ""), now_ns))
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise PeerError(f"the answer is packed by HTTP ({coding[:40]}), though identity was asked for")
    return answer.status, answer.body


def _retry_after_s(text: str, now_ns: int) -> float:
    """Return the seconds of a Retry-After, given as seconds or as a date (RFC 9110, 10.2.3); 5 s where unreadable."""
    if text.isdigit():
        return float(min(int(text), 3600))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 5.0
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    return min(max((at.astimezone(UTC) - now).total_seconds(), 0.0), 3600.0)


def _words(error: Unanswered, url: str) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the ISO's certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in str(cause):
            return f"the ISO does not accept our certificate: {cause.reason}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, CutOff):
        # TLS 1.3: a client counts its handshake as done before the server has judged its certificate (RFC 8446, 4.4.4),
        # and the alert that refuses it may be lost when the connection is cut.
        asks = ": does it accept our certificate, and know its authority?" if url.startswith("https:") else ""
        return f"the ISO cut the connection without a word{asks} ({error})"
    return str(error)
