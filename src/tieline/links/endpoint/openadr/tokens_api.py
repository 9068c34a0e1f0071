"""Where tokens are given: OAuth2 client credentials (RFC 6749, 4.4), by form or by HTTP Basic (2.3.1)."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tieline.links.endpoint.openadr.access import TOKEN_S, Tokens
from tieline.links.endpoint.openadr.limits import Buckets, TooLarge, VtnLimits, read_body
from tieline.links.endpoint.openadr.words import json_of, problem
from tieline.rim.serve import CERTIFICATE

MOST_FORM = 16_384


class TokenDesk:
    """Gives tokens; who guesses secrets is slowed down, by the client that it names."""

    def __init__(self, tokens: Tokens, limits: VtnLimits) -> None:
        self._tokens = tokens
        self._wrong = Buckets(limits.token_rate_per_s, limits.token_burst)
        self.refused = 0

    async def where(self, request: Request) -> Response:
        """Say where tokens are given: the one thing that needs none."""
        return json_of({"tokenURL": f"{request.url.scheme}://{request.url.netloc}/auth/token"})

    async def give(self, request: Request) -> Response:
        """Give a token for a client's id and secret."""
        try:
            form = _form(await read_body(request, MOST_FORM))
        except ClientDisconnect:
            return problem(400, "bad request", "the caller hung up")
        except (TooLarge, ValueError) as error:
            return problem(
                400, "bad request", f"give a form of at most {MOST_FORM} bytes: {error}", {}, "invalid_request"
            )
        if form.get("grant_type") != "client_credentials":
            detail = "grant_type: give client_credentials"
            return problem(400, "bad request", detail, {}, "unsupported_grant_type")
        client, secret = _basic(request.headers.get("authorization", "")) or ("", "")
        client, secret = client or form.get("client_id", ""), secret or form.get("client_secret", "")
        wanted = frozenset(form["scope"].split()) if form.get("scope", "").strip() else None
        granted = self._tokens.grant(client, secret, wanted, shown_by(request))
        if granted is None:
            return self._no(client)  # counted by client: a right secret is never locked out by somebody's wrong ones
        if wanted is not None and not granted.scopes:
            return problem(400, "bad request", "scope: none of these is this client's", {}, "invalid_scope")
        answer = {"access_token": granted.token, "token_type": "Bearer", "expires_in": TOKEN_S}
        response = json_of({**answer, "scope": " ".join(sorted(granted.scopes))})
        response.headers["cache-control"] = "no-store"  # RFC 6749, 5.1
        return response

    def _no(self, client: str) -> Response:
        self.refused += 1
        wait_s = self._wrong.take(client[:128], asyncio.get_running_loop().time())
        if wait_s:
            return problem(429, "too many requests", "too many wrong secrets", {"retry-after": str(int(wait_s) + 1)})
        said = {"www-authenticate": 'Basic realm="openadr"'}
        return problem(401, "unauthorized", "client_id or client_secret is wrong", said, "invalid_client")


def shown_by(request: Request) -> str:
    """Return `sha256:<hex>` of the certificate that a request's connection showed; empty: none."""
    return str(getattr(request.state, CERTIFICATE, ""))


def _form(body: bytes) -> dict[str, str]:
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    form = dict(pairs)
    if len(form) != len(pairs):
        raise ValueError("a field stands twice")
    return form


def _basic(header: str) -> tuple[str, str] | None:
    """Return (client, secret) of HTTP Basic credentials, or None."""
    word, _, coded = header.partition(" ")
    if word.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return unquote_plus(client), unquote_plus(secret)
