"""Reads the certificate of the operator, and refuses one whose signatures no reader of C2PA would accept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from phoenix.clock import utc_now
from phoenix.errors import PhoenixError
from phoenix.settings import C2paSettings

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_PURPOSES = {
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email protection",
    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"): "document signing",
    x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1"): "C2PA signing",
}
"""The extended key usages that C2PA accepts for a signer."""
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MIN_RSA_BITS = 2048


class CertificateUnusable(PhoenixError):
    """Results cannot be signed with the certificate."""


@dataclass(frozen=True)
class SigningCertificate:
    """A certificate that was checked, with its key. `algorithm`: the name that C2PA has for the kind of the key."""

    chain_pem: bytes
    key_pem: bytes
    algorithm: str
    subject: str
    expires_at: datetime
    timestamp_url: str | None = None

    def __repr__(self) -> str:
        # Without the key: logs and tracebacks show values.
        return f"SigningCertificate({self.subject!r}, expires_at={self.expires_at:%Y-%m-%d})"


def load_certificate(settings: C2paSettings) -> SigningCertificate | None:
    """The certificate of the settings; None if none is set. Raises `CertificateUnusable` with the reason."""
    if settings.certificate is None or settings.key is None:
        return None
    chain = _read_chain(settings.certificate)
    key_pem = _read(settings.key, "PHOENIX_C2PA__KEY")
    leaf = chain[0]
    algorithm = _check_key(key_pem, leaf)
    _check_leaf(leaf)
    _check_order(chain)
    return SigningCertificate(
        b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        key_pem,
        algorithm,
        leaf.subject.rfc4514_string(),
        leaf.not_valid_after_utc,
        settings.timestamp_url,
    )


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{name}: {path} cannot be read: {error.strerror}") from error


def _read_chain(path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, "PHOENIX_C2PA__CERTIFICATE"))
    except ValueError as error:
        raise CertificateUnusable(f"PHOENIX_C2PA__CERTIFICATE: {path} has no certificate in PEM") from error


def _check_key(key_pem: bytes, leaf: x509.Certificate) -> str:
    """The algorithm of the key."""
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateUnusable("PHOENIX_C2PA__KEY is no private key in PEM without a password") from error
    public = key.public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise CertificateUnusable(
            "PHOENIX_C2PA__KEY is not the key of the first certificate in PHOENIX_C2PA__CERTIFICATE"
        )
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return _CURVES[public.curve.name]
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(public, rsa.RSAPublicKey) and public.key_size >= _MIN_RSA_BITS:
        return "ps256"
    detail = f"the key must be P-256, P-384, P-521, Ed25519, or RSA with {_MIN_RSA_BITS} bits or more"
    raise CertificateUnusable(detail)


def _check_leaf(leaf: x509.Certificate) -> None:
    name = leaf.subject.rfc4514_string()
    if leaf.issuer == leaf.subject:
        raise CertificateUnusable(f"the certificate of {name} is self-signed; have an authority sign it")
    now = utc_now()
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        valid = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise CertificateUnusable(f"the certificate of {name} is valid from {valid}")
    constraints = _find(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CertificateUnusable(f"the first certificate, of {name}, is that of an authority; put the signer's first")
    usage = _find(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise CertificateUnusable(f"the certificate of {name} is not for digital signatures")
    purposes = _find(leaf, x509.ExtendedKeyUsage)
    if purposes is None or not any(purpose in _PURPOSES for purpose in purposes):
        allowed = ", ".join(_PURPOSES.values())
        raise CertificateUnusable(f"the certificate of {name} needs one of the extended key usages {allowed}")


def _check_order(chain: Sequence[x509.Certificate]) -> None:
    for issued, issuer in pairwise(chain):
        if issued.issuer != issuer.subject:
            name = issued.subject.rfc4514_string()
            raise CertificateUnusable(f"the certificate after the one of {name} is not its issuer's")


def _find(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
