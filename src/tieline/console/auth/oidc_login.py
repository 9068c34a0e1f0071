"""Signing in through an OpenID Connect provider: the way there, the way back, and what each is held to.

Theory of operation. Authorization code flow with PKCE (RFC 7636, S256 alone). `begin` makes state, nonce and verifier,
keeps them ten minutes, and binds them to the browser with a cookie, so that nobody is signed in by another's link (RFC
9700, 4.7). `finish` takes the state once, checks the issuer of the answer where it names one (RFC 9207), exchanges the
code, and verifies the id token in `oidc.verify`. The provider's endpoints come from its discovery document, whose
issuer must be the one of the settings (OpenID Connect Discovery 1.0, 4.3). A provider that doesn't answer is a refusal
told to the person, never an exception.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from tieline.console.auth.accounts import hashed
from tieline.console.auth.oidc import OidcSettings, verify
from tieline.console.auth.sessions import Who
from tieline.resource.claim import Refusal
from tieline.rim.http import HttpClient, Unanswered, basic, form
from tieline.times import Clock

LASTS_S, MOST_PENDING, KEYS_LAST_S = 600.0, 1_000, 600.0
TIMEOUT_S, MOST_BYTES = 10.0, 200_000
COOKIE = "tieline_oidc"


class _Provider(Struct, frozen=True):
    """What we need of the discovery document; the rest is ignored, as the standard asks."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(Struct, frozen=True):
    """What we need of a token answer."""

    id_token: str


@dataclass(frozen=True, slots=True)
class _Pending:
    nonce: str
    verifier: str
    browser: str
    until_s: float


class OidcLogin:
    """One provider's way in."""

    def __init__(
        self,
        settings: OidcSettings,
        clock: Clock,
        monotonic_s: Callable[[], float],
        secret: Callable[[], str],
    ) -> None:
        """Make the way in; nothing is fetched before somebody uses it.

        Args:
            settings: The provider.
            clock: Gives the time for expiry of tokens; wall time, whatever the desk plays.
            monotonic_s: Seconds for lifetimes.
            secret: Gives 256 random bits as URL-safe text (which is a valid PKCE verifier of 43 characters).
        """
        self.settings, self._clock, self._monotonic_s, self._secret = settings, clock, monotonic_s, secret
        self._pending: dict[str, _Pending] = {}
        self._provider: _Provider | None = None
        self._keys: Mapping[str, Any] = {}
        self._keys_until_s = float("-inf")

    async def begin(self) -> tuple[str, str] | Refusal:
        """Return the provider's address to go to and the cookie that binds the answer to this browser."""
        provider = await self._discovered()
        if isinstance(provider, Refusal):
            return provider
        now_s = self._monotonic_s()
        for key in [key for key, held in self._pending.items() if held.until_s <= now_s]:
            del self._pending[key]
        if len(self._pending) >= MOST_PENDING:
            self._pending.pop(next(iter(self._pending)))
        state, nonce, verifier, browser = (self._secret() for _ in range(4))
        self._pending[hashed(state)] = _Pending(nonce, verifier, hashed(browser), now_s + LASTS_S)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": self.settings.redirect_uri,
            "scope": " ".join(self.settings.scopes), "state": state, "nonce": nonce, "code_challenge": challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        return provider.authorization_endpoint + joint + urlencode(query), browser

    async def finish(self, query: Mapping[str, str], browser: str) -> Who | Refusal:
        """Return who came back from the provider, or why nobody is let in. A state works once.

        Args:
            query: What the provider sent with the browser.
            browser: The cookie that `begin` gave to it.
        """
        held = self._pending.pop(hashed(query.get("state", "")), None)
        if held is None or held.until_s <= self._monotonic_s():
            return Refusal("this sign-in was not begun here, or too long ago: begin again", "state")
        if not hmac.compare_digest(held.browser, hashed(browser)):
            return Refusal("this sign-in was begun in another browser", "state")
        if query.get("iss", self.settings.issuer) != self.settings.issuer:
            return Refusal("another issuer answered", "iss", query["iss"][:200], self.settings.issuer)
        if "error" in query or not query.get("code"):
            return Refusal("the provider let nobody in", "error", query.get("error", "no code")[:200])
        token = await self._exchanged(query["code"], held.verifier)
        return token if isinstance(token, Refusal) else await self._verified(token, held.nonce)

    async def _exchanged(self, code: str, verifier: str) -> str | Refusal:
        provider = await self._discovered()
        if isinstance(provider, Refusal):
            return provider
        fields = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.settings.redirect_uri,
            "client_id": self.settings.client_id, "code_verifier": verifier,
        }  # fmt: skip
        secret = self.settings.client_secret
        content, headers = form(fields)
        if secret:
            headers["authorization"] = basic(self.settings.client_id, secret)
        tokens = await _fetched("POST", provider.token_endpoint, _Tokens, content=content, headers=headers)
        return tokens if isinstance(tokens, Refusal) else tokens.id_token

    async def _verified(self, token: str, nonce: str) -> Who | Refusal:
        for is_fresh in (False, True):
            keys = await self._current_keys(is_fresh)
            if isinstance(keys, Refusal):
                return keys
            who = verify(token, self.settings, keys, nonce=nonce, now_ns=self._clock.now_ns())
            # A provider rotates its keys: one that we don't know yet is asked for once (OIDC Core 1.0, 10.1.1).
            if not isinstance(who, Refusal) or who.field != "id_token":
                break
        return who

    async def _current_keys(self, is_fresh: bool) -> Mapping[str, Any] | Refusal:
        if self._monotonic_s() < self._keys_until_s and not is_fresh:
            return self._keys
        provider = await self._discovered()
        if isinstance(provider, Refusal):
            return provider
        keys: Mapping[str, Any] | Refusal = await _fetched("GET", provider.jwks_uri, dict[str, Any])
        if not isinstance(keys, Refusal):
            self._keys, self._keys_until_s = keys, self._monotonic_s() + KEYS_LAST_S
        return keys

    async def _discovered(self) -> _Provider | Refusal:
        if self._provider is not None:
            return self._provider
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found: _Provider | Refusal = await _fetched("GET", url, _Provider)
        if isinstance(found, Refusal):
            return found
        if found.issuer != self.settings.issuer:
            return Refusal("the provider names another issuer", "issuer", found.issuer[:200], self.settings.issuer)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe(getattr(found, name)):
                return Refusal("the provider's address is not safe", name, getattr(found, name)[:200], "https")
        self._provider = found
        return found


def is_safe(url: str) -> bool:
    """Return whether secrets may go to an address: https, or plain http to this machine alone."""
    parts = urlsplit(url)
    is_near = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_near))


async def _fetched(method: str, url: str, kind: Any, **more: Any) -> Any:
    """Return what a provider answers, decoded; a Refusal where it fails, is too long or is not what it should be."""
    if not is_safe(url):
        return Refusal("the provider's address is not safe", "issuer", url[:200], "https")
    try:
        async with HttpClient() as client:
            answer = await client.call(method, url, answer_s=TIMEOUT_S, most_bytes=MOST_BYTES, **more)
    except Unanswered as error:
        return Refusal("the provider does not answer", "issuer", str(error)[:200])
    if answer.status != 200:
        return Refusal("the provider refused", "issuer", f"HTTP {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        return Refusal("the provider's answer is not understood", "issuer", str(error)[:200])
