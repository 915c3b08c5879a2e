"""The task that speaks the narration of a clip, and what an assembly makes of the speeches."""

from dataclasses import dataclass
from pathlib import Path

from phoenix.clock import in_seconds
from phoenix.contract import ResolvedClip, ResolvedReel, SpokenWord
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.captions.cues import spread_words, times_of_clips
from phoenix.media.probe import probe_media
from phoenix.media.soundtrack import PlacedSound, level_sound
from phoenix.speech.speaking import speak
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext, cancel_on_stop, ffmpeg_callbacks
from phoenix.worker.leases import HeldLease
from phoenix.worker.render_observer import Stopwatch

_logger = get_logger(__name__)

_TOLERANCE_S = 0.05
"""How much longer than its clip a speech may be: the rest is hardly heard."""


async def narrate(context: WorkerContext, lease: HeldLease) -> AttemptOutput:
    """Speaks one clip and stores the speech. Raises `TaskFailed`, and `RenderStopped` or `MediaStopped` on a stop."""
    reel = lease.claim.request
    assert isinstance(reel, ResolvedReel)
    assert reel.voice is not None
    clip = reel.clip_of_narration(lease.claim.position)
    settings = context.settings
    stopwatch = Stopwatch(on_enter=lease.enter_stage)
    with context.scratch.folder() as folder:
        spoken, output = folder / "speech.wav", folder / OutputName.NARRATION
        with stopwatch.timing(Stage.NARRATION):
            words = await cancel_on_stop(speak(clip.narration, reel.voice, spoken, settings.tts), lease.stop)
            lease.record_progress()
            length_s = await context.threads.run(
                level_sound,
                spoken,
                output,
                settings.media.loudness_lufs,
                tools=context.tools,
                callbacks=ffmpeg_callbacks(lease),
            )
            check_length(length_s, clip, reel)
            info = await context.threads.run(probe_media, output, context.limits)
        words = words or spread_words(clip.narration, length_s)
        with stopwatch.timing(Stage.UPLOAD):
            result = await context.upload_result(
                lease, OutputName.NARRATION, output, info.model_copy(update={"words": words})
            )
    _logger.info("narration spoken", engine=reel.voice.engine, duration_s=info.duration_s, **stopwatch.as_log())
    return result


def check_length(length_s: float, clip: ResolvedClip, reel: ResolvedReel) -> None:
    """Raises `TaskFailed` for a speech that would run into the next clip, with the length that its clip needs."""
    available_s = times_of_clips(reel)[clip.index].available_s
    if length_s <= available_s + _TOLERANCE_S:
        return
    needed_s = clip.duration_s + length_s - available_s
    takes, has, needs = (in_seconds(round(each, 2)) for each in (length_s, available_s, needed_s + 0.005))
    detail = (
        f"the narration of clip {clip.index} takes {takes} and has {has}: give the clip {needs}, or shorten the text"
    )
    raise TaskFailed(FailureCode.NARRATION_TOO_LONG, detail, stage=Stage.NARRATION)


@dataclass(frozen=True)
class Narration:
    """The speeches of a reel at their times, and the words of each narrated clip by its index."""

    speeches: tuple[PlacedSound, ...] = ()
    words: tuple[tuple[int, tuple[SpokenWord, ...]], ...] = ()


NO_NARRATION = Narration()


async def fetch_narration(context: WorkerContext, lease: HeldLease, folder: Path) -> Narration:
    """Downloads the speeches of a reel into `folder`. Raises `TaskFailed`."""
    reel = lease.claim.request
    if not isinstance(reel, ResolvedReel):
        return NO_NARRATION
    times = times_of_clips(reel)
    speeches: list[PlacedSound] = []
    words: list[tuple[int, tuple[SpokenWord, ...]]] = []
    for clip, artifact_id in zip(reel.narrated, lease.claim.narration_artifact_ids, strict=True):
        path = folder / f"speech-{clip.index}"
        info = await context.download_artifact(lease, artifact_id, path)
        speeches.append(PlacedSound(path, times[clip.index].begins_s))
        words.append((clip.index, tuple(info.words)))
    return Narration(tuple(speeches), tuple(words))
