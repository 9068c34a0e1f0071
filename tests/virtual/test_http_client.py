"""Calls over HTTP: what a server may make us do ends with the answer that it gives."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tieline.rim.certificates import Authority, client_context, server_context
from tieline.rim.clock import SystemClock
from tieline.rim.http import Answer, CutOff, HttpClient, NotReached, TimedOut, TooLong, Unanswered, basic, form
from tieline.rim.serve import serve_asgi
from tieline.simulate.loop import VirtualLoop, run_virtual

URL = "http://127.0.0.1:8080/"


def asked(answer: Callable[[Request], Awaitable[Response]], **how: object) -> Answer:
    """Return what a server in memory answers to one call, whatever its method and path."""

    async def main(loop: VirtualLoop) -> Answer:
        methods = ["GET", "POST", "PUT", "DELETE"]
        await serve_asgi(Starlette(routes=[Route("/{path:path}", answer, methods=methods)]), "127.0.0.1", 8080)
        async with HttpClient(keep_s=86_400.0) as client:
            return await client.call(str(how.pop("method", "GET")), URL, **how)  # type: ignore[arg-type]

    return run_virtual(main)


def test_an_answer_has_its_status_its_headers_in_any_case_and_its_body() -> None:
    async def echo(request: Request) -> Response:
        return Response(await request.body(), status_code=201, headers={"Retry-After": "7"})

    found = asked(echo, method="POST", content=b"\x00words")
    assert (found.status, found.headers["retry-after"], found.body) == (201, "7", b"\x00words")


def test_an_answer_that_redirects_is_not_followed() -> None:
    seen = []

    async def away(request: Request) -> Response:
        seen.append(request.url.path)
        return RedirectResponse("/elsewhere")

    assert asked(away).status == 307
    assert seen == ["/"]


def test_an_answer_is_not_unpacked_and_none_is_asked_for_that_is_packed() -> None:
    async def packed(request: Request) -> Response:
        assert request.headers["accept-encoding"] == "identity"
        return Response(gzip.compress(b"0" * 1_000_000), headers={"Content-Encoding": "gzip"})

    assert gzip.decompress(asked(packed).body) == b"0" * 1_000_000


def test_no_cookie_is_kept() -> None:
    async def main(loop: VirtualLoop) -> list[str | None]:
        seen: list[str | None] = []

        async def baker(request: Request) -> Response:
            seen.append(request.headers.get("cookie"))
            return PlainTextResponse("", headers={"Set-Cookie": "a=b"})

        await serve_asgi(Starlette(routes=[Route("/", baker)]), "127.0.0.1", 8080)
        async with HttpClient(keep_s=86_400.0) as client:
            for _ in range(2):
                await client.call("GET", URL)
        return seen

    assert run_virtual(main) == [None, None]


@pytest.mark.parametrize("says_length", [True, False])
def test_of_an_answer_that_is_too_long_the_status_is_told_and_the_rest_is_not_read(says_length: bool) -> None:
    sent = []

    async def long(request: Request) -> Response:
        async def parts():
            for _ in range(1_000):
                sent.append(1)
                yield b"0" * 10_000

        if says_length:
            return Response(b"0" * 1_001, status_code=201)
        return StreamingResponse(parts(), status_code=201)

    with pytest.raises(TooLong, match="longer than 1000 bytes") as refused:
        asked(long, most_bytes=1_000)
    assert refused.value.status == 201
    assert len(sent) < 100
    assert asked(long, most_bytes=1_001).body == b"0" * 1_001 if says_length else True


def test_a_server_that_drips_is_left_when_the_time_is_over_however_often_it_says_a_word() -> None:
    async def drip(request: Request) -> Response:
        async def parts():
            while True:
                yield b"."
                await asyncio.sleep(1.0)

        return StreamingResponse(parts())

    with pytest.raises(TimedOut, match=r"no answer within 7\.5 s"):
        asked(drip, answer_s=7.5)


def test_where_nobody_listens_it_is_not_reached() -> None:
    async def main(loop: VirtualLoop) -> None:
        async with HttpClient(keep_s=86_400.0) as client:
            await client.call("GET", URL)

    with pytest.raises(NotReached, match=r"127\.0\.0\.1:8080"):
        run_virtual(main)


@pytest.mark.parametrize("url", ["", "nothing", "http://", "http://127.0.0.1:99999/", "gopher://127.0.0.1/"])
def test_what_is_no_url_has_no_answer(url: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with HttpClient(keep_s=86_400.0) as client:
            await client.call("GET", url)

    with pytest.raises(Unanswered):
        run_virtual(main)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"SSH-2.0-x\r\n\r\n"])
def test_an_answer_that_ends_too_early_or_is_no_http_is_none(said: bytes) -> None:
    async def main(loop: VirtualLoop) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
            writer.close()

        await asyncio.start_server(serve, "127.0.0.1", 8080)
        async with HttpClient(keep_s=86_400.0) as client:
            await client.call("GET", URL)

    with pytest.raises(CutOff if b"SSH" not in said else Unanswered):
        run_virtual(main)


def test_a_kept_connection_that_the_server_closed_is_made_anew() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        async def hello(request: Request) -> Response:
            return PlainTextResponse("hello")

        app = Starlette(routes=[Route("/", hello)])
        await serve_asgi(app, "127.0.0.1", 8080)
        async with HttpClient(keep_s=86_400.0) as client:
            first = await client.call("GET", URL)
            await asyncio.sleep(600)  # the server closes what nobody uses after 75 s
            second = await client.call("GET", URL)
            loop.network.cut("127.0.0.1", 8080)
            await asyncio.sleep(1)
            third = await client.call("GET", URL)
        return [first.status, second.status, third.status]

    assert run_virtual(main) == [200, 200, 200]


def test_a_client_that_was_closed_opens_again() -> None:
    async def main(loop: VirtualLoop) -> int:
        async def hello(request: Request) -> Response:
            return PlainTextResponse("hello")

        await serve_asgi(Starlette(routes=[Route("/", hello)]), "127.0.0.1", 8080)
        client = HttpClient(keep_s=86_400.0)
        await client.call("GET", URL)
        await client.aclose()
        await client.aclose()
        async with client:
            return (await client.call("GET", URL)).status

    assert run_virtual(main) == 200


@pytest.mark.parametrize("is_known", [True, False])
def test_over_tls_a_certificate_of_an_authority_that_we_do_not_know_is_named(tmp_path: Path, is_known: bool) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    authority, other = Authority(tmp_path / "a", SystemClock()), Authority(tmp_path / "b", SystemClock())
    files = authority.issue("server", "127.0.0.1")
    ours = (authority if is_known else other).issue("us")

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    async def main() -> int:
        app = Starlette(routes=[Route("/", hello)])
        server = await serve_asgi(app, "127.0.0.1", 0, server_context(files))
        port = server.sockets[0].getsockname()[1]
        async with HttpClient(client_context(ours, SystemClock())) as client:
            try:
                return (await client.call("GET", f"https://127.0.0.1:{port}/")).status
            finally:
                server.close()

    if is_known:
        assert asyncio.run(main()) == 200
    else:
        with pytest.raises(Unanswered, match="certificate verify failed"):
            asyncio.run(main())


def test_a_form_and_a_user_are_written_as_their_standards_say() -> None:
    assert form({"a": "b c", "d": "&"}) == (
        b"a=b+c&d=%26", {"content-type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    # RFC 7617, 2: the example of Aladdin; RFC 6749, 2.3.1: a colon of a name would else end it
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuK3Nlc2FtZQ=="
    assert basic("a:b", "c") == "Basic YSUzQWI6Yw=="
