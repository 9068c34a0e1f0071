"""Id tokens of an OpenID Connect provider: verified against its keys, then mapped to roles. Nothing is fetched here.

OpenID Connect Core 1.0, 3.1.3.7: issuer, audience, signature, expiry, nonce. Only asymmetric algorithms are taken, so
that nobody signs with a public key as a secret, and `none` is no algorithm.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tieline.console.auth.accounts import OF_PROVIDER
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import Who
from tieline.resource.claim import Refusal
from tieline.rim.texts import text_in
from tieline.times import SECOND_NS

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LEEWAY_S = 60
MOST_NAME = 80
NAME_LIMIT = f"1 to {MOST_NAME} characters that show, of one alphabet, with single blanks between them alone"
_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE"})
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Unicode's Default_Ignorable_Code_Point that Python calls printable, and the empty braille cell."""


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
        return text_in(Path(self.client_secret_file)).strip() if self.client_secret_file else ""


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
    field = settings.name_claim if claims.get(settings.name_claim) not in (None, "") else "sub"
    name = claims[field]
    unfit = _unfit(name)
    if unfit:
        return Refusal(f"the name that the provider gives {unfit}", field, ascii(name)[:200], NAME_LIMIT)
    return Who(f"{OF_PROVIDER}{name}", roles)


def _unfit(name: object) -> str:
    """Return why a name isn't taken; empty: it is. A name is a person here, and the second of two by it alone.

    It is never cut or mended, as two people could be one after that. What a reader can't tell from another name is no
    name: signs that don't show, other forms of a letter, letters of several alphabets that look alike.

    >>> _unfit("ann lee"), _unfit("ann lee "), _unfit("x" * 81)
    ('', 'begins or ends with a blank, or has two together', 'has 81 characters, more than 80')
    """
    if not isinstance(name, str):
        return "is no text"
    if not name:
        return "is empty"
    if len(name) > MOST_NAME:
        return f"has {len(name)} characters, more than {MOST_NAME}"
    if not name.isprintable() or _UNSEEN.search(name):
        return "has characters that don't show"
    if name.strip() != name or "  " in name:
        return "begins or ends with a blank, or has two together"
    if unicodedata.normalize("NFKC", name) != name:
        return "has characters in another than their usual form (NFKC)"
    alphabets = {unicodedata.name(letter, "").partition(" ")[0] for letter in name} & _ALIKE
    return f"mixes letters that look alike ({' and '.join(sorted(alphabets))})" if len(alphabets) > 1 else ""


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
