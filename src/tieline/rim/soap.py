"""One request of SOAP over HTTP as a service reads and answers it, whatever the envelope holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def body_within(receive: Receive, most_bytes: int) -> bytes:
    """Return a request's body; of one that is longer than allowed, so much of it that this is seen."""
    body, more = bytearray(), True
    while more and len(body) <= most_bytes:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return bytes(body)


async def send_envelope(send: Send, status: int, answer: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send an envelope as the whole answer."""
    head = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", str(len(answer)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": answer})
