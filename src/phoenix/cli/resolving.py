"""Resolves a reel with this machine's catalog, like a server with the same settings would. Submits nothing."""

import secrets
from pathlib import Path

from phoenix.catalog.admission import SEED_SPACE, AdmissionLimits, KnownMedia, admit_reel
from phoenix.catalog.model import Catalog
from phoenix.cli.options import with_first_frame
from phoenix.contract.requests import ReelRequest, SoundtrackRequest
from phoenix.contract.resolved import ResolvedReel
from phoenix.ids import new_artifact_id
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.settings import Settings


def resolve_reel(
    request: ReelRequest,
    catalog: Catalog,
    settings: Settings,
    *,
    audio: Path | None = None,
    image: Path | None = None,
) -> ResolvedReel:
    """Raises `InvalidRequest` with every fault, and `UnreadableMedia` for a file that no server would take.

    An id for each file, and a seed where there is none, are drawn as the server would draw them: anew each time.
    """
    ids = {new_artifact_id(): file for file in (audio, image) if file}
    limits = ProbeLimits.from_settings(settings)
    media: KnownMedia | None = {each: probe_media(file, limits) for each, file in ids.items()} or None
    for artifact_id, file in ids.items():
        if file is audio:
            request = request.model_copy(update={"soundtrack": SoundtrackRequest(artifact_id=artifact_id)})
        else:
            request = with_first_frame(request, artifact_id)
    return admit_reel(
        request,
        catalog,
        default_model=settings.engine.default_model,
        limits=AdmissionLimits(max_reel_duration_s=settings.limits.max_reel_duration_s),
        draw_seed=lambda: secrets.randbelow(SEED_SPACE),
        media=media,
    )
