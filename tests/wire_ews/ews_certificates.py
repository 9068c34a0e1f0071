"""Certificates of RSA and of an elliptic curve for tests of signed messages, made once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2021, 6, 14, 12, tzinfo=UTC)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Held:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def held(
    name: str, by: str = "", *, is_authority: bool = False, curve: bool = False, ends_days: int = 30, at: datetime = NOW
) -> Held:
    """Return a certificate of a name, signed by the authority `by`, or by itself; valid around `at`."""
    return _made(name, by, is_authority, curve, ends_days, at)


@cache
def _made(name: str, by: str, is_authority: bool, curve: bool, ends_days: int, at: datetime) -> Held:
    return signed(name, held(by, is_authority=True, at=at) if by else None, is_authority, curve, ends_days, at)


def signed(
    name: str,
    above: Held | None,
    is_authority: bool = False,
    curve: bool = False,
    ends_days: int = 30,
    at: datetime = NOW,
) -> Held:
    """Return a certificate of a name that is signed by the key of `above`, whatever that one may do, or by its own."""
    key = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(above.certificate.subject if above else named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=60))
        .not_valid_after(at + timedelta(days=ends_days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(above.key if above else key, hashes.SHA256())
    )
    return Held(made, key)
