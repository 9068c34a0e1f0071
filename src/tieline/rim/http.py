"""HTTP as who calls: one call, one answer of bounded length, and typed failures.

aiohttp does the work, as its parser is compiled: of what links send in a day this was the largest share. No answer
redirects us, none is unpacked, no cookie is kept and no proxy is looked for: what a peer may make us do ends with the
answer that it gives to our call.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import quote_plus, urlencode

import aiohttp
from msgspec import Struct

MOST_BYTES = 8 * 1024 * 1024
MOST_CONNECTIONS = 100
KEEP_S = 70.0
"""How long a connection that nobody uses is kept: who calls once a minute has it still. Servers often close theirs
after 75 s."""
_HEADERS = {"User-Agent": "tieline", "Accept": "*/*", "Accept-Encoding": "identity"}


class Unanswered(Exception):
    """A call had no answer: who could not be reached, or what was wrong with what came. Its cause says more."""


class TimedOut(Unanswered):
    """No answer within the time given."""


class NotReached(Unanswered):
    """There is no connection: nobody listens there, or the way is shut."""


class CutOff(Unanswered):
    """The connection ended before the answer did: it was reset, or a kept one that the server closed."""


class TooLong(Unanswered):
    """The answer is longer than it may be; the rest of it was not read."""

    def __init__(self, most_bytes: int, status: int) -> None:
        super().__init__(f"the answer is longer than {most_bytes} bytes")
        self.status = status


class Answer(Struct, frozen=True):
    """What a server answered. `headers`: asked by name in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """Calls servers and keeps its connections to them; made anywhere, used in one loop, ended by `aclose`."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, keep_s: float = KEEP_S) -> None:
        """Make a client. `tls`: whom to trust and who we are; None: the authorities of the machine, and nobody."""
        self._tls, self._keep_s = tls, keep_s
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float = 30.0,
        most_bytes: int = MOST_BYTES,
    ) -> Answer:
        """Return the answer to one call.

        Args:
            method: GET, POST, ...
            url: With scheme and host.
            content: The body; None: none.
            headers: More headers, or others.
            answer_s: Within so long (s of the loop) the whole answer must have come.
            most_bytes: How long its body may be.

        Raises:
            TimedOut: It took longer.
            NotReached: There is no connection.
            CutOff: It ended too early.
            TooLong: The body is longer.
            Unanswered: The URL is none, the certificate is not accepted, or the answer is no HTTP.
        """
        try:
            async with asyncio.timeout(answer_s):
                async with self._open().request(
                    method, url, data=content, headers=headers, allow_redirects=False
                ) as answer:
                    body = await _read(answer, most_bytes)
                    return Answer(answer.status, answer.headers, body)
        except TimeoutError as error:
            raise TimedOut(f"no answer within {answer_s:g} s") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                raise Unanswered(_words(error)) from error.certificate_error
            if isinstance(error, aiohttp.ClientSSLError):
                raise Unanswered(_words(error)) from error
            kind = NotReached if isinstance(error, aiohttp.ClientConnectorError) else CutOff
            raise kind(_words(error)) from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise Unanswered(_words(error)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            pool = aiohttp.TCPConnector(
                ssl=True if self._tls is None else self._tls, limit=MOST_CONNECTIONS, keepalive_timeout=self._keep_s
            )
            self._session = aiohttp.ClientSession(
                connector=pool, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None),
            )  # fmt: skip
        return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def form(fields: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return fields as a form's body, and the header that says so."""
    return urlencode(fields).encode(), {"content-type": "application/x-www-form-urlencoded"}


def basic(user: str, secret: str) -> str:
    """Return the header value that names a user and a secret, each as a form writes it (RFC 7617; RFC 6749, 2.3.1)."""
    return "Basic " + b64encode(f"{quote_plus(user)}:{quote_plus(secret)}".encode()).decode()


async def _read(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    length = answer.content_length
    if length is not None and length > most_bytes:
        raise TooLong(most_bytes, answer.status)
    body = bytearray()
    while len(body) <= most_bytes:
        part = await answer.content.readany()
        if not part:
            return bytes(body)
        body += part
    raise TooLong(most_bytes, answer.status)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
