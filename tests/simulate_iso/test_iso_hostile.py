"""Our side of the dispatch service against a server that means harm: each answer is an error of the peer, and no more."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import numpy as np
import pytest
from iso_desk import ScheduleDesk

from tieline.errors import PeerError
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.wire.ads.codec import MOST_BYTES

OPENS = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
CLOSES = b"</s:Body></s:Envelope>"
ANSWER = b'<DispatchBatches xmlns="urn:tieline:ads:1" serverTime="2026-01-01T00:00:00Z"/>'
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
BOMB = gzip.compress(OPENS + b" " * (64 << 20) + CLOSES)


async def asked(head: bytes, body: bytes) -> None:
    """Poll a server that answers every request with these bytes, written on a bare socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b":Envelope>")
            length = b"Content-Length: %d\r\n" % len(body) if b"chunked" not in head else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n" + length + head + b"\r\n" + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with HttpClient() as client:
        how = IsoSettings(f"http://127.0.0.1:{port}/", "America/Chicago", {"pool:north": "TL_NORTH"})
        await IsoWeb(how, client, ScheduleDesk(), SystemClock(), np.random.default_rng(1)).poll()
    server.close()


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        (b"", b"", "XML"),
        (b"", OPENS + ANSWER, "XML"),
        (b"", b"<html>down for maintenance</html>", "envelope"),
        (b"", OPENS + ANSWER * 2 + CLOSES, "envelope"),
        (b"", b'<!DOCTYPE z [<!ENTITY l0 "ha">' + LAUGHS + b"]>" + OPENS + b"&l9;" + CLOSES, "DTD"),
        (b"", b'<!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + OPENS + b"&x;" + CLOSES, "DTD"),
        (b"", b'<!DOCTYPE z SYSTEM "http://127.0.0.1:1/z.dtd">' + OPENS + ANSWER + CLOSES, "DTD"),
        (b"", OPENS + b"<a>" * 1_000 + b"</a>" * 1_000 + CLOSES, "deeper"),
        (b"", OPENS + b" " * (MOST_BYTES + 1) + CLOSES, f"longer than {MOST_BYTES} bytes"),
        (b"Content-Encoding: gzip\r\n", BOMB, "packed by HTTP"),
        (b"Content-Encoding: br\r\n", b"\x00", "packed by HTTP"),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_peer_in_bounded_memory(head: bytes, body: bytes, words: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PeerError, match=words):
            asyncio.run(asked(head, body))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * MOST_BYTES


def test_an_answer_to_another_call_is_not_taken_for_this_one() -> None:
    """The list of batches is taken, so that the next call is made; its answer is again a list, which are no awards."""
    with pytest.raises(PeerError, match=r"GetAwards: .*expected one of AwardRows"):
        asyncio.run(asked(b"", OPENS + ANSWER + CLOSES))
