"""Prepares a soundtrack while clips are rendered: fetches the sound, and makes it as long as the picture will be."""

from pathlib import Path

from phoenix.catalog.resolve import joined_length_s
from phoenix.contract.requests import SoundtrackRequest
from phoenix.contract.resolved import ResolvedReel, ResolvedRequest, ResolvedSoundtrack, ResolvedStitch
from phoenix.errors import Stage, TaskFailed
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.execution.completion import AttemptOutput
from phoenix.media.errors import invalid_media
from phoenix.media.fetch import fetch_file
from phoenix.media.probe import probe_media
from phoenix.media.soundtrack import prepare_soundtrack
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext, ffmpeg_callbacks
from phoenix.worker.files import download_artifact, upload_result
from phoenix.worker.leases import HeldLease
from phoenix.worker.retry import cancel_on_stop, retry_until_available
from phoenix.worker.stopwatch import Stopwatch

_logger = get_logger(__name__)


async def make_soundtrack(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Prepares and stores a soundtrack. Raises `TaskFailed`; `RenderStopped` or `MediaStopped` when asked to stop."""
    wanted = sound_wanted(lease.claim.request)
    stopwatch = Stopwatch()
    with context.scratch.folder() as folder:
        source, output = folder / "source", folder / OutputName.SOUNDTRACK
        with stopwatch.timing(Stage.FETCH):
            await _fetch(context, lease, wanted, source)
            duration_s = await _target_s(context, lease)
        with stopwatch.timing(Stage.SOUNDTRACK):
            await context.threads.run(
                prepare_soundtrack,
                source,
                output,
                wanted,
                duration_s=duration_s,
                tools=context.tools,
                callbacks=ffmpeg_callbacks(lease),
            )
            info = await context.threads.run(probe_media, output, context.limits)
        with stopwatch.timing(Stage.UPLOAD):
            result = await upload_result(context, lease, OutputName.SOUNDTRACK, output, info)
    _logger.info("soundtrack prepared", duration_s=info.duration_s, **stopwatch.as_log())
    return result


def sound_wanted(request: ResolvedRequest) -> SoundtrackRequest:
    sound = request.source if isinstance(request, ResolvedSoundtrack) else request.soundtrack
    assert sound is not None
    return sound


async def _fetch(context: WorkerContext, lease: HeldLease, wanted: SoundtrackRequest, path: Path) -> None:
    if wanted.artifact_id is not None:
        await download_artifact(context, lease, wanted.artifact_id, path)
        return
    settings = context.services.settings
    fetching = fetch_file(
        str(wanted.url),
        path,
        policy=context.egress,
        max_bytes=settings.limits.max_upload_bytes,
        timeout_s=settings.media.fetch_timeout_s,
    )
    await cancel_on_stop(fetching, lease.stop)
    lease.record_progress()


async def _target_s(context: WorkerContext, lease: HeldLease) -> float | None:
    """Seconds of the picture that it will accompany; None for the sound's own length."""
    match lease.claim.request:
        case ResolvedReel() as reel:
            return joined_length_s(reel.transition, [clip.duration_s for clip in reel.clips])
        case ResolvedStitch() as stitch:
            return joined_length_s(stitch.transition, await _lengths_s(context, lease, stitch.artifact_ids))
        case ResolvedSoundtrack() as soundtrack:
            return soundtrack.duration_s


async def _lengths_s(context: WorkerContext, lease: HeldLease, artifact_ids: list[str]) -> list[float]:
    async def look_up() -> list[float]:
        async with context.services.database.read() as session:
            known = await find_known_media(session, artifact_ids, owner_id=lease.claim.owner_id)
        lengths_s = [known[artifact_id].duration_s for artifact_id in artifact_ids if artifact_id in known]
        return [length_s for length_s in lengths_s if length_s is not None]

    lengths_s = await retry_until_available(look_up, lease.stop)
    if len(lengths_s) < len(artifact_ids):
        raise _gone()
    return lengths_s


def _gone() -> TaskFailed:
    return invalid_media("a video that is to be joined is not there any more", Stage.FETCH)
