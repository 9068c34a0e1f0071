"""Who may do what at the VTN: by OAuth scope, and of objects only one's own and what one's targets reach.

OpenADR 3.1.0 Definition, "Object Privacy" and table of scopes. The standard names no scope for business logic that
writes VENs; it is known by `read_all` beside `write_vens`, or by the narrower `write_vens_bl` that other VTNs use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

import structlog
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.ids import NAME, derive, is_name
from tieline.times import SECOND_NS, Clock

_log = structlog.get_logger("tieline.vtn")
Thing = dict[str, Any]
TOKEN_S = 3600
READ_ALL = "read_all"
_TARGETED = frozenset({READ_ALL, "read_targets"})
_OWN = frozenset({READ_ALL, "read_ven_objects"})
READS = {
    "programs": _TARGETED,
    "events": _TARGETED,
    "reports": _OWN,
    "subscriptions": _OWN,
    "vens": _OWN,
    "resources": _OWN,
}
_VENS = frozenset({"write_vens", "write_vens_bl", "write_vens_ven"})
WRITES = {
    "programs": frozenset({"write_programs"}),
    "events": frozenset({"write_events"}),
    "reports": frozenset({"write_reports"}),
    "subscriptions": frozenset({"write_subscriptions", "write_subscriptions_bl", "write_subscriptions_ven"}),
    "vens": _VENS,
    "resources": _VENS,
}
SCOPES = frozenset().union(*READS.values(), *WRITES.values())
OWNED = ("vens", "resources", "reports", "subscriptions")
MOST_KNOWN = 1_024
"""Of so many tokens it is remembered that they are ours: a VEN shows the same one for an hour."""


class Client(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that may ask for tokens: the SHA-256 of its secret (hex), its scopes, and its certificate.

    `certificate` is `sha256:<hex>` of the only one that this client may show; empty: any of the authority.
    """

    id: str
    secret_sha256: str
    scopes: frozenset[str]
    certificate: str = ""

    def may_show(self, shown: str) -> bool:
        """Return whether a connection with this certificate may be the client's."""
        return not self.certificate or self.certificate == shown


class Bearer(Struct, frozen=True):
    """Who calls, and with what leave."""

    client: str
    scopes: frozenset[str]

    @property
    def is_business(self) -> bool:
        """Whether it may write VENs of others, their targets among them."""
        return "write_vens_bl" in self.scopes or {READ_ALL, "write_vens"} <= self.scopes


class Granted(Struct, frozen=True):
    """A token and the scopes that it carries."""

    token: str
    scopes: frozenset[str]


def secret_digest(secret: str) -> str:
    """Return what is kept of a machine's secret; such secrets are random and long, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_client(client_id: str, secret_sha256: str, path: str) -> None:
    """Refuse a client without a name or a secret. Raises ConfigError naming the path and what would do."""
    if not is_name(client_id):
        raise ConfigError(f"{path}.id = {client_id!r}: give {NAME}")
    if re.fullmatch("[0-9a-f]{64}", secret_sha256) is None:
        raise ConfigError(f"{path}.secret_sha256 = {secret_sha256!r}: give the 64 hex digits of `tieline credential`")
    if hmac.compare_digest(secret_sha256, secret_digest("")):
        # Whoever leaves the secret out would be let in: an empty one hashes as well as any other.
        raise ConfigError(f"{path}.secret_sha256 is the digest of an empty secret: make one by `tieline credential`")


class Tokens:
    """Gives and checks bearer tokens, and takes them back."""

    def __init__(self, clients: Mapping[str, Client], key: bytes, clock: Clock, issuer: str = "tieline-vtn") -> None:
        for name, client in clients.items():
            check_client(client.id, client.secret_sha256, f"$.clients.{name}")
        from joserfc.jwk import OctKey

        self._clients, self._key, self._clock, self._issuer = dict(clients), OctKey.import_key(key), clock, issuer
        self._made = 0
        self._ours: dict[str, Thing] = {}
        self.revoked_ns: dict[str, int] = {}

    def scopes_of(self, client_id: str) -> frozenset[str]:
        """Return what a client may do at most; nothing where it is unknown."""
        client = self._clients.get(client_id)
        return client.scopes if client else frozenset()

    def knows(self, client_id: str) -> bool:
        """Return whether a client may ask for tokens at all."""
        return client_id in self._clients

    @property
    def readers_of_all(self) -> list[str]:
        """Clients that see every object."""
        return [client.id for client in self._clients.values() if READ_ALL in client.scopes]

    def grant(
        self, client_id: str, secret: str, wanted: frozenset[str] | None = None, shown: str = ""
    ) -> Granted | None:
        """Return a token, or None where client, secret or certificate is wrong.

        Args:
            client_id: Who asks.
            secret: What it knows.
            wanted: Narrows the scopes.
            shown: `sha256:<hex>` of the certificate that its connection showed; the token is bound to it.
        """
        client = self._clients.get(client_id)
        # An unknown client costs the same comparison: how long an answer takes tells nobody which names exist.
        held = client.secret_sha256 if client else "0" * 64
        same = hmac.compare_digest(held, secret_digest(secret))
        if client is None or not same:
            return None
        if not client.may_show(shown):
            # The answer is that of a wrong secret (RFC 8705, 2.1: invalid_client): whoever stole it learns nothing.
            _log.warning("token refused", client=client_id, shown=shown or "none", pinned=client.certificate)
            return None
        scopes = client.scopes if wanted is None else client.scopes & wanted
        now = self._clock.now_ns() // SECOND_NS
        self._made += 1
        claims = {
            "iss": self._issuer, "aud": self._issuer, "sub": client_id, "exp": now + TOKEN_S, "iat": now,
            "jti": derive("token", client_id, self._clock.now_ns(), self._made), "scope": " ".join(sorted(scopes)),
            "ns": self._clock.now_ns(),
        }  # fmt: skip
        if shown:
            claims["cnf"] = {"x5t#S256": _thumbprint(shown)}  # RFC 8705, 3.1
        from joserfc import jwt

        return Granted(jwt.encode({"alg": "HS256"}, claims, self._key), scopes)

    def revoke(self, client_id: str, at_ns: int) -> None:
        """Let no token count that a client was given up to an instant."""
        self.revoked_ns[client_id] = max(at_ns, self.revoked_ns.get(client_id, 0))

    def check(self, token: str, shown: str = "") -> Bearer | None:
        """Return who a token speaks for, or None where it is false, over, taken back, or another machine's.

        The client must still be known, and a token never carries more than the client may have by now. `shown` is
        `sha256:<hex>` of the certificate that this call's connection showed.
        """
        try:
            claims = self._read(token)
            over_ns, made_ns = int(claims["exp"]) * SECOND_NS, int(claims["ns"])
            client, scopes = str(claims["sub"]), frozenset(str(claims["scope"]).split())
            bound = str(claims["cnf"]["x5t#S256"]) if "cnf" in claims else ""
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if claims.get("iss") != self._issuer or claims.get("aud") != self._issuer:
            return None
        if over_ns <= self._clock.now_ns() or made_ns <= self.revoked_ns.get(client, -1):
            return None
        if client not in self._clients:
            return None
        # RFC 8705, 3: a bound token counts over the certificate alone that it was given over.
        if (bound and bound != _thumbprint(shown)) or not self._clients[client].may_show(shown):
            _log.warning("token of another machine", client=client, shown=shown or "none")
            return None
        return Bearer(client, scopes & self._clients[client].scopes)

    def _read(self, token: str) -> Thing:
        """Return what a token says; whether that still counts is another matter. Raises ValueError: not ours."""
        claims = self._ours.get(token)
        if claims is None:
            from joserfc import jwt
            from joserfc.errors import JoseError

            try:
                # The algorithm is ours to say, never the token's own header (RFC 8725, 3.1).
                claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
            except JoseError as error:
                raise ValueError(str(error)) from error
            if len(self._ours) >= MOST_KNOWN:
                self._ours.clear()
            self._ours[token] = claims
        return claims


def _thumbprint(shown: str) -> str:
    """Return a fingerprint as tokens carry it: base64url of the digest, without padding (RFC 8705, 3.1)."""
    digest = bytes.fromhex(shown.removeprefix("sha256:"))
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def may(bearer: Bearer, method: str, kind: str) -> bool:
    """Return whether a call is allowed at all; which objects it reaches is `reaches`' and `shown`'s matter."""
    return bool(bearer.scopes & (READS if method == "GET" else WRITES)[kind])


def may_change(bearer: Bearer, kind: str, thing: Thing) -> bool:
    """Return whether a caller with the scope for a kind may change this object of it: its own, or all as business."""
    if kind not in OWNED or thing["clientID"] == bearer.client:
        return True
    return bearer.is_business if kind in ("vens", "resources") else READ_ALL in bearer.scopes


def shown(bearer: Bearer, kind: str, thing: Thing, granted: frozenset[str], wanted: frozenset[str]) -> Thing | None:
    """Return an object as a caller may see it, or None.

    All with read_all; else what is one's own, what has no targets, and what is reached by targets that were granted,
    are asked for, and stand in the object. Targets that weren't asked for are hidden, so that none is learned.
    """
    if kind == "subscriptions" and thing["clientID"] != bearer.client:
        return _without_secrets(thing) if READ_ALL in bearer.scopes else None
    if READ_ALL in bearer.scopes:
        return thing
    if kind in OWNED:
        return thing if thing["clientID"] == bearer.client else None
    if not thing.get("targets"):
        return thing
    # Definition, "Target hiding": a VTN includes requested targets alone, so that no VEN learns those of others.
    reached = [target for target in thing["targets"] if target in granted and target in wanted]
    return {**thing, "targets": reached} if reached else None


def _without_secrets(subscription: Thing) -> Thing:
    """Return a subscription of somebody else: the token by which its owner knows us is nobody else's business."""
    wishes = [{k: v for k, v in wish.items() if k != "bearerToken"} for wish in subscription["objectOperations"]]
    return {**subscription, "objectOperations": wishes}
