"""Who may do what at the VTN: by OAuth scope, and of objects only one's own and what one's targets reach."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from msgspec import Struct

from tieline.times import SECOND_NS, Clock

Thing = dict[str, Any]
TOKEN_S = 3600
READ_ALL, READ_OWN = "read_all", "read_targets"
WRITES = {
    "programs": "write_programs",
    "events": "write_events",
    "reports": "write_reports",
    "subscriptions": "write_subscriptions",
    "vens": "write_vens",
    "resources": "write_vens",
}
OWNED = ("vens", "resources", "reports", "subscriptions")


class Client(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that may ask for tokens: the SHA-256 of its secret (hex), and its scopes."""

    id: str
    secret_sha256: str
    scopes: frozenset[str]


class Bearer(Struct, frozen=True):
    """Who calls."""

    client: str
    scopes: frozenset[str]


def secret_digest(secret: str) -> str:
    """Return what is kept of a machine's secret; such secrets are random and long, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """Gives and checks bearer tokens."""

    def __init__(self, clients: Mapping[str, Client], key: bytes, clock: Clock, issuer: str = "tieline-vtn") -> None:
        self._clients, self._key, self._clock, self._issuer = clients, OctKey.import_key(key), clock, issuer

    def grant(self, client_id: str, secret: str) -> str | None:
        """Return a token, or None where client or secret is wrong."""
        client = self._clients.get(client_id)
        held = client.secret_sha256 if client else "0" * 64
        same = hmac.compare_digest(held, secret_digest(secret))
        if client is None or not same:
            return None
        now = self._clock.now_ns() // SECOND_NS
        claims = {
            "iss": self._issuer, "aud": self._issuer, "sub": client_id, "exp": now + TOKEN_S, "iat": now,
            "scope": " ".join(sorted(client.scopes)),
        }  # fmt: skip
        return jwt.encode({"alg": "HS256"}, claims, self._key)

    def check(self, token: str) -> Bearer | None:
        """Return who a token speaks for, or None where it is false or over."""
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError):
            return None
        over = int(claims.get("exp", 0)) * SECOND_NS <= self._clock.now_ns()
        if over or claims.get("iss") != self._issuer or claims.get("aud") != self._issuer:
            return None
        return Bearer(str(claims["sub"]), frozenset(str(claims.get("scope", "")).split()))


def may(bearer: Bearer, method: str, kind: str) -> bool:
    """Return whether a call is allowed at all; which objects it reaches is `visible`'s matter."""
    if method == "GET":
        return bool(bearer.scopes & {READ_ALL, READ_OWN, "read_ven_objects"})
    return WRITES[kind] in bearer.scopes


def visible(bearer: Bearer, kind: str, thing: Thing, granted: frozenset[str]) -> bool:
    """Return whether a caller may see an object: all with read_all, else its own, or those that its targets reach."""
    if READ_ALL in bearer.scopes:
        return True
    if kind in OWNED:
        return bool(thing.get("clientID") == bearer.client)
    targets = thing.get("targets")
    return not targets or bool(granted & set(targets))


def granted_targets(bearer: Bearer, vens: Mapping[str, Thing], resources: Mapping[str, Thing]) -> frozenset[str]:
    """Return the targets that business logic gave to the caller's own VENs and resources."""
    own = [thing for thing in (*vens.values(), *resources.values()) if thing.get("clientID") == bearer.client]
    return frozenset(target for thing in own for target in thing.get("targets") or ())
