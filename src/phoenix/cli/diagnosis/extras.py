"""Checks what a server may have in addition: search by meaning, lip models, and the certificate of results."""

import asyncio

from phoenix.catalog.catalog import load_catalog
from phoenix.cli.diagnosis.finding import CheckStatus, Finding
from phoenix.embedding.sentence_model import Embedder, SentenceModelUnusable
from phoenix.lipsync.models import TalkingEngines
from phoenix.media.credentials.signing import CertificateUnusable, check_signing, load_certificate
from phoenix.settings import Settings


async def check_search(settings: Settings) -> Finding:
    """Computes one vector with the sentence model."""
    embedder = Embedder(settings.search)
    try:
        if embedder.fault is not None:
            return Finding("search", CheckStatus.OK, f"none: {embedder.fault}")
        vectors = await embedder.embed(["a red balloon over a harbour"])
    except SentenceModelUnusable as error:
        remedy = "Correct PHOENIX_SEARCH__MODEL_DIR."
        return Finding("search", CheckStatus.NOTE, error.detail, remedy)
    finally:
        embedder.close()
    return Finding("search", CheckStatus.OK, f"with vectors of {vectors.size} numbers")


async def check_credentials(settings: Settings) -> Finding:
    """Reads the certificate as a media worker does at its start."""
    try:
        certificate = await asyncio.to_thread(load_certificate, settings.c2pa)
        if certificate is None:
            return Finding("credentials", CheckStatus.OK, "none: results are not signed")
        await asyncio.to_thread(check_signing, certificate)
    except CertificateUnusable as error:
        remedy = "Media workers do not start with it: correct PHOENIX_C2PA__CERTIFICATE and PHOENIX_C2PA__KEY."
        return Finding("credentials", CheckStatus.MISSING, error.detail, remedy)
    until = f"{certificate.expires_at:%Y-%m-%d}"
    return Finding("credentials", CheckStatus.OK, f"signed as {certificate.subject} until {until}")


async def check_lipsync(settings: Settings) -> Finding:
    """Opens every lip model and the face detector, since only their files show whether a job could use them."""
    models = load_catalog(settings.engine.catalog_file).lip_models.values()
    engines = TalkingEngines(device="cpu", detector=settings.lipsync.face_detector)
    for spec in models:
        if fault := await asyncio.to_thread(engines.find_fault, spec):
            return Finding("lip-sync", CheckStatus.NOTE, fault, "Jobs that ask for it fail until this is mended.")
    faces = "requests give the box of the face" if settings.lipsync.face_detector is None else "faces are found"
    return Finding("lip-sync", CheckStatus.OK, f"can be used: {', '.join(spec.id for spec in models)}; {faces}")
