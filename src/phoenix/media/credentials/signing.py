"""Reads the certificate of the operator, and signs videos with Content Credentials. The only module that imports c2pa.

A certificate whose signatures no reader of C2PA would accept is refused. Every copy by ffmpeg drops the credentials
without a word, so signing is the last thing that happens to a result.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from phoenix import __version__
from phoenix.clock import utc_now
from phoenix.contract import ResolvedLipsync, ResolvedReel, ResolvedStitch
from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed, install_extra
from phoenix.settings import C2paSettings

C2PA_PACKAGE = "c2pa-python"
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_DRAWN = "animatic"
"""The model that draws: its pictures come from no trained model."""

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


def check_signing(certificate: SigningCertificate) -> None:
    """Raises `CertificateUnusable` if c2pa is missing, or does not take the certificate."""
    if find_spec("c2pa") is None:
        raise CertificateUnusable(f"signing needs a package that is missing: {install_extra('c2pa')}")
    try:
        _open_signer(certificate).close()
    except Exception as error:  # of the library, which has classes of its own
        raise CertificateUnusable(f"c2pa refuses the certificate: {error}") from error


def describe_origin(request: ResolvedReel | ResolvedStitch | ResolvedLipsync) -> Mapping[str, Any]:
    """What the credentials say of a result, in the form of c2pa. Prompts are not in it. Pure."""
    agent = {"name": "Phoenix", "version": __version__}
    if isinstance(request, ResolvedStitch):
        source, made = "composite", f"joined from {len(request.artifact_ids)} videos"
    elif isinstance(request, ResolvedLipsync):
        source, made = "compositeSynthetic", f"lips moved to a sound by the model {request.model}"
    else:
        source = "algorithmicMedia" if request.model == _DRAWN else "trainedAlgorithmicMedia"
        made = f"made of {len(request.clips)} clips by the model {request.model}"
    created = {"action": "c2pa.created", "digitalSourceType": f"{_SOURCE_TYPE}{source}", "softwareAgent": agent}
    return {
        "claim_generator_info": [agent],
        "title": "reel.mp4",
        "format": "video/mp4",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [{**created, "description": made}]}}],
    }


def sign_video(source: Path, output: Path, origin: Mapping[str, Any], certificate: SigningCertificate) -> str:
    """Writes `source` with signed credentials. Returns the version of c2pa. Raises `TaskFailed`. Blocks.

    Takes about twice the size of the file in memory.
    """
    if certificate.expires_at < utc_now():
        detail = f"the certificate of {certificate.subject} has expired: see PHOENIX_C2PA__CERTIFICATE"
        raise TaskFailed(FailureCode.MODEL_UNAVAILABLE, detail, stage=Stage.ASSEMBLE)
    c2pa = _library()
    try:
        with (
            c2pa.Builder(json.dumps(origin)) as builder,
            source.open("rb") as read,
            output.open("w+b") as written,
            _open_signer(certificate) as signer,
        ):
            builder.sign(signer, "video/mp4", read, written)
    except Exception as error:
        detail = f"the result cannot be signed: {error}"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.ASSEMBLE, retriable=True) from error
    return metadata.version(C2PA_PACKAGE)


def _open_signer(certificate: SigningCertificate) -> Any:
    c2pa = _library()
    url = certificate.timestamp_url.encode() if certificate.timestamp_url else None
    info = c2pa.C2paSignerInfo(certificate.algorithm.encode(), certificate.chain_pem, certificate.key_pem, url)
    return c2pa.Signer.from_info(info)


def _library() -> Any:
    # Part of an extra.
    import c2pa  # noqa: PLC0415  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]

    return cast("Any", c2pa)
