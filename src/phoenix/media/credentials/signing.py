"""Signs a video with Content Credentials. The only module that imports c2pa.

Every copy by ffmpeg drops the credentials without a word, so signing is the last thing that happens to a result.
"""

import json
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from phoenix import __version__
from phoenix.clock import utc_now
from phoenix.contract import ResolvedReel, ResolvedStitch
from phoenix.errors import FailureCode, Stage, TaskFailed, install_extra
from phoenix.media.credentials.certificate import CertificateUnusable, SigningCertificate

C2PA_PACKAGE = "c2pa-python"
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_DRAWN = "animatic"
"""The model that draws: its pictures come from no trained model."""


def check_signing(certificate: SigningCertificate) -> None:
    """Raises `CertificateUnusable` if c2pa is missing, or does not take the certificate."""
    if find_spec("c2pa") is None:
        raise CertificateUnusable(f"signing needs a package that is missing: {install_extra('c2pa')}")
    try:
        _open_signer(certificate).close()
    except Exception as error:  # of the library, which has classes of its own
        raise CertificateUnusable(f"c2pa refuses the certificate: {error}") from error


def describe_origin(request: ResolvedReel | ResolvedStitch) -> Mapping[str, Any]:
    """What the credentials say of a result, in the form of c2pa. Prompts are not in it. Pure."""
    agent = {"name": "Phoenix", "version": __version__}
    if isinstance(request, ResolvedStitch):
        source, made = "composite", f"joined from {len(request.artifact_ids)} videos"
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
