"""The task that speaks the narration of a clip, and what an assembly makes of the speeches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phoenix.catalog.resolve import joined_length_s, sound_length_s
from phoenix.clock import in_seconds
from phoenix.contract import MediaInfo, ResolvedClip, ResolvedReel, SpokenWord
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.artifacts import find_known_media
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.media.captions.cues import frames_to_hold, spread_words, times_of_clips
from phoenix.media.probe import probe_media
from phoenix.media.soundtrack import PlacedSound, level_sound
from phoenix.settings import LimitSettings
from phoenix.speech.speaking import speak
from phoenix.storage.keys import OutputName
from phoenix.telemetry.logs import get_logger
from phoenix.worker.context import WorkerContext, cancel_on_stop, ffmpeg_callbacks, retry_until_available
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
            if not reel.fit_narration:
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
    """The speeches of a reel at their times. By the index of a clip: its words, and for how many frames it is held."""

    speeches: Sequence[PlacedSound] = ()
    words: Mapping[int, Sequence[SpokenWord]] = field(default_factory=dict[int, Sequence[SpokenWord]])
    held: Mapping[int, int] = field(default_factory=dict[int, int])


NO_NARRATION = Narration()


async def fetch_narration(context: WorkerContext, lease: HeldLease, folder: Path) -> Narration:
    """Downloads the speeches of a reel into `folder`. Raises `TaskFailed`."""
    reel = lease.claim.request
    if not isinstance(reel, ResolvedReel):
        return NO_NARRATION
    infos: dict[int, MediaInfo] = {}
    for clip, artifact_id in zip(reel.narrated, lease.claim.narration_artifact_ids, strict=True):
        infos[clip.index] = await context.download_artifact(lease, artifact_id, folder / f"speech-{clip.index}")
    held = held_frames(reel, infos, context.settings.limits)
    times = times_of_clips(reel, held)
    speeches = [PlacedSound(folder / f"speech-{index}", times[index].begins_s) for index in infos]
    return Narration(speeches, {index: info.words for index, info in infos.items()}, held)


def held_frames(reel: ResolvedReel, speeches: Mapping[int, MediaInfo], limits: LimitSettings) -> Mapping[int, int]:
    """For how many frames each clip holds its last frame. `speeches`: by the index of its clip.

    Raises `TaskFailed` if the reel grows beyond what the server makes.
    """
    if not reel.fit_narration:
        return {}
    held = frames_to_hold(reel, {index: sound_length_s(info) or 0 for index, info in speeches.items()})
    length_s = joined_length_s(reel.transition, reel.part_lengths_s) + sum(held.values()) / reel.fps
    if length_s > limits.max_reel_duration_s + _TOLERANCE_S:
        longest = in_seconds(limits.max_reel_duration_s)
        detail = (
            f"with its narration, the reel takes {in_seconds(round(length_s, 2))}: this server makes at most {longest}"
        )
        raise TaskFailed(FailureCode.NARRATION_TOO_LONG, detail, stage=Stage.NARRATION)
    return held


async def fetch_speeches(
    context: WorkerContext, lease: HeldLease, folder: Path, clips: range, held: Mapping[int, int]
) -> list[PlacedSound]:
    """Downloads the speeches of some clips of a reel into `folder`. All clips up to the last of them were spoken."""
    reel = lease.claim.request
    assert isinstance(reel, ResolvedReel)
    times = times_of_clips(reel, held)
    speeches: list[PlacedSound] = []
    for clip, artifact_id in zip(reel.narrated, lease.claim.narration_artifact_ids, strict=False):
        if clip.index in clips:
            speeches.append(PlacedSound(folder / f"speech-{clip.index}", times[clip.index].begins_s))
            await context.download_artifact(lease, artifact_id, speeches[-1].path)
    return speeches


async def read_held_frames(context: WorkerContext, lease: HeldLease, reel: ResolvedReel) -> Mapping[int, int]:
    """For how many frames each clip of a reel that grows holds its last frame. Raises `TaskFailed` like `held_frames`.

    The claim has the narration of all clips.
    """
    claim = lease.claim

    async def look_up() -> Mapping[str, MediaInfo]:
        async with context.database.read() as session:
            return await find_known_media(session, claim.narration_artifact_ids, owner_id=claim.owner_id)

    if not reel.fit_narration:
        return {}
    known = await retry_until_available(look_up, lease.stop)
    speeches = {
        clip.index: known[artifact_id]
        for clip, artifact_id in zip(reel.narrated, claim.narration_artifact_ids, strict=True)
        if artifact_id in known
    }
    return held_frames(reel, speeches, context.settings.limits)
