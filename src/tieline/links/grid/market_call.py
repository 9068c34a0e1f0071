"""An HTTP call to a market's web service, whichever it is: what comes back, and in which words a failure is told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tieline.errors import LinkDown, PeerError
from tieline.rim.http import CutOff, HttpClient, Unanswered


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


class Unserved(PeerError):
    """What answered is an HTTP status without a message: a proxy or a broken server, and not the service itself."""


class UnservedCall(Unserved, Unreadable):
    """An HTTP 500 without the fault that comes with one (SOAP 1.1, 6.2): of this call, or of every one."""


async def post(
    client: HttpClient, url: str, content: bytes, headers: dict[str, str], now_ns: int, most_bytes: int
) -> tuple[int, bytes]:
    """Return the status and the bytes that a service answers.

    Raises:
        Busy: It asks us to wait.
        PeerError: Its answer is packed by HTTP.
        CutOff, TooLong, Unanswered: As `HttpClient.call`; `words` tells the last.
    """
    answer = await client.call("POST", url, content=content, headers=headers, most_bytes=most_bytes)
    if answer.status in (429, 503):
        raise Busy(retry_after_s(answer.headers.get("Retry-After", ""), now_ns))
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise PeerError(f"the answer is packed by HTTP ({coding[:40]}), though identity was asked for")
    return answer.status, answer.body


def retry_after_s(text: str, now_ns: int) -> float:
    """Return the seconds of a Retry-After, given as seconds or as a date (RFC 9110, 10.2.3); 5 s where unreadable."""
    if text.isdigit():
        return float(min(int(text), 3600))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 5.0
    now = datetime.fromtimestamp(now_ns / 1e9, UTC)
    return min(max((at.astimezone(UTC) - now).total_seconds(), 0.0), 3600.0)


def words(error: Unanswered, url: str) -> str:
    """Return why nobody answered: a certificate by name where that is why."""
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
