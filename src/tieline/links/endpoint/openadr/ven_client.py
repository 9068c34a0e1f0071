"""A VEN's calls to its VTN: token, paging, and every answer checked before it is used."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.rim.http import Answer, HttpClient, TimedOut, TooLong, Unanswered, form
from tieline.times import SECOND_NS, Clock

Thing = dict[str, Any]
PAGE = 50
MOST_PAGES = 200
MOST_ANSWER = 8 * 1024 * 1024
EARLY_S = 60
HELD_UP_S = 0.1
"""A time-out that comes later than it was due by this says that our own loop stood still."""


class VenClient:
    """Speaks to one VTN as one client."""

    def __init__(
        self, url: str, client_id: str, client_secret: str, client: HttpClient, clock: Clock, answer_s: float
    ) -> None:
        """Make a client. Raises ConfigError for a URL that would send the secret in the clear."""
        for field, value in (("client_id", client_id), ("client_secret", client_secret)):
            if not value:
                raise ConfigError(f"$.ven.{field} is empty: give what the VTN's operator made for this client")
        self._url, self._id, self._secret = url.rstrip("/"), client_id, client_secret
        self._client, self._clock, self._answer_s = client, clock, answer_s
        self._token, self._over_ns = "", 0
        _check(url)

    async def get_all(self, kind: str, **query: str) -> list[Thing]:
        """Return all objects of a kind that the VTN shows, over as many pages as there are."""
        found: dict[str, Thing] = {}
        for page in range(MOST_PAGES):
            asked = urlencode({**query, "skip": page * PAGE, "limit": PAGE})
            part = await self.call("GET", f"/{kind}?{asked}")
            if not isinstance(part, list) or not all(
                isinstance(t, dict) and isinstance(t.get("id"), str) for t in part
            ):
                raise PeerError(f"GET /{kind}: a list of objects is asked for")
            found |= {thing["id"]: thing for thing in part}
            if len(part) < PAGE:
                return list(found.values())
        raise PeerError(f"GET /{kind}: more than {MOST_PAGES} pages")

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return what the VTN answers; None for a conflict (409).

        Raises:
            LinkDown: It doesn't answer, or asks for time.
            PeerError: It refuses, or answers something else than JSON.
        """
        answer = await self._answer(method, path, body)
        if answer.status == 409:
            return None  # it is there already, or gone: what the VTN shows next says which
        return _json(f"{method} {path.partition('?')[0]}", answer)

    async def get_one(self, kind: str, thing_id: str) -> Thing | None:
        """Return one object by its id; None where the VTN has none, or none that we may see. Raises as `call`."""
        path = f"/{kind}/{quote(thing_id, safe='')}"
        answer = await self._answer("GET", path, None)
        found = None if answer.status in (403, 404) else _json(f"GET {path}", answer)
        if found is not None and not isinstance(found, dict):
            raise PeerError(f"GET {path}: an object is asked for")
        return found

    async def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        """Return what the VTN answers, by a token that counts. Raises LinkDown where it asks for time."""
        if self._clock.now_ns() >= self._over_ns:
            await self._login()
        answer = await self._request(method, path, body)
        if answer.status == 401:  # taken back before its time: once more with a fresh one
            await self._login()
            answer = await self._request(method, path, body)
        if answer.status in (429, 502, 503, 504):
            raise LinkDown(f"{method} {path.partition('?')[0]}: {answer.status}")
        return answer

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        raw = None if body is None else msgspec.json.encode(body)
        return await self._send(method, path, raw, headers)

    async def _login(self) -> None:
        said = {"grant_type": "client_credentials", "client_id": self._id, "client_secret": self._secret}
        answer = await self._send("POST", "/auth/token", *form(said))
        if answer.status >= 300:  # its words are not repeated: some servers say what they were sent, a secret too
            raise PeerError(f"POST /auth/token: {answer.status}: is client_id or client_secret wrong?")
        found = _json("POST /auth/token", answer)
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise PeerError("POST /auth/token: no access_token")
        lives_s = found.get("expires_in", 0)
        lives_s = lives_s if isinstance(lives_s, int) and not isinstance(lives_s, bool) else 0
        self._token = token
        self._over_ns = self._clock.now_ns() + max(lives_s - EARLY_S, 1) * SECOND_NS

    async def _send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            return await self._once(method, path, content, headers)
        except TimedOut as error:
            # Timers are served before sockets: after our own machine stood still the answer may lie there unread, and
            # the VTN is not to blame. Once more: of all that we send the same twice is the same once.
            if loop.time() - began_s < self._answer_s + HELD_UP_S:
                raise self._down(error) from error
        except Unanswered as error:
            raise self._down(error) from error
        try:
            return await self._once(method, path, content, headers)
        except Unanswered as error:
            raise self._down(error) from error

    async def _once(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            return await self._client.call(
                method, self._url + path, content=content, headers=headers, answer_s=self._answer_s,
                most_bytes=MOST_ANSWER,
            )  # fmt: skip
        except TooLong as error:
            raise PeerError(f"{method} {path.partition('?')[0]}: {error}") from error

    def _down(self, error: Exception) -> LinkDown:
        return LinkDown(f"VTN {self._url}: {error}")


def _json(what: str, answer: Answer) -> Any:
    if answer.status >= 300:
        raise PeerError(f"{what}: {answer.status} {answer.text[:200]}")
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        raise PeerError(f"{what}: not JSON") from None


def _check(url: str) -> None:
    # RFC 6749, 2.3.1 and 3.2: client credentials go over TLS; loopback is for tests and a VTN on the same machine.
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError("$.ven.url: names a user or password, which would stand in every log: give them elsewhere")
    if not is_private(url):
        raise ConfigError(f"$.ven.url = {url!r}: give https, as secrets go over TLS or loopback alone")


def is_private(url: str) -> bool:
    """Return whether nobody on the way can read what goes to a URL: it is https, or stays on this machine."""
    parts = urlsplit(url)
    try:
        is_here = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_here = parts.hostname == "localhost"
    return parts.scheme == "https" or (parts.scheme == "http" and is_here)
