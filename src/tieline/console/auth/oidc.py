"""Id tokens of an OpenID Connect provider: verified against its keys, then mapped to roles. Nothing is fetched here.

OpenID Connect Core 1.0, 3.1.3.7: issuer, audience, signature, expiry, nonce. Only asymmetric algorithms are taken, so
that nobody signs with a public key as a secret, and `none` is no algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tieline.console.auth.accounts import OF_PROVIDER
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import Who
from tieline.resource.claim import Refusal
from tieline.times import SECOND_NS

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LEEWAY_S = 60


class OidcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider that we trust: its issuer, our client id, where groups stand, and which role each group gives.

    `redirect_uri` is our own `/oidc/callback` as people reach it; it is set, never taken from a request's Host header.
    `label` is what the sign-in button says. The secret stands in a file, so that no secret stands in a configuration.
    """

    issuer: str
    client_id: str
    roles_claim: str = "groups"
    name_claim: str = "preferred_username"
    role_of: dict[str, Role] = {}
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ("openid", "profile")
    label: str = "single sign-on"
    client_secret_file: str = ""

    @property
    def client_secret(self) -> str:
        """The secret of our client; empty: a public client, which PKCE alone protects."""
        return Path(self.client_secret_file).read_text("utf-8").strip() if self.client_secret_file else ""


def verify(token: str, settings: OidcSettings, jwks: Mapping[str, Any], *, nonce: str, now_ns: int) -> Who | Refusal:
    """Return who an id token names, or why it is not taken.

    Args:
        token: The id token as it came.
        settings: The provider.
        jwks: Its public keys (a JWK set).
        nonce: What we put into the request; a token of another request is not taken.
        now_ns: Now.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        return Refusal(f"the id token is not valid: {type(error).__name__}", "id_token")
    refusal = _refusal(claims, settings, nonce, now_ns // SECOND_NS)
    if refusal is not None:
        return refusal
    groups = claims.get(settings.roles_claim, ())
    named: Sequence[Any] = groups if isinstance(groups, list) else ()
    roles = tuple(sorted({settings.role_of[g] for g in named if isinstance(g, str) and g in settings.role_of}))
    if not roles:
        return Refusal("no group of this person gives a role", settings.roles_claim, str(named)[:200])
    name = claims.get(settings.name_claim) or claims["sub"]
    return Who(f"{OF_PROVIDER}{str(name)[:80]}", roles)


def _refusal(claims: Mapping[str, Any], settings: OidcSettings, nonce: str, now_s: int) -> Refusal | None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires, issued = claims.get("exp"), claims.get("iat")
    if claims.get("iss") != settings.issuer:
        return Refusal("another issuer", "iss", str(claims.get("iss"))[:200], settings.issuer)
    if settings.client_id not in audiences or (len(audiences) > 1 and claims.get("azp") != settings.client_id):
        return Refusal("meant for somebody else", "aud", str(audience)[:200], settings.client_id)
    if not isinstance(expires, (int, float)) or expires + LEEWAY_S <= now_s:
        return Refusal("the id token is over", "exp", str(expires), f"after {now_s}")
    if not isinstance(issued, (int, float)) or issued > now_s + LEEWAY_S:
        return Refusal("the id token is not yet valid", "iat", str(issued), f"up to {now_s}")
    if not nonce or claims.get("nonce") != nonce:
        return Refusal("the id token answers another request", "nonce")
    return None if isinstance(claims.get("sub"), str) else Refusal("the id token names nobody", "sub")
