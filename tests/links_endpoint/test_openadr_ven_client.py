"""A VEN's calls to its VTN: where secrets go, whatever is answered, pages without end, and a VTN that is silent."""

import asyncio
import time

import pytest
from openadr_room import START_NS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.links.endpoint.openadr.ven_client import VenClient
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual


@pytest.mark.parametrize("url", ["http://vtn.example/", "ftp://127.0.0.1/", "vtn", "http://127.0.0.1.evil.example"])
def test_a_secret_goes_over_tls_or_loopback_alone(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\.ven\.url"):
        VenClient(url, "c", "s", HttpClient(), VirtualClock(VirtualLoop(), 0), 10.0)


UNKIND: list[tuple[int, bytes, type[Exception]]] = [
    (200, b"not json", PeerError),
    (200, b'{"a": 1}', PeerError),
    (200, b"[1, 2]", PeerError),
    (200, b'[{"id": 7}]', PeerError),
    (302, b"", PeerError),
    (404, b"", PeerError),
    (429, b"", LinkDown),
    (503, b"", LinkDown),
    (200, b"[" * 100_000, PeerError),
]


@pytest.mark.parametrize(("status", "body", "kind"), UNKIND)
def test_whatever_a_vtn_answers_is_taken_or_is_a_typed_error(status: int, body: bytes, kind: type[Exception]) -> None:
    async def main(loop: VirtualLoop) -> None:
        async def answer(request: Request) -> Response:
            if request.url.path == "/auth/token":
                return Response(b'{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}')
            return Response(body, status_code=status)

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        await serve_asgi(app, "127.0.0.1", 8080)
        client = VenClient("http://127.0.0.1:8080", "c", "s", HttpClient(), VirtualClock(loop, START_NS), 10.0)
        with pytest.raises(kind):
            await client.get_all("events")

    run_virtual(main)


def test_a_vtn_without_end_of_pages_is_given_up() -> None:
    async def main(loop: VirtualLoop) -> None:
        page = b"[" + b",".join(b'{"id": "e%d"}' % n for n in range(50)) + b"]"

        async def answer(request: Request) -> Response:
            if request.url.path == "/auth/token":
                return Response(b'{"access_token": "t", "expires_in": 3600}')
            return Response(page)

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        await serve_asgi(app, "127.0.0.1", 8080)
        client = VenClient("http://127.0.0.1:8080", "c", "s", HttpClient(), VirtualClock(loop, START_NS), 10.0)
        with pytest.raises(PeerError, match="pages"):
            await client.get_all("events")

    run_virtual(main)


@pytest.mark.parametrize(("held_up_s", "silent_s", "asked"), [(0.6, 0.0, 2), (0.0, 0.6, 1)])
def test_a_vtn_is_lost_where_it_is_silent_and_not_where_our_own_machine_stood_still(
    held_up_s: float, silent_s: float, asked: int
) -> None:
    """Over real sockets: the first call finds the loop held up, or the VTN silent, for longer than an answer may take."""
    seen: list[str] = []

    async def answer(request: Request) -> Response:
        if request.url.path == "/auth/token":
            return Response(b'{"access_token": "t", "expires_in": 3600}')
        seen.append(request.url.path)
        if len(seen) == 1:
            time.sleep(held_up_s)  # noqa: ASYNC251  the loop is to stand still
            await asyncio.sleep(silent_s)
        return Response(b"[]")

    async def main() -> list[dict] | None:
        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        server = await serve_asgi(app, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with HttpClient() as http:
            client = VenClient(url, "c", "s", http, SystemClock(), 0.3)
            try:
                return await client.get_all("events")
            except LinkDown as error:
                assert "no answer within 0.3 s" in str(error)
                return None
            finally:
                server.close()

    found = asyncio.run(main())
    assert (found, len(seen)) == ([] if asked == 2 else None, asked)
