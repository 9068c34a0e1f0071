"""X.509 for links: contexts that want a client certificate, and a small authority for simulations and tests.

TLS 1.2 or later; client certificates required on servers; session tickets off, as a revoked client would otherwise
resume its session.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tieline.errors import ConfigError
from tieline.times import DAY_NS, Clock, from_ns, iso, to_ns

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate, its key and the authority that vouches for the other side are kept (PEM)."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of the certificate, as access lists pin it."""
        return f"sha256:{sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()}"


def server_context(files: Files) -> ssl.SSLContext:
    """Return a server's context that wants a certificate of every client. Raises ConfigError for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return _loaded(context, files)


def client_context(files: Files, clock: Clock) -> ssl.SSLContext:
    """Return a client's context with its own certificate.

    Raises:
        ConfigError: A file can't be used, or our certificate is not valid now.
    """
    check_validity(files.certificate, clock)
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


@dataclass(frozen=True, slots=True)
class Lasting:
    """The first and the last instant at which a certificate is valid (UTC, ns)."""

    begins_ns: int
    ends_ns: int

    def against(self, now_ns: int) -> str:
        """Return the words of a refusal: from when until when it is valid, what time it is, and what would do."""
        valid = f"valid from {iso(self.begins_ns)} to {iso(self.ends_ns)}, and now is {iso(now_ns)}"
        return f"{valid}: give one that is valid now"


def lastings(pem: Path) -> list[Lasting]:
    """Return how long each certificate of a file is valid, one or more. Raises ConfigError for a file without any."""
    from cryptography import x509

    try:
        held = x509.load_pem_x509_certificates(pem.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{pem}: {error}: give a certificate, PEM") from None
    return [Lasting(to_ns(one.not_valid_before_utc), to_ns(one.not_valid_after_utc)) for one in held]


def check_validity(certificate: Path, clock: Clock) -> None:
    """Refuse a certificate that is not valid now. Raises ConfigError naming the file and the dates."""
    own, now_ns = lastings(certificate)[0], clock.now_ns()  # what follows it in the file vouches for it
    if not own.begins_ns <= now_ns <= own.ends_ns:
        raise ConfigError(f"{certificate}: {own.against(now_ns)}")


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have a context show a certificate by its key; a key that wants a pass phrase is refused, and nobody asked for it.

    Raises:
        ConfigError: A file can't be used, or the key is not that of the certificate: both are named.
    """
    try:
        # An empty pass phrase, as a key that wants one would else ask for it at a terminal that nobody sits at.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        if _are_strangers(certificate, key):
            raise ConfigError(
                f"the key in {key} is not that of the certificate in {certificate}: give a certificate and its own key"
            ) from None
        raise ConfigError(
            f"{certificate}, {key}: {error}: give a certificate and its key, both PEM, without a pass phrase"
        ) from None


def _are_strangers(certificate: Path, key: Path) -> bool:
    """Return whether both files can be read, and the key is another than the first certificate's."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        shown = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        held = load_pem_private_key(key.read_bytes(), None).public_key()
        return shown.public_bytes(*form) != held.public_bytes(*form)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _loaded(context: ssl.SSLContext, files: Files) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_pair(context, files.certificate, files.key)
    try:
        context.load_verify_locations(files.authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{files.authority}: {error}: give the certificate of an authority, PEM") from None
    return context


class Authority:
    """A certificate authority in a folder; keys are made afresh and never leave it. For simulations and tests."""

    def __init__(self, folder: Path, clock: Clock, name: str = "tieline test authority") -> None:
        self._folder, self._clock = folder, clock
        self._key = _new_key()
        self._subject = _name(name)
        self.file = folder / "authority.pem"
        self._write(self.file, self._sign(self._subject, self._key, [], -DAY_NS, 3650 * DAY_NS, authority=True))

    def issue(self, name: str, *hosts: str, days: float = 30, begins_days: float = -1) -> Files:
        """Return a certificate for a name (and hosts), valid from `begins_days` to `days` from now."""
        key = _new_key()
        begins_ns, ends_ns = int(begins_days * DAY_NS), int(days * DAY_NS)
        made = self._sign(_name(name), key, list(hosts) or [name], begins_ns, ends_ns, authority=False)
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key", self.file)
        self._write(files.certificate, made)
        files.key.touch(mode=0o600)
        files.key.write_bytes(_key_pem(key))
        return files

    def _sign(
        self,
        subject: x509.Name,
        key: EllipticCurvePrivateKey,
        hosts: list[str],
        begins_ns: int,
        ends_ns: int,
        *,
        authority: bool,
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now = from_ns(self._clock.now_ns())
        names = [_alternative(host) for host in hosts]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(microseconds=begins_ns // 1000))
            .not_valid_after(now + timedelta(microseconds=ends_ns // 1000))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, file: Path, certificate: x509.Certificate) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding

        file.write_bytes(certificate.public_bytes(Encoding.PEM))


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
