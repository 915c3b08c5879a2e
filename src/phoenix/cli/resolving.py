"""What this machine's catalog makes of a reel, as a server with the same settings would. Submits nothing."""

import secrets
from pathlib import Path

from phoenix.catalog.admission import SEED_SPACE, KnownMedia, admit_reel
from phoenix.catalog.limits import AdmissionLimits
from phoenix.catalog.load import Catalog
from phoenix.contract.requests import ReelRequest, SoundtrackRequest
from phoenix.contract.resolved import ResolvedReel
from phoenix.ids import new_artifact_id
from phoenix.media.probe import ProbeLimits, probe_media
from phoenix.settings import Settings


def resolve_reel(
    request: ReelRequest, catalog: Catalog, settings: Settings, *, audio: Path | None = None
) -> ResolvedReel:
    """Raises `InvalidRequest` with every fault, and `UnreadableMedia` for `audio` that no server would take.

    An id for `audio`, and a seed where there is none, are drawn as the server would draw them: anew each time.
    """
    media: KnownMedia | None = None
    if audio is not None:
        artifact_id = new_artifact_id()
        media = {artifact_id: probe_media(audio, ProbeLimits.from_settings(settings))}
        request = request.model_copy(update={"soundtrack": SoundtrackRequest(artifact_id=artifact_id)})
    return admit_reel(
        request,
        catalog,
        default_model=settings.engine.default_model,
        limits=AdmissionLimits(max_reel_duration_s=settings.limits.max_reel_duration_s),
        draw_seed=lambda: secrets.randbelow(SEED_SPACE),
        media=media,
    )
