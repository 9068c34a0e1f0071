"""WS-Security on an envelope: sign the body and a timestamp with an X.509 token, and trust what is signed so.

Theory of operation. A signer puts `wsse:Security` into the header: its certificate as a binary token, a timestamp, and
one XML signature over the body and the timestamp by their `wsu:Id`, each in exclusive canonical form. A reader takes
the one body of the envelope and nothing else, and only where a reference of the signed info names that very element by
an id that no other element has: what is moved about, or wrapped, is no longer what was signed. Then it asks who signed:
the certificate must be vouched for by an authority that we know, be valid now, and bear the name of the other side, as
the same authority vouches for other participants too.

MD5 and DSA, which the market's specification names as well, are not taken. RSA with SHA-1, which it recommends, is
taken and made only where a setting says so.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1, sha256, sha512
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from tieline.wire.ews import names as ns
from tieline.wire.ews.errors import Malformed, Unsigned
from tieline.wire.ews.tree import Tree, canonical, child, new

Strength = Literal["sha256", "sha512", "sha1"]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}
_DIGESTS = {"sha1": sha1, "sha256": sha256, "sha512": sha512}
_DIGEST_URI = {
    "sha1": f"{ns.DS}sha1",
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_RSA_URI = {"sha1": f"{ns.DS}rsa-sha1", "sha256": f"{_MORE}rsa-sha256", "sha512": f"{_MORE}rsa-sha512"}
_EC_URI = {"sha256": f"{_MORE}ecdsa-sha256", "sha512": f"{_MORE}ecdsa-sha512"}
LASTS = timedelta(minutes=5)
_ID = f"{{{ns.WSU}}}Id"
MOST_CHAIN = 5


@dataclass(frozen=True, slots=True)
class Signer:
    """Who we are: our certificate, its key, and how strong a digest we sign with."""

    certificate: x509.Certificate
    key: Key
    strength: Strength = "sha256"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom we believe: authorities, the common name that a signer must bear, and how far clocks may differ."""

    authorities: tuple[x509.Certificate, ...]
    name: str
    skew: timedelta = timedelta(minutes=5)
    takes_sha1: bool = False


def signer_of(certificate: bytes, key: bytes, strength: Strength = "sha256") -> Signer:
    """Return a signer from PEM texts. Raises ValueError for what is none, or a key that can't sign so."""
    held = x509.load_pem_x509_certificate(certificate)
    loaded = load_pem_private_key(key, None)
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("neither an RSA nor an elliptic-curve key")
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and strength == "sha1":
        raise ValueError("SHA-1 is for RSA keys alone")
    if loaded.public_key() != held.public_key():
        raise ValueError("the key is not that of the certificate")
    return Signer(held, loaded, strength)


def authorities_of(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM bundle. Raises ValueError for what is none."""
    return tuple(x509.load_pem_x509_certificates(pem))


def instant(at: datetime) -> str:
    """Return an instant as WS-Security writes it: UTC with Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# --- signing ----------------------------------------------------------------------------------------------------------


def seal(envelope: Tree, signer: Signer, now: datetime) -> Tree:
    """Sign an envelope's body and a fresh timestamp, in place, and return it."""
    body = envelope.find(f"{{{ns.SOAP}}}Body")
    header = envelope.find(f"{{{ns.SOAP}}}Header")
    if header is None:
        header = new(ns.SOAP, "Header")
        envelope.insert(0, header)
    security = child(header, ns.WSSE, "Security")
    security.set(f"{{{ns.SOAP}}}mustUnderstand", "1")
    token = base64.b64encode(signer.certificate.public_bytes(Encoding.DER)).decode()
    kind = {"EncodingType": ns.BASE64, "ValueType": ns.X509_V3}
    child(security, ns.WSSE, "BinarySecurityToken", token, **kind).set(_ID, "token")
    stamp = child(security, ns.WSU, "Timestamp")
    stamp.set(_ID, "stamp")
    child(stamp, ns.WSU, "Created", instant(now))
    child(stamp, ns.WSU, "Expires", instant(now + LASTS))
    body.set(_ID, "body")
    _sign(security, {"body": body, "stamp": stamp}, signer)
    return envelope


def _sign(security: Tree, parts: dict[str, Tree], signer: Signer) -> None:
    uris = _RSA_URI if isinstance(signer.key, rsa.RSAPrivateKey) else _EC_URI
    signature = child(security, ns.DS, "Signature")
    info = child(signature, ns.DS, "SignedInfo")
    child(info, ns.DS, "CanonicalizationMethod", Algorithm=ns.EXC_C14N)
    child(info, ns.DS, "SignatureMethod", Algorithm=uris[signer.strength])
    for name, part in parts.items():
        reference = child(info, ns.DS, "Reference", URI=f"#{name}")
        child(child(reference, ns.DS, "Transforms"), ns.DS, "Transform", Algorithm=ns.EXC_C14N)
        child(reference, ns.DS, "DigestMethod", Algorithm=_DIGEST_URI[signer.strength])
        digest = _DIGESTS[signer.strength](canonical(part)).digest()
        child(reference, ns.DS, "DigestValue", base64.b64encode(digest).decode())
    value = _signed(signer, canonical(info))
    child(signature, ns.DS, "SignatureValue", base64.b64encode(value).decode())
    held = child(child(signature, ns.DS, "KeyInfo"), ns.WSSE, "SecurityTokenReference")
    child(held, ns.WSSE, "Reference", URI="#token", ValueType=ns.X509_V3)


def _signed(signer: Signer, data: bytes) -> bytes:
    kind = HASHES[signer.strength]
    if isinstance(signer.key, rsa.RSAPrivateKey):
        return signer.key.sign(data, padding.PKCS1v15(), kind)
    # XML signatures hold r and s side by side (RFC 6931, 2.3.6), not in ASN.1.
    size = (signer.key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(signer.key.sign(data, ec.ECDSA(kind)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


# --- trusting ---------------------------------------------------------------------------------------------------------


def trusted_body(envelope: Tree, trust: Trust, now: datetime) -> Tree:
    """Return the one body of an envelope, signed by whom we trust.

    Raises:
        Malformed: No envelope with one body.
        Unsigned: No signature, a broken one, one over something else, an old one, or one by somebody else.
    """
    body = body_of(envelope)
    security = _only(envelope.findall(f"{{{ns.SOAP}}}Header/*"), ns.WSSE_READ, "Security", "header")
    token = _only(security, ns.WSSE_READ, "BinarySecurityToken", "security header")
    stamp = _only(security, ns.WSU_READ, "Timestamp", "security header")
    signature = _only(security, (ns.DS,), "Signature", "security header")
    _check_references(envelope, signature, {"body": body, "timestamp": stamp}, trust)
    try:
        signed_by = _certificate(signature, token)
        _check_signature(signature, signed_by, trust)
        _check_chain(signed_by, trust, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        # Parts of a certificate are read when they are asked for, each with faults of its own.
        raise Unsigned(f"the certificate can't be read: {str(error)[:100]}") from None
    _check_time(stamp, trust, now)
    return body


def body_of(envelope: Tree) -> Tree:
    """Return the one body of an envelope. Raises Malformed where there isn't one."""
    bodies = envelope.findall(f"{{{ns.SOAP}}}Body")
    if envelope.tag != f"{{{ns.SOAP}}}Envelope" or len(bodies) != 1:
        raise Malformed("no SOAP envelope with one body")
    return bodies[0]


def _check_references(envelope: Tree, signature: Tree, parts: dict[str, Tree], trust: Trust) -> None:
    """Refuse a signature that does not cover each part, by an id that is that part's alone."""
    ids: dict[str, list[Tree]] = {}
    for element in envelope.iter():
        found = {element.get(f"{{{space}}}Id") for space in ns.WSU_READ} | {element.get("Id"), element.get("ID")}
        for name in found - {None}:
            ids.setdefault(name, []).append(element)
    covered = []
    for reference in signature.findall(f"{{{ns.DS}}}SignedInfo/{{{ns.DS}}}Reference"):
        named = ids.get((reference.get("URI") or "").removeprefix("#"), [])
        if len(named) != 1 or not (reference.get("URI") or "").startswith("#"):
            raise Unsigned(f"reference {(reference.get('URI') or '')[:64]!r} names {len(named)} elements: give one")
        transforms = [each.get("Algorithm") for each in reference.iter(f"{{{ns.DS}}}Transform")]
        if transforms != [ns.EXC_C14N] or _inclusive(reference):
            raise Unsigned(f"transforms {transforms}: exclusive canonical form alone is taken")
        strength = _strength(_DIGEST_URI, reference, "DigestMethod", trust)
        if _DIGESTS[strength](canonical(named[0])).digest() != _decoded(reference, "DigestValue"):
            raise Unsigned(f"what {reference.get('URI')[:64]!r} names is not what was signed")
        covered.append(named[0])
    for name, part in parts.items():
        if not any(each is part for each in covered):
            raise Unsigned(f"the {name} is not signed")


def _check_signature(signature: Tree, signed_by: x509.Certificate, trust: Trust) -> None:
    info = _only(signature, (ns.DS,), "SignedInfo", "signature")
    method = info.find(f"{{{ns.DS}}}CanonicalizationMethod")
    if method is None or method.get("Algorithm") != ns.EXC_C14N or _inclusive(method):
        raise Unsigned("the signed info is not in exclusive canonical form")
    key, value = signed_by.public_key(), _decoded(signature, "SignatureValue")
    uris = _RSA_URI if isinstance(key, rsa.RSAPublicKey) else _EC_URI
    strength = _strength(uris, info, "SignatureMethod", trust)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, canonical(info), padding.PKCS1v15(), HASHES[strength])
        elif isinstance(key, ec.EllipticCurvePublicKey):
            half = len(value) // 2
            pair = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
            key.verify(encode_dss_signature(*pair), canonical(info), ec.ECDSA(HASHES[strength]))
        else:
            raise Unsigned("signed with neither RSA nor an elliptic curve")
    except InvalidSignature:
        raise Unsigned("the signature does not fit its certificate") from None


def _inclusive(element: Tree) -> bool:
    """Whether a canonical form is to hold more namespaces than are used: refused, as ours holds none."""
    return any(each.get("PrefixList") for each in element.iter(f"{{{ns.EXC_C14N}}}InclusiveNamespaces"))


def _strength(uris: dict[str, str], parent: Tree, name: str, trust: Trust) -> str:
    method = parent.find(f"{{{ns.DS}}}{name}")
    given = "" if method is None else method.get("Algorithm") or ""
    found = next((strength for strength, uri in uris.items() if uri == given), None)
    if found is None or (found == "sha1" and not trust.takes_sha1):
        raise Unsigned(f"{name} {given[-40:]!r}: RSA or elliptic curve with SHA-256 or SHA-512 is taken")
    return found


def _certificate(signature: Tree, token: Tree) -> x509.Certificate:
    named = [each.get("URI") or "" for space in ns.WSSE_READ for each in signature.iter(f"{{{space}}}Reference")]
    mine = {token.get(f"{{{space}}}Id") for space in ns.WSU_READ}
    if len(named) != 1 or named[0].removeprefix("#") not in mine:
        raise Unsigned("the signature's key is not the token of the message")
    return x509.load_der_x509_certificate(base64.b64decode("".join((token.text or "").split()), validate=True))


def _check_chain(held: x509.Certificate, trust: Trust, now: datetime) -> None:
    """Refuse a certificate that no authority of ours vouches for, that is not valid now, or of another name."""
    named = [str(each.value) for each in held.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if named != [trust.name]:
        raise Unsigned(f"signed by {', '.join(named)[:64] or 'nobody'}: {trust.name} was expected")
    link = held
    for _ in range(MOST_CHAIN):
        if not link.not_valid_before_utc <= now <= link.not_valid_after_utc:
            raise Unsigned(f"the certificate of {link.subject.rfc4514_string()[:64]} is not valid now")
        above = next((each for each in trust.authorities if _vouches(each, link)), None)
        if above is None:
            raise Unsigned(f"no authority of ours vouches for {link.subject.rfc4514_string()[:64]}")
        if above.issuer == above.subject:
            if not above.not_valid_before_utc <= now <= above.not_valid_after_utc:
                raise Unsigned(f"the authority {above.subject.rfc4514_string()[:64]} is not valid now")
            return
        link = above
    raise Unsigned(f"a chain of more than {MOST_CHAIN} certificates")


def _vouches(above: x509.Certificate, link: x509.Certificate) -> bool:
    try:
        if not above.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        link.verify_directly_issued_by(above)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_time(stamp: Tree, trust: Trust, now: datetime) -> None:
    found = {}
    for name in ("Created", "Expires"):
        texts = [each.text or "" for space in ns.WSU_READ for each in stamp.findall(f"{{{space}}}{name}")]
        try:
            (text,) = texts
            found[name] = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
            late = (now - found[name]) / timedelta(seconds=1)
        except (ValueError, TypeError, OverflowError):
            raise Unsigned(f"timestamp: {name} is no instant") from None
        most = trust.skew / timedelta(seconds=1)
        if (name == "Created" and late < -most) or (name == "Expires" and late > most):
            raise Unsigned(f"timestamp: {name} = {text.strip()[:40]}, and now is {instant(now)}")
    if found["Expires"] - found["Created"] > timedelta(hours=1):
        raise Unsigned("timestamp: valid for more than an hour")


def _only(parent: Tree, spaces: tuple[str, ...], name: str, where: str) -> Tree:
    found = [each for each in parent for space in spaces if each.tag == f"{{{space}}}{name}"]
    if len(found) != 1:
        raise Unsigned(f"{len(found)} {name} in the {where}: give one")
    return found[0]


def _decoded(parent: Tree, name: str) -> bytes:
    held = parent.find(f"{{{ns.DS}}}{name}")
    try:
        return base64.b64decode("".join(((None if held is None else held.text) or "").split()), validate=True)
    except (ValueError, binascii.Error):
        raise Unsigned(f"{name} is no base64") from None
