"""Assembles a job's result: joins the clips, lays the sound under them, writes a poster, uploads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phoenix.contract.artifacts import MediaInfo
from phoenix.contract.requests import Transition
from phoenix.contract.resolved import ResolvedReel, ResolvedStitch
from phoenix.errors import Stage
from phoenix.jobs.execution.completion import Result
from phoenix.media.encode import write_poster
from phoenix.media.ffmpeg import Watch
from phoenix.media.join import join_clips
from phoenix.media.soundtrack import lay_under
from phoenix.media.tools import MediaTools
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import Workshop, media_watch
from phoenix.worker.files import download_artifact, upload_result
from phoenix.worker.leases import Lease
from phoenix.worker.stopwatch import Stopwatch

_logger = get_logger(__name__)

POSTER = MediaInfo(media="image", format="jpeg")


@dataclass(frozen=True)
class Ingredients:
    """The files that an assembly is made of."""

    parts: Sequence[Path]
    track: Path | None
    transition: Transition


async def assemble(shop: Workshop, lease: Lease) -> Result:
    """Makes and stores a job's result. Raises `TaskFailed`; `RenderStopped` or `MediaStopped` when asked to stop."""
    stopwatch = Stopwatch()
    with shop.scratch.folder() as folder:
        with stopwatch.timing(Stage.FETCH):
            ingredients = await _fetch(shop, lease, folder)
        output, poster = folder / OutputName.OUTPUT, folder / OutputName.THUMBNAIL
        with stopwatch.timing(Stage.ASSEMBLE):
            info = await shop.threads.run(put_together, ingredients, output, poster, shop.tools, media_watch(lease))
        with stopwatch.timing(Stage.UPLOAD):
            thumbnail = await upload_result(shop, lease, OutputName.THUMBNAIL, poster, POSTER)
            result = await upload_result(shop, lease, OutputName.OUTPUT, output, info)
    _logger.info("result assembled", parts=len(ingredients.parts), **stopwatch.as_log())
    return replace(result, thumbnail=thumbnail)


def put_together(ingredients: Ingredients, output: Path, poster: Path, tools: MediaTools, watch: Watch) -> MediaInfo:
    """Writes the result and its poster; returns what the result holds. Blocks."""
    track = ingredients.track
    joined = output if track is None else output.with_name("silent.mp4")
    info = join_clips(
        ingredients.parts,
        joined,
        tools=tools,
        transition=ingredients.transition,
        keep_sound=track is None,
        watch=watch,
    )
    if track is not None:
        info = lay_under(joined, track, output, tools=tools, watch=watch)
    write_poster(output, poster, duration_s=info.duration_s or 0, tools=tools, watch=watch)
    return info


async def _fetch(shop: Workshop, lease: Lease, folder: Path) -> Ingredients:
    claim = lease.claim
    assert isinstance(claim.request, ResolvedReel | ResolvedStitch)
    artifact_ids = claim.request.artifact_ids if isinstance(claim.request, ResolvedStitch) else claim.parts
    parts = [folder / f"part-{index}" for index in range(len(artifact_ids))]
    for artifact_id, part in zip(artifact_ids, parts, strict=True):
        await download_artifact(shop, lease, artifact_id, part)
    track: Path | None = None
    if claim.soundtrack_artifact_id is not None:
        track = folder / OutputName.SOUNDTRACK
        await download_artifact(shop, lease, claim.soundtrack_artifact_id, track)
    return Ingredients(parts, track, claim.request.transition)
